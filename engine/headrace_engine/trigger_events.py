"""What a trigger makes of an event from outside: whether an execution starts, and which (reference §8, DESIGN §3.4).

Webhooks and event triggers share this. The id of the execution follows from what names the event, so that an event
that comes twice starts one execution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from headrace_engine.context import TENANT
from headrace_engine.core.conditions import ConditionFailed, Context, all_hold
from headrace_engine.core.events import ExecutionCreated
from headrace_engine.engine import CORRELATION_LABEL, Engine
from headrace_engine.expressions import ExpressionError, truthy
from headrace_engine.flow_triggers import FROM_LABEL
from headrace_engine.model.attempt import Inline, Payload
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.headers import with_headers
from headrace_engine.model.ids import derived_id
from headrace_engine.model.trigger import WEBHOOK, TriggerDefinition
from headrace_engine.run_stores import execution_folder
from headrace_engine.sealing import Mask, sealed_inputs


@dataclass(frozen=True, slots=True)
class Happened:
    """An event that one trigger heard of."""

    flow: FlowDefinition
    trigger: TriggerDefinition
    variables: Mapping[str, Any]
    """`trigger` in expressions."""


def idempotency_key(engine: Engine, happened: Happened) -> str | None:
    """Return what the trigger's `idempotencyKey` gives for the event; None for none, or blank text.

    Raises ConditionFailed when it cannot be rendered.
    """
    template = happened.trigger.idempotency_key
    if template is None:
        return None
    return TriggerEvent(engine, happened, "").render(template).strip() or None


def id_for_event(happened: Happened, *event: str | int) -> str:
    """Return the id of the execution that the event of this name starts."""
    flow = happened.flow
    return derived_id("trigger", flow.namespace, flow.id, happened.trigger.id, "event", *event)


class TriggerEvent:
    """One trigger, one event, and the execution it may start."""

    def __init__(self, engine: Engine, happened: Happened, execution_id: str) -> None:
        self.execution_id = execution_id
        self.happened = happened
        self._engine = engine
        flow = happened.flow
        self._host = engine.preparer.host_of(flow, execution_id, engine.stores.clock.now())
        self._variables: dict[str, Any] = {
            **engine.variables_before(flow),
            "flow": {"id": flow.id, "namespace": flow.namespace, "revision": flow.revision, "tenantId": TENANT},
            "trigger": with_headers(happened.variables) if happened.trigger.type == WEBHOOK else happened.variables,
        }
        self._context = Context(self.render, flow.namespace, flow.id, matches=self.matches, zone=UTC)

    def fires(self) -> bool:
        """Return whether all conditions hold. Raises ConditionFailed for one that cannot be evaluated."""
        return all_hold(self.happened.trigger.conditions, self._context)

    def created(self) -> ExecutionCreated:
        """Return the first event of the execution. Raises ConditionFailed or ValueError when it cannot be made."""
        self._engine.refuse(self.happened.flow)
        return self._created(self._inputs(), self._labels())

    def failed(self, why: str) -> ExecutionCreated:
        """Return the first event of an execution that fails at once, for a trigger with `failOnTriggerError`."""
        return self._created({}, [], refused=why)

    def _created(
        self, inputs: Mapping[str, Any], labels: list[tuple[str, str]], refused: str | None = None
    ) -> ExecutionCreated:
        engine, flow, trigger = self._engine, self.happened.flow, self.happened.trigger
        folder = f"{execution_folder(flow.namespace, flow.id, self.execution_id)}/_engine"
        limit = engine.settings.output_inline_limit
        stored, _ = engine.payloads.make(inputs, folder, limit)
        told: Payload
        told, _ = engine.payloads.make(self.happened.variables, folder, limit)
        kept = told.value if isinstance(told, Inline) else {}
        return ExecutionCreated(
            namespace=flow.namespace,
            flow_id=flow.id,
            flow_revision=flow.revision,
            inputs=stored,
            labels=(*flow.labels, *labels, (CORRELATION_LABEL, self.execution_id), (FROM_LABEL, "trigger")),
            variables=dict(flow.variables),
            trigger={"id": trigger.id, "type": trigger.type, "variables": kept},
            trigger_variables=None if isinstance(told, Inline) else told,
            refused=refused,
            templates=engine.pin(flow) if refused is None else (),
        )

    def masked(self, error: Exception) -> str:
        """Return what *error* says, without the secrets that were rendered."""
        return self.mask(str(error))

    def mask(self, text: str) -> str:
        """Return *text* without the secrets that were rendered."""
        return Mask(self._host.secrets_used)(text)

    def rendered(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return a map with every text in it rendered, secrets in clear. Raises ConditionFailed."""
        try:
            rendered: dict[str, Any] = self._engine.expressions.deep(value, self.render, 0)
        except (ConditionFailed, ExpressionError) as error:
            raise ConditionFailed(self.masked(error)) from None
        return rendered

    def holds(self, condition: str, more: Mapping[str, Any]) -> bool:
        """Return whether an expression holds, with *more* variables. Raises ConditionFailed."""
        try:
            return truthy(self._engine.expressions.render(condition, {**self._variables, **more}, self._host))
        except ExpressionError as error:
            raise ConditionFailed(self.masked(ExpressionError(f"`{condition}` cannot be rendered: {error}"))) from None

    def render(self, template: str) -> str:
        """Return *template* rendered. Raises ConditionFailed."""
        try:
            return self._engine.expressions.render(template, self._variables if "{" in template else {}, self._host)
        except ExpressionError as error:
            raise ConditionFailed(f"`{template}` cannot be rendered: {error}") from None

    def matches(self, pattern: str, text: str) -> bool:
        """Return whether a regular expression matches the whole of *text*. Raises ConditionFailed."""
        given = {"text": text, "pattern": pattern}
        try:
            return self._engine.expressions.render("{{ text matches pattern }}", given, self._host) == "true"
        except ExpressionError as error:
            raise ConditionFailed(str(error)) from None

    def _inputs(self) -> dict[str, Any]:
        """Return the inputs, rendered and not checked (trap 18); what is secret of them is sealed."""
        given = self.happened.trigger.inputs
        if not given:
            return {}
        rendered = self._engine.expressions.render_value_typed(given, self._variables, self._host)
        used, cipher = self._host.secrets_used, self._engine.stores.cipher
        return sealed_inputs(rendered, self.happened.flow.inputs, used, cipher)

    def _labels(self) -> list[tuple[str, str]]:
        return [(self.render(key), self.render(value)) for key, value in self.happened.trigger.labels]


Render = Callable[[str], str]


def render_before(engine: Engine, flow: FlowDefinition) -> Render:
    """Return what renders a text of a trigger with what there is before any event: flow, vars, secrets, envs.

    It raises ConditionFailed.
    """
    host = engine.preparer.host_of(flow, "", engine.stores.clock.now())
    variables = engine.variables_before(flow)

    def render(template: str) -> str:
        try:
            return engine.expressions.render(template, variables if "{" in template else {}, host)
        except ExpressionError as error:
            raise ConditionFailed(f"`{template}` cannot be rendered: {Mask(host.secrets_used)(str(error))}") from None

    return render
