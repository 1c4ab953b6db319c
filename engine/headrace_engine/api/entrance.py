"""The entrance: who asks, by what their request shows; and the session of a browser, begun and ended here."""

from __future__ import annotations

import math
from http.cookies import CookieError, SimpleCookie
from typing import NoReturn

from headrace_engine.api.gate import unauthorized
from headrace_engine.api.http import ApiError, Request
from headrace_engine.authentication import Authenticator, NotAuthenticatedError, TooManyFailuresError
from headrace_engine.identity import Kind, Principal
from headrace_engine.model.ids import new_id
from headrace_engine.ports import Audit, AuditRecord, Clock
from headrace_engine.sessions import Sessions

LOG_IN, LOG_OUT = "log in", "log out"
"""The actions of audit records for somebody who showed, or did not show, who they are; and for who ended that."""
_NAME = "headrace-session"


class Entrance:
    """Tells who asks: by credentials, which come with each request, or by a session."""

    def __init__(self, knows: Authenticator, sessions: Sessions, audit: Audit, clock: Clock) -> None:
        self._knows = knows
        self._sessions = sessions
        self._audit = audit
        self._clock = clock

    def principal(self, request: Request) -> Principal:
        """Return who asks. Raises ApiError 401, 429."""
        authorization = request.headers.get("authorization", "")
        if not authorization:
            session = cookie(request, _name(request))
            found = self._sessions.principal(session) if session else None
            if found is not None:
                return found
        try:
            return self._knows.principal(authorization, request.client)
        except (NotAuthenticatedError, TooManyFailuresError) as refusal:
            self._refuse(request, refusal)

    def enter(self, request: Request, name: str, secret: str) -> str:
        """Begin a session of somebody by name and password, or by a token; return the cookie's header.

        Raises ApiError 401, 429.
        """
        try:
            principal = self._knows.entering(name, secret, request.client)
        except (NotAuthenticatedError, TooManyFailuresError) as refusal:
            self._refuse(request, refusal)
        begun = self._sessions.begin(principal, request.client)
        self._record(request, principal, LOG_IN)
        lasts = math.floor((begun.expires - self._clock.now()).total_seconds())
        return _header(request, begun.text, lasts)

    def leave(self, request: Request) -> str:
        """End the session that a request shows, if there is one; return the header that takes the cookie away."""
        session = cookie(request, _name(request))
        principal = self._sessions.principal(session) if session else None
        if session and self._sessions.end(session) and principal is not None:
            self._record(request, principal, LOG_OUT)
        return _header(request, "", 0)

    def _refuse(self, request: Request, refusal: NotAuthenticatedError | TooManyFailuresError) -> NoReturn:
        if isinstance(refusal, TooManyFailuresError):
            seconds = max(1, math.ceil(refusal.again_in.total_seconds()))
            headers = {"retry-after": str(seconds)}
            raise ApiError(429, "Too many failed attempts to log in; try again later", headers=headers) from None
        if refusal.counted:
            record = AuditRecord(
                self._clock.now(), new_id(), refusal.name, Kind.NONE, request.client, LOG_IN, status=401
            )
            self._audit.write(record)
        raise unauthorized(asks=not is_browser(request)) from None

    def _record(self, request: Request, principal: Principal, action: str) -> None:
        self._audit.write(
            AuditRecord(
                self._clock.now(),
                new_id(),
                principal.name,
                principal.kind,
                request.client,
                action,
                token=principal.token,
            )
        )


def is_browser(request: Request) -> bool:
    """Return whether a browser asks, with somebody before it or by a script: it has a page to sign in on."""
    return "sec-fetch-mode" in request.headers or wants_page(request)


def wants_page(request: Request) -> bool:
    """Return whether what is asked for is to be looked at."""
    return "text/html" in request.headers.get("accept", "")


def is_secure(request: Request) -> bool:
    """Return whether the browser reaches us by TLS, as who passes the request on says."""
    return request.headers.get("x-forwarded-proto", "") == "https"


def cookie(request: Request, name: str) -> str:
    """Return the value of a cookie; empty without it."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _name(request: Request) -> str:
    # No other host below the same domain, and nobody on the way, can set one that is named so.
    return f"__Host-{_NAME}" if is_secure(request) else _NAME


def _header(request: Request, value: str, lasts: int) -> str:
    # Lax, not Strict: who follows a link in a mail or a chat is still signed in. Forms of other sites are not sent it.
    secure = "; Secure" if is_secure(request) else ""
    return f"{_name(request)}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Lax{secure}"
