"""Prints what comes of a flow in the words of the corpus: to be judged against the reference, then kept.

PYTHONPATH=tests .venv/bin/python -m flows.record tests/flows/for_each/nested.yaml
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from flows.corpus import dump, read_case
from flows.runtimes import run_virtually


def main() -> None:
    """Print the outcome of each file named on the command line."""
    for name in sys.argv[1:]:
        case = read_case(Path(name).resolve())
        with tempfile.TemporaryDirectory() as folder:
            told = run_virtually(case, Path(folder))
        asked = case.expected.get("tasks") or []
        timed = any("starts" in task for task in asked)
        for task in told["tasks"]:
            task.pop("duration", None)
            if not timed or len(task.get("starts", ())) < 2:
                task.pop("starts", None)
        if not timed:
            told.pop("duration", None)
        sys.stdout.write(f"=== {case.name}\n{dump(told)}")


if __name__ == "__main__":
    main()
