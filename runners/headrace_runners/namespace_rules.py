"""What whoever deploys a stack says of namespaces: whose scripts run apart in containers, and with which role.

A rule of a namespace holds below it, too, unless one there says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Self

import msgspec

from headrace_engine.ports import PortError


class NamespaceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What holds in a namespace."""

    isolation: Literal["", "none", "container"] = ""
    """``container``: every script runs in a container of its own. ``none`` takes back what holds above."""
    task_role: str = ""
    """The ARN of the role whose temporary credentials scripts get that name none themselves."""


class NamespaceRules:
    """The rules of a stack, by namespace."""

    def __init__(self, rules: Mapping[str, NamespaceRule] | None = None) -> None:
        self._rules = dict(rules or {})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read JSON such as ``{"company.pay": {"isolation": "container"}}``; empty text has no rules.

        Raises PortError for anything else.
        """
        try:
            return cls(msgspec.json.decode(text, type=dict[str, NamespaceRule]) if text else None)
        except msgspec.DecodeError as error:
            raise PortError(f"The rules of namespaces cannot be read: {error}") from None

    def is_isolated(self, namespace: str) -> bool:
        """Return whether scripts of *namespace* run in containers only."""
        return next((rule.isolation for rule in self._of(namespace) if rule.isolation), "none") == "container"

    def task_role(self, namespace: str) -> str:
        """Return the role that scripts of *namespace* get when they name none; empty for none."""
        return next((rule.task_role for rule in self._of(namespace) if rule.task_role), "")

    def is_anothers(self, role: str, namespace: str) -> bool:
        """Return whether *role* is given to namespaces, and *namespace* is none of them: its flows may not name it."""
        given = any(rule.task_role == role for rule in self._rules.values())
        return given and not any(rule.task_role == role for rule in self._of(namespace))

    def _of(self, namespace: str) -> Iterator[NamespaceRule]:
        """Yield the rules that hold in *namespace*, the nearest first."""
        parts = namespace.split(".")
        for length in range(len(parts), 0, -1):
            rule = self._rules.get(".".join(parts[:length]))
            if rule is not None:
                yield rule
