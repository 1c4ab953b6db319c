"""What has happened to an execution since one last looked, in order: changes of state and log lines.

Changes are read from the histories in the view, so none is lost when views are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace_cli.view import Names, View, attempts, elapsed, full_name, instant, task_runs, total
from headrace_engine.model.state import State
from headrace_engine.ports import LogLine


@dataclass(frozen=True, slots=True)
class Change:
    """The execution (task_run_id None) or a task run has entered a state."""

    at: datetime
    state: State
    name: str
    task_run_id: str | None = None
    length: timedelta | None = None
    """How long it took, once it has ended."""
    attempt: int = 1
    """Which attempt began or was the last."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the log, with the name of the task run that wrote it."""

    line: LogLine
    name: str

    @property
    def at(self) -> datetime:
        """When it was written."""
        return self.line.timestamp


Happening = Change | Said
_Place = tuple[datetime, float, int, int]
"""Instant; place of the task run in the execution's list; start, log line, end; inner before outer ends."""


class Story:
    """Remembers what was told, so that each change and each line is told once."""

    def __init__(self) -> None:
        self.names = Names()
        self._told: dict[str | None, int] = {}
        self._place: dict[str, int] = {}

    def advance(self, execution: View | None, lines: Sequence[LogLine]) -> list[Happening]:
        """Return what is new in *execution* (None: as before) and *lines*, in the order in which it happened.

        The creation of task runs is left out: what they are created for is told.
        """
        placed: list[tuple[_Place, Happening]] = []
        if execution is not None:
            self.names.learn(execution)
            placed += self._changes(execution)
        for line in lines:
            place = self._place.get(line.task_run_id or "", -1)
            placed.append(((line.timestamp, place, 1, 0), Said(line, self._name_of(line))))
        placed.sort(key=lambda entry: entry[0])
        return [happening for _, happening in placed]

    def _name_of(self, line: LogLine) -> str:
        return self.names.of(line.task_run_id, line.task_id) or f"{line.namespace}.{line.flow_id}"

    def _changes(self, execution: View) -> Iterator[tuple[_Place, Change]]:
        runs = task_runs(execution)
        depths: dict[str, int] = {}
        last = list(range(len(runs)))
        for index, run in enumerate(runs):
            self._place[run["id"]] = index
            depths[run["id"]] = depths.get(run.get("parentTaskRunId") or "", -1) + 1
        for index in range(len(runs) - 1, -1, -1):
            parent = self._place.get(runs[index].get("parentTaskRunId") or "")
            if parent is not None:
                last[parent] = max(last[parent], last[index])
        for state, at, _, is_end in self._new(execution, None):
            length = total(execution, at) if is_end else None
            yield _execution_place(state, at), Change(at, state, full_name(execution), length=length)
        for index, run in enumerate(runs):
            for state, at, attempt, is_end in self._new(run, run["id"]):
                if state is State.CREATED:
                    continue
                name = self.names.of(run["id"])
                length, number = (elapsed(run, at), max(attempts(run), attempt)) if is_end else (None, attempt)
                if is_end or state is State.PAUSED:
                    place: _Place = (at, last[index], 2, -depths[run["id"]])
                else:
                    place = (at, index, 2 if state in _AFTER_AN_ATTEMPT else 0, 0)
                yield place, Change(at, state, name, run["id"], length, number)

    def _new(self, item: View, key: str | None) -> Iterator[tuple[State, datetime, int, bool]]:
        """Yield the states that were not told yet: each with its instant, its attempt, and whether it is the end."""
        entries = item["state"]["histories"]
        told = self._told.get(key, 0)
        if told >= len(entries):
            return
        self._told[key] = len(entries)
        attempt = 1
        for index, entry in enumerate(entries):
            state = State(entry["state"])
            attempt += index > 0 and State(entries[index - 1]["state"]) is State.RETRYING
            if index >= told:
                yield state, instant(entry["date"]), attempt, state.is_terminal and index == len(entries) - 1


_AFTER_AN_ATTEMPT = frozenset({State.FAILED, State.RETRYING})


def _execution_place(state: State, at: datetime) -> _Place:
    """Return where a change of the execution stands: what its task runs bring about comes after them."""
    is_outcome = state.is_terminal or state in (State.RETRYING, State.PAUSED)
    return at, float("inf") if is_outcome else -1, 2 if is_outcome else 0, 0
