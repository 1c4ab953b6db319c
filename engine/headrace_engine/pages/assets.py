"""What pages are dressed with: a style sheet and a script. They are nobody's secret, and open."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from headrace_engine.api.http import ApiError, Request, Response
from headrace_engine.api.route import Returns, Route
from headrace_engine.identity import Role

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {
    "headrace.css": "text/css; charset=utf-8",
    "headrace.js": "text/javascript; charset=utf-8",
    "headrace.svg": "image/svg+xml",
}


class Assets:
    """Answers requests for them."""

    def routes(self) -> tuple[Route, ...]:
        """Return the route."""
        return (Route("GET", "/assets/{name}", self.get, role=Role.OPEN, returns=(Returns(200, bytes, "text/css"),)),)

    def get(self, _request: Request, name: str) -> Response:
        """Return one of them; under the address that pages use it is the same for ever."""
        if name not in _TYPES:
            raise ApiError(404, f"Not Found: {name[:100]}")
        headers = {"content-type": _TYPES[name], "cache-control": "public, max-age=31536000, immutable"}
        return Response(200, _content(name), headers)


def address(name: str) -> str:
    """Return where a page finds one of them: another place when it has changed."""
    return f"/assets/{name}?{hashlib.sha256(_content(name)).hexdigest()[:12]}"


@cache
def _content(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
