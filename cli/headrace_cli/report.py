"""What is told of an execution when it has ended: its state, what failed and why, and the flow's outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.symbols import Symbols, tone_of
from headrace_cli.text import clean, count, duration, pad, width
from headrace_cli.view import Names, View, attempts, elapsed, error_of, full_name, state_of, task_runs, total
from headrace_engine.model.state import State
from headrace_engine.ports import Level, LogLine

_MOST_FAILURES = 10
_MOST_LINES = 10
_FEWEST_OF_A_MESSAGE = 2
_WIDEST_VALUE = 100


def report(execution: View, logs: Sequence[LogLine], symbols: Symbols, now: datetime) -> list[Line]:
    """Return how the execution ended and what failed; *logs* are all its log lines."""
    return [*_headline(execution, symbols, now), *_errors(execution, logs, symbols, now)]


def _headline(execution: View, symbols: Symbols, now: datetime) -> Iterator[Line]:
    state = state_of(execution)
    length = duration(total(execution, now))
    tone = tone_of(state)
    yield line(
        symbols.of(state),
        " ",
        Span(state, tone),
        f"  {full_name(execution)} in {length}  ",
        Span(execution["id"], Tone.FAINT),
    )


def _errors(execution: View, logs: Sequence[LogLine], symbols: Symbols, now: datetime) -> Iterator[Line]:
    names = Names()
    names.learn(execution)
    failed = failures(execution)
    said: dict[str | None, list[str]] = {}
    for entry in logs:
        if entry.level is Level.ERROR:
            said.setdefault(entry.task_run_id, []).append(clean(entry.message))
    if execution_error := _messages(error_of(execution), said.get(None, []), symbols.ellipsis):
        yield ()
        yield from _indented(execution_error)
    for run in failed[:_MOST_FAILURES]:
        yield ()
        state = state_of(run)
        length = elapsed(run, now)
        details = [] if length is None else [duration(length)]
        if (number := attempts(run)) > 1:
            details.append(count(number, "attempt"))
        yield line(
            symbols.of(state),
            " ",
            Span(names.of(run["id"]), Tone.STRONG),
            "  ",
            Span(state, tone_of(state)),
            Span(f" ({', '.join(details)})" if details else "", Tone.FAINT),
        )
        yield from _indented(_messages(error_of(run), said.get(run["id"], []), symbols.ellipsis))
    if len(failed) > _MOST_FAILURES:
        yield ()
        yield line(f"{symbols.ellipsis} and {count(len(failed) - _MOST_FAILURES, 'more failed task run')}")


def failures(execution: View) -> list[View]:
    """Return the task runs that went wrong by themselves: those below which none went wrong.

    A task run with `allowFailure` ends WARNING and still has its error. When all ended well there is nothing to tell.
    """
    if state_of(execution) is State.SUCCESS:
        return []
    wrong = [run for run in task_runs(execution) if _went_wrong(run)]
    passed_on = {run.get("parentTaskRunId") for run in wrong}
    return [run for run in wrong if run["id"] not in passed_on]


def _went_wrong(run: View) -> bool:
    state = state_of(run)
    return state is State.FAILED or (state is State.WARNING and error_of(run) is not None)


def _messages(error: str | None, logged: Sequence[str], ellipsis: str) -> list[str]:
    """Return the rows of the error and of the last errors in the log, none of them twice, the last ones at most.

    Of a message that is too long for that its first row is there, too: it says what the others are about.
    """
    messages = [*logged, *([clean(error)] if error and clean(error) not in logged else ())]
    rows: list[str] = []
    for message in reversed(messages):
        own = message.splitlines()
        room = _MOST_LINES - len(rows)
        if len(own) <= room:
            rows[:0] = own
        elif room > _FEWEST_OF_A_MESSAGE:
            rows[:0] = [own[0], ellipsis, *own[len(own) - room + 2 :]]
        if len(own) >= room:
            break
    return rows


def _indented(rows: Sequence[str]) -> Iterator[Line]:
    for row in rows:
        yield line("  ", Span(row, Tone.BAD))


def outputs(execution: View) -> list[Line]:
    """Return the flow's outputs as aligned ``name  value`` lines below a heading; nothing when there are none."""
    found: Mapping[str, Any] = execution.get("outputs") or {}
    if not found:
        return []
    names = max(width(name) for name in found)
    lines: list[Line] = [(), line(Span("Outputs", Tone.STRONG))]
    for name, value in found.items():
        first, *rest = shown(value).split("\n")
        lines.append(line("  ", Span(pad(name, names), Tone.NAME), "  ", first))
        lines += [line(" " * (names + 4), row) for row in rest]
    return lines


def shown(value: object) -> str:
    """Return a value as people read it: text as it is, everything else as JSON, with long lists and maps in rows."""
    if isinstance(value, str):
        return clean(value).rstrip("\n")
    text = json.dumps(value, ensure_ascii=False)
    if width(text) <= _WIDEST_VALUE or not isinstance(value, list | dict):
        return text
    if isinstance(value, list):
        return "[" + ",\n ".join(json.dumps(item, ensure_ascii=False) for item in value) + "]"
    entries = (f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}" for key, item in value.items())
    return "{" + ",\n ".join(entries) + "}"
