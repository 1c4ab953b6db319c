"""What one poll is about, and what came of it."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from headrace_engine.core.conditions import ConditionFailed
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import TriggerDefinition
from headrace_engine.plugin import parse_duration

LONGEST = timedelta(seconds=20)
"""A poll begins nothing new after so long: on AWS an invocation has other work, too."""


class PollFailed(Exception):  # noqa: N818 - named for the situation
    """Nobody could be asked, or the answer could not be used; the message says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll of a trigger."""

    flow: FlowDefinition
    trigger: TriggerDefinition
    date: datetime
    """What names it: the instant it was due."""

    @property
    def variables(self) -> dict[str, Any]:
        """`trigger` in expressions, before there is an answer."""
        return {"date": self.date.isoformat().replace("+00:00", "Z")}


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll started."""

    started: tuple[str, ...] = ()
    """The ids of executions that were started by it, or had been."""
    has_more: bool = False
    """Whether it stopped before it had taken all there was."""
    problems: list[str] = field(default_factory=list)
    """What it left, and why."""


def duration(value: Any, name: str, otherwise: timedelta) -> timedelta:
    """Return a length of time that a trigger names. Raises ConditionFailed."""
    if value is None:
        return otherwise
    try:
        return value if isinstance(value, timedelta) else parse_duration(str(value))
    except ValueError:
        raise ConditionFailed(f"`{name}` is `{value}`, which is no length of time") from None


def whole(value: Any, name: str, otherwise: int) -> int:
    """Return a whole number that a trigger names. Raises ConditionFailed."""
    if value is None:
        return otherwise
    if isinstance(value, bool) or not str(value).strip().isdigit():
        raise ConditionFailed(f"`{name}` is `{value}`, which is no whole number")
    return int(str(value))


def flag(value: Any, *, otherwise: bool) -> bool:
    """Return yes or no."""
    return otherwise if value is None else str(value).strip().lower() == "true"
