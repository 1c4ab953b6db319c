"""A folder of flows that a server loads and watches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_cli.flow_files import is_template
from headrace_cli.local import LocalRuntime
from headrace_cli.server_flows import FlowFolder
from headrace_engine.ports import PortError

FLOW = "id: {}\nnamespace: demo\ntasks:\n  - {{id: a, type: io.kestra.plugin.core.debug.Return, format: {}}}\n"


class Folder:
    """A folder, a runtime, and what a person was told."""

    def __init__(self, path: Path, runtime: LocalRuntime) -> None:
        self.path = path
        self.runtime = runtime
        self.told: list[str] = []
        self.fails = False
        self.flows = FlowFolder(path, self._save, self.told.append)
        self._writes = 0

    def _save(self, source: str, file: str) -> object:
        if self.fails:
            raise PortError("the disk is full")
        if is_template(Path(file)):
            return self.runtime.save_template(source, file=file)
        return self.runtime.save_flow(source, file=file)

    def write(self, name: str, text: str) -> None:
        """Write a file, at an instant of its own."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self._writes += 1
        os.utime(file, (self._writes, self._writes))

    def revision(self, flow_id: str) -> int | None:
        found = self.runtime.stores.flows.get("demo", flow_id)
        return None if found is None or found.deleted else found.revision


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "flows").mkdir()
    runtime = LocalRuntime.open(tmp_path / "data", environment={})
    yield Folder(tmp_path / "flows", runtime)
    runtime.close()


def test_flows_are_saved_and_again_when_their_file_changes(folder: Folder) -> None:
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.write("deep/b.yml", FLOW.format("b", 1))
    folder.write(".git/c.yaml", FLOW.format("c", 1))
    folder.flows.look()
    folder.flows.look()
    assert (folder.revision("a"), folder.revision("b"), folder.revision("c")) == (1, 1, None)
    folder.write("a.yaml", FLOW.format("a", 2))
    folder.write("d.yaml", FLOW.format("d", 1))
    folder.flows.look()
    assert (folder.revision("a"), folder.revision("b"), folder.revision("d")) == (2, 1, 1)
    assert folder.told == []


def test_a_file_that_is_only_touched_makes_no_revision(folder: Folder) -> None:
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.flows.look()
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.flows.look()
    assert folder.revision("a") == 1


def test_a_broken_file_is_told_of_once_and_the_flow_stays(folder: Folder) -> None:
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.flows.look()
    folder.write("a.yaml", "id: a\nnamespace: demo\ntasks: [{id: x, type: io.kestra.plugin.core.log.Lag}]")
    folder.flows.look()
    folder.flows.look()
    assert len(folder.told) == 2
    assert folder.told[0].startswith(f"{folder.path}/a.yaml:3:")
    assert folder.told[1] == "The flow demo.a stays as it was."
    assert folder.revision("a") == 1
    folder.write("a.yaml", FLOW.format("a", 2))
    folder.flows.look()
    assert folder.revision("a") == 2


def test_bytes_that_are_no_text_are_told_of(folder: Folder) -> None:
    (folder.path / "a.yaml").write_bytes(b"id: \xff")
    folder.flows.look()
    assert folder.told == [f"{folder.path}/a.yaml: line 1 is not UTF-8 text."]


def test_the_flow_of_a_file_that_is_gone_stays(folder: Folder) -> None:
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.flows.look()
    (folder.path / "a.yaml").unlink()
    folder.flows.look()
    folder.flows.look()
    assert folder.told == [f"{folder.path}/a.yaml is gone; the flow demo.a stays."]
    assert folder.revision("a") == 1


def test_a_folder_that_is_gone_for_a_moment_changes_nothing(folder: Folder) -> None:
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.flows.look()
    folder.path.rename(folder.path.with_name("moved"))
    folder.flows.look()
    folder.path.with_name("moved").rename(folder.path)
    folder.flows.look()
    assert folder.revision("a") == 1


def test_two_files_with_one_flow_are_told_of(folder: Folder) -> None:
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.write("b.yaml", FLOW.format("a", 2))
    folder.flows.look()
    assert folder.told == [
        f"{folder.path}/b.yaml holds the flow demo.a, as {folder.path}/a.yaml does; whichever changes last counts."
    ]


def test_what_could_not_be_stored_is_saved_at_the_next_look(folder: Folder) -> None:
    folder.write("a.yaml", FLOW.format("a", 1))
    folder.fails = True
    with pytest.raises(PortError):
        folder.flows.look()
    folder.fails = False
    folder.flows.look()
    assert folder.revision("a") == 1


def test_templates_are_saved_too_and_told_of_as_what_they_are(folder: Folder) -> None:
    folder.write("f.yaml", FLOW.format("same", 1))
    folder.write("f.template.yaml", FLOW.format("same", 1))
    folder.flows.look()
    template = folder.runtime.stores.templates.get("demo", "same")
    assert template is not None
    assert (folder.revision("same"), template.revision, folder.told) == (1, 1, [])
    folder.write("f.template.yaml", "id: same\nnamespace: demo\n")
    folder.flows.look()
    assert "The property `tasks` is required." in folder.told[0]
    assert folder.told[1:] == ["The template demo.same stays as it was."]
    (folder.path / "f.template.yaml").unlink()
    folder.flows.look()
    assert folder.told[2:] == [f"{folder.path}/f.template.yaml is gone; the template demo.same stays."]


def test_flows_for_another_place_are_told_of_in_one_line(folder: Folder) -> None:
    there = "taskRunner: {type: io.headrace.runner.ecs.Fargate}"
    for name in ("a", "b"):
        script = f"  - {{id: s, type: io.kestra.plugin.scripts.shell.Commands, commands: [ls], {there}}}\n"
        folder.write(f"{name}.yaml", f"id: {name}\nnamespace: demo\ntasks:\n{script}")
    folder.write("c.yaml", FLOW.format("c", 1))
    folder.flows.look()
    folder.flows.look()
    first, second = folder.path / "a.yaml", folder.path / "b.yaml"
    assert folder.told == [f"Not for this machine, so not loaded: {first}, {second}. `headrace run {first}` tells why."]
    assert (folder.revision("a"), folder.revision("c")) == (None, 1)
