"""Where each attempt runs in this stack, and what is refused because it could run nowhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from headrace_engine.adapters.aws.dispatch import Route
from headrace_engine.adapters.aws.task_roles import role_named
from headrace_engine.language import Registry
from headrace_engine.model.definition import TaskDefinition
from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import RunnableTask, parse_duration
from headrace_engine.ports import Job, PortError
from headrace_functions.environment import Environment
from headrace_runners.namespace_rules import NamespaceRules
from headrace_runners.placing import Placeable, Placement, Size, Sketch, Stack, place
from headrace_runners.refusals import Refuses

PURGE_EXECUTIONS = "io.kestra.plugin.core.execution.PurgeExecutions"


@dataclass(frozen=True, slots=True)
class Places(Refuses):
    """What the stack of *environment* has to run attempts with."""

    environment: Environment
    registry: Registry
    rules: NamespaceRules
    stack: Stack

    @classmethod
    def of(cls, environment: Environment, registry: Registry) -> Places:
        """Read what the environment says. Raises PortError when it cannot be read."""
        rules = NamespaceRules.from_text(environment.namespaces)
        memory = _memory(environment.script_memory)
        stack = Stack(
            memory=memory,
            is_isolated=rules.is_isolated,
            containers=bool(environment.containers),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",  # all functions have the same
            region=environment.variables.get("AWS_REGION", ""),
        )
        return cls(environment, registry, rules, stack)

    def place(self, wanted: Placeable) -> Placement:
        """Return where something that runs people's code runs."""
        return place(wanted, self.stack)

    def route(self, job: Job) -> Route:
        """Return where a job runs."""
        environment = self.environment
        task = self.registry.task(job.type)
        if task is None or not issubclass(task, RunnableTask) or not task.RUNS_CODE:
            purges = task is not None and task.TYPE == PURGE_EXECUTIONS
            return Route(environment.purger_function if purges else environment.worker_function)
        placed = self.place(job)
        described = placed.described(self.stack)
        if placed.refusal:  # its properties said so only when they were rendered
            return Route(environment.script_function, is_script=True, placement=described, refusal=placed.refusal)
        if placed.where != "lambda":
            return Route(container=placed.where, placement=described)
        has_role = bool(role_named(job.properties) or self.rules.task_role(job.namespace))
        function = self._functions[placed.size or Size.SMALL]
        return Route(function, is_script=True, placement=described, has_role=has_role)

    @property
    def _functions(self) -> Mapping[Size, str]:
        environment = self.environment
        return {
            Size.SMALL: environment.script_function,
            Size.MEDIUM: environment.script_function_medium,
            Size.LARGE: environment.script_function_large,
        }

    def refusal(self, task: TaskDefinition, namespace: str) -> str:
        """See `Refuses.refusal`: a script may have no place in this stack, or ask of it what it does not do."""
        known = self.registry.task(task.type)
        if known is None or not issubclass(known, RunnableTask) or not known.RUNS_CODE:
            return ""
        wanted = Sketch(task.type, namespace, task.properties, _duration(task.timeout))
        placed = self.place(wanted)
        if placed.refusal or placed.where == "lambda":
            return placed.refusal
        from headrace_runners.containers.asking import misfit  # noqa: PLC0415 - most flows need no container
        from headrace_runners.containers.settings import ContainerSettings  # noqa: PLC0415  # as above

        settings = ContainerSettings.of(self.environment.containers)
        return misfit(wanted, placed.where, settings, self.stack.region, self.rules)


def _duration(text: str | None) -> timedelta | None:
    """Return the length a text states; None for an expression, whose length is known when it is rendered."""
    try:
        return parse_duration(text) if text is not None else None
    except ValueError:
        return None


def _memory(text: str) -> Mapping[Size, int]:
    if not text:
        return Stack().memory
    try:
        return msgspec.json.decode(text, type=dict[Size, int])
    except msgspec.DecodeError as error:
        raise PortError(f"The sizes of the script functions cannot be read: {error}") from None
