"""A flow's source as text: taken apart into its documents, read as plain data, and changed in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from headrace_engine.language.nodes import Entries, Node, Scalar, plain
from headrace_engine.language.problems import FlowError, Problem
from headrace_engine.language.scalars import resolve
from headrace_engine.language.yaml_reader import read_documents

MAX_DOCUMENTS = 1000

_MARK = re.compile(r"^---(?=[ \t\r]|$)[ \t]*", re.MULTILINE)
_NOTHING = re.compile(r"(?:\s|#.*|\.\.\.(?=\s|$)|%.*)*")


def split(source: str) -> list[tuple[int, str]]:
    """Return the texts of the documents of *source*, each with the number of lines before it; empty ones left out.

    Raises FlowError for more than `MAX_DOCUMENTS`.
    """
    pieces: list[tuple[int, str]] = []
    begin = lines = 0
    for end in [*(mark.start() for mark in _MARK.finditer(source)), len(source)]:
        piece = source[begin:end]
        mark = _MARK.match(piece)
        before = lines
        if mark is not None:
            piece = piece[mark.end() :]
            if re.match(r"\r?\n", piece):
                before, piece = before + 1, piece[piece.index("\n") + 1 :]
        if not _NOTHING.fullmatch(piece):
            pieces.append((before, piece))
        if len(pieces) > MAX_DOCUMENTS:
            raise FlowError([Problem("", f"There are more than {MAX_DOCUMENTS} documents here.", before + 1, 1)])
        lines += source.count("\n", begin, end)
        begin = end
    return pieces


def written(source: str) -> dict[str, Any]:
    """Return the one document of *source*, a map, as plain data: what its author wrote. Raises FlowError."""
    return dict(plain(_root(source)))


def with_value(source: str, key: str, value: bool) -> str:  # noqa: FBT001  # a value, not a switch
    """Return *source* with a top-level key set, the rest as it is where that can be. Raises FlowError."""
    root = _root(source)
    wanted = {**plain(root), key: value}
    changed = _edited(source, root, key, "true" if value else "false")
    try:
        if changed is not None and written(changed) == wanted:
            return changed
    except FlowError:
        pass  # a flow in braces, say
    return dump(wanted)


def _edited(source: str, root: Entries, key: str, text: str) -> str | None:
    node = root.entries.get(key)
    if node is None:
        return f"{source}{'' if source.endswith(chr(10)) else chr(10)}{key}: {text}\n"
    if not isinstance(node, Scalar) or node.style != "":
        return None
    lines = source.split("\n")
    line = lines[node.line - 1]
    begin = node.column - 1
    lines[node.line - 1] = line[:begin] + text + line[begin + len(node.text) :]
    return "\n".join(lines)


def with_task(source: str, task_id: str, task: Mapping[str, Any]) -> str | None:
    """Return *source* with another task in the place of the one of this id; None without one. Raises FlowError.

    Written anew: comments are lost.
    """
    flow = written(source)
    found = find_task(flow, task_id)
    if found is None:
        return None
    found.clear()
    found.update(task)
    return dump(flow)


def find_task(flow: Any, task_id: str) -> dict[str, Any] | None:
    """Return the task of this id from what `written` returned, at whatever depth; None without one."""
    waiting = [flow.get(name) for name in ("tasks", "errors", "finally", "afterExecution", "listeners")]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            if each.get("id") == task_id and "type" in each:
                return each
            waiting += [value for value in each.values() if isinstance(value, list | dict)]
    return None


def dump(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML that is read back as the same."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes what YAML 1.2 reads: quotes a text that would be read as something else."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    if text == "" or resolve(text) is not text:
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _root(source: str) -> Entries:
    documents = read_documents(source)
    root: Node | None = documents[0] if len(documents) == 1 else None
    if not isinstance(root, Entries):
        message = "A map is expected." if root is not None else f"One map is expected, not {len(documents)} documents."
        raise FlowError([Problem("", message, 1, 1)])
    return root
