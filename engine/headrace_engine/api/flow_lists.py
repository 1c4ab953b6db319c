"""Many flows (reference §14.2): searched, changed, exported, imported, validated, and how they depend on each other."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict

from headrace_engine.api import archives
from headrace_engine.api.dependencies import Dependencies, Topology
from headrace_engine.api.filters import FILTERS, PAGING, Filter, Operation, filters_of, page_of
from headrace_engine.api.flow_views import (
    Count,
    FlowName,
    FlowPage,
    FlowView,
    Invalid,
    Invalids,
    Name,
    flow_view,
    labels_of,
    namespaces_of,
)
from headrace_engine.api.flows import YAML, YAML_BODIES
from headrace_engine.api.gate import demand, within
from headrace_engine.api.http import ApiError, Request, Response, Stream, json_response, parts
from headrace_engine.api.names import SYSTEM
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.api.saving import Saving
from headrace_engine.api.violations import Violation, violation_of, violations
from headrace_engine.engine import Engine, NoSuchFlowError
from headrace_engine.identity import Role, is_within
from headrace_engine.language import FlowError, Problem, check, check_part
from headrace_engine.language.source import split, with_value, written

_FIELDS = ("q", "namespace", "flowId", "labels", "scope")
_FRAGMENTS = 5
_AROUND = 60
_IMPORTED = 64 * 1024 * 1024


class Found(TypedDict):
    """A flow in whose source something was found, and where."""

    model: FlowView
    fragments: list[str]


class FoundPage(TypedDict):
    """Some of those found."""

    results: list[Found]
    total: int


class Deprecated(TypedDict):
    """A flow that says something in an old way."""

    namespace: str
    id: str
    revision: int
    deprecationPaths: list[str]
    warnings: list[str]


class FlowLists:
    """Answers requests about many flows."""

    def __init__(self, engine: Engine, saving: Saving, dependencies: Dependencies) -> None:
        self._engine = engine
        self._flows = engine.stores.flows
        self._saving = saving
        self._dependencies = dependencies

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (*self._reading(), *self._changing(), *self._checking())

    def _reading(self) -> tuple[Route, ...]:
        query = (
            Query("q", str, "What namespace or id must contain."),
            Query("namespace", str, "A namespace; those below it are meant, too."),
            Query("flowId", str, "An id."),
            Query("labels", list[str], "`key:value`; all must be there."),
            Query("scope", list[Literal["USER", "SYSTEM"]], "Whether flows of people, or of the platform itself."),
            FILTERS,
        )
        self._query = query
        archive = (Returns(200, bytes, "application/zip"),)
        names = (Body(list[FlowName]),)
        return (
            Route(
                "GET",
                "/flows/search",
                self.search,
                role=Role.VIEWER,
                each=True,
                summary="Search flows; sorted by namespace and id unless told",
                query=(*PAGING, *query),
                returns=(Returns(200, FlowPage),),
                refuses=(),
            ),
            Route(
                "GET",
                "/flows/source",
                self.search_source,
                role=Role.VIEWER,
                each=True,
                summary="Search in the sources of flows",
                query=(*PAGING, Query("q", str, "The text."), Query("namespace", str, "A namespace, or above it.")),
                returns=(Returns(200, FoundPage),),
                refuses=(),
            ),
            Route(
                "GET",
                "/flows/distinct-namespaces",
                self.namespaces,
                role=Role.VIEWER,
                each=True,
                summary="List the namespaces that have flows",
                query=(Query("q", str, "What they must contain."),),
                returns=(Returns(200, list[str]),),
                refuses=(),
            ),
            Route(
                "GET",
                "/flows/deprecated",
                self.deprecated,
                role=Role.VIEWER,
                each=True,
                summary="List the flows that say something in a way that will not be read for ever",
                query=(Query("namespace", str, "A namespace; those below it are meant, too."),),
                returns=(Returns(200, list[Deprecated]),),
                refuses=(),
            ),
            Route(
                "GET",
                "/flows/{namespace}/{flow_id}/dependencies",
                self.dependencies,
                role=Role.VIEWER,
                summary="Get what a flow starts and what starts it",
                query=(
                    Query("destinationOnly", bool, "Whether only what it starts."),
                    Query("expandAll", bool, "Whether also what those start, and so on."),
                ),
                returns=(Returns(200, Topology),),
                refuses=(404,),
            ),
            Route(
                "GET",
                "/namespaces/{namespace}/dependencies",
                self.dependencies_of_namespace,
                role=Role.VIEWER,
                summary="Get how the flows of a namespace, and those below it, start each other and others",
                query=(Query("destinationOnly", bool, "Whether only what they start."),),
                returns=(Returns(200, Topology),),
                refuses=(),
            ),
            Route(
                "GET",
                "/flows/export/by-query",
                self.export_by_query,
                role=Role.VIEWER,
                each=True,
                summary="Export flows as a zip archive of YAML files",
                query=query,
                returns=archive,
                refuses=(),
            ),
            Route(
                "POST",
                "/flows/export/by-ids",
                self.export_by_ids,
                role=Role.VIEWER,
                each=True,
                summary="Export these flows as a zip archive of YAML files",
                bodies=names,
                returns=(*archive, Returns(400, Invalids)),
                refuses=(422,),
            ),
        )

    def _changing(self) -> tuple[Route, ...]:
        names, count = (Body(list[FlowName]),), (Returns(200, Count), Returns(400, Invalids))
        routes = [
            Route(
                method,
                f"/flows/{verb}/by-ids",
                answer,
                role=Role.EDITOR,
                each=True,
                summary=f"{verb.capitalize()} these flows: all, or none",
                bodies=names,
                returns=count,
                refuses=(422,),
            )
            for method, verb, answer in (
                ("DELETE", "delete", self.delete_by_ids),
                ("POST", "disable", self.disable_by_ids),
                ("POST", "enable", self.enable_by_ids),
            )
        ]
        routes += [
            Route(
                method,
                f"/flows/{verb}/by-query",
                answer,
                role=Role.EDITOR,
                each=True,
                summary=f"{verb.capitalize()} the flows that a search finds",
                query=self._query,
                returns=(Returns(200, Count),),
                refuses=(422,),
            )
            for method, verb, answer in (
                ("DELETE", "delete", self.delete_by_query),
                ("POST", "disable", self.disable_by_query),
                ("POST", "enable", self.enable_by_query),
            )
        ]
        return (
            *routes,
            Route(
                "POST",
                "/flows/{namespace}",
                self.update_namespace,
                role=Role.EDITOR,
                summary="Have a namespace hold these flows: all are valid, or nothing changes",
                query=(Query("delete", bool, "Whether others of the namespace are deleted; true unless told."),),
                bodies=YAML_BODIES,
                returns=(Returns(200, list[FlowView]),),
                refuses=(422,),
            ),
            Route(
                "POST",
                "/flows/bulk",
                self.bulk,
                role=Role.EDITOR,
                each=True,
                summary="Save flows of any namespaces: all are valid, or nothing changes",
                query=(
                    Query("namespace", str, "The namespace whose other flows are deleted."),
                    Query("allowNamespaceChild", bool, "Whether those of namespaces below it are deleted, too."),
                    Query("delete", bool, "Whether others are deleted; true unless told, where a namespace is named."),
                ),
                bodies=YAML_BODIES,
                returns=(Returns(200, list[FlowView]),),
                refuses=(422,),
            ),
            Route(
                "POST",
                "/flows/import",
                self.import_flows,
                role=Role.EDITOR,
                each=True,
                summary="Save flows of a YAML file, or of a zip archive of such; lists what could not be saved",
                query=(Query("failOnError", bool, "Whether nothing is saved when something is wrong."),),
                bodies=(Body(dict[Literal["fileUpload"], bytes], "multipart/form-data"),),
                returns=(Returns(200, list[str]),),
                refuses=(422,),
            ),
        )

    def _checking(self) -> tuple[Route, ...]:
        one = (Returns(200, Violation),)
        bodies = (Body(str, YAML), Body(Any), Body(str, "text/plain"))
        return (
            Route(
                "POST",
                "/flows/validate",
                self.validate,
                role=Role.VIEWER,
                each=True,
                summary="Check flows, one a document",
                bodies=YAML_BODIES,
                returns=(Returns(200, list[Violation]),),
                refuses=(),
            ),
            Route(
                "POST",
                "/flows/validate/task",
                self.validate_task,
                role=Role.VIEWER,
                each=True,
                summary="Check a task, or a trigger",
                query=(Query("section", Literal["TASKS", "TRIGGERS"], "Which of the two; a task unless told."),),
                bodies=bodies,
                returns=one,
                refuses=(),
            ),
            Route(
                "POST",
                "/flows/validate/trigger",
                self.validate_trigger,
                role=Role.VIEWER,
                each=True,
                summary="Check a trigger",
                bodies=bodies,
                returns=one,
                refuses=(),
            ),
        )

    # -- Searches -----------------------------------------------------------------------------------

    def search(self, request: Request) -> Response:
        """Return the flows that are asked for, by page."""
        page = page_of(request, ("id", "namespace"))
        names = page.sorted(self._found(request), lambda name, field: name[field == "id"])
        results = [flow_view(flow) for flow in self._flows.latest(page.of(names))]
        return json_response({"results": results, "total": len(names)})

    def search_source(self, request: Request) -> Response:
        """Return the flows whose sources hold a text, and where; without a text, all."""
        page = page_of(request, ("id", "namespace"))
        wanted = request.one("q") or ""
        flows = [
            flow
            for prefix in within(request, Role.VIEWER, request.one("namespace") or "")
            for flow in self._flows.list(prefix)
            if wanted.casefold() in flow.source.casefold()
        ]
        flows.sort(key=lambda flow: (flow.namespace, flow.id))
        flows = page.sorted(flows, lambda flow, field: flow.id if field == "id" else flow.namespace)
        results = [{"model": flow_view(flow), "fragments": _fragments(flow.source, wanted)} for flow in page.of(flows)]
        return json_response({"results": results, "total": len(flows)})

    def namespaces(self, request: Request) -> Response:
        """Return the namespaces that have flows."""
        return json_response(namespaces_of(request, self._flows.names))

    def deprecated(self, request: Request) -> Response:
        """Return the flows whose sources are warned of for their age."""
        found = []
        for flow in self._flows.latest(self._reached(request, asked=request.one("namespace") or "")):
            said = self._violation(0, flow.source, flow.source)
            if said["deprecationPaths"]:
                named: dict[str, Any] = {"namespace": flow.namespace, "id": flow.id, "revision": flow.revision}
                found.append(named | {name: said[name] for name in ("deprecationPaths", "warnings")})
        return json_response(found)

    def _found(self, request: Request, role: Role = Role.VIEWER) -> list[Name]:
        """Return the flows that a query asks for, among those in whose namespace who asks has *role*."""
        filters = [_keyed(each) for each in filters_of(request, _FIELDS)]
        for field, plain in (("q", Operation.CONTAINS), ("namespace", Operation.PREFIX), ("flowId", Operation.EQUALS)):
            value = request.one(field)
            if value:
                filters.append(Filter(field, plain, value))
        filters += [_label(each) for each in request.query.get("labels", ()) if each]
        scopes = [each for values in request.query.get("scope", ()) for each in values.split(",") if each]
        if scopes:
            filters.append(Filter("scope", Operation.IN, ",".join(scopes)))
        whole = [each for each in filters if each.field == "namespace" and each.operation in _WHOLE]
        names = self._reached(request, role, whole[0].value if whole else "")
        names = [name for name in names if all(_holds(each, name) for each in filters if each.field != "labels")]
        labels = [each for each in filters if each.field == "labels"]
        if labels:
            views = [flow_view(flow) for flow in self._flows.latest(names)]
            names = [(view["namespace"], view["id"]) for view in views if _labelled(labels, labels_of(view))]
        return names

    def _reached(self, request: Request, role: Role = Role.VIEWER, asked: str = "") -> list[Name]:
        return sorted(name for prefix in within(request, role, asked) for name in self._flows.names(prefix))

    # -- Dependencies -------------------------------------------------------------------------------

    def dependencies(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Return what a flow starts, by its tasks or by being listened to, and what starts it."""
        stored = self._flows.get(namespace, flow_id)
        if stored is None or stored.deleted:
            raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
        only, all_ = request.flag("destinationOnly"), request.flag("expandAll")
        edges = self._dependencies.around([(namespace, flow_id)], destination_only=only, further=all_)
        return json_response(self._dependencies.topology([(namespace, flow_id)], edges, _sees(request)))

    def dependencies_of_namespace(self, request: Request, namespace: str) -> Response:
        """Return how the flows of a namespace start each other and others."""
        names = self._flows.names(namespace)
        edges = self._dependencies.around(names, destination_only=request.flag("destinationOnly"), further=False)
        return json_response(self._dependencies.topology(names, edges, _sees(request)))

    # -- Export and import --------------------------------------------------------------------------

    def export_by_query(self, request: Request) -> Response | Stream:
        """Return the flows that a query asks for."""
        return self._exported(request, self._found(request))

    def export_by_ids(self, request: Request) -> Response | Stream:
        """Return these flows."""
        names = self._named(request, Role.VIEWER)
        invalids = self._invalid(names)
        return _refused("export", invalids) if invalids else self._exported(request, names)

    def _exported(self, request: Request, names: Sequence[Name]) -> Response | Stream:
        flows = self._flows.latest(names)
        files = ((f"{flow.namespace}.{flow.id}.yml", io.BytesIO(flow.source.encode())) for flow in flows)
        return archives.zipped(files, "flows.zip", request)

    def import_flows(self, request: Request) -> Response:
        """Save what is valid of a file; list what is not."""
        files = [part for part in parts(request) if part.name == "fileUpload"]
        if len(files) != 1:
            raise ApiError(422, "Illegal argument: one file is sent, as `fileUpload`", [("is missing", "fileUpload")])
        fails = request.flag("failOnError")
        failed: list[str] = []
        problems: list[Problem] = []
        sources: dict[Name, str] = {}
        for file, text in _texts(files[0]):
            for before, document in split(text) if text is not None else [(0, None)]:
                try:
                    if document is None:
                        raise FlowError([Problem("", "The file is not UTF-8 text.", 1, 1, file)])
                    definition = self._saving.parsed(document, lines_before=before)
                except FlowError as error:
                    failed.append(file if document is None else _name_of(document) or file)
                    problems += error.problems
                    continue
                demand(request, Role.EDITOR, definition.namespace)
                sources[definition.namespace, definition.id] = document
        if fails and problems:
            raise FlowError(problems)
        for name, source in sources.items():
            request.note(".".join(name))
            self._saving.save(source)
        return json_response(failed)

    # -- Changes ------------------------------------------------------------------------------------

    def update_namespace(self, request: Request, namespace: str) -> Response:
        """Save flows of one namespace, and delete its others."""
        found = self._saving.parsed_all(request.text())
        strangers = [definition for definition, _ in found if definition.namespace != namespace]
        if strangers:
            other = f"the flow `{strangers[0].id}` belongs to the namespace `{strangers[0].namespace}`"
            raise ApiError(422, f"Illegal argument: {other}, not to `{namespace}`", [(other, "flow.namespace")])
        kept = {(definition.namespace, definition.id) for definition, _ in found}
        saved = [flow_view(self._saving.save(source)) for _, source in found]
        if request.flag("delete", default=True):
            self._delete(name for name in self._flows.names(namespace) if name[0] == namespace and name not in kept)
        return json_response(saved)

    def bulk(self, request: Request) -> Response:
        """Save flows, and delete the others of a namespace where one is named."""
        namespace = request.one("namespace")
        deletes = request.flag("delete", default=namespace is not None)
        if deletes and namespace is None:
            raise ApiError(422, "Illegal argument: `delete` needs the `namespace` whose other flows are deleted")
        below = request.flag("allowNamespaceChild")
        found = self._saving.parsed_all(request.text())
        for definition, _ in found:
            demand(request, Role.EDITOR, definition.namespace)
        kept = {(definition.namespace, definition.id) for definition, _ in found}
        gone: list[Name] = []
        if deletes and namespace is not None:
            demand(request, Role.EDITOR, namespace)
            names = self._flows.names(namespace)
            gone = [name for name in names if (below or name[0] == namespace) and name not in kept]
        saved = [flow_view(self._saving.save(source)) for _, source in found]
        self._delete(gone)
        for name in (*kept, *gone):
            request.note(".".join(name))
        return json_response(saved)

    def delete_by_ids(self, request: Request) -> Response:
        """Delete these flows."""
        names = self._named(request, Role.EDITOR)
        invalids = self._invalid(names)
        return _refused("delete", invalids) if invalids else json_response({"count": self._delete(names)})

    def delete_by_query(self, request: Request) -> Response:
        """Delete the flows that a query asks for."""
        return json_response({"count": self._delete(self._found(request, Role.EDITOR))})

    def disable_by_ids(self, request: Request) -> Response:
        """Disable these flows."""
        return self._switch_by_ids(request, disabled=True)

    def enable_by_ids(self, request: Request) -> Response:
        """Enable these flows."""
        return self._switch_by_ids(request, disabled=False)

    def disable_by_query(self, request: Request) -> Response:
        """Disable the flows that a query asks for."""
        return json_response({"count": self._switch(self._found(request, Role.EDITOR), disabled=True)})

    def enable_by_query(self, request: Request) -> Response:
        """Enable the flows that a query asks for."""
        return json_response({"count": self._switch(self._found(request, Role.EDITOR), disabled=False)})

    def _switch_by_ids(self, request: Request, *, disabled: bool) -> Response:
        names = self._named(request, Role.EDITOR)
        invalids = self._invalid(names)
        if invalids:
            return _refused("disable" if disabled else "enable", invalids)
        return json_response({"count": self._switch(names, disabled=disabled)})

    def _switch(self, names: Sequence[Name], *, disabled: bool) -> int:
        """Have flows say that they are disabled, or not; return how many said otherwise."""
        changed = []
        for flow in self._flows.latest(names):
            source = with_value(flow.source, "disabled", disabled)
            if flow_view(flow)["disabled"] is not disabled:
                self._saving.parsed(source)  # all can be saved, or none is
                changed.append(source)
        for source in changed:
            self._saving.save(source)
        return len(changed)

    def _delete(self, names: Iterable[Name]) -> int:
        return sum([self._saving.delete(*name) for name in names])

    def _named(self, request: Request, role: Role) -> list[Name]:
        """Return the flows that a body names, each once, in whose namespaces who asks has *role*."""
        given: list[FlowName] = request.json(list[FlowName])
        names = list(dict.fromkeys((each["namespace"], each["id"]) for each in given))
        for namespace, flow_id in names:
            demand(request, role, namespace)
            request.note(f"{namespace}.{flow_id}")
        return names

    def _invalid(self, names: Sequence[Name]) -> list[Invalid]:
        there = {(flow.namespace, flow.id) for flow in self._flows.latest(names)}
        return [{"value": ".".join(name), "message": "flow not found"} for name in names if name not in there]

    # -- Checks -------------------------------------------------------------------------------------

    def validate(self, request: Request) -> Response:
        """Say of each flow what is wrong with it; the answer is 200 whatever that is."""
        return json_response(violations(request.text(), self._violation))

    def validate_task(self, request: Request) -> Response:
        """Say of a task, or a trigger, what is wrong with it."""
        section = request.one("section") or "TASKS"
        if section not in ("TASKS", "TRIGGERS"):
            raise ApiError(400, f"Bad request: `section` is TASKS or TRIGGERS, not `{section[:100]}`")
        return self._part(request.text(), "task" if section == "TASKS" else "trigger")

    def validate_trigger(self, request: Request) -> Response:
        """Say of a trigger what is wrong with it."""
        return self._part(request.text(), "trigger")

    def _part(self, source: str, part: Literal["task", "trigger"]) -> Response:
        engine = self._engine
        found = check_part(source, part, registry=engine.registry, plugin_defaults=engine.settings.plugin_defaults)
        return json_response(violation_of(0, found.errors, found.warnings))

    def _violation(self, index: int, source: str, text: str) -> Violation:
        engine = self._engine
        found = check(text, registry=engine.registry, plugin_defaults=engine.settings.plugin_defaults)
        violation = violation_of(index, found.errors, found.warnings)
        try:
            said = written(source)
        except FlowError:
            return violation
        for name in ("flow", "namespace"):
            value = said.get("id" if name == "flow" else name)
            if isinstance(value, str):
                violation[name] = value
        for flow in found.flows:
            missing = engine.missing_templates(flow, source)
            if missing is not None:
                violation["warnings"] = [*violation.get("warnings", []), missing]
        revision = said.get("revision")
        if isinstance(revision, int) and "flow" in violation and "namespace" in violation:
            stored = self._flows.get(violation["namespace"], violation["flow"])
            violation["outdated"] = stored is not None and stored.revision > revision
        return violation


_WHOLE = (Operation.EQUALS, Operation.PREFIX)


def _holds(filter_: Filter, name: Name) -> bool:
    namespace, flow_id = name
    match filter_.field:
        case "namespace":
            return filter_.holds(namespace)
        case "flowId":
            return filter_.holds(flow_id)
        case "scope":
            return filter_.holds("SYSTEM" if is_within(namespace, SYSTEM) else "USER")
        case _:
            if filter_.operation in (Operation.NOT_EQUALS, Operation.NOT_IN):
                return filter_.holds(namespace) and filter_.holds(flow_id)
            loosely = Filter("q", Operation.CONTAINS, filter_.value) if filter_.operation in _WHOLE else filter_
            return loosely.holds(namespace) or loosely.holds(flow_id) or loosely.holds(f"{namespace}.{flow_id}")


def _labelled(filters: Iterable[Filter], labels: Sequence[Name]) -> bool:
    for each in filters:
        is_no = each.operation in (Operation.NOT_EQUALS, Operation.NOT_IN)
        yes = Filter("labels", Operation.IN if each.operation is Operation.NOT_IN else Operation.EQUALS, each.value)
        plain = yes if is_no else each
        if any(key == each.key and plain.holds(value) for key, value in labels) is is_no:
            return False
    return True


def _keyed(filter_: Filter) -> Filter:
    """Return a filter of labels with its key, which may stand before its value."""
    if filter_.field != "labels" or filter_.key is not None:
        return filter_
    return replace(_label(filter_.value), operation=filter_.operation)


def _label(text: str) -> Filter:
    key, colon, value = text.partition(":")
    if not colon:
        raise ApiError(400, f"Bad request: a label is `key:value`, not `{text[:100]}`")
    return Filter("labels", Operation.EQUALS, value, key)


def _sees(request: Request) -> tuple[str, ...]:
    return within(request, Role.VIEWER)


def _fragments(source: str, wanted: str) -> list[str]:
    """Return pieces of the source around what was found, which is marked as Kestra marks it."""
    if not wanted:
        return []
    pattern = re.compile(re.escape(wanted), re.IGNORECASE)
    pieces = []
    for match in pattern.finditer(source):
        begin, end = max(0, match.start() - _AROUND), match.end() + _AROUND
        pieces.append(f"{source[begin : match.start()]}[mark]{match.group()}[/mark]{source[match.end() : end]}")
        if len(pieces) == _FRAGMENTS:
            break
    return pieces


def _texts(part: Any) -> Iterable[tuple[str, str | None]]:
    """Yield names and texts of the YAML files that were sent; None for one that is no text. Raises ApiError 422."""
    name = part.filename or "flows.yml"
    if archives.is_archive(part):
        archive = archives.opened(part.path or io.BytesIO(part.held), largest=_IMPORTED)
        files = [(path, file.read()) for path, file in archive.files() if path.endswith((".yml", ".yaml"))]
    else:
        files = [(name, part.content)]
    for path, content in files:
        try:
            yield path, content.decode("utf-8-sig")
        except UnicodeDecodeError:
            yield path, None


def _name_of(document: str) -> str:
    """Return namespace and id of a flow that cannot be saved, as far as it says them."""
    try:
        said = written(document)
    except FlowError:
        return ""
    return ".".join(str(said[name]) for name in ("namespace", "id") if said.get(name))


def _refused(verb: str, invalids: Sequence[Invalid]) -> Response:
    return json_response({"message": f"invalid bulk {verb}", "invalids": list(invalids)}, 400)
