"""A small task library of the tests' own, so that the language is tested against the contract, not against our tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from headrace_engine.language import Registry
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import IsoDuration, Properties, Rendering, RunnableTask, TaskRunnerProperties


class Level(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"


class Log(RunnableTask):
    """Writes a log line."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.log.Log"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.log.Log",)
    KIND: ClassVar[Kind] = Kind.INLINE

    message: str | list[str] = Field(description="What is logged.")
    level: Level = Field(default=Level.INFO, description="How much weight it has.")


class Options(Properties):
    """How a request is made."""

    connect_timeout: IsoDuration = timedelta(seconds=10)
    allow_failed: bool = False
    retries: Annotated[int, Rendering.STATIC] = Field(default=0, ge=0, le=5)


class Request(RunnableTask):
    """Calls a URL."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.http.Request"
    KIND: ClassVar[Kind] = Kind.LIGHT

    uri: str
    method: Literal["GET", "POST", "PUT"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    options: Options = Options()
    port: int | None = None
    secret: Annotated[str, Rendering.STATIC] | None = None
    per_item: Annotated[int, Rendering.BY_TASK] | None = None

    @classmethod
    def kind_of(cls, properties: Mapping[str, Any]) -> Kind:
        return Kind.DISPATCHED if properties.get("port") else cls.KIND


class Process(TaskRunnerProperties):
    """Runs a script as a process."""

    TYPE: ClassVar[str] = "io.kestra.plugin.core.runner.Process"

    type: Literal["io.kestra.plugin.core.runner.Process"]


class Docker(TaskRunnerProperties):
    """Runs a script in a container."""

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.runner.docker.Docker"
    UNSUPPORTED: ClassVar[str | None] = "containers do not run"

    type: Literal["io.kestra.plugin.scripts.runner.docker.Docker"]
    pull_policy: Literal["ALWAYS", "IF_NOT_PRESENT"] = "IF_NOT_PRESENT"


class Script(RunnableTask):
    """Runs a script."""

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.python.Script"
    KIND: ClassVar[Kind] = Kind.DISPATCHED

    script: str
    env: dict[str, str] = Field(default_factory=dict)
    task_runner: Annotated[Process | Docker, Field(discriminator="type")] | None = None
    container_image: str | None = None


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry([Log, Request, Script, Process, Docker])
