"""Stops a function at one of its requests to AWS, as a crash would, or takes the answer away from it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NoReturn, TypeVar

Answer = TypeVar("Answer")


class CrashError(BaseException):
    """The function's process is dead. No `except Exception` catches it, and every later request raises it too."""


class Mode(Enum):
    """What happens at the request."""

    STOPPED = "the process dies before it is sent"
    LOST = "it is carried out, and the process dies before the answer comes"
    REPEATED = "it is carried out, the answer is lost, and botocore sends it again"


class Faults:
    """Counts the requests that functions make and strikes at one of them."""

    def __init__(self, at: int | None = None, mode: Mode = Mode.STOPPED) -> None:
        """Strike at request number *at* (from 1; None: never)."""
        self.at = at
        self.mode = mode
        self.requests: list[str] = []
        """What was asked, in order."""
        self.struck: str | None = None
        """The request it struck at."""
        self._dead = False

    def request(self, name: str, send: Callable[[], Answer]) -> Answer:
        """Make a request, or crash."""
        if self._dead:
            raise CrashError(name)
        self.requests.append(name)
        if len(self.requests) != self.at:
            return send()
        self.struck = name
        if self.mode is Mode.REPEATED:
            send()
            return send()
        self._dead = True
        if self.mode is Mode.LOST:
            send()
        raise CrashError(name)

    def die(self, name: str) -> NoReturn:
        """Have the process that makes a request die of it. Raises CrashError."""
        self.struck, self._dead = name, True
        raise CrashError(name)

    def bury(self) -> None:
        """Let another process begin where one died."""
        self._dead = False
