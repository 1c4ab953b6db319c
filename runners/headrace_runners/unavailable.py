"""Task runners that flows name and this version does not have: parsed, then refused with a way out."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NoReturn

from pydantic import ConfigDict

from headrace_engine.plugin import Properties, TaskFailure
from headrace_runners.contract import RunnerProperties

_WAY_OUT = (
    "This version runs scripts as processes only: write `taskRunner: {{type: io.kestra.plugin.core.runner.Process}}` "
    "(or leave taskRunner out) and install what the script needs where Headrace runs; {what} come with a later version"
)


class _Unavailable(RunnerProperties):
    """A runner whose properties are taken as they are."""

    model_config = ConfigDict(**{**Properties.model_config, "extra": "allow"})

    type: Any

    def runner(self) -> NoReturn:
        """Refuse."""
        raise TaskFailure(str(self.UNSUPPORTED))


class Docker(_Unavailable):
    """Run the script in a Docker container. Not in this version."""

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.runner.docker.Docker"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.scripts.runner.docker.DockerTaskRunner",)
    UNSUPPORTED: ClassVar[str | None] = _WAY_OUT.format(what="Docker containers")

    type: Literal[
        "io.kestra.plugin.scripts.runner.docker.Docker", "io.kestra.plugin.scripts.runner.docker.DockerTaskRunner"
    ]


class AwsBatch(_Unavailable):
    """Run the script as an AWS Batch job. Not in this version."""

    TYPE: ClassVar[str] = "io.kestra.plugin.ee.aws.runner.Batch"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.aws.runner.Batch",)
    UNSUPPORTED: ClassVar[str | None] = _WAY_OUT.format(what="AWS Batch jobs")

    type: Literal["io.kestra.plugin.ee.aws.runner.Batch", "io.kestra.plugin.aws.runner.Batch"]


class EcsFargate(_Unavailable):
    """Run the script as a task of ECS on Fargate. Not in this version."""

    TYPE: ClassVar[str] = "io.kestra.plugin.ee.aws.runner.EcsFargate"
    UNSUPPORTED: ClassVar[str | None] = _WAY_OUT.format(what="ECS tasks")

    type: Literal["io.kestra.plugin.ee.aws.runner.EcsFargate"]


class Kubernetes(_Unavailable):
    """Run the script as a Kubernetes pod. Not in this version."""

    TYPE: ClassVar[str] = "io.kestra.plugin.ee.kubernetes.runner.Kubernetes"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.kubernetes.runner.Kubernetes",)
    UNSUPPORTED: ClassVar[str | None] = (
        "Headrace has no Kubernetes task runner; use io.kestra.plugin.core.runner.Process, "
        "which runs the script where Headrace runs"
    )

    type: Literal["io.kestra.plugin.ee.kubernetes.runner.Kubernetes", "io.kestra.plugin.kubernetes.runner.Kubernetes"]
