"""io.kestra.plugin.core.namespace: the files of a namespace."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask, TaskFailure, TaskOutputs
from headrace_tasks.task_files import glob, walk


class FilesOutputs(TaskOutputs):
    """Files by their path in the namespace."""

    files: dict[str, str]


class UploadFiles(RunnableTask):
    """Store files in a namespace.

    ``files`` names files of the working directory, by pattern; ``filesMap`` gives stored files the path they get.

        id: publish
        type: io.kestra.plugin.core.namespace.UploadFiles
        namespace: "{{ flow.namespace }}"
        filesMap:
          reports/today.csv: "{{ outputs.report.uri }}"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.namespace.UploadFiles"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = FilesOutputs

    namespace: str = Field(description="The namespace.")
    files: str | list[str] = Field(default_factory=list, description="Patterns of files in the working directory.")
    files_map: dict[str, str] = Field(default_factory=dict, description="URIs of stored files, by path.")
    destination: str = Field("/", description="The folder of the namespace they are put into.")
    conflict: Literal["OVERWRITE", "ERROR", "SKIP"] = Field(
        "OVERWRITE", description="What happens when a file is there already."
    )

    def run(self, context: RunContext) -> FilesOutputs:
        """Store the files and return their URIs."""
        patterns = [glob(pattern) for pattern in ([self.files] if isinstance(self.files, str) else self.files)]
        if not patterns and not self.files_map:
            raise TaskFailure("One of `files` and `filesMap` is required")
        existing = set() if self.conflict == "OVERWRITE" else set(context.files.namespace_files(self.namespace))
        stored: dict[str, str] = {}
        if patterns:
            root = context.working_dir
            for path in walk(root):
                name = path.relative_to(root).as_posix()
                if any(pattern.fullmatch(name) for pattern in patterns) and self._wanted(context, name, existing):
                    target = self._path(name)
                    stored[target] = context.files.put_namespace_file(self.namespace, target, path)
        for name, uri in self.files_map.items():
            if self._wanted(context, name, existing):
                target = self._path(name)
                with context.files.open(uri) as stream:
                    stored[target] = context.files.put_namespace_file(self.namespace, target, stream)
        return FilesOutputs(files=stored)

    def _path(self, name: str) -> str:
        folder = self.destination.strip("/")
        return f"{folder}/{name.lstrip('/')}" if folder else name.lstrip("/")

    def _wanted(self, context: RunContext, name: str, existing: set[str]) -> bool:
        path = self._path(name)
        if path not in existing:
            return True
        if self.conflict == "ERROR":
            raise TaskFailure(f"The file '{path}' exists in the namespace '{self.namespace}' already")
        context.log.info(f"The file '{path}' exists in the namespace '{self.namespace}' already and was left as it is")
        return False


class DownloadFiles(RunnableTask):
    """Copy files of a namespace into this execution's storage.

    id: config
    type: io.kestra.plugin.core.namespace.DownloadFiles
    namespace: company.team
    files: ["**.yaml"]
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.namespace.DownloadFiles"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = FilesOutputs

    namespace: str = Field(description="The namespace.")
    files: str | list[str] = Field(description="Paths or patterns.")
    destination: str = Field("", description="A folder to put before the names in the outputs.")

    def run(self, context: RunContext) -> FilesOutputs:
        """Copy what matches and return the copies' URIs by path."""
        folder = self.destination.strip("/")
        stored: dict[str, str] = {}
        for path in _matching(context, self.namespace, self.files):
            with context.files.open(f"nsfile://{self.namespace}/{path}") as stream:
                uri = context.files.put(path.rpartition("/")[2], stream)
            stored[f"{folder}/{path}" if folder else path] = uri
        context.counter("downloaded", len(stored))
        return FilesOutputs(files=stored)


class DeleteFilesOutputs(FilesOutputs):
    """What DeleteFiles gives."""

    deleted: int


class DeleteFiles(RunnableTask):
    """Remove files of a namespace.

    id: tidy
    type: io.kestra.plugin.core.namespace.DeleteFiles
    namespace: company.team
    files: "reports/**"
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.namespace.DeleteFiles"
    KIND: ClassVar[Kind] = Kind.DISPATCHED
    Outputs: ClassVar[type[TaskOutputs]] = DeleteFilesOutputs

    namespace: str = Field(description="The namespace.")
    files: str | list[str] = Field(description="Paths or patterns.")
    delete_parent_folder: bool = Field(
        default=False, description="Without effect: a folder exists only as long as it has files."
    )

    def run(self, context: RunContext) -> DeleteFilesOutputs:
        """Remove what matches."""
        removed = {
            path: f"nsfile://{self.namespace}/{path}"
            for path in _matching(context, self.namespace, self.files)
            if context.files.delete_namespace_file(self.namespace, path)
        }
        context.counter("deleted", len(removed))
        return DeleteFilesOutputs(files=removed, deleted=len(removed))


def _matching(context: RunContext, namespace: str, files: str | list[str]) -> list[str]:
    patterns = [glob(pattern) for pattern in ([files] if isinstance(files, str) else files)]
    paths = context.files.namespace_files(namespace)
    return [path for path in paths if any(pattern.fullmatch(path) for pattern in patterns)]
