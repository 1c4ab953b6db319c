"""Who calls the API: whom API Gateway vouches for, and else who shows a password or a token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace_engine.adapters.aws.audit import DynamoAudit
from headrace_engine.adapters.aws.identity import DynamoIdentity
from headrace_engine.adapters.aws.signing import Keyring
from headrace_engine.api.gate import Gate
from headrace_engine.api.gates import login_gate
from headrace_engine.authentication import FirstAdmin
from headrace_engine.identity import EVERYWHERE, Grant, Kind, Principal, Role
from headrace_engine.sessions import StoredKey
from headrace_functions.wiring import Wiring

FIRST_ADMIN = "admin"
_FIRST_PASSWORD = b"headrace: the first admin"
_PASSWORD_DIGITS = 40
_LONGEST_NAME = 200
_JWT = re.compile(r"(?:Bearer +)?[\w-]+\.(?P<payload>[\w-]+)\.[\w-]+", re.ASCII | re.IGNORECASE)


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the claims of a JWT mean, which API Gateway has verified."""

    name: str = "sub"
    """The claim that names the person."""
    roles: str = "cognito:groups"
    """The claim with their groups: a list, or one text with spaces."""
    grants: dict[str, list[str]] = {}
    """What each group may: ``{"platform": ["admin"], "team-a": ["editor@company.a"]}``. Other groups may nothing."""


def gate(wired: Wiring) -> Gate:
    """Return the gate of the deployed API. It is never open."""
    environment, stores = wired.environment, wired.engine.stores
    first = FirstAdmin(FIRST_ADMIN, lambda: first_password(wired.keyring)) if environment.first_admin else None
    return login_gate(
        DynamoIdentity(wired.table),
        DynamoAudit(wired.table),
        wired.clock,
        first=first,
        origins=frozenset(environment.origins),
        session_key=StoredKey(stores.kv, stores.cipher, wired.clock),
    )


class Callers:
    """Tells whom API Gateway vouches for, as *claims* reads what a JWT says (empty: nobody shows one)."""

    def __init__(self, claims: str) -> None:
        self._claims = msgspec.json.decode(claims, type=Claims) if claims else None
        self._grants = {
            group: tuple(map(Grant.parse, grants))
            for group, grants in (self._claims.grants if self._claims is not None else {}).items()
        }

    def principal(self, event: Mapping[str, Any]) -> Principal | None:
        """Return who calls, by what the event says beside what the caller sent; None when it says nothing."""
        authorizer = event["requestContext"].get("authorizer") or {}
        if "iam" in authorizer:
            # Whom AWS lets invoke the API, its account's admins trust with all of it.
            name = authorizer["iam"].get("userArn") or "AWS"
            return Principal(name, Kind.IAM, (Grant(EVERYWHERE, Role.ADMIN),))
        if "jwt" in authorizer and self._claims is not None:
            return self._of_jwt(self._claims, authorizer["jwt"].get("claims") or {}, event.get("headers") or {})
        return None

    def _of_jwt(self, claims: Claims, verified: Mapping[str, Any], headers: Mapping[str, str]) -> Principal | None:
        # API Gateway writes lists as one text, in which a group's name and two groups' look alike. So they are read
        # from the token itself, which it has verified: the same one, if issuer and subject are the same.
        said = _said(next((value for name, value in headers.items() if name.lower() == "authorization"), ""))
        if any(str(said.get(name)) != str(verified.get(name)) for name in ("iss", "sub")) or "sub" not in said:
            return None
        roles = said.get(claims.roles, ())
        groups = roles.split() if isinstance(roles, str) else [each for each in roles if isinstance(each, str)]
        grants = dict.fromkeys(grant for group in groups for grant in self._grants.get(group, ()))
        name = str(said.get(claims.name) or said["sub"])
        return Principal(name[:_LONGEST_NAME], Kind.JWT, tuple(grants))


def _said(authorization: str) -> Mapping[str, Any]:
    """Return the claims of a token that somebody else has verified; none when they cannot be read."""
    token = _JWT.fullmatch(authorization.strip())
    if token is None:
        return {}
    payload = token["payload"]
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return {}
    return claims if isinstance(claims, dict) else {}


def first_password(keyring: Keyring) -> str:
    """Return the first admin's password, which follows from the oldest of the platform's keys, and tells none of it.

    So a stack needs one secret, not two; and when that key is dropped because it is known, the password is another.
    """
    key = keyring.key(str(keyring.oldest)) or b""
    return hmac.new(key, _FIRST_PASSWORD, hashlib.sha256).hexdigest()[:_PASSWORD_DIGITS]
