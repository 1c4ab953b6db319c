"""Writes the generated pages of this folder.

python docs/make.py            write them
python docs/make.py --check    write nothing; exit 1 and name the pages that are not current
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import make_cli
import make_compatibility
import make_expressions
import make_flow_reference
import make_runners
import make_states

HERE = Path(__file__).resolve().parent

PAGES: Mapping[str, Callable[[], str]] = {
    "states.md": make_states.page,
    "cli.md": make_cli.page,
    "compatibility.md": make_compatibility.page,
    "expressions.md": make_expressions.page,
    "flow-reference.md": make_flow_reference.page,
    "runners.md": make_runners.page,
}
"""File name to what gives its text."""


def main(arguments: list[str]) -> int:
    """Write or check the pages; return the exit code."""
    stale = []
    for name, page in PAGES.items():
        path, text = HERE / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.name} written\n")
    if stale and "--check" in arguments:
        sys.stdout.write(f"Not current: {', '.join(stale)}. Run `python docs/make.py`.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
