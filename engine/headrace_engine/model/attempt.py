"""What an attempt leaves behind: a result, and payloads that may be too large to stand in the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State


@dataclass(frozen=True, slots=True)
class Inline:
    """A value that stands right here (JSON types only)."""

    value: Any


@dataclass(frozen=True, slots=True)
class Stored:
    """A value in internal storage, as JSON."""

    uri: str
    size: int


Payload = Inline | Stored


@dataclass(frozen=True, slots=True)
class ExecutionChange:
    """What a task did to its own execution (Labels, SetVariables, Exit; reference §2.2 ExecutionUpdatable)."""

    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    exit: State | None = None


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended.

    state is SUCCESS, WARNING, FAILED, KILLED, or RESUBMITTED for an attempt that was lost (DESIGN §3.6).
    """

    state: State
    started: datetime
    ended: datetime
    outputs: Payload | None = None
    error: str | None = None
    """The message of a failure, or why the attempt was lost."""
    change: ExecutionChange | None = None
