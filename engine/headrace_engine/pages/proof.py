"""Proof that a form was sent from a page of ours: a cookie that is another for each browser, and a token made of it.

The cookie is sent with requests from our own pages alone (SameSite=Strict), and read by no script. The token stands in
the page, for the person who asked for it (or the link); another site knows neither.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence

from headrace_engine.api.entrance import cookie, is_secure
from headrace_engine.api.http import ApiError, Request

FIELD = "_proof"
HEADER = "headrace-proof"
"""Where a page's script sends the token with what is no form."""
_NAME = "headrace"
_VALUE = re.compile(r"[\w-]{43}", re.ASCII)
_REFUSAL = (
    "Forbidden: this form was not sent from its page, or the browser keeps no cookies; go back, reload and try again"
)


class Proof:
    """The token of one page, for *whom* it is shown to."""

    def __init__(self, request: Request, whom: str = "") -> None:
        principal = request.principal
        self._whom = f"{principal.kind}:{principal.name}" if principal is not None else f"link:{whom}"
        self._is_secure = is_secure(request)
        self._name = f"__Host-{_NAME}" if self._is_secure else _NAME
        shown = cookie(request, self._name)
        self._known = shown if _VALUE.fullmatch(shown) else ""
        self._key = self._known or secrets.token_urlsafe(32)

    @property
    def token(self) -> str:
        """What the page's forms send along."""
        return hmac.new(self._key.encode(), self._whom.encode(), hashlib.sha256).hexdigest()

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the page: its cookie, when the browser has none."""
        if self._known:
            return {}
        secure = "; Secure" if self._is_secure else ""
        return {"set-cookie": f"{self._name}={self._key}; Path=/; HttpOnly; SameSite=Strict{secure}"}

    def demand(self, texts: Mapping[str, Sequence[str]]) -> None:
        """Return when a form came with its token. Raises ApiError 403."""
        self._demand((texts.get(FIELD) or [""])[-1])

    def demand_header(self, request: Request) -> None:
        """Return when a page's script sent its token along. Raises ApiError 403."""
        self._demand(request.headers.get(HEADER, ""))

    def _demand(self, given: str) -> None:
        if not self._known or not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            raise ApiError(403, _REFUSAL)
