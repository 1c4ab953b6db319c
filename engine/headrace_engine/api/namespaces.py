"""Namespaces and the names of their secrets (reference §14.6). A namespace is there as long as it has flows."""

from __future__ import annotations

from typing import TypedDict

from headrace_engine.api.filters import PAGING, page_of
from headrace_engine.api.gate import within
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.names import ancestors, namespace_of
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role, is_within

_SUGGESTED = 100


class NamespaceView(TypedDict):
    """A namespace."""

    id: str
    deleted: bool


class NamespacePage(TypedDict):
    """Some namespaces of several."""

    results: list[NamespaceView]
    total: int


class Wanted(TypedDict, total=False):
    """What somebody begins to write, and what they have chosen already."""

    q: str | None
    ids: list[str] | None
    existingOnly: bool | None


class SecretName(TypedDict):
    """A secret; its value is never shown."""

    key: str


class SecretPage(TypedDict):
    """Some secrets of several."""

    readOnly: bool
    results: list[SecretName]
    total: int


class Namespaces:
    """Answers requests about namespaces."""

    def __init__(self, engine: Engine) -> None:
        self._flows = engine.stores.flows
        self._secrets = engine.stores.secrets

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/namespaces/{namespace}"
        return (
            Route(
                "GET",
                "/namespaces/search",
                self.search,
                role=Role.VIEWER,
                each=True,
                summary="Search namespaces",
                query=(
                    *PAGING,
                    Query("q", str, "What they must contain."),
                    Query("existing", bool, "Whether only those with flows of their own, not only below them."),
                ),
                returns=(Returns(200, NamespacePage),),
                refuses=(),
            ),
            Route(
                "POST",
                "/namespaces/autocomplete",
                self.autocomplete,
                role=Role.VIEWER,
                each=True,
                summary="Suggest namespaces",
                bodies=(Body(Wanted),),
                returns=(Returns(200, list[str]),),
                refuses=(422,),
            ),
            Route(
                "GET",
                one,
                self.get,
                role=Role.VIEWER,
                summary="Get a namespace",
                returns=(Returns(200, NamespaceView),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{one}/secrets",
                self.secrets,
                role=Role.ADMIN,
                summary="List the names of a namespace's own secrets",
                query=(*PAGING, Query("q", str, "What they must contain.")),
                returns=(Returns(200, SecretPage),),
                refuses=(422,),
            ),
            Route(
                "GET",
                f"{one}/inherited-secrets",
                self.inherited_secrets,
                role=Role.ADMIN,
                summary="List the names of the secrets that flows of a namespace can read, by namespace",
                returns=(Returns(200, dict[str, list[str]]),),
                refuses=(422,),
            ),
        )

    def search(self, request: Request) -> Response:
        """Return namespaces by page."""
        page = page_of(request, ("id",))
        names = self._names(request, request.one("q") or "", only_existing=request.flag("existing"))
        names = page.sorted(names, lambda name, _: name)
        return json_response({"results": [_view(name) for name in page.of(names)], "total": len(names)})

    def autocomplete(self, request: Request) -> Response:
        """Return namespaces that contain what is written, and those chosen already."""
        wanted: Wanted = request.json(Wanted)
        only_existing = wanted.get("existingOnly") or False
        names = self._names(request, wanted.get("q") or "", only_existing=only_existing)[:_SUGGESTED]
        chosen = set(wanted.get("ids") or ())
        known = self._names(request, "", only_existing=only_existing) if chosen else []
        return json_response(sorted({*names, *(name for name in known if name in chosen)}))

    def get(self, _request: Request, namespace: str) -> Response:
        """Return a namespace that has flows, or has some below it."""
        if not self._flows.names(namespace):
            raise ApiError(404, f"Not Found: Namespace {namespace}")
        return json_response(_view(namespace))

    def secrets(self, request: Request, namespace: str) -> Response:
        """Return the names of secrets by page."""
        page = page_of(request, ("key",), size=100)
        wanted = (request.one("q") or "").casefold()
        keys = [key for key in self._secrets.names(namespace_of(namespace)) if wanted in key.casefold()]
        keys = page.sorted(keys, lambda key, _: key)
        return json_response({"readOnly": True, "results": [{"key": key} for key in page.of(keys)], "total": len(keys)})

    def inherited_secrets(self, request: Request, namespace: str) -> Response:
        """Return the names of secrets of a namespace and those above it, as far as who asks may see them."""
        seen = [name for name in ancestors(namespace_of(namespace)) if name in within(request, Role.ADMIN, name)]
        return json_response({name: list(self._secrets.names(name)) for name in seen})

    def _names(self, request: Request, wanted: str, *, only_existing: bool) -> list[str]:
        prefixes = within(request, Role.VIEWER)
        own = {namespace for prefix in prefixes for namespace, _ in self._flows.names(prefix)}
        found = own if only_existing else {each for name in own for each in ancestors(name)}
        return sorted(
            name
            for name in found
            if wanted.casefold() in name.casefold() and any(is_within(name, prefix) for prefix in prefixes)
        )


def _view(name: str) -> NamespaceView:
    return {"id": name, "deleted": False}
