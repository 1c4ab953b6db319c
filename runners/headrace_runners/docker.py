"""The properties of the Docker task runner."""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from headrace_engine.plugin import Properties
from headrace_runners.contract import RunnerProperties, TaskRunner

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)i?B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class Cpu(Properties):
    """How much of the processors a container may use."""

    cpus: float | None = Field(None, gt=0, description="How many, such as `1.5`.")


class Memory(Properties):
    """How much memory a container may use. Amounts are written as `512MB` or `2GB`."""

    memory: str | None = Field(None, description="The most it may use.")
    memory_swap: str | None = Field(None, description="Memory and swap together; `-1` for any amount of swap.")
    memory_swappiness: int | None = Field(None, ge=0, le=100, description="How readily it is swapped out, 0 to 100.")
    memory_reservation: str | None = Field(None, description="What it should keep to when memory is short.")
    kernel_memory: str | None = Field(None, description="Without effect: Docker has taken it out.")
    oom_kill_disable: bool | None = Field(None, description="Whether it is not killed when memory runs out.")


class Credentials(Properties):
    """What an image's registry asks for."""

    registry: str | None = Field(None, description="The registry's address; that of the image if left out.")
    username: str | None = Field(None, description="Who pulls.")
    password: str | None = Field(None, description="Their password.")
    registry_token: str | None = Field(None, description="A token for the registry.")
    identity_token: str | None = Field(None, description="A token that stands for the user.")
    auth: str | None = Field(None, description="`user:password` in Base64, as in Docker's config.json.")


class DeviceRequest(Properties):
    """Devices that a driver is to give a container, such as GPUs."""

    driver: str | None = Field(None, description="The driver, such as `nvidia`.")
    count: int | None = Field(None, description="How many devices; -1 for all.")
    device_ids: list[str] | None = Field(None, description="Which devices.")
    capabilities: list[list[str]] | None = Field(None, description="What they must be able to, such as `[[gpu]]`.")
    options: dict[str, str] | None = Field(None, description="Options of the driver.")


class DockerOptions(Properties):
    """How a container is made and run."""

    host: str | None = Field(
        None, description="Where the engine listens: `unix:///path` or `tcp://host:port`; not `ssh://`."
    )
    config: str | dict[str, Any] | None = Field(
        None,
        description="The content of a Docker config.json, for its `auths`, `credHelpers` and `credsStore`; the "
        "machine's own if left out.",
    )
    credentials: Credentials | None = Field(None, description="For the registry of the image.")
    entry_point: list[str] | None = Field(
        None, description="What the commands are handed to; the image's own entry point is not used if left out."
    )
    extra_hosts: list[str] | None = Field(None, description="Names the container is to know, as `name:address`.")
    network_mode: str | None = Field(None, description="`bridge`, `host`, `none`, or the name of a network.")
    port_bindings: list[str] | None = Field(None, description="Ports to open, as `8080:80`.")
    user: str | None = Field(None, description="Whom the code runs as; the image's own user if left out.")
    volumes: list[str] | None = Field(
        None,
        description="Folders of the engine's machine to mount, as `/there:/here`. Switched off unless "
        "HEADRACE_DOCKER_VOLUMES is `true`.",
    )
    pull_policy: Literal["IF_NOT_PRESENT", "ALWAYS", "NEVER"] = Field(
        "IF_NOT_PRESENT", description="When the image is pulled."
    )
    device_requests: list[DeviceRequest] | None = Field(None, description="Devices it needs, such as GPUs.")
    cpu: Cpu | None = Field(None, description="Its share of the processors.")
    memory: Memory | None = Field(None, description="Its share of the memory.")
    shm_size: str | None = Field(None, description="The size of /dev/shm, such as `256MB`.")
    privileged: bool | None = Field(None, description="Whether it has all rights on the engine's machine.")
    delete: bool = Field(default=True, description="Whether a container that is not waited for is removed at its end.")
    wait: bool = Field(
        default=True, description="Whether the task lasts until the container has ended; else nothing is collected."
    )
    file_handling_strategy: Literal["VOLUME", "MOUNT"] = Field(
        "VOLUME",
        description="VOLUME: the files are copied into a volume and back. MOUNT: the container works in the folder "
        "itself, which must be on the engine's machine.",
    )

    @field_validator("shm_size")
    @classmethod
    def _is_size(cls, text: str | None) -> str | None:
        if text is not None and "{" not in text:
            size(text)
        return text


class DockerProperty(DockerOptions):
    """The deprecated `docker:` of a script: the options of the Docker task runner, and the image."""

    image: str | None = Field(None, description="The image; `containerImage` comes first.")


class Docker(DockerOptions, RunnerProperties):
    """Run the script in a container of a Docker engine, in the image that `containerImage` names.

    The engine is the one of this machine (`/var/run/docker.sock`), the one DOCKER_HOST names, or that of `host`. The
    container sees its working directory and the variables of `env`, and nothing else of this machine. When the task is
    killed or times out, the code gets SIGTERM and five seconds later SIGKILL; the container is always removed. When its
    first process ends, so does everything the script left running.

        containerImage: python:3.13-slim
        taskRunner:
          type: io.kestra.plugin.scripts.runner.docker.Docker
          memory:
            memory: 512MB
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.scripts.runner.docker.Docker"
    NEEDS_IMAGE: ClassVar[bool] = True
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.scripts.runner.docker.DockerTaskRunner",)

    type: Literal[
        "io.kestra.plugin.scripts.runner.docker.Docker", "io.kestra.plugin.scripts.runner.docker.DockerTaskRunner"
    ] = "io.kestra.plugin.scripts.runner.docker.Docker"

    @classmethod
    def of(cls, given: DockerProperty) -> Docker:
        """Return the runner that the deprecated property asks for."""
        return cls.model_validate(given.model_dump(by_alias=True, exclude_unset=True, exclude={"image"}))

    def runner(self) -> TaskRunner:
        """Return the runner."""
        from headrace_runners.docker_task import DockerTaskRunner  # noqa: PLC0415 - flows are read without its libraries

        return DockerTaskRunner(self, os.environ)


def size(text: str) -> int:
    """Return the bytes of ``512MB``, ``2g`` or ``1048576``. Raises ValueError for anything else."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"`{text}` is not an amount such as 512MB or 2GB")
    return int(float(found["number"]) * _UNITS[found["unit"].upper()])
