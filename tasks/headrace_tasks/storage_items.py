"""io.kestra.plugin.core.storage: the items (lines) of a file, looked at one by one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, cast

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import Rendering, RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_tasks.streams import IterableReader, items
from headrace_tasks.truth import is_truthy


class DeduplicateItemsOutputs(TaskOutputs):
    """What DeduplicateItems gives."""

    uri: str
    num_keys: int
    processed_items_total: int
    dropped_items_total: int


class DeduplicateItems(RunnableTask):
    """Keep only the last item of every key.

    Items are the lines of the file, each an Amazon Ion or JSON value; in ``expr`` the fields of an item are
    variables. The file is read twice; what stays in memory is sixteen bytes a key.

        id: latest
        type: io.kestra.plugin.core.storage.DeduplicateItems
        from: "{{ outputs.query.uri }}"
        expr: "{{ customer_id }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.DeduplicateItems"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.DeduplicateItems",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = DeduplicateItemsOutputs

    from_: str = Field(alias="from", description="URI of a stored file.")
    expr: Annotated[str, Rendering.BY_TASK] = Field(description="The expression that gives an item's key.")

    def run(self, context: RunContext) -> DeduplicateItemsOutputs:
        """Find the last item of every key, then write those."""
        last: dict[bytes, int] = {}
        total = 0
        for total, (_, item) in enumerate(_items(context, self.from_), 1):
            key = context.render(self.expr, _variables(item))
            last[hashlib.blake2b(key.encode(), digest_size=16).digest()] = total
        kept = set(last.values())

        def lines() -> Iterator[bytes]:
            for number, (line, _) in enumerate(_items(context, self.from_, parse=False), 1):
                if number in kept:
                    yield line + b"\n"

        uri = context.files.put("deduplicated.ion", cast("BinaryIO", IterableReader(lines())))
        context.counter("numKeys", len(last))
        context.counter("processedItemsTotal", total)
        context.counter("droppedItemsTotal", total - len(last))
        return DeduplicateItemsOutputs(
            uri=uri, num_keys=len(last), processed_items_total=total, dropped_items_total=total - len(last)
        )


class FilterItemsOutputs(TaskOutputs):
    """What FilterItems gives."""

    uri: str
    processed_items_total: int
    dropped_items_total: int


_OnError = Literal["FAIL", "INCLUDE", "EXCLUDE"]


class FilterItems(RunnableTask):
    """Keep the items for which a condition holds, or drop them.

    Items are the lines of the file, each an Amazon Ion or JSON value; in ``filterCondition`` the fields of an item are
    variables. A result of nothing, ``false``, ``0`` or ``-0`` is false.

        id: paid
        type: io.kestra.plugin.core.storage.FilterItems
        from: "{{ outputs.query.uri }}"
        filterCondition: "{{ amount > 0 }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.FilterItems"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.FilterItems",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = FilterItemsOutputs

    from_: str = Field(alias="from", description="URI of a stored file.")
    filter_condition: Annotated[str, Rendering.BY_TASK] = Field(description="The condition, an expression.")
    filter_type: Literal["INCLUDE", "EXCLUDE"] = Field("INCLUDE", description="What happens to items that match.")
    error_or_null_behavior: _OnError = Field(
        "FAIL", description="What happens to an item for which the condition fails or is null."
    )

    def run(self, context: RunContext) -> FilterItemsOutputs:
        """Write the items that stay."""
        processed = dropped = 0

        def lines() -> Iterator[bytes]:
            nonlocal processed, dropped
            for line, item in _items(context, self.from_):
                processed += 1
                if self._stays(context.render, item):
                    yield line + b"\n"
                else:
                    dropped += 1

        uri = context.files.put("filtered.ion", cast("BinaryIO", IterableReader(lines())))
        context.counter("processedItemsTotal", processed)
        context.counter("droppedItemsTotal", dropped)
        return FilterItemsOutputs(uri=uri, processed_items_total=processed, dropped_items_total=dropped)

    def _stays(self, render: Callable[[str, Mapping[str, Any]], str], item: Any) -> bool:
        variables = _variables(item)
        try:
            text = render(self.filter_condition, variables)
            if text.strip() == "" and self._is_null(render, variables):
                raise ValueError("it is null")
        except Exception as problem:
            if self.error_or_null_behavior == "FAIL":
                raise TaskFailure(f"The condition could not be evaluated for the item `{item}`: {problem}") from problem
            return self.error_or_null_behavior == "INCLUDE"
        return is_truthy(text) == (self.filter_type == "INCLUDE")

    def _is_null(self, render: Callable[[str, Mapping[str, Any]], str], variables: Mapping[str, Any]) -> bool:
        expression = self.filter_condition.strip()
        if not (expression.startswith("{{") and expression.endswith("}}")) or "{{" in expression[2:]:
            return False
        return render(f"{{{{ ({expression[2:-2]}) == null }}}}", variables) == "true"


def _items(context: RunContext, uri: str, *, parse: bool = True) -> Iterator[tuple[bytes, Any]]:
    with context.files.open(uri) as stream:
        for line in items(stream, b"\n"):
            if line.strip():
                yield line, _value(line) if parse else None


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        from amazon.ion import simpleion  # noqa: PLC0415 - slow to import, and most files hold JSON

        try:
            return simpleion.loads(line, single_value=True)
        except Exception as problem:
            raise TaskFailure(f"The item `{line.decode(errors='replace')}` is neither JSON nor Amazon Ion") from problem


def _variables(item: Any) -> Mapping[str, Any]:
    return item if isinstance(item, Mapping) else {"value": item}
