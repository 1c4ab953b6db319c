"""Starts executions when executions of other flows change their state (reference §8.4).

Each change is told at least once (`Bus`), perhaps to several of these at the same time. The execution a change starts
has an id that follows from trigger and change (DESIGN §3.4), so starting it twice starts it once. What must be
gathered from several changes is kept in `Triggers`, by conditional writes: each change counts once, and one that fired
says so there, so that whoever hears of it again starts the execution again.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from functools import cached_property
from typing import Any

from headrace_engine.context import TENANT
from headrace_engine.core.codec import NewerFormatError, decode_memory, encode_memory, encode_message
from headrace_engine.core.conditions import ConditionFailed, Context, Source, all_hold, holds, source_of
from headrace_engine.core.events import ExecutionCreated
from headrace_engine.core.messages import Create
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.windows import Change, Look, TriggerMemory, booked, look, needs_memory
from headrace_engine.engine import CORRELATION_LABEL, Engine
from headrace_engine.executor import Executor
from headrace_engine.expressions import ExpressionError
from headrace_engine.language import FlowError
from headrace_engine.listeners import Listener
from headrace_engine.model.attempt import Inline, Payload
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id, id_for_key
from headrace_engine.model.trigger import DATED, FLOW_TRIGGER, ConditionDefinition, Gathering, TriggerDefinition
from headrace_engine.ports import Mailbox, NotFoundError, PortError, StateChange, TriggerChangedError, TriggerRecord
from headrace_engine.run_stores import execution_folder
from headrace_engine.sealing import Mask, sealed_inputs
from headrace_engine.trigger_switch import TRIES, switch_trigger

FROM_LABEL = "system.from"
_log = logging.getLogger(__name__)


class FlowTriggers:
    """Hears of changes and starts what listens to them. Safe to call from many threads."""

    def __init__(
        self,
        engine: Engine,
        executor: Executor,
        mailbox: Mailbox,
        on_start: Callable[[str, StateChange], None] = lambda _execution_id, _change: None,
    ) -> None:
        """Take what it works with; on_start is told every execution it starts, again when it is started again."""
        self._engine = engine
        self._executor = executor
        self._mailbox = mailbox
        self._on_start = on_start

    def hear(self, change: StateChange) -> None:
        """Start all that *change* starts; done, and durable, when this returns.

        Raises PortError when a store failed, NewerFormatError for what a newer version wrote: then let it hear
        again. What is wrong with a trigger is logged.
        """
        failed: PortError | NewerFormatError | None = None
        heard = _Heard(self._executor, change)
        if change.trigger_id is not None and change.state.is_terminal:
            self._stop_after(heard)
        for listener in self._engine.listeners.of(change.namespace, change.flow_id):
            if change.state not in listener.trigger.states:
                continue
            try:
                _Hearing(self._engine, listener, heard).start(self._send)
            except NotFoundError as error:
                _drop(listener, change, f"what it needs is gone: {error}")
            except (PortError, NewerFormatError) as error:
                failed = error
            except Exception:  # noqa: BLE001 - a trigger that fails must stop neither the others nor who told us
                _log.exception("The trigger %s failed on execution %s", _name(listener), change.execution_id)
        if failed is not None:
            raise failed

    def _send(self, execution_id: str, created: ExecutionCreated, change: StateChange) -> None:
        self._mailbox.send(execution_id, encode_message(Create(created)))
        self._on_start(execution_id, change)

    # -- stopAfter ----------------------------------------------------------------------------------

    def _stop_after(self, heard: _Heard) -> None:
        """Switch off the trigger that started an execution, when it says so of the state that ended in."""
        change = heard.change
        try:
            flow = self._engine.flow_of(change.namespace, change.flow_id).definition
        except (FlowError, ValueError):
            return  # deleted meanwhile, or no longer valid
        for trigger in flow.triggers:
            if (
                trigger.id == change.trigger_id
                and trigger.type not in DATED  # whoever looks at its dates sees to it
                and change.state in trigger.stop_after
                and heard.trigger_type == trigger.type  # else a Subflow task of the same id
            ):
                self.set_disabled(flow.namespace, flow.id, trigger.id, disabled=True)

    def set_disabled(self, namespace: str, flow_id: str, trigger_id: str, *, disabled: bool) -> None:
        """Switch a trigger off or on; returns when that is stored."""
        switch_trigger(self._engine.stores.triggers, namespace, flow_id, trigger_id, disabled=disabled)


def _name(listener: Listener) -> str:
    return f"{listener.flow.namespace}.{listener.flow.id}.{listener.trigger.id}"


def _drop(listener: Listener, change: StateChange, why: str) -> None:
    _log.warning(
        "The trigger %s passes over execution %s of %s.%s in state %s: %s",
        _name(listener),
        change.execution_id,
        change.namespace,
        change.flow_id,
        change.state,
        why,
    )


@dataclass(frozen=True)
class _Heard:
    """A change, and the execution it is of, loaded when somebody asks."""

    executor: Executor
    change: StateChange

    @cached_property
    def state(self) -> ExecutionState:
        execution_id, number = self.change.execution_id, self.change.number
        state = self.executor.load(execution_id)
        if state is None or len(state.histories) <= number:
            # What is held here is older than the change: another executor made it.
            self.executor.forget(execution_id)
            state = self.executor.load(execution_id)
        if state is None:
            raise NotFoundError(f"Execution {execution_id} has no journal")
        return state

    @property
    def trigger_type(self) -> str | None:
        """The type of what started the execution, if something did."""
        created = self.state.created
        return created.trigger.get("type") if created is not None and created.trigger is not None else None

    @cached_property
    def source(self) -> Source:
        return source_of(self.state, self.change.state)


class _Hearing:
    """One trigger and one change."""

    def __init__(self, engine: Engine, listener: Listener, heard: _Heard) -> None:
        self.engine = engine
        self.listener = listener
        self.flow: FlowDefinition = listener.flow
        self.trigger: TriggerDefinition = listener.trigger
        self.heard = heard
        self.change = heard.change
        change = self.change
        self.execution_id = derived_id(
            "flow-trigger", self.flow.namespace, self.flow.id, self.trigger.id, change.execution_id, change.number
        )
        now = engine.stores.clock.now()
        self.host = engine.preparer.host_of(self.flow, self.execution_id, now)
        self.context = Context(
            self.render,
            self.flow.namespace,
            self.flow.id,
            source=lambda: heard.source,
            matches=self.matches,
            zone=UTC,
        )

    def start(self, send: Callable[[str, ExecutionCreated, StateChange], None]) -> None:
        """Start what the change starts, if it does."""
        try:
            if not self.fires():
                return
            self.name_by_key()
            created: ExecutionCreated | None = self.created()
        except (ConditionFailed, ValueError) as error:
            why = Mask(self.host.secrets_used)(str(error))
            _drop(self.listener, self.change, why)
            created = self.failed(why)
        if created is not None:
            send(self.execution_id, created, self.change)

    # -- Whether ------------------------------------------------------------------------------------

    def fires(self) -> bool:
        """Return whether the change fires the trigger; what it counts for is booked. Raises ConditionFailed."""
        gatherings = {gathering.id: gathering for gathering in self.trigger.gatherings()}
        if not all_hold((each for each in self.trigger.conditions if not _gathers(each)), self.context):
            return False
        members = {
            name: [key for key, member in gathering.members.items() if holds(member, self.context)]
            for name, gathering in gatherings.items()
        }
        if gatherings and not any(members.values()):
            return False
        if self.is_at_limit:
            limit = self.engine.settings.flow_trigger_chain
            raise ConditionFailed(
                f"{limit} executions were started by flow triggers in a chain, the limit "
                "(setting `limits.flowTriggerChain`)"
            )
        if needs_memory(gatherings.values()):
            return self.counted(gatherings, members)
        is_off = self.record().disabled
        return not is_off and self.decided(self.looks(gatherings, members, TriggerMemory()))

    @property
    def is_at_limit(self) -> bool:
        """Whether the change is the end of the longest chain there may be."""
        return self.change.chain >= self.engine.settings.flow_trigger_chain

    def record(self) -> TriggerRecord:
        return self.engine.stores.triggers.get(self.flow.namespace, self.flow.id, self.trigger.id)

    def counted(self, gatherings: Mapping[str, Gathering], members: Mapping[str, list[str]]) -> bool:
        """Count the change once, whoever else counts it or others at the same time; return whether it fired."""
        change = self.booked_change()
        for _ in range(TRIES):
            record = self.record()
            if record.disabled:
                return False
            memory = decode_memory(record.data) if record.data else TriggerMemory()
            seen = memory.last_seen(change)
            if seen is not None:
                return seen.fired
            if memory.is_too_late(change):
                _drop(self.listener, self.change, "the news came too late to be counted")
                return False
            looks = self.looks(gatherings, members, memory)
            if not any(each.counts for each in looks.values()):
                return False
            fired = self.decided(looks)
            after = booked(memory, change, looks.values(), fired=fired)
            try:
                self.engine.stores.triggers.put(replace(record, data=encode_memory(after)))
            except TriggerChangedError:
                continue
            return fired
        raise PortError(f"The trigger {_name(self.listener)} is written too often to be written here")

    def booked_change(self) -> Change:
        return Change(self.change.execution_id, self.change.number, self.change.at)

    def looks(
        self, gatherings: Mapping[str, Gathering], members: Mapping[str, list[str]], memory: TriggerMemory
    ) -> dict[str, Look]:
        change = self.booked_change()
        return {name: look(gathering, memory, change, members[name]) for name, gathering in gatherings.items()}

    def decided(self, looks: Mapping[str, Look]) -> bool:
        """Return whether the trigger fires, given what is gathered with the change."""
        if looks and not any(each.counts for each in looks.values()):
            return False
        own = self.trigger.gathering
        if own is not None and not looks[own.id].complete:
            return False
        context = replace(self.context, gathered=lambda gathering: looks[gathering.id].complete)
        return all_hold((each for each in self.trigger.conditions if _gathers(each)), context)

    # -- Expressions --------------------------------------------------------------------------------

    @cached_property
    def variables(self) -> Mapping[str, Any]:
        """`trigger`, `flow` and `vars` are of the flow that is started, all else of the execution that is heard of."""
        own: dict[str, Any] = {
            "trigger": self.trigger_variables(),
            "flow": {
                "id": self.flow.id,
                "namespace": self.flow.namespace,
                "revision": self.flow.revision,
                "tenantId": TENANT,
            },
            "vars": self.flow.variables,
        }
        if self.heard.source.has_outputs:
            own["trigger"]["outputs"] = self.outputs()
        state = self.heard.state
        return ChainMap(own, self.engine.preparer.variables(state, None, self.host))  # type: ignore[arg-type]

    def trigger_variables(self) -> dict[str, Any]:
        change = self.change
        return {
            "executionId": change.execution_id,
            "namespace": change.namespace,
            "flowId": change.flow_id,
            "flowRevision": change.flow_revision,
            "state": change.state.value,
        }

    def outputs(self) -> Any:
        payload = self.heard.state.outputs
        return self.engine.payloads.load(payload) if payload is not None else None

    def render(self, template: str) -> str:
        try:
            return self.engine.expressions.render(template, self.variables if "{" in template else {}, self.host)
        except ExpressionError as error:
            raise ConditionFailed(f"`{template}` cannot be rendered: {error}") from None

    def matches(self, pattern: str, text: str) -> bool:
        given = {"text": text, "pattern": pattern}
        try:
            return self.engine.expressions.render("{{ text matches pattern }}", given, self.host) == "true"
        except ExpressionError as error:
            raise ConditionFailed(str(error)) from None

    # -- What is started ----------------------------------------------------------------------------

    def name_by_key(self) -> None:
        """With an `idempotencyKey`, let the execution's id follow from it. Raises ConditionFailed."""
        template = self.trigger.idempotency_key
        key = self.render(template).strip() if template is not None else ""
        if key:
            self.execution_id = id_for_key(self.flow.namespace, self.flow.id, self.trigger.id, key)

    def created(self) -> ExecutionCreated:
        """Return the first event of the execution. Raises ValueError when it cannot be made."""
        engine, flow = self.engine, self.flow
        engine.refuse(flow)
        folder = f"{execution_folder(flow.namespace, flow.id, self.execution_id)}/_engine"
        limit = engine.settings.output_inline_limit
        inputs, _ = engine.payloads.make(self.inputs(), folder, limit)
        outputs = None
        if self.heard.source.has_outputs:
            outputs, _ = engine.payloads.make(self.outputs(), folder, limit)
        return self.begun(inputs, self.labels(), trigger_outputs=outputs)

    def begun(
        self,
        inputs: Payload,
        labels: Iterable[tuple[str, str]],
        *,
        trigger_outputs: Payload | None = None,
        refused: str | None = None,
    ) -> ExecutionCreated:
        flow = self.flow
        return ExecutionCreated(
            namespace=flow.namespace,
            flow_id=flow.id,
            flow_revision=flow.revision,
            inputs=inputs,
            labels=(*flow.labels, *labels),
            variables=dict(flow.variables),
            trigger={"id": self.trigger.id, "type": FLOW_TRIGGER, "variables": self.trigger_variables()},
            refused=refused,
            templates=self.engine.pin(flow) if refused is None else (),
            chain=self.change.chain + 1,
            trigger_outputs=trigger_outputs,
        )

    def failed(self, error: str) -> ExecutionCreated | None:
        """Return the first event of an execution that fails at once with *error*, if the trigger asks for one.

        That is `failOnTriggerError`. None where nothing would have been started without the error, either.
        """
        if not self.trigger.fail_on_error or self.is_at_limit or self.record().disabled:
            return None
        try:
            self.engine.refuse(self.flow)
        except ValueError:
            return None
        labels = [(CORRELATION_LABEL, self.execution_id), (FROM_LABEL, "trigger")]
        return self.begun(Inline({}), labels, refused=error)

    def inputs(self) -> dict[str, Any]:
        """Return the inputs, rendered and not checked (trap 18); what is secret of them is sealed."""
        if not self.trigger.inputs:
            return {}
        rendered = self.engine.expressions.render_value_typed(self.trigger.inputs, self.variables, self.host)
        return sealed_inputs(rendered, self.flow.inputs, self.host.secrets_used, self.engine.stores.cipher)

    def labels(self) -> list[tuple[str, str]]:
        given = [(self.render(key), self.render(value)) for key, value in self.trigger.labels]
        return [*given, (CORRELATION_LABEL, self.execution_id), (FROM_LABEL, "trigger")]


def _gathers(condition: ConditionDefinition) -> bool:
    return any(each.gathering is not None for each in condition.walk())
