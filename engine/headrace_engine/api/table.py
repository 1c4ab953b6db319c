"""A table of routes: which of them a method and a path mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace_engine.api.absent import why_absent
from headrace_engine.api.http import ApiError, Request, Response
from headrace_engine.api.route import Route

Found = tuple[Route, Mapping[str, str]] | Response
"""A route and the names in its path; or the answer itself."""


class Table:
    """Routes, found by the number of their segments and the first of them, which is a word in all."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._meant: dict[tuple[int, str], list[Route]] = {}
        """Of those that match a path, the one that is meant comes first."""
        for route in sorted(routes, key=lambda route: route.rank):
            self._meant.setdefault((len(route.segments), route.segments[0]), []).append(route)

    def find(self, request: Request, segments: Sequence[str]) -> Found:
        """Return the route and the names in its path; the answer itself to who asks which methods there are.

        Raises ApiError 404 and 405.
        """
        method = "GET" if request.method == "HEAD" else request.method  # the host leaves the body out
        allowed = set()
        for route in self._meant.get((len(segments), segments[0]), ()):
            names = route.match(segments)
            if names is None:
                continue
            if route.method == method:
                return route, names
            allowed.add(route.method)
        if not allowed:
            why = why_absent(segments) or self._other_tenant(segments)
            raise ApiError(404, f"Not Found: {request.path}{f': {why}' if why else ''}")
        headers = {"allow": ", ".join(sorted({*allowed, "OPTIONS", *(["HEAD"] if "GET" in allowed else [])}))}
        if request.method == "OPTIONS":
            return Response(204, headers=headers)
        methods = ", ".join(sorted(allowed))
        message = f"Method {request.method} is not allowed for {request.path}; allowed: {methods}"
        raise ApiError(405, message, headers=headers)

    def _other_tenant(self, segments: Sequence[str]) -> str | None:
        """Return what to ask instead when a path is one of ours below another tenant; None when it is not."""
        rest = segments[1:]
        known = self._meant.get((len(rest), rest[0]), ()) if rest else ()
        if all(route.match(rest) is None for route in known):
            return None
        return f"there is one tenant, `main`: ask for /api/v1/main/{'/'.join(rest)}"
