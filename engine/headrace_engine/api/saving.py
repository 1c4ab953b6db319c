"""Flows on their way into the store: checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable

from headrace_engine.engine import Engine
from headrace_engine.language import FlowError, Problem, parse_flow
from headrace_engine.language.source import split
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.ports import FlowSource, PortError


class Saving:
    """Saves and deletes flows, and sees to what depends on that."""

    def __init__(self, engine: Engine, settle_slots: Callable[[str, str], None]) -> None:
        """*settle_slots* gives out the slots that another concurrency limit leaves free."""
        self._engine = engine
        self._settle_slots = settle_slots

    def parsed(self, source: str, *, lines_before: int = 0) -> FlowDefinition:
        """Return the one flow of *source*, which stands after so many lines. Raises FlowError."""
        engine = self._engine
        text = "\n" * lines_before + source
        return parse_flow(text, registry=engine.registry, plugin_defaults=engine.settings.plugin_defaults)

    def parsed_all(self, source: str) -> list[tuple[FlowDefinition, str]]:
        """Return the flows of *source*, one a document, each with its own text.

        Raises FlowError with all that is wrong with any of them, a flow that is there twice included.
        """
        found: dict[tuple[str, str], tuple[FlowDefinition, str]] = {}
        problems: list[Problem] = []
        for before, text in split(source):
            try:
                definition = self.parsed(text, lines_before=before)
            except FlowError as error:
                problems += error.problems
                continue
            name = (definition.namespace, definition.id)
            if name in found:
                message = f"The flow `{definition.id}` of the namespace `{definition.namespace}` is here a second time."
                problems.append(Problem("id", message, before + 1, 1))
            found[name] = (definition, text)
        if problems:
            raise FlowError(problems)
        return list(found.values())

    def save(self, source: str) -> FlowSource:
        """Store a flow as its next revision, if it is another. Raises FlowError."""
        definition = self._engine.save_flow(source)
        self._settle_slots(definition.namespace, definition.id)  # its concurrency limit may be another
        stored = self._engine.stores.flows.get(definition.namespace, definition.id, definition.revision)
        if stored is None:
            raise PortError(f"The flow {definition.namespace}.{definition.id} is not there after it was saved")
        return stored

    def settle(self, namespace: str, flow_id: str) -> None:
        """Give out the free slots of a flow's concurrency limit."""
        self._settle_slots(namespace, flow_id)

    def delete(self, namespace: str, flow_id: str) -> bool:
        """Mark a flow deleted; False when there was nothing to delete."""
        return self._engine.delete_flow(namespace, flow_id)
