"""io.kestra.plugin.core.flow: the one task of that package that does work itself."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from headrace_engine.plugin import IsoDuration, SleepingTask


class Sleep(SleepingTask):
    """Wait for a while. However long, it holds no worker and no process, only a timer.

    id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT5S
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.core.flow.Sleep"

    duration: IsoDuration = Field(description="How long, as an ISO-8601 duration.")
