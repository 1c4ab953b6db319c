"""io.kestra.plugin.core.execution: tasks that check or change their own execution."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import InlineContext, Properties, RunnableTask, TaskFailure
from headrace_tasks.truth import is_truthy


class Fail(RunnableTask):
    """Fail the execution, always or when a condition holds.

    The condition holds unless it renders to nothing, ``false``, ``0`` or ``-0``.

        id: too_few
        type: io.kestra.plugin.core.execution.Fail
        condition: "{{ outputs.query.size < 10 }}"
        errorMessage: Fewer than ten rows
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.Fail"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.executions.Fail",)
    KIND: ClassVar[Kind] = Kind.INLINE

    condition: str | None = Field(None, description="When to fail; always if left out.")
    error_message: str = Field("Task failure", description="The message of the failure.")

    def run(self, context: InlineContext) -> None:
        """Fail if the condition holds."""
        del context
        if self.condition is None or is_truthy(self.condition):
            raise TaskFailure(self.error_message)


class Assert(RunnableTask):
    """Fail unless all conditions hold.

    id: check
    type: io.kestra.plugin.core.execution.Assert
    conditions:
      - "{{ outputs.query.size > 0 }}"
      - "{{ inputs.date is not empty }}"
    errorMessage: The day has no data
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.Assert"
    KIND: ClassVar[Kind] = Kind.INLINE

    conditions: list[str] = Field(description="Each fails if it renders to nothing, `false`, `0` or `-0`.")
    error_message: str | None = Field(None, description="The message of the failure.")

    def run(self, context: InlineContext) -> None:
        """Log the conditions that do not hold, and fail if there are any."""
        failed = [number for number, text in enumerate(self.conditions, 1) if not is_truthy(text)]
        for number in failed:
            context.log.error(f"Condition {number} of {len(self.conditions)} does not hold")
        context.counter("success", len(self.conditions) - len(failed))
        context.counter("failed", len(failed))
        if failed:
            which = ", ".join(map(str, failed))
            raise TaskFailure(
                self.error_message or f"{len(failed)} of {len(self.conditions)} conditions do not hold: {which}"
            )


class KeyValue(Properties):
    """A label written as a list element."""

    key: str
    value: Any = None


class Labels(RunnableTask):
    """Add labels to the running execution, or change them.

    id: label
    type: io.kestra.plugin.core.execution.Labels
    labels:
      customer: "{{ inputs.customer }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.Labels"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.executions.Labels",)
    KIND: ClassVar[Kind] = Kind.INLINE

    labels: dict[str, Any] | list[KeyValue] | None = Field(
        description="A map, a list of `key` and `value`, or a text that renders to JSON of either."
    )

    def run(self, context: InlineContext) -> None:
        """Hand the labels to the execution."""
        if isinstance(self.labels, list):
            labels = {label.key: _label(label.value) for label in self.labels}
        else:
            labels = {key: _label(value) for key, value in (self.labels or {}).items()}
        for key, value in labels.items():
            if key.startswith("system."):
                raise TaskFailure(f"System labels can only be set by the system itself, offending label: {key}={value}")
            if not key:
                raise TaskFailure("A label needs a key")
        context.set_labels(labels)


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "" if value is None else str(value)


class SetVariables(RunnableTask):
    """Set variables of the execution; later tasks read them as ``vars.<name>``.

    Maps are merged at any depth, everything else is replaced.

        id: set
        type: io.kestra.plugin.core.execution.SetVariables
        variables:
          attempt: "{{ vars.attempt + 1 }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.SetVariables"
    KIND: ClassVar[Kind] = Kind.INLINE

    variables: dict[str, Any] = Field(description="The variables by name.")
    overwrite: bool = Field(
        default=True, description="Whether variables that exist may be changed; if not, the task fails."
    )

    def run(self, context: InlineContext) -> None:
        """Hand the merged variables to the execution."""
        existing = [name for name in self.variables if name in context.variables]
        if existing and not self.overwrite:
            names = ", ".join(f"`{name}`" for name in existing)
            raise TaskFailure(f"The variables {names} exist already and overwrite is false")
        context.set_variables({name: merged(context.variables.get(name), new) for name, new in self.variables.items()})


def merged(old: Any, new: Any) -> Any:
    """Return *new*, laid over *old* where both are maps."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}


class UnsetVariables(RunnableTask):
    """Remove variables of the execution.

    id: unset
    type: io.kestra.plugin.core.execution.UnsetVariables
    variables: [attempt]
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.UnsetVariables"
    KIND: ClassVar[Kind] = Kind.INLINE

    variables: list[str] = Field(description="The names.")
    ignore_missing: bool = Field(default=False, description="Whether names that do not exist are passed over.")

    def run(self, context: InlineContext) -> None:
        """Remove the names from the execution's variables."""
        missing = [name for name in self.variables if name not in context.variables]
        if missing and not self.ignore_missing:
            names = ", ".join(f"`{name}`" for name in missing)
            raise TaskFailure(f"The variables {names} do not exist and ignoreMissing is false")
        context.set_variables({}, unset=self.variables)


class Exit(RunnableTask):
    """End the execution, in the state given; the task ends in it too.

    With KILLED, tasks that still run are ended too; with any other state they run to their end.

        id: enough
        type: io.kestra.plugin.core.execution.Exit
        state: SUCCESS
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.Exit"
    KIND: ClassVar[Kind] = Kind.INLINE

    state: Literal["SUCCESS", "WARNING", "KILLED", "FAILED", "CANCELLED", "CANCELED"] = Field(
        "SUCCESS", description="The state to end in."
    )

    def run(self, context: InlineContext) -> None:
        """Ask for the end."""
        context.exit_execution(State.CANCELLED if self.state == "CANCELED" else State(self.state))
