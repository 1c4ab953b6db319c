"""``headrace flow`` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Remote = Callable[..., Result]

FLOW = """# by hand
id: {id}
namespace: {namespace}
labels: {{team: data}}
tasks:
  - {{id: a, type: io.kestra.plugin.core.debug.Return, format: {text}}}
"""


def write(folder: Path, flow_id: str, namespace: str, text: str = "x") -> Path:
    file = folder / f"{flow_id}.yaml"
    file.write_text(FLOW.format(id=flow_id, namespace=namespace, text=text))
    return file


def test_flows_are_saved_listed_printed_and_deleted(remote: Remote, tmp_path: Path) -> None:
    one, two = write(tmp_path, "one", "shop.a"), write(tmp_path, "two", "shop.b")
    assert remote("flow", "save", one, two).stdout == "shop.a.one revision 1\nshop.b.two revision 1\n"
    write(tmp_path, "two", "shop.b", "y")
    assert remote("flow", "save", tmp_path).stdout == "shop.a.one revision 1\nshop.b.two revision 2\n"

    table = remote("flow", "list", "--namespace", "shop").stdout.splitlines()
    assert [row.split()[:3] for row in table] == [
        ["NAMESPACE", "ID", "REVISION"], ["shop.a", "one", "1"], ["shop.b", "two", "2"],
    ]  # fmt: skip
    listed = json.loads(remote("flow", "list", "--namespace", "shop", "--label", "team=data", "-o", "json").stdout)
    assert [flow["id"] for flow in listed] == ["one", "two"]
    assert remote("flow", "list", "--namespace", "shop", "--label", "team=x").stdout.count("\n") == 1
    less = remote("flow", "list", "--namespace", "shop", "--limit", "1")
    assert less.stderr == "These are 1 of 2; --limit asks for more.\n"

    assert remote("flow", "get", "shop.a.one").stdout == one.read_text()
    assert "format: x" in remote("flow", "get", "shop.b/two", "--revision", "1").stdout
    assert json.loads(remote("flow", "get", "shop.b.two", "-o", "json").stdout)["revision"] == 2

    assert "shop.a.oen" in remote("flow", "delete", "shop.b.two", "shop.a.oen", code=2).stderr
    assert "two" in remote("flow", "list", "--namespace", "shop").stdout
    assert remote("flow", "delete", "shop.b.two").stdout == "shop.b.two is deleted.\n"
    assert "two" not in remote("flow", "list", "--namespace", "shop").stdout


def test_what_is_not_there_is_told_with_the_nearest_name(remote: Remote, tmp_path: Path) -> None:
    remote("flow", "save", write(tmp_path, "monthly", "near.team"))
    assert remote("flow", "get", "near.team.montly", code=2).stderr == (
        "Error: Not Found: Flow near.team.montly. Did you mean `near.team.monthly`?\n"
    )
    assert "Did you mean `near.team.monthly`?" in remote("flow", "get", "far.monthly", code=2).stderr
    assert "Did you mean" not in remote("flow", "get", "near.team.zzz", code=2).stderr
    assert "`monthly` is no flow" in remote("flow", "get", "monthly", code=2).stderr


def test_what_is_wrong_is_told_with_its_place_and_nothing_is_saved(remote: Remote, tmp_path: Path) -> None:
    write(tmp_path, "fine", "wrong.team")
    bad = tmp_path / "zbad.yaml"
    bad.write_text(
        f"{FLOW.format(id='first', namespace='wrong.team', text='x')}---\n"
        "id: second\nnamespace: wrong.team\ntasks:\n  - {id: a, type: io.kestra.plugin.core.log.Lgo, message: x}\n"
    )
    for verb in ("validate", "save"):
        told = remote("flow", verb, tmp_path, code=2).stderr
        assert told.startswith(f"{bad}:11:"), told
        assert "io.kestra.plugin.core.log.Log" in told
    assert remote("flow", "list", "--namespace", "wrong").stdout.count("\n") == 1
    said = json.loads(remote("flow", "validate", tmp_path, "-o", "json", code=2).stdout)
    assert (said["valid"], len(said["errors"])) == (False, 1)
    bad.unlink()
    assert remote("flow", "validate", tmp_path).stdout == "wrong.team.fine: OK\n"
    assert json.loads(remote("flow", "validate", tmp_path, "-o", "json").stdout)["valid"] is True
    (tmp_path / "again.yaml").write_text((tmp_path / "fine.yaml").read_text())
    assert "wrong.team.fine stands in" in remote("flow", "save", tmp_path, code=2).stderr


def test_flows_that_are_called_are_saved_before_those_that_call_them(remote: Remote, tmp_path: Path) -> None:
    write(tmp_path, "zz", "order.team")
    (tmp_path / "aa.yaml").write_text(
        "id: aa\nnamespace: order.team\ntasks:\n"
        "  - {id: a, type: io.kestra.plugin.core.flow.Subflow, namespace: order.team, flowId: zz}\n"
    )
    (tmp_path / "ab.yaml").write_text(
        "id: ab\nnamespace: order.team\ntasks:\n  - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}\n"
        "triggers:\n  - {id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: '@daily'}\n"
    )
    saved = remote("flow", "save", tmp_path).stdout.splitlines()
    assert [row.split()[0] for row in saved] == ["order.team.zz", "order.team.aa", "order.team.ab"]


def test_the_server_and_what_is_shown_to_it_may_stand_in_a_file(house, remote: Remote, tmp_path: Path) -> None:
    file = tmp_path / "config" / "headrace" / "client.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"server: {house.address}\ntoken: hr_x\n")
    assert "NAMESPACE" in remote("flow", "list", HEADRACE_SERVER="").stdout
    assert "no address" in remote("flow", "list", "--server", "127.0.0.1:1", code=2).stderr
    nobody = remote("flow", "list", "--server", "http://127.0.0.1:9", code=2).stderr
    assert nobody.startswith("Error: No server answers at http://127.0.0.1:9: [Errno ")
    assert nobody.endswith("`headrace server` starts one on this machine; --server or HEADRACE_SERVER names another.\n")
    file.write_text("sever: http://127.0.0.1:9\n")
    assert "there is no key `sever`. Did you mean `server`?" in remote("flow", "list", code=2).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(remote: Remote, shell: str) -> None:
    def completed(words: str, number: int, incomplete: str) -> str:
        said = {"COMP_WORDS": incomplete if shell == "fish" and not words else words, "COMP_CWORD": str(number)}
        if shell == "fish":
            said = {"COMP_WORDS": words, "COMP_CWORD": incomplete}
        return remote(_HEADRACE_COMPLETE=f"{shell}_complete", **said).stdout

    assert "execution" in completed("headrace exec", 1, "exec")
    assert "--namespace" in completed("headrace flow list --name", 3, "--name")
