"""Prints what comes of a flow in the words of the corpus: to be judged against the reference, then kept.

With `starts:` somewhere in what the file expects so far, the times are printed too.

    PYTHONPATH=tests .venv/bin/python -m flows.record tests/flows/for_each/nested.yaml
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from flows.corpus import dump, read_case
from flows.runtimes import run_virtually

_STORED = re.compile(r"kestra:///[^\s\"']+?/tasks/([\w-]+)/\w+/(?:\d+-)?")
_LONG = 2000


def main() -> None:
    """Print the outcome of each file named on the command line."""
    for name in sys.argv[1:]:
        case = read_case(Path(name).resolve())
        with tempfile.TemporaryDirectory() as folder:
            told = run_virtually(case, Path(folder))
        timed = "starts:" in case.path.read_text(encoding="utf-8")
        sys.stdout.write(f"# {case.name}\n{dump({'expect': _kept(told, timed=timed)})}")


def _kept(told: dict[str, Any], *, timed: bool) -> dict[str, Any]:
    """Return the outcome without the times nobody asked for and with `…` for what is another each time."""
    for task in told["tasks"]:
        task.pop("duration", None)
        if not timed or len(task["starts"]) < 2:
            task.pop("starts")
    if not timed:
        told.pop("duration", None)
    if "follower" in told:
        told["follower"] = _kept(told["follower"], timed=timed)
    if "executions" in told:
        told["executions"] = [_kept(other, timed=timed) for other in told["executions"]]
    return {name: _blurred(value) for name, value in told.items()}


def _blurred(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _blurred(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_blurred(item) for item in value]
    if isinstance(value, str):
        value = _STORED.sub(r"kestra:///…/tasks/\1/…/", value)
        return f"{value[:12]}…{value[-6:]}" if len(value) > _LONG else value
    return value


if __name__ == "__main__":
    main()
