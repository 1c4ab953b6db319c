"""YAML to nodes: every position kept, every size bounded, every error in plain words.

libyaml does the scanning (through PyYAML's event stream); what a document means is decided here: the core
schema of YAML 1.2, no custom tags, no duplicate keys, aliases counted as if written out. Nothing here
recurses, so that no nesting can exhaust the stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from headrace_engine.language.nodes import Entries, Items, Node, Scalar
from headrace_engine.language.problems import FlowError, Path, Problem, format_path
from headrace_engine.language.scalars import resolve, resolve_as
from headrace_engine.language.yaml_words import explain

MAX_CHARACTERS = 1_048_576
MAX_NODES = 100_000
"""Keys and values of one file, with every alias counted as what it stands for."""
MAX_DEPTH = 100
MAX_DUPLICATES = 100

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CORE_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class _Frame:
    """A list or map whose end has not come yet."""

    node: Items | Entries
    anchor: str | None
    nodes_before: int
    key: tuple[str, int, int] | None = None
    """The key (text, line, column) that waits for its value."""
    merges: list[Node] = field(default_factory=list)
    height: int = 1


@dataclass(slots=True)
class _Anchored:
    node: Node
    nodes: int
    height: int


class _Reader:
    """Builds the nodes of one file. A fault that ends the reading is raised; others are gathered."""

    def __init__(self, source: str, file: str | None) -> None:
        self.source = source
        self.file = file
        self.problems: list[Problem] = []
        self.documents: list[Node] = []
        self.frames: list[_Frame] = []
        self.anchors: dict[str, _Anchored | None] = {}
        self.nodes = 0

    def problem(self, message: str, line: int, column: int, path: Path = ()) -> Problem:
        return Problem(format_path(path), message, line, column, self.file)

    def stop(self, message: str, line: int, column: int, path: Path = ()) -> FlowError:
        """Return the error that ends the reading, with what was found before."""
        return FlowError((*self.problems, self.problem(message, line, column, path)))

    def read(self) -> list[Node]:
        self._refuse_unreadable()
        parser = _Loader(self.source)
        try:
            while parser.check_event():
                self._take(parser.get_event())
        except yaml.MarkedYAMLError as error:
            line, column, message = explain(error, self.source)
            raise self.stop(message, line, column) from None
        finally:
            parser.dispose()
        if self.problems:
            raise FlowError(self.problems)
        return self.documents

    def _refuse_unreadable(self) -> None:
        if len(self.source) > MAX_CHARACTERS:
            raise self.stop(f"The file is longer than {MAX_CHARACTERS} characters.", 1, 1)
        match = _UNPRINTABLE.search(self.source)
        if match is not None:
            before = LINE_BREAK.split(self.source[: match.start()])
            character = f"U+{ord(match.group()):04X}"
            raise self.stop(
                f"The character {character} is not allowed in YAML; in double quotes it can be written as an escape.",
                len(before),
                len(before[-1]) + 1,
            )

    def _take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self.anchors = {}
            case _:
                pass

    # -- where a node goes

    def _path(self) -> Path:
        """Return the path of the node that comes next."""
        if not self.frames:
            return ()
        frame = self.frames[-1]
        if isinstance(frame.node, Items):
            return (*frame.node.path, len(frame.node.items))
        return (*frame.node.path, frame.key[0]) if frame.key else frame.node.path

    def _wants_key(self) -> bool:
        return bool(self.frames) and isinstance(self.frames[-1].node, Entries) and self.frames[-1].key is None

    def _attach(self, node: Node, height: int) -> None:
        if not self.frames:
            self.documents.append(node)
            return
        frame = self.frames[-1]
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.node, Items):
            frame.node.items.append(node)
            return
        assert frame.key is not None  # noqa: S101 - keys come before values
        (key, line, column), frame.key = frame.key, None
        if key == "<<":
            frame.merges.append(node)
        elif key in frame.node.entries:
            first = frame.node.keys[key]
            if len(self.problems) >= MAX_DUPLICATES:
                raise self.stop("There are too many keys a second time: mend these first.", line, column)
            self.problems.append(
                self.problem(
                    f"The key `{key}` is here a second time; it is already on line {first[0]}, column {first[1]}.",
                    line,
                    column,
                    (*frame.node.path, key),
                )
            )
        else:
            frame.node.entries[key] = node
            frame.node.keys[key] = (line, column)

    def _count(self, nodes: int, line: int, column: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self.stop(f"The file has more than {MAX_NODES} values, with aliases written out.", line, column)

    # -- events

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        self._count(1, line, column)
        style = event.style or ""
        if self._wants_key():
            self._take_key(event.value, line, column, quoted=style != "")
            return
        text = event.value
        value: str | int | float | bool | None = text
        if event.tag is not None and event.tag != "!":
            value = self._tagged(event.tag, text, line, column)
        elif style == "" and event.implicit[0]:
            value = resolve(text)
        node = Scalar(self._path(), line, column, value, text, style)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(node, 1, 1)
        self._attach(node, 1)

    def _take_key(self, text: str, line: int, column: int, *, quoted: bool) -> None:
        if text == "" and not quoted:
            raise self.stop("A key is missing before the `:`.", line, column, self._path())
        self.frames[-1].key = (text, line, column)

    def _tagged(self, tag: str, text: str, line: int, column: int) -> str | int | float | bool | None:
        name = tag.removeprefix(_CORE_TAG)
        if name not in ("str", "int", "float", "bool", "null"):
            raise self._custom_tag(tag, line, column)
        try:
            return resolve_as(name, text)
        except ValueError:
            raise self.stop(
                f"`{text[:80]}` is not a value of the tag `!!{name}`.", line, column, self._path()
            ) from None

    def _custom_tag(self, tag: str, line: int, column: int) -> FlowError:
        shown = "!!" + tag.removeprefix(_CORE_TAG) if tag.startswith(_CORE_TAG) else tag
        return self.stop(
            f"The tag `{shown[:80]}` is not allowed; remove it, or put the text in quotes.", line, column, self._path()
        )

    def _open(self, event: Any) -> None:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        self._count(1, line, column)
        if self._wants_key():
            raise self._complex_key(line, column)
        is_map = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", _CORE_TAG + ("map" if is_map else "seq")):
            raise self._custom_tag(event.tag, line, column)
        if len(self.frames) >= MAX_DEPTH:
            raise self.stop(f"Lists and maps are nested more than {MAX_DEPTH} deep.", line, column)
        node = Entries(self._path(), line, column) if is_map else Items(self._path(), line, column)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.frames.append(_Frame(node, event.anchor, self.nodes - 1))

    def _complex_key(self, line: int, column: int) -> FlowError:
        frame = self.frames[-1]
        if frame.node.line == line and frame.node.column == column - 1:
            return self.stop(
                'A text that begins with an expression must be in quotes: write "{{ … }}".',
                line,
                column - 1,
                frame.node.path,
            )
        return self.stop("A key must be text, not a list or a map.", line, column, frame.node.path)

    def _close(self) -> None:
        frame = self.frames.pop()
        for node in frame.merges:
            self._merge(frame, node)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = _Anchored(frame.node, self.nodes - frame.nodes_before, frame.height)
        self._attach(frame.node, frame.height)

    def _merge(self, frame: _Frame, node: Node) -> None:
        """Lay the maps of a merge key (``<<: *defaults``) under the map that holds it; the first one wins."""
        sources = node.items if isinstance(node, Items) else [node]
        assert isinstance(frame.node, Entries)  # noqa: S101 - only maps have keys
        for source in sources:
            if not isinstance(source, Entries):
                raise self.stop(
                    "`<<` takes a map, or a list of maps.", node.line, node.column, (*frame.node.path, "<<")
                )
            for key, value in source.entries.items():
                if key not in frame.node.entries:
                    frame.node.entries[key] = value
                    frame.node.keys[key] = source.keys[key]

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if event.anchor not in self.anchors:
            raise self.stop(
                f"The alias `*{event.anchor}` has no anchor `&{event.anchor}` before it.", line, column, self._path()
            )
        anchored = self.anchors[event.anchor]
        if anchored is None:
            raise self.stop(
                f"The alias `*{event.anchor}` stands inside what it stands for.", line, column, self._path()
            )
        self._count(anchored.nodes, line, column)
        if len(self.frames) + anchored.height > MAX_DEPTH + 1:
            raise self.stop(f"Lists and maps are nested more than {MAX_DEPTH} deep.", line, column)
        if self._wants_key():
            if not isinstance(anchored.node, Scalar):
                raise self.stop("A key must be text, not a list or a map.", line, column, self._path())
            self._take_key(anchored.node.text, line, column, quoted=True)
            return
        self._attach(anchored.node, anchored.height)


def read_documents(source: str, file: str | None = None) -> list[Node]:
    """Return the documents of *source*. Raises FlowError when it is no YAML we accept."""
    return _Reader(source, file).read()
