"""Task runners that flows name and this version does not have: parsed, then refused with a way out."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NoReturn

from pydantic import ConfigDict

from headrace_engine.plugin import Properties, TaskFailure
from headrace_runners.contract import RunnerProperties


class _Unavailable(RunnerProperties):
    """A runner whose properties are taken as they are."""

    model_config = ConfigDict(**{**Properties.model_config, "extra": "allow"})

    type: Any

    def runner(self) -> NoReturn:
        """Refuse."""
        raise TaskFailure(str(self.UNSUPPORTED))


class Kubernetes(_Unavailable):
    """Run the script as a Kubernetes pod. Not in this version."""

    TYPE: ClassVar[str] = "io.kestra.plugin.ee.kubernetes.runner.Kubernetes"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.kubernetes.runner.Kubernetes",)
    UNSUPPORTED: ClassVar[str | None] = (
        "Headrace has no Kubernetes task runner; use io.kestra.plugin.core.runner.Process, "
        "which runs the script where Headrace runs"
    )

    type: Literal["io.kestra.plugin.ee.kubernetes.runner.Kubernetes", "io.kestra.plugin.kubernetes.runner.Kubernetes"]
