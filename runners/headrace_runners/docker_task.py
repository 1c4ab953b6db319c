"""One run in Docker, as the properties of its task runner ask for it."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headrace_engine.plugin import RunContext, TaskFailure
from headrace_runners.contract import Command, OnLine, Site
from headrace_runners.docker import Cpu, DeviceRequest, Docker, Memory, size
from headrace_runners.docker_engine import Address
from headrace_runners.docker_runner import ContainerOptions, DockerRunner

_NANO = 1_000_000_000
_PORT = re.compile(
    r"(?:(?P<address>\d+(?:\.\d+){3}|\[[\da-fA-F:]+\]):)?(?:(?P<host>\d+):)?(?P<port>\d+)(?:/(?P<protocol>\w+))?"
)
HUB = "https://index.docker.io/v1/"
"""The registry of images that name none."""
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
        credentials=registry_credentials(given, image, environment),
        files=given.file_handling_strategy,
        wait=given.wait,
        delete=given.delete,
    )


def registry_credentials(given: Docker, image: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the image's registry is to be shown: `credentials`, else what `config` or the machine's own has."""
    registry = registry_of(image)
    if given.credentials is not None:
        told = given.credentials
        username, password = told.username, told.password
        if told.auth and not username:
            username, password = _basic(told.auth)
        return _texts(
            serveraddress=told.registry or registry,
            username=username,
            password=password,
            registrytoken=told.registry_token,
            identitytoken=told.identity_token,
        )
    found = _auths(given.config, environment)
    entry = next((found[name] for name in found if _host(name) == _host(registry)), None)
    if not isinstance(entry, Mapping):
        return {}
    username, password = entry.get("username"), entry.get("password")
    if entry.get("auth") and not username:
        username, password = _basic(str(entry["auth"]))
    return _texts(
        serveraddress=registry, username=username, password=password, identitytoken=entry.get("identitytoken")
    )


def registry_of(image: str) -> str:
    """Return the registry that an image's name begins with; Docker's own when it names none."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB


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


def _auths(config: str | Mapping[str, Any] | None, environment: Mapping[str, str]) -> Mapping[str, Any]:
    told: Any = config
    if told is None:
        folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME", "/"), ".docker"))
        with suppress(OSError):
            told = Path(folder, "config.json").read_text(encoding="utf-8")
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError as error:
            raise TaskFailure(f"The Docker configuration is not JSON: {error}") from None
    auths = told.get("auths") if isinstance(told, Mapping) else None
    return auths if isinstance(auths, Mapping) else {}


def _host(registry: str) -> str:
    host = registry.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def _basic(auth: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(auth).decode().partition(":")
    except ValueError:
        raise TaskFailure("`auth` of the registry's credentials is not `user:password` in Base64") from None
    return username, password


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _texts(**values: Any) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}
