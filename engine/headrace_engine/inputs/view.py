"""What expressions see of an execution's inputs: typed, nested by the dots in the ids, and lazy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from headrace_engine.expressions import is_template
from headrace_engine.model.definition import InputDefinition
from headrace_engine.sealing import is_sealed

from . import data, temporal
from .converters import Outside, Rules, convert
from .problems import Refused

Unseal = Callable[[Mapping[str, Any]], Any]
"""Opens what was sealed."""

_READERS: dict[str, Callable[[Any], Any]] = {
    "DATETIME": temporal.read_datetime,
    "DATE": temporal.read_date,
    "TIME": temporal.read_time,
    "DURATION": temporal.read_duration,
    "FLOAT": lambda value: float(value) if isinstance(value, int) and not isinstance(value, bool) else value,
}
"""The types whose stored form is not what expressions see."""


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return *flat* with each dot in a key as a level: {"a.b": 1} is {"a": {"b": 1}}.

    Where `a` has a value of its own there is no room for a level, and `a.b` stays a key.
    """
    result: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        if any(".".join(parents[: count + 1]) in flat for count in range(len(parents))):
            result[key] = value
            continue
        level = result
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return result


def typed_inputs(
    definitions: Sequence[InputDefinition], stored: Mapping[str, Any], *, unseal: Unseal
) -> Mapping[str, Any]:
    """Return the inputs as expressions see them; a value is made when it is asked for, a SECRET opened then.

    An input that is not stored has its declared default when that holds no expression (trap 18), else it is missing.
    A stored value that is not of its type (an execution made without validation) is seen as it is. What is stored
    without being declared is there too.
    """
    plan = _plan(definitions)
    flat = {name: _Leaf(plan.definitions.get(name), value) for name, value in stored.items()}
    for name, leaf in plan.defaults.items():
        flat.setdefault(name, leaf)
    return _View(nested(flat), unseal)


class _Leaf:
    """One input: its definition, if any, and its stored value or its default."""

    __slots__ = ("definition", "stored")

    def __init__(self, definition: InputDefinition | None, stored: Any) -> None:
        self.definition = definition
        self.stored = stored

    def typed(self, unseal: Unseal) -> Any:
        if self.definition is None:
            return self.stored
        return _typed(self.definition.type, self.definition.options, self.stored, unseal)


class _Default(_Leaf):
    """A declared default; typed once for all executions, so it never holds a secret."""

    __slots__ = ("value",)

    def typed(self, unseal: Unseal) -> Any:
        del unseal
        if not hasattr(self, "value"):
            assert self.definition is not None  # noqa: S101 - only _plan makes these
            self.value = _default(self.definition)
        return self.value


class _View(Mapping[str, Any]):
    """One level of the inputs; what was asked for is kept."""

    __slots__ = ("_seen", "_tree", "_unseal")

    def __init__(self, tree: Mapping[str, Any], unseal: Unseal) -> None:
        self._tree = tree
        self._unseal = unseal
        self._seen: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._seen:
            node = self._tree[key]
            self._seen[key] = node.typed(self._unseal) if isinstance(node, _Leaf) else _View(node, self._unseal)
        return self._seen[key]

    def __contains__(self, key: object) -> bool:
        return key in self._tree

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree)

    def __len__(self) -> int:
        return len(self._tree)

    def __repr__(self) -> str:
        return f"<inputs {', '.join(self._tree)}>"  # no values: one may be a secret


def _typed(kind: str, options: Mapping[str, Any], stored: Any, unseal: Unseal) -> Any:
    if stored is None:
        return None
    if is_sealed(stored):
        stored = unseal(stored)
    if kind == "SECRET":
        return stored
    if kind in ("ARRAY", "MULTISELECT"):
        item = str(options.get("itemType") or "STRING")
        if isinstance(stored, list) and (item == "SECRET" or item in _READERS):
            return [_typed(item, {}, value, unseal) for value in stored]
        return stored
    reader = _READERS.get(kind)
    if reader is None:
        return stored
    try:
        return reader(stored)
    except Refused:
        return stored


# -- defaults -------------------------------------------------------------------------------------------------------


class _Plan:
    """What typed_inputs needs of a flow's definitions."""

    __slots__ = ("defaults", "definitions")

    def __init__(self, definitions: Sequence[InputDefinition]) -> None:
        self.definitions = {definition.id: definition for definition in definitions}
        self.defaults = {
            definition.id: _Default(definition, None)
            for definition in definitions
            if definition.has_defaults and _is_literal(definition.defaults)
        }


_PLANS: dict[int, tuple[Sequence[InputDefinition], _Plan]] = {}
_MOST_PLANS = 256


def _plan(definitions: Sequence[InputDefinition]) -> _Plan:
    """Return the plan of *definitions*; that of a tuple, which cannot change, is kept."""
    if not isinstance(definitions, tuple):
        return _Plan(definitions)
    kept = _PLANS.get(id(definitions))
    if kept is None or kept[0] is not definitions:
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        kept = _PLANS[id(definitions)] = (definitions, _Plan(definitions))
    return kept[1]


def _is_literal(value: Any) -> bool:
    if isinstance(value, str):
        return not is_template(value)
    if isinstance(value, Mapping):
        return all(_is_literal(key) and _is_literal(item) for key, item in value.items())
    return not data.is_list(value) or all(_is_literal(item) for item in value)


def _default(definition: InputDefinition) -> Any:
    """Return the typed default of an input that no execution stored; one that does not fit as it is written."""
    if definition.defaults is None:
        return None
    outside = Outside(store=lambda _, name: name, seal=lambda text: text)
    try:
        return convert(definition.type, definition.defaults, Rules(outside, definition.options)).typed
    except Refused:
        return definition.defaults
