"""io.kestra.plugin.core.templating: a task whose very definition is rendered."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunnableTask, TaskFailure, TaskOutputs


class TemplatedTask(RunnableTask):
    """Run the task that a text renders to: the YAML of a runnable task, without an id.

    The engine renders the text, and then the properties in it, as it does with those of a task of the flow.

        id: any
        type: io.kestra.plugin.core.templating.TemplatedTask
        spec: |
          type: io.kestra.plugin.core.http.Request
          {{ inputs.property }}: {{ inputs.value }}
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.templating.TemplatedTask"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.templating.TemplatedTask",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED

    spec: str = Field(description="The YAML text of a task.")

    def run(self, context: Any) -> TaskOutputs | None:
        """Never called: the task that the text renders to takes this one's place."""
        del context
        raise TaskFailure("The templated task was not rendered")
