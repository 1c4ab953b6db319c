"""Writes flows into a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from headrace_cli import flow_files
from headrace_cli.errors import UserError
from headrace_cli.remote.desired import Flow, of_files
from headrace_cli.remote.names import FlowName


def write(flows: Iterable[Flow], folder: Path) -> Iterator[Path]:
    """Write each flow into its file, and yield that; a file that says the same is left as it is.

    Raises UserError, before anything is written, for a flow that stands in a file together with others.
    """
    files = _files(folder)
    shared = Counter(files.values())
    wanted: list[tuple[Path, str]] = []
    for flow in sorted(flows, key=lambda flow: flow.name):
        path = files.get(flow.name) or folder / _safe(flow.name.namespace) / f"{_safe(flow.name.id)}.yaml"
        if flow.name not in files and path.exists():
            raise UserError(f"{path} holds something else than {flow.name}, which would be written there.")
        if shared[path] > 1 and flow.source not in path.read_bytes().decode("utf-8-sig"):
            raise UserError(f"{path} holds {flow.name} and other flows: give each a file of its own first.")
        if shared[path] <= 1:
            wanted.append((path, flow.source))
    for path, source in wanted:
        content = source.encode()
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield path


def _files(folder: Path) -> dict[FlowName, Path]:
    """Return where the flows stand that a folder holds already."""
    if not folder.is_dir() or not any(folder.rglob("*.y*ml")):
        return {}
    paths = flow_files.find([folder])
    return {name: Path(flow.file) for name, flow in of_files(paths).items()} if paths else {}


def _safe(part: str) -> str:
    """Return part of a name that a server gave. Raises UserError for one that would lead elsewhere."""
    if not part or part.startswith(".") or any(character in part for character in "/\\:\0"):
        raise UserError(f"The server names a flow `{part[:100]}`, which is no name of a file.")
    return part
