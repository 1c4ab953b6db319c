"""io.kestra.plugin.core.log: reading and removing log lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Literal, cast

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask, TaskOutputs
from headrace_tasks.instants import Instant
from headrace_tasks.streams import IterableReader

Level = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]


class FetchOutputs(TaskOutputs):
    """What Fetch gives."""

    uri: str
    size: int


class Fetch(RunnableTask):
    """Write the log lines of an execution into a file, one JSON object a line.

    id: lines
    type: io.kestra.plugin.core.log.Fetch
    level: WARN
    tasksId: [load]
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.log.Fetch"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.log.Fetch",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = FetchOutputs

    namespace: str | None = Field(None, description="The execution's namespace; it is found without.")
    flow_id: str | None = Field(None, description="The execution's flow; it is found without.")
    execution_id: str | None = Field(None, description="The execution; this one if left out.")
    tasks_id: list[str] = Field(default_factory=list, description="Only the lines of these tasks.")
    level: Level = Field("INFO", description="Only the lines of this level and above.")

    def run(self, context: RunContext) -> FetchOutputs:
        """Write the file."""
        size = 0

        def lines() -> Iterator[bytes]:
            nonlocal size
            found = context.platform.logs(
                self.execution_id or context.execution_id, level=self.level, task_ids=self.tasks_id
            )
            for line in found:
                size += 1
                fields = {
                    "namespace": line.namespace,
                    "flowId": line.flow_id,
                    "executionId": line.execution_id,
                    "taskId": line.task_id,
                    "taskRunId": line.task_run_id,
                    "attemptNumber": line.attempt,
                    "timestamp": line.timestamp.isoformat().replace("+00:00", "Z"),
                    "level": line.level,
                    "message": line.message,
                }
                present = {name: value for name, value in fields.items() if value is not None}
                yield json.dumps(present, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"

        uri = context.files.put("logs.ion", cast("BinaryIO", IterableReader(lines())))
        context.counter("size", size)
        return FetchOutputs(uri=uri, size=size)


class PurgeLogsOutputs(TaskOutputs):
    """What PurgeLogs gives."""

    count: int


class PurgeLogs(RunnableTask):
    """Remove log lines.

    id: tidy
    type: io.kestra.plugin.core.log.PurgeLogs
    namespace: company.team
    logLevels: [TRACE, DEBUG]
    endDate: "{{ now() | dateAdd(-7, 'DAYS') }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.log.PurgeLogs"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = PurgeLogsOutputs

    namespace: str | None = Field(None, description="The namespace, with all below it; every one if left out.")
    flow_id: str | None = Field(None, description="The flow.")
    execution_id: str | None = Field(None, description="Only one execution's lines.")
    log_levels: list[Level] = Field(default_factory=list, description="The levels; all if left out.")
    start_date: Instant | None = Field(None, description="Earlier lines stay.")
    end_date: Instant = Field(description="Later lines stay.")

    def run(self, context: RunContext) -> PurgeLogsOutputs:
        """An execution that began after the end date has no line before it."""
        if self.execution_id is not None:
            ids = [self.execution_id]
        else:
            found = context.platform.executions(namespace=self.namespace, flow_id=self.flow_id, end=self.end_date)
            ids = [execution.id for execution in found]
        count = sum(
            context.platform.purge_logs(each, levels=self.log_levels, start=self.start_date, end=self.end_date)
            for each in ids
        )
        return PurgeLogsOutputs(count=count)
