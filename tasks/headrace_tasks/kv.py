"""io.kestra.plugin.core.kv: the key-value store."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import IsoDuration, Rendering, RunContext, RunnableTask, TaskFailure, TaskOutputs

_NAMESPACE = "The namespace; the flow's own if left out."


class Set(RunnableTask):
    """Store a value under a key.

    id: remember
    type: io.kestra.plugin.core.kv.Set
    key: last_order
    value: "{{ outputs.query.row.id }}"
    ttl: P30D
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.kv.Set"
    KIND: ClassVar[Kind] = Kind.LIGHT

    key: str = Field(description="The key: letters, digits, `.`, `_` and `-`.")
    value: Annotated[Any, Rendering.TYPED] = Field(
        description="The value. A lone expression keeps its type; maps and lists are stored as JSON."
    )
    namespace: str | None = Field(None, description=_NAMESPACE)
    overwrite: bool = Field(
        default=True, description="Whether a value that is there may be replaced; if not, the task fails."
    )
    ttl: IsoDuration | None = Field(None, description="How long the value is kept; for ever if left out.")
    kv_type: Literal["STRING", "NUMBER", "BOOLEAN", "DATETIME", "DATE", "DURATION", "JSON"] | None = Field(
        None, description="How the value is read; by what it is if left out."
    )
    kv_description: str | None = Field(None, description="A note for people.")

    def run(self, context: RunContext) -> None:
        """Store the value."""
        try:
            context.kv(self.namespace).set(
                self.key, self.value, kind=self.kv_type, ttl=self.ttl, overwrite=self.overwrite
            )
        except KeyError:
            raise TaskFailure(
                f"Cannot set value for key '{self.key}'. Key already exists and `overwrite` is set to `false`."
            ) from None


class GetOutputs(TaskOutputs):
    """What Get gives."""

    value: Any = None


class Get(RunnableTask):
    """Read the value of a key.

    In the flow's own namespace a key that is not there is looked for in the namespaces above it too.

        id: recall
        type: io.kestra.plugin.core.kv.Get
        key: last_order
        errorOnMissing: true
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.kv.Get"
    KIND: ClassVar[Kind] = Kind.LIGHT
    Outputs: ClassVar[type[TaskOutputs]] = GetOutputs

    key: str = Field(description="The key.")
    namespace: str | None = Field(None, description=_NAMESPACE)
    error_on_missing: bool = Field(default=False, description="Whether to fail when there is no value.")

    def run(self, context: RunContext) -> GetOutputs:
        """Return the value, or none."""
        namespace = self.namespace or context.namespace
        candidates = [namespace]
        if namespace == context.namespace:
            parts = namespace.split(".")
            candidates += [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
        for candidate in candidates:
            try:
                return GetOutputs(value=context.kv(candidate).get(self.key))
            except KeyError:
                continue
        if self.error_on_missing:
            raise TaskFailure(f"No value found for key '{self.key}' in namespace '{namespace}'")
        return GetOutputs()


class GetKeysOutputs(TaskOutputs):
    """What GetKeys gives."""

    keys: list[str]


class GetKeys(RunnableTask):
    """List the keys of a namespace, sorted.

    id: orders
    type: io.kestra.plugin.core.kv.GetKeys
    prefix: order_
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.kv.GetKeys"
    KIND: ClassVar[Kind] = Kind.LIGHT
    Outputs: ClassVar[type[TaskOutputs]] = GetKeysOutputs

    prefix: str = Field("", description="Only keys that begin so.")
    namespace: str | None = Field(None, description=_NAMESPACE)

    def run(self, context: RunContext) -> GetKeysOutputs:
        """Return the keys."""
        return GetKeysOutputs(keys=context.kv(self.namespace).keys(self.prefix))


class DeleteOutputs(TaskOutputs):
    """What Delete gives."""

    deleted: bool


class Delete(RunnableTask):
    """Remove a key and its value.

    id: forget
    type: io.kestra.plugin.core.kv.Delete
    key: last_order
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.kv.Delete"
    KIND: ClassVar[Kind] = Kind.LIGHT
    Outputs: ClassVar[type[TaskOutputs]] = DeleteOutputs

    key: str = Field(description="The key.")
    namespace: str | None = Field(None, description=_NAMESPACE)
    error_on_missing: bool = Field(default=False, description="Whether to fail when there is no value.")

    def run(self, context: RunContext) -> DeleteOutputs:
        """Remove the key and tell whether it was there."""
        deleted = context.kv(self.namespace).delete(self.key)
        if not deleted and self.error_on_missing:
            namespace = self.namespace or context.namespace
            raise TaskFailure(f"No value found for key '{self.key}' in namespace '{namespace}'")
        return DeleteOutputs(deleted=deleted)
