"""io.kestra.plugin.core.debug: looking at what an expression gives."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import InlineContext, RunnableTask, TaskOutputs
from headrace_engine.ports import Level


class ReturnOutputs(TaskOutputs):
    """What Return gives."""

    value: str | None = None


class Return(RunnableTask):
    """Return a rendered text as the output ``value``.

    Metrics: the counter ``length`` (characters of the value) and the timer ``duration``.

        id: full_name
        type: io.kestra.plugin.core.debug.Return
        format: "{{ inputs.first }} {{ inputs.last }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.debug.Return"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.debugs.Return",)
    KIND: ClassVar[Kind] = Kind.INLINE
    Outputs: ClassVar[type[TaskOutputs]] = ReturnOutputs

    format: str | None = Field(None, description="The text to return; without it there is no value.")

    def run(self, context: InlineContext) -> ReturnOutputs:
        """Return the text."""
        start = time.perf_counter()
        value = self.format
        context.counter("length", len(value or ""), {"format": value} if value and len(value) <= 100 else None)
        context.timer("duration", timedelta(seconds=time.perf_counter() - start))
        return ReturnOutputs(value=value)


class Echo(RunnableTask):
    """Log a rendered text. Deprecated: use Log.

    id: echo
    type: io.kestra.plugin.core.debug.Echo
    format: "{{ taskrun.id }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.debug.Echo"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.debugs.Echo",)
    DEPRECATED: ClassVar[str | None] = "io.kestra.plugin.core.log.Log"
    KIND: ClassVar[Kind] = Kind.INLINE

    format: str | None = Field(None, description="The text to log.")
    level: Level = Field(Level.INFO, description="TRACE, DEBUG, INFO, WARN or ERROR.")

    def run(self, context: InlineContext) -> None:
        """Log the text."""
        context.log.log(self.level, self.format or "")
