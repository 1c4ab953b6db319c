"""Finds and reads the files that hold flows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from headrace_cli.errors import UserError

STDIN = Path("-")
_SUFFIXES = (".yaml", ".yml")
_TEST_CASES = re.compile(rb"^testCases[ \t]*:", re.MULTILINE)
_TASKS = re.compile(rb"^tasks[ \t]*:", re.MULTILINE)


def find(paths: Sequence[Path], *, templates: bool = False) -> list[Path]:
    """Return the files among *paths*, and for each folder the YAML files in it at any depth, by name.

    Hidden folders and test suites (of ``headrace test``) are left out, and files of templates unless they are asked
    for. Raises UserError for a path that does not exist and for a folder without YAML files.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(_inside(path))
            if not inside:
                raise UserError(f"{path}: there is no *.yaml or *.yml file in this folder.")
            found.update(dict.fromkeys(each for each in inside if templates or not is_template(each)))
        elif path == STDIN or path.exists():
            found[path] = None
        else:
            raise UserError(f"{path}: there is no such file or folder.")
    return list(found)


def is_template(path: Path) -> bool:
    """Return whether a file holds a template, as its name says: ``NAME.template.yaml``."""
    return path.suffix.lower() in _SUFFIXES and path.stem.lower().endswith(".template")


def templates_for(flow: Path, folder: Path | None) -> list[Path]:
    """Return the files of templates that lie beside *flow*, and those anywhere in *folder*."""
    beside = flow.parent.iterdir() if flow != STDIN and flow.parent.is_dir() else ()
    inside = _inside(folder) if folder is not None and folder.is_dir() else ()
    return sorted({each for each in (*beside, *inside) if is_template(each) and each.is_file()})


def read(path: Path) -> str:
    """Return the text of a file, or of standard input for ``-``. Raises UserError when it cannot be read."""
    try:
        content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{label(path)}: line {row} is not UTF-8 text.") from None


def label(path: Path) -> str:
    """Return how messages name the file."""
    return "<stdin>" if path == STDIN else str(path)


def _inside(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in _SUFFIXES and not hidden and path.is_file() and not _is_test_suite(path):
            yield path


def _is_test_suite(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False  # told when it is read as a flow
    return _TEST_CASES.search(content) is not None and _TASKS.search(content) is None
