"""Templates (deprecated in Kestra): lists of tasks that flows take over with a Template task."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NotRequired, TypedDict

from headrace_engine.api.filters import PAGING, page_of
from headrace_engine.api.flow_views import namespaces_of, view_of
from headrace_engine.api.flows import YAML_BODIES
from headrace_engine.api.gate import demand, within
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Query, Returns, Route
from headrace_engine.api.violations import Violation, violation_of, violations
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.language import FlowError
from headrace_engine.ports import FlowSource


class TemplateView(TypedDict):
    """A template: what its author wrote, with what the store knows of it."""

    id: str
    namespace: str
    revision: int
    deleted: bool
    updated: datetime | None
    tasks: list[Any]
    description: NotRequired[str]
    errors: NotRequired[list[Any]]
    source: str


class TemplatePage(TypedDict):
    """Some templates of several."""

    results: list[TemplateView]
    total: int


class Templates:
    """Answers requests about templates."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._templates = engine.stores.templates

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        template, one = "/templates/{namespace}/{template_id}", (Returns(200, TemplateView),)
        return (
            Route(
                "GET",
                "/templates/search",
                self.search,
                role=Role.VIEWER,
                each=True,
                summary="Search templates",
                query=(
                    *PAGING,
                    Query("q", str, "A part of the id."),
                    Query("namespace", str, "A namespace, those below it included."),
                ),
                returns=(Returns(200, TemplatePage),),
                refuses=(),
            ),
            Route(
                "GET",
                "/templates/distinct-namespaces",
                self.namespaces,
                role=Role.VIEWER,
                each=True,
                summary="List the namespaces that have templates",
                query=(Query("q", str, "A part of the namespace."),),
                returns=(Returns(200, list[str]),),
                refuses=(),
            ),
            Route(
                "POST",
                "/templates",
                self.create,
                role=Role.EDITOR,
                each=True,
                summary="Create a template",
                bodies=YAML_BODIES,
                returns=one,
                refuses=(422,),
            ),
            Route(
                "POST",
                "/templates/validate",
                self.validate,
                role=Role.VIEWER,
                each=True,
                summary="Check templates, one a document",
                bodies=YAML_BODIES,
                returns=(Returns(200, list[Violation]),),
                refuses=(),
            ),
            Route(
                "GET",
                template,
                self.get,
                role=Role.VIEWER,
                summary="Get a template",
                returns=one,
                refuses=(404,),
            ),
            Route(
                "PUT",
                template,
                self.update,
                role=Role.EDITOR,
                summary="Change a template; executions keep the one that they began with",
                bodies=YAML_BODIES,
                returns=one,
                refuses=(404, 422),
            ),
            Route(
                "DELETE",
                template,
                self.delete,
                role=Role.EDITOR,
                summary="Delete a template; executions keep the one that they began with",
                returns=(Returns(204),),
                refuses=(404,),
            ),
        )

    def search(self, request: Request) -> Response:
        """Return the templates that are asked for, by page."""
        page = page_of(request, ("id", "namespace"))
        wanted = (request.one("q") or "").casefold()
        names = [
            name
            for prefix in within(request, Role.VIEWER, request.one("namespace") or "")
            for name in self._templates.names(prefix)
            if wanted in name[1].casefold()
        ]
        names = page.sorted(sorted(set(names)), lambda name, field: name[field == "id"])
        results = [template_view(each) for each in self._templates.latest(page.of(names))]
        return json_response({"results": results, "total": len(names)})

    def namespaces(self, request: Request) -> Response:
        """Return the namespaces that have templates."""
        return json_response(namespaces_of(request, self._templates.names))

    def create(self, request: Request) -> Response:
        """Store a new template; the body is YAML."""
        source = request.text()
        definition = self._engine.read_template(source)
        request.note(f"{definition.namespace}.{definition.id}")
        demand(request, Role.EDITOR, definition.namespace)
        stored = self._templates.get(definition.namespace, definition.id)
        if stored is not None and not stored.deleted:
            raise ApiError(
                422, "Invalid entity: template.id: Template id already exists", [("already exists", "template.id")]
            )
        return json_response(template_view(self._engine.save_template(source)))

    def update(self, request: Request, namespace: str, template_id: str) -> Response:
        """Store the next revision of a template; the body is YAML. The same source makes none."""
        self._existing(namespace, template_id)
        source = request.text()
        definition = self._engine.read_template(source)
        if (definition.namespace, definition.id) != (namespace, template_id):
            raise ApiError(422, f"Illegal argument: the body is the template {definition.namespace}.{definition.id}")
        return json_response(template_view(self._engine.save_template(source)))

    def get(self, _request: Request, namespace: str, template_id: str) -> Response:
        """Return a template."""
        return json_response(template_view(self._existing(namespace, template_id)))

    def delete(self, _request: Request, namespace: str, template_id: str) -> Response:
        """Mark a template deleted."""
        self._existing(namespace, template_id)
        self._templates.delete(namespace, template_id, self._engine.stores.clock.now())
        return Response(204)

    def validate(self, request: Request) -> Response:
        """Say of each template what is wrong with it; the answer is 200 whatever that is."""
        return json_response(violations(request.text(), self._violation))

    def _violation(self, index: int, _source: str, text: str) -> Violation:
        try:
            definition = self._engine.read_template(text)
        except FlowError as error:
            return violation_of(index, error.problems, ())
        violation = violation_of(index, (), ())
        violation["flow"], violation["namespace"] = definition.id, definition.namespace
        return violation

    def _existing(self, namespace: str, template_id: str) -> FlowSource:
        stored = self._templates.get(namespace, template_id)
        if stored is None or stored.deleted:
            raise ApiError(404, f"Not Found: Template {namespace}.{template_id}")
        return stored


def template_view(template: FlowSource) -> TemplateView:
    """Return a template as JSON."""
    return view_of(template) | {"source": template.source}  # type: ignore[return-value]  # what its author wrote has more
