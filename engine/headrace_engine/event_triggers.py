"""Starts executions for events of buses, and for files that come into buckets.

An event may be told twice, late, and to several of these at a time: the execution it starts has an id that follows
from the trigger and the event's own name. What a trigger does with a file (move or delete it) comes last: until then
the event, told again, finds the file where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from headrace_engine.core.codec import encode_message
from headrace_engine.core.conditions import ConditionFailed
from headrace_engine.core.event_patterns import matches
from headrace_engine.core.messages import Create
from headrace_engine.engine import Engine, NoSuchFlowError, UnsupportedError
from headrace_engine.expressions import ExpressionError
from headrace_engine.language import FlowError
from headrace_engine.listeners import Listener
from headrace_engine.model.ids import id_for_key
from headrace_engine.model.trigger import EVENTBRIDGE, OWN_BUS, S3
from headrace_engine.ports import BucketFile, Buckets, Mailbox, NotFoundError, PortError
from headrace_engine.run_stores import execution_folder
from headrace_engine.trigger_events import Happened, TriggerEvent, id_for_event, idempotency_key
from headrace_engine.view import instant

_log = logging.getLogger(__name__)


class EventTriggers:
    """Hears of events. Safe to call from many threads."""

    def __init__(self, engine: Engine, mailbox: Mailbox, buckets: Buckets | None = None) -> None:
        """Take what it works with; without *buckets* no file can be taken."""
        self._engine = engine
        self._mailbox = mailbox
        self._buckets = buckets

    # -- Events of buses ----------------------------------------------------------------------------

    def hear(self, bus: str, event: Mapping[str, Any]) -> list[str]:
        """Start all that an event of a bus starts; return the executions' ids, durable by then.

        The event has EventBridge's shape. Raises PortError when a store failed: then let it hear again.
        """
        heard = [
            listener
            for listener in self._engine.listeners.of_type(EVENTBRIDGE)
            if bus_of(listener) == bus and matches(pattern_of(listener), event)
        ]
        return _ids(self._each(heard, lambda listener: self._event(listener, event)))

    def hear_for(self, namespace: str, flow_id: str, trigger_id: str, event: Mapping[str, Any]) -> list[str]:
        """Start what an event that was brought for one trigger starts, if that trigger still wants it."""
        listener = self._listener(namespace, flow_id, trigger_id)
        if listener is None or not matches(pattern_of(listener), event):
            return []
        return _ids(self._each([listener], lambda each: self._event(each, event)))

    def _listener(self, namespace: str, flow_id: str, trigger_id: str) -> Listener | None:
        try:
            flow = self._engine.flow_of(namespace, flow_id).definition
        except (NoSuchFlowError, FlowError):
            return None  # deleted meanwhile, or no longer valid
        for trigger in flow.triggers:
            if trigger.id == trigger_id and trigger.type == EVENTBRIDGE:
                is_on = not (flow.disabled or trigger.disabled) and trigger.unsupported is None
                return Listener(flow, trigger) if is_on else None
        return None

    def _event(self, listener: Listener, event: Mapping[str, Any]) -> str | None:
        happened = Happened(listener.flow, listener.trigger, {**event, "detailType": event.get("detail-type")})
        return self._start(lambda _execution_id: happened, ("eventbridge", str(event["id"])))

    # -- Files --------------------------------------------------------------------------------------

    def file_came(self, file: BucketFile) -> list[str]:
        """Start all that a file starts; return the executions' ids, durable by then. Raises PortError, as hear."""
        wanting = [each for each in self._engine.listeners.of_type(S3) if self._wants(each, file)]
        started = self._each(wanting, lambda listener: self._file(listener, file))
        for listener, _ in started:
            self._dispose(listener, file)
        return _ids(started)

    def _wants(self, listener: Listener, file: BucketFile) -> bool:
        properties = listener.trigger.properties
        if properties["bucket"] != file.bucket or not file.key.startswith(str(properties.get("prefix", ""))):
            return False
        pattern = properties.get("regexp")
        if pattern is None:
            return True
        happened = Happened(listener.flow, listener.trigger, {})
        try:
            return TriggerEvent(self._engine, happened, "").matches(str(pattern), file.key)
        except ConditionFailed as error:
            _pass_over(listener, f"the file {file.key}", str(error))
            return False

    def _file(self, listener: Listener, file: BucketFile) -> str | None:
        flow, trigger = listener.flow, listener.trigger
        name = file.key.rstrip("/").rpartition("/")[2] or "file"

        def uri(execution_id: str) -> str:
            return f"{execution_folder(flow.namespace, flow.id, execution_id)}/trigger/{trigger.id}/{name}"

        def happened(execution_id: str) -> Happened:
            stored = {
                "uri": uri(execution_id),
                "bucket": file.bucket,
                "key": file.key,
                "size": file.size,
                "etag": file.etag,
                "lastModified": instant(file.modified),
            }
            return Happened(flow, trigger, {"objects": [stored]})

        def fetch(execution_id: str) -> None:
            if self._buckets is None:
                raise PortError("There is nothing here to read buckets with")
            self._buckets.take(file, uri(execution_id))

        return self._start(happened, ("s3", file.bucket, file.key, file.version), before=fetch)

    def _dispose(self, listener: Listener, file: BucketFile) -> None:
        """Do with a file what its trigger says, now that its execution has a copy."""
        properties, buckets = listener.trigger.properties, self._buckets
        if buckets is None:
            return
        match properties.get("action"):
            case "DELETE":
                buckets.delete(file)
            case "MOVE":
                to = properties["moveTo"]
                folder = str(to["key"]).strip("/")
                name = file.key.rpartition("/")[2]
                buckets.move(file, str(to.get("bucket") or file.bucket), f"{folder}/{name}" if folder else name)

    # -- What they start ----------------------------------------------------------------------------

    def _each(self, listeners: list[Listener], start: Callable[[Listener], str | None]) -> list[tuple[Listener, str]]:
        """Start what each trigger starts; one that fails stops neither the others, nor is it forgotten."""
        started: list[tuple[Listener, str]] = []
        failed = None
        for listener in listeners:
            try:
                execution_id = start(listener)
            except NotFoundError as error:
                _pass_over(listener, "an event", f"what it needs is gone: {error}")
            except PortError as error:
                failed = error
            except (ConditionFailed, ExpressionError, UnsupportedError) as error:
                _pass_over(listener, "an event", str(error))
            else:
                started += [(listener, execution_id)] if execution_id is not None else []
        if failed is not None:
            raise failed
        return started

    def _start(
        self,
        happened: Callable[[str], Happened],
        event: tuple[str, ...],
        before: Callable[[str], None] = lambda _execution_id: None,
    ) -> str | None:
        """Start the execution of an event of this name; return its id, None when none starts.

        *happened* and *before*, which is done first, are told the id.
        """
        engine, named = self._engine, happened("")
        flow, trigger = named.flow, named.trigger
        if engine.stores.triggers.get(flow.namespace, flow.id, trigger.id).disabled:
            return None
        key = idempotency_key(engine, named)
        if key is not None:
            execution_id = id_for_key(flow.namespace, flow.id, trigger.id, key)
        else:
            execution_id = id_for_event(named, *event)
        if engine.platform.state(execution_id) is not None:
            return execution_id  # told again
        heard = TriggerEvent(engine, happened(execution_id), execution_id)
        try:
            if not heard.fires():
                return None
            created = heard.created()
        except (ConditionFailed, ExpressionError) as error:
            if not trigger.fail_on_error:
                raise ConditionFailed(heard.masked(error)) from None
            created = heard.failed(heard.masked(error))
        before(execution_id)
        self._mailbox.send(execution_id, encode_message(Create(created)))
        return execution_id


def _ids(started: list[tuple[Listener, str]]) -> list[str]:
    return [execution_id for _, execution_id in started]


def pattern_of(listener: Listener) -> Mapping[str, Any]:
    """Return the pattern of an EventBridge trigger."""
    pattern: Mapping[str, Any] = listener.trigger.properties["pattern"]
    return pattern


def bus_of(listener: Listener) -> str:
    """Return the name of an EventBridge trigger's bus."""
    return str(listener.trigger.properties.get("bus") or OWN_BUS)


def _pass_over(listener: Listener, what: str, why: str) -> None:
    name = f"{listener.flow.namespace}.{listener.flow.id}.{listener.trigger.id}"
    _log.warning("The trigger %s passes over %s: %s", name, what, why)
