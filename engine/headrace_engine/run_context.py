"""The contexts tasks run in, and how an attempt becomes a result.

InlineTaskContext serves tasks inside the executor: it only collects (log lines, metrics, changes of the
execution) and touches nothing outside. WorkerContext serves light and dispatched tasks over the ports.
run_inline and run_attempt call a task and turn whatever happens into an AttemptResult; nothing a task
does makes them raise.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from headrace_engine.model.attempt import AttemptResult, ExecutionChange, Inline, Payload, Stored
from headrace_engine.model.state import State
from headrace_engine.plugin import (
    AttemptLostError,
    CodePolicy,
    NetworkPolicy,
    Platform,
    RunnableTask,
    TaskFailure,
    TaskOutputs,
    format_duration,
)
from headrace_engine.ports import (
    KV,
    Cipher,
    Clock,
    ContentError,
    Job,
    Level,
    LogLine,
    Logs,
    MetricPoint,
    Metrics,
    PortError,
    Storage,
)
from headrace_engine.rendering import coerce_properties
from headrace_engine.run_logs import LogStream
from headrace_engine.run_stores import FilePolicy, RunFiles, RunKV
from headrace_engine.sealing import ENCRYPTED, Mask, open_sealed

INLINE_LIMIT = 32 * 1024
"""Bytes of JSON above which outputs go to internal storage (DESIGN §3.10)."""

_LONGEST_MESSAGE = 32 * 1024
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

HandOver = Callable[[Sequence[LogLine], Sequence[MetricPoint]], None]
Act = Callable[[RunnableTask], TaskOutputs | None]
"""Does something with a task, and returns what of its outputs came of that."""
RenderTemplate = Callable[[str, Mapping[str, Any]], str]
"""Renders a text with these variables."""


class _Logger:
    """plugin.TaskLogger over a function that takes a level and a message."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[Level, str], None]) -> None:
        self._write = write

    def log(self, level: str, message: str) -> None:
        self._write(Level(level), message)

    def trace(self, message: str) -> None:
        self._write(Level.TRACE, message)

    def debug(self, message: str) -> None:
        self._write(Level.DEBUG, message)

    def info(self, message: str) -> None:
        self._write(Level.INFO, message)

    def warn(self, message: str) -> None:
        self._write(Level.WARN, message)

    def error(self, message: str) -> None:
        self._write(Level.ERROR, message)


class InlineTaskContext:
    """plugin.InlineContext that collects: after the run, lines, points, change and state say what to store."""

    def __init__(
        self,
        *,
        namespace: str,
        flow_id: str,
        flow_revision: int,
        execution_id: str,
        task_id: str,
        task_run_id: str,
        attempt: int,
        now: datetime,
        variables: Mapping[str, Any] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        render: RenderTemplate | None = None,
        log_level: str | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        """Take what identifies the attempt.

        variables are the execution's ``vars``; template_variables and render serve BY_TASK properties.
        """
        self.namespace = namespace
        self.flow_id = flow_id
        self.flow_revision = flow_revision
        self.execution_id = execution_id
        self.task_id = task_id
        self.task_run_id = task_run_id
        self.attempt = attempt
        self.now = now
        self.variables: Mapping[str, Any] = variables or {}
        self.mask = Mask(secrets)
        self.lines: list[LogLine] = []
        self.points: list[MetricPoint] = []
        self.state: State | None = None
        """What the task asked to end in, if anything."""
        self.change: ExecutionChange | None = None
        self._template_variables = template_variables or {}
        self._render = render
        self._min_rank = Level(log_level).rank if log_level else 0

    @property
    def log(self) -> _Logger:
        """What the task says. Made when asked for: kept, it would keep the context from going when the attempt does."""
        return _Logger(self._log)

    @classmethod
    def of_job(cls, job: Job, **others: Any) -> InlineTaskContext:
        """Return a context for the attempt that *job* describes; others are as for the constructor."""
        return cls(**_identity(job), now=job.started, **others)

    def counter(self, name: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        self._metric("counter", name, float(value), tags)

    def timer(self, name: str, value: timedelta, tags: Mapping[str, str] | None = None) -> None:
        self._metric("timer", name, value.total_seconds(), tags)

    def gauge(self, name: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        self._metric("gauge", name, float(value), tags)

    def render(self, template: str, variables: Mapping[str, Any]) -> str:
        if "{" not in template:
            return template
        if self._render is None:
            raise TaskFailure(f"The expression `{template}` cannot be rendered here")
        return self._render(template, {**self._template_variables, **variables})

    def end_with(self, state: State) -> None:
        if state is not State.WARNING:
            raise ValueError(f"A task can end itself in WARNING, not in {state}")
        self.state = state

    def set_labels(self, labels: Mapping[str, str]) -> None:
        change = self._changed()
        self.change = ExecutionChange({**change.labels, **labels}, change.variables, change.unset, change.exit)

    def set_variables(self, variables: Mapping[str, Any], unset: Sequence[str] = ()) -> None:
        change = self._changed()
        kept = {name: value for name, value in change.variables.items() if name not in unset}
        self.change = ExecutionChange(change.labels, {**kept, **variables}, (*change.unset, *unset), change.exit)

    def exit_execution(self, state: State) -> None:
        change = self._changed()
        self.change = ExecutionChange(change.labels, change.variables, change.unset, state)

    def _changed(self) -> ExecutionChange:
        return self.change or ExecutionChange()

    def _timestamp(self) -> datetime:
        return self.now

    def _log(self, level: Level, message: str) -> None:
        if level.rank >= self._min_rank:
            self._keep(self._line(level, message))

    def _line(self, level: Level, message: str) -> LogLine:
        message = self.mask(message)
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}… ({len(message) - _LONGEST_MESSAGE} more characters)"
        return LogLine(
            self.execution_id,
            self.namespace,
            self.flow_id,
            self._timestamp(),
            level,
            message,
            self.task_id,
            self.task_run_id,
            self.attempt,
        )

    def _keep(self, line: LogLine) -> None:
        self.lines.append(line)

    def _metric(self, kind: str, name: str, value: float, tags: Mapping[str, str] | None) -> None:
        point = MetricPoint(
            self.execution_id,
            self.namespace,
            self.flow_id,
            self.task_id,
            self.task_run_id,
            kind,
            name,
            value,
            self._timestamp(),
            {key: self.mask(str(tag)) for key, tag in (tags or {}).items()},
        )
        self.points.append(point)


class WorkerContext(InlineTaskContext):
    """plugin.RunContext over the ports. Close it (or leave its ``with`` block) when the attempt is over."""

    def __init__(
        self,
        job: Job,
        *,
        storage: Storage,
        kv: KV,
        logs: Logs,
        metrics: Metrics,
        cipher: Cipher,
        clock: Clock,
        variables: Mapping[str, Any] | None = None,
        render: RenderTemplate | None = None,
        workspace: Path | None = None,
        temporary_root: Path | None = None,
        network: NetworkPolicy | None = None,
        code: CodePolicy | None = None,
        file_policy: FilePolicy | None = None,
        platform: Platform | None = None,
        can_encrypt: bool = True,
        may_reach: Callable[[str], bool] = lambda _namespace: True,
        on_process_group: Callable[[int], None] | None = None,
        hand_over: HandOver | None = None,
        placement: Mapping[str, Any] | None = None,
        environment: Callable[[], Mapping[str, str]] | None = None,
        batch: str = "",
    ) -> None:
        """Take the job and the ports.

        workspace is the directory shared inside a WorkingDirectory; without it the attempt gets one of its own
        below temporary_root. on_process_group is told the process group of the attempt before its code starts;
        when it raises, nothing starts. hand_over is given the log lines and metrics that are not stored when the
        attempt is over; without it they are. placement says where the attempt runs; environment returns the variables
        of `granted`. batch tells the log lines and metrics of this context from
        those of others of the same attempt.
        """
        super().__init__(
            **_identity(job),
            now=job.started,
            variables=variables,
            template_variables=job.variables,
            render=render,
        )
        self.timeout = job.timeout
        self.repeats = job.repeats
        self.network = network or NetworkPolicy()
        self.code = code or CodePolicy()
        self.cipher = cipher
        self.clock = clock
        self.files = RunFiles(
            storage,
            clock,
            namespace=job.namespace,
            flow_id=job.flow_id,
            execution_id=self.execution_id,
            task_id=job.task_id,
            task_run_id=self.task_run_id,
            attempt=self.attempt,
            policy=file_policy,
        )
        self.stop_reason: State | None = None
        """KILLED or FAILED (timeout) once the attempt was asked to stop."""
        self._variables_open = False
        self._kv = kv
        self._metrics = metrics
        self._batch = f"{self.task_run_id}/{self.attempt}" + (f"/{batch}" if batch else "")
        self._stream = LogStream(logs, self.execution_id, self._batch)
        self._workspace = workspace
        self._own_workspace: Path | None = None
        self._temporary_root = temporary_root
        self._platform = platform
        self._can_encrypt = can_encrypt
        self._may_reach = may_reach
        self._on_process_group = on_process_group
        self._hand_over = hand_over
        self.placement = placement or {}
        self._environment = environment
        self._given: Mapping[str, str] | None = None
        self._stopping = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> WorkerContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def working_dir(self) -> Path:
        if self._workspace is None:
            root = None if self._temporary_root is None else str(self._temporary_root)
            self._own_workspace = self._workspace = Path(tempfile.mkdtemp(prefix="headrace-", dir=root))
        return self._workspace

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def wait(self, length: timedelta) -> bool:
        """Wait until *length* has passed (False) or the attempt is asked to stop (True)."""
        return self._stopping.wait(max(0.0, length.total_seconds()))

    def on_stop(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if not self._stopping.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def stop(self, reason: State = State.KILLED) -> None:
        """Ask the attempt to end: KILLED, or FAILED for a timeout. Only the first reason counts."""
        with self._lock:
            if self._stopping.is_set():
                return
            self.stop_reason = reason
            self._stopping.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            # A callback that fails (a connection closed already) must not keep the others from being called.
            with suppress(Exception):
                callback()

    def kv(self, namespace: str | None = None) -> RunKV:
        if namespace not in (None, self.namespace) and not self._may_reach(str(namespace)):
            raise TaskFailure(f"The namespace '{self.namespace}' may not reach the namespace '{namespace}'")
        return RunKV(self._kv, self.clock, namespace or self.namespace)

    @property
    def platform(self) -> Platform:
        if self._platform is None:
            raise TaskFailure("Other executions cannot be reached from here")
        return self._platform

    def encrypt(self, text: str) -> dict[str, str]:
        if not self._can_encrypt:
            raise TaskFailure("Nothing can be encrypted without a key: set `kestra.encryption.secret-key`")
        return {"type": ENCRYPTED, "value": self.cipher.seal(text.encode())}

    def granted(self) -> Mapping[str, str]:
        if self._environment is None:
            return {}
        if self._given is None:
            self._given = self._environment()
            self.mask.add(value for name, value in self._given.items() if name in _CREDENTIALS)
        return self._given

    def record_process_group(self, process_group: int) -> None:
        if self._on_process_group is not None:
            self._on_process_group(process_group)

    def render(self, template: str, variables: Mapping[str, Any]) -> str:
        if "{" in template and not self._variables_open:
            self._template_variables, secrets = open_sealed(self._template_variables, self.cipher)
            self.mask.add(secrets)
            self._variables_open = True
        return super().render(template, variables)

    def close(self) -> None:
        """Store what is left of logs and metrics and remove the attempt's own directory."""
        if self._hand_over is not None:
            self._hand_over(self._stream.rest(), self.points)
            self.points = []
        self._stream.close()
        if self.points:
            with suppress(PortError):  # metrics are worth less than the result of the attempt
                self._metrics.append(self.execution_id, self._batch, self.points)
            self.points = []
        if self._own_workspace is not None:
            shutil.rmtree(self._own_workspace, ignore_errors=True)
            self._own_workspace = self._workspace = None

    def _timestamp(self) -> datetime:
        return self.clock.now()

    def _keep(self, line: LogLine) -> None:
        self._stream.add(line)


def run_inline(
    task_class: type[RunnableTask], properties: Mapping[str, Any], context: InlineTaskContext
) -> AttemptResult:
    """Run an inline task with rendered *properties*; the result stands at the context's instant."""
    state, outputs, error = _run(task_class, properties, context)
    return AttemptResult(
        state=state,
        started=context.now,
        ended=context.now,
        outputs=None if outputs is None else Inline(outputs),
        error=error,
        change=context.change,
    )


def run_attempt(
    task_class: type[RunnableTask],
    job: Job,
    context: WorkerContext,
    *,
    lease: timedelta | None = None,
    inline_limit: int = INLINE_LIMIT,
    act: Act | None = None,
    started: datetime | None = None,
) -> AttemptResult:
    """Run a light or dispatched task and close the context.

    lease is the time an executor gives a light task; it ends an attempt like ``timeout`` does. act concludes a task
    that was carried out elsewhere, from *started* on, where its timeout was watched.
    """
    started = started or context.clock.now()
    limit = min((each for each in (job.timeout, lease) if each is not None), default=None)
    watchdog = None
    if limit is not None and act is None:
        watchdog = threading.Timer(limit.total_seconds(), context.stop, (State.FAILED,))
        watchdog.daemon = True
        watchdog.start()
    try:
        state, outputs, error = act_on_job(task_class, job, context, act)
        if context.stop_reason is not None:
            state = context.stop_reason
            by_lease = job.timeout is None or (lease is not None and lease < job.timeout)
            advice = f"; {task_class.ASKS_FOR_WORKER}" if by_lease and task_class.ASKS_FOR_WORKER else ""
            error = "The attempt was stopped" if state is State.KILLED else timeout_text(limit) + advice
            if state is State.FAILED:
                context.log.error(error)
        payload = None if outputs is None else _payload(outputs, context.files, inline_limit)
        if job.cache is not None and state is State.SUCCESS:
            with suppress(PortError):  # not worth the result
                context.files.put_task_cache(job.cache, outputs)
    except PortError as problem:
        state, error = _store_failed(task_class, problem), f"The outputs could not be stored: {problem}"
        payload = None
    finally:
        if watchdog is not None:
            watchdog.cancel()
        context.close()
    return AttemptResult(state, started, context.clock.now(), payload, error, context.change)


def act_on_job(
    task_class: type[RunnableTask], job: Job, context: WorkerContext, act: Act | None = None
) -> tuple[State, dict[str, Any] | None, str | None]:
    """Open the job's secrets and run its task, or *act* on it; return state, outputs and the message of a failure."""
    try:
        properties, secrets = open_sealed(job.properties, context.cipher)
    except PortError as problem:
        return _store_failed(task_class, problem), None, f"A secret of the task could not be opened: {problem}"
    context.mask.add(secrets)
    if secrets:
        properties = coerce_properties(task_class, properties)
    return _run(task_class, properties, context, act)


def _run(
    task_class: type[RunnableTask],
    properties: Mapping[str, Any],
    context: InlineTaskContext,
    act: Act | None = None,
) -> tuple[State, dict[str, Any] | None, str | None]:
    """Run the task; return the state, outputs as JSON holds them, and the message of a failure."""
    try:
        _complete(task_class)
        task = task_class.model_validate(properties)
        outputs = act(task) if act is not None else task.run(context)
        return context.state or State.SUCCESS, _plain(outputs), None
    except AttemptLostError as lost:
        return State.RESUBMITTED, None, context.mask(str(lost))
    except TaskFailure as failure:
        return State.FAILED, _plain(failure.outputs), _report(context, str(failure))
    except ValidationError as problem:
        return State.FAILED, None, _report(context, validation_text(problem))
    except Exception as problem:  # noqa: BLE001 - whatever people's code raises fails their task run, not us
        error = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
        if isinstance(problem, PortError) and _store_failed(task_class, problem) is State.RESUBMITTED:
            return State.RESUBMITTED, None, context.mask(error)
        error = _report(context, error)
        context.log.debug("".join(traceback.format_exception(problem)).rstrip())
        return State.FAILED, None, error


def _store_failed(task_class: type[RunnableTask], problem: PortError) -> State:
    """Return how an attempt ends that a store let down: lost, if the next one may do better (DESIGN §3.6).

    Not where people's code has run: it would run again.
    """
    is_lost = not isinstance(problem, ContentError) and not task_class.RUNS_CODE
    return State.RESUBMITTED if is_lost else State.FAILED


_completing = threading.Lock()


def _complete(task_class: type[RunnableTask]) -> None:
    """Have pydantic build the validators it puts off; by one thread at a time, because it has no lock."""
    for model in (task_class, task_class.Outputs):
        if not model.__pydantic_complete__:
            with _completing:
                model.model_rebuild()


def _report(context: InlineTaskContext, error: str) -> str:
    error = context.mask(error)
    if not (isinstance(context, WorkerContext) and context.stopping):  # else it only says how stopping it shows
        context.log.error(error)
    return error


def validation_text(problem: ValidationError) -> str:
    """Return what is wrong with a task's rendered properties, one sentence a property."""
    sentences = []
    for detail in problem.errors(include_url=False, include_context=False):
        path = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("function-"))
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        received = "" if detail["type"] == "missing" else f", but received `{_shown(detail['input'])}`"
        sentences.append(f"Invalid property `{path}`: {message}{received}" if path else message)
    return "\n".join(sentences)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"


def timeout_text(limit: timedelta | None) -> str:
    """Return the error of an attempt that took longer than its timeout."""
    return f"TimeoutExceededException: the attempt did not end within {format_duration(limit or timedelta(0))}"


def _plain(outputs: TaskOutputs | None) -> dict[str, Any] | None:
    if outputs is None:
        return None
    values = {
        name: value for name, value in outputs.model_dump(by_alias=True, mode="json").items() if value is not None
    }
    return values or None


def _payload(outputs: dict[str, Any], files: RunFiles, inline_limit: int) -> Payload:
    encoded = msgspec.json.encode(outputs)
    if len(encoded) <= inline_limit:
        return Inline(outputs)
    return Stored(files.put_outputs(encoded), len(encoded))


def _identity(job: Job) -> dict[str, Any]:
    return {
        "namespace": job.namespace,
        "flow_id": job.flow_id,
        "flow_revision": job.flow_revision,
        "execution_id": job.attempt.execution_id,
        "task_id": job.task_id,
        "task_run_id": job.attempt.task_run_id,
        "attempt": job.attempt.number,
        "log_level": job.log_level,
    }
