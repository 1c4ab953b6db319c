"""One flow (reference §14.2): what it is, how it changes, how it looks."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from headrace_engine.api.execution_filters import revision_of
from headrace_engine.api.flow_views import FlowView, flow_view, shown
from headrace_engine.api.gate import demand
from headrace_engine.api.graph import Graph, flow_graph
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.api.saving import Saving
from headrace_engine.engine import Engine, NoSuchFlowError
from headrace_engine.identity import Role
from headrace_engine.language.source import find_task, with_task, written
from headrace_engine.model.definition import FlowDefinition, TaskDefinition
from headrace_engine.ports import FlowSource

YAML = "application/x-yaml"
YAML_BODIES = (Body(str, YAML), Body(str, "text/plain"))
REVISION = Query("revision", Annotated[int, Meta(ge=0, lt=2**31)], "Which revision; the latest unless told.")
SUBFLOWS = Query("subflows", list[str], "Uids of subflow tasks that are drawn with what they run.")
_MOST_EXPANDED = 100


class Flows:
    """Answers requests about one flow."""

    def __init__(self, engine: Engine, saving: Saving) -> None:
        self._engine = engine
        self._saving = saving

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        flow, one = "/flows/{namespace}/{flow_id}", (Returns(200, FlowView),)
        graph = (Returns(200, Graph),)
        return (
            Route(
                "POST",
                "/flows",
                self.create,
                role=Role.EDITOR,
                each=True,
                summary="Create a flow",
                bodies=YAML_BODIES,
                returns=one,
                refuses=(422,),
            ),
            Route(
                "GET",
                flow,
                self.get,
                role=Role.VIEWER,
                summary="Get a flow",
                query=(
                    Query("source", bool, "Whether with its source."),
                    REVISION,
                    Query("allowDeleted", bool, "Whether also one that is deleted."),
                ),
                returns=one,
                refuses=(404,),
            ),
            Route(
                "PUT",
                flow,
                self.update,
                role=Role.EDITOR,
                summary="Change a flow",
                bodies=YAML_BODIES,
                returns=one,
                refuses=(404, 422),
            ),
            Route(
                "DELETE",
                flow,
                self.delete,
                role=Role.EDITOR,
                summary="Delete a flow",
                returns=(Returns(204),),
                refuses=(404,),
            ),
            Route(
                "PATCH",
                f"{flow}/{{task_id}}",
                self.patch_task,
                role=Role.EDITOR,
                summary="Replace a task of a flow",
                bodies=(Body(dict[str, Any]),),
                returns=one,
                refuses=(404, 422),
            ),
            Route(
                "GET",
                f"{flow}/revisions",
                self.revisions,
                role=Role.VIEWER,
                summary="List the revisions of a flow, with their sources, the oldest first",
                query=(Query("allowDelete", bool, "Whether also those that say it was deleted; true unless told."),),
                returns=(Returns(200, list[FlowView]),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{flow}/tasks/{{task_id}}",
                self.task,
                role=Role.VIEWER,
                summary="Get a task of a flow",
                query=(REVISION,),
                returns=(Returns(200, dict[str, Any]),),
                refuses=(404,),
            ),
            Route(
                "GET",
                f"{flow}/graph",
                self.graph,
                role=Role.VIEWER,
                summary="Get a flow as a graph",
                query=(REVISION, SUBFLOWS),
                returns=graph,
                refuses=(404, 422),
            ),
            Route(
                "POST",
                "/flows/graph",
                self.graph_of_source,
                role=Role.VIEWER,
                each=True,
                summary="Draw a flow that is not stored as a graph",
                query=(SUBFLOWS,),
                bodies=YAML_BODIES,
                returns=graph,
                refuses=(422,),
            ),
            Route(
                "GET",
                "/flows/{namespace}",
                self.of_namespace,
                role=Role.VIEWER,
                summary="List the flows of a namespace, without those below it",
                returns=(Returns(200, list[FlowView]),),
                refuses=(),
            ),
        )

    def create(self, request: Request) -> Response:
        """Store a new flow; the body is YAML."""
        source = request.text()
        definition = self._saving.parsed(source)
        request.note(f"{definition.namespace}.{definition.id}")
        demand(request, Role.EDITOR, definition.namespace)
        stored = self._engine.stores.flows.get(definition.namespace, definition.id)
        if stored is not None and not stored.deleted:
            raise ApiError(
                422, "Invalid entity: flow.id: Flow id already exists", [("Flow id already exists", "flow.id")]
            )
        return json_response(flow_view(self._saving.save(source), source=True))

    def update(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Store the next revision of a flow; the body is YAML. The same source makes none."""
        self._existing(namespace, flow_id)
        source = request.text()
        definition = self._saving.parsed(source)
        if (definition.namespace, definition.id) != (namespace, flow_id):
            raise ApiError(422, f"Illegal argument: the body is the flow {definition.namespace}.{definition.id}")
        return json_response(flow_view(self._saving.save(source), source=True))

    def patch_task(self, request: Request, namespace: str, flow_id: str, task_id: str) -> Response:
        """Store a revision in which another task stands in the place of one."""
        stored = self._existing(namespace, flow_id)
        task = request.json(dict[str, Any])
        if task.get("id", task_id) != task_id:
            raise ApiError(422, f"Illegal argument: the id of the task is `{task_id}`", [("another id", "id")])
        source = with_task(stored.source, task_id, {"id": task_id, **task})
        if source is None:
            raise ApiError(404, f"Not Found: Task {task_id} in flow {namespace}.{flow_id}")
        self._saving.parsed(source)
        return json_response(flow_view(self._saving.save(source), source=True))

    def get(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Return a flow."""
        stored = self._existing(namespace, flow_id, revision_of(request), deleted=request.flag("allowDeleted"))
        return json_response(flow_view(stored, source=request.flag("source")))

    def of_namespace(self, _request: Request, namespace: str) -> Response:
        """Return the flows of a namespace."""
        flows = self._engine.stores.flows
        names = [name for name in flows.names(namespace) if name[0] == namespace]
        return json_response([flow_view(flow) for flow in flows.latest(names)])

    def revisions(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Return all revisions of a flow."""
        found = self._engine.stores.flows.revisions(namespace, flow_id)
        if not found:
            raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
        deleted = request.flag("allowDelete", default=True)
        return json_response([flow_view(flow, source=True) for flow in found if deleted or not flow.deleted])

    def task(self, request: Request, namespace: str, flow_id: str, task_id: str) -> Response:
        """Return a task as its author wrote it."""
        stored = self._existing(namespace, flow_id, revision_of(request))
        task = find_task(written(stored.source), task_id)
        if task is None:
            raise ApiError(404, f"Not Found: Task {task_id} in flow {namespace}.{flow_id}")
        return json_response(shown(task))

    def delete(self, _request: Request, namespace: str, flow_id: str) -> Response:
        """Mark a flow deleted; its executions stay."""
        if not self._saving.delete(namespace, flow_id):
            raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
        return Response(204)

    def graph(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Return a flow as a graph."""
        stored = self._existing(namespace, flow_id, revision_of(request))
        definition = self._engine.flow_of(namespace, flow_id, stored.revision).definition
        return self._drawn(request, definition, stored.source)

    def graph_of_source(self, request: Request) -> Response:
        """Return the flow in the body as a graph."""
        source = request.text()
        return self._drawn(request, self._saving.parsed(source), source)

    def _drawn(self, request: Request, definition: FlowDefinition, source: str) -> Response:
        expanded = request.query.get("subflows", ())
        if len(expanded) > _MOST_EXPANDED:
            raise ApiError(400, f"Bad request: at most {_MOST_EXPANDED} `subflows` can be drawn")

        def subflow(task: TaskDefinition) -> tuple[FlowDefinition, dict[str, Any]] | None:
            namespace, flow_id = task.properties.get("namespace"), task.properties.get("flowId")
            principal = request.principal
            if not isinstance(namespace, str) or not isinstance(flow_id, str):
                return None
            if principal is None or not principal.may(Role.VIEWER, namespace):
                return None
            called = self._engine.stores.flows.get(namespace, flow_id)
            if called is None or called.deleted:
                return None
            return self._engine.flow_of(namespace, flow_id, called.revision).definition, written(called.source)

        drawn = flow_graph(definition, written(source), expanded=expanded, subflow=subflow)
        return json_response(shown(drawn))

    def _existing(
        self, namespace: str, flow_id: str, revision: int | None = None, *, deleted: bool = False
    ) -> FlowSource:
        stored = self._engine.stores.flows.get(namespace, flow_id, revision)
        if stored is None or (stored.deleted and not deleted):
            raise NoSuchFlowError(f"Flow {namespace}.{flow_id}")
        return stored
