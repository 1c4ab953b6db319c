"""jq programs, run where they can be stopped.

The C library cannot be interrupted, and `range(infinite)` is one word. So programs run in a child process that lives
on between uses (a use costs well under a millisecond): it has no environment, a bound on memory, cannot open a file,
and sets itself an alarm that kills it when a program takes too long; the next use starts another. It ends when the
pipe to its parent closes, so it outlives nobody.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .errors import ExpressionError
from .limits import Limits

# jq can load files as modules. The child could not open them; saying so here gives the better message.
_MODULES = re.compile(r"\s*(?:#[^\n]*\n\s*)*(?:module|import|include)\b")
_PROGRAM_CHARS = 100_000


class Stopped(Exception):  # noqa: N818 - how a child ends, not an error of ours
    """The child has ended or was ended without an answer."""


class Child:
    """One child process."""

    def __init__(self, limits: Limits) -> None:
        self.memory = limits.jq_memory_bytes
        self.owner = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("jq_child.py")), str(self.memory), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Where the interpreter finds its own library, which Lambda's needs; the child forgets even that.
            env={name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"},
            cwd="/",
        )

    def alive(self) -> bool:
        """Return whether it can still be asked (a forked copy of its parent must not share the pipe)."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, request: bytes, seconds: float) -> bytes:
        """Return the answer to *request*.

        Raises:
            Stopped: there is none in time, or no child any more.
        """
        deadline = time.monotonic() + seconds
        assert self._process.stdin is not None  # noqa: S101 - pipes, above
        assert self._process.stdout is not None  # noqa: S101 - pipes, above
        try:
            self._process.stdin.write(struct.pack(">dI", seconds, len(request)) + request)
            self._process.stdin.flush()
            size = struct.unpack(">I", self._read(self._process.stdout.fileno(), 4, deadline))[0]
            return self._read(self._process.stdout.fileno(), size, deadline)
        except (OSError, Stopped):
            self.close()
            raise Stopped from None

    @staticmethod
    def _read(descriptor: int, size: int, deadline: float) -> bytes:
        pieces = []
        while size:
            # The child's own alarm comes first; a second more is for a child that is starting.
            ready = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()) + 1.0)[0]
            piece = os.read(descriptor, min(size, 1 << 20)) if ready else b""
            if not piece:
                raise Stopped
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """End the child."""
        if self.owner != os.getpid():
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was still to be written has no reader any more
                    pipe.close()


class _Children:
    """The child of this process, used by one thread at a time."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked copy must: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._child: Child | None = None

    def ask(self, request: bytes, limits: Limits) -> bytes:
        with self._lock:
            if self._child is None or not self._child.alive() or self._child.memory != limits.jq_memory_bytes:
                self._drop()
                self._child = Child(limits)
            return self._child.ask(request, limits.jq_seconds)

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


_CHILDREN = _Children()
atexit.register(_CHILDREN.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_CHILDREN.forget)


def close() -> None:
    """End the child process, if there is one; the next program starts another."""
    _CHILDREN.close()


def run(program: str, document: str, limits: Limits) -> list[Any]:
    """Return all results of *program* on the JSON text *document*."""
    if len(program) > _PROGRAM_CHARS:
        raise ExpressionError(f"A jq program is longer than {_PROGRAM_CHARS} characters")
    if _MODULES.match(program) or re.search(r"\bmodulemeta\b", program):
        raise ExpressionError("A jq program cannot load modules")
    request = json.dumps(
        [program, document, limits.jq_results, limits.output_chars], ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8", "surrogatepass")
    try:
        answer = json.loads(_CHILDREN.ask(request, limits))
    except Stopped:
        raise ExpressionError(
            f"The jq program `{program[:200]}` took more than {limits.jq_seconds:g} seconds or too much memory"
        ) from None
    if isinstance(answer, str):
        raise ExpressionError(f"The jq program `{program[:200]}` failed: {answer}")
    found: list[Any] = answer
    return found
