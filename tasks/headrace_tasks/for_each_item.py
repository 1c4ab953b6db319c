"""What a ForEachItem does itself, before its executions and after them, as two tasks that nobody writes into a flow."""

from __future__ import annotations

import re
from typing import BinaryIO, ClassVar, cast

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.parts import part_name
from headrace_engine.plugin import RunContext, RunnableTask, TaskOutputs
from headrace_tasks.splitting import Lines, byte_size, cut, deal, lines_of
from headrace_tasks.streams import IterableReader, chunks


class SplitOutputs(TaskOutputs):
    """What the first task gives."""

    splits: str


class SplitItems(RunnableTask):
    """Cut the file into parts and list their URIs in a file; never more than a line of either is in memory."""

    TYPE: ClassVar[str] = "io.headrace.foreachitem.Split"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    INTERNAL: ClassVar[bool] = True
    Outputs: ClassVar[type[TaskOutputs]] = SplitOutputs

    items: str = Field(min_length=1, description="URI of a stored file.")
    partitions: int | None = Field(None, gt=0, description="The number of parts.")
    rows: int | None = Field(None, gt=0, description="The number of lines a part; one if nothing else is said.")
    bytes: str | None = Field(None, description="The size of a part.")
    separator: str = Field("\n", min_length=1, description="What ends a line.")

    def run(self, context: RunContext) -> SplitOutputs:
        """Write the parts and their list."""
        suffix = re.search(r"\.[\w]+$", self.items)
        with context.files.open(self.items) as stream:
            listed = self._listed(context, stream, suffix)
            splits = context.files.put("splits.txt", cast("BinaryIO", IterableReader(listed)))
        return SplitOutputs(splits=splits)

    def _listed(self, context: RunContext, stream: BinaryIO, suffix: re.Match[str] | None) -> Lines:
        extension = suffix.group() if suffix else ".tmp"
        lines = lines_of(stream, self.separator)

        def name(index: int) -> str:
            return part_name(index, extension)

        if self.partitions is not None:
            parts = deal(context, lines, self.partitions, name)
        elif self.rows is not None or self.bytes is None:
            parts = cut(context, lines, name, rows=self.rows or 1)
        else:
            parts = cut(context, lines, name, limit=byte_size(self.bytes))
        for uri in parts:
            yield f"{uri}\n".encode()


class MergeOutputs(TaskOutputs):
    """What the last task gives."""

    subflow_outputs: str


class MergeItems(RunnableTask):
    """Write what the executions gave into one file, a line each, in the order of the parts."""

    TYPE: ClassVar[str] = "io.headrace.foreachitem.Merge"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    INTERNAL: ClassVar[bool] = True
    Outputs: ClassVar[type[TaskOutputs]] = MergeOutputs

    folder: str | None = Field(None, description="The URI of the folder with a file for each part.")
    total: int = Field(0, description="The number of parts.")

    def run(self, context: RunContext) -> MergeOutputs:
        """Write the file."""
        lines = cast("BinaryIO", IterableReader(self._outputs(context)))
        return MergeOutputs(subflow_outputs=context.files.put("subflow-outputs.ion", lines))

    def _outputs(self, context: RunContext) -> Lines:
        for index in range(self.total if self.folder is not None else 0):
            uri = f"{self.folder}/{index}.ion"
            if context.files.exists(uri):  # a flow without outputs leaves no file
                with context.files.open(uri) as stream:
                    yield from chunks(stream)
