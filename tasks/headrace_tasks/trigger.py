"""io.kestra.plugin.core.trigger: tasks that deal with triggers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask


class Toggle(RunnableTask):
    """Switch a trigger on or off. One that its flow itself says is ``disabled`` stays off.

    id: stop
    type: io.kestra.plugin.core.trigger.Toggle
    flowId: load
    trigger: after-extract
    enabled: false
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.trigger.Toggle"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.trigger.Toggle",)
    KIND: ClassVar[Kind] = Kind.LIGHT

    namespace: str | None = Field(None, description="The flow's namespace; this one's if left out.")
    flow_id: str | None = Field(None, description="The flow; this one if left out.")
    trigger: str = Field(description="The trigger's id.")
    enabled: bool = Field(default=False, description="Whether it is switched on.")

    def run(self, context: RunContext) -> None:
        """Switch it."""
        context.platform.switch_trigger(
            self.namespace or context.namespace, self.flow_id or context.flow_id, self.trigger, enabled=self.enabled
        )
