"""Prints lines of logs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from headrace_cli.output import standard_output
from headrace_cli.plain import LEVEL_TONES, timestamp
from headrace_cli.styled import Span, Tone, line
from headrace_cli.text import clean, one_line
from headrace_engine.ports import Level


def print_line(said: Mapping[str, Any], *, as_json: bool = False, with_flow: bool = False) -> None:
    """Print a line of a log as the server tells it: time (UTC), level, task, message; as JSON, one line each."""
    out = standard_output()
    if as_json:
        out.write_text(f"{json.dumps(said)}\n")  # in ASCII: a line for whatever reads lines
        return
    level = Level(said["level"])
    stamp = Span(f"{timestamp(datetime.fromisoformat(said['timestamp']))} ", Tone.FAINT)
    name = said.get("taskId") or said["flowId"]
    where = f"{said['namespace']}.{said['flowId']} {said['executionId']} {name}" if with_flow else name
    word = Span(f"{level.value:<8} ", LEVEL_TONES[level])
    out.write(line(stamp, word, f"{one_line(where)}: ", row) for row in clean(said["message"]).split("\n"))
