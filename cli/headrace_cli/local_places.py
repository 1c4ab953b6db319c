"""What a machine of one's own refuses because only a stack on AWS could run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace_engine.engine import UnsupportedError, refuse_unsupported
from headrace_engine.language import Registry
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.plugin import TaskFailure
from headrace_runners.contract import RunnerProperties


@dataclass(frozen=True, slots=True)
class LocalPlaces:
    """Where tasks run here: as processes, and in Docker."""

    registry: Registry

    def refuse(self, definition: FlowDefinition) -> None:
        """Raise UnsupportedError for what cannot run here, with what to do about it."""
        refuse_unsupported(definition)
        self.refuse_places(definition)

    def refuse_places(self, definition: FlowDefinition) -> None:
        """Raise UnsupportedError for a task whose task runner is one of AWS."""
        if not definition.disabled and (reasons := list(self._refusals(definition))):
            raise UnsupportedError("\n".join(reasons))

    def _refusals(self, definition: FlowDefinition) -> Iterator[str]:
        for task in definition.walk():
            given = task.properties.get("taskRunner")
            named = given.get("type") if isinstance(given, Mapping) else None
            found = self.registry.runner(named) if isinstance(named, str) else None
            if task.disabled or found is None or not issubclass(found, RunnerProperties) or not found.IN_THE_CLOUD:
                continue
            try:
                found.model_validate({"type": named}).runner()
            except TaskFailure as failure:
                yield f"task `{task.id}`: {failure}"
