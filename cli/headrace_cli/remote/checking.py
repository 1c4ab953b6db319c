"""Has a server check flows, and tells what it says with its place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from headrace_cli.errors import ProblemsError
from headrace_cli.remote.client import Remote
from headrace_cli.remote.desired import Flow

_PLACE = re.compile(r"line (\d+), column (\d+): ")


def check(remote: Remote, flows: Iterable[Flow]) -> list[str]:
    """Return what the server warns of. Raises ProblemsError with all that is wrong with any of the flows."""
    errors: list[str] = []
    warnings: list[str] = []
    for flow in flows:
        for said in remote.send("POST", "/flows/validate", flow.source):
            errors += _placed(flow, (said.get("constraints") or "").splitlines())
            warnings += _placed(flow, said.get("warnings") or ())
    if errors:
        raise ProblemsError(errors)
    return warnings


def _placed(flow: Flow, rows: Iterable[str]) -> Iterator[str]:
    """Yield rows with the file they are about; a row without a place goes on with the one before it."""
    for row in rows:
        found = _PLACE.match(row)
        if found is None:
            yield f"{flow.file}: {row}"
        else:
            yield f"{flow.file}:{int(found[1]) + flow.line}:{found[2]}: {row[found.end() :]}"
