"""The signs that stand for states and draw the tree, in Unicode and in ASCII."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from headrace_cli.styled import Span, Tone
from headrace_engine.model.state import State


@dataclass(frozen=True, slots=True)
class Symbols:
    """One set of signs."""

    done: str
    warned: str
    failed: str
    running: str
    again: str
    paused: str
    waiting: str
    skipped: str
    branch: str
    last: str
    bar: str
    gap: str
    ellipsis: str
    dot: str

    def of(self, state: State) -> Span:
        """Return the sign of *state* in its tone."""
        name, tone = _STATES[state]
        return Span(getattr(self, name), tone)


UNICODE = Symbols(
    done="✔",
    warned="▲",
    failed="✘",
    running="●",
    again="↻",
    paused="‖",
    waiting="○",
    skipped="↷",
    branch="├─ ",
    last="└─ ",
    bar="│  ",
    gap="   ",
    ellipsis="…",
    dot="·",
)
ASCII = Symbols(
    done="+",
    warned="!",
    failed="x",
    running="*",
    again="~",
    paused="=",
    waiting=".",
    skipped="-",
    branch="|- ",
    last="`- ",
    bar="|  ",
    gap="   ",
    ellipsis="...",
    dot="-",
)

_STATES: Mapping[State, tuple[str, Tone]] = {
    State.CREATED: ("waiting", Tone.FAINT),
    State.QUEUED: ("waiting", Tone.FAINT),
    State.RUNNING: ("running", Tone.ACTIVE),
    State.PAUSED: ("paused", Tone.WARN),
    State.RESTARTED: ("running", Tone.ACTIVE),
    State.RETRYING: ("again", Tone.WARN),
    State.RETRIED: ("again", Tone.WARN),
    State.KILLING: ("running", Tone.BAD),
    State.KILLED: ("failed", Tone.BAD),
    State.SUCCESS: ("done", Tone.GOOD),
    State.WARNING: ("warned", Tone.WARN),
    State.FAILED: ("failed", Tone.BAD),
    State.CANCELLED: ("failed", Tone.BAD),
    State.SKIPPED: ("skipped", Tone.FAINT),
    State.BREAKPOINT: ("paused", Tone.WARN),
    State.RESUBMITTED: ("again", Tone.WARN),
}


def tone_of(state: State) -> Tone:
    """Return the tone in which *state* is shown."""
    return _STATES[state][1]


def for_encoding(encoding: str | None) -> Symbols:
    """Return the Unicode signs where *encoding* has all of them, else the ASCII ones."""
    try:
        "".join(astuple(UNICODE)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
