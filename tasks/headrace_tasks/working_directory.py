"""What a WorkingDirectory does itself, before its tasks and after them, as two tasks that nobody writes into a flow.

Both run in the shared directory: the context's ``working_dir`` is that of the WorkingDirectory's task run, and its
task is the WorkingDirectory (the cache is kept under the task's name).
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import IsoDuration, Properties, RunContext, RunnableTask, TaskOutputs
from headrace_tasks.streams import copy
from headrace_tasks.task_files import (
    NamespaceFiles,
    collect_files,
    glob,
    inside,
    place_files,
    place_namespace_files,
    walk,
)


class Cache(Properties):
    """Files that the next execution finds in its working directory again."""

    patterns: list[str] = Field(min_length=1, description="Which files.")
    ttl: IsoDuration | None = Field(None, description="How old they may be; any age if left out.")


class PrepareWorkingDirectory(RunnableTask):
    """Fill the directory: cached files first, then namespace files, then inputFiles."""

    TYPE: ClassVar[str] = "io.headrace.workingdirectory.Prepare"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    INTERNAL: ClassVar[bool] = True

    input_files: dict[str, Any] = Field(default_factory=dict, description="Content or URI by file name.")
    namespace_files: NamespaceFiles | None = Field(None, description="Namespace files to put in place.")
    cache: Cache | None = Field(None, description="What to restore.")
    cache_key: str | None = Field(None, description="A text that differs for each value of a loop.")

    def run(self, context: RunContext) -> None:
        """Fill the directory."""
        if self.cache is not None:
            _restore(context, self.cache, self.cache_key)
        place_namespace_files(context, self.namespace_files)
        place_files(context, self.input_files)


class CollectOutputs(TaskOutputs):
    """What WorkingDirectory gives."""

    output_files: dict[str, str] | None = None


class CollectWorkingDirectory(RunnableTask):
    """Store what is to outlive the directory: outputFiles, and the cache."""

    TYPE: ClassVar[str] = "io.headrace.workingdirectory.Collect"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    INTERNAL: ClassVar[bool] = True
    Outputs: ClassVar[type[TaskOutputs]] = CollectOutputs

    output_files: list[str] | None = Field(None, description="Names or patterns of files to store.")
    cache: Cache | None = Field(None, description="What to keep for the next execution.")
    cache_key: str | None = Field(None, description="As for Prepare.")

    def run(self, context: RunContext) -> CollectOutputs:
        """Store the files."""
        stored = None if self.output_files is None else collect_files(context, self.output_files)
        if self.cache is not None:
            _save(context, self.cache, self.cache_key)
        return CollectOutputs(output_files=stored)


def _restore(context: RunContext, cache: Cache, key: str | None) -> None:
    stored = context.files.open_cache(key, cache.ttl)
    if stored is None:
        context.log.debug("There is no cache to restore")
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "cache.zip")
        with stored:
            copy(stored, archive)
        with zipfile.ZipFile(archive) as entries:
            for entry in entries.infolist():
                target = inside(context.working_dir, entry.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                with entries.open(entry) as content, target.open("wb") as output:
                    while chunk := content.read(256 * 1024):
                        output.write(chunk)
                target.chmod((entry.external_attr >> 16) & 0o777 or 0o644)
            context.log.debug(f"Restored {len(entries.infolist())} files from the cache")


def _save(context: RunContext, cache: Cache, key: str | None) -> None:
    patterns = [glob(pattern) for pattern in cache.patterns]
    root = context.working_dir
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "cache.zip")
        count = 0
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as entries:
            for path in walk(root):
                name = path.relative_to(root).as_posix()
                if any(pattern.fullmatch(name) for pattern in patterns):
                    entries.write(path, name)
                    count += 1
        if count:
            context.files.put_cache(archive, key)
            context.log.debug(f"Kept {count} files in the cache")
