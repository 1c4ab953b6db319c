"""io.kestra.plugin.core.execution: tasks that deal with other executions."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import Properties, Rendering, RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_tasks.instants import Instant
from headrace_tasks.truth import is_truthy


class FlowName(Properties):
    """A flow whose executions are counted."""

    namespace: str
    flow_id: str


class CountOfFlow(TaskOutputs):
    """How many executions one flow has."""

    namespace: str
    flow_id: str
    count: int


class CountOutputs(TaskOutputs):
    """What Count gives."""

    results: list[CountOfFlow] | None = None
    total: int


class Count(RunnableTask):
    """Count executions of flows, or of namespaces and all below them.

    With ``expression``, only those flows are in the results for which it is true; it sees ``count``.

        id: quiet
        type: io.kestra.plugin.core.execution.Count
        flows:
          - namespace: company.team
            flowId: nightly
        states: [SUCCESS]
        startDate: "{{ now() | dateAdd(-1, 'DAYS') }}"
        expression: "{{ count == 0 }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.Count"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.executions.Counts",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = CountOutputs

    flows: list[FlowName] | None = Field(None, description="The flows.")
    namespaces: list[str] | None = Field(None, description="The namespaces; each counts with all below it.")
    states: list[State] = Field(default_factory=list, description="The states that count; all if left out.")
    start_date: Instant = Field(description="Executions that began before do not count.")
    end_date: Instant | None = Field(None, description="Executions that began after do not count.")
    expression: Annotated[str, Rendering.BY_TASK] | None = Field(
        None, description="Keeps the flows for which it is true."
    )

    def run(self, context: RunContext) -> CountOutputs:
        """Count."""
        if not self.flows and not self.namespaces:
            raise TaskFailure("One of `flows` and `namespaces` is required")
        results = []
        for flow in self.flows or ():
            count = self._count(context, flow.namespace, flow.flow_id)
            found = CountOfFlow(namespace=flow.namespace, flow_id=flow.flow_id, count=count)
            variables = {"namespace": flow.namespace, "flowId": flow.flow_id, "count": count}
            if self.expression is None or is_truthy(context.render(self.expression, variables)):
                results.append(found)
        total = sum(result.count for result in results)
        total += sum(self._count(context, namespace, None) for namespace in self.namespaces or ())
        context.counter("total", total)
        return CountOutputs(results=results if self.flows else None, total=total)

    def _count(self, context: RunContext, namespace: str, flow_id: str | None) -> int:
        found = context.platform.executions(
            namespace=namespace, flow_id=flow_id, states=self.states, start=self.start_date, end=self.end_date
        )
        return sum(flow_id is None or execution.namespace == namespace for execution in found)


class Resume(RunnableTask):
    """Resume a paused execution; the one that triggered this flow if none is named.

    id: go_on
    type: io.kestra.plugin.core.execution.Resume
    executionId: "{{ trigger.executionId }}"
    inputs:
      approved: true
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.Resume"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.executions.Resume",)
    KIND: ClassVar[Kind] = Kind.LIGHT
    RENDERS: ClassVar[tuple[str, ...]] = ("trigger",)

    execution_id: str | None = Field(None, description="The execution.")
    namespace: str | None = Field(None, description="Its namespace; it is found without.")
    flow_id: str | None = Field(None, description="Its flow; it is found without.")
    inputs: dict[str, Any] = Field(default_factory=dict, description="What its Pause asks for (`onResume`).")

    def run(self, context: RunContext) -> None:
        """Send the message."""
        execution_id = self.execution_id or context.render("{{ trigger.executionId ?? '' }}", {})
        if not execution_id:
            raise TaskFailure("The `executionId` is required: this execution was not triggered by another one")
        context.platform.resume(execution_id, self.inputs, again=context.repeats)


class Kill(RunnableTask):
    """Kill an execution, and those that it has started.

    id: stop
    type: io.kestra.plugin.core.execution.Kill
    executionId: "{{ inputs.executionId }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.Kill"
    KIND: ClassVar[Kind] = Kind.LIGHT

    execution_id: str = Field(min_length=1, description="The execution.")
    propagate_kill: bool = Field(default=True, description="Whether the executions it has started are killed, too.")

    def run(self, context: RunContext) -> None:
        """Send the message."""
        context.platform.kill(self.execution_id, cascade=self.propagate_kill, again=context.repeats)


class PurgeOutputs(TaskOutputs):
    """What PurgeExecutions gives."""

    executions_count: int
    logs_count: int
    metrics_count: int
    storages_count: int


class PurgeExecutions(RunnableTask):
    """Remove executions that have ended, and what they left. Executions that go on are passed over.

    id: tidy
    type: io.kestra.plugin.core.execution.PurgeExecutions
    namespace: company.team
    endDate: "{{ now() | dateAdd(-30, 'DAYS') }}"
    states: [SUCCESS, KILLED]
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.execution.PurgeExecutions"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.core.storage.Purge", "io.kestra.core.tasks.storages.Purge")
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = PurgeOutputs

    namespace: str | None = Field(None, description="The namespace, with all below it; every one if left out.")
    flow_id: str | None = Field(None, description="The flow.")
    start_date: Instant | None = Field(None, description="Executions that began before stay.")
    end_date: Instant = Field(description="Executions that began after stay.")
    states: list[State] = Field(default_factory=list, description="The states; any end if left out.")
    purge_execution: bool = Field(default=True, description="Whether the executions themselves go.")
    purge_log: bool = Field(default=True, description="Whether their logs go.")
    purge_metric: bool = Field(default=True, description="Whether their metrics go.")
    purge_storage: bool = Field(default=True, description="Whether their files go.")

    def run(self, context: RunContext) -> PurgeOutputs:
        """Find all first: what is removed would move the pages of the search."""
        found = context.platform.executions(
            namespace=self.namespace,
            flow_id=self.flow_id,
            states=self.states,
            start=self.start_date,
            end=self.end_date,
        )
        executions = logs = metrics = files = 0
        for execution_id in [execution.id for execution in found if execution.is_over]:
            purged = context.platform.purge(
                execution_id,
                execution=self.purge_execution,
                logs=self.purge_log,
                metrics=self.purge_metric,
                storage=self.purge_storage,
            )
            if purged is not None:
                executions += self.purge_execution
                logs, metrics, files = logs + purged.logs, metrics + purged.metrics, files + purged.files
        return PurgeOutputs(executions_count=executions, logs_count=logs, metrics_count=metrics, storages_count=files)
