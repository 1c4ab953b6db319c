"""Makes the check of a trigger from its `auth` (headrace_engine.language.webhook_auth says what may stand there)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from headrace_engine.model.algorithms import SHARED
from headrace_engine.plugin import parse_duration
from headrace_engine.webhooks.jwt import JwtCheck, KeySets, Rules
from headrace_engine.webhooks.proof import Check, Signed, StripeSigned, Token, UnauthorizedError

Auth = Mapping[str, Any]
Render = Callable[[str], str]
"""Renders a text with what there is before the call: secrets, variables of the flow."""


def check_of(auth: Auth, render: Render, key_sets: KeySets) -> Check:
    """Return what checks a call. Raises what *render* raises, and UnauthorizedError without a secret."""
    return _MAKERS[str(auth["type"])](auth, render, key_sets)


def _secrets(auth: Auth, render: Render, name: str = "secret") -> tuple[bytes, ...]:
    given = auth.get(name)
    texts = given if isinstance(given, list) else [given]
    found = tuple(render(str(text)).encode() for text in texts if text is not None)
    if not found or not all(found):
        # An empty secret is one that everybody knows.
        raise UnauthorizedError(f"the trigger's `auth.{name}` is empty")
    return found


def _duration(auth: Auth, name: str, default: timedelta) -> timedelta:
    value = auth.get(name)
    return default if value is None else value if isinstance(value, timedelta) else parse_duration(str(value))


_TOLERANCE = timedelta(minutes=5)
_DAY = timedelta(days=1)


def _hmac(auth: Auth, render: Render, _key_sets: KeySets) -> Check:
    timestamp = auth.get("timestampHeader")
    return Signed(
        secrets=_secrets(auth, render),
        header=str(auth["header"]),
        algorithm=str(auth.get("algorithm", "sha256")),
        prefix=str(auth.get("prefix", "")),
        encoding=str(auth.get("encoding", "hex")),
        timestamp_header=timestamp,
        signed=str(auth.get("signed") or ("{timestamp}.{body}" if timestamp else "{body}")),
        tolerance=_duration(auth, "tolerance", _TOLERANCE),
        replay_window=_duration(auth, "replayWindow", _DAY),
    )


def _github(auth: Auth, render: Render, _key_sets: KeySets) -> Check:
    return Signed(
        secrets=_secrets(auth, render),
        header="X-Hub-Signature-256",
        prefix="sha256=",
        replay_window=_duration(auth, "replayWindow", _DAY),
    )


def _stripe(auth: Auth, render: Render, _key_sets: KeySets) -> Check:
    return StripeSigned(_secrets(auth, render), _duration(auth, "tolerance", _TOLERANCE))


def _slack(auth: Auth, render: Render, _key_sets: KeySets) -> Check:
    return Signed(
        secrets=_secrets(auth, render),
        header="X-Slack-Signature",
        prefix="v0=",
        timestamp_header="X-Slack-Request-Timestamp",
        signed="v0:{timestamp}:{body}",
        tolerance=_duration(auth, "tolerance", _TOLERANCE),
    )


def _gitlab(auth: Auth, render: Render, _key_sets: KeySets) -> Check:
    return Token(_secrets(auth, render), "X-Gitlab-Token")


def _bearer(auth: Auth, render: Render, _key_sets: KeySets) -> Check:
    return Token(_secrets(auth, render), "Authorization", "Bearer")


def _api_key(auth: Auth, render: Render, _key_sets: KeySets) -> Check:
    return Token(_secrets(auth, render), str(auth.get("header", "X-API-Key")))


def _jwt(auth: Auth, render: Render, key_sets: KeySets) -> Check:
    audience = auth.get("audience")
    audiences = audience if isinstance(audience, list) else [audience] if audience is not None else []
    has_secret, url = auth.get("secret") is not None, auth.get("jwksUrl")
    algorithms = auth.get("algorithms") or (["HS256"] if has_secret else ["RS256"])
    issuer = auth.get("issuer")
    rules = Rules(
        # A secret never serves as a public key, nor the other way round, whatever the flow says.
        frozenset(str(each) for each in algorithms if (each in SHARED) == has_secret),
        render(str(issuer)) if issuer is not None else None,
        frozenset(render(str(each)) for each in audiences),
        _duration(auth, "leeway", timedelta(seconds=30)),
    )
    header = str(auth.get("header", "Authorization"))
    return JwtCheck(
        rules,
        secrets=_secrets(auth, render) if has_secret else (),
        pem=_secrets(auth, render, "publicKey")[0] if auth.get("publicKey") is not None else b"",
        keys=partial(key_sets, render(str(url))) if url is not None else None,
        header=header,
        scheme="Bearer" if header.lower() == "authorization" else "",
        single_use=str(auth.get("singleUse", "")).lower() == "true",
    )


_MAKERS: Mapping[str, Callable[[Auth, Render, KeySets], Check]] = {
    "hmac": _hmac,
    "github": _github,
    "stripe": _stripe,
    "slack": _slack,
    "gitlab": _gitlab,
    "bearer": _bearer,
    "apiKey": _api_key,
    "jwt": _jwt,
}
