"""What pages are dressed with: style sheets and a script. They are nobody's secret, and open.

One sheet is the installation's own: the file `theme.css` of the namespace of the platform, for other colours.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from headrace_engine.api.http import ApiError, Request, Response
from headrace_engine.api.names import SYSTEM
from headrace_engine.api.route import Returns, Route
from headrace_engine.identity import Role
from headrace_engine.ports import NotFoundError, Storage
from headrace_engine.run_stores import SCHEME, namespace_folder

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {
    "headrace.css": "text/css; charset=utf-8",
    "headrace.js": "text/javascript; charset=utf-8",
    "headrace.svg": "image/svg+xml",
}


THEME = "theme.css"
_THEME = f"{SCHEME}{namespace_folder(SYSTEM)}/_files/{THEME}"
_LARGEST_THEME = 256 * 1024
_CSS = _TYPES["headrace.css"]


class Assets:
    """Answers requests for them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def routes(self) -> tuple[Route, ...]:
        """Return the route."""
        return (Route("GET", "/assets/{name}", self.get, role=Role.OPEN, returns=(Returns(200, bytes, "text/css"),)),)

    def get(self, _request: Request, name: str) -> Response:
        """Return one of them; under the address that pages use it is the same for ever, but for the theme."""
        if name == THEME:
            return Response(200, self._theme(), {"content-type": _CSS, "cache-control": "public, max-age=60"})
        if name not in _TYPES:
            raise ApiError(404, f"Not Found: {name[:100]}")
        headers = {"content-type": _TYPES[name], "cache-control": "public, max-age=31536000, immutable"}
        return Response(200, _content(name), headers)

    def _theme(self) -> bytes:
        """Return the installation's sheet; an empty one where there is none."""
        try:
            with self._storage.open(_THEME) as file:
                return file.read(_LARGEST_THEME)
        except NotFoundError:
            return b""


def address(name: str) -> str:
    """Return where a page finds one of them: another place when it has changed."""
    return f"/assets/{name}?{hashlib.sha256(_content(name)).hexdigest()[:12]}"


@cache
def _content(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
