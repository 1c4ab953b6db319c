"""The headers of a webhook's call, as expressions see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Headers(dict[str, Any]):
    """Headers by lower-case name, as hosts give them; found by any spelling, as HTTP has it."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(_lower(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(_lower(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, or *default*."""
        return super().get(_lower(name), default)


def with_headers(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a webhook's trigger, its headers to be found by any spelling."""
    headers = variables.get("headers")
    return {**variables, "headers": Headers(headers)} if isinstance(headers, Mapping) else dict(variables)


def _lower(name: Any) -> Any:
    return name.lower() if isinstance(name, str) else name
