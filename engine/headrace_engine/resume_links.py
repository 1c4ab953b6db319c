"""Links by which a person decides what becomes of a Pause: `{{ resumeUrl() }}` makes one (docs/forms.md).

A link is a key that cannot be guessed. The store has its hash, and what it is good for: one task run of one execution,
some decisions, until some date. Whoever reads the store can open nothing with it, and no flow can write there: the keys
hold what a key of a flow's cannot.

The link is often made before the Pause begins. Then it means the first run of that Pause that begins after the task
run which made it, in the same round of the loops around both.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.expressions import ExpressionError
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import parse_duration
from headrace_engine.ports import KV, Clock, KeyExistsError

NAMESPACE = "_links"
"""Where links are noted; no flow can have this namespace."""
PATH = "/approve/"
"""Below the server's address; the key follows."""
VALID = timedelta(days=7)
LONGEST = timedelta(days=90)
UPLOADS = 20
"""Files that the holder of one link may put ahead of the form."""
_BYTES = 32
_LONGEST_RECIPIENT = 200


class Decision(StrEnum):
    """What a person may decide, in the words of a Pause's `behavior`."""

    RESUME = "RESUME"
    WARN = "WARN"
    FAIL = "FAIL"
    CANCEL = "CANCEL"
    KILL = "KILL"

    @property
    def to(self) -> State:
        """The state that the Pause is resumed to."""
        return _STATES[self]


_STATES = {
    Decision.RESUME: State.RUNNING,
    Decision.WARN: State.WARNING,
    Decision.FAIL: State.FAILED,
    Decision.CANCEL: State.CANCELLED,
    Decision.KILL: State.KILLED,
}
USUAL = (Decision.RESUME, Decision.CANCEL)


class ResumeLink(msgspec.Struct, frozen=True):
    """What a link is good for."""

    execution_id: str
    task_id: str
    decisions: tuple[Decision, ...]
    made_by: str
    """The task run that made it."""
    task_run_id: str = ""
    """The run of the Pause; empty when it had not begun."""
    after: int = -1
    """The order of the task run that made it."""
    path: tuple[str, ...] = ()
    """The values of the loops around that one."""
    recipient: str = ""
    """For whom it was made, as the flow says."""
    key_hash: str = ""

    @property
    def id(self) -> str:
        """What the link is called where it is recorded; it opens nothing."""
        return self.key_hash[:12]

    def is_over(self, state: ExecutionState) -> bool:
        """Return whether the link is for a round of a loop, or a try, that is forgotten: the next one is not meant."""
        return (self.task_run_id or self.made_by) not in state.task_runs

    def meant(self, state: ExecutionState) -> TaskRun | None:
        """Return the run of the Pause that the link is for; None when it has not begun, or is over."""
        if self.is_over(state):
            return None
        if self.task_run_id:
            return state.task_runs[self.task_run_id]
        found = (
            run
            for run in state.task_runs.values()
            if run.task_id == self.task_id and run.order > self.after and _is_same_round(run.path, self.path)
        )
        return min(found, key=lambda run: run.order, default=None)


def new_link(state: ExecutionState, made_by: TaskRun, asked: Mapping[str, Any]) -> tuple[ResumeLink, timedelta]:
    """Return the link that a task run asks for by the arguments of `resumeUrl`, and how long it is valid.

    Raises ExpressionError.
    """
    pause = _pause(state, made_by, asked.get("task"))
    decisions = _decisions(asked.get("decisions"))
    valid = _valid(asked.get("expiresIn"))
    recipient = str(asked.get("recipient") or "")[:_LONGEST_RECIPIENT]
    around = next((each for each in state.ancestors(made_by) if each.task_id == pause), None)
    begun = around or _begun(state, pause, made_by.path)
    link = ResumeLink(
        execution_id=state.id,
        task_id=pause,
        decisions=decisions,
        made_by=made_by.id,
        task_run_id=begun.id if begun is not None else "",
        after=made_by.order,
        path=made_by.path,
        recipient=recipient,
    )
    return link, valid


class Decided(msgspec.Struct, frozen=True):
    """What was decided, about which run of the Pause."""

    decision: Decision
    task_run_id: str


class ResumeLinks:
    """The links there are."""

    def __init__(self, kv: KV, clock: Clock) -> None:
        self._kv = kv
        self._clock = clock

    def put(self, link: ResumeLink, valid: timedelta, now: datetime) -> str:
        """Store a link; return its key, which is nowhere else."""
        key = secrets.token_urlsafe(_BYTES)
        self._kv.put(NAMESPACE, _name(key_hash(key)), "JSON", msgspec.to_builtins(link), now=now, ttl=valid)
        return key

    def get(self, key: str) -> ResumeLink | None:
        """Return the link of a key; None when there is none, or it has expired."""
        hashed = key_hash(key)
        entry = self._kv.get(NAMESPACE, _name(hashed))
        if entry is None or (entry.expires is not None and entry.expires <= self._clock.now()):
            return None
        return msgspec.structs.replace(msgspec.convert(entry.value, ResumeLink), key_hash=hashed)

    def take_upload(self, link: ResumeLink) -> bool:
        """Count a file that a link's holder is about to put somewhere; return whether it may be one more."""
        for number in range(UPLOADS):
            key = f"{_name(link.key_hash)}/upload/{number}"
            try:
                self._kv.put(NAMESPACE, key, "NUMBER", number, now=self._clock.now(), ttl=LONGEST, overwrite=False)
            except KeyExistsError:
                continue
            return True
        return False

    def decided(self, link: ResumeLink) -> Decided | None:
        """Return what was decided by a link."""
        entry = self._kv.get(NAMESPACE, _decided(link))
        return msgspec.convert(entry.value, Decided) if entry is not None else None

    def decide(self, link: ResumeLink, decided: Decided) -> Decided:
        """Note what is decided by a link; return what was noted first.

        Whoever comes again with the same, because the answer was lost, may have it sent again.
        """
        value = msgspec.to_builtins(decided)
        try:
            self._kv.put(NAMESPACE, _decided(link), "JSON", value, now=self._clock.now(), ttl=LONGEST, overwrite=False)
        except KeyExistsError:
            return self.decided(link) or decided
        return decided


def key_hash(key: str) -> str:
    """Return what the store knows of a key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _name(hashed: str) -> str:
    return f"link/{hashed}"  # a key that a flow writes holds no slash


def _decided(link: ResumeLink) -> str:
    return f"{_name(link.key_hash)}/decided"


def _pause(state: ExecutionState, made_by: TaskRun, asked: Any) -> str:
    tasks = state.flow.tasks
    if asked is not None:
        task = tasks.get(str(asked))
        if task is None or task.kind is not Kind.PAUSE:
            raise ExpressionError(f"resumeUrl(): the flow has no Pause task `{asked}`")
        return task.id
    around = next((each for each in state.ancestors(made_by) if tasks[each.task_id].kind is Kind.PAUSE), None)
    if around is not None:
        return around.task_id
    pauses = [task.id for task in state.flow.definition.walk() if task.kind is Kind.PAUSE and not task.disabled]
    if len(pauses) == 1:
        return pauses[0]
    if not pauses:
        raise ExpressionError("resumeUrl(): the flow has no Pause task")
    named = ", ".join(f"`{each}`" for each in pauses)
    raise ExpressionError(f"resumeUrl(): the flow has the Pause tasks {named}; name one: resumeUrl(task='{pauses[0]}')")


def _begun(state: ExecutionState, pause: str, path: Sequence[str]) -> TaskRun | None:
    """Return the run of the Pause that goes on already."""
    found = (
        run
        for run in state.task_runs.values()
        if run.task_id == pause and not run.state.is_terminal and _is_same_round(run.path, path)
    )
    return max(found, key=lambda run: run.order, default=None)


def _is_same_round(one: Sequence[str], other: Sequence[str]) -> bool:
    return all(mine == theirs for mine, theirs in zip(one, other, strict=False))


def _decisions(asked: Any) -> tuple[Decision, ...]:
    if asked is None:
        return USUAL
    given = asked if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
    found = [Decision(str(each)) for each in given if str(each) in list(Decision)]
    if not given or len(found) < len(given):
        raise ExpressionError(f"resumeUrl(): decisions are some of {', '.join(Decision)}, not `{asked}`")
    return tuple(dict.fromkeys(found))


def _valid(asked: Any) -> timedelta:
    if asked is None:
        return VALID
    try:
        valid = asked if isinstance(asked, timedelta) else parse_duration(str(asked))
    except ValueError:
        raise ExpressionError(f"resumeUrl(): expiresIn is a duration such as `P7D`, not `{asked}`") from None
    if not timedelta(0) < valid <= LONGEST:
        raise ExpressionError(f"resumeUrl(): expiresIn is at most {LONGEST.days} days")
    return valid
