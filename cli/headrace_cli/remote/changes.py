"""What it would mean to have one source of a flow in the place of another: pure, two texts in, differences out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

_TASK_LISTS = ("tasks", "errors", "finally", "afterExecution", "listeners")
_ABSENT: Any = msgspec.UNSET


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that is another one; *before* or *after* is absent where there was, or will be, none."""

    path: str
    before: Any = _ABSENT
    after: Any = _ABSENT


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task or a trigger that comes, goes, or is changed."""

    id: str
    type: str
    differences: tuple[Difference, ...] = ()


class Parts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of the tasks, or of the triggers."""

    added: tuple[Part, ...] = ()
    removed: tuple[Part, ...] = ()
    changed: tuple[Part, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Edge(msgspec.Struct, frozen=True, omit_defaults=True, order=True):
    """That one task follows another; *why* is empty where it simply does."""

    source: str
    target: str
    why: str = ""


class Edges(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of the order of tasks."""

    added: tuple[Edge, ...] = ()
    removed: tuple[Edge, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger with dates, and the next of them."""

    id: str
    dates: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """How two flows differ; all is empty when only the text does (comments, order, layout)."""

    properties: tuple[Difference, ...]
    tasks: Parts
    triggers: Parts


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """Return how what the author of a flow said differs from what is said now."""
    aside = (*_TASK_LISTS, "triggers")
    return Changes(
        tuple(differences(_without(before, aside), _without(after, aside))),
        _parts(_tasks(before), _tasks(after)),
        _parts(_by_id(before.get("triggers")), _by_id(after.get("triggers"))),
    )


def edges(before: Mapping[str, Any], after: Mapping[str, Any]) -> Edges:
    """Return how the order of tasks differs between two graphs, as the server draws them."""
    old, new = _edges(before), _edges(after)
    return Edges(tuple(sorted(new - old)), tuple(sorted(old - new)))


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Yield the values that differ, as deep in maps as they can be told apart."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)
    elif _are_named(before) and _are_named(after):
        old, new = _by_id(before), _by_id(after)
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}[{key}]")
    elif type(before) is not type(after) or before != after:
        yield Difference(path, before, after)


def _parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Parts:
    changed = [
        Part(each, _type(after[each]), found)
        for each in after
        if each in before and (found := tuple(differences(before[each], after[each])))
    ]
    return Parts(
        tuple(Part(each, _type(after[each])) for each in after if each not in before),
        tuple(Part(each, _type(before[each])) for each in before if each not in after),
        tuple(changed),
    )


def _type(said: Mapping[str, Any]) -> str:
    return str(said.get("type", ""))


def _tasks(said: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tasks at any depth by id, each without those within it."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [said.get(name) for name in reversed(_TASK_LISTS)]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += reversed(each)
        elif isinstance(each, Mapping):
            if _is_task(each):
                own = {key: value for key, value in each.items() if not _holds_tasks(value)}
                found.setdefault(str(each["id"]), own)
            waiting += [value for value in reversed(list(each.values())) if isinstance(value, list | Mapping)]
    return found


def _is_task(said: Mapping[str, Any]) -> bool:
    """Tell a task from an input, which has an id and a type, too: only types of tasks are names with dots."""
    return isinstance(said.get("id"), str) and "." in _type(said)


def _holds_tasks(value: Any) -> bool:
    if isinstance(value, list):
        return any(_holds_tasks(each) for each in value)
    if isinstance(value, Mapping):
        return _is_task(value) or any(_holds_tasks(each) for each in value.values())
    return False


def _are_named(given: Any) -> bool:
    """Tell whether these are maps, each with an id of its own."""
    return bool(given) and isinstance(given, list) and len(_by_id(given)) == len(given)


def _by_id(given: Any) -> dict[str, Any]:
    found = given if isinstance(given, list) else ()
    return {str(each["id"]): each for each in found if isinstance(each, Mapping) and "id" in each}


def _without(said: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key not in names}


def _edges(graph: Mapping[str, Any]) -> set[Edge]:
    triggers = {node["uid"] for node in graph["nodes"] if "triggerDeclaration" in node}
    return {_edge(each) for each in graph["edges"] if each["source"] not in triggers}


def _edge(said: Mapping[str, Any]) -> Edge:
    relation = said.get("relation") or {}
    kind, value = relation.get("relationType", "SEQUENTIAL"), relation.get("value")
    why = "" if kind == "SEQUENTIAL" else f"{kind.lower()} {value}" if value else kind.lower()
    return Edge(_place(said["source"]), _place(said["target"]), why)


def _place(uid: str) -> str:
    """Return a node's place in the flow: that of its task, as ``loop.task``, or where a flowable begins or ends."""
    return uid.removeprefix("root.")
