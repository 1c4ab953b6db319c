"""io.kestra.plugin.core.state: small values a flow keeps from one execution to the next. Deprecated: use the KV store.

A state is one key of the KV store, ``<flow>_tasks-states_<name>``, with a hash of ``taskrun.value`` when it is kept per
iteration, without the flow when it is shared in the namespace.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure, TaskOutputs

_VALUE = "{{ taskrun.value ?? '' }}"


class _StateTask(RunnableTask):
    """The properties that say which state is meant."""

    KIND: ClassVar[Kind] = Kind.LIGHT
    RENDERS: ClassVar[tuple[str, ...]] = ("taskrun",)

    name: str = Field("default", description="The name of the state.")
    namespace: bool = Field(default=False, description="Whether all flows of the namespace share the state.")
    taskrun_value: bool = Field(default=True, description="Whether each value of a loop has a state of its own.")

    def key(self, context: RunContext) -> str:
        """Return the key in the KV store."""
        key = f"tasks-states_{self.name}" if self.namespace else f"{context.flow_id}_tasks-states_{self.name}"
        value = context.render(_VALUE, {}) if self.taskrun_value else ""
        return f"{key}_{hashlib.sha256(value.encode()).hexdigest()[:16]}" if value else key

    def read(self, context: RunContext, *, error_on_missing: bool) -> dict[str, Any]:
        """Return the data; {} when there is none."""
        try:
            data = context.kv().get(self.key(context))
        except KeyError:
            if error_on_missing:
                raise TaskFailure(f"State '{self.name}' does not exist") from None
            return {}
        return data if isinstance(data, dict) else {}


class SetOutputs(TaskOutputs):
    """What Set gives."""

    count: int
    key: str


class Set(_StateTask):
    """Merge values into a state.

    id: remember
    type: io.kestra.plugin.core.state.Set
    data:
      "{{ inputs.store }}": "{{ outputs.download.uri }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.state.Set"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.states.Set",)
    DEPRECATED: ClassVar[str | None] = "io.kestra.plugin.core.kv.Set"
    Outputs: ClassVar[type[TaskOutputs]] = SetOutputs

    data: dict[str, Any] = Field(default_factory=dict, description="The values by name.")

    def run(self, context: RunContext) -> SetOutputs:
        """Store the old values with the new ones over them."""
        data = {**self.read(context, error_on_missing=False), **self.data}
        key = self.key(context)
        context.kv().set(key, data, kind="JSON")
        return SetOutputs(count=len(data), key=key)


class GetOutputs(TaskOutputs):
    """What Get gives."""

    count: int
    data: dict[str, Any]


class Get(_StateTask):
    """Read a state.

    id: recall
    type: io.kestra.plugin.core.state.Get
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.state.Get"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.states.Get",)
    DEPRECATED: ClassVar[str | None] = "io.kestra.plugin.core.kv.Get"
    Outputs: ClassVar[type[TaskOutputs]] = GetOutputs

    error_on_missing: bool = Field(default=False, description="Whether to fail when there is no such state.")

    def run(self, context: RunContext) -> GetOutputs:
        """Return the values."""
        data = self.read(context, error_on_missing=self.error_on_missing)
        return GetOutputs(count=len(data), data=data)


class DeleteOutputs(TaskOutputs):
    """What Delete gives."""

    deleted: bool


class Delete(_StateTask):
    """Remove a state.

    id: forget
    type: io.kestra.plugin.core.state.Delete
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.state.Delete"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.states.Delete",)
    DEPRECATED: ClassVar[str | None] = "io.kestra.plugin.core.kv.Delete"
    Outputs: ClassVar[type[TaskOutputs]] = DeleteOutputs

    error_on_missing: bool = Field(default=False, description="Whether to fail when there is no such state.")

    def run(self, context: RunContext) -> DeleteOutputs:
        """Remove the state and tell whether it was there."""
        deleted = context.kv().delete(self.key(context))
        if not deleted and self.error_on_missing:
            raise TaskFailure(f"State '{self.name}' does not exist")
        return DeleteOutputs(deleted=deleted)
