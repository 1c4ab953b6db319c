"""pluginDefaults: property values for every task, trigger, condition or task runner of a type (reference §2.4).

- A default matches a type by its name, by an older name of it, or by a package the name begins with.
- Not forced, its values lie under those of the task: maps merge, lists and scalars are the task's.
  Precedence: task, flow, configuration (nearest first); an exact type before a package.
- Forced, they lie over the task's; among forced ones the order is the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace_engine.language.nodes import Entries, Items, Node, Scalar, from_plain, merged
from headrace_engine.language.registry import Registry
from headrace_engine.language.report import Report

NEVER_DEFAULTS = frozenset({"id", "type"})
"""What a task is called and is cannot be a default."""


@dataclass(slots=True)
class _Default:
    type: str
    values: Entries
    forced: bool
    source: Entries | None = None
    used: bool = False
    """Whether it matched anything."""
    known_keys: set[str] = field(default_factory=set)
    """Those of its values that something it matched has as a property."""


class PluginDefaults:
    """The defaults that apply to one flow."""

    def __init__(self, registry: Registry, configured: Sequence[Mapping[str, Any]] = ()) -> None:
        self._registry = registry
        self._flow: list[_Default] = []
        self._configured = [
            _Default(str(item["type"]), values, bool(item.get("forced", False)))
            for item in configured
            if isinstance(values := from_plain(item.get("values") or {}, ("values",)), Entries)
        ]

    def read(self, node: Node | None) -> None:
        """Take the flow's own defaults from its (canonical, checked) ``pluginDefaults``."""
        for item in node.items if isinstance(node, Items) else ():
            if not isinstance(item, Entries):
                continue
            values, name, forced = item.entries.get("values"), item.text("type"), item.entries.get("forced")
            if isinstance(values, Entries) and name:
                is_forced = isinstance(forced, Scalar) and forced.value is True
                self._flow.append(_Default(name, values.without(*NEVER_DEFAULTS), is_forced, source=item))

    def tell_unused(self, report: Report) -> None:
        """Warn of defaults, and of values in them, that nothing in the flow takes."""
        for default in self._flow:
            if default.source is None:
                continue
            if not default.used:
                report.warn_at_key(default.source, "type", f"Nothing in this flow is of the type `{default.type}`.")
                continue
            for key in default.values.entries:
                if key not in default.known_keys:
                    report.warn_at_key(
                        default.values, key, f"Nothing that this default matches has a property `{key}`."
                    )

    def applied(self, node: Entries, type_name: str, names: Mapping[str, str] | None) -> Entries:
        """Return the properties at *node*, of a thing of the type *type_name*, with the defaults merged in.

        names maps every name of a property that the type has to its first one; None when the type is not
        known. What a default for a whole package says of properties that the type has not is left out.
        """
        if not (self._flow or self._configured):
            return node
        result = node
        flow, configured = self._matching(self._flow, type_name), self._matching(self._configured, type_name)
        found = [(default.forced, _fitting(default, exact, names, node)) for default, exact in (*flow, *configured)]
        for forced, values in found:
            if not forced:
                result = _laid(under=values, over=result)
        for forced, values in found:
            if forced:
                result = _laid(under=result, over=values)
        return Entries(node.path, node.line, node.column, result.entries, result.keys)

    def _matching(self, defaults: list[_Default], type_name: str) -> list[tuple[_Default, bool]]:
        """Return the defaults for *type_name*, the nearest first, and whether each names it exactly."""
        canonical = self._registry.canonical(type_name)
        found: list[tuple[int, _Default]] = []
        for default in defaults:
            if self._registry.canonical(default.type) == canonical:
                found.append((0, default))
            else:
                package = default.type.rstrip(".") + "."
                if type_name.startswith(package) or canonical.startswith(package):
                    found.append((1000 - len(package), default))
        for _, default in found:
            default.used = True
        return [(default, rank == 0) for rank, default in sorted(found, key=lambda entry: entry[0])]


def _fitting(default: _Default, exact: bool, names: Mapping[str, str] | None, node: Entries) -> Entries:  # noqa: FBT001 - said by the caller's variable
    """Return the default's values under the names that *node* uses for the same properties."""
    if names is None:
        return default.values
    written = {names[key]: key for key in node.entries if key in names}
    strange = [key for key in default.values.entries if key not in names]
    default.known_keys.update(key for key in default.values.entries if exact or key in names)
    values = default.values if exact else default.values.without(*strange)
    return values.renamed({key: written.get(names[key], key) for key in values.entries if key in names})


def _laid(*, under: Entries, over: Entries) -> Entries:
    result = merged(under, over)
    assert isinstance(result, Entries)  # noqa: S101 - two maps merge to a map
    return result
