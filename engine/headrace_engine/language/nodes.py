"""A flow's source as a tree whose every key and value knows where it was written.

The reader makes these trees from YAML; pluginDefaults are merged into them; validation reads plain data
off them and finds the way back from an error to its line. Nodes are shared where YAML aliases share them,
and are never changed once the reader has made them: merging makes new mappings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace_engine.language.problems import Path


@dataclass(slots=True, eq=False)
class Node:
    """A value. line and column (from 1) say where it begins; line 0 is a value that no source holds."""

    path: Path
    line: int
    column: int


@dataclass(slots=True, eq=False)
class Scalar(Node):
    """Text, a number, a truth value or null. text is what was written, whatever it means."""

    value: str | int | float | bool | None
    text: str
    style: str = ""
    """How it was written: plain (empty), or by the first character: ``'``, ``"``, ``|``, ``>``."""


@dataclass(slots=True, eq=False)
class Items(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Entries(Node):
    """A map; keys are always text. keys holds where each key stands."""

    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)

    def text(self, key: str) -> str | None:
        """Return the value of *key* when it is text."""
        node = self.entries.get(key)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None

    def without(self, *names: str) -> Entries:
        """Return the map without the keys *names*."""
        return Entries(
            self.path,
            self.line,
            self.column,
            {key: node for key, node in self.entries.items() if key not in names},
            self.keys,
        )

    def renamed(self, names: Mapping[str, str]) -> Entries:
        """Return the map with keys renamed; where both names are there the new one's value stays."""
        entries: dict[str, Node] = {}
        keys: dict[str, tuple[int, int]] = {}
        for key, node in self.entries.items():
            name = names.get(key, key)
            if name == key or name not in self.entries:
                entries[name] = node
                keys[name] = self.keys.get(key, (node.line, node.column))
        return Entries(self.path, self.line, self.column, entries, keys)


def plain(node: Node) -> Any:
    """Return the value as plain Python data."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    assert isinstance(node, Entries)  # noqa: S101 - the third of three kinds
    return {key: plain(value) for key, value in node.entries.items()}


def from_plain(value: Any, path: Path) -> Node:
    """Return plain data (configuration, say) as nodes that no source holds."""
    if isinstance(value, Mapping):
        return Entries(path, 0, 0, {str(key): from_plain(item, (*path, str(key))) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Items(path, 0, 0, [from_plain(item, (*path, index)) for index, item in enumerate(value)])
    if isinstance(value, bool):
        return Scalar(path, 0, 0, value, "true" if value else "false")
    if value is None:
        return Scalar(path, 0, 0, None, "")
    return Scalar(path, 0, 0, value if isinstance(value, int | float) else str(value), str(value))


def merged(under: Node, over: Node) -> Node:
    """Return *over* laid on *under*: maps merge at every depth, anything else replaces (reference §2.4).

    Two maps that both say their ``type``, and not the same one, have nothing in common: *over* replaces.
    """
    if not (isinstance(under, Entries) and isinstance(over, Entries)):
        return over
    types = under.text("type"), over.text("type")
    if None not in types and types[0] != types[1]:
        return over
    entries = dict(over.entries)
    keys = dict(over.keys)
    for key, node in under.entries.items():
        if key in entries:
            entries[key] = merged(node, entries[key])
        else:
            entries[key] = node
            if key in under.keys:
                keys[key] = under.keys[key]
    return Entries(over.path, over.line, over.column, entries, keys)


def scalars(node: Node) -> Iterator[Scalar]:
    """Yield every scalar at or below *node*."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Items):
        for item in node.items:
            yield from scalars(item)
    elif isinstance(node, Entries):
        for item in node.entries.values():
            yield from scalars(item)
