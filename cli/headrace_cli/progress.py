"""The live picture of an execution: as much of its tree as fits, as lines of text.

What does not fit is counted, not shown: `931 iterations done, 54 waiting`. Shown first is what is under way, then what
went wrong, then what lies nearest to the place the execution has come to. Iterations that ended well or still wait are
then all counted: there is nothing to see in them. Pure: a view and an instant give lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from headrace_cli.styled import Line, Span, Tone, fit, line, plain
from headrace_cli.symbols import Symbols, tone_of
from headrace_cli.text import count, duration, pad, width
from headrace_cli.tree import Node, Urgency, is_active, tree
from headrace_cli.view import View, attempts, elapsed, total
from headrace_engine.model.state import State

_WIDEST_NAME = 60
_STATE_CELLS = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """The space there is, and the signs to fill it with."""

    columns: int
    rows: int
    symbols: Symbols


def progress(execution: View, frame: Frame, now: datetime, planned: Sequence[str] = ()) -> list[Line]:
    """Return at most frame.rows lines, none wider than frame.columns, that show how *execution* stands at *now*."""
    root = tree(execution, planned)
    shown = None if root.size() <= frame.rows else _choose(root, frame.rows)
    rows = list(_rows(root, shown, frame.symbols))
    widest = max(width(plain(row.name)) for row in rows if row.node is not None)
    names = min(widest, _WIDEST_NAME, max(frame.columns - 20, 10))
    lines = [_line(row, names, frame.symbols, now) for row in rows]
    return [fit(styled, frame.columns, frame.symbols.ellipsis) for styled in lines][: frame.rows]


# -- what to show -----------------------------------------------------------------------------------


def _choose(root: Node, rows: int) -> set[Node]:
    """Return the nodes to show so that they and the lines that count the others take at most *rows*."""
    shown = {root}
    hidden = {root: len(root.children)}
    used = 2
    for node, parent in _by_urgency(root):
        if parent not in shown or (node.is_iteration and node.urgency is Urgency.QUIET):
            continue
        cost = 1 + bool(node.children) - (hidden[parent] == 1)
        if used + cost > rows:
            continue
        shown.add(node)
        hidden[node] = len(node.children)
        hidden[parent] -= 1
        used += cost
    return shown


def _by_urgency(root: Node) -> list[tuple[Node, Node]]:
    """Return all nodes below *root*, each with its parent, most urgent first; a parent always precedes its children."""
    ranked: list[tuple[int, int, int, int, Node, Node]] = []
    level, depth = [root], 0
    while level:
        below: list[Node] = []
        for parent in level:
            here = _here(parent.children)
            for index, node in enumerate(parent.children):
                near = index if node.urgency is Urgency.ACTIVE else abs(index - here)
                ranked.append((node.urgency, depth, near, len(ranked), node, parent))
                if node.children:
                    below.append(node)
        level, depth = below, depth + 1
    ranked.sort(key=lambda entry: entry[:4])
    return [(node, parent) for *_, node, parent in ranked]


def _here(siblings: Sequence[Node]) -> int:
    """Return the place the execution has come to: the first that is under way, or else the first that waits."""
    for index, node in enumerate(siblings):
        if not node.state.is_terminal:
            return index
    return len(siblings)


# -- the lines --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    name: Line
    node: Node | None
    """None: a line that counts what is not shown."""


def _rows(root: Node, shown: set[Node] | None, symbols: Symbols) -> Iterator[_Row]:
    yield _Row(line(symbols.of(root.state), " ", Span(root.label, Tone.STRONG)), root)
    yield from _below(root, "", shown, symbols)


def _below(parent: Node, indent: str, shown: set[Node] | None, symbols: Symbols) -> Iterator[_Row]:
    visible = [node for node in parent.children if shown is None or node in shown]
    hidden = [node for node in parent.children if shown is not None and node not in shown]
    rows: list[Node | None] = [*visible]
    if hidden:
        # What is counted stands where it was: above when some of it is over, else below.
        rows.insert(0 if any(node.state.is_terminal for node in hidden) else len(rows), None)
    for index, node in enumerate(rows):
        is_last = index == len(rows) - 1
        lead = Span(indent + (symbols.last if is_last else symbols.branch), Tone.FAINT)
        if node is None:
            yield _Row(line(lead, *_counted(hidden, symbols)), None)
            continue
        name = Span(node.label, Tone.FAINT if node.is_planned else Tone.PLAIN)
        yield _Row(line(lead, symbols.of(node.state), " ", name, Span(node.value, Tone.NAME)), node)
        yield from _below(node, indent + (symbols.gap if is_last else symbols.bar), shown, symbols)


def _counted(nodes: Sequence[Node], symbols: Symbols) -> Iterator[Span]:
    """Yield ``✔ 931 iterations done, 54 waiting``."""
    noun = "iteration" if all(node.is_iteration for node in nodes) else "task"
    counts = Counter(_fate(node.state) for node in nodes)
    fates = [fate for fate in _FATES if counts[fate]]
    yield symbols.of(_FATES[fates[0]])
    yield Span(f" {count(counts[fates[0]], noun)} {fates[0]}", Tone.FAINT)
    for fate in fates[1:]:
        yield Span(f", {counts[fate]} {fate}", Tone.BAD if fate in ("failed", "killed") else Tone.FAINT)


_FATES = {
    "done": State.SUCCESS,
    "failed": State.FAILED,
    "killed": State.KILLED,
    "skipped": State.SKIPPED,
    "running": State.RUNNING,
    "waiting": State.CREATED,
}
"""What has become of a task run, in one word, and the state whose sign stands for it."""


def _fate(state: State) -> str:
    match state:
        case State.FAILED:
            return "failed"
        case State.KILLED | State.CANCELLED:
            return "killed"
        case State.SKIPPED:
            return "skipped"
        case State.CREATED | State.QUEUED:
            return "waiting"
        case _:
            return "running" if is_active(state) else "done"


def _line(row: _Row, names: int, symbols: Symbols, now: datetime) -> Line:
    node = row.node
    if node is None or node.is_planned:
        return row.name
    name = fit(row.name, names, symbols.ellipsis)
    blanks = " " * (names - width(plain(name)) + 2)
    state = Span(pad(node.state, _STATE_CELLS), tone_of(node.state))
    return line(*name, blanks, state, *_details(node, now))


def _details(node: Node, now: datetime) -> Iterator[Span]:
    if (item := node.item) is None:
        return
    is_execution = "taskRunList" in item
    length = total(item, now) if is_execution else elapsed(item, now)
    yield Span("" if length is None else f"{duration(length):>7}", Tone.FAINT)
    if is_execution:
        return
    if (number := attempts(item)) > 1:
        yield Span(f"  attempt {number}", Tone.WARN)
