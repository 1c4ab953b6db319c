"""Files in and out of a task's working directory: inputFiles, namespaceFiles, outputFiles (reference §3.4, §13).

What Headrace itself puts into a working directory has a name that begins with OWN; patterns never match it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from headrace_engine.plugin import Properties, RunContext, TaskFailure
from headrace_runners.contract import IfExists, PlacedFile
from headrace_tasks.streams import copy

OWN = ".headrace"
_URI = re.compile(r"(kestra:///|nsfile://|file:///)\S+")


class NamespaceFiles(Properties):
    """Which namespace files are put into the working directory."""

    enabled: bool = Field(default=True, description="Whether they are.")
    namespaces: list[str] | None = Field(None, description="Of which namespaces; the flow's own if left out.")
    include: str | list[str] = Field(default_factory=list, description="Only files that match one of these patterns.")
    exclude: str | list[str] = Field(default_factory=list, description="No files that match one of these patterns.")
    if_exists: IfExists = Field("OVERWRITE", description="What happens when a file is there already.")
    folder_per_namespace: bool = Field(
        default=False, description="Whether the files of each namespace get a folder named after it."
    )


def planned_files(context: RunContext, files: Mapping[str, Any]) -> Iterator[PlacedFile]:
    """Yield *files*, contents or URIs by name, as files to be placed. Raises TaskFailure for names that lead out."""
    for name, content in files.items():
        if content is None:
            continue
        path = confined(name)
        if isinstance(content, str) and _URI.fullmatch(content.strip()):
            yield stored_file(context, path, content.strip())
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            yield PlacedFile(path, content=text.encode())


def planned_namespace_files(context: RunContext, wanted: NamespaceFiles | None) -> Iterator[PlacedFile]:
    """Yield the namespace files that *wanted* names as files to be placed."""
    if wanted is None or not wanted.enabled:
        return
    include = _patterns(wanted.include)
    exclude = _patterns(wanted.exclude)
    for namespace in wanted.namespaces or [context.namespace]:
        for path in context.files.namespace_files(namespace):
            if (include and not _matches_any(include, path)) or _matches_any(exclude, path):
                continue
            target = confined(f"{namespace}/{path}" if wanted.folder_per_namespace else path)
            yield stored_file(context, target, f"nsfile://{namespace}/{path}", wanted.if_exists)


def stored_file(context: RunContext, path: str, uri: str, if_exists: IfExists = "OVERWRITE") -> PlacedFile:
    """Return the stored file *uri* as a file to be placed. Raises TaskFailure when the attempt may not read it."""
    named = uri if uri.startswith("file://") else context.files.readable(uri)
    return PlacedFile(path, uri=named, if_exists=if_exists)


def place(context: RunContext, files: Iterable[PlacedFile]) -> None:
    """Put *files* into the working directory. Raises TaskFailure for one that leads out of it or does not exist."""
    for file in files:
        target = inside(context.working_dir, file.path)
        if target.exists() and not _may_replace(context, file):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.uri is None:
            target.write_bytes(file.content or b"")
        else:
            with context.files.open(file.uri) as stream:
                copy(stream, target)


def place_files(context: RunContext, files: Mapping[str, Any]) -> None:
    """Write *files*, contents or URIs by name, into the working directory."""
    place(context, planned_files(context, files))


def place_namespace_files(context: RunContext, wanted: NamespaceFiles | None) -> None:
    """Copy the namespace files that *wanted* names into the working directory."""
    place(context, planned_namespace_files(context, wanted))


def _may_replace(context: RunContext, file: PlacedFile) -> bool:
    if file.if_exists == "FAIL":
        raise TaskFailure(f"The namespace file '{file.path}' exists in the working directory already")
    if file.if_exists == "WARN":
        context.log.warn(f"The namespace file '{file.path}' exists in the working directory already and was left out")
    return file.if_exists == "OVERWRITE"


def collect_files(context: RunContext, patterns: Iterable[str], folder: Path | None = None) -> dict[str, str]:
    """Store the files below *folder* (the working directory) that match *patterns*; return their URIs by path."""
    root = folder or context.working_dir
    matchers = [(pattern, glob(pattern)) for pattern in patterns]
    if not matchers:
        return {}
    stored: dict[str, str] = {}
    used: set[str] = set()
    for path in walk(root):
        relative = path.relative_to(root).as_posix()
        matching = [pattern for pattern, matcher in matchers if matcher.fullmatch(relative)]
        if matching:
            used.update(matching)
            stored[relative] = context.files.put(path.name, path)
    for pattern, _ in matchers:
        if pattern not in used:
            context.log.warn(f"No file matches `{pattern}` of outputFiles")
    return stored


def walk(root: Path) -> Iterator[Path]:
    """Yield the files below *root* in order, without Headrace's own and without links that lead out of it."""
    real_root = root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(OWN))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(OWN) or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(real_root):
                continue
            yield path


def confined(name: str) -> str:
    """Return *name* if it is one of a file inside the working directory. Raises TaskFailure for any other."""
    parts = name.split("/")
    if name.startswith("/") or "" in parts[:-1] or ".." in parts or not name or name.endswith("/"):
        raise TaskFailure(f"'{name}' is not the name of a file inside the working directory")
    return name


def inside(root: Path, name: str) -> Path:
    """Return the path of *name* below *root*. Raises TaskFailure for a name that leads elsewhere."""
    target = root / confined(name)
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise TaskFailure(f"'{name}' leads out of the working directory")
    return target


def _patterns(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def _matches_any(patterns: Iterable[str], path: str) -> bool:
    """Tell whether a pattern matches the path, or, when it names no folder, the file's name at any depth."""
    name = path.rpartition("/")[2]
    return any(glob(each).fullmatch(path) or ("/" not in each and glob(each).fullmatch(name)) for each in patterns)


_GLOB_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[[^]]+\]|\{|\}|,|.", re.DOTALL)


def glob(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a path pattern with ``*`` (in one folder), ``**``, ``?``, ``[…]``, ``{a,b}``.

    A leading ``glob:``, ``./`` or ``/`` is allowed.
    """
    plain = pattern.strip().removeprefix("glob:").strip().removeprefix("./").lstrip("/")
    depth = 0
    expression = ""
    for part in _GLOB_PARTS.findall(plain):
        if part == "**/":
            expression += "(?:.*/)?"
        elif part == "**":
            expression += ".*"
        elif part == "*":
            expression += "[^/]*"
        elif part == "?":
            expression += "[^/]"
        elif part[0] == "[" and len(part) > 1:
            members = re.escape(part[1:-1].removeprefix("!")).replace("\\-", "-")
            expression += f"[^{members}]" if part[1] == "!" else f"[{members}]"
        elif part == "{":
            depth += 1
            expression += "(?:"
        elif part == "}" and depth:
            depth -= 1
            expression += ")"
        elif part == "," and depth:
            expression += "|"
        else:
            expression += re.escape(part)
    return re.compile(expression + ")" * depth, re.DOTALL)
