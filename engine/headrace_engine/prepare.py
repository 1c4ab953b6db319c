"""The answers to the core's questions: what depends on an expression is rendered here, once, at the step's instant.

A runnable's properties become a job (or, for an inline task, at once a result); a flowable's condition, value or
values become the branch or the lanes it opens. Whatever a flow's author got wrong becomes an answer too, never
an exception.
"""

from __future__ import annotations

import hashlib
import json
from collections import ChainMap, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError

from headrace_engine.concurrency import SlotTaker
from headrace_engine.context import LOOP, Variables, enclosing_working_directory
from headrace_engine.core.commands import Reply
from headrace_engine.core.events import ExecutionCreated, LogRecord, MetricRecord, ReplyTo
from headrace_engine.core.fold import COLLECT, item_id
from headrace_engine.core.messages import (
    Answer,
    AskSlot,
    ChildReady,
    ItemsReady,
    JobReady,
    LoopChecked,
    Opened,
    Outputs,
    Pauses,
    Prepare,
    Question,
    Ran,
    Skipped,
    Sleeps,
    Slot,
    Unplannable,
)
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.expressions import ExpressionError, Expressions, truthy
from headrace_engine.host import StepHost
from headrace_engine.inputs import OutputError, read_outputs, typed_inputs
from headrace_engine.language.nodes import plain
from headrace_engine.language.problems import FlowError
from headrace_engine.language.task_reader import TEMPLATE
from headrace_engine.language.yaml_reader import read_documents
from headrace_engine.model.attempt import AttemptResult, Inline, Payload
from headrace_engine.model.definition import Concurrency, FlowDefinition, Kind, LimitBehavior, TaskDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.model.ids import derived_id
from headrace_engine.model.state import State
from headrace_engine.parts import PartList
from headrace_engine.payloads import Payloads
from headrace_engine.plugin import Rendering, RunnableTask, SleepingTask, TaskFailure, parse_duration
from headrace_engine.ports import AttemptId, Job, Level, LogLine, MetricPoint, NotFoundError
from headrace_engine.rendering import render_properties
from headrace_engine.resume_links import ResumeLinks, new_link
from headrace_engine.run_context import InlineTaskContext, run_inline, timeout_text, validation_text
from headrace_engine.run_stores import execution_folder, slugify, task_cache_file
from headrace_engine.sealing import Mask, is_sealed, open_sealed, seal_text
from headrace_engine.services import Settings, Stores

TaskClasses = Callable[[str], type[RunnableTask] | None]

WORKING_DIRECTORY_PREPARE = "io.headrace.workingdirectory.Prepare"
WORKING_DIRECTORY_COLLECT = "io.headrace.workingdirectory.Collect"
TEMPLATED_TASK = "io.kestra.plugin.core.templating.TemplatedTask"
FOR_EACH_ITEM = "io.kestra.plugin.core.flow.ForEachItem"
ITEMS_MERGE = "io.headrace.foreachitem.Merge"
_PREPARED = ("inputFiles", "namespaceFiles", "cache")
_COLLECTED = ("outputFiles", "cache")
_PART_LISTS = 64
"""So many lists of parts are remembered, a line of each."""


@dataclass(frozen=True, slots=True)
class ChildRequest:
    """An execution that a task asks for, its properties rendered."""

    execution_id: str
    namespace: str
    flow_id: str
    revision: int | None
    inputs: Mapping[str, Any]
    labels: Mapping[str, str]
    secrets: frozenset[str]
    """Those that its properties were rendered with."""


CallableFlow = Callable[[str, str, int | None], FlowDefinition]
"""Returns the flow that would be called. Raises ValueError when it will not do."""
NewChild = Callable[[ChildRequest], ExecutionCreated]
"""Returns the first event of a child execution. Raises ValueError when its flow or inputs will not do."""


class ItemError(Exception):
    """An execution of a ForEachItem cannot begin."""


class UnplannableError(Exception):
    """A flowable's condition, value or values do not give what it needs."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer, and what it leaves in the entry besides."""

    answer: Answer
    logs: tuple[LogRecord, ...] = ()
    metrics: tuple[MetricRecord, ...] = ()
    size: int = 0
    """About how many bytes the answer adds to the entry."""


class Preparer:
    """Answers questions. One for the process; every call gets the state and the instant."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        expressions: Expressions,
        payloads: Payloads,
        *,
        task_class: TaskClasses,
        new_child: NewChild,
        callable_flow: CallableFlow,
        latest_concurrency: Callable[[str, str], Concurrency | None],
        slots: SlotTaker,
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._expressions = expressions
        self._payloads = payloads
        self._task_class = task_class
        self._new_child = new_child
        self._callable_flow = callable_flow
        self._part_lists: OrderedDict[str, PartList] = OrderedDict()
        self._latest = latest_concurrency
        self._slots = slots

    def answer(
        self, state: ExecutionState, question: Question, now: datetime, lines: Sequence[LogRecord] = ()
    ) -> Prepared:
        """Return the answer to *question*. Raises PortError only, when a store does not answer.

        lines are the log lines of the step in hand, which no store has yet.
        """
        match question:
            case AskSlot():
                return self._slot(state, question)
            case Prepare():
                return _TaskRunStep(self, state, state.task_runs[question.task_run_id], now, lines).prepare()
            case _:
                return self._outputs(state, now, lines)

    def broken_sla(self, state: ExecutionState, now: datetime) -> str | None:
        """Return the first assertion of the flow's SLAs that does not hold and was not broken before (reference §5.7).

        One that cannot be rendered counts as broken: its author hears of it.
        """
        for sla in state.flow.definition.slas:
            if sla.assertion is None or sla.id in state.broken_slas:
                continue
            host = self.host(state, now)
            try:
                if not truthy(self._expressions.render(sla.assertion, self.variables(state, None, host), host)):
                    return sla.id
            except ExpressionError:
                return sla.id
        return None

    def _slot(self, state: ExecutionState, question: AskSlot) -> Prepared:
        """Taking a slot is idempotent: it may be taken before the entry that says so is written."""
        definition = state.flow.definition
        concurrency = self._latest(definition.namespace, definition.id)
        limit = None if question.force or concurrency is None else concurrency.limit
        granted = self._slots.take(state, limit)
        behavior = concurrency.behavior if concurrency is not None else LimitBehavior.QUEUE
        return Prepared(Slot(granted, behavior))

    def _outputs(self, state: ExecutionState, now: datetime, lines: Sequence[LogRecord]) -> Prepared:
        if not state.flow.definition.outputs:
            return Prepared(Outputs())
        host = self.host(state, now)
        host.errors_in_hand = lambda: errors_of(state, lines)
        variables = self.variables(state, None, host)
        try:
            outputs = read_outputs(
                state.flow.definition.outputs,
                render_value=lambda value: self._expressions.render_value_typed(value, variables, host),
                seal=lambda text: self._stores.cipher.seal(text.encode()),
            )
        except (ExpressionError, OutputError) as error:
            text = Mask(host.secrets_used)(str(error))
            # What failed before is why there is nothing to render: that is the error to read.
            level = "WARN" if state.finishing is State.FAILED else "ERROR"
            return Prepared(Outputs(error=text), logs=(LogRecord(now, level, text),))
        payload, size = self._payloads.make(outputs, self.folder(state), self._settings.output_inline_limit)
        return Prepared(Outputs(payload), size=size)

    def host(self, state: ExecutionState, now: datetime) -> StepHost:
        parent_id = state.created.parent_id if state.created is not None else None
        return self.host_of(state.flow.definition, state.id, now, parent_id)

    def host_of(
        self, definition: FlowDefinition, execution_id: str, now: datetime, parent_id: str | None = None
    ) -> StepHost:
        """Return the outside as an execution of *definition* sees it at *now*."""
        return StepHost(
            self._stores,
            self._settings,
            namespace=definition.namespace,
            flow_id=definition.id,
            execution_id=execution_id,
            now=now,
            parent_id=parent_id,
        )

    def variables(self, state: ExecutionState, task_run: TaskRun | None, host: StepHost) -> Variables:
        def inputs() -> Mapping[str, Any]:
            created = state.created
            stored = self._payloads.load(created.inputs) if created is not None else {}
            return typed_inputs(state.flow.definition.inputs, stored, unseal=host.opened)

        return Variables(
            state,
            task_run,
            load=self._payloads.load,
            inputs=inputs,
            surroundings=self._settings.surroundings,
        )

    def child_result(self, state: ExecutionState, reply: Reply, now: datetime) -> AttemptResult:
        """Return the end of *state*'s execution as the Subflow task that started it sees it (reference §3.2)."""
        transmitted = (State.FAILED, State.KILLED, State.WARNING)
        end = reply.state if reply.to.transmit_failed and reply.state in transmitted else State.SUCCESS
        outputs: dict[str, Any] = {"executionId": state.id, "state": reply.state.value}
        error = None
        if state.outputs is not None:
            outputs["outputs"] = self._payloads.load(state.outputs)
        if reply.to.outputs is not None:
            host = self.host(state, now)
            try:
                outputs["outputs"] = self._expressions.render_value_typed(
                    reply.to.outputs, self.variables(state, None, host), host
                )
            except ExpressionError as problem:
                end, error = State.FAILED, f"The outputs of the subflow cannot be rendered: {problem}"
        payload, _ = self._payloads.make(outputs, self.folder(state), self._settings.output_inline_limit)
        ended = state.histories[-1][1]
        return AttemptResult(end, state.histories[0][1], ended, payload, error)

    def item(self, state: ExecutionState, task_run_id: str, index: int, now: datetime) -> ExecutionCreated:
        """Return the first event of the execution for part *index* of a ForEachItem (reference §3.3).

        Raises ItemError, masked, when its properties cannot be rendered or the flow does not take its inputs.
        """
        step = _TaskRunStep(self, state, state.task_runs[task_run_id], now)
        try:
            return step.item(index)
        except (ExpressionError, UnplannableError, ValueError) as error:
            raise ItemError(step.masked(str(error))) from None

    def part_list(self, uri: str, host: StepHost) -> PartList | None:
        """Return the list of parts at *uri*; None for an empty one. Raises ExpressionError."""
        if uri not in self._part_lists:
            size = host.file_size(uri)
            if not size:
                return None
            self._part_lists[uri] = PartList(size, lambda: host.open(uri))
            if len(self._part_lists) > _PART_LISTS:
                self._part_lists.popitem(last=False)
        return self._part_lists[uri]

    def folder(self, state: ExecutionState) -> str:
        """Return where the engine stores what is too large for the journal."""
        definition = state.flow.definition
        return f"{execution_folder(definition.namespace, definition.id, state.id)}/_engine"


class _TaskRunStep:
    """One task run at one instant."""

    def __init__(
        self,
        preparer: Preparer,
        state: ExecutionState,
        task_run: TaskRun,
        now: datetime,
        lines: Sequence[LogRecord] = (),
    ) -> None:
        self.preparer = preparer
        self.state = state
        self.run = task_run
        self.now = now
        self.task = state.flow.tasks[task_run.task_id]
        self.expressions = preparer._expressions
        self.stores = preparer._stores
        self.settings = preparer._settings
        self.payloads = preparer._payloads
        self.host = preparer.host(state, now)
        self.host.errors_in_hand = lambda: errors_of(state, lines)
        self.host.make_resume_key = partial(_resume_key, self.stores, state, task_run, now)
        self.variables = preparer.variables(state, task_run, self.host)
        self.spec_secrets: frozenset[str] = frozenset()
        """TemplatedTask: the secrets that its spec used."""

    @property
    def is_first(self) -> bool:
        """runIf is looked at when the task run would start, not again for a retry or for collecting files."""
        return self.run.state is State.CREATED and not self.run.attempts

    def text(self, template: str) -> str:
        return self.expressions.render(template, self.variables, self.host)

    def typed(self, template: str) -> Any:
        return self.expressions.render_typed(template, self.variables, self.host)

    def prepare(self) -> Prepared:
        try:
            if self.is_first and self.task.run_if is not None and not truthy(self.text(self.task.run_if)):
                return Prepared(Skipped(self.run.id))
            if not self.task.kind.is_runnable:
                return self.flowable()
        except (ExpressionError, UnplannableError, TaskFailure, ValueError) as error:
            return self.unplannable(str(error))
        if self.task.type == TEMPLATED_TASK:
            return self.templated()
        return self.runnable(self.task.type, self.own_properties())

    def templated(self) -> Prepared:
        """The task that the spec renders to runs in this one's place; secrets in it stay sealed."""
        try:
            spec = self.text(str(self.task.properties["spec"]))
        except ExpressionError as error:
            return self.failed(str(error))
        self.spec_secrets = frozenset(self.host.secrets_used)
        try:
            documents = read_documents(spec)
        except FlowError as error:
            return self.failed(f"The spec is not YAML: {error}")
        given = plain(documents[0]) if len(documents) == 1 else None
        if not isinstance(given, dict) or not isinstance(given.get("type"), str):
            return self.failed("The spec is not a task: a map with a `type` is expected")
        task_class = self.preparer._task_class(given["type"])
        if task_class is None or task_class.INTERNAL or task_class.TYPE == TEMPLATED_TASK:
            return self.failed(f"The templated task must be a runnable task, not `{given['type']}`")
        properties = {str(key): value for key, value in given.items() if key not in ("id", "type", "description")}
        refused = task_class.unsupported_use(properties)
        if refused is not None:
            return self.failed(f"`{task_class.TYPE}` is not supported by this version of Headrace: {refused}")
        return self.runnable(task_class.TYPE, properties, task_class.kind_of(properties))

    def own_properties(self) -> Mapping[str, Any]:
        """Return the task's properties; what a ForEachItem's executions left is where its merging task finds it."""
        if self.task.type != ITEMS_MERGE:
            return self.task.properties
        found = self.sibling_outputs(self.task.properties["items"])
        return {"folder": found.get("uri"), "total": found.get("numberOfBatches", 0)}

    def unplannable(self, error: str) -> Prepared:
        record = LogRecord(self.now, "ERROR", self.masked(error), self.run.id, None)
        return Prepared(Unplannable(self.run.id, self.masked(error)), logs=(record,))

    def masked(self, text: str) -> str:
        return Mask(self.host.secrets_used)(text)

    # -- Flowables ----------------------------------------------------------------------------------

    def flowable(self) -> Prepared:
        task, run_id = self.task, self.run.id
        match task.kind:
            case Kind.IF:
                result = truthy(self.text(task.expression or ""))
                outputs: Payload = Inline({"evaluationResult": result})
                return Prepared(Opened(run_id, "then" if result else "else", outputs=outputs))
            case Kind.SWITCH:
                return self.switch(self.text(task.expression or ""))
            case Kind.FOR_EACH | Kind.EACH_PARALLEL:
                return Prepared(Opened(run_id, values=self.values()))
            case Kind.WORKING_DIRECTORY:
                return self.working_directory()
            case Kind.PAUSE:
                return self.pause()
            case Kind.LOOP_UNTIL:
                return self.loop_until()
            case Kind.SUBFLOW:
                return self.subflow()
            case Kind.ITEMS:
                return self.items()
            case Kind.SEQUENTIAL if task.type == TEMPLATE:
                return self.template()
            case _:
                return Prepared(Opened(run_id))

    def switch(self, value: str) -> Prepared:
        """A value without a case takes `defaults`; without those too, the Switch fails (reference §0.4)."""
        is_default = f"cases.{value}" not in self.task.branches
        if is_default and "defaults" not in self.task.branches:
            raise UnplannableError(f"No case of the Switch matches the value `{value}`, and it has no `defaults`")
        outputs = Inline({"value": value, "defaults": is_default})
        return Prepared(Opened(self.run.id, "defaults" if is_default else f"cases.{value}", outputs=outputs))

    def template(self) -> Prepared:
        """The tasks of a template read what they are given as `parent.outputs.args`."""
        args = self.expressions.render_value_typed(self.task.properties.get("args"), self.variables, self.host)
        if not args:
            return Prepared(Opened(self.run.id))
        folder, limit = self.preparer.folder(self.state), self.settings.output_inline_limit
        outputs, size = self.payloads.make({"args": args}, folder, limit)
        return Prepared(Opened(self.run.id, outputs=outputs), size=size)

    def values(self) -> tuple[str, ...]:
        """Return ForEach's values as distinct texts, in order (reference §3.1)."""
        given = self.task.values
        values = self.parsed_values(self.text(given)) if isinstance(given, str) else self.listed_values(given)
        missing = sum(value is None for value in values)
        if missing:
            raise UnplannableError(f"Found '{missing}' null values on Each, with values={_compact(values)}")
        texts = [value if isinstance(value, str) else _compact(value) for value in values]
        distinct = tuple(dict.fromkeys(texts))
        if self.task.type == LOOP and len(distinct) < len(texts):
            raise UnplannableError("A Loop over values of which some are equal is not supported by this version")
        return distinct

    def parsed_values(self, text: str) -> list[Any]:
        if text.strip().startswith("kestra://"):
            return self.stored_values(text.strip())
        try:
            values = json.loads(text)
        except ValueError:
            raise UnplannableError(f"The values of the loop are not a JSON list: `{text}`") from None
        if isinstance(values, Mapping):
            return [{"key": key, "value": value} for key, value in values.items()]
        if not isinstance(values, list):
            raise UnplannableError(f"The values of the loop are not a JSON list: `{text}`")
        return values

    def stored_values(self, uri: str) -> list[Any]:
        """Return the values of a stored file: one Ion (or JSON) value a line."""
        rows = self.expressions.render_typed("{{ fromIon(read(uri), allRows=true) }}", {"uri": uri}, self.host)
        return list(rows)

    def listed_values(self, given: Any) -> list[Any]:
        if isinstance(given, Mapping):
            rendered = self.expressions.render_value(given, self.variables, self.host)
            return [{"key": key, "value": value} for key, value in rendered.items()]
        values = []
        for element in given or ():
            if element is not None and (isinstance(element, bool) or not isinstance(element, str | int | Mapping)):
                shown = _compact(element)
                raise UnplannableError(f"A value of a loop is a text, an integer or a map, not `{shown}`")
            values.append(self.expressions.render_value(element, self.variables, self.host))
        return values

    def working_directory(self) -> Prepared:
        properties = self.task.properties
        scope = self.state.scopes.get(self.run.id)
        if scope is not None and scope.phase == COLLECT:
            wanted = {name: properties[name] for name in _COLLECTED if name in properties} | self.cache_key()
            return self.runnable(WORKING_DIRECTORY_COLLECT, wanted)
        wanted = {name: properties[name] for name in _PREPARED if name in properties}
        wanted |= self.cache_key() if wanted else {}
        return self.runnable(WORKING_DIRECTORY_PREPARE, wanted) if wanted else Prepared(Opened(self.run.id))

    def cache_key(self) -> dict[str, str]:
        """Each value of a loop has a cache of its own (reference §12)."""
        return {"cacheKey": self.run.value} if "cache" in self.task.properties and self.run.value is not None else {}

    def pause(self) -> Prepared:
        """Wait for the duration; without one until the timeout, which fails the Pause; without both for a person."""
        length = self.task.properties.get("pauseDuration")
        given = length if length is not None else self.task.timeout
        seconds = parse_duration(self.text(str(given))).total_seconds() if given is not None else None
        return Prepared(Pauses(self.run.id, seconds, is_timeout=length is None and given is not None))

    def loop_until(self) -> Prepared:
        """The first time open it; after a round look at the condition, then at the maximums (reference §3.6)."""
        scope = self.state.scopes.get(self.run.id)
        if scope is None:
            return Prepared(Opened(self.run.id, outputs=Inline({"iterationCount": 1})))
        if truthy(self.text(self.task.expression or "")):
            return Prepared(LoopChecked(self.run.id, done=True))
        frequency = self.task.properties.get("checkFrequency") or {}
        count = self.payloads.load(self.run.outputs)["iterationCount"] if self.run.outputs is not None else 1
        interval = parse_duration(self.text(str(frequency.get("interval", "PT1M"))))
        rounds = frequency.get("maxIterations")
        longest = frequency.get("maxDuration")
        exceeded = None
        if rounds is not None and count >= int(self.text(str(rounds))):
            exceeded = f"The loop's condition did not hold after {count} iterations, its maximum"
        elif longest is not None and self.now + interval > self.begun() + parse_duration(self.text(str(longest))):
            exceeded = f"The loop's condition did not hold within {longest}, its maximum duration"
        if exceeded is not None:
            fails = self.task.properties.get("failOnMaxReached", False)
            return Prepared(LoopChecked(self.run.id, exceeded=exceeded if fails else ""))
        return Prepared(LoopChecked(self.run.id, seconds=interval.total_seconds()))

    def begun(self) -> datetime:
        """Return when the task run first ran."""
        return next((date for state, date in self.run.histories if state is State.RUNNING), self.now)

    def subflow(self) -> Prepared:
        """The child's id follows from the task run and the attempt, so that it is started once (DESIGN §3.4)."""
        properties = self.task.properties
        number = len(self.run.attempts)
        request = self.request(self.child_to_restart() or derived_id("subflow", self.run.id, number))
        wait = properties.get("wait", True)
        reply_to = ReplyTo(
            self.state.id, self.run.id, number, properties.get("transmitFailed", True), properties.get("outputs")
        )
        if self.is_too_deep():
            return self.failed(self.too_deep())
        try:
            created = self.called(request, self.task.type, reply_to if wait else None)
        except ValueError as error:
            return self.failed(str(error))
        return Prepared(ChildReady(self.run.id, request.execution_id, created, wait), size=500)

    def child_to_restart(self) -> str | None:
        """Return the id of the execution that a restart of this one restarts (reference §3.2, restartBehavior).

        It is the one that replied: an execution that was RETRIED is not restarted, the one that took over is. A replay
        starts a new one: the old one is not its own.
        """
        if self.run.state is not State.RESTARTED or self.task.properties.get("restartBehavior") == "NEW_EXECUTION":
            return None
        children = [attempt.child_id for attempt in self.run.attempts]
        own = [derived_id("subflow", self.run.id, number) for number in range(len(children))]
        if not any(child in own for child in children):
            return None
        outputs = self.payloads.load(self.run.outputs) if self.run.outputs is not None else {}
        return outputs.get("executionId") or children[-1]

    def items(self) -> Prepared:
        """The flow, and its revision, are fixed here for all parts."""
        if self.is_too_deep():
            return self.failed(self.too_deep())
        properties = self.task.properties
        parts = self.parts()
        try:
            definition = self.preparer._callable_flow(
                self.text(str(properties["namespace"])),
                self.text(str(properties["flowId"])),
                properties.get("revision"),
            )
        except ValueError as error:
            return self.failed(str(error))
        own = self.state.flow.definition
        folder = f"{execution_folder(own.namespace, own.id, self.state.id)}/tasks/{slugify(self.task.id)}/{self.run.id}"
        return Prepared(
            ItemsReady(
                self.run.id,
                len(parts) if parts is not None else 0,
                max(1, self.settings.items_at_once),
                definition.namespace,
                definition.id,
                definition.revision,
                folder,
                properties.get("wait", True),
            )
        )

    def parts(self) -> PartList | None:
        """Return the parts that the task run before has cut."""
        splits = self.sibling_outputs(self.task.properties["split"]).get("splits")
        return self.preparer.part_list(splits, self.host) if splits is not None else None

    def sibling_outputs(self, task_id: str) -> Mapping[str, Any]:
        """Return the outputs of another task of the same ForEachItem."""
        sibling = self.state.task_runs[self.state.index[task_id, self.run.path]]
        return self.payloads.load(sibling.outputs) if sibling.outputs is not None else {}

    def item(self, index: int) -> ExecutionCreated:
        started = self.state.items[self.run.id].started
        parts = self.parts()
        if parts is None or index >= len(parts):
            raise UnplannableError("The list of parts is not what it was")
        taskrun = {**self.variables["taskrun"], "items": parts[index], "iteration": index}
        self.variables = ChainMap({"taskrun": taskrun}, self.variables)  # type: ignore[arg-type, assignment]
        properties = self.task.properties
        request = ChildRequest(
            item_id(self.run.id, index, started.generation),
            started.namespace,
            started.flow_id,
            started.revision,
            self.expressions.render_value_typed(properties.get("inputs") or {}, self.variables, self.host),
            self.child_labels(properties),
            frozenset(self.host.secrets_used),
        )
        reply_to = ReplyTo(
            self.state.id,
            self.run.id,
            started.number,
            properties.get("transmitFailed", True),
            index=index,
            folder=started.folder,
        )
        created = self.called(request, FOR_EACH_ITEM, reply_to if started.wait else None)
        return replace(created, depth=self.depth + 1)

    def request(self, execution_id: str) -> ChildRequest:
        properties = self.task.properties
        return ChildRequest(
            execution_id=execution_id,
            namespace=self.text(str(properties["namespace"])),
            flow_id=self.text(str(properties["flowId"])),
            revision=properties.get("revision"),
            inputs=self.expressions.render_value_typed(properties.get("inputs") or {}, self.variables, self.host),
            labels=self.child_labels(properties),
            secrets=frozenset(self.host.secrets_used),
        )

    def called(self, request: ChildRequest, type_name: str, reply_to: ReplyTo | None) -> ExecutionCreated:
        """Return the first event of an execution that this task run starts. Raises ValueError."""
        child = self.preparer._new_child(request)
        date = self.task.properties.get("scheduleDate")
        definition = self.state.flow.definition
        return replace(
            child,
            trigger={
                "id": self.task.id,
                "type": type_name,
                "variables": {
                    "executionId": self.state.id,
                    "namespace": definition.namespace,
                    "flowId": definition.id,
                    "flowRevision": definition.revision,
                    "taskRunId": self.run.id,
                    "taskId": self.task.id,
                },
            },
            start_at=datetime.fromisoformat(self.text(str(date))) if date is not None else None,
            reply_to=reply_to,
        )

    @property
    def depth(self) -> int:
        return self.state.created.depth if self.state.created is not None else 0

    def is_too_deep(self) -> bool:
        return self.depth >= self.settings.subflow_depth

    def too_deep(self) -> str:
        return f"Subflows lie {self.settings.subflow_depth} deep, the limit (setting `limits.subflowDepth`)"

    def child_labels(self, properties: Mapping[str, Any]) -> dict[str, str]:
        """The parent's when inherited, then the task's; system labels go along always, but for readOnly."""
        labels = {
            key: value
            for key, value in self.state.labels
            if key != "system.readOnly" and (key.startswith("system.") or properties.get("inheritLabels", False))
        }
        given = properties.get("labels") or {}
        if not isinstance(given, Mapping):
            given = {pair["key"]: pair["value"] for pair in given}
        return labels | {self.text(str(key)): self.text(str(value)) for key, value in given.items()}

    # -- Runnables ----------------------------------------------------------------------------------

    def runnable(self, type_name: str, properties: Mapping[str, Any], kind: Kind | None = None) -> Prepared:
        task_class = self.preparer._task_class(type_name)
        if task_class is None:
            return self.failed(f"This installation has no task type `{type_name}`")
        if kind is None:
            kind = Kind.DISPATCHED if self.task.kind is Kind.WORKING_DIRECTORY else self.task.kind
        try:
            if kind is Kind.INLINE:
                rendered = render_properties(task_class, properties, self.text, self.typed)
                return self.run_inline(task_class, rendered)
            timeout = self.timeout()
            if kind is Kind.SLEEP:
                return self.sleep(task_class, render_properties(task_class, properties, self.text, self.typed), timeout)
            rendered = render_properties(task_class, properties, self.sealed_text, self.sealed_typed)
            if self.spec_secrets:
                rendered = self.resealed(rendered)
            return self.job(task_class, type_name, kind, rendered, timeout)
        except ValidationError as error:
            return self.failed(validation_text(error))
        except (ExpressionError, UnplannableError, ValueError) as error:
            return self.failed(str(error))

    def failed(self, error: str) -> Prepared:
        """The attempt fails before its code starts; retry and errors apply as to any failure."""
        error = self.masked(error)
        result = AttemptResult(State.FAILED, self.now, self.now, error=error)
        record = LogRecord(self.now, "ERROR", error, self.run.id, len(self.run.attempts))
        return Prepared(Ran(self.run.id, result), logs=(record,))

    def timeout(self) -> timedelta | None:
        if self.task.timeout is None:
            return None
        return parse_duration(self.text(self.task.timeout))

    def run_inline(self, task_class: type[RunnableTask], properties: Mapping[str, Any]) -> Prepared:
        definition = self.state.flow.definition
        context = InlineTaskContext(
            namespace=definition.namespace,
            flow_id=definition.id,
            flow_revision=definition.revision,
            execution_id=self.state.id,
            task_id=self.task.id,
            task_run_id=self.run.id,
            attempt=len(self.run.attempts),
            now=self.now,
            variables=self.state.variables,
            render=self.render_with,
            log_level=self.task.log_level,
            secrets=tuple(self.host.secrets_used),
        )
        result = run_inline(task_class, properties, context)
        result = replace(result, ended=max(self.now, self.stores.clock.now()))
        size = 200
        if result.outputs is not None:
            payload, size = self.payloads.make(
                self.payloads.load(result.outputs), self.preparer.folder(self.state), self.settings.output_inline_limit
            )
            result = replace(result, outputs=payload)
        logs = tuple(_record(line) for line in context.lines)
        size += sum(len(line.message) for line in context.lines)
        return Prepared(Ran(self.run.id, result), logs, tuple(_metric(point) for point in context.points), size)

    def sleep(
        self, task_class: type[RunnableTask], properties: Mapping[str, Any], timeout: timedelta | None
    ) -> Prepared:
        """A task that only waits needs no worker: a timer ends it, or its timeout when that is shorter."""
        task = task_class.model_validate(properties)
        if not isinstance(task, SleepingTask):
            raise UnplannableError(f"The task type `{task_class.TYPE}` sleeps, but is not a SleepingTask")
        length = task.duration
        error = None
        if timeout is not None and timeout < length:
            length, error = timeout, timeout_text(timeout)
        return Prepared(Sleeps(self.run.id, max(0.0, length.total_seconds()), error))

    def render_with(self, template: str, extra: Mapping[str, Any]) -> str:
        return self.expressions.render(template, ChainMap(dict(extra), self.variables), self.host)  # type: ignore[arg-type]

    def sealed_text(self, template: str) -> Any:
        return self.seal(self.text, template)

    def sealed_typed(self, template: str) -> Any:
        return self.seal(self.typed, template)

    def seal(self, render: Callable[[str], Any], template: str) -> Any:
        """Render; what used a secret leaves sealed, whatever a filter made of it (DESIGN §3.8)."""
        before = self.host.secrets_used
        self.host.secrets_used = set()
        try:
            value = render(template)
            used = self.host.secrets_used
            if not used:
                return value
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            return seal_text(text, used, self.stores.cipher)
        finally:
            self.host.secrets_used |= before

    def resealed(self, value: Any) -> Any:
        """Return *value* with every text sealed that holds a secret of the spec it came from."""
        if is_sealed(value):
            return value
        if isinstance(value, Mapping):
            return {key: self.resealed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resealed(item) for item in value]
        held = {secret for secret in self.spec_secrets if secret and secret in str(value)}
        return seal_text(str(value), held, self.stores.cipher) if held else value

    def job(
        self,
        task_class: type[RunnableTask],
        type_name: str,
        kind: Kind,
        properties: Mapping[str, Any],
        timeout: timedelta | None,
    ) -> Prepared:
        variables = self.by_task_variables(task_class, properties)
        cache = self.cache_file(type_name, properties, variables)
        reused = self.reused(cache) if cache is not None else None
        if reused is not None:
            return reused
        workspace = enclosing_working_directory(self.state, self.run)
        if self.task.kind is Kind.WORKING_DIRECTORY:
            workspace = self.run
        body = {
            "type": type_name,
            "started": self.now.isoformat(),
            "properties": properties,
            "variables": variables,
            "timeout": timeout.total_seconds() if timeout is not None else None,
            "workspace": workspace.id if workspace is not None else None,
        }
        if cache is not None:
            body["cache"] = cache
        payload, size = self.payloads.make(body, self.preparer.folder(self.state), self.settings.job_inline_limit)
        if kind is Kind.LIGHT:
            answer = JobReady(self.run.id, kind, payload, None, self.settings.lease_seconds)
        else:
            answer = JobReady(self.run.id, kind, payload)
        return Prepared(answer, size=size)

    def cache_file(self, type_name: str, properties: Mapping[str, Any], variables: Mapping[str, Any]) -> str | None:
        """Return where the outputs of a run with these properties are kept (reference §2.1, taskCache).

        The name is a hash of all of them, secrets in clear: nothing of them can be read from it.
        """
        if self.task.cache is None:
            return None
        clear, _ = open_sealed([type_name, properties, variables], self.stores.cipher)
        text = json.dumps(clear, sort_keys=True, separators=(",", ":"), default=str)
        key = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
        definition = self.state.flow.definition
        return task_cache_file(definition.namespace, definition.id, self.task.id, key)

    def reused(self, cache: str) -> Prepared | None:
        """Return the end of the attempt by an earlier one's outputs; None when they are too old, or gone."""
        try:
            with self.stores.storage.open(cache) as file:
                kept = json.load(file)
        except NotFoundError:
            return None
        ttl = self.task.cache.ttl if self.task.cache is not None else None
        stored, outputs = datetime.fromisoformat(kept["stored"]), kept["outputs"]
        if ttl is not None and stored + ttl <= self.now:
            return None
        if any(self.stores.storage.stat(uri) is None for uri in _stored_uris(outputs)):
            return None
        payload, size = None, 0
        if outputs is not None:
            folder = self.preparer.folder(self.state)
            payload, size = self.payloads.make(outputs, folder, self.settings.output_inline_limit)
        text = f"The outputs are those of a run with the same properties at {kept['stored']} (taskCache)"
        record = LogRecord(self.now, "INFO", text, self.run.id, len(self.run.attempts))
        return Prepared(
            Ran(self.run.id, AttemptResult(State.SUCCESS, self.now, self.now, payload)), (record,), size=size
        )

    def by_task_variables(self, task_class: type[RunnableTask], properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the roots that the texts a task renders itself may name, as JSON; SECRET inputs stay encrypted."""
        texts = [
            str(properties[name])
            for field_name, info in task_class.model_fields.items()
            if Rendering.BY_TASK in info.metadata
            for name in (field_name, info.alias or field_name)
            if name in properties and "{" in str(properties[name])
        ]
        roots: dict[str, Any] = {}
        for root in self.variables if texts or task_class.RENDERS else ():
            if root in task_class.RENDERS or any(root in text for text in texts):
                value = self.variables[root]
                if root == "inputs" and self.state.created is not None:
                    value = self.payloads.load(self.state.created.inputs)
                roots[root] = json.loads(self.expressions.render("{{ value | toJson }}", {"value": value}, self.host))
        return roots


def job_of(state: ExecutionState, task_run_id: str, number: int, body: Mapping[str, Any]) -> Job:
    """Return the job whose *body* the journal holds, for one attempt."""
    task_run = state.task_runs[task_run_id]
    task: TaskDefinition = state.flow.tasks[task_run.task_id]
    definition = state.flow.definition
    seconds = body["timeout"]
    return Job(
        attempt=AttemptId(state.id, task_run_id, number),
        type=body["type"],
        task_id=task.id,
        namespace=definition.namespace,
        flow_id=definition.id,
        flow_revision=definition.revision,
        started=datetime.fromisoformat(body["started"]),
        properties=body["properties"],
        variables=body["variables"],
        timeout=timedelta(seconds=seconds) if seconds is not None else None,
        log_level=task.log_level,
        workspace=body["workspace"],
        cache=body.get("cache"),
        repeats=task_run.lost > 0,
    )


def _resume_key(
    stores: Stores, state: ExecutionState, task_run: TaskRun, now: datetime, asked: Mapping[str, Any]
) -> str:
    link, valid = new_link(state, task_run, asked)
    return ResumeLinks(stores.kv, stores.clock).put(link, valid, now)


def errors_of(state: ExecutionState, lines: Sequence[LogRecord]) -> list[dict[str, Any]]:
    """Return what errorLogs() says of those *lines* that are errors."""
    return [
        {"taskId": state.task_runs[line.task_run_id].task_id if line.task_run_id else None, "message": line.message}
        for line in lines
        if line.level == Level.ERROR
    ]


def _stored_uris(value: Any) -> Iterator[str]:
    """Yield the URIs of stored files in *value*, at any depth."""
    if isinstance(value, str):
        if value.startswith("kestra:///"):
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _stored_uris(item)
    elif isinstance(value, list):
        for item in value:
            yield from _stored_uris(item)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _record(line: LogLine) -> LogRecord:
    return LogRecord(line.timestamp, line.level.value, line.message, line.task_run_id, line.attempt)


def _metric(point: MetricPoint) -> MetricRecord:
    return MetricRecord(point.task_run_id, point.kind, point.name, point.value, point.timestamp, dict(point.tags))
