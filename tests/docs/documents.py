"""Reads Markdown pages: fenced blocks, console sessions, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"

_FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """Where it stands, for people."""
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a console session and what it prints."""

    place: str
    line: str
    output: str


def pages() -> list[Path]:
    """Return every page for readers."""
    return [
        CHECKOUT / "README.md",
        CHECKOUT / "CONTRIBUTING.md",
        CHECKOUT / "CHANGELOG.md",
        *sorted((CHECKOUT / "examples").rglob("*.md")),
        *sorted(DOCS.glob("*.md")),
    ]


def blocks(page: Path, language: str) -> list[Block]:
    """Return the fenced blocks of *page* in *language*."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"])
        for found in _FENCE.finditer(text)
        if found["language"] == language
    ]


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of the console sessions of *page*: what stands behind ``$``, and the lines below it."""
    for block in blocks(page, "console"):
        for session in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, output = session.partition("\n")
            yield Command(block.name, line, output)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of *page*, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        base = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchor, number = base, 0
        while anchor in found:
            number += 1
            anchor = f"{base}-{number}"
        found.add(anchor)
    return found


def links(page: Path) -> list[str]:
    """Return the targets of the links of *page*."""
    return re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text(encoding="utf-8")))
