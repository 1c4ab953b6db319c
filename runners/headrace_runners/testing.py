# ruff: noqa: S101 - it is a suite of tests, shipped so that other runners can use it
"""The suite every task runner passes (see contract). A test module subclasses it and gives it a runner:

    class TestProcess(RunnerContract):
        @pytest.fixture
        def runner(self) -> TaskRunner:
            return ProcessRunner(os.environ)

The commands it runs need a POSIX shell where the code runs, nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from headrace_engine.plugin import CodePolicy, TaskFailure
from headrace_runners.contract import LONGEST_LINE, Command, Stream, TaskRunner


@dataclass
class RecordingLog:
    """As much of a TaskLogger as a runner uses."""

    said: list[tuple[str, str]]

    def debug(self, message: str) -> None:
        """Note it."""
        self.said.append(("DEBUG", message))

    def warn(self, message: str) -> None:
        """Note it."""
        self.said.append(("WARN", message))


@dataclass
class RecordingContext:
    """As much of a RunContext as a runner uses."""

    groups: list[int] = field(default_factory=list)
    fail_recording: Exception | None = None
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    stopping: bool = False
    at_record: Callable[[], None] = lambda: None
    code: CodePolicy = field(default_factory=CodePolicy)
    execution_id: str = "exec1"
    task_run_id: str = "run1"
    attempt: int = 0
    said: list[tuple[str, str]] = field(default_factory=list)
    """What the runner itself logged, with the level."""

    @property
    def log(self) -> RecordingLog:
        """Return what notes lines in ``said``."""
        return RecordingLog(self.said)

    def record_process_group(self, process_group: int) -> None:
        """Note the group, or fail as told."""
        self.at_record()
        if self.fail_recording is not None:
            raise self.fail_recording
        self.groups.append(process_group)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Note the callback, or call it when the stop came first."""
        if self.stopping:
            callback()
        else:
            self.callbacks.append(callback)

    def stop(self) -> None:
        """Ask for the end."""
        self.stopping = True
        for callback in self.callbacks:
            callback()


class RunnerContract:
    """What holds for every task runner."""

    @pytest.fixture
    def runner(self) -> TaskRunner:
        """Return the runner under test."""
        raise NotImplementedError

    IMAGE: ClassVar[str] = "alpine"
    """What a runner of containers runs the suite in."""

    @pytest.fixture
    def context(self) -> RecordingContext:
        """Return a context to run in."""
        return RecordingContext()

    def lines_of(
        self,
        runner: TaskRunner,
        context: RecordingContext,
        directory: Path,
        script: str,
        *,
        env: dict[str, str] | None = None,
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> tuple[int, list[tuple[Stream, str]]]:
        """Run a shell script; return its exit code and lines."""
        lines: list[tuple[Stream, str]] = []

        def take(stream: Stream, line: str) -> None:
            lines.append((stream, line))
            on_line(line)

        command = Command(["/bin/sh", "-c", script], directory, env or {}, self.IMAGE)
        return runner.run(command, context, take), lines  # type: ignore[arg-type] # as much of it as is used

    def test_both_streams_arrive_by_lines_in_order(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        script = "echo one; echo; printf 'two\\r\\n'; echo bad >&2; printf last"
        code, lines = self.lines_of(runner, context, tmp_path, script)
        assert code == 0
        assert _of(lines, Stream.STDOUT) == ["one", "", "two", "last"]
        assert _of(lines, Stream.STDERR) == ["bad"]

    def test_the_exit_code_is_the_codes_own(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        assert self.lines_of(runner, context, tmp_path, "exit 7")[0] == 7
        assert self.lines_of(runner, context, tmp_path, "kill -9 $$")[0] == 137

    def test_files_go_in_and_come_out(self, runner: TaskRunner, context: RecordingContext, tmp_path: Path) -> None:
        (tmp_path / "in.txt").write_text("hello")
        (tmp_path / "out").mkdir()
        working_dir = runner.site(tmp_path).working_dir
        # Where the folder is, a runner may know before the code runs, or leave to a variable of the code's.
        script = f"""cat in.txt > result.txt; cat "{working_dir}/in.txt" > "{working_dir}/out/copy.txt"
            here=$(pwd -P); cd "{working_dir}" && echo "$here" && pwd -P"""
        _, lines = self.lines_of(runner, context, tmp_path, script)
        assert (tmp_path / "result.txt").read_text() == "hello"
        assert (tmp_path / "out" / "copy.txt").read_text() == "hello"
        here, named = _of(lines, Stream.STDOUT)
        assert here == named

    def test_the_environment_is_the_commands_and_nothing_of_the_platform(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        _, lines = self.lines_of(runner, context, tmp_path, "env", env={"MINE": "a b", "OTHER": ""})
        found = dict(line.partition("=")[::2] for line in _of(lines, Stream.STDOUT))
        assert (found["MINE"], found["OTHER"]) == ("a b", "")
        assert not [name for name in found if name.startswith("SECRET_")]
        assert not [name for name in found if name.startswith("HEADRACE_") and name != "HEADRACE_PROCESS"]

    def test_nothing_is_read_from_standard_input(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        assert self.lines_of(runner, context, tmp_path, "cat; echo end")[1] == [(Stream.STDOUT, "end")]

    def test_much_on_both_streams_does_not_block(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        script = "i=0; while [ $i -lt 5000 ]; do echo out-$i-$PADDING; echo err-$i-$PADDING >&2; i=$((i+1)); done"
        _, lines = self.lines_of(runner, context, tmp_path, script, env={"PADDING": "x" * 200})
        assert [line.split("-")[1] for line in _of(lines, Stream.STDOUT)] == [str(i) for i in range(5000)]
        assert [line.split("-")[1] for line in _of(lines, Stream.STDERR)] == [str(i) for i in range(5000)]

    def test_a_long_line_comes_in_pieces(self, runner: TaskRunner, context: RecordingContext, tmp_path: Path) -> None:
        size = 2 * LONGEST_LINE + 5
        _, lines = self.lines_of(runner, context, tmp_path, f"head -c {size} /dev/zero | tr '\\0' x; echo; echo next")
        pieces = _of(lines, Stream.STDOUT)
        assert [len(piece) for piece in pieces[:-1]] == [LONGEST_LINE, LONGEST_LINE, 5]
        assert pieces[-1] == "next"

    def test_what_is_not_utf8_is_replaced(self, runner: TaskRunner, context: RecordingContext, tmp_path: Path) -> None:
        _, lines = self.lines_of(runner, context, tmp_path, "printf 'a\\377b \\303\\244\\n'")
        assert _of(lines, Stream.STDOUT) == ["a\ufffdb ä"]

    def test_lines_arrive_while_the_code_runs(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        def answer(line: str) -> None:
            if line == "waiting":  # nothing but the stop it causes makes the code go on
                threading.Thread(target=context.stop).start()

        script = "trap 'echo answered; exit 0' TERM; echo waiting; while true; do sleep 0.01; done"
        assert _of(self.lines_of(runner, context, tmp_path, script, on_line=answer)[1], Stream.STDOUT) == [
            "waiting",
            "answered",
        ]

    def test_a_stop_ends_the_code_and_all_it_started(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        script = "trap 'echo cleaned; exit 3' TERM; (echo started; exec sleep 1000) & wait"

        def stop(line: str) -> None:
            if line == "started":
                threading.Thread(target=context.stop).start()

        code, lines = self.lines_of(runner, context, tmp_path, script, on_line=stop)
        assert code == 3
        assert _of(lines, Stream.STDOUT) == ["started", "cleaned"]

    def test_a_stop_that_came_first_counts(self, runner: TaskRunner, context: RecordingContext, tmp_path: Path) -> None:
        context.stop()
        assert self.lines_of(runner, context, tmp_path, "sleep 1000")[0] != 0

    def test_a_stop_after_the_end_does_nothing(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        assert self.lines_of(runner, context, tmp_path, "exit 0")[0] == 0
        context.stop()

    def test_what_is_left_in_the_background_is_ended(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        started = time.monotonic()
        assert self.lines_of(runner, context, tmp_path, "sleep 1000 & echo done")[0] == 0
        assert time.monotonic() - started < 60

    def test_nothing_runs_before_the_record_is_made(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        seen: list[bool] = []
        context.at_record = lambda: seen.append((tmp_path / "ran").exists())
        assert self.lines_of(runner, context, tmp_path, "touch ran")[0] == 0
        assert seen in ([False], [])  # a runner without a process of this machine records nothing here
        assert (tmp_path / "ran").exists()

    def test_a_program_that_does_not_exist_is_named(
        self, runner: TaskRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        lines: list[str] = []
        try:
            name = runner.site(tmp_path).executable(["no-such-program"])
            command = Command([name], tmp_path, image=self.IMAGE)
            code = runner.run(command, context, lambda _stream, line: lines.append(line))  # type: ignore[arg-type]
        except TaskFailure as failure:
            lines.append(str(failure))
        else:
            assert code == 127
        assert "no-such-program" in "".join(lines)


def _of(lines: Sequence[tuple[Stream, str]], stream: Stream) -> list[str]:
    return [line for name, line in lines if name is stream]
