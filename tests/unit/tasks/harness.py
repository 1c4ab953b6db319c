"""Runs one task as a worker would, over stores in memory, with a small stand-in for the expression language."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace_engine.adapters.memory.clock import ManualClock
from headrace_engine.adapters.memory.kv import MemoryKV
from headrace_engine.adapters.memory.logs import MemoryLogs, MemoryMetrics
from headrace_engine.adapters.memory.storage import MemoryStorage
from headrace_engine.model.attempt import AttemptResult, Inline
from headrace_engine.plugin import RunnableTask
from headrace_engine.ports import AttemptId, ContentError, Job
from headrace_engine.run_context import InlineTaskContext, WorkerContext, run_attempt, run_inline

START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
FOLDER = "kestra:///company/team/my-flow/executions/exec1"
TASK_FOLDER = f"{FOLDER}/tasks/my-task/run1"


class PlainCipher:
    """Seals by writing backwards, so that a test sees at once what was sealed."""

    def seal(self, plain: bytes) -> str:
        return "sealed:" + base64.b64encode(plain[::-1]).decode()

    def open(self, sealed: str) -> bytes:
        if not sealed.startswith("sealed:"):
            raise ContentError("A sealed value was changed")
        return base64.b64decode(sealed.removeprefix("sealed:"))[::-1]


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Render ``{{ a.b }}``, ``{{ (x) == null }}``, ``{{ x > 1 }}`` and ``{{ x ?? '' }}``: what the tasks' own tests need."""

    def value(match: re.Match[str]) -> str:
        expression = match[1].strip()
        if expression.endswith("== null"):
            found = lookup(expression.removesuffix("== null").strip(" ()"), variables)
            return "true" if found is None else "false"
        if expression.endswith("?? ''"):
            try:
                return text(lookup(expression.removesuffix("?? ''").strip(), variables))
            except KeyError:
                return ""
        if ">" in expression:
            left, right = expression.split(">")
            return text(lookup(left.strip(), variables) > float(right))
        return text(lookup(expression, variables))

    return re.sub(r"\{\{(.*?)\}\}", value, template)


def lookup(path: str, variables: Mapping[str, Any]) -> Any:
    found: Any = variables
    for part in path.split("."):
        found = found[part]
    return found


def text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


@dataclass
class Bench:
    """The stores of a few task runs, and how to run a task over them."""

    temporary: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    kv: MemoryKV = field(default_factory=MemoryKV)
    logs: MemoryLogs = field(default_factory=MemoryLogs)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    cipher: PlainCipher = field(default_factory=PlainCipher)
    storage: MemoryStorage = field(init=False)
    runs: int = 0

    def __post_init__(self) -> None:
        self.storage = MemoryStorage(self.clock)

    def job(self, properties: Mapping[str, Any] | None = None, **others: Any) -> Job:
        self.runs += 1
        values: dict[str, Any] = {
            "attempt": AttemptId("exec1", f"run{self.runs}", 0),
            "type": "test",
            "task_id": "my_task",
            "namespace": "company.team",
            "flow_id": "my-flow",
            "flow_revision": 1,
            "started": START,
            "properties": dict(properties or {}),
        }
        return Job(**{**values, **others})

    def context(self, job: Job | None = None, **others: Any) -> WorkerContext:
        return WorkerContext(
            job or self.job(),
            storage=self.storage,
            kv=self.kv,
            logs=self.logs,
            metrics=self.metrics,
            cipher=self.cipher,
            clock=self.clock,
            **{"render": render, "temporary_root": self.temporary, **others},
        )

    def run(
        self,
        task: type[RunnableTask],
        properties: Mapping[str, Any] | None = None,
        *,
        job: Mapping[str, Any] | None = None,
        lease: timedelta | None = None,
        on_context: Callable[[WorkerContext], None] = lambda _context: None,
        **context: Any,
    ) -> AttemptResult:
        """Run *task* to its end."""
        made = self.job(properties, **(job or {}))
        running = self.context(made, **context)
        on_context(running)
        return run_attempt(task, made, running, lease=lease)

    def outputs(self, task: type[RunnableTask], properties: Mapping[str, Any] | None = None, **others: Any) -> Any:
        """Run *task*, which must succeed, and return its outputs."""
        result = self.run(task, properties, **others)
        assert result.error is None, result.error
        return outputs_of(result)

    def error(self, task: type[RunnableTask], properties: Mapping[str, Any] | None = None, **others: Any) -> str:
        """Run *task*, which must fail, and return the message."""
        result = self.run(task, properties, **others)
        assert result.state == "FAILED", outputs_of(result)
        assert result.error is not None
        return result.error

    def put(self, content: str | bytes, name: str = "data.txt") -> str:
        """Store a file of an earlier task of the execution; return its URI."""
        uri = f"{FOLDER}/tasks/earlier/run0/{name}"
        self.storage.put(uri, content if isinstance(content, bytes) else content.encode())
        return uri

    def read(self, uri: str) -> str:
        with self.storage.open(uri) as stream:
            return stream.read().decode()

    @property
    def log_lines(self) -> list[tuple[str, str]]:
        return [(line.level.value, line.message) for line in self.logs.fetch("exec1")]

    @property
    def points(self) -> list[tuple[str, str, float]]:
        return [(point.kind, point.name, point.value) for point in self.metrics.fetch("exec1")]


def outputs_of(result: AttemptResult) -> Any:
    return result.outputs.value if isinstance(result.outputs, Inline) else result.outputs


def inline_context(**others: Any) -> InlineTaskContext:
    values: dict[str, Any] = {
        "namespace": "company.team",
        "flow_id": "my-flow",
        "flow_revision": 1,
        "execution_id": "exec1",
        "task_id": "my_task",
        "task_run_id": "run1",
        "attempt": 0,
        "now": START,
    }
    return InlineTaskContext(**{**values, **others})


def inline(
    task: type[RunnableTask], properties: Mapping[str, Any] | None = None, context: InlineTaskContext | None = None
) -> tuple[AttemptResult, InlineTaskContext]:
    """Run an inline task; return how it ended and what it left."""
    context = context or inline_context()
    return run_inline(task, properties or {}, context), context
