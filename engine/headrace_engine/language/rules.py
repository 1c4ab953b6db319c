"""Rules about several parts of a flow together: what may depend on what (reference §1, §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace_engine.language.nodes import Entries, Items, Node, Scalar
from headrace_engine.language.problems import did_you_mean
from headrace_engine.language.report import Report
from headrace_engine.model.definition import InputDefinition


def find_cycle(waits_for: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return the names on a cycle, the first one again at the end; None when there is none."""
    done: set[str] = set()
    for start in waits_for:
        trail: list[str] = []
        on_trail: set[str] = set()
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, position = stack.pop()
            if position == 0:
                if name in done:
                    continue
                trail.append(name)
                on_trail.add(name)
            following = waits_for.get(name, ())
            if position < len(following):
                stack.append((name, position + 1))
                below = following[position]
                if below in on_trail:
                    return [*trail[trail.index(below) :], below]
                stack.append((below, 0))
            else:
                done.add(name)
                trail.pop()
                on_trail.discard(name)
    return None


def check_dependencies(
    waits_for: Mapping[str, Sequence[str]], places: Mapping[str, Node], report: Report, *, what: str, where: str
) -> None:
    """Tell of unknown names and of a cycle among what waits for each other.

    places holds the list node of each one's dependencies; *what* waits (task, input), and *where*.
    """
    for name, names in waits_for.items():
        items = places[name].items if isinstance(places[name], Items) else []  # type: ignore[attr-defined]  # looked at
        for below, item in zip(names, items, strict=False):
            if below not in waits_for:
                report.problem(item, f"There is no {what} `{below}` in {where}.{did_you_mean(below, waits_for)}")
    cycle = find_cycle(waits_for)
    if cycle is not None:
        ring = " → ".join(f"`{name}`" for name in cycle)
        report.problem(places[cycle[0]], f"These {what}s wait for each other: {ring}.")


def check_input_order(inputs: Sequence[tuple[InputDefinition, Entries]], report: Report) -> None:
    """Tell of inputs that depend on unknown inputs, or on each other."""
    waits_for: dict[str, Sequence[str]] = {}
    places: dict[str, Node] = {}
    for definition, node in inputs:
        waits_for[definition.id] = definition.depends_on
        depends = node.entries.get("dependsOn")
        below = depends.entries.get("inputs") if isinstance(depends, Entries) else None
        places[definition.id] = below or node
    check_dependencies(waits_for, places, report, what="input", where="this flow")


def is_literal(node: Node | None, text: str) -> bool:
    """True when *node* is exactly this text."""
    return isinstance(node, Scalar) and node.text == text
