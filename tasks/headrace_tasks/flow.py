"""io.kestra.plugin.core.flow: the one task of that package that does work itself."""

from __future__ import annotations

import threading
from typing import ClassVar

from pydantic import Field

from headrace_engine.model.definition import Kind
from headrace_engine.plugin import IsoDuration, RunContext, RunnableTask


class Sleep(RunnableTask):
    """Wait for a while, holding a worker. To wait long, use ``Pause`` with ``pauseDuration``: it holds nothing.

    id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT5S
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Sleep"
    KIND: ClassVar[Kind] = Kind.DISPATCHED

    duration: IsoDuration = Field(description="How long, as an ISO-8601 duration.")

    def run(self, context: RunContext) -> None:
        """Wait until the time has passed or the attempt is stopped."""
        stopped = threading.Event()
        context.on_stop(stopped.set)
        stopped.wait(max(0.0, self.duration.total_seconds()))
