"""The gates there are: of a server for this machine alone, and of one that asks who somebody is."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from headrace_engine.accounts import Accounts
from headrace_engine.api.entrance import Entrance
from headrace_engine.api.gate import Gate
from headrace_engine.api.http import Request
from headrace_engine.authentication import Authenticator, FirstAdmin
from headrace_engine.identity import OWNER, Principal
from headrace_engine.ports import Audit, Clock, Identity
from headrace_engine.sessions import Sessions, passing_key


class CredentialsNeededError(ValueError):
    """A server that others reach was to ask nobody for credentials; the text says what to do."""


def local_gate(
    identity: Identity,
    audit: Audit,
    clock: Clock,
    *,
    listens_on: str,
    credentials: tuple[str, str] | None = None,
    origins: frozenset[str] = frozenset(),
    session_key: Callable[[], bytes] | None = None,
) -> Gate:
    """Return the gate of a server that listens on an address of this machine.

    It asks nobody for credentials while nobody but this machine reaches it, none are given and no user is stored.
    Otherwise it lets in the stored users and whoever has *credentials* (a name and a password), as an admin. Raises
    CredentialsNeededError when nobody could be let in.
    """

    def has_users() -> bool:
        return any(not user.disabled for user in identity.users())

    if credentials is not None:
        name, password = credentials
        first = FirstAdmin(name, lambda: password, always=True)
        return login_gate(identity, audit, clock, first=first, origins=origins, session_key=session_key)
    if is_loopback(listens_on):
        return login_gate(
            identity,
            audit,
            clock,
            origins=origins,
            session_key=session_key,
            is_open=lambda: not has_users(),
            hosts=_own_names(listens_on),
        )
    if has_users():
        return login_gate(identity, audit, clock, origins=origins, session_key=session_key)
    raise CredentialsNeededError(
        f"Others than this machine reach {listens_on}: say who may ask, with --auth user:password, or make a user "
        "first, with `headrace user add NAME --data-dir DIR`."
    )


def owner_gate(identity: Identity, audit: Audit, clock: Clock, listens_on: str) -> Gate:
    """Return the gate of a server that nobody but this machine reaches: whoever asks owns it.

    Raises CredentialsNeededError when *listens_on* is an address that others reach.
    """
    if not is_loopback(listens_on):
        raise CredentialsNeededError(f"Others than this machine reach {listens_on}")
    return Gate(
        lambda _: OWNER,
        audit,
        clock,
        accounts=Accounts(identity, clock),
        hosts=_own_names(listens_on),
    )


def _own_names(listens_on: str) -> frozenset[str]:
    return frozenset({"localhost", "127.0.0.1", "::1", listens_on.strip("[]").lower()})


def login_gate(
    identity: Identity,
    audit: Audit,
    clock: Clock,
    *,
    first: FirstAdmin | None = None,
    origins: frozenset[str] = frozenset(),
    authenticator: Authenticator | None = None,
    session_key: Callable[[], bytes] | None = None,
    is_open: Callable[[], bool] = lambda: False,
    hosts: frozenset[str] | None = None,
) -> Gate:
    """Return the gate that lets in who shows a password or a token, who has signed in, or for whom the host vouches.

    *first* may everything; *authenticator* is one of other limits and costs. Sessions are signed with *session_key*:
    without one they last as long as this process. While it *is_open*, whoever asks for one of *hosts* is the owner.
    """
    knows = authenticator or Authenticator(identity, clock, first=first)
    sessions = Sessions(identity, clock, knows, session_key or passing_key())
    entrance = Entrance(knows, sessions, audit, clock)

    def who(request: Request) -> Principal:
        if request.principal is not None:
            return request.principal
        return OWNER if is_open() else entrance.principal(request)

    accounts = Accounts(identity, clock, first=first.name if first is not None else "", is_open=is_open)
    return Gate(who, audit, clock, accounts=accounts, entrance=entrance, is_open=is_open, hosts=hosts, origins=origins)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on *host*."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
