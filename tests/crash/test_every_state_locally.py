"""A kill, and a loss, in every state in which they can meet a script of the local runtime, as a process and in Docker.

Killed is the execution: nothing keeps running, and the task run ends KILLED once. Lost is the engine, by kill -9:
started again, it finds what it had begun lost and not failed, and begins it again; what has ended has ended.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from crash.held import HeldStorage
from crash.lives import Zygote, lives, until
from headrace_cli.local import LocalOptions, LocalRuntime
from headrace_engine.adapters.local.storage import FolderStorage
from headrace_engine.engine import NoSuchExecutionError
from stand_in_docker import StandInEngine

SOON = 60.0
RUNNERS = {
    "process": "io.kestra.plugin.core.runner.Process",
    "docker": "io.kestra.plugin.scripts.runner.docker.Docker",
}
STATES = ["created", "submitted", "staging in", "running", "staging out", "reported"]
HELD = {"created": "open created.txt", "staging in": "open in.txt", "staging out": "put out.txt"}
"""What is asked of internal storage in a state."""

# Takes so long the first time, and no time the second.
FLOW = """
id: walked
namespace: test
inputs:
  - {id: seconds, type: STRING, defaults: "0"}
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    containerImage: alpine
    taskRunner: {type: RUNNER}
    env: {CREATED: "{{ read('created.txt') }}"}
    namespaceFiles: {enabled: true, include: [in.txt]}
    outputFiles: [out.txt]
    retry: {type: constant, interval: PT1S, maxAttempts: 1}
    commands:
      - "echo $$ >> {{ envs.folder }}/{{ execution.id }}"
      - "[ $(wc -l < {{ envs.folder }}/{{ execution.id }}) -gt 1 ] || sleep {{ inputs.seconds }}"
      - cp in.txt out.txt
  - {id: pause, type: io.kestra.plugin.core.flow.Pause}
"""


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEngine]:
    with StandInEngine(tmp_path_factory.mktemp("docker")) as engine:
        yield engine
        assert engine.containers == {}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with closing(Zygote("walker")) as zygote:
        yield zygote


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    storage = FolderStorage(tmp_path / "data" / "storage")
    for name in ("created.txt", "in.txt"):
        storage.put(f"kestra:///test/_files/{name}", b"in")
    return storage


@pytest.fixture
def environment(
    engine: StandInEngine, storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    del storage  # it has the files that a flow asks for
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    return {"PATH": os.environ["PATH"], "ENV_FOLDER": str(tmp_path), "DOCKER_HOST": engine.url}


def begun(folder: Path, execution_id: str) -> list[int]:
    """Return the processes in which the script began, one for each time."""
    path = folder / execution_id
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def state(runtime: LocalRuntime, execution_id: str) -> str:
    return str(runtime.view(execution_id)["state"]["current"])


def script(runtime: LocalRuntime, execution_id: str) -> tuple[list[str], list[str]]:
    """Return the states that the script's task run went through, and those its attempts are in."""
    run = runtime.view(execution_id)["taskRunList"][0]
    past = [each["state"] for each in run["state"]["histories"]]
    return past, [attempt["state"]["current"] for attempt in run.get("attempts") or ()]


@pytest.mark.parametrize("at", STATES)
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_kill_ends_everything_whenever_it_comes(
    environment: dict[str, str], storage: FolderStorage, tmp_path: Path, runner: str, at: str
) -> None:
    held = HeldStorage(storage, HELD.get(at, ""))
    options = LocalOptions(storage=held, workers=1)
    seconds = "0" if at in ("staging out", "reported") else "1000"

    with closing(LocalRuntime.open(tmp_path / "data", environment=environment, options=options)) as runtime:
        flow = runtime.save_flow(FLOW.replace("RUNNER", RUNNERS[runner]))

        def create(execution_id: str, seconds: str = "1000") -> None:
            runtime.create(flow.namespace, flow.id, {"seconds": seconds}, execution_id=execution_id)

        if at == "submitted":  # the only worker has other work
            create("first")
            until((tmp_path / "first").exists)
        # It is created in a thread of its own, for its first step may be what is held.
        creating = threading.Thread(target=create, args=("long", seconds))
        creating.start()
        if at in HELD:
            assert held.reached.wait(SOON)
        else:
            creating.join(SOON)
        if at == "running":
            until((tmp_path / "long").exists)
        elif at == "reported":
            until(lambda: state(runtime, "long") == "PAUSED")
        if at == "created":  # the kill waits for the step that is under way
            killing = threading.Thread(target=runtime.kill, args=("long",))
            killing.start()
            held.go.set()
            killing.join(SOON)
        else:
            runtime.kill("long")
            held.go.set()
        creating.join(SOON)
        if at == "submitted":
            assert "KILLING" in script(runtime, "long")[0]
            runtime.kill("first")
            assert runtime.wait("first", SOON)
        assert runtime.wait("long", SOON)
        assert state(runtime, "long") == "KILLED"
        past, attempts = script(runtime, "long")
        if at == "reported":  # what has ended stays as it ended
            assert (past.count("KILLED"), past[-1], attempts) == (0, "SUCCESS", ["SUCCESS"])
        else:
            assert (past.count("KILLED"), past[-1]) == (1, "KILLED")
            assert attempts == ["KILLED"]
        pids = begun(tmp_path, "long")
        assert not [pid for pid in pids if lives(pid)]
        if at != "created":  # then the step that is under way may begin it
            assert len(pids) == (at in ("running", "staging out", "reported"))


@pytest.mark.parametrize("at", STATES)
@pytest.mark.parametrize("runner", RUNNERS)
def test_what_an_engine_leaves_when_it_dies_is_lost_and_not_failed(
    environment: dict[str, str], zygote: Zygote, tmp_path: Path, runner: str, at: str
) -> None:
    seconds = "1000" if at == "running" else "0"
    executions: dict[str, Any] = {"first": {"seconds": "1000"}} if at == "submitted" else {}
    source = FLOW.replace("RUNNER", RUNNERS[runner])
    pid = zygote.bear(
        folder=str(tmp_path),
        flow=source,
        engine=environment["DOCKER_HOST"],
        executions=json.dumps({**executions, "long": {"seconds": seconds}}),
        workers="1",
        hold=HELD.get(at, ""),
        until={"running": "begun", "reported": "paused"}.get(at, ""),
    )
    assert zygote.line(SOON) == "held"
    os.kill(pid, signal.SIGKILL)
    assert zygote.line(SOON) == "dead"
    left = begun(tmp_path, "long")
    with closing(LocalRuntime.open(tmp_path / "data", environment=environment)) as runtime:
        assert not [pid for pid in left if lives(pid)]
        try:
            runtime.view("long")
        except NoSuchExecutionError:
            assert at == "created"  # whoever asked for it was told nothing, and asks again
            runtime.create("test", "walked", execution_id="long")
        until(lambda: state(runtime, "long") == "PAUSED")
        past, attempts = script(runtime, "long")
        was_begun = at in ("staging in", "running", "staging out")
        assert attempts == (["RESUBMITTED", "SUCCESS"] if was_begun else ["SUCCESS"])
        assert "FAILED" not in past
        assert len(begun(tmp_path, "long")) == (2 if at in ("running", "staging out") else 1)
        for name in (*executions, "long"):
            until(lambda name=name: state(runtime, name) == "PAUSED")
