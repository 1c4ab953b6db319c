"""What a person decides about a Pause: on a page for who may act on executions, or by a link that a flow has sent.

To look at either page changes nothing. What is decided comes as a form of that page, for one task run, and is recorded
with who decided it, or by which link. A link is used up by what it decides: the task run that it is for goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.http import Answer, ApiError, Later, Request, Response, json_response
from headrace_engine.api.route import Route
from headrace_engine.api.uploads import UploadWish, place_of
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.engine import Engine
from headrace_engine.identity import Role
from headrace_engine.inputs import InputError
from headrace_engine.model.frozen import dataclass
from headrace_engine.operations import IllegalStateError, UnprocessableError
from headrace_engine.pages.fields import errors_of, fields, given, problems_of, takes_files, unseen
from headrace_engine.pages.forms import arrives
from headrace_engine.pages.html import PRIVATE, moved, page, path
from headrace_engine.pages.posted import Posted, posted
from headrace_engine.pages.proof import Proof
from headrace_engine.pages.uploading import Uploading, place_of_flow
from headrace_engine.resume_links import UPLOADS, Decided, Decision, ResumeLink, ResumeLinks

DECISION = "decision"
_FILL = "fill"
"""Sent instead of a decision: show the form as it is after what was chosen so far."""
_GONE = "Not Found: this link is not valid, or not any more"
_GOES_ON = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where something is decided: by whom, about what, and what may be decided."""

    state: ExecutionState
    task_run: TaskRun
    decisions: Sequence[Decision]
    action: str
    by: str
    proof: Proof
    headers: Mapping[str, str]
    link: ResumeLink | None = None


class ApprovalPages:
    """Answers requests about what waits for a person."""

    def __init__(self, engine: Engine, asking: Asking, uploading: Uploading) -> None:
        self._engine = engine
        self._asking = asking
        self._uploading = uploading
        self._links = ResumeLinks(engine.stores.kv, engine.stores.clock)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/executions/{execution_id}/resume/{task_run_id}"
        return (
            Route("GET", one, self.show, role=Role.OPERATOR),
            Route("POST", one, self.decide, role=Role.OPERATOR),
            Route("GET", "/approve/{key}", self.show_link, role=Role.OPEN),
            Route("POST", "/approve/{key}", self.decide_link, role=Role.OPEN, admits=self.admits),
            Route("POST", "/approve/{key}/uploads", self.begin_upload, role=Role.OPEN, admits=self.admits),
        )

    # -- By who may act on executions -------------------------------------------------------------------

    def show(self, request: Request, execution_id: str, task_run_id: str) -> Response:
        """Show what is to be decided."""
        desk = self._own(request, execution_id, task_run_id)
        return self._form(request, desk, None)

    def decide(self, request: Request, execution_id: str, task_run_id: str) -> Answer:
        """Decide it."""
        desk = self._own(request, execution_id, task_run_id)
        answer = self._decided(request, desk)
        return answer if isinstance(answer, Response) else arrives(self._engine, execution_id, desk.state.seq)

    def _own(self, request: Request, execution_id: str, task_run_id: str) -> _Desk:
        state = self._asking.state(execution_id)
        task_run = state.task_runs.get(task_run_id)
        if task_run is None or task_run_id not in state.paused:
            raise ApiError(409, "Illegal state: nothing waits here any more, or not yet")
        principal = request.principal
        proof = Proof(request)
        return _Desk(
            state,
            task_run,
            tuple(Decision),
            path("executions", execution_id, "resume", task_run_id),
            principal.name if principal is not None else "",
            proof,
            proof.headers,
        )

    def admits(self, _request: Request, key: str) -> None:
        """Have nobody send a large form by a link that is not there. Raises ApiError 404."""
        if self._links.get(key) is None:
            raise ApiError(404, _GONE, headers=PRIVATE)

    # -- By a link ---------------------------------------------------------------------------------------

    def show_link(self, request: Request, key: str) -> Response:
        """Show what is to be decided, or that there is nothing to decide."""
        found = self._linked(request, key)
        return found if isinstance(found, Response) else self._form(request, found, None)

    def decide_link(self, request: Request, key: str) -> Answer:
        """Decide it."""
        found = self._linked(request, key)
        if isinstance(found, Response):
            return found
        answer = self._decided(request, found)
        if isinstance(answer, Response):
            return answer
        until = self._engine.stores.clock.now() + _GOES_ON
        back = moved(found.action, PRIVATE)
        task_run_id = found.task_run.id

        def look() -> Response | None:
            state = self._engine.platform.state(found.state.id)
            is_on = state is None or task_run_id not in state.paused
            return back if is_on or self._engine.stores.clock.now() >= until else None

        return Later(look, (found.state.id,), back)

    def begin_upload(self, request: Request, key: str) -> Response:
        """Tell where a file goes that is too large for the form; what it is then given as, the form says.

        While something waits that asks for files, and a few times: whoever has the link is nobody we know.
        """
        found = self._linked(request, key)
        if isinstance(found, Response):
            raise ApiError(409, "Illegal state: nothing waits here any more, or not yet", headers=PRIVATE)
        found.proof.demand_header(request)
        definition = found.state.flow.definition
        if found.link is None or not any(map(takes_files, found.state.flow.tasks[found.task_run.task_id].inputs)):
            raise ApiError(422, "Illegal argument: no file is asked for here", headers=PRIVATE)
        wish: UploadWish = request.json(UploadWish)
        if not self._links.take_upload(found.link):
            raise ApiError(429, f"Too many requests: {UPLOADS} files went by this link", headers=PRIVATE)
        request.note(f"a file for execution {found.state.id} by {found.by}")
        place = place_of(self._engine, definition.namespace, definition.id, wish)
        return json_response(place, headers=PRIVATE)

    def _linked(self, request: Request, key: str) -> _Desk | Response:
        """Return what a link's holder may decide; a page when that is nothing. Raises ApiError 404."""
        link = self._links.get(key)
        state = self._engine.platform.state(link.execution_id) if link is not None else None
        if link is None or state is None:
            raise ApiError(404, _GONE, headers=PRIVATE)
        task_run = link.meant(state)
        proof = Proof(request, link.key_hash)
        decided = self._links.decided(link)
        is_used = decided is not None and (task_run is None or decided.task_run_id != task_run.id)
        if task_run is not None and task_run.id in state.paused and not is_used:
            by = f"{link.recipient} (link {link.id})" if link.recipient else f"link {link.id}"
            headers = {**proof.headers, **PRIVATE}
            return _Desk(state, task_run, link.decisions, path("approve", key), by, proof, headers, link)
        definition = state.flow.definition
        is_coming = not is_used and not link.is_over(state) and (task_run is None or not task_run.state.is_terminal)
        return page(
            "decided.html",
            200,
            PRIVATE,
            flow=definition,
            execution_id=state.id,
            task_id=link.task_id,
            is_coming=is_coming and not state.state.is_terminal,
            resumed=self._resumed(task_run),
            principal=None,
        )

    def _resumed(self, task_run: TaskRun | None) -> Mapping[str, Any]:
        outputs = self._engine.payloads.load(task_run.outputs) if task_run is not None and task_run.outputs else {}
        found = outputs.get("resumed") if isinstance(outputs, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    # -- Both ---------------------------------------------------------------------------------------------

    def _decided(self, request: Request, desk: _Desk) -> Response | None:
        """Send what is decided, and return None; or a page when it cannot be. Raises ApiError."""
        definitions = desk.state.flow.tasks[desk.task_run.task_id].inputs
        with posted(request) as form:
            desk.proof.demand(form.texts)
            asked = form.one(DECISION)
            if asked == _FILL:
                return self._form(request, desk, form)
            if asked not in desk.decisions:
                raise ApiError(422, "Illegal argument: this may not be decided here")
            decision = Decision(asked)
            values = given(definitions, form)
            if decision in (Decision.RESUME, Decision.WARN):
                answers = self._engine.validate_task_inputs(desk.state, desk.task_run, values)
                errors = errors_of(answers)
                if errors or unseen(answers, form):
                    return self._form(request, desk, form, answers, errors, is_sent=True)
            try:
                message = self._asking.operations.resume(
                    desk.state, values, task_run_id=desk.task_run.id, to=decision.to, by=desk.by
                )
            except InputError as error:
                return self._form(request, desk, form, None, problems_of(error.problems), is_sent=True)
            except (IllegalStateError, UnprocessableError) as error:
                raise ApiError(409, str(error)) from None
        if desk.link is not None:
            decided = Decided(decision, desk.task_run.id)
            first = self._links.decide(desk.link, decided)
            if first != decided:
                refusal = f"Illegal state: {first.decision} was decided by this link already"
                raise ApiError(409, refusal, headers=PRIVATE)
        what = f"{decision} of task run {desk.task_run.id} of execution {desk.state.id}"
        request.note(f"{what} by {desk.by}" if desk.link is not None else what)
        self._asking.send(desk.state.id, message)
        return None

    def _form(
        self,
        request: Request,
        desk: _Desk,
        form: Posted | None,
        answers: Sequence[Mapping[str, Any]] | None = None,
        errors: Mapping[str, str] | None = None,
        *,
        is_sent: bool = False,
    ) -> Response:
        task = desk.state.flow.tasks[desk.task_run.task_id]
        if answers is None:
            values = given(task.inputs, form) if form is not None else {}
            answers = self._engine.validate_task_inputs(desk.state, desk.task_run, values)
        shown, flow = fields(task.inputs, answers, form, errors), desk.state.flow.definition
        # Whoever has only a link may not ask the API for anything.
        place = place_of_flow(flow.namespace, flow.id) if desk.link is None else f"{desk.action}/uploads"
        ahead = self._uploading.ahead(shown, place)
        return page(
            "approval.html",
            422 if is_sent else 200,
            {**desk.headers, **self._uploading.headers(ahead)},
            flow=flow,
            execution_id=desk.state.id,
            task_run=desk.task_run,
            since=desk.task_run.histories[-1][1],
            fields=shown,
            ahead=ahead,
            depends=any(each.depends_on for each in task.inputs),
            has_more=form is not None and is_sent and not errors and unseen(answers, form),
            errors=errors or {},
            decisions=desk.decisions,
            link=desk.link,
            proof=desk.proof,
            action=desk.action,
            principal=request.principal,
        )
