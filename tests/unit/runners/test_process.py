"""The Process runner: the contract, and what is particular to processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from headrace_engine.plugin import TaskFailure
from headrace_runners.contract import Command, TaskRunner
from headrace_runners.process import Process, ProcessRunner, end_group, process_identity
from headrace_runners.process_groups import IDENTITY_VARIABLE
from headrace_runners.testing import RecordingContext, RunnerContract
from headrace_runners.unavailable import Kubernetes


class TestProcessContract(RunnerContract):
    @pytest.fixture
    def runner(self) -> TaskRunner:
        secret = {"SECRET_X": "eA==", "HEADRACE_KEY": "k"}
        return ProcessRunner({**os.environ, **secret}, grace=30)


def run(
    runner: ProcessRunner, script: str, directory: Path, context: RecordingContext | None = None, on_line=None
) -> int:
    command = Command(["/bin/sh", "-c", script], directory)
    return runner.run(command, context or RecordingContext(), on_line or (lambda stream, line: None))


def test_a_background_writer_may_finish(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "(sleep 0.1; echo late) & echo early"
    assert run(ProcessRunner(os.environ), script, tmp_path, on_line=lambda _, line: lines.append(line)) == 0
    assert lines == ["early", "late"]


def test_code_that_ignores_the_first_signal_is_ended_by_force(tmp_path: Path) -> None:
    context = RecordingContext()

    def stop(_stream: object, line: str) -> None:
        threading.Thread(target=context.stop).start()

    script = "trap '' TERM; echo started; while true; do sleep 0.01; done"
    assert run(ProcessRunner(os.environ, grace=0.05), script, tmp_path, context, stop) == 137


def test_nothing_starts_when_the_record_cannot_be_made(tmp_path: Path) -> None:
    context = RecordingContext(fail_recording=RuntimeError("not ours any more"))
    with pytest.raises(RuntimeError, match="not ours any more"):
        run(ProcessRunner(os.environ), "touch ran", tmp_path, context)
    assert not (tmp_path / "ran").exists()


def test_the_recorded_group_is_the_codes_own(tmp_path: Path) -> None:
    context, lines = RecordingContext(), []
    run(ProcessRunner(os.environ), "ps -o pgid= -p $$", tmp_path, context, lambda _, line: lines.append(int(line)))
    assert lines == context.groups
    assert lines != [os.getpgrp()]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    runner = ProcessRunner(os.environ)
    run(runner, "true", tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run(runner, "true", tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_gate_stays_shut_when_its_keeper_dies(tmp_path: Path) -> None:
    """A platform that is killed between starting the process and recording it leaves nothing behind."""
    keeper = """
import os, sys
from pathlib import Path
from headrace_runners.contract import Command
from headrace_runners.process import ProcessRunner
class Context:
    stopping = False
    def record_process_group(self, group):
        print(group, flush=True)
        os.kill(os.getpid(), 9)
    def on_stop(self, callback): pass
ProcessRunner(os.environ).run(Command(["/bin/sh", "-c", "touch ran"], Path(sys.argv[1])), Context(), print)
"""
    died = subprocess.run([sys.executable, "-c", keeper, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    assert died.returncode == -signal.SIGKILL  # its output ended, so the gate's did: nobody holds the pipe any more
    assert not (tmp_path / "ran").exists()


def test_a_program_that_is_missing_or_cannot_start_is_told(tmp_path: Path) -> None:
    runner = ProcessRunner(os.environ)
    with pytest.raises(TaskFailure, match="`nowhere` is not installed on this machine"):
        runner.run(Command(["nowhere", "-c", "x"], tmp_path), RecordingContext(), print)  # type: ignore[arg-type]
    with pytest.raises(TaskFailure, match="The process could not be started"):
        runner.run(Command(["/bin/sh"], tmp_path / "missing"), RecordingContext(), print)  # type: ignore[arg-type]


def test_python_is_that_of_the_workers_virtual_environment_or_the_named_one(tmp_path: Path) -> None:
    if sys.prefix != sys.base_prefix:
        assert Path(ProcessRunner(os.environ).executable(["python"])).parent == Path(sys.executable).parent
    named = tmp_path / "python"
    named.symlink_to(sys.executable)
    runner = ProcessRunner({**os.environ, "HEADRACE_PYTHON": str(named)})
    assert runner.executable(["python", "python3"]) == str(named)
    lines: list[str] = []
    run(runner, "command -v python", tmp_path, on_line=lambda _, line: lines.append(line))
    assert lines == [str(named)]


# -- Processes that outlived their engine -----------------------------------------------------------


def started(script: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a group that says when it is ready, and wait until it does."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_group_that_lives_is_ended() -> None:
    process = started("sleep 1000 & echo ready; wait")
    ended: list[bool] = []
    reaper = threading.Thread(target=process.wait)  # as the system's first process does for an orphan
    reaper.start()
    ended.append(end_group(process.pid, process_identity(process.pid)))
    reaper.join()
    assert ended == [True]
    assert process.stdout is not None
    assert process.stdout.read() == b""  # nobody holds the pipe: the child was ended too
    process.stdout.close()
    assert end_group(process.pid, "anything") is False


def test_a_group_that_ignores_the_first_signal_is_ended_by_force() -> None:
    process = started("trap '' TERM; echo ready; while true; do sleep 0.01; done")
    identity = process_identity(process.pid)
    reaper = threading.Thread(target=process.wait)
    reaper.start()
    assert end_group(process.pid, identity, timedelta(milliseconds=50))
    reaper.join()
    assert process.returncode == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()


def test_a_stranger_with_the_same_number_is_never_touched() -> None:
    process = started("echo ready; read -r x || true; sleep 1000")
    assert end_group(process.pid, process_identity(os.getpid())) is False
    assert end_group(process.pid, "") is False
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_processes_of_the_same_clock_tick_are_told_apart() -> None:
    """Else an engine that recovers its folder would end a script of another engine that began in the same 10 ms."""
    processes = [subprocess.Popen(["/bin/sh", "-c", "read -r x"], stdin=subprocess.PIPE) for _ in range(20)]
    identities = {process_identity(process.pid) for process in processes}
    for process in processes:
        process.communicate()
    assert len(identities) == len(processes)


def test_members_are_found_when_their_leader_is_gone_even_in_another_session() -> None:
    identity = "boot-12345"
    leader = started("setsid sleep 1000 & sleep 1000 & echo ready; kill -9 $$", **{IDENTITY_VARIABLE: identity})
    leader.wait()
    assert end_group(leader.pid, identity)
    assert leader.stdout is not None
    assert leader.stdout.read() == b""
    leader.stdout.close()


def test_a_process_carries_the_identity_of_its_group(tmp_path: Path) -> None:
    lines: list[str] = []
    identities: list[str] = []
    context = RecordingContext()
    context.at_record = lambda: None
    run(
        ProcessRunner(os.environ),
        f"echo ${IDENTITY_VARIABLE}; echo $$",
        tmp_path,
        context,
        lambda _, line: (lines.append(line), identities.append(process_identity(context.groups[0]))),
    )
    assert lines[0] == identities[0]
    assert process_identity(2**22 + 1) == ""


# -- Runners this version does not have -------------------------------------------------------------


def test_a_runner_that_is_not_there_says_what_to_do() -> None:
    properties = Kubernetes.model_validate({"type": Kubernetes.TYPE, "anything": {"at": "all"}})
    with pytest.raises(TaskFailure, match=r"io\.kestra\.plugin\.core\.runner\.Process"):
        properties.runner()


def test_the_process_runner_is_made_from_its_properties() -> None:
    assert isinstance(Process().runner(), ProcessRunner)
