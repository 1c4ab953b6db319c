"""The flows that a folder holds, and those that a server holds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace_cli import flow_files
from headrace_cli.errors import ProblemsError, UserError
from headrace_cli.remote.client import Remote
from headrace_cli.remote.names import FlowName
from headrace_engine.language.problems import FlowError, Problem
from headrace_engine.language.source import split, written


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow's source, and what its author says in it."""

    name: FlowName
    source: str
    said: Mapping[str, Any]
    file: str = ""
    """Where it stands, in a folder."""
    line: int = 0
    """How many lines of the file stand before it."""
    revision: int = 0
    """Which one the server has."""

    @property
    def has_triggers(self) -> bool:
        """Whether something may start it."""
        return bool(self.said.get("triggers"))


def of_files(paths: Sequence[Path]) -> dict[FlowName, Flow]:
    """Return the flows of files and folders. Raises UserError with all that keeps them from being told apart."""
    found: dict[FlowName, Flow] = {}
    problems: list[Problem] = []
    for path in flow_files.find(paths):
        label = flow_files.label(path)
        try:
            documents = split(flow_files.read(path))
        except FlowError as error:
            problems += _placed(error, label, 0)
            continue
        for before, source in documents:
            try:
                flow = _read(source, label, before)
                other = found.get(flow.name)
                if other is not None:
                    raise FlowError([_problem(f"The flow {flow.name} stands in {other.file}:{other.line + 1}, too.")])
            except FlowError as error:
                problems += _placed(error, label, before)
                continue
            found[flow.name] = flow
    if problems:
        raise ProblemsError(problems)
    if not found:
        raise UserError(f"There is no flow in {', '.join(map(str, paths))}.")
    return found


def of_server(remote: Remote, namespaces: Iterable[str] | None, below: Iterable[str] = ()) -> dict[FlowName, Flow]:
    """Return the flows of these namespaces, and of those *below*, themselves included; all when None are named."""
    wanted: list[dict[str, Any]] = [{}]
    if namespaces is not None:
        exact = sorted(set(namespaces))
        wanted = [
            {"filters[namespace][IN]": ",".join(exact[at : at + _AT_ONCE])} for at in range(0, len(exact), _AT_ONCE)
        ]
        wanted += [{"namespace": each} for each in below]
    found: dict[FlowName, Flow] = {}
    for query in wanted:
        revisions = {
            FlowName(each["namespace"], each["id"]): each["revision"]
            for each in remote.pages("/flows/search", **query)[0]
        }
        if not revisions:
            continue
        files = {f"{name}.yml": name for name in revisions}
        for file, source in _unzipped(remote.content("/flows/export/by-query", **query)):
            try:
                flow = _read(source, file, 0)
            except FlowError:  # from another version, which wrote it otherwise: its text is all there is
                flow = Flow(files[file], source, {})
            found[flow.name] = replace(flow, file="", revision=revisions.get(flow.name, 0))
    return found


_AT_ONCE = 50


def _unzipped(content: bytes) -> list[tuple[str, str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [(each.filename, archive.read(each).decode()) for each in archive.infolist()]
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise UserError(f"What the server exports cannot be read: {error}") from None


def _read(source: str, label: str, before: int) -> Flow:
    said = written(source)
    for key in ("id", "namespace"):
        if not isinstance(said.get(key), str):
            raise FlowError([_problem(f"A flow has an `{key}`." if key == "id" else "A flow has a `namespace`.")])
    return Flow(FlowName(said["namespace"], said["id"]), source, said, label, before)


def _problem(message: str) -> Problem:
    return Problem("", message, 1, 1)


def _placed(error: FlowError, label: str, before: int) -> list[Problem]:
    return [replace(problem, file=label, line=problem.line + before) for problem in error.problems]
