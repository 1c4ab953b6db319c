"""Finds the flows and suites that files hold. Files are told apart by what is in them, not by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from headrace_engine.adapters.memory import MemoryFlows
from headrace_engine.language.nodes import Entries, Node
from headrace_engine.language.problems import FlowError
from headrace_engine.language.yaml_reader import read_documents
from headrace_engine.ports import FlowSource

_SUFFIXES = (".yaml", ".yml")
_LEFT_OUT = ("node_modules", "__pycache__")
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_LOOKS_LIKE_A_SUITE = re.compile(r"^(?:testCases|flowId)\s*:", re.MULTILINE)
_FLOWS_FOLDER = "flows"


class Holds(Enum):
    """What a document of a YAML file is."""

    FLOW = "flow"
    TEMPLATE = "template"
    """In a file named so: ``NAME.template.yaml``."""
    SUITE = "suite"
    SOMETHING_ELSE = "something else"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a YAML file."""

    path: Path
    holds: Holds
    source: str
    """Its text, after as many empty lines as lie before it in the file: positions in it are those of the file."""
    name: tuple[str, str] = ("", "")
    """A flow's or template's namespace and id."""


class AmbiguousFlowError(ValueError):
    """Two files hold the flow, and nothing says which is meant."""


class UnreadableFileError(ValueError):
    """A file cannot be read, or is no UTF-8 text."""


def documents(path: Path) -> list[Document]:
    """Return what the file holds.

    Raises UnreadableFileError; FlowError when it is no YAML, but looks as if a suite were meant.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFileError(f"{path}: this is not UTF-8 text.") from None
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror or error}.") from None
    found = []
    for source in _pieces(text):
        try:
            nodes = read_documents(source, str(path))
        except FlowError:
            if _LOOKS_LIKE_A_SUITE.search(source):
                raise
            continue
        if nodes:
            found.append(_document(path, source, nodes[0]))
    return found


def _pieces(text: str) -> Iterator[str]:
    """Yield the documents of *text*, each after as many empty lines as there are lines before it."""
    start = 0
    for match in [*_SEPARATOR.finditer(text), None]:
        end = match.start() if match is not None else len(text)
        if text[start:end].strip():
            yield "\n" * text.count("\n", 0, start) + text[start:end]
        start = match.end() if match is not None else end


def _document(path: Path, source: str, node: Node) -> Document:
    if not isinstance(node, Entries):
        return Document(path, Holds.SOMETHING_ELSE, source)
    if "tasks" in node.entries:
        name = (node.text("namespace") or "", node.text("id") or "")
        holds = Holds.TEMPLATE if path.stem.lower().endswith(".template") else Holds.FLOW
        return Document(path, holds if all(name) else Holds.SOMETHING_ELSE, source, name)
    is_suite = "testCases" in node.entries or "flowId" in node.entries
    return Document(path, Holds.SUITE if is_suite else Holds.SOMETHING_ELSE, source)


def yaml_files(folder: Path) -> list[Path]:
    """Return the YAML files in *folder*, at any depth, by name; hidden folders and installed packages left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and not any(part.startswith(".") or part in _LEFT_OUT for part in path.relative_to(folder).parts)
        and path.is_file()
    )


class FlowFiles:
    """Flows by namespace and id, looked for when they are asked for: in one place after another.

    The places are *folder* (the ``--flows`` of the command) or else: the folder of the suite with all below it; then
    each folder above, up to the working directory: the files in it, and its ``flows`` folder with all below.
    """

    def __init__(
        self, suite: Path, *, folder: Path | None = None, known: dict[Path, Sequence[Document]] | None = None
    ) -> None:
        """Look for the flows of *suite*, a file. *known* is what has been read, to be shared by many suites."""
        self._suite = suite
        self._folder = folder
        self._read = known if known is not None else {}
        self.unreadable: list[str] = []
        """The files that could not be looked into."""

    def find(self, namespace: str, flow_id: str, holds: Holds = Holds.FLOW) -> Document | None:
        """Return the flow (or template), or None. Raises AmbiguousFlowError when two files of one place hold it."""
        for place in self._places():
            flows = [document for path in place for document in self._flows_in(path)]
            name = (namespace, flow_id)
            found = [document for document in flows if document.name == name and document.holds is holds]
            if len(found) > 1:
                paths = " and ".join(f"`{document.path}`" for document in found[:2])
                what = f"{holds.value} `{namespace}.{flow_id}`"
                raise AmbiguousFlowError(f"The {what} is in both {paths}: name the folder of the one with --flows.")
            if found:
                return found[0]
        return None

    def where(self) -> str:
        """Return in words where flows are looked for."""
        if self._folder is not None:
            return f"`{self._folder}`"
        return f"`{self._suite.parent}` and the folders above it; --flows names another folder"

    def _places(self) -> Iterator[list[Path]]:
        if self._folder is not None:
            yield yaml_files(self._folder)
            return
        home = self._suite.parent
        yield yaml_files(home)
        root, above = Path.cwd(), home.resolve()
        is_inside = above.is_relative_to(root)
        while above not in (root, above.parent):
            above = above.parent
            beside = sorted(path for path in above.glob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
            found = [*beside, *yaml_files(above / _FLOWS_FOLDER)]
            yield [path.relative_to(root) if path.is_relative_to(root) else path for path in found]
            if not is_inside:
                return

    def _flows_in(self, path: Path) -> Sequence[Document]:
        if path not in self._read:
            try:
                self._read[path] = [
                    document for document in documents(path) if document.holds in (Holds.FLOW, Holds.TEMPLATE)
                ]
            except (FlowError, UnreadableFileError):
                self.unreadable.append(str(path))
                self._read[path] = ()
        return self._read[path]


class FlowsOfFiles(MemoryFlows):
    """`Flows` that takes from files what nobody saved: the flow that is tested, and those it calls; or templates.

    A file is every revision of its flow.
    """

    def __init__(self, files: FlowFiles, now: datetime, holds: Holds = Holds.FLOW) -> None:
        super().__init__()
        self._holds = holds
        self._files = files
        self._now = now

    def get(self, namespace: str, flow_id: str, revision: int | None = None) -> FlowSource | None:
        """See `Flows.get`."""
        if not self.revisions(namespace, flow_id):
            document = self._files.find(namespace, flow_id, self._holds)
            if document is None:
                return None
            self.save(namespace, flow_id, document.source, self._now)
        return super().get(namespace, flow_id, revision) or super().get(namespace, flow_id)
