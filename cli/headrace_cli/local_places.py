"""What a machine of one's own refuses because only a stack on AWS could run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace_engine.language import Registry
from headrace_engine.model.definition import TaskDefinition
from headrace_engine.plugin import TaskFailure
from headrace_runners.contract import RunnerProperties
from headrace_runners.refusals import Refuses


@dataclass(frozen=True, slots=True)
class LocalPlaces(Refuses):
    """Where tasks run here: as processes, and in Docker."""

    registry: Registry

    def refusal(self, task: TaskDefinition, _namespace: str) -> str:
        """See `Refuses.refusal`: a task runner of AWS has no place here."""
        given = task.properties.get("taskRunner")
        named = given.get("type") if isinstance(given, Mapping) else None
        found = self.registry.runner(named) if isinstance(named, str) else None
        if found is None or not issubclass(found, RunnerProperties) or not found.IN_THE_CLOUD:
            return ""
        try:
            found.model_validate({"type": named}).runner()
        except TaskFailure as failure:
            return str(failure)
        return ""
