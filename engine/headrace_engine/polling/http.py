"""Asks an HTTP API (io.kestra.plugin.core.http.Trigger): one request, an execution when the answer fits.

The request is the task's of that name, with its rules of where it may go. The id of the execution follows from the
instant the poll was due: whoever was cut off between starting it and noting that asks again, and starts the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from headrace_engine.core.codec import encode_message
from headrace_engine.core.conditions import ConditionFailed
from headrace_engine.core.messages import Create
from headrace_engine.engine import Engine, UnsupportedError
from headrace_engine.expressions import ExpressionError
from headrace_engine.model.attempt import Inline
from headrace_engine.model.ids import id_for_key
from headrace_engine.polling.asked import Poll, Polled, PollFailed, flag
from headrace_engine.ports import AttemptId, Job, Mailbox
from headrace_engine.rendering import coerce_properties
from headrace_engine.sealing import ENCRYPTED
from headrace_engine.trigger_events import Happened, TriggerEvent, id_for_event, idempotency_key

REQUEST = "io.kestra.plugin.core.http.Request"
_LEASE = timedelta(seconds=10)
"""How long a request may take, whatever its timeouts say."""
_CONDITION = "{{ response.statusCode < 400 }}"
_OWN = frozenset({"interval", "responseCondition", "encryptBody"})


def ask(engine: Engine, mailbox: Mailbox, poll: Poll) -> Polled:
    """Send the request, and start what the answer starts. Raises PollFailed, ConditionFailed."""
    flow, trigger = poll.flow, poll.trigger
    execution_id = id_for_event(Happened(flow, trigger, {}), "poll", poll.date.isoformat())
    if engine.platform.state(execution_id) is not None:
        return Polled((execution_id,))  # whoever asked before was cut off
    event = TriggerEvent(engine, Happened(flow, trigger, poll.variables), execution_id)
    given = {name: value for name, value in trigger.properties.items() if name not in _OWN}
    task_class = engine.task_class(REQUEST)
    if task_class is None:
        raise PollFailed(f"there is no task {REQUEST} here to ask with")
    properties = coerce_properties(task_class, event.rendered({"method": "GET", **given}))
    # Whatever the answer is, the condition judges it.
    properties["options"] = {**(properties.get("options") or {}), "allowFailed": True}
    answer = _sent(engine, event, poll, properties, execution_id)
    response = {"statusCode": answer["code"], "body": answer.get("body"), "headers": answer["headers"]}
    wanted = str(trigger.properties.get("responseCondition") or _CONDITION)
    if not event.holds(wanted, {"response": response}):
        return Polled()
    answer["uri"] = event.mask(str(answer["uri"]))
    if flag(event.rendered({"it": trigger.properties.get("encryptBody")})["it"], otherwise=False):
        body = str(answer.pop("body", None) or "")
        answer["encryptedBody"] = {"type": ENCRYPTED, "value": engine.stores.cipher.seal(body.encode())}
    heard = Happened(flow, trigger, {**poll.variables, **answer})
    key = idempotency_key(engine, heard)
    if key is not None:
        execution_id = id_for_key(flow.namespace, flow.id, trigger.id, key)
        if engine.platform.state(execution_id) is not None:
            return Polled()
    try:
        created = TriggerEvent(engine, heard, execution_id).created()
    except (ExpressionError, UnsupportedError) as error:
        raise ConditionFailed(event.masked(error)) from None
    mailbox.send(execution_id, encode_message(Create(created)))
    return Polled((execution_id,))


def _sent(
    engine: Engine, event: TriggerEvent, poll: Poll, properties: Mapping[str, Any], execution_id: str
) -> dict[str, Any]:
    """Send the request; return what the task would give."""
    job = Job(
        attempt=AttemptId(execution_id, poll.trigger.id, 1),
        type=REQUEST,
        task_id=poll.trigger.id,
        namespace=poll.flow.namespace,
        flow_id=poll.flow.id,
        flow_revision=poll.flow.revision,
        started=engine.stores.clock.now(),
        properties=properties,
    )
    # What it says of itself is nobody's log: there is no execution yet. What it gives stays in memory.
    result = engine.worker.run(job, lease=_LEASE, hand_over=lambda _lines, _points: None, keep_outputs=True)
    if not isinstance(result.outputs, Inline) or result.error is not None:
        raise PollFailed(event.mask(result.error or "the request gave nothing"))
    return dict(result.outputs.value)
