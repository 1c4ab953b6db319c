"""Scripts in Docker on the local runtime: what is left of them when it is killed, closed, or told to kill them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crash.lives import lives, until
from headrace_cli.local import LocalRuntime
from stand_in_docker import StandInEngine

SOON = 60.0
DOCKER = "{type: io.kestra.plugin.scripts.runner.docker.Docker}"

# Takes for ever the first time, and no time the second.
ONCE = """
id: script
namespace: test
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    containerImage: alpine
    commands:
      - '[ -e {{ envs.folder }}/begun ] && exit 0'
      - echo $$ > {{ envs.folder }}/pid
      - mv {{ envs.folder }}/pid {{ envs.folder }}/begun
      - sleep 1000
"""
LONG = """
id: long
namespace: test
inputs:
  - {id: image, type: STRING, defaults: alpine}
  - {id: seconds, type: STRING, defaults: "1000"}
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    containerImage: "{{ inputs.image }}"
    taskRunner: RUNNER
    inputFiles: {in.txt: content}
    outputFiles: ["*.txt"]
    commands: ["echo $$ >> {{ envs.folder }}/begun", "sleep {{ inputs.seconds }}"]
  - {id: pause, type: io.kestra.plugin.core.flow.Pause}
"""


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEngine]:
    with StandInEngine(tmp_path_factory.mktemp("docker")) as engine:
        yield engine


@pytest.fixture
def environment(engine: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    return {"PATH": os.environ["PATH"], "ENV_FOLDER": str(tmp_path), "DOCKER_HOST": engine.url}


def opened(folder: Path, environment: dict[str, str]) -> LocalRuntime:
    return LocalRuntime.open(folder / "data", environment=environment)


def begin(runtime: LocalRuntime, source: str, execution_id: str, **inputs: str) -> None:
    flow = runtime.save_flow(source)
    runtime.create(flow.namespace, flow.id, inputs, execution_id=execution_id)


def script_run(runtime: LocalRuntime, execution_id: str) -> tuple[str, list[str], list[str]]:
    """Return the state of the script's task run, those it went through, and those of its attempts."""
    run = runtime.view(execution_id)["taskRunList"][0]
    past = [each["state"] for each in run["state"]["histories"]]
    return run["state"]["current"], past, [attempt["state"]["current"] for attempt in run["attempts"]]


# -- Killed, and closed -----------------------------------------------------------------------------


def test_a_container_that_outlived_its_engine_is_removed_by_the_next_start(
    engine: StandInEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    code = """
import sys
from pathlib import Path
from headrace_cli.local import LocalRuntime
runtime = LocalRuntime.open(Path(sys.argv[1]))
flow = runtime.save_flow(sys.argv[2])
runtime.create(flow.namespace, flow.id, execution_id="script")
runtime.wait("script")
"""
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "data", ONCE], env=environment)
    until((tmp_path / "begun").exists)
    pid = int((tmp_path / "begun").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert lives(pid)
    assert len(engine.running) == 1
    with closing(opened(tmp_path, environment)) as runtime:
        assert not lives(pid)
        assert runtime.wait("script", SOON)
        assert script_run(runtime, "script")[2] == ["RESUBMITTED", "SUCCESS"]
    assert engine.containers == {}


def test_another_folders_containers_are_left_alone(
    engine: StandInEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    with closing(opened(tmp_path / "first", environment)) as first:
        begin(first, LONG.replace("RUNNER", DOCKER), "long")
        until((tmp_path / "begun").exists)
        with closing(opened(tmp_path / "second", environment)) as second:
            begin(second, LONG.replace("RUNNER", DOCKER), "long")
            until(lambda: len(engine.running) == 2)
        opened(tmp_path / "second", environment).close()
        assert len(engine.running) == 1


def test_closing_ends_containers_and_opening_goes_on(
    engine: StandInEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    runtime = opened(tmp_path, environment)
    begin(runtime, ONCE, "script")
    until((tmp_path / "begun").exists)
    runtime.close()
    assert engine.containers == {}
    with closing(opened(tmp_path, environment)) as again:
        assert again.wait("script", SOON)
        assert script_run(again, "script")[2] == ["RESUBMITTED", "SUCCESS"]


def test_a_process_that_leaves_in_a_hurry_ends_containers(
    engine: StandInEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    with closing(opened(tmp_path, environment)) as runtime:
        begin(runtime, ONCE, "script")
        until((tmp_path / "begun").exists)
        runtime.end_code()
        assert engine.containers == {}


def test_an_engine_that_goes_away_loses_the_attempt_not_the_task(
    engine: StandInEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    """Three attempts are lost in a row, as when machines die, before the task run fails."""
    with closing(opened(tmp_path, environment)) as runtime:
        begin(runtime, ONCE, "script")
        until((tmp_path / "begun").exists)
        _, container = engine.containers.popitem()  # first, so that nobody is told how its process ends
        container.remove()
        assert runtime.wait("script", SOON)
        assert script_run(runtime, "script")[2] == ["RESUBMITTED", "SUCCESS"]


# -- A kill in every state --------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pull", "create", "put", "start", "running", "get"])
def test_a_kill_in_every_state_of_a_container(
    engine: StandInEngine, environment: dict[str, str], tmp_path: Path, state: str
) -> None:
    engine.hang_at = state
    inputs = {"image": "busybox" if state == "pull" else "alpine", "seconds": "0" if state == "get" else "1000"}
    with closing(opened(tmp_path, environment)) as runtime:
        begin(runtime, LONG.replace("RUNNER", DOCKER), "long", **inputs)
        until((tmp_path / "begun").exists if state == "running" else engine.reached.is_set)
        runtime.kill("long")
        if state in ("create", "start"):
            until(lambda: "KILLING" in script_run(runtime, "long")[1])
            engine.go.set()
        assert runtime.wait("long", SOON)
        assert_killed_once(runtime, tmp_path)
        assert engine.containers == {}


def assert_killed_once(runtime: LocalRuntime, folder: Path) -> None:
    assert runtime.view("long")["state"]["current"] == "KILLED"
    current, past, attempts = script_run(runtime, "long")
    assert (current, past.count("KILLED"), attempts) == ("KILLED", 1, ["KILLED"])
    begun = (folder / "begun").read_text().split() if (folder / "begun").exists() else []
    assert not [pid for pid in begun if lives(int(pid))]
