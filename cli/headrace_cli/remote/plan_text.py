"""A plan as people read it: on a terminal, and as Markdown for a pull request."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from headrace_cli.remote.changes import Difference, Edge, Part, Parts
from headrace_cli.remote.planning import Plan, Step
from headrace_cli.styled import Line, Span, Tone, line
from headrace_cli.text import clip, count, one_line

_SIGNS = {"create": "+", "change": "~", "rewrite": "~", "delete": "-"}
_TONES = {"+": Tone.GOOD, "-": Tone.BAD, "~": Tone.WARN, " ": Tone.PLAIN}
_WIDEST = 160


class Row(NamedTuple):
    """A row: what is added, removed, changed or just told; how deep it stands."""

    sign: str
    depth: int
    text: str


def lines(plan: Plan) -> Iterator[Line]:
    """Yield a plan for a terminal."""
    for step in plan.steps:
        for row in _rows(step):
            tone = _TONES[row.sign]
            yield line("  " * row.depth, Span(f"{row.sign} ", tone), Span(row.text, Tone.PLAIN if row.depth else tone))
        yield ()
    for warning in plan.warnings:
        yield line(Span(f"warning: {one_line(warning)}", Tone.WARN))
    yield line(Span(summary(plan), Tone.STRONG))
    if plan.others:
        yield line(Span(_others(plan), Tone.FAINT))


def markdown(plan: Plan) -> str:
    """Return a plan as Markdown: nothing in a flow can end the block that it is shown in."""
    parts = [f"### Headrace plan\n\n{summary(plan)}\n"]
    rows = [f"{row.sign} {'  ' * row.depth}{row.text}" for step in plan.steps for row in _rows(step)]
    if rows:
        text = "\n".join(rows)
        fence = "`" * max(3, *(len(found) + 1 for found in re.findall("`+", text)), 3)
        parts.append(f"{fence}diff\n{text}\n{fence}\n")
    if plan.warnings:
        parts.append("".join(f"- warning: `{one_line(warning).replace('`', chr(39))}`\n" for warning in plan.warnings))
    if plan.others:
        parts.append(f"{_others(plan)}\n")
    return "\n".join(parts)


def summary(plan: Plan) -> str:
    """Return a plan in a sentence."""
    if not plan.steps:
        return f"Nothing to do: {plan.server} holds all {count(plan.unchanged, 'flow')}."
    words = {"create": "to create", "change": "to change", "rewrite": "to rewrite", "delete": "to delete"}
    told = [f"{number} {text}" for action, text in words.items() if (number := plan.count(action))]  # type: ignore[arg-type]  # the keys are actions
    return f"On {plan.server}: {', '.join(told)}, {plan.unchanged} unchanged."


def _others(plan: Plan) -> str:
    verb = "is" if len(plan.others) == 1 else "are"
    return f"{count(len(plan.others), 'other flow')} of these namespaces {verb} left alone; --delete deletes."


def _rows(step: Step) -> Iterator[Row]:
    after = ", ".join(
        each for each in (f"revision {step.revision}" if step.revision else "", one_line(step.file)) if each
    )
    text_alone = " in its text alone" if step.action == "rewrite" else ""
    yield Row(_SIGNS[step.action], 0, f"{step.action} {step.name}{text_alone}{f' ({after})' if after else ''}")
    for difference in step.properties:
        yield from _difference(difference, 1)
    yield from _parts("task", step.tasks)
    yield from _parts("trigger", step.triggers)
    yield from (Row("-", 1, f"edge {_edge(each)}") for each in step.edges.removed)
    yield from (Row("+", 1, f"edge {_edge(each)}") for each in step.edges.added)
    for schedule in step.schedules:
        dates = ", ".join(schedule.dates) or ("no date" if not schedule.note else "")
        told = "; ".join(each for each in (dates, one_line(schedule.note)) if each)
        yield Row(" ", 1, f"next dates of {schedule.id}: {told}")
    if step.executions.total:
        number = count(step.executions.total, "execution")
        verb = "keeps" if step.executions.total == 1 else "keep"
        more = ", …" if step.executions.total > len(step.executions.ids) else ""
        yield Row(" ", 1, f"{number} under way {verb} the revision begun with: {', '.join(step.executions.ids)}{more}")


def _parts(noun: str, parts: Parts) -> Iterator[Row]:
    yield from (Row("-", 1, f"{noun} {_part(each)}") for each in parts.removed)
    yield from (Row("+", 1, f"{noun} {_part(each)}") for each in parts.added)
    for each in parts.changed:
        yield Row("~", 1, f"{noun} {_part(each)}")
        for difference in each.differences:
            yield from _difference(difference, 2)


def _part(part: Part) -> str:
    return one_line(f"{part.id} ({part.type})" if part.type else part.id)


def _edge(edge: Edge) -> str:
    return one_line(f"{edge.source} -> {edge.target}{f' ({edge.why})' if edge.why else ''}")


def _difference(difference: Difference, depth: int) -> Iterator[Row]:
    before, after, path = difference.before, difference.after, one_line(difference.path)
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        yield Row("~", depth, f"{path}:")
        yield from _text(before.splitlines(), after.splitlines(), depth + 1)
    elif before is msgspec.UNSET:
        yield Row("+", depth, f"{path}: {_value(after)}")
    elif after is msgspec.UNSET:
        yield Row("-", depth, f"{path}: {_value(before)}")
    else:
        yield Row("~", depth, f"{path}: {_value(before)} -> {_value(after)}")


def _text(before: Iterable[str], after: Iterable[str], depth: int) -> Iterator[Row]:
    for row in list(difflib.unified_diff(list(before), list(after), lineterm="", n=1))[2:]:
        if not row.startswith("@@"):
            yield Row(
                row[0], depth, clip(row[1:].expandtabs(4), _WIDEST) if row[1:].isprintable() else one_line(row[1:])
            )


def _value(value: object) -> str:
    return clip(json.dumps(value, ensure_ascii=False, default=str), _WIDEST)
