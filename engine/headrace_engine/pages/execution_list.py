"""The list of executions, the newest first; what is looked for stands in the address."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headrace_engine.api.execution_filters import execution_query
from headrace_engine.api.http import ApiError, Request, Response
from headrace_engine.api.route import Query, Route
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.model.state import State
from headrace_engine.pages.html import page, path
from headrace_engine.ports import COUNTED, ExecutionPage, ExecutionSummary, SearchTooWideError

_SIZE = 50
_FIELDS = ("q", "namespace", "flowId", "state", "labels", "timeRange")
_RANGES = (("PT1H", "last hour"), ("P1D", "last day"), ("P7D", "last 7 days"), ("P30D", "last 30 days"))
_STATES = tuple(
    state for state in State if state not in (State.SKIPPED, State.RESUBMITTED, State.BREAKPOINT, State.RETRIED)
)


class ExecutionList:
    """Answers requests for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> tuple[Route, ...]:
        """Return the route."""
        query = tuple(Query(name) for name in (*_FIELDS, "cursor"))
        return (Route("GET", "/executions", self.show, role=Role.VIEWER, each=True, query=query),)

    def show(self, request: Request) -> Response:
        """Show one page of what is looked for."""
        # A field that was left empty looks for nothing.
        given = {name: [each for each in request.query.get(name, ()) if each] for name in _FIELDS}
        asked = replace(request, query={name: values for name, values in given.items() if values})
        now = self._engine.stores.clock.now()
        after = request.one("cursor") or ""
        found, refusal = ExecutionPage((), 0), ""
        try:
            query = execution_query(asked, Role.VIEWER, now)
            found = self._engine.stores.executions.search(query, limit=_SIZE, after=after)
        except ApiError as error:
            refusal = error.message.partition(": ")[2] or error.message
        except SearchTooWideError as error:
            refusal = str(error)
        except ValueError:  # an `after` that no page said
            refusal = "This page of the list is not there: begin at the first."
        return page(
            "executions.html",
            400 if refusal else 200,
            executions=[(each, _seconds(each, now)) for each in found.found],
            total=f"{found.total:,}" if found.is_exact else f"more than {min(found.total, COUNTED):,}",
            next=path("executions", **given, cursor=found.after) if found.after else "",
            first=path("executions", **given) if after else "",
            given=given,
            refusal=refusal,
            states=_STATES,
            ranges=_RANGES,
            principal=request.principal,
        )


def _seconds(found: ExecutionSummary, now: datetime) -> float:
    return max(((found.end or now) - found.start).total_seconds(), 0.0)
