"""Many executions at once (reference §14.1, §14.3): all that are named, or none; and their deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypedDict

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.execution_filters import EXECUTION_QUERY, execution_query
from headrace_engine.api.execution_verbs import labels_of, state_asked
from headrace_engine.api.execution_views import Label
from headrace_engine.api.flow_views import Count, Invalid, Invalids
from headrace_engine.api.http import Answer, ApiError, Later, Request, Response, json_response
from headrace_engine.api.route import Body, Query, Returns, Route
from headrace_engine.core.messages import Create, Kill, Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.deletion import Deletion
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.inputs import InputError
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.state import State
from headrace_engine.operations import IllegalStateError, NotEndedError, UnprocessableError

_MOST = 1_000
"""Executions that one request acts on."""
_MOST_NAMED = 100
"""Ids that a message of the audit names."""
_DIES = timedelta(seconds=5)
"""How long an answer waits for those to end that are killed to be deleted."""

Operation = Callable[[ExecutionState], Message]


class LabelsByIds(TypedDict):
    """Labels for several executions."""

    executionsId: list[str]
    executionLabels: list[Label]


@dataclass(frozen=True, slots=True)
class _Verb:
    """What can be done to many."""

    name: str
    method: str
    operation: Callable[[Request], Operation]
    query: tuple[Query, ...] = ()
    by_query: _Verb | None = None
    """How it is asked of those that a search finds, where that is asked otherwise."""


class ExecutionBulk:
    """Answers requests about several executions."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self._engine = engine
        self._asking = asking
        operations = asking.operations
        target = "RUNNING, CANCELLED or FAILED; RUNNING unless told."
        # The `state` of a search is that which those have that it finds.
        unqueue_found = _Verb(
            "unqueue", "POST", partial(self._unqueue, "newState"), (Query("newState", State, target),)
        )
        self._verbs = (
            # As Kestra's: what those started that are killed by ids goes on.
            _Verb("kill", "DELETE", lambda _: lambda each: operations.kill(each, cascade=False)),
            _Verb("pause", "POST", lambda _: operations.pause),
            _Verb("resume", "POST", lambda request: lambda each: operations.resume(each, by=_name(request))),
            _Verb("restart", "POST", lambda _: operations.restart),
            _Verb("force-run", "POST", lambda _: operations.force_run),
            _Verb("unqueue", "POST", partial(self._unqueue, "state"), (Query("state", State, target),), unqueue_found),
            _Verb("change-status", "POST", self._change_status, (Query("newStatus", State, required=True),)),
        )

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        found = []
        for verb in self._verbs:
            by_query = verb.by_query or verb
            found += self._both(
                verb.name,
                verb.method,
                partial(self._ask_by_ids, verb),
                partial(self._ask_by_query, by_query),
                verb.query,
                query_of_query=by_query.query,
            )
        latest = (Query("latestRevision", bool, "Whether with the latest revision of the flow."),)
        deleting = (
            Query("includeNonTerminated", bool, "Whether those that have not ended are killed and deleted, too."),
            *DELETING,
        )
        found += self._both("replay", "POST", self.replay_by_ids, self.replay_by_query, latest)
        later = (Returns(202, Count),)
        found += self._both("", "DELETE", self.delete_by_ids, self.delete_by_query, deleting, more=later)
        labels = (Body(LabelsByIds),)
        found += self._both(
            "labels",
            "POST",
            self.label_by_ids,
            self.label_by_query,
            (),
            bodies=labels,
            bodies_of_query=(Body(list[Label]),),
        )
        return (
            *found,
            Route(
                "DELETE",
                "/executions/{execution_id}",
                self.delete,
                role=Role.OPERATOR,
                summary="Delete an execution; one that goes on is killed first",
                query=DELETING,
                returns=(Returns(204),),
                refuses=(404, 409),
            ),
        )

    def _both(
        self,
        verb: str,
        method: str,
        by_ids: Callable[[Request], Answer],
        by_query: Callable[[Request], Answer],
        query: tuple[Query, ...],
        *,
        bodies: tuple[Body, ...] = (Body(list[str]),),
        bodies_of_query: tuple[Body, ...] = (),
        query_of_query: tuple[Query, ...] | None = None,
        more: tuple[Returns, ...] = (),
    ) -> list[Route]:
        base = f"/executions/{verb}".rstrip("/")
        name = (verb or "delete").replace("-", " ").capitalize()
        returns = (Returns(200, Count), Returns(400, Invalids), *more)
        return [
            Route(
                method,
                f"{base}/{how}",
                answer,
                role=Role.OPERATOR,
                each=True,
                summary=f"{name}: {which}; all, or none",
                query=asked,
                bodies=own,
                returns=returns,
                refuses=(409, 422),
            )
            for how, answer, which, asked, own in (
                ("by-ids", by_ids, "these executions", query, bodies),
                (
                    "by-query",
                    by_query,
                    "the executions that a search finds",
                    (*(query if query_of_query is None else query_of_query), *EXECUTION_QUERY),
                    bodies_of_query,
                ),
            )
        ]

    def _ask_by_ids(self, verb: _Verb, request: Request) -> Answer:
        return self._ask(request, verb.name, self._ids(request), verb.operation(request))

    def _ask_by_query(self, verb: _Verb, request: Request) -> Answer:
        return self._ask(request, verb.name, self._found(request), verb.operation(request))

    def _unqueue(self, name: str, request: Request) -> Operation:
        to = state_asked(request, name, State.RUNNING)
        return lambda state: self._asking.operations.unqueue(state, to)

    def _change_status(self, request: Request) -> Operation:
        to = state_asked(request, "newStatus")
        return lambda state: self._asking.operations.change_status(state, to)

    # -- Asked of many ----------------------------------------------------------------------------------

    def replay_by_ids(self, request: Request) -> Answer:
        """Begin a new execution for each of these."""
        return self._replay(request, self._ids(request))

    def replay_by_query(self, request: Request) -> Answer:
        """Begin a new execution for each that is found."""
        return self._replay(request, self._found(request))

    def label_by_ids(self, request: Request) -> Answer:
        """Add labels to these executions."""
        asked = request.json(LabelsByIds)
        return self._label(request, asked["executionsId"], asked["executionLabels"])

    def label_by_query(self, request: Request) -> Answer:
        """Add labels to the executions that are found."""
        return self._label(request, self._found(request), request.json(list[Label]))

    def _label(self, request: Request, execution_ids: Sequence[str], given: Sequence[Label]) -> Answer:
        labels = labels_of(given)
        return self._ask(
            request, "labels", execution_ids, lambda each: self._asking.operations.set_labels(each, labels)
        )

    def _replay(self, request: Request, execution_ids: Sequence[str]) -> Answer:
        latest = request.flag("latestRevision")
        copies: list[tuple[str, Create]] = []

        def copy(state: ExecutionState) -> None:
            definition = state.flow.definition
            revision = None
            if latest:
                revision = self._engine.flow_of(definition.namespace, definition.id).definition.revision
            copies.append(self._asking.operations.replay(state, revision=revision))

        refusal = self._tried(request, "replay", execution_ids, copy)
        if refusal is not None:
            return refusal
        for execution_id, create in copies:
            self._asking.send(execution_id, create)
        return json_response({"count": len(copies)})

    def _ask(self, request: Request, verb: str, execution_ids: Sequence[str], operation: Operation) -> Answer:
        messages: list[tuple[ExecutionState, Message]] = []
        refusal = self._tried(request, verb, execution_ids, lambda state: messages.append((state, operation(state))))
        if refusal is not None:
            return refusal
        for state, message in messages:
            self._asking.send(state.id, message)
        until = self._engine.stores.clock.now() + _DIES
        waited = {state.id: state.seq for state, _ in messages}

        def look() -> Response | None:
            for execution_id, before in list(waited.items()):
                state = self._engine.platform.state(execution_id)
                if state is None or state.seq > before:
                    del waited[execution_id]
            if waited and self._engine.stores.clock.now() < until and request.streams:
                return None
            return json_response({"count": len(messages)})

        return Later(look, tuple(waited))

    def _tried(
        self, request: Request, verb: str, execution_ids: Sequence[str], attempt: Callable[[ExecutionState], object]
    ) -> Response | None:
        """Try something on each execution; return the refusal when it cannot be done to all."""
        self._note(request, execution_ids)
        invalids: list[Invalid] = []
        for execution_id in dict.fromkeys(execution_ids):
            state = self._reached(request, execution_id)
            if state is None:
                invalids.append({"value": execution_id, "message": "execution not found"})
                continue
            try:
                attempt(state)
            except (IllegalStateError, UnprocessableError, NotEndedError, InputError) as error:
                invalids.append({"value": execution_id, "message": str(error)})
        return _refused(verb, invalids) if invalids else None

    # -- Deleted ----------------------------------------------------------------------------------------

    def delete(self, request: Request, execution_id: str) -> Answer:
        """Remove an execution, and unless told otherwise its logs, metrics and files."""
        return self._deleted(request, [self._asking.state(execution_id)], (), Response(204))

    def delete_by_ids(self, request: Request) -> Answer:
        """Remove these executions."""
        return self._delete(request, self._ids(request), refuses=True)

    def delete_by_query(self, request: Request) -> Answer:
        """Remove the executions that are found; those that have not ended stay, unless told otherwise."""
        return self._delete(request, self._found(request), refuses=False)

    def _delete(self, request: Request, execution_ids: Sequence[str], *, refuses: bool) -> Answer:
        also_open = request.flag("includeNonTerminated")
        states: list[ExecutionState] = []

        def take(state: ExecutionState) -> None:
            if also_open or state.closed:
                states.append(state)
            elif refuses:
                raise IllegalStateError(f"Illegal state: execution has not ended, it is in state {state.state}")

        listed = [each for each in dict.fromkeys(execution_ids) if self._is_only_listed(request, each)]
        refusal = self._tried(request, "delete", [each for each in execution_ids if each not in listed], take)
        answer = json_response({"count": len(states) + len(listed)})
        return refusal or self._deleted(request, states, listed, answer)

    def _is_only_listed(self, request: Request, execution_id: str) -> bool:
        """Return whether an execution's deletion was interrupted: all that is left is that lists still have it."""
        stores = self._engine.stores
        summary = stores.executions.get(execution_id)
        if summary is None or request.principal is None or not stores.journal.is_purged(execution_id):
            return False
        return request.principal.may(Role.OPERATOR, summary.namespace)

    def _deleted(
        self, request: Request, states: Sequence[ExecutionState], listed: Sequence[str], answer: Response
    ) -> Answer:
        deletion = Deletion(
            (*(state.id for state in states), *listed),
            logs=request.flag("deleteLogs", default=True),
            metrics=request.flag("deleteMetrics", default=True),
            storage=request.flag("deleteStorage", default=True),
        )
        going_on = {state.id for state in states if not state.closed}
        left: Sequence[str] = deletion.execution_ids
        for execution_id in going_on:
            self._asking.send(execution_id, Kill())
        until = self._engine.stores.clock.now() + _DIES

        def look() -> Response | None:
            nonlocal left
            for execution_id in list(going_on):
                state = self._engine.platform.state(execution_id)
                if state is None or state.closed:
                    going_on.discard(execution_id)
            if not going_on:
                some = self._asking.delete(replace(deletion, execution_ids=tuple(left))) if left else ()
                if some is None:
                    return replace(answer, status=202)
                left = some
            if not left:
                return answer
            if self._engine.stores.clock.now() < until:
                return None
            raise ApiError(
                409,
                f"Illegal state: {len(left)} executions are not deleted yet: those that went on are being killed; "
                "delete them again",
            )

        return Later(look, deletion.execution_ids)

    # -- Which ------------------------------------------------------------------------------------------

    def _reached(self, request: Request, execution_id: str) -> ExecutionState | None:
        state = self._engine.platform.state(execution_id)
        principal = request.principal
        if state is None or principal is None or not principal.may(Role.OPERATOR, state.flow.definition.namespace):
            return None
        return state

    def _ids(self, request: Request) -> Sequence[str]:
        return _bounded(request.json(list[str]))

    def _found(self, request: Request) -> Sequence[str]:
        query = execution_query(request, Role.OPERATOR, self._engine.stores.clock.now())
        found: list[str] = []
        after = ""
        while True:
            page = self._engine.stores.executions.search(query, limit=_MOST + 1 - len(found), after=after)
            found += [each.id for each in page.found]
            after = page.after
            if not after or len(found) > _MOST:
                return _bounded(found)

    def _note(self, request: Request, execution_ids: Iterable[str]) -> None:
        ids = list(execution_ids)
        more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
        request.note(f"executions {', '.join(each[:50] for each in ids[:_MOST_NAMED])}{more}")


DELETING = (
    Query("deleteLogs", bool, "Whether its logs go with it; true unless told."),
    Query("deleteMetrics", bool, "Whether its metrics go with it; true unless told."),
    Query("deleteStorage", bool, "Whether its files go with it; true unless told."),
)


def _bounded(execution_ids: Sequence[str]) -> Sequence[str]:
    if len(execution_ids) > _MOST:
        raise ApiError(422, f"Illegal argument: at most {_MOST} executions at once: narrow the search")
    return execution_ids


def _refused(verb: str, invalids: Sequence[Invalid]) -> Response:
    body: Invalids = {"message": f"invalid bulk {verb}", "invalids": list(invalids)}
    return json_response(body, 400)


def _name(request: Request) -> str | None:
    return request.principal.name if request.principal is not None else None
