"""An engine put together: the executor, the worker and what they share, on any set of ports.

Every runtime (local, simulated, AWS) builds one of these and adds only how things are set going.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from headrace_engine.concurrency import SlotKeeper, SlotTaker
from headrace_engine.core.events import Entry, ExecutionCreated, LogRecord, MetricRecord
from headrace_engine.core.flow import FlowIndex, index
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.task_run import TaskRun
from headrace_engine.executor import Answerer, Executor, Ran
from headrace_engine.expressions import ExpressionError, Expressions, truthy
from headrace_engine.inputs import FindUpload, InputError, Render, Upload, read_inputs, typed_inputs, validate_inputs
from headrace_engine.language import FindTemplate, FlowError, Registry, parse_flow, parse_template
from headrace_engine.language.task_reader import TEMPLATE
from headrace_engine.listeners import Listeners
from headrace_engine.model.attempt import Inline, Payload
from headrace_engine.model.definition import (
    Check,
    CheckBehavior,
    Concurrency,
    FlowDefinition,
    InputDefinition,
    TemplateDefinition,
)
from headrace_engine.model.ids import new_id
from headrace_engine.model.trigger import DATED, EVENTBRIDGE, OWN_BUS, S3
from headrace_engine.payloads import Payloads
from headrace_engine.platform import PlatformServices
from headrace_engine.plugin import NetworkPolicy, RunnableTask
from headrace_engine.ports import (
    FlowSource,
    Job,
    LogLine,
    MetricPoint,
    NotFoundError,
    PortError,
    Subscription,
    SubscriptionRefusedError,
    Subscriptions,
    Timers,
    TriggerRecord,
)
from headrace_engine.prepare import ChildRequest, Preparer
from headrace_engine.run_stores import execution_folder
from headrace_engine.sealing import Mask, seal_held
from headrace_engine.services import Channels, Settings, Stores
from headrace_engine.trigger_switch import rewrite
from headrace_engine.uploads import UploadError, Uploads
from headrace_engine.view import execution_view
from headrace_engine.worker import Worker

CORRELATION_LABEL = "system.correlationId"
_log = logging.getLogger(__name__)


class UnsupportedError(ValueError):
    """The flow is valid, but uses what this version of Headrace does not run; one line a property."""


class CheckFailedError(ValueError):
    """A check of the flow blocks the execution; the message is its author's."""


class NoSuchFlowError(ValueError):
    """There is no flow of that namespace and id, or no such revision."""


class NoSuchExecutionError(ValueError):
    """There is no execution of that id."""


Pins = tuple[tuple[str, str, int], ...]
"""The templates that an execution begins with: namespace, id, revision."""


class Engine:
    """What all runtimes share."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        registry: Registry,
        *,
        temporary_root: Path,
        workspaces: Path,
        network: NetworkPolicy | None = None,
        answerer: Callable[[Engine], Answerer] = lambda engine: engine.preparer,
        refuse: Callable[[FlowDefinition], None] | None = None,
        refuse_saving: Callable[[FlowDefinition], None] = lambda _definition: None,
        parse: Callable[..., FlowDefinition] = parse_flow,
        archive_workspaces: bool = False,
        others_change_flows: bool = False,
        subscriptions: Subscriptions | None = None,
        granted: Callable[[Job], Mapping[str, str]] | None = None,
    ) -> None:
        """Take the ports.

        answerer makes what answers the executors' questions, of this engine's parts. refuse raises UnsupportedError
        for a flow that must not be executed; `refuse_unsupported` when None; refuse_saving does for one that is not
        even to be stored. parse is parse_flow, or what remembers for many engines what it returned.
        archive_workspaces and granted are the worker's, others_change_flows that of Listeners. Without subscriptions
        events need not be asked for: they come.
        """
        self.stores = stores
        self.settings = settings
        self.registry = registry
        self._parse = parse
        self.expressions = Expressions()
        self.payloads = Payloads(stores.storage)
        self.uploads = Uploads(stores.storage, stores.clock)
        self.platform = PlatformServices(self)
        self.worker = Worker(
            stores,
            settings,
            self.expressions,
            self.task_class,
            temporary_root=temporary_root,
            workspaces=workspaces,
            network=network,
            platform=self.platform.of,
            archive_workspaces=archive_workspaces,
            granted=granted,
        )
        self._slots = SlotTaker(stores, self.flow_for)
        self.preparer: Preparer = Preparer(
            stores,
            settings,
            self.expressions,
            self.payloads,
            task_class=self.task_class,
            new_child=self._new_child,
            callable_flow=self._callable_flow,
            latest_concurrency=self._latest_concurrency,
            slots=self._slots,
        )
        self.answerer = answerer(self)
        self.refuse = refuse or refuse_unsupported
        """Raises UnsupportedError for a flow that must not be executed."""
        self._refuse_saving = refuse_saving
        self._flows: dict[tuple[str, str, int], FlowIndex] = {}
        self._with_templates: dict[tuple[str, str, int, Pins], FlowIndex] = {}
        self._timers: Timers | None = None
        self._subscriptions = subscriptions
        self.listeners = Listeners(
            stores.flows,
            lambda source: self.flow_of(source.namespace, source.id, source.revision).definition,
            stores.clock,
            others_change_flows=others_change_flows,
        )
        """Which Flow triggers listen to which flows."""

    def executor(
        self,
        channels: Channels,
        *,
        is_gone: Callable[[str], bool],
        on_step: Callable[[ExecutionState, Entry], None] = lambda _state, _entry: None,
        on_workspace: Callable[[str, str], None] = lambda _execution_id, _task_run_id: None,
        light_pool: futures.Executor | None = None,
        is_only: bool = False,
    ) -> Executor:
        """Return an executor of this engine; the arguments are the executor's own.

        With *is_only* nobody else writes to journals: what it holds of an execution is how that stands.
        """
        slots = SlotKeeper(
            self.stores.slots, self.stores.clock, channels.mailbox, self._latest_concurrency, self._slots
        )
        executor = Executor(
            self.stores,
            channels,
            self.settings,
            flow_for=self.flow_for,
            preparer=self.answerer,
            payloads=self.payloads,
            run_light=self._run_light,
            is_gone=is_gone,
            on_step=on_step,
            on_workspace=on_workspace,
            light_pool=light_pool,
            slots=slots,
        )
        self.platform.connect(channels.mailbox, slots, executor.forget, executor.seen if is_only else None)
        self._timers = channels.timers
        return executor

    def _run_light(self, job: Job, lease: timedelta) -> Ran:
        """Run a light attempt; what it said goes with its result, into the same entry."""
        logs: list[LogRecord] = []
        metrics: list[MetricRecord] = []

        def take(lines: Sequence[LogLine], points: Sequence[MetricPoint]) -> None:
            logs.extend(
                LogRecord(line.timestamp, line.level, line.message, line.task_run_id, line.attempt, line.task_id)
                for line in lines
            )
            metrics.extend(
                MetricRecord(
                    point.task_run_id,
                    point.kind,
                    point.name,
                    point.value,
                    point.timestamp,
                    point.tags,
                    point.task_id,
                )
                for point in points
            )

        result = self.worker.run(job, lease=lease, hand_over=take)
        return Ran(result, tuple(logs), tuple(metrics))

    def task_class(self, name: str) -> type[RunnableTask] | None:
        """Return the class of a runnable task type, or None."""
        found = self.registry.task(name)
        return found if found is not None and issubclass(found, RunnableTask) else None

    # -- Flows --------------------------------------------------------------------------------------

    def save_flow(self, source: str, *, file: str | None = None) -> FlowDefinition:
        """Check and store a flow; return it with its revision.

        Raises FlowError with all that is wrong; UnsupportedError for what can never run here.
        """
        definition = self._parse(
            source, file=file, registry=self.registry, plugin_defaults=self.settings.plugin_defaults
        )
        self._refuse_saving(definition)
        self._prepare_events(definition)
        self._mark_schedules(definition)
        saved = self.stores.flows.save(definition.namespace, definition.id, source, self.stores.clock.now())
        definition = replace(definition, revision=saved.revision)
        self._flows[saved.namespace, saved.id, saved.revision] = index(definition)
        self.listeners.put(definition)
        self._wake_schedules(definition)
        self._settle_events(definition.namespace, definition.id, definition)
        return definition

    def _prepare_events(self, definition: FlowDefinition) -> None:
        """Have the events brought that the flow's triggers want. Raises UnsupportedError when they cannot be had."""
        if self._subscriptions is None:
            return
        files = {each.id: str(each.properties["bucket"]) for each in definition.triggers if each.type == S3}
        wanted = subscriptions_of(definition)
        try:
            self._subscriptions.prepare(
                definition.namespace, definition.id, wanted, files if not definition.disabled else {}
            )
        except SubscriptionRefusedError as refused:
            raise UnsupportedError(str(refused)) from None

    def _settle_events(self, namespace: str, flow_id: str, definition: FlowDefinition | None) -> None:
        if self._subscriptions is not None:
            wanted = subscriptions_of(definition) if definition is not None else ()
            self._subscriptions.settle(namespace, flow_id, wanted)

    def _mark_schedules(self, definition: FlowDefinition) -> None:
        """Have the sweep look at the dated triggers of a flow that is about to be saved, if nobody else does."""
        now = self.stores.clock.now()

        def due(record: TriggerRecord) -> TriggerRecord:
            return record if record.disabled else replace(record, due=now)

        for trigger in definition.triggers:
            if trigger.type in DATED:
                rewrite(self.stores.triggers, definition.namespace, definition.id, trigger.id, due)

    def _wake_schedules(self, definition: FlowDefinition) -> None:
        """Have the dated triggers that a flow has now looked at, and those that it had before."""
        now = {trigger.id for trigger in definition.triggers if trigger.type in DATED}
        records = self.stores.triggers.list(definition.namespace, definition.id)
        had = {record.trigger_id for record in records if record.due is not None}
        for trigger_id in sorted(now | had):
            self.wake_trigger(definition.namespace, definition.id, trigger_id)

    def wake_trigger(self, namespace: str, flow_id: str, trigger_id: str) -> None:
        """Have somebody look at a trigger whose record says that it is due. When nobody can be told, the sweep does."""
        if self._timers is None:
            return
        try:
            self._timers.wake_trigger(namespace, flow_id, trigger_id, self.stores.clock.now())
        except PortError:
            _log.warning("Nobody could be told of the trigger %s of %s.%s", trigger_id, namespace, flow_id)

    @property
    def timers(self) -> Timers | None:
        """What wakes executions and triggers; None before there is an executor."""
        return self._timers

    @property
    def subscriptions(self) -> Subscriptions | None:
        """Which events are brought here; None where they need not be asked for."""
        return self._subscriptions

    def delete_flow(self, namespace: str, flow_id: str) -> bool:
        """Mark a flow deleted and forget what its triggers remember; False when there was nothing to delete."""
        deleted = self.stores.flows.delete(namespace, flow_id, self.stores.clock.now())
        self.listeners.remove(namespace, flow_id)
        for record in self.stores.triggers.list(namespace, flow_id):
            self.stores.triggers.delete(namespace, flow_id, record.trigger_id)
        self._settle_events(namespace, flow_id, None)
        return deleted

    def flow_of(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowIndex:
        """Return a revision (the latest when None) compiled. Raises NoSuchFlowError."""
        key = (namespace, flow_id, revision or 0)
        if key in self._flows:
            return self._flows[key]
        source = self.stores.flows.get(namespace, flow_id, revision)
        if source is None or (revision is None and source.deleted):
            wanted = f"There is no flow `{flow_id}` in the namespace `{namespace}`"
            raise NoSuchFlowError(wanted if revision is None else f"{wanted} with revision {revision}")
        key = (namespace, flow_id, source.revision)
        if key not in self._flows:
            definition = self._parse(
                source.source,
                revision=source.revision,
                registry=self.registry,
                plugin_defaults=self.settings.plugin_defaults,
            )
            self._flows[key] = index(definition)
        return self._flows[key]

    def flow_for(self, created: ExecutionCreated) -> FlowIndex:
        """Return the flow as the execution runs it: the revision, with the templates, that it was created with."""
        if not created.templates:
            return self.flow_of(created.namespace, created.flow_id, created.flow_revision)
        key = (created.namespace, created.flow_id, created.flow_revision, created.templates)
        if key not in self._with_templates:
            revisions = {(namespace, template_id): revision for namespace, template_id, revision in created.templates}

            def pinned(namespace: str, template_id: str) -> str:
                return self._template(namespace, template_id, revisions.get((namespace, template_id))).source

            flow = self.flow_of(created.namespace, created.flow_id, created.flow_revision).definition
            self._with_templates[key] = index(self._expanded(flow, self._source(flow), pinned))
        return self._with_templates[key]

    def pin(self, flow: FlowDefinition) -> Pins:
        """Return the revisions of the templates that an execution of *flow* begins with: the latest.

        Raises UnsupportedError for a template that is not there, for those that contain each other or bring an id
        along that is taken, and for what must not be executed.
        """
        if not _takes_templates(flow):
            return ()
        return self._pin(flow, self._source(flow))

    def missing_templates(self, flow: FlowDefinition, source: str) -> str | None:
        """Return why no execution of a flow could begin as its templates are, if it is so."""
        try:
            if _takes_templates(flow) and not flow.disabled:
                self._pin(flow, source)
        except UnsupportedError as error:
            return str(error)
        return None

    def _pin(self, flow: FlowDefinition, source: str) -> Pins:
        pins: dict[tuple[str, str], int] = {}

        def latest(namespace: str, template_id: str) -> str:
            if namespace != flow.namespace and not self.settings.may_reach(flow.namespace, namespace):
                raise ValueError(f"The namespace '{flow.namespace}' may not reach the namespace '{namespace}'.")
            found = self._template(namespace, template_id, None)
            pins[namespace, template_id] = found.revision
            return found.source

        try:
            self.refuse(self._expanded(flow, source, latest))
        except FlowError as error:
            raise UnsupportedError("\n".join(map(str, error.problems))) from None
        return tuple((*name, revision) for name, revision in pins.items())

    def _template(self, namespace: str, template_id: str, revision: int | None) -> FlowSource:
        found = self.stores.templates.get(namespace, template_id, revision)
        if found is None or (revision is None and found.deleted):
            raise ValueError(f"There is no template `{template_id}` in the namespace `{namespace}`.")
        return found

    def _source(self, flow: FlowDefinition) -> str:
        stored = self.stores.flows.get(flow.namespace, flow.id, flow.revision)
        if stored is None:
            wanted = f"There is no flow `{flow.id}` in the namespace `{flow.namespace}`"
            raise NoSuchFlowError(f"{wanted} with revision {flow.revision}")
        return stored.source

    def _expanded(self, flow: FlowDefinition, source: str, templates: FindTemplate) -> FlowDefinition:
        """Return a flow with *templates* in it. Raises FlowError."""
        return parse_flow(
            source,
            file=f"flow {flow.namespace}.{flow.id}",
            revision=flow.revision,
            registry=self.registry,
            plugin_defaults=self.settings.plugin_defaults,
            templates=templates,
        )

    # -- Templates ----------------------------------------------------------------------------------

    def save_template(self, source: str, *, file: str | None = None) -> FlowSource:
        """Check and store a template; return its revision. Raises FlowError with all that is wrong."""
        definition = self.read_template(source, file=file)
        return self.stores.templates.save(definition.namespace, definition.id, source, self.stores.clock.now())

    def read_template(self, source: str, *, file: str | None = None) -> TemplateDefinition:
        """Check a template. Raises FlowError with all that is wrong."""
        return parse_template(source, file=file, registry=self.registry, plugin_defaults=self.settings.plugin_defaults)

    # -- Executions ---------------------------------------------------------------------------------

    def new_execution(
        self,
        namespace: str,
        flow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        execution_id: str | None = None,
        revision: int | None = None,
        secrets: Collection[str] = (),
    ) -> tuple[str, ExecutionCreated]:
        """Return the id and first event of a new execution of the flow's latest revision, its inputs read and stored.

        FILE inputs are given as paths or URIs. Inputs that hold one of *secrets* are stored sealed. Raises
        NoSuchFlowError, UnsupportedError, InputError.
        """
        definition = self.flow_of(namespace, flow_id, revision).definition
        self.refuse(definition)
        templates = self.pin(definition)
        execution_id = execution_id or new_id()
        given = dict(labels or {})
        given.setdefault(CORRELATION_LABEL, execution_id)
        taken: dict[str, str] = {}
        stored = self.read_flow_inputs(definition, execution_id, inputs or {}, taken, secrets)
        failed = self.failed_checks(definition, execution_id, stored)
        blocking = [check for check in failed if check.behavior is CheckBehavior.BLOCK_EXECUTION]
        if blocking:
            self._give_back(taken)
            raise CheckFailedError("\n".join(check.message for check in blocking))
        failing = [check.message for check in failed if check.behavior is CheckBehavior.FAIL_EXECUTION]
        return execution_id, ExecutionCreated(
            namespace=namespace,
            flow_id=flow_id,
            flow_revision=definition.revision,
            inputs=stored,
            labels=(*definition.labels, *given.items()),
            variables=dict(definition.variables),
            refused="\n".join(failing) or None,
            templates=templates,
        )

    def _latest_concurrency(self, namespace: str, flow_id: str) -> Concurrency | None:
        try:
            return self.flow_of(namespace, flow_id).definition.concurrency
        except NoSuchFlowError:
            return None  # deleted: nothing limits what still runs

    def _callable_flow(self, namespace: str, flow_id: str, revision: int | None) -> FlowDefinition:
        definition = self.flow_of(namespace, flow_id, revision).definition
        self.refuse(definition)
        return definition

    def _new_child(self, request: ChildRequest) -> ExecutionCreated:
        return self.new_execution(
            request.namespace,
            request.flow_id,
            request.inputs,
            labels=request.labels,
            execution_id=request.execution_id,
            revision=request.revision,
            secrets=request.secrets,
        )[1]

    def failed_checks(self, definition: FlowDefinition, execution_id: str, stored: Payload) -> list[Check]:
        """Return the flow's checks (reference §1) that these inputs fail; one that cannot be rendered fails."""
        if not definition.checks:
            return []
        host = self.preparer.host_of(definition, execution_id, self.stores.clock.now())
        variables: dict[str, Any] = {
            **self.variables_before(definition),
            "inputs": typed_inputs(definition.inputs, self.payloads.load(stored), unseal=host.opened),
        }
        failed = []
        for check in definition.checks:
            try:
                holds = truthy(self.expressions.render(check.condition, variables, host))
            except ExpressionError:
                holds = False
            if not holds:
                failed.append(check)
        return failed

    def variables_before(self, definition: FlowDefinition) -> dict[str, Any]:
        """Return what expressions see before there is an execution."""
        surroundings = self.settings.surroundings
        variables: dict[str, Any] = {
            "flow": {"id": definition.id, "namespace": definition.namespace, "revision": definition.revision},
            "envs": surroundings.envs,
            "globals": surroundings.variables,
        }
        if definition.variables:
            variables["vars"] = definition.variables
        return variables

    def read_flow_inputs(
        self,
        definition: FlowDefinition,
        execution_id: str,
        given: Mapping[str, Any],
        taken: dict[str, str] | None = None,
        secrets: Collection[str] = (),
    ) -> Payload:
        """Return what an execution keeps of the inputs it was given; what holds a secret is sealed. Raises InputError.

        The uploads among them are the execution's own from now on; *taken* holds where they lie and where they lay.
        """
        folder = execution_folder(definition.namespace, definition.id, execution_id)
        host = self.preparer.host_of(definition, execution_id, self.stores.clock.now())
        variables = self.variables_before(definition)
        stored = self._read(
            definition.inputs,
            given,
            lambda template, more: self.expressions.render_typed(template, {**variables, **more}, host),
            f"{folder}/inputs",
            flow=definition,
            taken={} if taken is None else taken,
        )
        stored = seal_held(stored, {*secrets, *host.secrets_used}, self.stores.cipher)
        payload, _ = self.payloads.make(stored, f"{folder}/_engine", self.settings.output_inline_limit)
        return payload

    def read_task_inputs(
        self,
        state: ExecutionState,
        task_run: TaskRun,
        definitions: Sequence[InputDefinition],
        given: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return what a Pause keeps of the inputs it is resumed with, secrets sealed. Raises InputError."""
        definition = state.flow.definition
        host = self.preparer.host(state, self.stores.clock.now())
        variables = self.preparer.variables(state, task_run, host)
        folder = f"{execution_folder(definition.namespace, definition.id, state.id)}/tasks/{task_run.id}"
        stored = self._read(
            definitions,
            given,
            lambda template, more: self.expressions.render_typed(template, ChainMap(dict(more), variables), host),  # type: ignore[arg-type]
            folder,
            flow=definition,
            taken={},
        )
        return seal_held(stored, host.secrets_used, self.stores.cipher)

    def _read(
        self,
        definitions: Sequence[InputDefinition],
        given: Mapping[str, Any],
        render: Render,
        folder: str,
        *,
        flow: FlowDefinition,
        taken: dict[str, str],
    ) -> dict[str, Any]:
        storage = self.stores.storage

        def store_file(input_id: str, filename: str, content: bytes | BinaryIO | Path | Upload) -> str:
            uri = f"{folder}/{input_id}/{filename}"
            if isinstance(content, Upload):
                try:
                    storage.move(content.uri, uri)
                except NotFoundError:
                    raise UploadError("the upload is gone: it was used at the same time") from None
                taken[uri] = content.uri
            elif isinstance(content, Path):
                with content.open("rb") as file:
                    storage.put(uri, file)
            else:
                storage.put(uri, content)
            return uri

        try:
            return read_inputs(
                definitions,
                given,
                render=render,
                store_file=store_file,
                seal=lambda text: self.stores.cipher.seal(text.encode()),
                find_upload=self._find_upload(flow),
            )
        except InputError:
            self._give_back(taken)
            raise

    def _give_back(self, taken: Mapping[str, str]) -> None:
        """Put uploads back that were taken in vain, to be given again with what is right."""
        for uri, upload in taken.items():
            self.stores.storage.move(uri, upload)

    def _find_upload(self, flow: FlowDefinition) -> FindUpload:
        return lambda uri: self.uploads.find(flow.namespace, flow.id, uri)

    def validate_flow_inputs(
        self, definition: FlowDefinition, given: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], list[Check]]:
        """Return what is to be said of each input that an execution would be given, and the checks that they fail.

        Nothing is stored; as long as an input is wrong no check is tried. Raises nothing for inputs that are wrong.
        """
        execution_id = new_id()
        host = self.preparer.host_of(definition, execution_id, self.stores.clock.now())
        variables = self.variables_before(definition)
        answers = self._validate(
            definition.inputs,
            given,
            lambda template, more: self.expressions.render_typed(template, {**variables, **more}, host),
            definition,
        )
        shown = _masked(answers, Mask(host.secrets_used)) if host.secrets_used else answers
        if any(answer["errors"] for answer in answers):
            return shown, []
        if any(each.type == "SECRET" for each in definition.inputs):
            return shown, []  # its value is masked here: the checks are tried when the execution begins
        known = {each["id"]: each["value"] for each in answers if each["enabled"]}
        return shown, self.failed_checks(definition, execution_id, Inline(known))

    def validate_task_inputs(
        self, state: ExecutionState, task_run: TaskRun, given: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return what is to be said of each input that a Pause would be resumed with; nothing is stored."""
        host = self.preparer.host(state, self.stores.clock.now())
        variables = self.preparer.variables(state, task_run, host)
        answers = self._validate(
            state.flow.tasks[task_run.task_id].inputs,
            given,
            lambda template, more: self.expressions.render_typed(template, ChainMap(dict(more), variables), host),  # type: ignore[arg-type]
            state.flow.definition,
        )
        return _masked(answers, Mask(host.secrets_used)) if host.secrets_used else answers

    def _validate(
        self, definitions: Sequence[InputDefinition], given: Mapping[str, Any], render: Render, flow: FlowDefinition
    ) -> list[dict[str, Any]]:
        return validate_inputs(
            definitions,
            given,
            render=render,
            store_file=lambda _input, name, _content: name,
            seal=lambda text: self.stores.cipher.seal(text.encode()),
            find_upload=self._find_upload(flow),
        )

    def view(self, state: ExecutionState, shown: slice = slice(None)) -> dict[str, Any]:
        """Return the execution in the shape of Kestra's API, with those of its task runs that are *shown*."""
        return execution_view(state, self.payloads.load, self.stores.clock.now(), shown)


def _masked(value: Any, mask: Mask) -> Any:
    """Return *value* without the secrets that defaults and choices were rendered with."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: _masked(item, mask) for key, item in value.items()}
    return [_masked(item, mask) for item in value] if isinstance(value, list | tuple) else value


def subscriptions_of(definition: FlowDefinition) -> tuple[Subscription, ...]:
    """Return the events that the triggers of a flow want, when they are on."""
    if definition.disabled:
        return ()
    return tuple(
        Subscription(each.id, str(each.properties.get("bus") or OWN_BUS), each.properties["pattern"])
        for each in definition.triggers
        if each.type == EVENTBRIDGE and not each.disabled and each.unsupported is None
    )


def _takes_templates(flow: FlowDefinition) -> bool:
    return any(task.type == TEMPLATE and not task.disabled for task in flow.walk())


def refuse_unsupported(definition: FlowDefinition) -> None:
    """Raise UnsupportedError when running *definition* would silently leave out something it says."""
    if definition.disabled:
        raise UnsupportedError("Cannot execute a disabled flow")
    reasons = [*definition.unsupported]
    reasons += [
        f"task `{task.id}`: {task.unsupported}"
        for task in definition.walk()
        if task.unsupported is not None and not task.disabled
    ]
    if reasons:
        raise UnsupportedError("\n".join(reasons))
