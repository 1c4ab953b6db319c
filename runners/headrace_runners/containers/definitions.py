"""Task definitions of ECS and job definitions of Batch: three containers, a volume, and nothing of any single run.

A definition is named after what it says, so all runs like it share one, and it is registered once. What differs from
run to run (the attempt, and its token) only the side containers get, as overrides when it is started.

`stage-in` takes the attempt's claim and puts the files there; `main` and `stage-out` begin when it has succeeded. When
`stage-out`, the essential one, ends, the whole task does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import TaskFailure
from headrace_runners.containers.properties import (
    MEMORY_BY_CPU,
    Batch,
    Fargate,
    check_size,
    cpu_units,
    megabytes,
)
from headrace_runners.containers.settings import ContainerSettings

VOLUME, OWN_VOLUME = "/headrace", "/headrace-own"
MAIN, STAGE_IN, STAGE_OUT = "main", "stage-in", "stage-out"
_VERSION = 1
"""Goes up when old definitions are no longer to be used."""
_SIDE_CPU, _SIDE_MEMORY = 256, 512
_SIDE_MEMORY_EC2 = 256
_LEAST_BATCH = (1024, 2048)
"""The smallest Fargate task with room for three containers of Batch, which wants each one's share told."""
_MAIN_STOPS, _SIDE_STOPS = 30, 120
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What is registered under a name."""

    name: str
    body: Mapping[str, Any]
    """The arguments of RegisterTaskDefinition or RegisterJobDefinition, but for the name."""


@cache
def program() -> str:
    """Return the side containers' program as an argument of Python's: `stage-in` leaves it as a file for the other."""
    files = resources.files("headrace_runners.containers")
    wrapper, stager = (files.joinpath(name).read_text(encoding="utf-8") for name in ("wrapper.sh", "stager.py"))
    source = stager.replace("\nWRAPPER: str\n", f"\nWRAPPER = {wrapper!r}\n", 1)
    packed = base64.b85encode(zlib.compress(source.encode(), 9)).decode()
    return f"import base64,zlib;SOURCE=zlib.decompress(base64.b85decode('{packed}'));exec(SOURCE)"


def fargate_definition(image: str, asked: Fargate, settings: ContainerSettings, region: str) -> Definition:
    """Return the task definition for *image*. Raises TaskFailure for a size that Fargate does not have."""
    cpu, memory = _size(asked, settings)
    check_size(cpu, memory)
    if asked.resources.request.gpu is not None:
        raise TaskFailure("Fargate has no GPU: use AWS Batch with a queue of EC2 machines that have some")
    body: dict[str, Any] = {
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(cpu),
        "memory": str(memory),
        "runtimePlatform": _platform(asked, settings),
        "executionRoleArn": asked.execution_role_arn or settings.execution_role,
        "volumes": [{"name": "headrace"}, {"name": "headrace-own"}],
        "containerDefinitions": [
            {
                **_main(image, settings, region),
                "entryPoint": ["/bin/sh", f"{VOLUME}/wrapper.sh"],
                "stopTimeout": _MAIN_STOPS,
            },
            {**_side(STAGE_IN, settings, region), "essential": False},
            {**_side(STAGE_OUT, settings, region), "stopTimeout": _SIDE_STOPS},
        ],
        **_role(asked, settings),
        **_disk(asked),
    }
    return _named(settings, "task", body)


def batch_definition(image: str, asked: Batch, settings: ContainerSettings, region: str) -> Definition:
    """Return the job definition for *image*. Raises TaskFailure for a size that Fargate does not have."""
    on_fargate = is_on_fargate(asked)
    cpu, memory = _size(asked, settings)
    if on_fargate:
        cpu, memory = max(cpu, _LEAST_BATCH[0]), max(memory, _LEAST_BATCH[1])
        check_size(cpu, memory)
    side = asked.sidecar_resources.request
    side_cpu = cpu_units(side.cpu) if side.cpu else _SIDE_CPU
    side_memory = megabytes(side.memory) if side.memory else (_SIDE_MEMORY if on_fargate else _SIDE_MEMORY_EC2)
    own_cpu, own_memory = (cpu - 2 * side_cpu, memory - 2 * side_memory) if on_fargate else (cpu, memory)
    if own_cpu <= 0 or own_memory <= 0:
        raise TaskFailure(
            f"Of {cpu / 1024:g} CPU and {memory} MiB the two containers for files leave nothing: ask for more in "
            "`resources`, or for less in `sidecarResources`"
        )
    gpu = asked.resources.request.gpu
    main = {
        **_main(image, settings, region),
        "command": ["/bin/sh", f"{VOLUME}/wrapper.sh"],
        "resourceRequirements": _requirements(own_cpu, own_memory, on_fargate=on_fargate, gpu=gpu),
    }
    sides = [
        {
            **_side(name, settings, region),
            "essential": name == STAGE_OUT,
            "resourceRequirements": _requirements(side_cpu, side_memory, on_fargate=on_fargate),
        }
        for name in (STAGE_IN, STAGE_OUT)
    ]
    task: dict[str, Any] = {
        "containers": [main, *sides],
        "volumes": [{"name": "headrace", "host": {}}, {"name": "headrace-own", "host": {}}],
        "executionRoleArn": asked.execution_role_arn or settings.execution_role,
        **_role(asked, settings),
    }
    if on_fargate:
        public = "ENABLED" if settings.assign_public_ip else "DISABLED"
        task |= {
            "platformVersion": "LATEST",
            "runtimePlatform": _platform(asked, settings),
            "networkConfiguration": {"assignPublicIp": public},
            **_disk(asked),
        }
    body = {
        "type": "container",
        "platformCapabilities": ["FARGATE" if on_fargate else "EC2"],
        # What a machine's loss takes away begins again as another attempt, and a failure is the flow's to retry.
        "retryStrategy": {"attempts": 1},
        "propagateTags": True,
        "ecsProperties": {"taskProperties": [task]},
    }
    return _named(settings, "job", body)


def is_on_fargate(asked: Batch) -> bool:
    """Return whether a job's queue runs on Fargate."""
    return (asked.platform or ("EC2" if asked.resources.request.gpu else "FARGATE")) == "FARGATE"


def _named(settings: ContainerSettings, kind: str, body: Mapping[str, Any]) -> Definition:
    # Not of the packed program, which may differ from one zlib to the next.
    told = json.dumps([_VERSION, body], sort_keys=True, default=str).replace(program(), _program_digest())
    digest = hashlib.sha256(told.encode()).hexdigest()[:20]
    return Definition(f"{settings.family}-{kind}-{digest}", body)


@cache
def _program_digest() -> str:
    files = resources.files("headrace_runners.containers")
    both = b"".join(files.joinpath(name).read_bytes() for name in ("wrapper.sh", "stager.py"))
    return hashlib.sha256(both).hexdigest()


def _size(asked: Fargate | Batch, settings: ContainerSettings) -> tuple[int, int]:
    """Return the units of CPU and the MiB; where one is asked for, the other follows as far as it must."""
    request = asked.resources.request
    if request.cpu is None and request.memory is None:
        return cpu_units(settings.cpu), megabytes(settings.memory)
    if request.memory is None:
        cpu = cpu_units(request.cpu or settings.cpu)
        sizes, default = MEMORY_BY_CPU.get(cpu, (2 * cpu,)), megabytes(settings.memory)
        return cpu, default if default in sizes else sizes[0]
    memory = megabytes(request.memory)
    if request.cpu is not None:
        return cpu_units(request.cpu), memory
    least = cpu_units(settings.cpu)
    fitting = [cpu for cpu, sizes in MEMORY_BY_CPU.items() if memory in sizes]
    return (least if least in fitting else min(fitting, default=least)), memory


def _main(image: str, settings: ContainerSettings, region: str) -> dict[str, Any]:
    return {
        "name": MAIN,
        "image": image,
        # Whatever becomes of it, what it left is to be stored.
        "essential": False,
        "dependsOn": [{"containerName": STAGE_IN, "condition": "SUCCESS"}],
        "mountPoints": [{"sourceVolume": "headrace", "containerPath": VOLUME}],
        "logConfiguration": _logs(settings, region),
    }


def _side(name: str, settings: ContainerSettings, region: str) -> dict[str, Any]:
    side: dict[str, Any] = {
        "name": name,
        "image": settings.stager,
        "essential": True,
        "command": ["python3", "-c", program(), "in", VOLUME, OWN_VOLUME],
        "mountPoints": [
            {"sourceVolume": "headrace", "containerPath": VOLUME},
            {"sourceVolume": "headrace-own", "containerPath": OWN_VOLUME},
        ],
        "logConfiguration": _logs(settings, region),
    }
    if name == STAGE_OUT:
        side["command"] = ["python3", f"{OWN_VOLUME}/stager.py", "out", VOLUME, OWN_VOLUME]
        side["dependsOn"] = [{"containerName": STAGE_IN, "condition": "SUCCESS"}]
    return side


def _logs(settings: ContainerSettings, region: str) -> dict[str, Any]:
    options = {"awslogs-group": settings.log_group, "awslogs-region": region, "awslogs-stream-prefix": "headrace"}
    # A log that does not take lines is not to hold up anybody.
    return {"logDriver": "awslogs", "options": {**options, "mode": "non-blocking"}}


def _platform(asked: Fargate | Batch, settings: ContainerSettings) -> dict[str, str]:
    return {
        "operatingSystemFamily": "LINUX",
        "cpuArchitecture": asked.cpu_architecture or settings.architecture,
    }


def _role(asked: Fargate | Batch, settings: ContainerSettings) -> dict[str, str]:
    role = asked.task_role_arn or settings.task_role
    return {"taskRoleArn": role} if role else {}


def _disk(asked: Fargate | Batch) -> dict[str, Any]:
    if asked.ephemeral_storage is None:
        return {}
    text = asked.ephemeral_storage.strip()
    gigabytes = int(text) if text.isdecimal() else -(-megabytes(text) // 1024)
    if not 21 <= gigabytes <= 200:
        raise TaskFailure(f"Fargate has no {gigabytes} GiB of disk: it has 20, or 21 to 200")
    return {"ephemeralStorage": {"sizeInGiB": gigabytes}}


def _requirements(cpu: int, memory: int, *, on_fargate: bool, gpu: int | None = None) -> list[dict[str, str]]:
    cpus = f"{cpu / 1024:g}" if on_fargate else str(max(1, round(cpu / 1024)))
    needed = [{"type": "VCPU", "value": cpus}, {"type": "MEMORY", "value": str(memory)}]
    return [*needed, {"type": "GPU", "value": str(gpu)}] if gpu else needed
