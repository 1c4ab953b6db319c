"""Triggers: what is kept of them, switched, unlocked, and their backfills (reference §14.5)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import Any, NotRequired, TypedDict

from headrace_engine.api.filters import FILTERS, PAGING, Filter, filters_of, page_of
from headrace_engine.api.flow_views import Count, Invalid, Invalids, shown
from headrace_engine.api.gate import demand, within
from headrace_engine.api.http import ApiError, Request, Response, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.context import TENANT
from headrace_engine.core.schedule.times import InvalidDate, parse_date
from headrace_engine.engine import Engine
from headrace_engine.identity import Role, is_within
from headrace_engine.language import FlowError
from headrace_engine.language.source import written
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.trigger import FLOW_TRIGGER, SCHEDULES, TriggerDefinition
from headrace_engine.operations import IllegalStateError, UnprocessableError
from headrace_engine.ports import FlowSource, NotFoundError, TriggerRecord
from headrace_engine.schedule_records import kept_in
from headrace_engine.trigger_operations import AskedBackfill, TriggerName, TriggerOperations
from headrace_engine.view import instant

_FIELDS = ("q", "namespace", "flowId", "triggerId", "triggerState", "workerId")
_SORTED = ("namespace", "flowId", "triggerId")
_AT_ONCE = 1_000
"""How many triggers one request may change."""
_KEPT_NOTHING = frozenset(
    {FLOW_TRIGGER, "io.kestra.plugin.core.trigger.Webhook", "io.kestra.plugin.core.trigger.McpToolTrigger"}
)
"""The types that wait for nothing of their own: they have no dates and no lock."""
_COLUMNS = (
    "tenantId", "namespace", "flowId", "triggerId", "type", "disabled", "date", "nextExecutionDate", "executionId",
    "updatedDate", "backfillStart", "backfillEnd", "backfillCurrentDate",
)  # fmt: skip


class Label(TypedDict):
    """A label."""

    key: str
    value: str


class BackfillView(TypedDict):
    """A backfill: *currentDate* is the next date to be run. missingOnly is ours: dates that were run are left out."""

    start: str
    end: NotRequired[str | None]
    currentDate: NotRequired[str | None]
    paused: NotRequired[bool | None]
    inputs: NotRequired[dict[str, Any] | None]
    labels: NotRequired[list[Label] | None]
    previousNextExecutionDate: NotRequired[str | None]
    missingOnly: NotRequired[bool | None]


class TriggerId(TypedDict):
    """Which trigger is meant."""

    namespace: str
    flowId: str
    triggerId: str


class TriggerView(TriggerId):
    """What is kept of a trigger. *executionId* is that of the execution it waits for."""

    tenantId: NotRequired[str | None]
    disabled: NotRequired[bool | None]
    date: NotRequired[str | None]
    nextExecutionDate: NotRequired[str | None]
    updatedDate: NotRequired[str | None]
    executionId: NotRequired[str | None]
    stopAfter: NotRequired[list[str] | None]
    backfill: NotRequired[BackfillView | None]


class Found(TypedDict):
    """A trigger as its flow says it, and what is kept of it."""

    abstractTrigger: dict[str, Any]
    triggerContext: TriggerView


class FoundPage(TypedDict):
    """Some triggers of several."""

    results: list[Found]
    total: int


class TriggerPage(TypedDict):
    """What is kept of some triggers of several."""

    results: list[TriggerView]
    total: int


class SetDisabled(TypedDict):
    """Triggers to be switched off, or on."""

    triggers: list[TriggerId]
    disabled: bool


class Filters(TypedDict):
    """Filters in a body."""

    filters: NotRequired[list[dict[str, Any]] | None]


class Dates(TypedDict):
    """The dates that a backfill would run; *next* is where to go on when there are more."""

    dates: list[str]
    total: int
    next: NotRequired[str]


@dataclass(frozen=True)
class _Listed:
    """A trigger of a flow."""

    source: FlowSource
    flow: FlowDefinition
    definition: TriggerDefinition

    @cached_property
    def name(self) -> TriggerName:
        return TriggerName(self.flow.namespace, self.flow.id, self.definition.id)

    def value(self, field: str) -> str:
        match field:
            case "namespace":
                return self.name.namespace
            case "flowId":
                return self.name.flow_id
            case "triggerId":
                return self.name.trigger_id
        return str(self.name)


class Triggers:
    """Answers requests about triggers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._records = engine.stores.triggers
        self._operations = TriggerOperations(engine)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (*self._reading(), *self._of_one(), *self._of_backfills(), *self._of_many())

    def _reading(self) -> tuple[Route, ...]:
        query = (
            Query("q", str, "What namespace, flow or id must contain."),
            Query("namespace", str, "A namespace; those below it are meant, too."),
            Query("flowId", str, "A flow's id."),
            FILTERS,
        )
        self._query = query
        csv_ = (Returns(200, str, "text/csv"),)
        reading: dict[str, Any] = {"role": Role.VIEWER, "each": True, "refuses": ()}
        return (
            Route(
                "GET",
                "/triggers/search",
                self.search,
                summary="Search triggers that have dates or are asked again and again",
                query=(*PAGING, *query, Query("workerId", str, "There are no workers that hold triggers: none match.")),
                returns=(Returns(200, FoundPage),),
                **reading,
            ),
            *(
                Route("GET", path, self.export, summary="Export triggers as CSV", query=query, returns=csv_, **reading)
                for path in ("/triggers/export", "/triggers/export/by-query/csv")
            ),
            Route(
                "GET",
                "/triggers/{namespace}/{flow_id}",
                self.of_flow,
                role=Role.VIEWER,
                summary="List the triggers of a flow",
                query=(*PAGING, Query("q", str, "What the id must contain.")),
                returns=(Returns(200, TriggerPage),),
                refuses=(404,),
            ),
        )

    def _of_one(self) -> tuple[Route, ...]:
        place = "/triggers/{namespace}/{flow_id}/{trigger_id}"
        view = (Returns(200, TriggerView),)
        return (
            Route(
                "PUT",
                "/triggers",
                self.update,
                role=Role.OPERATOR,
                each=True,
                summary="Switch a trigger off or on, or start a backfill of it",
                bodies=(Body(TriggerView),),
                returns=view,
            ),
            Route(
                "POST",
                f"{place}/unlock",
                self.unlock,
                role=Role.OPERATOR,
                summary="Have a trigger wait no longer for its execution",
                returns=view,
            ),
            Route(
                "POST",
                f"{place}/restart",
                self.restart,
                role=Role.OPERATOR,
                summary="Have a trigger looked at anew",
                returns=view,
            ),
            Route(
                "DELETE",
                place,
                self.delete,
                role=Role.OPERATOR,
                summary="Forget what is kept of a trigger; one that its flow has begins anew",
                returns=(Returns(204),),
                refuses=(404,),
            ),
        )

    def _of_backfills(self) -> tuple[Route, ...]:
        asked: dict[str, Any] = {"role": Role.OPERATOR, "each": True}
        view: dict[str, Any] = {"bodies": (Body(TriggerView),), "returns": (Returns(200, TriggerView),)}
        preview = Route(
            "POST",
            "/triggers/backfill/preview",
            self.preview,
            role=Role.VIEWER,
            each=True,
            summary="List the dates that a backfill would run, and run nothing",
            bodies=(Body(TriggerView),),
            returns=(Returns(200, Dates),),
            refuses=(404, 422),
        )
        return (
            preview,
            Route("PUT", "/triggers/backfill/pause", self.pause, summary="Have a backfill pause", **asked, **view),
            Route("PUT", "/triggers/backfill/unpause", self.unpause, summary="Have a backfill go on", **asked, **view),
            Route("POST", "/triggers/backfill/delete", self.end, summary="End a backfill", **asked, **view),
        )

    def _of_many(self) -> tuple[Route, ...]:
        operations = self._operations
        many: dict[str, Any] = {"role": Role.OPERATOR, "each": True, "refuses": (422,)}
        counted = (Returns(200, Count), Returns(400, Invalids))
        disabled = Query("disabled", bool, "Whether they are switched off; on, when false.", required=True)
        routes = [
            Route(
                "POST",
                "/triggers/set-disabled/by-triggers",
                self.set_disabled_by_triggers,
                summary="Switch these triggers off, or on: all, or none",
                bodies=(Body(SetDisabled),),
                returns=counted,
                **many,
            ),
            Route(
                "POST",
                "/triggers/set-disabled/by-query",
                self.set_disabled_by_query,
                summary="Switch triggers off, or on",
                query=(*self._query, disabled),
                returns=(Returns(200, Count),),
                **many,
            ),
            Route(
                "DELETE",
                "/triggers/delete/by-triggers",
                self.delete_by_triggers,
                summary="Forget what is kept of these triggers: of all, or of none",
                bodies=(Body(list[TriggerId]),),
                returns=counted,
                **many,
            ),
            Route(
                "DELETE",
                "/triggers/delete/by-query",
                self.delete_by_query,
                summary="Forget what is kept of triggers",
                query=self._query,
                bodies=(Body(Filters, required=False),),
                returns=(Returns(200, Count),),
                **many,
            ),
        ]
        for path, what, does in (
            ("unlock", "Have {} wait no longer for their executions", operations.unlock),
            ("backfill/pause", "Have the backfills of {} pause", partial(operations.pause_backfill, paused=True)),
            ("backfill/unpause", "Have the backfills of {} go on", partial(operations.pause_backfill, paused=False)),
            ("backfill/delete", "End the backfills of {}", operations.delete_backfill),
        ):
            routes += [
                Route(
                    "POST",
                    f"/triggers/{path}/by-triggers",
                    partial(self._by_triggers, does),
                    summary=what.format("these triggers"),
                    bodies=(Body(list[TriggerId]),),
                    returns=counted,
                    **many,
                ),
                Route(
                    "POST",
                    f"/triggers/{path}/by-query",
                    partial(self._by_query, does),
                    summary=what.format("triggers"),
                    query=self._query,
                    returns=(Returns(200, Count),),
                    **many,
                ),
            ]
        return tuple(routes)

    # -- Reading ------------------------------------------------------------------------------------

    def search(self, request: Request) -> Response:
        """GET /triggers/search."""
        page = page_of(request, _SORTED)
        found = page.sorted(self._asked_for(request, Role.VIEWER), lambda each, field: each.value(field))
        results = [self._found(each) for each in page.of(found)]
        return json_response({"results": results, "total": len(found)})

    def of_flow(self, request: Request, namespace: str, flow_id: str) -> Response:
        """GET /triggers/{namespace}/{flow_id}."""
        page = page_of(request, _SORTED)
        flow = self._engine.flow_of(namespace, flow_id).definition
        records = {record.trigger_id: record for record in self._records.list(namespace, flow_id)}
        wanted = (request.one("q") or "").casefold()
        found = [
            definition
            for definition in flow.triggers
            if wanted in definition.id.casefold() and (definition.type not in _KEPT_NOTHING or definition.id in records)
        ]
        found = page.sorted(found, lambda each, field: each.id if field == "triggerId" else "")
        views = [
            trigger_view(records.get(each.id) or TriggerRecord(namespace, flow_id, each.id), each)
            for each in page.of(found)
        ]
        return json_response({"results": views, "total": len(found)})

    def export(self, request: Request) -> Response:
        """GET /triggers/export: CSV with a header."""
        text = io.StringIO()
        rows = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\r\n")
        rows.writeheader()
        for each in self._asked_for(request, Role.VIEWER):
            view = dict(self._view(each))
            backfill: Any = view.get("backfill") or {}
            more = {
                f"backfill{name[0].upper()}{name[1:]}": backfill.get(name) for name in ("start", "end", "currentDate")
            }
            rows.writerow({**view, **more, "type": each.definition.type})
        headers = {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": 'attachment; filename="triggers.csv"',
        }
        return Response(200, text.getvalue().encode(), headers)

    # -- One ----------------------------------------------------------------------------------------

    def update(self, request: Request) -> Response:
        """PUT /triggers: a new backfill is started; else the trigger is switched as the body says."""
        given = request.json(TriggerView)
        name = _named(given)
        request.note(f"trigger {name.namespace}.{name.flow_id}.{name.trigger_id}")
        demand(request, Role.OPERATOR, name.namespace)
        _, definition = self._operations.found(name)
        record = self._records.get(name.namespace, name.flow_id, name.trigger_id)
        asked = given.get("backfill")
        if asked is not None and (definition.type not in SCHEDULES or kept_in(record).state.backfill is None):
            return self._answered(name, self._operations.start_backfill(name, _backfill(asked)))
        disabled = given.get("disabled")
        if disabled is not None:
            record = self._operations.set_disabled(name, disabled=disabled)
        if asked is not None and asked.get("paused") is not None:
            record = self._operations.pause_backfill(name, paused=bool(asked["paused"]))
        return self._answered(name, record)

    def preview(self, request: Request) -> Response:
        """POST /triggers/backfill/preview."""
        given = request.json(TriggerView)
        name = _named(given)
        demand(request, Role.VIEWER, name.namespace)
        asked = given.get("backfill")
        if asked is None:
            raise ApiError(422, "Invalid entity: backfill: must not be null", [("must not be null", "backfill")])
        found = self._operations.preview(name, _backfill(asked))
        dates: Dates = {"dates": [each.isoformat() for each in found.dates], "total": len(found.dates)}
        if found.more is not None:
            dates["next"] = found.more.isoformat()
        return json_response(dates)

    def unlock(self, _request: Request, namespace: str, flow_id: str, trigger_id: str) -> Response:
        """POST /triggers/{namespace}/{flow_id}/{trigger_id}/unlock."""
        name = TriggerName(namespace, flow_id, trigger_id)
        return self._answered(name, self._operations.unlock(name))

    def restart(self, _request: Request, namespace: str, flow_id: str, trigger_id: str) -> Response:
        """POST /triggers/{namespace}/{flow_id}/{trigger_id}/restart."""
        name = TriggerName(namespace, flow_id, trigger_id)
        return self._answered(name, self._operations.restart(name))

    def delete(self, _request: Request, namespace: str, flow_id: str, trigger_id: str) -> Response:
        """DELETE /triggers/{namespace}/{flow_id}/{trigger_id}."""
        self._operations.delete(TriggerName(namespace, flow_id, trigger_id))
        return Response(204)

    def pause(self, request: Request) -> Response:
        """PUT /triggers/backfill/pause."""
        return self._on_named(request, partial(self._operations.pause_backfill, paused=True))

    def unpause(self, request: Request) -> Response:
        """PUT /triggers/backfill/unpause."""
        return self._on_named(request, partial(self._operations.pause_backfill, paused=False))

    def end(self, request: Request) -> Response:
        """POST /triggers/backfill/delete."""
        return self._on_named(request, self._operations.delete_backfill)

    def _on_named(self, request: Request, does: Callable[[TriggerName], TriggerRecord]) -> Response:
        name = _named(request.json(TriggerId))
        request.note(f"trigger {name.namespace}.{name.flow_id}.{name.trigger_id}")
        demand(request, Role.OPERATOR, name.namespace)
        return self._answered(name, does(name))

    # -- Many ---------------------------------------------------------------------------------------

    def set_disabled_by_triggers(self, request: Request) -> Response:
        """POST /triggers/set-disabled/by-triggers."""
        given = request.json(SetDisabled)
        does = partial(self._operations.set_disabled, disabled=given["disabled"])
        return self._all_or_none(request, [_named(each) for each in given["triggers"]], does)

    def set_disabled_by_query(self, request: Request) -> Response:
        """POST /triggers/set-disabled/by-query."""
        if request.one("disabled") is None:
            raise ApiError(400, "Bad request: `disabled` is true or false")
        return self._by_query(partial(self._operations.set_disabled, disabled=request.flag("disabled")), request)

    def delete_by_triggers(self, request: Request) -> Response:
        """DELETE /triggers/delete/by-triggers."""
        return self._by_triggers(self._operations.delete, request)

    def delete_by_query(self, request: Request) -> Response:
        """DELETE /triggers/delete/by-query."""
        given: Filters = request.json(Filters) if request.body else {}
        return self._by_query(self._operations.delete, request, list(_in_body(given.get("filters") or ())))

    def _by_triggers(self, does: Callable[[TriggerName], object], request: Request) -> Response:
        return self._all_or_none(request, [_named(each) for each in request.json(list[TriggerId])], does)

    def _all_or_none(
        self, request: Request, names: Sequence[TriggerName], does: Callable[[TriggerName], object]
    ) -> Response:
        """Do something to these triggers; nothing when one of them is not there."""
        _check_number(len(names))
        invalids: list[Invalid] = []
        for name in names:
            request.note(f"trigger {name.namespace}.{name.flow_id}.{name.trigger_id}")
            demand(request, Role.OPERATOR, name.namespace)
            try:
                self._operations.found(name)
            except NotFoundError:
                invalids.append({"value": str(name), "message": "trigger not found"})
        if invalids:
            return json_response({"message": "invalid bulk: triggers not found", "invalids": invalids}, 400)
        refused: list[Invalid] = []
        for name in names:
            try:
                does(name)
            except (IllegalStateError, UnprocessableError) as error:
                refused.append({"value": str(name), "message": str(error)})
        if refused:
            return json_response({"message": "invalid bulk: not done to all", "invalids": refused}, 400)
        return json_response({"count": len(names)})

    def _by_query(
        self, does: Callable[[TriggerName], object], request: Request, more: Sequence[Filter] = ()
    ) -> Response:
        """Do something to the triggers that are asked for; those to which it cannot be done are left out."""
        names = [each.name for each in self._asked_for(request, Role.OPERATOR, more)]
        _check_number(len(names))
        count = 0
        for name in names:
            try:
                does(name)
            except (IllegalStateError, UnprocessableError, NotFoundError):
                continue
            count += 1
        return json_response({"count": count})

    # -- What they share ----------------------------------------------------------------------------

    def _asked_for(self, request: Request, role: Role, more: Sequence[Filter] = ()) -> list[_Listed]:
        """Return the triggers that a query means, among those that who asks may deal with, by name."""
        filters = [*filters_of(request, _FIELDS), *more]
        asked = request.one("namespace") or ""
        reach = within(request, role, asked)
        wanted, flow_id = (request.one("q") or "").casefold(), request.one("flowId")
        if request.one("workerId"):
            return []
        found = [
            each
            for each in self._all(reach)
            if (flow_id is None or each.name.flow_id == flow_id)
            and wanted in str(each.name).casefold()
            and all(self._holds(filter_, each) for filter_ in filters)
        ]
        return sorted(found, key=lambda each: each.name)

    def _holds(self, filter_: Filter, listed: _Listed) -> bool:
        match filter_.field:
            case "q":
                return filter_.value.casefold() in str(listed.name).casefold()
            case "triggerState":
                return filter_.holds("DISABLED" if self._view(listed).get("disabled") else "ENABLED")
            case "workerId":
                return filter_.holds("")
        return filter_.holds(listed.value(filter_.field))

    def _all(self, reach: Iterable[str]) -> Iterator[_Listed]:
        for prefix in reach:
            for source in self._engine.stores.flows.list(prefix):
                if "triggers" not in source.source or not is_within(source.namespace, prefix):
                    continue
                try:
                    flow = self._engine.flow_of(source.namespace, source.id, source.revision).definition
                except ValueError:
                    continue  # it can be read no longer: nothing of it fires
                for definition in flow.triggers:
                    if definition.type not in _KEPT_NOTHING:
                        yield _Listed(source, flow, definition)

    def _found(self, listed: _Listed) -> Found:
        return {"abstractTrigger": _as_written(listed), "triggerContext": self._view(listed)}

    def _view(self, listed: _Listed) -> TriggerView:
        name = listed.name
        record = self._records.get(name.namespace, name.flow_id, name.trigger_id)
        return trigger_view(record, listed.definition)

    def _answered(self, name: TriggerName, record: TriggerRecord) -> Response:
        return json_response(trigger_view(record, self._operations.found(name)[1]))


def trigger_view(record: TriggerRecord, definition: TriggerDefinition) -> TriggerView:
    """Return what is kept of a trigger as JSON."""
    kept = kept_in(record)
    state = kept.state
    view: TriggerView = {
        "tenantId": TENANT,
        "namespace": record.namespace,
        "flowId": record.flow_id,
        "triggerId": record.trigger_id,
        "disabled": record.disabled or definition.disabled,
    }
    date = state.date or state.next or kept.updated
    if date is not None:
        view["date"] = instant(date)
    if state.next is not None:
        view["nextExecutionDate"] = instant(state.next)
    if kept.updated is not None:
        view["updatedDate"] = instant(kept.updated)
    if state.started and not definition.allow_concurrent:
        view["executionId"] = state.started[0].execution_id
    if definition.stop_after:
        view["stopAfter"] = sorted(each.value for each in definition.stop_after)
    if (backfill := state.backfill) is not None:
        view["backfill"] = {
            "start": instant(backfill.start),
            "end": instant(backfill.end),
            "currentDate": None if backfill.next is None else instant(backfill.next),
            "paused": backfill.paused,
            "inputs": dict(backfill.inputs),
            "labels": [{"key": key, "value": value} for key, value in backfill.labels],
            "previousNextExecutionDate": None if state.next is None else instant(state.next),
            "missingOnly": backfill.missing_only,
        }
    return view


def _as_written(listed: _Listed) -> dict[str, Any]:
    """Return a trigger as its author wrote it."""
    short = {"id": listed.definition.id, "type": listed.definition.type}
    try:
        triggers = written(listed.source.source).get("triggers")
    except FlowError:
        return short
    for each in triggers if isinstance(triggers, list) else ():
        if isinstance(each, dict) and each.get("id") == listed.definition.id:
            return dict(shown({**each, "type": listed.definition.type}))
    return short


def _named(given: TriggerId) -> TriggerName:
    return TriggerName(given["namespace"], given["flowId"], given["triggerId"])


def _backfill(given: BackfillView) -> AskedBackfill:
    end = given.get("end")
    labels = tuple((each["key"], each["value"]) for each in given.get("labels") or ())
    system = [key for key, _ in labels if key.startswith("system.")]
    if system:
        raise ApiError(422, f"Illegal argument: System labels can only be set by Kestra itself: {system[0]}")
    return AskedBackfill(
        _date(given["start"], "start"),
        None if end is None else _date(end, "end"),
        given.get("inputs") or {},
        labels,
        bool(given.get("missingOnly")),
    )


def _date(given: str, name: str) -> datetime:
    try:
        return parse_date(given)
    except InvalidDate as error:
        raise ApiError(422, f"Invalid entity: backfill.{name}: {error}", [(str(error), f"backfill.{name}")]) from None


def _in_body(filters: Iterable[dict[str, Any]]) -> Iterator[Filter]:
    """Yield the filters of a body: `{field, operation, value}`."""
    names = {name.upper(): name for name in _FIELDS} | {
        "QUERY": "q",
        "FLOW_ID": "flowId",
        "TRIGGER_ID": "triggerId",
        "TRIGGER_STATE": "triggerState",
        "WORKER_ID": "workerId",
    }
    for each in filters:
        field, operation, value = str(each.get("field")), str(each.get("operation")), each.get("value")
        name = names.get(field.upper(), field)
        if isinstance(value, dict) and len(value) == 1:  # as Kestra's client wraps it
            (value,) = value.values()
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        asked = Request("GET", "", {f"filters[{name}][{operation}]": [text]})
        yield from filters_of(asked, _FIELDS)


def _check_number(count: int) -> None:
    if count > _AT_ONCE:
        raise ApiError(422, f"Illegal argument: {count} triggers are meant, and {_AT_ONCE} can be changed at once")
