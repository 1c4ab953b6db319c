"""The key-value store (reference §12, §14.6)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from headrace_engine.api.filters import FILTERS, PAGING, Filter, Operation, filters_of, page_of
from headrace_engine.api.flow_views import shown
from headrace_engine.api.gate import within
from headrace_engine.api.http import JSON, ApiError, Request, Response, json_response
from headrace_engine.api.names import ancestors, namespace_of
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.plugin import TaskFailure, parse_duration
from headrace_engine.ports import KVEntry
from headrace_engine.run_stores import RunKV

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LONGEST_KEY = 256
_FIELDS = ("q", "namespace", "key")

Kind = Literal["STRING", "NUMBER", "BOOLEAN", "DATETIME", "DATE", "DURATION", "JSON"]


class KVView(TypedDict):
    """A key; its value is read by itself."""

    namespace: str
    key: str
    creationDate: datetime
    updateDate: datetime
    expirationDate: NotRequired[datetime]


class KVPage(TypedDict):
    """Some keys of several."""

    results: list[KVView]
    total: int


class KVDetail(TypedDict):
    """A value, and how to read it."""

    type: Kind
    value: Any
    updated: datetime


class Keys(TypedDict):
    """Keys of a namespace."""

    keys: list[str]


class KeyValues:
    """Answers requests about the key-value store."""

    def __init__(self, engine: Engine) -> None:
        self._kv = engine.stores.kv
        self._flows = engine.stores.flows
        self._clock = engine.stores.clock

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        of_namespace = "/namespaces/{namespace}/kv"
        return (
            Route(
                "GET",
                "/kv",
                self.search,
                role=Role.VIEWER,
                each=True,
                summary="Search the keys of the namespaces that have flows, and of those above them",
                query=(*PAGING, Query("namespace", str, "A namespace; those below it are meant, too."), FILTERS),
                returns=(Returns(200, KVPage),),
                refuses=(),
            ),
            Route(
                "GET",
                of_namespace,
                self.of_namespace,
                role=Role.VIEWER,
                summary="List the keys of a namespace",
                returns=(Returns(200, list[KVView]),),
                refuses=(422,),
            ),
            Route(
                "GET",
                f"{of_namespace}/inheritance",
                self.inherited,
                role=Role.VIEWER,
                summary="List the keys of the namespaces above one; of equal ones the nearest",
                returns=(Returns(200, list[KVView]),),
                refuses=(422,),
            ),
            Route(
                "GET",
                f"{of_namespace}/{{key}}",
                self.get,
                role=Role.VIEWER,
                summary="Get a value",
                returns=(Returns(200, KVDetail),),
                refuses=(404, 410, 422),
            ),
            Route(
                "PUT",
                f"{of_namespace}/{{key}}",
                self.put,
                role=Role.EDITOR,
                summary="Set a value",
                headers=(Query("ttl", str, "How long it is kept, as an ISO-8601 duration; for good unless told."),),
                bodies=(Body(str, "text/plain"), Body(Any)),
                returns=(Returns(200),),
                refuses=(422,),
            ),
            Route(
                "DELETE",
                f"{of_namespace}/{{key}}",
                self.delete,
                role=Role.EDITOR,
                summary="Delete a key; says whether it was there",
                returns=(Returns(200, bool),),
                refuses=(422,),
            ),
            Route(
                "DELETE",
                of_namespace,
                self.delete_many,
                role=Role.EDITOR,
                summary="Delete keys; lists those that were there",
                bodies=(Body(Keys),),
                returns=(Returns(200, Keys),),
                refuses=(422,),
            ),
        )

    def of_namespace(self, _request: Request, namespace: str) -> Response:
        """Return the keys of a namespace that have not expired."""
        return json_response(self._living(namespace_of(namespace)))

    def inherited(self, request: Request, namespace: str) -> Response:
        """Return the keys of the namespaces above, as far as who asks may see those."""
        found: dict[str, KVView] = {}
        for ancestor in ancestors(namespace_of(namespace))[1:]:
            if ancestor in within(request, Role.VIEWER, ancestor):
                for view in self._living(ancestor):
                    found.setdefault(view["key"], view)
        return json_response([found[key] for key in sorted(found)])

    def search(self, request: Request) -> Response:
        """Return keys by page."""
        page = page_of(request, ("namespace", "key"))
        filters = filters_of(request, _FIELDS)
        asked = request.one("namespace")
        if asked:
            filters.append(Filter("namespace", Operation.PREFIX, asked))
        prefixes = within(request, Role.VIEWER)
        names = {each for prefix in prefixes for name, _ in self._flows.names(prefix) for each in ancestors(name)}
        views = [
            view
            for namespace in sorted(names)
            if namespace in within(request, Role.VIEWER, namespace)
            if all(each.holds(namespace) for each in filters if each.field == "namespace")
            for view in self._living(namespace)
            if all(each.holds(view["key"]) for each in filters if each.field == "key")
            if all(each.value.casefold() in view["key"].casefold() for each in filters if each.field == "q")
        ]
        views = page.sorted(views, lambda view, field: view["key"] if field == "key" else view["namespace"])
        return json_response({"results": page.of(views), "total": len(views)})

    def get(self, _request: Request, namespace: str, key: str) -> Response:
        """Return a value. 404 for one that is not there, 410 for one that has expired."""
        entry = self._kv.get(namespace_of(namespace), key)
        if entry is None:
            raise ApiError(404, f"Not Found: No value found for key '{key}' in namespace '{namespace}'")
        if self._has_expired(entry):
            raise ApiError(410, f"Gone: The value of key '{key}' in namespace '{namespace}' has expired")
        return json_response({"type": entry.kind, "value": shown(entry.value), "updated": entry.updated})

    def put(self, request: Request, namespace: str, key: str) -> Response:
        """Set a value, whose type what is sent shows."""
        value = _value(request)
        store = RunKV(self._kv, self._clock, namespace_of(namespace))
        try:
            if len(key) > _LONGEST_KEY:
                raise TaskFailure(f"A key has at most {_LONGEST_KEY} characters")
            store.set(key, value, ttl=_ttl(request))
        except TaskFailure as failure:
            raise ApiError(422, f"Illegal argument: {failure}", [(str(failure), "key")]) from None
        return Response(200)

    def delete(self, _request: Request, namespace: str, key: str) -> Response:
        """Delete a key."""
        return json_response(self._kv.delete(namespace_of(namespace), key))

    def delete_many(self, request: Request, namespace: str) -> Response:
        """Delete keys."""
        keys: Keys = request.json(Keys)
        namespace = namespace_of(namespace)
        for key in keys["keys"]:
            request.note(key)
        return json_response({"keys": [key for key in dict.fromkeys(keys["keys"]) if self._kv.delete(namespace, key)]})

    def _living(self, namespace: str) -> list[KVView]:
        return [_view(entry) for entry in self._kv.list(namespace) if not self._has_expired(entry)]

    def _has_expired(self, entry: KVEntry) -> bool:
        return entry.expires is not None and entry.expires <= self._clock.now()


def _view(entry: KVEntry) -> KVView:
    view: KVView = {
        "namespace": entry.namespace,
        "key": entry.key,
        "creationDate": entry.created,
        "updateDate": entry.updated,
    }
    if entry.expires is not None:
        view["expirationDate"] = entry.expires
    return view


def _ttl(request: Request) -> timedelta | None:
    written = request.headers.get("ttl")
    if not written:
        return None
    try:
        length = parse_duration(written)
    except ValueError as error:
        raise ApiError(422, f"Illegal argument: {error}", [(str(error), "ttl")]) from None
    if length <= timedelta(0):
        raise ApiError(422, "Illegal argument: `ttl` is longer than nothing", [("is not positive", "ttl")])
    return length


def _value(request: Request) -> Any:
    """Return what a body means: JSON, a date, an instant, a duration, or else the text itself."""
    text = request.text()
    bare = text.strip()
    with suppress(ValueError):
        if bare[:1] in ("P", "p"):
            return parse_duration(bare)
        if _DATE.fullmatch(bare):
            return date.fromisoformat(bare)
        if _INSTANT.fullmatch(bare):
            return datetime.fromisoformat(bare)
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, RecursionError) as error:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON:
            raise ApiError(422, f"Invalid json: {error}") from None
        return text
