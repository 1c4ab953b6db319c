"""What is named as the counterpart of something else is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from docs.documents import DOCS
from headrace_cli.main import cli
from headrace_engine.expressions import library, registry
from headrace_engine.language import Registry

PAGE = (DOCS / "coming-from.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "flow-reference.md").read_text(encoding="utf-8")

VALUES = {"ALL"}
"""Values of properties."""


def counterparts() -> Iterator[str]:
    """Yield what stands as code in the second column of the page's tables."""
    for row in re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE):
        _, *right = re.split(r"(?<!\\)\|", row)
        yield from re.findall(r"`([^`]+)`", "".join(right))


@pytest.mark.parametrize("named", sorted(set(counterparts())))
def test_a_counterpart_exists(named: str) -> None:
    if named.startswith("{{"):
        assert "date(" in named
    elif named.startswith("headrace "):
        command = cli
        for word in named.split()[1:]:
            found = command.get_command(None, word)  # type: ignore[attr-defined, arg-type]
            assert found is not None, word
            command = found
    elif re.fullmatch(r"[\w.]+\.[A-Z]\w+", named):
        types = Registry.load()
        known = [each.TYPE for each in (*types.tasks(), *types.triggers()) if not getattr(each, "UNSUPPORTED", "")]
        assert any(each.endswith(f".{named}") for each in known)
    else:
        library.load()
        assert named in VALUES or named in registry.FILTERS or f"| `{named}` |" in REFERENCE
