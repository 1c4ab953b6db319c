"""What a script says to the platform: lines of the form ``::{…}::`` among its output.

    ::{"outputs": {"rows": 12}}::
    ::{"metrics": [{"name": "rows", "type": "counter", "value": 12, "tags": {"table": "orders"}}]}::
    ::{"logs": [{"level": "INFO", "message": "loaded"}]}::

Every other line is logged: standard output at INFO, standard error at ERROR.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from headrace_engine.plugin import InlineContext
from headrace_engine.ports import Level
from headrace_runners.contract import LONGEST_LINE, Stream

_LONGEST_MESSAGE = 16 * 1024 * 1024
"""Characters of a message to the platform; what is larger belongs into a file."""
_MESSAGE = re.compile(r"::(\{.*\})::\s*")


class ScriptOutput:
    """Takes a script's lines; afterwards, what it put out."""

    def __init__(self, context: InlineContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self.outputs: dict[str, Any] = {}
        self.counts = {Stream.STDOUT: 0, Stream.STDERR: 0}
        self._held: dict[Stream, str] = {}
        """The beginning of a message that comes in pieces."""

    def line(self, stream: Stream, line: str) -> None:
        """Take one line; runners may call from several threads."""
        with self._lock:
            text = self._held.pop(stream, "") + line
            if len(text) == len(line):
                self.counts[stream] += 1
            match = _MESSAGE.fullmatch(text) if text.startswith("::") and line.rstrip().endswith("::") else None
            if match is None and len(line) == LONGEST_LINE and text.startswith("::{") and len(text) < _LONGEST_MESSAGE:
                self._held[stream] = text
            elif match is None or not self._message(match[1]):
                self._context.log.log(Level.INFO if stream is Stream.STDOUT else Level.ERROR, text)

    def finish(self) -> None:
        """Log what began like a message and never ended as one."""
        for stream in tuple(self._held):
            self.line(stream, "")

    def _message(self, text: str) -> bool:
        try:
            message = json.loads(text)
        except ValueError as error:
            self._context.log.warn(f"A line that looks like a message to the platform is not valid JSON: {error}")
            return False
        if isinstance(message.get("outputs"), Mapping):
            self.outputs.update(message["outputs"])
        for metric in _maps(message.get("metrics")):
            self._metric(metric)
        for entry in _maps(message.get("logs")):
            self._context.log.log(_level(entry.get("level")), str(entry.get("message", "")))
        if "assets" in message:
            self._context.log.warn("This version does not keep assets; what the script sent of them is dropped")
        return True

    def _metric(self, metric: Mapping[str, Any]) -> None:
        name, kind, tags = str(metric.get("name", "")), metric.get("type", "counter"), metric.get("tags") or {}
        try:
            value = float(metric["value"])
            if kind == "timer":
                self._context.timer(name, timedelta(seconds=value), tags)
            elif kind == "gauge":
                self._context.gauge(name, value, tags)
            else:
                self._context.counter(name, value, tags)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            self._context.log.warn(f"The metric {json.dumps(metric)} has no number as its value and is dropped")


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _level(name: Any) -> Level:
    text = str(name or "INFO").upper()
    text = {"WARNING": "WARN", "CRITICAL": "ERROR", "FATAL": "ERROR"}.get(text, text)
    return Level(text) if text in Level.__members__ else Level.INFO
