"""io.kestra.plugin.core.output: values for later tasks."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import InlineContext, RunnableTask, TaskOutputs


class OutputValuesOutputs(TaskOutputs):
    """What OutputValues gives."""

    values: dict[str, Any]


class OutputValues(RunnableTask):
    """Make values available to later tasks as ``outputs.<id>.values``.

    Texts in the map are rendered, at any depth; numbers, booleans, lists and maps keep their type.

        id: values
        type: io.kestra.plugin.core.output.OutputValues
        values:
          table: "{{ inputs.table }}"
          limit: 10
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.output.OutputValues"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.outputs.OutputValues",)
    KIND: ClassVar[Kind] = Kind.INLINE
    Outputs: ClassVar[type[TaskOutputs]] = OutputValuesOutputs

    values: dict[str, Any] = Field(description="The values by name.")

    def run(self, context: InlineContext) -> OutputValuesOutputs:
        """Return the values."""
        del context
        return OutputValuesOutputs(values=self.values)
