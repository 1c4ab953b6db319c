"""io.kestra.plugin.core.storage: files of internal storage, whole.

The tasks that look at the items inside a file are in storage_items. None of them holds a whole file in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, cast

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_tasks.splitting import byte_size, cut, deal, lines_of
from headrace_tasks.streams import IterableReader, chunks, copy, items_backwards
from headrace_tasks.task_files import collect_files, place_files


class UriOutputs(TaskOutputs):
    """A stored file."""

    uri: str


class UrisOutputs(TaskOutputs):
    """Stored files, in order."""

    uris: list[str]


class Concat(RunnableTask):
    """Write several files one after the other into a new one.

    id: all
    type: io.kestra.plugin.core.storage.Concat
    files:
      - "{{ outputs.first.uri }}"
      - "{{ outputs.second.uri }}"
    separator: "\\n"
    extension: .csv
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.Concat"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Concat",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = UriOutputs

    files: list[str] = Field(description="URIs of stored files, as a list or as JSON of one.")
    separator: str | None = Field(None, description="A text to put between the files.")
    extension: str = Field(".tmp", description="What the name of the new file ends with.")

    def run(self, context: RunContext) -> UriOutputs:
        """Stream the files into the new one."""
        content = cast("BinaryIO", IterableReader(self._pieces(context)))
        return UriOutputs(uri=context.files.put(f"concat{self.extension}", content))

    def _pieces(self, context: RunContext) -> Iterator[bytes]:
        for index, uri in enumerate(self.files):
            if index and self.separator:
                yield self.separator.encode()
            with context.files.open(uri) as stream:
                yield from chunks(stream)


class Split(RunnableTask):
    """Cut a file into smaller ones, between its lines (or what ``separator`` says).

    Give one of ``bytes`` (a part is closed before it would grow larger), ``partitions`` (so many parts, the lines dealt
    out in turn) and ``rows`` (so many lines a part). Every line of a part ends with the separator.

        id: batches
        type: io.kestra.plugin.core.storage.Split
        from: "{{ outputs.query.uri }}"
        rows: 1000
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.Split"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Split",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = UrisOutputs

    from_: str = Field(alias="from", description="URI of a stored file.")
    bytes: str | None = Field(None, description="The size of a part: `500`, `10KB`, `100MB`, `1GB`.")
    partitions: int | None = Field(None, gt=0, description="The number of parts.")
    rows: int | None = Field(None, gt=0, description="The number of lines a part.")
    separator: str = Field("\n", min_length=1, description="What ends a line.")

    def run(self, context: RunContext) -> UrisOutputs:
        """Write the parts."""
        if self.bytes is None and self.partitions is None and self.rows is None:
            raise TaskFailure("One of `bytes`, `partitions` and `rows` is required")
        suffix = re.search(r"\.[\w]+$", self.from_)
        name = f"split{suffix.group() if suffix else '.tmp'}"
        with context.files.open(self.from_) as stream:
            lines = lines_of(stream, self.separator)
            if self.bytes is None and self.partitions is not None:
                return UrisOutputs(uris=list(deal(context, lines, self.partitions, lambda _: name)))
            limit = byte_size(self.bytes) if self.bytes is not None else None
            return UrisOutputs(uris=list(cut(context, lines, lambda _: name, rows=self.rows, limit=limit)))


class SizeOutputs(TaskOutputs):
    """What Size gives."""

    size: int


class Size(RunnableTask):
    """Return the size of a stored file in bytes.

    id: size
    type: io.kestra.plugin.core.storage.Size
    uri: "{{ outputs.download.uri }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.Size"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Size",)
    KIND: ClassVar[Kind] = Kind.LIGHT
    Outputs: ClassVar[type[TaskOutputs]] = SizeOutputs

    uri: str = Field(description="URI of a stored file.")

    def run(self, context: RunContext) -> SizeOutputs:
        """Look the size up."""
        return SizeOutputs(size=context.files.size(self.uri))


class DeleteOutputs(TaskOutputs):
    """What Delete gives."""

    uri: str
    deleted: bool


class Delete(RunnableTask):
    """Remove a stored file of this execution, or a namespace file.

    id: tidy
    type: io.kestra.plugin.core.storage.Delete
    uri: "{{ outputs.download.uri }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.Delete"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Delete",)
    KIND: ClassVar[Kind] = Kind.LIGHT
    Outputs: ClassVar[type[TaskOutputs]] = DeleteOutputs

    uri: str = Field(description="URI of a stored file.")
    error_on_missing: bool = Field(default=False, description="Whether to fail when there is no such file.")

    def run(self, context: RunContext) -> DeleteOutputs:
        """Remove the file and tell whether it was there."""
        deleted = context.files.delete(self.uri)
        if not deleted and self.error_on_missing:
            raise TaskFailure(f"Unable to find file '{self.uri}'")
        return DeleteOutputs(uri=self.uri, deleted=deleted)


class Reverse(RunnableTask):
    """Write the lines of a file into a new one, the last line first.

    id: newest_first
    type: io.kestra.plugin.core.storage.Reverse
    from: "{{ outputs.query.uri }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.Reverse"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Reverse",)
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = UriOutputs

    from_: str = Field(alias="from", description="URI of a stored file.")
    separator: str = Field("\n", min_length=1, description="What ends a line.")
    charset: str = Field("UTF-8", description="The encoding of the file, in which the separator is looked for.")

    def run(self, context: RunContext) -> UriOutputs:
        """Copy the file to disk and read it from its end."""
        try:
            separator = self.separator.encode(self.charset)
        except LookupError:
            raise TaskFailure(f"`{self.charset}` is not a known charset") from None
        spool = context.working_dir / ".headrace-reverse"
        with context.files.open(self.from_) as stream:
            copy(stream, spool)
        lines = (item + separator for item in items_backwards(spool, separator))
        suffix = re.search(r"\.[\w]+$", self.from_)
        name = f"reverse{suffix.group() if suffix else '.tmp'}"
        return UriOutputs(uri=context.files.put(name, cast("BinaryIO", IterableReader(lines))))


class PurgeCurrentExecutionFiles(RunnableTask):
    """Remove all stored files of this execution: inputs and what its tasks stored so far.

    id: tidy
    type: io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles"
    ALIASES: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.tasks.storages.PurgeExecution",
        "io.kestra.plugin.core.storage.PurgeExecution",
        "io.kestra.plugin.core.storage.PurgeExecutionFiles",
    )
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = UrisOutputs

    def run(self, context: RunContext) -> UrisOutputs:
        """Remove the files and return their URIs."""
        return UrisOutputs(uris=context.files.purge_execution())


class Write(RunnableTask):
    """Store a text as a file.

    id: report
    type: io.kestra.plugin.core.storage.Write
    content: "{{ outputs.rows.values }}"
    extension: .json
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.Write"
    KIND: ClassVar[Kind] = Kind.LIGHT
    Outputs: ClassVar[type[TaskOutputs]] = UriOutputs

    content: str = Field(description="The text.")
    extension: str | None = Field(None, description="What the name of the file ends with.")

    def run(self, context: RunContext) -> UriOutputs:
        """Store the text."""
        extension = self.extension or ".tmp"
        dot = "" if extension.startswith(".") else "."
        return UriOutputs(uri=context.files.put(f"write{dot}{extension}", self.content.encode()))


class LocalFilesOutputs(TaskOutputs):
    """What LocalFiles gives."""

    uris: dict[str, str]


class LocalFiles(RunnableTask):
    """Put files into the working directory, store files from it. Deprecated: use ``inputFiles`` and ``outputFiles``.

    id: export
    type: io.kestra.plugin.core.storage.LocalFiles
    outputs:
      - "*.csv"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.storage.LocalFiles"
    ALIASES: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.tasks.storages.LocalFiles",
        "io.kestra.plugin.core.flow.LocalFiles",
    )
    DEPRECATED: ClassVar[str | None] = "inputFiles and outputFiles of the task or of WorkingDirectory"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = LocalFilesOutputs

    inputs: dict[str, Any] | None = Field(None, description="Content or URI by file name, or JSON of that.")
    outputs: list[str] = Field(default_factory=list, description="Patterns of the files to store.")

    def run(self, context: RunContext) -> LocalFilesOutputs:
        """Place the inputs, then store the outputs."""
        place_files(context, self.inputs or {})
        return LocalFilesOutputs(uris=collect_files(context, self.outputs))
