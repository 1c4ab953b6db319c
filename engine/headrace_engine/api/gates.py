"""The gates there are: of a server for this machine alone, and of one that asks who somebody is."""

from __future__ import annotations

import ipaddress
import math

from headrace_engine.accounts import Accounts
from headrace_engine.api.gate import Gate, unauthorized
from headrace_engine.api.http import ApiError, Request
from headrace_engine.authentication import Authenticator, FirstAdmin, NotAuthenticatedError, TooManyFailuresError
from headrace_engine.identity import OWNER, Kind, Principal
from headrace_engine.model.ids import new_id
from headrace_engine.ports import Audit, AuditRecord, Clock, Identity

LOG_IN = "log in"
"""The action of an audit record for somebody who did not show who they are."""


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
) -> Gate:
    """Return the gate of a server that listens on an address of this machine.

    It asks nobody for credentials when nobody but this machine reaches it, none are given and no user is stored.
    Otherwise it lets in the stored users and whoever has *credentials* (a name and a password), as an admin. Raises
    CredentialsNeededError when nobody could be let in.
    """
    has_users = any(not user.disabled for user in identity.users())
    if credentials is not None:
        name, password = credentials
        first = FirstAdmin(name, lambda: password, always=True)
        return login_gate(identity, audit, clock, first=first, origins=origins)
    if has_users:
        return login_gate(identity, audit, clock, origins=origins)
    if is_loopback(listens_on):
        return owner_gate(identity, audit, clock, listens_on)
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
        hosts=frozenset({"localhost", "127.0.0.1", "::1", listens_on.strip("[]").lower()}),
    )


def login_gate(
    identity: Identity,
    audit: Audit,
    clock: Clock,
    *,
    first: FirstAdmin | None = None,
    origins: frozenset[str] = frozenset(),
    authenticator: Authenticator | None = None,
) -> Gate:
    """Return the gate that lets in who shows a password or a token, or for whom the host vouches.

    *first* may everything; *authenticator* is one of other limits and costs.
    """
    knows = authenticator or Authenticator(identity, clock, first=first)

    def who(request: Request) -> Principal:
        if request.principal is not None:
            return request.principal
        try:
            return knows.principal(request.headers.get("authorization", ""), request.client)
        except NotAuthenticatedError as refusal:
            if refusal.counted:
                audit.write(
                    AuditRecord(clock.now(), new_id(), refusal.name, Kind.NONE, request.client, LOG_IN, status=401)
                )
            raise unauthorized() from None
        except TooManyFailuresError as refusal:
            seconds = max(1, math.ceil(refusal.again_in.total_seconds()))
            raise ApiError(
                429, "Too many failed attempts to log in; try again later", headers={"retry-after": str(seconds)}
            ) from None

    accounts = Accounts(identity, clock, first=first.name if first is not None else "")
    return Gate(who, audit, clock, accounts=accounts, origins=origins)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on *host*."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
