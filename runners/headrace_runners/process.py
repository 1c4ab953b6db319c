"""The Process task runner: people's code as a process of this machine, in a process group of its own.

The child first waits at a gate (a shell that reads one line). Only when its process group has been
recorded is the line written and the code takes the shell's place; if this process dies before that, the
gate sees the end of the pipe and the code never starts.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar, Literal

from headrace_engine.plugin import RunContext, TaskFailure
from headrace_runners.contract import GRACE, Command, OnLine, RunnerProperties, Site, Stream
from headrace_runners.lines import Lines
from headrace_runners.process_groups import IDENTITY_VARIABLE, end_group, process_identity

__all__ = ["Process", "ProcessRunner", "end_group", "process_identity"]

_GATE = f'IFS= read -r {IDENTITY_VARIABLE} && export {IDENTITY_VARIABLE} && exec "$@" </dev/null; exit 127'
_PLATFORM_PREFIXES = ("HEADRACE_", "SECRET_")
_PYTHON = "HEADRACE_PYTHON"
_CHUNK = 64 * 1024
_NOT_INSTALLED = "`{}` is not installed on this machine. Install it, or put the folder that has it on the PATH"
_STOPPED = 128 + signal.SIGTERM
"""What code returns that never began, because it was asked to stop before."""
_DRAIN = 1.0
"""Seconds that what a finished script left running may go on writing (``exec > >(tee log)``) before it is ended."""


class Process(RunnerProperties):
    """Run the script as a process on the machine of the worker.

    The process inherits the worker's environment without the platform's own variables (``HEADRACE_…``, ``SECRET_…``),
    plus the task's ``env``, ``WORKING_DIR`` and ``OUTPUT_DIR``. When the task is killed or times out, the process and
    everything it started get SIGTERM and five seconds later SIGKILL. What it leaves running in the
    background is ended when it ends.

    Interpreters are those installed on the machine. ``python`` is the one Headrace itself runs in when that is a
    virtual environment, else the first on PATH; the worker's variable HEADRACE_PYTHON names another.

        taskRunner:
          type: io.kestra.plugin.core.runner.Process
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.runner.Process"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.models.tasks.runners.types.ProcessTaskRunner",)

    type: Literal[
        "io.kestra.plugin.core.runner.Process", "io.kestra.core.models.tasks.runners.types.ProcessTaskRunner"
    ] = "io.kestra.plugin.core.runner.Process"

    def runner(self) -> ProcessRunner:
        """Return the runner with this process's own environment."""
        return ProcessRunner(os.environ)


class ProcessRunner:
    """Implements contract.TaskRunner with the operating system's processes."""

    def __init__(self, environment: Mapping[str, str], grace: float = GRACE.total_seconds()) -> None:
        """Take the worker's environment, and the seconds between SIGTERM and SIGKILL."""
        self._environment = {
            name: value for name, value in environment.items() if not name.startswith(_PLATFORM_PREFIXES)
        }
        self._grace = grace
        self._python = environment.get(_PYTHON)
        own = self._python or (sys.executable if sys.prefix != sys.base_prefix else None)
        if own:
            path = self._environment.get("PATH", os.defpath)
            self._environment["PATH"] = f"{Path(own).parent}{os.pathsep}{path}"

    def site(self, directory: Path) -> Site:
        """Return the folder as it is."""
        return Site(str(directory), self.executable, is_here=True)

    def executable(self, names: Sequence[str]) -> str:
        """Return the path of the first of *names* on PATH."""
        if self._python and "python" in names:
            return self._python
        for name in names:
            found = shutil.which(name, path=self._environment.get("PATH"))
            if found:
                return found
        raise TaskFailure(_NOT_INSTALLED.format(names[0]))

    def run(self, command: Command, context: RunContext, on_line: OnLine) -> int:
        """Run *command* in a process group of its own."""
        if context.stopping:
            return _STOPPED
        with ExitStack() as stack:
            process = self._start(command)
            stack.callback(_close, process)
            supervision = _Supervision(process, on_line, self._grace, stack)
            try:
                context.record_process_group(process.pid)
                _open_gate(process)
                context.on_stop(supervision.request_stop)
                supervision.watch()
            except BaseException:
                _kill(process, signal.SIGKILL)
                raise
            code = process.wait()
        return 128 - code if code < 0 else code

    def _start(self, command: Command) -> subprocess.Popen[bytes]:
        environment = {**self._environment, **command.env}
        program = command.argv[0]
        if shutil.which(program, path=environment.get("PATH")) is None:
            raise TaskFailure(_NOT_INSTALLED.format(program))
        try:
            return subprocess.Popen(  # noqa: S603 - running people's commands is what this is for
                ["/bin/sh", "-c", _GATE, "headrace", *command.argv],
                cwd=command.directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise TaskFailure(f"The process could not be started: {error}") from error


def _open_gate(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is None:
        raise RuntimeError("the gate was started without its pipe")
    with process.stdin as gate, suppress(BrokenPipeError):  # it was killed at the gate
        gate.write(process_identity(process.pid).encode() + b"\n")


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    process.wait()


def _kill(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the group. Until it is waited for, the leader keeps its number from being given away."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


class _Supervision:
    """Reads both streams and waits for the end of the process in one loop; ends the group when asked to."""

    def __init__(self, process: subprocess.Popen[bytes], on_line: OnLine, grace: float, stack: ExitStack) -> None:
        self._process = process
        self._grace = grace
        self._running = True
        self._reading = 0
        self._steps: list[tuple[float, signal.Signals | None]] = []
        """When to do what against processes that do not end; None is to stop listening to them."""
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._wake = _Wake()
        stack.callback(self._wake.close)
        self._selector.register(self._wake.receiver, selectors.EVENT_READ, self._stop)
        for stream, pipe in ((Stream.STDOUT, process.stdout), (Stream.STDERR, process.stderr)):
            if pipe is not None:
                self._reading += 1
                self._selector.register(pipe, selectors.EVENT_READ, Lines(stream, on_line))
        self._exit = _exit_descriptor(process.pid)
        if self._exit is not None:
            stack.callback(os.close, self._exit)
            self._selector.register(self._exit, selectors.EVENT_READ, self._ended)

    def request_stop(self) -> None:
        """Have the group ended; any thread may call, also when all is over."""
        self._wake.send()

    def watch(self) -> None:
        """Return when the process has ended and nobody of its group can write any more."""
        while self._running or self._reading:
            for key, _ in self._selector.select(self._patience()):
                if isinstance(key.data, Lines):
                    self._read(key.fd, key.data)
                else:
                    key.data()
            if self._exit is None and self._running and self._process.poll() is not None:
                self._ended()
            if self._steps and time.monotonic() >= self._steps[0][0]:
                _, number = self._steps.pop(0)
                if number is None:
                    break  # a process that left the group holds a stream open: its lines are not ours any more
                _kill(self._process, number)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Lines):
                key.data.end()
        _kill(self._process, signal.SIGKILL)

    def _patience(self) -> float | None:
        if self._exit is None and self._running:
            return 0.02  # no descriptor tells of the end here: look now and then
        return max(0.0, self._steps[0][0] - time.monotonic()) if self._steps else None

    def _read(self, descriptor: int, lines: Lines) -> None:
        chunk = os.read(descriptor, _CHUNK)
        if chunk:
            lines.feed(chunk)
        else:
            lines.end()
            self._selector.unregister(descriptor)
            self._reading -= 1

    def _stop(self) -> None:
        self._selector.unregister(self._wake.receiver)
        _kill(self._process, signal.SIGTERM)
        self._steps = [(time.monotonic() + self._grace, signal.SIGKILL)]
        if not self._running:
            self._steps.append((time.monotonic() + self._grace + _DRAIN, None))

    def _ended(self) -> None:
        self._running = False
        if self._exit is not None:
            self._selector.unregister(self._exit)
        now = time.monotonic()
        if self._steps:  # being ended anyway: what the leader started has the same time to clean up
            self._steps.append((self._steps[0][0] + _DRAIN, None))
        else:
            self._steps = [
                (now + _DRAIN, signal.SIGTERM),
                (now + 2 * _DRAIN, signal.SIGKILL),
                (now + 3 * _DRAIN, None),
            ]


class _Wake:
    """A pipe that wakes the loop, safe to write to after it was closed."""

    def __init__(self) -> None:
        self.receiver, self._sender = os.pipe()
        self._open = True
        self._lock = threading.Lock()

    def send(self) -> None:
        with self._lock:
            if self._open:
                os.write(self._sender, b"s")

    def close(self) -> None:
        with self._lock:
            self._open = False
            os.close(self.receiver)
            os.close(self._sender)


def _exit_descriptor(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, where the system has such."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel, a sandbox that forbids it
        return None
