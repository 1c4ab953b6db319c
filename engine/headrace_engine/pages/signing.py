"""Signing in and out with a browser."""

from __future__ import annotations

import re

from headrace_engine.api.entrance import Entrance
from headrace_engine.api.gate import Gate
from headrace_engine.api.http import ApiError, Request, Response
from headrace_engine.api.route import Query, Route
from headrace_engine.identity import Role
from headrace_engine.pages.html import moved, page
from headrace_engine.pages.posted import posted
from headrace_engine.pages.proof import Proof

LOGIN = "/login"
_LARGEST = 16 * 1024
_PAGE = re.compile(r"/(?![/\\])[!-~]{0,2000}")
"""A path of this site: not what a browser would take for another one."""


class SigningPages:
    """Answers requests about them, where people are asked who they are."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        about = {"role": Role.OPEN, "changes": False}  # the entrance writes down who comes and goes
        return (
            Route("GET", LOGIN, self.show, query=(Query("to"),), **about),  # type: ignore[arg-type]  # as they are named
            Route("POST", LOGIN, self.enter, admits=_admits, **about),  # type: ignore[arg-type]  # as above
            Route("GET", "/logout", self.ask, **about),  # type: ignore[arg-type]  # as above
            Route("POST", "/logout", self.leave, admits=_admits, **about),  # type: ignore[arg-type]  # as above
        )

    def show(self, request: Request) -> Response:
        """Show the form."""
        to = _place(request.one("to") or "")
        return self._form(request, to) if self._gate.asks else moved(to)

    def enter(self, request: Request) -> Response:
        """Begin a session, and go where somebody wanted to; or tell that nobody is known by what was given."""
        self._gate.refuse_other_sites(request)
        with posted(request) as form:
            Proof(request, LOGIN).demand(form.texts)
            entrance = self._entrance()
            to = _place(form.one("to"))
            try:
                header = entrance.enter(request, form.one("name").strip(), form.one("password"))
            except ApiError as refusal:
                return self._form(request, to, refusal)
        return moved(to, {"set-cookie": header})

    def ask(self, request: Request) -> Response:
        """Show the button."""
        proof = Proof(request, LOGIN)
        return page("logout.html", 200, proof.headers, proof=proof, principal=None)

    def leave(self, request: Request) -> Response:
        """End the session that the browser shows."""
        self._gate.refuse_other_sites(request)
        with posted(request) as form:
            Proof(request, LOGIN).demand(form.texts)
        return moved(LOGIN, {"set-cookie": self._entrance().leave(request)})

    def _entrance(self) -> Entrance:
        if self._gate.entrance is None:
            raise ApiError(404, "Not Found: nobody signs in here")
        return self._gate.entrance

    def _form(self, request: Request, to: str, refusal: ApiError | None = None) -> Response:
        proof = Proof(request, LOGIN)
        waits = refusal.headers.get("retry-after", "") if refusal is not None else ""
        headers = {**proof.headers, **({"retry-after": waits} if waits else {})}
        status = refusal.status if refusal is not None else 200
        return page("login.html", status, headers, to=to, proof=proof, was=status, waits=waits, principal=None)


def _admits(_request: Request) -> int:
    return _LARGEST


def _place(wanted: str) -> str:
    return wanted if _PAGE.fullmatch(wanted) and not wanted.startswith((LOGIN, "/logout")) else "/"
