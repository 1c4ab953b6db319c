"""The input form of a flow: shown, filled in step by step, sent; then an execution begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from headrace_engine.api.execution_asking import Asking
from headrace_engine.api.http import Answer, Later, Request, Response
from headrace_engine.api.route import Route
from headrace_engine.core.messages import Create
from headrace_engine.engine import CheckFailedError, Engine, UnsupportedError
from headrace_engine.identity import Role
from headrace_engine.inputs import InputError
from headrace_engine.inputs.problems import InputProblem
from headrace_engine.model.definition import Check, FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.pages.fields import errors_of, fields, given, problems_of, unseen
from headrace_engine.pages.html import moved, page, path
from headrace_engine.pages.posted import Posted, posted
from headrace_engine.pages.proof import Proof
from headrace_engine.pages.uploading import Uploading, place_of_flow

_BEGINS = timedelta(seconds=5)


class FormPages:
    """Answers requests about forms."""

    def __init__(self, engine: Engine, asking: Asking, uploading: Uploading) -> None:
        self._engine = engine
        self._asking = asking
        self._uploading = uploading

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        one = "/forms/{namespace}/{flow_id}"
        return (
            Route("GET", one, self.show, role=Role.EDITOR),
            Route("POST", one, self.send, role=Role.EDITOR),
            Route("POST", f"{one}/fields", self.fill, role=Role.EDITOR, changes=False),
        )

    def show(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Show the form, with defaults."""
        definition = self._engine.flow_of(namespace, flow_id).definition
        return self._form(request, definition, None)

    def fill(self, request: Request, namespace: str, flow_id: str) -> Response:
        """Show the form as it is after what was chosen so far; nothing begins."""
        definition = self._engine.flow_of(namespace, flow_id).definition
        with posted(request) as form:
            Proof(request).demand(form.texts)
            return self._form(request, definition, form)

    def send(self, request: Request, namespace: str, flow_id: str) -> Answer:
        """Begin an execution; or show what is wrong, beside what was typed."""
        definition = self._engine.flow_of(namespace, flow_id).definition
        with posted(request) as form:
            Proof(request).demand(form.texts)
            values = given(definition.inputs, form)
            said = _Said(*self._engine.validate_flow_inputs(definition, values))
            if said.errors or unseen(said.answers, form):
                return self._form(request, definition, form, said, status=422)
            try:
                execution_id, created = self._engine.new_execution(namespace, flow_id, values)
            except InputError as error:
                return self._form(request, definition, form, replace(said, refused=error.problems), status=422)
            except (CheckFailedError, UnsupportedError) as error:
                return self._form(request, definition, form, replace(said, refusal=str(error)), status=422)
        request.note(f"execution {execution_id}")
        self._asking.send(execution_id, Create(created))
        return arrives(self._engine, execution_id)

    def _form(
        self,
        request: Request,
        definition: FlowDefinition,
        form: Posted | None,
        said: _Said | None = None,
        *,
        status: int = 200,
    ) -> Response:
        is_sent = said is not None
        if said is None:
            values = given(definition.inputs, form) if form is not None else {}
            said = _Said(*self._engine.validate_flow_inputs(definition, values))
        errors = said.errors if is_sent else {}
        refusal = said.refusal
        try:
            self._engine.refuse(definition)
        except UnsupportedError as error:
            refusal = str(error)
        proof = Proof(request)
        shown = fields(definition.inputs, said.answers, form, errors)
        ahead = self._uploading.ahead(shown, place_of_flow(definition.namespace, definition.id))
        return page(
            "form.html",
            status,
            {**proof.headers, **self._uploading.headers(ahead)},
            flow=definition,
            fields=shown,
            ahead=ahead,
            depends=any(each.depends_on for each in definition.inputs),
            checks=[check for check in said.failed if check.message not in refusal] if form is not None else [],
            refusal=refusal,
            has_more=is_sent and form is not None and not errors and not refusal and unseen(said.answers, form),
            errors=errors,
            proof=proof,
            principal=request.principal,
            action=path("forms", definition.namespace, definition.id),
        )


@dataclass(frozen=True, slots=True)
class _Said:
    """What was said of the inputs that somebody gave."""

    answers: Sequence[Mapping[str, Any]]
    failed: Sequence[Check] = ()
    refused: Sequence[InputProblem] = ()
    refusal: str = ""

    @property
    def errors(self) -> Mapping[str, str]:
        """What is wrong with each input."""
        return errors_of(self.answers) | problems_of(self.refused)


def arrives(engine: Engine, execution_id: str, after: int = -1) -> Later:
    """Go to an execution's page when what was asked for is on record, or soon will be."""
    until = engine.stores.clock.now() + _BEGINS
    there = moved(path("executions", execution_id))

    def look() -> Response | None:
        state = engine.platform.state(execution_id)
        is_there = state is not None and state.seq > after
        return there if is_there or engine.stores.clock.now() >= until else None

    return Later(look, (execution_id,), there)
