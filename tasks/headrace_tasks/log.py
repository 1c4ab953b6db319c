"""io.kestra.plugin.core.log: writing to the execution's log."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import InlineContext, RunnableTask
from headrace_engine.ports import Level


class Log(RunnableTask):
    """Write one or more messages to the log.

    id: hello
    type: io.kestra.plugin.core.log.Log
    message: "Hello {{ inputs.name }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.log.Log"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.log.Log", "io.kestra.core.tasks.debugs.Log")
    KIND: ClassVar[Kind] = Kind.INLINE

    message: str | list[Any] = Field(description="A message, or a list of messages.")
    level: Level = Field(Level.INFO, description="TRACE, DEBUG, INFO, WARN or ERROR.")

    def run(self, context: InlineContext) -> None:
        """Log the messages in order."""
        for message in self.message if isinstance(self.message, list) else [self.message]:
            context.log.log(self.level, message if isinstance(message, str) else _text(message))


def _text(value: Any) -> str:
    return "null" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
