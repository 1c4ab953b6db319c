"""Who asks, and what they may: roles in order, granted for namespaces and all that lies below them.

| role | in the namespaces it is granted for |
|---|---|
| viewer | sees flows, executions, logs, metrics, files and key-values |
| editor | also changes flows, namespace files and key-values, and starts executions |
| operator | also acts on executions and triggers: kill, restart, replay, resume, change, delete; backfill, disable |
| admin | also sees the names of secrets; granted for every namespace: users, tokens, the audit |

Each may all that those before it may. `open` is no role that anybody has: it marks what needs none, because what is
asked proves itself (a webhook's key and signature, a signed link) or is nobody's secret (whether the server is up).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from headrace_engine.model.frozen import dataclass


class Role(StrEnum):
    """What somebody may, least first."""

    OPEN = "open"
    VIEWER = "viewer"
    EDITOR = "editor"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for open up to 4 for admin."""
        return _ORDER.index(self)

    def covers(self, needed: Role) -> bool:
        """Return whether who has this role may what needs *needed*."""
        return self.rank >= needed.rank


_ORDER = list(Role)
GIVEN = tuple(role for role in Role if role is not Role.OPEN)
"""The roles that can be given to somebody."""

EVERYWHERE = ""
"""The prefix of every namespace."""

_NAMESPACE = re.compile(r"[a-z0-9A-Z][a-z0-9A-Z._-]*")


def is_within(namespace: str, prefix: str) -> bool:
    """Return whether *namespace* is *prefix* or lies below it; all lie below `EVERYWHERE`."""
    return prefix in (EVERYWHERE, namespace) or namespace.startswith(f"{prefix}.")


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A role in a namespace and in all below it. Written ``editor@company.team``, or ``editor`` for everywhere."""

    namespace: str
    role: Role

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the grant that *text* writes. Raises ValueError, which says what is wrong."""
        name, at, namespace = text.strip().partition("@")
        if name not in GIVEN:
            raise ValueError(f"`{name}` is no role; use {', '.join(GIVEN[:-1])} or {GIVEN[-1]}")
        if at and not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f"`{namespace}` is no namespace; write `{name}@company.team`, or `{name}` for all")
        return cls(namespace, Role(name))

    def __str__(self) -> str:
        return f"{self.role}@{self.namespace}" if self.namespace else str(self.role)


class Kind(StrEnum):
    """How somebody showed who they are."""

    LOCAL = "local"
    """Not at all: a server for this machine alone, to which everybody on it is its owner."""
    PASSWORD = "password"  # noqa: S105 - a word
    TOKEN = "token"  # noqa: S105 - a word
    SESSION = "session"
    """By a password or a token, a while ago, with this browser."""
    JWT = "jwt"
    IAM = "iam"
    NONE = "none"
    """They did not."""
    OPEN = "open"
    """By what they asked for: a webhook's key or signature, a signed link."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    name: str
    kind: Kind
    grants: tuple[Grant, ...]
    token: str = ""
    """The id of the token that was shown, if one was; also when a session was begun with it."""

    def role_in(self, namespace: str) -> Role:
        """Return the highest role granted for the namespace (`EVERYWHERE`: for all of them); OPEN without any."""
        return _highest(grant.role for grant in self.grants if is_within(namespace, grant.namespace))

    @property
    def best(self) -> Role:
        """The highest role granted anywhere."""
        return _highest(grant.role for grant in self.grants)

    def may(self, role: Role, namespace: str) -> bool:
        """Return whether this one may in *namespace* what needs *role*."""
        return self.role_in(namespace).covers(role)

    def reach(self, role: Role = Role.VIEWER) -> tuple[str, ...]:
        """Return the prefixes of the namespaces in which this one has *role*, none within another.

        ``("",)`` is everywhere, ``()`` nowhere.
        """
        found = {grant.namespace for grant in self.grants if grant.role.covers(role)}
        return tuple(
            sorted(each for each in found if not any(is_within(each, other) for other in found if other != each))
        )

    def narrowed(self, role: Role, asked: str) -> tuple[str, ...]:
        """Return the prefixes of the namespaces within *asked* in which this one has *role*."""
        if self.may(role, asked):
            return (asked,)
        return tuple(each for each in self.reach(role) if is_within(each, asked))


def _highest(roles: Iterable[Role]) -> Role:
    return max(roles, key=lambda role: role.rank, default=Role.OPEN)


OWNER = Principal("local", Kind.LOCAL, (Grant(EVERYWHERE, Role.ADMIN),))
"""Whoever asks a server that is for this machine alone."""
