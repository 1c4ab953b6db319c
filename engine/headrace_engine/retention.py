"""How long executions, their logs and their files are kept, by namespace; and what removes them after that.

A rule says it for a namespace and those below it that have none of their own; each of the three by itself. It counts
from the end of an execution: what has not ended is never touched.

Removing goes on from where the last pass was: only what started since then is looked at, and what had to wait (it had
not ended yet, or not long enough ago) is remembered by its id. So a pass reads what is new, however much there is, and
misses nothing. A rule that is changed has its namespace looked at anew from the beginning.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from headrace_engine.deletion import Deletion, delete
from headrace_engine.engine import Engine
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.search import ExecutionQuery, is_within
from headrace_engine.plugin import format_duration, parse_duration
from headrace_engine.ports import ExecutionSummary
from headrace_engine.run_stores import execution_folder, purge_files

_log = logging.getLogger(__name__)

RULES = "_retention"
"""The namespace, which no flow can have, of the keys that hold the rules."""
PROGRESS = "_retention_progress"
"""The same for how far removing has come."""
EVERYWHERE = ""
"""What the rule is for that holds where there is no other."""
_KEY_OF_ALL = "*"
FOREVER = "FOREVER"
_LEAST = timedelta(hours=1)
"""By then every execution is in the lists, however far behind they are: what started before is found."""
EVERY = timedelta(hours=1)
"""How often, at most, one of the platform's sweeps removes what is old."""
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_NEXT = timedelta(microseconds=1)
_AT_ONCE = 2_000
_PAGE = 500
_SHORTEST = timedelta(milliseconds=1)


class Kept(StrEnum):
    """What is kept."""

    EXECUTIONS = "executions"
    """All there is of an execution; its logs, metrics and files go with it."""
    LOGS = "logs"
    FILES = "files"
    """What its tasks stored, and its inputs' files."""


class RetentionRefused(ValueError):  # noqa: N818 - named for the situation
    """A rule that cannot be; the message says what can."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a namespace says; None where it leaves that to the one above it, `timedelta.max` for ever."""

    executions: timedelta | None = None
    logs: timedelta | None = None
    files: timedelta | None = None

    def of(self, kept: Kept) -> timedelta | None:
        """Return what it says of one."""
        length: timedelta | None = getattr(self, kept.value)
        return length


@dataclass(frozen=True, slots=True)
class Holds:
    """What holds for a namespace, and which namespace says so."""

    length: timedelta
    said_by: str


Rules = Mapping[str, Rule]
"""By namespace; that of EVERYWHERE holds where there is no other."""


def read_length(text: str) -> timedelta:
    """Return the length of time that a rule names. Raises RetentionRefused."""
    if text.strip().upper() == FOREVER:
        return timedelta.max
    try:
        length = parse_duration(text)
    except ValueError:
        raise RetentionRefused(f"`{text}` is no length of time, such as P30D, nor {FOREVER}") from None
    if length < _LEAST:
        raise RetentionRefused(f"`{text}` is too short: what is kept is kept for an hour at least")
    return length


def length_text(length: timedelta) -> str:
    """Return a length as a rule names it."""
    if length == timedelta.max:
        return FOREVER
    return f"P{length.days}D" if length == timedelta(days=length.days) else format_duration(length)


def holding(rules: Rules, namespace: str) -> dict[Kept, Holds]:
    """Return what holds for a namespace: the nearest one's word, for each by itself."""
    parts = namespace.split(".") if namespace else []
    above = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    found: dict[Kept, Holds] = {}
    for each in (*above, EVERYWHERE):
        for kept in Kept:
            length = rules[each].of(kept) if each in rules else None
            if length is not None:
                found.setdefault(kept, Holds(length, each))
    return found


class Retention:
    """The rules of one engine, and what they come to. Safe to use from many threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stores = engine.stores

    # -- Rules --------------------------------------------------------------------------------------

    def rules(self) -> Rules:
        """Return all rules."""
        return {
            EVERYWHERE if entry.key == _KEY_OF_ALL else entry.key: _rule(entry.value)
            for entry in self._stores.kv.list(RULES)
        }

    def set(self, namespace: str, rule: Rule) -> None:
        """Have a rule hold from now on; one that says nothing is none."""
        key = namespace or _KEY_OF_ALL
        said = {each.name: length_text(length) for each in fields(rule) if (length := getattr(rule, each.name))}
        if said:
            self._stores.kv.put(RULES, key, "JSON", said, now=self._stores.clock.now())
        else:
            self._stores.kv.delete(RULES, key)

    # -- Removing -----------------------------------------------------------------------------------

    def sweep(self, goes_on: Callable[[], bool] = lambda: True) -> int:
        """Remove what is old, unless that was done within the last hour; return how much was, or is about to be."""
        rules = self.rules()
        if not rules:
            return 0
        now = self._stores.clock.now()
        entry = self._stores.kv.get(PROGRESS, "at")
        if entry is not None and now - datetime.fromisoformat(str(entry.value)) < EVERY:
            return 0
        self._stores.kv.put(PROGRESS, "at", "STRING", now.isoformat(), now=now)
        return self.remove(goes_on, rules=rules)

    def remove(self, goes_on: Callable[[], bool] = lambda: True, *, rules: Rules | None = None) -> int:
        """Remove what is old while it *goes_on*; return how much was removed, or begun to be.

        What there is no time for is done by the next pass. Raises PortError.
        """
        rules = self.rules() if rules is None else rules
        count = 0
        for namespace, rule in sorted(rules.items()):
            for kept in Kept:
                length = rule.of(kept)
                if length is not None and length != timedelta.max:
                    count += _Pass(self._engine, rules, kept, namespace, length=length, goes_on=goes_on).take()
        if count:
            _log.info("Retention removed %d", count)
        return count


def _rule(value: Any) -> Rule:
    def length(name: str) -> timedelta | None:
        text = value.get(name) if isinstance(value, Mapping) else None
        return None if text is None else read_length(str(text))

    return Rule(length("executions"), length("logs"), length("files"))


class _Pass:
    """One pass over what one rule says of one kind."""

    def __init__(
        self,
        engine: Engine,
        rules: Rules,
        kept: Kept,
        namespace: str,
        *,
        length: timedelta,
        goes_on: Callable[[], bool],
    ) -> None:
        self.engine = engine
        self.stores = engine.stores
        self.rules = rules
        self.kept = kept
        self.namespace = namespace
        self.goes_on = goes_on
        self.now = self.stores.clock.now()
        self.before = self.now - length
        """What ended then, or earlier, goes."""
        said = {each: length_text(value) for each, rule in sorted(rules.items()) if (value := rule.of(kept))}
        self.fingerprint = json.dumps({each: said[each] for each in said if is_within(each, namespace)})
        self.key = f"{kept}/{namespace or _KEY_OF_ALL}"

    def take(self) -> int:
        through, waiting = self.progress()
        count = 0
        left, removed = self.dealt_with(summary for each in waiting if (summary := self.stores.executions.get(each)))
        count += removed
        while through < self.before and self.goes_on():
            found, until = self.started(through + _NEXT, self.before)
            more, removed = self.dealt_with(found)
            left |= more
            count += removed
            through = until
            self.note(through, left)
        self.note(through, left)
        return count

    def dealt_with(self, found: Iterable[ExecutionSummary]) -> tuple[set[str], int]:
        """Remove what is old of some executions; return the ids of those that wait, and how many did not."""
        waiting: set[str] = set()
        old: list[ExecutionSummary] = []
        for summary in found:
            holds = holding(self.rules, summary.namespace).get(self.kept)
            if holds is None or holds.said_by != self.namespace:
                continue
            # What has ended and is not looked after any more: its afterExecution is through, too.
            is_over = summary.end is not None and summary.wake_by is None
            if is_over and summary.end is not None and summary.end <= self.before:
                old.append(summary)
            else:
                waiting.add(summary.id)
        if self.kept is Kept.EXECUTIONS:
            for begin in range(0, len(old), _PAGE):
                ids = tuple(each.id for each in old[begin : begin + _PAGE])
                # They are remembered until they are gone: somebody else may be about to do it, and fail.
                waiting |= set(ids)
                if self.goes_on():
                    self.delete(ids)
            gone = {each.id for each in old if self.stores.executions.get(each.id) is None}
            return waiting - gone, len(old)
        count = 0
        for summary in old:
            if not self.goes_on():
                waiting.add(summary.id)
                continue
            if self.kept is Kept.LOGS:
                self.stores.logs.delete(summary.id)
            else:
                purge_files(self.stores.storage, execution_folder(summary.namespace, summary.flow_id, summary.id))
            count += 1
        return waiting, count

    def delete(self, ids: tuple[str, ...]) -> None:
        deletes = self.engine.settings.deletes
        if deletes is not None:
            deletes(Deletion(ids))
        else:
            delete(self.engine.platform, Deletion(ids), self.goes_on)

    def started(self, since: datetime, until: datetime) -> tuple[Sequence[ExecutionSummary], datetime]:
        """Return what started from *since* on, not too much at once, and until when."""
        while True:
            query = ExecutionQuery((self.namespace,), since=since, until=until)
            is_short = until - since <= _SHORTEST
            found: list[ExecutionSummary] = []
            after = ""
            while is_short or len(found) <= _AT_ONCE:
                page = self.stores.executions.search(query, limit=_PAGE, after=after)
                found += page.found
                after = page.after
                if not after:
                    return found, until
            until = since + (until - since) / 2

    # -- Where the last pass was --------------------------------------------------------------------

    def progress(self) -> tuple[datetime, set[str]]:
        """Return the instant until which all that started was dealt with, and the ids of what had to wait."""
        entry = self.stores.kv.get(PROGRESS, self.key)
        if entry is None or entry.value["rules"] != self.fingerprint:
            return _BEGINNING, set()
        return datetime.fromisoformat(entry.value["through"]), set(entry.value["waiting"])

    def note(self, through: datetime, waiting: set[str]) -> None:
        value = {"rules": self.fingerprint, "through": through.isoformat(), "waiting": sorted(waiting)}
        self.stores.kv.put(PROGRESS, self.key, "JSON", value, now=self.now)
