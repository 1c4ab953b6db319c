"""One run in Docker, as the properties of its task runner ask for it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from headrace_engine.plugin import RunContext, TaskFailure
from headrace_runners.contract import Command, OnLine, Site
from headrace_runners.docker import Cpu, DeviceRequest, Docker, Memory, size
from headrace_runners.docker_credentials import registry_credentials
from headrace_runners.docker_engine import Address
from headrace_runners.docker_runner import ContainerOptions, DockerRunner

_NANO = 1_000_000_000
_PORT = re.compile(
    r"(?:(?P<address>\d+(?:\.\d+){3}|\[[\da-fA-F:]+\]):)?(?:(?P<host>\d+):)?(?P<port>\d+)(?:/(?P<protocol>\w+))?"
)
_NO_VOLUMES = (
    "`volumes` mounts folders of the machine that Docker runs on, and that is switched off. Whoever runs Headrace "
    "switches it on with HEADRACE_DOCKER_VOLUMES=true"
)


class DockerTaskRunner:
    """Implements contract.TaskRunner for one run with these properties."""

    def __init__(self, properties: Docker, environment: Mapping[str, str]) -> None:
        """Take the properties, and the environment that says where an engine listens."""
        self._properties = properties
        self._environment = environment
        try:
            address = Address.of(properties.host, environment)
        except ValueError as error:
            raise TaskFailure(str(error)) from None
        self._address = address
        self._name = secrets.token_hex(6)

    def site(self, directory: Path) -> Site:
        """See TaskRunner.site."""
        return self._runner(ContainerOptions()).site(directory)

    def run(self, command: Command, context: RunContext, on_line: OnLine) -> int:
        """See TaskRunner.run."""
        if self._properties.volumes and not context.code.volumes:
            raise TaskFailure(_NO_VOLUMES)
        options = container_options(self._properties, command.image, self._environment)
        return self._runner(options).run(command, context, on_line)

    def _runner(self, options: ContainerOptions) -> DockerRunner:
        return DockerRunner(self._address, options, self._name)


def container_options(given: Docker, image: str, environment: Mapping[str, str]) -> ContainerOptions:
    """Return how a container with these properties is made. Raises TaskFailure for a value that says nothing."""
    ports = [_port(text) for text in given.port_bindings or []]
    memory, cpu = given.memory or Memory(), given.cpu or Cpu()
    host = {
        "Binds": given.volumes,
        "DeviceRequests": [_device(each) for each in given.device_requests or []] or None,
        "ExtraHosts": given.extra_hosts,
        "Memory": _bytes(memory.memory),
        "MemoryReservation": _bytes(memory.memory_reservation),
        "MemorySwap": -1 if memory.memory_swap == "-1" else _bytes(memory.memory_swap),
        "MemorySwappiness": memory.memory_swappiness,
        "NanoCpus": None if cpu.cpus is None else int(cpu.cpus * _NANO),
        "NetworkMode": given.network_mode,
        "OomKillDisable": memory.oom_kill_disable,
        "PortBindings": {name: [binding] for name, binding in ports} or None,
        "Privileged": given.privileged,
        "ShmSize": _bytes(given.shm_size),
    }
    configuration: dict[str, Any] = {
        "Entrypoint": given.entry_point or [""],  # one empty text takes the image's entry point away
        "ExposedPorts": {name: {} for name, _ in ports} or None,
        "User": given.user,
    }
    return ContainerOptions(
        configuration=_present(configuration),
        host=_present(host),
        pull=given.pull_policy,
        credentials=partial(registry_credentials, given, image, environment),
        files=given.file_handling_strategy,
        wait=given.wait,
        delete=given.delete,
    )


def _bytes(text: str | None) -> int | None:
    try:
        return None if text is None else size(text)
    except ValueError as error:
        raise TaskFailure(str(error)) from None


def _port(text: str) -> tuple[str, dict[str, str]]:
    found = _PORT.fullmatch(text.strip())
    if found is None:
        raise TaskFailure(f"`{text}` of portBindings is not a binding such as `8080:80`")
    binding = {"HostIp": (found["address"] or "").strip("[]"), "HostPort": found["host"] or ""}
    return f"{found['port']}/{found['protocol'] or 'tcp'}", binding


def _device(request: DeviceRequest) -> dict[str, Any]:
    return _present(
        {
            "Driver": request.driver,
            "Count": request.count,
            "DeviceIDs": request.device_ids,
            "Capabilities": request.capabilities,
            "Options": request.options,
        }
    )


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
