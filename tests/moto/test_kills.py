"""A kill of an execution whose script runs on Lambda, in every state in which it can arrive."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.ports import AttemptId
from headrace_functions.testing.cloud import Cloud

LOOKS = timedelta(seconds=6)
"""Within which a running script hears of a request to stop."""
FLOW = """
id: killed
namespace: flows
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    commands: ["{command}"]
  - {{id: after, type: io.kestra.plugin.core.log.Log, message: never}}
"""


def started(cloud: Cloud, command: str) -> str:
    """Return an execution that is created, and nothing of it handled yet."""
    cloud.save_flow(FLOW.format(command=command))
    return cloud.create("flows", "killed")


def until_submitted(cloud: Cloud) -> None:
    while not cloud.pending:
        assert cloud.step()


def states(cloud: Cloud, execution_id: str) -> tuple[str, list[str]]:
    """Return the state of the execution, and those its task run went through."""
    outcome = cloud.outcome(execution_id)
    assert not outcome.logs
    run = outcome.find("script")
    return outcome.state, [each["state"] for each in run["state"]["histories"]]


def ended_once(histories: list[str]) -> bool:
    return histories.count("KILLED") == 1 and histories[-1] == "KILLED"


def test_created(tmp_path: Path) -> None:
    """Before anything of it was handled: no function is called."""
    with Cloud() as cloud:
        execution_id = started(cloud, f"touch {tmp_path}/ran")
        cloud.kill(execution_id)
        cloud.settle()
        state, histories = states(cloud, execution_id)
        assert state == "KILLED"
        assert ended_once(histories)
        assert cloud.invocations["script"] == 0
        assert not (tmp_path / "ran").exists()


def test_submitted(tmp_path: Path) -> None:
    """Lambda has the invocation, and no function has begun it."""
    with Cloud() as cloud:
        execution_id = started(cloud, f"touch {tmp_path}/ran")
        until_submitted(cloud)
        cloud.busy.add("script")
        cloud.kill(execution_id)
        cloud.settle(timedelta(minutes=1))
        cloud.busy.clear()
        cloud.settle()
        state, histories = states(cloud, execution_id)
        assert state == "KILLED"
        assert ended_once(histories)
        assert cloud.invocations["script"] == 1
        assert not (tmp_path / "ran").exists()


def test_running_with_all_it_has_started(tmp_path: Path) -> None:
    """Its supervisor sees the flag at its next look, and ends the script with everything in its process group."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    with Cloud() as cloud:
        execution_id = started(cloud, f"sleep 1000 & echo $$ $! > {ready}; wait")
        looked: list[datetime] = []
        pids: list[int] = []

        def wait(over: threading.Event, length: timedelta) -> bool:
            if not looked:
                pids.extend(map(int, ready.read_text().split()))  # it runs
                cloud.kill(execution_id)
                assert cloud.step(), "the executor takes the kill, and sets the flag"
                looked.append(cloud.clock.now())
            elif over.wait(0 if len(looked) < 2 else 60):
                return True
            cloud.clock.advance(length)
            looked.append(cloud.clock.now())
            return over.is_set()

        cloud.script_wait = wait
        cloud.settle()
        state, histories = states(cloud, execution_id)
        assert state == "KILLED"
        assert ended_once(histories)
        assert looked[1] - looked[0] < LOOKS
        assert len(pids) == 2
        assert not [pid for pid in pids if alive(pid)]
        assert cloud.invocations["script"] == 1
        assert not cloud.crashes


@pytest.mark.parametrize("state", ["staging in", "staging out"])
def test_staging(tmp_path: Path, state: str) -> None:
    """The function fetches what the script is to have, or stores what it has left."""
    wanted = {"staging in": ("GET", "/in.txt"), "staging out": ("PUT", "/out.txt")}[state]
    files = """
    namespaceFiles: {enabled: true}
    outputFiles: [out.txt]
"""
    with Cloud() as cloud:
        cloud.stores.storage.put("kestra:///flows/_files/in.txt", b"in")
        command = f"echo x >> {tmp_path}/ran; cp in.txt out.txt" + ("; sleep 1000" if state == "staging in" else "")
        cloud.save_flow(FLOW.format(command=command).replace("\n  - {id: after", f"{files}  - {{id: after"))
        execution_id = cloud.create("flows", "killed")
        flagged = threading.Event()

        def kill(function: str, request: str) -> None:
            method, _, path = request.partition(" ")
            if function == "script" and (method, path[-len(wanted[1]) :]) == wanted and not flagged.is_set():
                cloud.kill(execution_id)
                assert cloud.step(), "the executor takes the kill, and sets the flag"
                flagged.set()
                supervisor = next(thread for thread in threading.enumerate() if thread.name == "supervisor")
                supervisor.join(60)  # it has stopped the attempt
                assert not supervisor.is_alive()

        def wait(over: threading.Event, _length: timedelta) -> bool:
            while not flagged.wait(0.01):
                if over.is_set():
                    return True
            return False

        cloud.before, cloud.script_wait = kill, wait
        cloud.settle()
        assert flagged.is_set()
        state_, histories = states(cloud, execution_id)
        assert (state_, ended_once(histories)) == ("KILLED", True)
        (attempt,) = cloud.outcome(execution_id).find("script")["attempts"]
        assert attempt["state"]["current"] == "KILLED", "it was stopped, and did not just end in time"
        assert (tmp_path / "ran").exists() is (state == "staging out")
        assert cloud.invocations["script"] == 1
        assert not cloud.crashes


@pytest.mark.parametrize("first", ["kill", "report"])
def test_reported(tmp_path: Path, first: str) -> None:
    """The script has ended, and its report is in the mailbox, before the kill or after it."""
    with Cloud() as cloud:
        execution_id = started(cloud, f"echo x >> {tmp_path}/ran")
        until_submitted(cloud)
        if first == "kill":
            cloud.kill(execution_id)
        assert run_script(cloud)
        if first == "report":
            cloud.kill(execution_id)
        cloud.settle()
        state, histories = states(cloud, execution_id)
        assert state == "KILLED"
        assert (tmp_path / "ran").read_text() == "x\n", "it ran once"
        # What ended in SUCCESS before the kill was handled stays so; it is not ended a second time.
        assert len([each for each in histories if each in ("KILLED", "SUCCESS")]) == 1
        assert cloud.invocations["script"] == 1


def test_twice(tmp_path: Path) -> None:
    """A kill that comes again, and a dispatch that comes again, change nothing."""
    with Cloud() as cloud:
        execution_id = started(cloud, f"touch {tmp_path}/ran")
        until_submitted(cloud)
        again = cloud.pending[0]
        cloud.busy.add("script")
        cloud.kill(execution_id)
        cloud.kill(execution_id)
        cloud.settle(timedelta(minutes=1))
        cloud.pending.append(again)
        cloud.busy.clear()
        cloud.settle()
        state, histories = states(cloud, execution_id)
        assert (state, ended_once(histories)) == ("KILLED", True)
        assert not (tmp_path / "ran").exists()


def test_a_sandbox_that_dies_while_it_is_killed_ends_killed_and_not_lost(tmp_path: Path) -> None:
    """The flag stands, the process is gone: nobody starts the attempt again."""
    with Cloud() as cloud:
        execution_id = started(cloud, f"echo x >> {tmp_path}/ran")
        until_submitted(cloud)
        payload: dict[str, Any] = cloud.pending[0].payload
        attempt = AttemptId(execution_id, payload["attempt"]["taskRun"], 0)
        cloud.stores.claims.claim(attempt, cloud.pending[0].request_id, cloud.clock.now())
        cloud.kill(execution_id)
        cloud.settle()
        state, histories = states(cloud, execution_id)
        assert state == "KILLED"
        assert ended_once(histories)
        assert not (tmp_path / "ran").exists()


def run_script(cloud: Cloud) -> bool:
    """Have Lambda call the function, and the executor handle nothing yet."""
    return cloud._invoke_scripts()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
