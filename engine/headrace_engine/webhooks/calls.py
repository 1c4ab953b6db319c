"""What a call of a webhook starts (reference §8.3)."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import msgspec

from headrace_engine.core.codec import encode_message
from headrace_engine.core.conditions import ConditionFailed
from headrace_engine.core.events import ExecutionCreated
from headrace_engine.core.messages import Create
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine, NoSuchFlowError
from headrace_engine.expressions import ExpressionError
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import id_for_key, new_id
from headrace_engine.model.trigger import WEBHOOK, TriggerDefinition
from headrace_engine.ports import Mailbox
from headrace_engine.trigger_events import (
    Happened,
    TriggerEvent,
    id_for_event,
    idempotency_key,
    render_before,
)
from headrace_engine.webhooks.checks import check_of
from headrace_engine.webhooks.jwt import KeySets, KeysUnavailableError
from headrace_engine.webhooks.once import Once
from headrace_engine.webhooks.proof import Proof, Sent, UnauthorizedError, is_one_of

_log = logging.getLogger(__name__)


class NoSuchWebhookError(Exception):
    """No webhook of the flow has the key, or there is no such flow: whoever does not know the key learns nothing."""


class WebhookDisabledError(Exception):
    """The flow or the trigger is switched off."""


class TriggerError(Exception):
    """The trigger cannot make an execution of the call: a condition, its inputs or its key cannot be rendered."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a webhook."""

    headers: Mapping[str, str]
    """By lower-case name."""
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: bytes = b""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """The call was right, and its conditions do not hold: it starts nothing."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The call has its execution, which is not lost any more."""

    execution_id: str
    trigger: TriggerDefinition
    created: ExecutionCreated
    state: ExecutionState | None = None
    """How it stands, when an earlier call with the same key started it."""


class Webhooks:
    """Takes calls. Safe to call from many threads."""

    def __init__(self, engine: Engine, mailbox: Mailbox) -> None:
        self._engine = engine
        self._mailbox = mailbox
        clock = engine.stores.clock
        self._once = Once(engine.stores.kv, clock)
        self._key_sets = KeySets(self._fetch, clock.now)

    def take(self, namespace: str, flow_id: str, key: str, call: Call) -> Taken | Nothing:
        """Start what the call starts; durable when this returns.

        Raises NoSuchWebhookError, UnauthorizedError, WebhookDisabledError, TriggerError, UnsupportedError of a flow
        that must not run, KeysUnavailableError, PortError.
        """
        flow, trigger = self._find(namespace, flow_id, key)
        hidden, proof = self._checked(flow, trigger, call)
        self._must_be_on(flow, trigger)
        happened = Happened(flow, trigger, _variables(call, hidden, proof))
        try:
            given = idempotency_key(self._engine, happened) or call.idempotency_key
        except ConditionFailed as error:
            raise TriggerError(str(error)) from None
        execution_id = id_for_key(namespace, flow_id, trigger.id, given) if given else new_id()
        place = f"{namespace}/{flow_id}/{trigger.id}"
        if not proof.once or not proof.keep:
            return self._start(happened, execution_id, known=given is not None)
        if not given:
            execution_id = id_for_event(happened, proof.once.hex())
        try:
            execution_id = self._once.begin(place, proof, execution_id)
        except UnauthorizedError as error:
            _refused(flow, trigger, error)
            raise
        taken = self._start(happened, execution_id, known=given is not None)
        self._once.taken(place, proof, execution_id)
        return taken

    # -- Whose it is --------------------------------------------------------------------------------

    def must_be(self, namespace: str, flow_id: str, key: str) -> None:
        """Return when there is such a webhook. Raises NoSuchWebhookError."""
        self._find(namespace, flow_id, key)

    def _find(self, namespace: str, flow_id: str, key: str) -> tuple[FlowDefinition, TriggerDefinition]:
        try:
            flow = self._engine.flow_of(namespace, flow_id).definition
        except NoSuchFlowError:
            raise NoSuchWebhookError from None
        render = render_before(self._engine, flow)
        found = None
        for trigger in flow.triggers:
            if trigger.type != WEBHOOK or trigger.unsupported is not None:
                continue
            try:
                own = render(str(trigger.properties["key"]))
            except ConditionFailed as error:
                _log.warning("The key of the webhook %s is not known: %s", _name(flow, trigger), error)
                continue
            if own and is_one_of(key.encode(), [own.encode()]) and found is None:
                found = trigger
        if found is None:
            raise NoSuchWebhookError
        return flow, found

    def _checked(self, flow: FlowDefinition, trigger: TriggerDefinition, call: Call) -> tuple[frozenset[str], Proof]:
        """Return the headers that the flow must not see, and the proof. Raises UnauthorizedError."""
        auth = trigger.properties.get("auth")
        if auth is None:
            return frozenset(), Proof()
        try:
            check = check_of(auth, render_before(self._engine, flow), self._key_sets)
            return check.hidden, check(Sent(call.headers, call.body), self._engine.stores.clock.now())
        except UnauthorizedError as error:
            _refused(flow, trigger, error)
            raise
        except ConditionFailed as error:
            _log.error("The webhook %s refuses all calls: %s", _name(flow, trigger), error)
            raise UnauthorizedError("the trigger's secret is not there") from None

    def _must_be_on(self, flow: FlowDefinition, trigger: TriggerDefinition) -> None:
        if flow.disabled or trigger.disabled:
            raise WebhookDisabledError
        if self._engine.stores.triggers.get(flow.namespace, flow.id, trigger.id).disabled:
            raise WebhookDisabledError

    def _fetch(self, url: str) -> Any:
        http = self._engine.settings.http
        if http is None:
            raise KeysUnavailableError("there is nothing here to fetch keys with")
        try:
            return http({"uri": url, "accept": "application/json"})
        except ExpressionError as error:
            raise KeysUnavailableError(str(error)) from None

    # -- What it starts -----------------------------------------------------------------------------

    def _start(self, happened: Happened, execution_id: str, *, known: bool) -> Taken | Nothing:
        if known:  # an earlier call may have started it
            state = self._engine.platform.state(execution_id)
            if state is not None and state.created is not None:
                return Taken(execution_id, happened.trigger, state.created, state)
        event = TriggerEvent(self._engine, happened, execution_id)
        try:
            if not event.fires():
                return Nothing()
            created = event.created()
        except (ConditionFailed, ExpressionError) as error:
            if not happened.trigger.fail_on_error:
                raise TriggerError(event.masked(error)) from None
            created = event.failed(event.masked(error))
        self._mailbox.send(execution_id, encode_message(Create(created)))
        return Taken(execution_id, happened.trigger, created)


def _refused(flow: FlowDefinition, trigger: TriggerDefinition, error: UnauthorizedError) -> None:
    _log.warning("A call of the webhook %s was refused: %s", _name(flow, trigger), error)


def _name(flow: FlowDefinition, trigger: TriggerDefinition) -> str:
    return f"{flow.namespace}.{flow.id}.{trigger.id}"


def _variables(call: Call, hidden: frozenset[str], proof: Proof) -> dict[str, Any]:
    """Return `trigger` as the flow sees it: what the call brings, but for the headers that prove who calls."""
    variables: dict[str, Any] = {
        "body": _body(call.body),
        "headers": {name: [value] for name, value in call.headers.items() if name not in hidden},
        "parameters": {name: list(values) for name, values in call.parameters.items()},
    }
    if proof.claims is not None:
        variables["claims"] = dict(proof.claims)
    return variables


def _body(body: bytes) -> Any:
    """Return a body as a map or list, else as text; what is no text, in base64; None for none."""
    if not body:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()
    if text.lstrip()[:1] in ("{", "["):
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return text
    return text
