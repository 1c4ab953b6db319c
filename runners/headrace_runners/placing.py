"""Where a script runs on AWS: on Lambda what fits there, in a container what does not. A rule without I/O.

In this order, the first that applies:

1. a task that names AWS Batch runs there;
2. a task that names Fargate, or Docker, runs on Fargate;
3. so does every script of a namespace that is to be isolated,
4. one that names an image (unless it names Process, which has none),
5. one in a language, or for a version of Python, that Lambda's image does not have,
6. one whose ``timeout`` is longer than an invocation,
7. one that asks for more disk or memory than a function has;
8. everything else runs on Lambda, in the smallest function that has the memory asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol

from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import format_duration

LAMBDA = "io.headrace.runner.lambda.Lambda"
FARGATE = "io.headrace.runner.ecs.Fargate"
BATCH = "io.kestra.plugin.ee.aws.runner.Batch"
_PROCESS = (
    "io.kestra.plugin.core.runner.Process",
    "io.kestra.core.models.tasks.runners.types.ProcessTaskRunner",
)
_DOCKER = (
    "io.kestra.plugin.scripts.runner.docker.Docker",
    "io.kestra.plugin.scripts.runner.docker.DockerTaskRunner",
)
_FARGATE = (FARGATE, "io.kestra.plugin.ee.aws.runner.EcsFargate")
_BATCH = (
    BATCH,
    "io.kestra.plugin.aws.runner.Batch",
    "io.kestra.plugin.ee.aws.runner.AwsBatchTaskRunner",
    "io.kestra.plugin.aws.runner.AwsBatchTaskRunner",
)

_AS_SOMEBODY = (
    "accessKeyId",
    "secretKeyId",
    "sessionToken",
    "stsRoleArn",
    "stsRoleExternalId",
    "stsRoleSessionName",
    "stsRoleSessionDuration",
    "stsEndpointOverride",
)
"""Properties of Batch by which a job would be submitted in another's name."""

_SCRIPT = re.compile(r"io\.kestra\.plugin\.scripts\.(?P<language>\w+)\.\w+")
ON_LAMBDA = frozenset({"python", "shell", "node"})
"""The languages that the `script` function has."""
AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[MG]i?B?|)", re.IGNORECASE)
"""An amount of memory or disk, in MB where it has no unit."""

Where = Literal["lambda", "fargate", "batch"]


class Size(StrEnum):
    """The classes of memory on Lambda, the smallest first."""

    SMALL = "SMALL"
    MEDIUM = "MEDIUM"
    LARGE = "LARGE"


class Placeable(Protocol):
    """What a place depends on. A job is one."""

    @property
    def type(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def properties(self) -> Mapping[str, Any]: ...
    @property
    def timeout(self) -> timedelta | None: ...


@dataclass(frozen=True, slots=True)
class Sketch:
    """A task that is not a job yet: its properties may still be expressions."""

    type: str
    namespace: str
    properties: Mapping[str, Any]
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """What a stack has to run scripts with."""

    memory: Mapping[Size, int] = field(default_factory=lambda: {Size.SMALL: 1769, Size.MEDIUM: 3008, Size.LARGE: 10240})
    """MB of the functions it has, by size."""
    containers: bool = False
    """Whether it has a cluster and queues."""
    longest: timedelta = timedelta(minutes=14, seconds=30)
    """The longest ``timeout`` that ends inside an invocation, with time left to report it."""
    python: str = ""
    """The version of Python that functions have, such as ``3.13``; not asked about when empty."""
    disk: int = 2048
    """MB of a function's disk."""
    is_isolated: Callable[[str], bool] = lambda _namespace: False
    """Whether a namespace's scripts run in containers only."""
    region: str = ""
    """Its region of AWS; what a task says of one is not compared when empty."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a script runs, and why."""

    where: Where
    why: str
    size: Size | None = None
    """Of the function, on Lambda."""
    refusal: str = ""
    """Why the stack cannot run it there, and what to do; empty when it can."""

    def described(self, stack: Stack) -> dict[str, Any]:
        """Return what the output ``taskRunner`` shows."""
        if self.size is None:
            return {"type": BATCH if self.where == "batch" else FARGATE, "why": self.why}
        return {"type": LAMBDA, "size": self.size.value, "memory": stack.memory[self.size], "why": self.why}


def place(wanted: Placeable, stack: Stack) -> Placement:
    """Return where *wanted* runs in *stack*; the same for every re-issue of a job."""
    properties = wanted.properties
    given = properties.get("taskRunner")
    runner: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    kind = str(runner.get("type") or "")
    if kind in _BATCH:
        placed = _container("batch", "The task names AWS Batch", stack)
        return placed if placed.refusal else replace(placed, refusal=_elsewhere(runner, stack))
    why = _why_container(wanted, kind, stack)
    if why:
        return _container("fargate", why, stack)
    disk, memory = _megabytes(runner.get("ephemeralStorage")), _memory(runner.get("memory"), stack)
    if disk is not None and disk > stack.disk:
        return _container("fargate", f"It asks for {disk} MB of disk, and a function has {stack.disk}", stack)
    fitting = [size for size in Size if size in stack.memory and stack.memory[size] >= memory]
    if not fitting:
        most = max(stack.memory.values(), default=0)
        return _container("fargate", f"It asks for {memory} MB of memory, and a function has {most} at most", stack)
    asked = runner.get("memory")
    why = f"It asks for {asked} memory" if asked else "It fits into a function"
    return Placement("lambda", why, fitting[0])


def _why_container(wanted: Placeable, kind: str, stack: Stack) -> str:
    """Return why the task does not run on Lambda whatever its memory; empty when it may."""
    properties = wanted.properties
    if kind in _FARGATE:
        return "The task names Fargate"
    if kind in _DOCKER or (not kind and properties.get("runner") == "DOCKER"):
        return "The task names Docker, which runs on Fargate here"
    if stack.is_isolated(wanted.namespace):
        return f"The namespace {wanted.namespace} is isolated: all of its scripts run in containers"
    is_process = kind in _PROCESS or (not kind and properties.get("runner") == "PROCESS")
    image = "" if is_process else _image(properties)
    if image:
        return f"It names the image {image}"
    script = _SCRIPT.fullmatch(wanted.type)
    if script is not None and script["language"] not in ON_LAMBDA:
        return f"The functions have no {script['language']}"
    version = str(properties.get("pythonVersion") or "")
    # An expression may still turn out to name the functions' own.
    if version and stack.python and "{" not in version and not f"{stack.python}.".startswith(f"{version}."):
        return f"The functions have Python {stack.python}, and it asks for {version}"
    if wanted.timeout is not None and wanted.timeout > stack.longest:
        return (
            f"Its timeout is {format_duration(wanted.timeout)}, and a function runs for "
            f"{format_duration(stack.longest)} at most"
        )
    return ""


def _container(where: Where, why: str, stack: Stack) -> Placement:
    refusal = ""
    if not stack.containers:
        refusal = (
            f"it needs a container, and this stack has none. {why}. Deploy the stack with containers "
            "(`-c headrace:containers=true`), or change the task so that it fits Lambda: Python, shell or Node.js, "
            "no image, a timeout up to 14 minutes"
        )
    return Placement(where, why, refusal=refusal)


def _elsewhere(runner: Mapping[str, Any], stack: Stack) -> str:
    """Return why a job cannot run where, or as whom, its task says; empty when it says nothing of it."""
    given = [name for name, value in runner.items() if value is not None and value != ""]
    refusals = []
    if named := [f"`{name}`" for name in given if name in _AS_SOMEBODY]:
        refusals.append(
            f"{', '.join(named)} of AWS Batch: not supported, for jobs are submitted with the stack's own role. Leave "
            "that out; what the code itself may do, `taskRoleArn` says"
        )
    if "endpointOverride" in given:
        refusals.append(
            "`endpointOverride` of AWS Batch: not supported, for jobs go to Batch of the stack's account. Leave it "
            "out; a queue of yours is named by `jobQueueArn`"
        )
    if "serviceAccountName" in given:
        refusals.append(
            "`serviceAccountName` of AWS Batch: not supported, for jobs do not run on EKS here. Leave it out; what the "
            "code itself may do, `taskRoleArn` says"
        )
    if "bucket" in given:
        refusals.append(
            "`bucket` of AWS Batch: not supported, for files go through the stack's own bucket. Leave it out; "
            "`inputFiles`, `outputFiles` and `namespaceFiles` work without it"
        )
    if "computeEnvironmentArn" in given and "jobQueueArn" not in given:
        refusals.append(
            "`computeEnvironmentArn` of AWS Batch: not supported without `jobQueueArn`, for no queue is made for a "
            "job. Name a queue of that compute environment in `jobQueueArn`, or leave both out"
        )
    region = str(runner.get("region") or "")
    # What an expression says is known when it is rendered.
    if region and stack.region and region != stack.region and "{{" not in region and "{%" not in region:
        refusals.append(
            f"`region: {region}` of AWS Batch: not supported, for jobs run in the stack's region, {stack.region}. "
            f"Leave it out, or run the flow on a stack in {region}"
        )
    return ". ".join(refusals)


def _image(properties: Mapping[str, Any]) -> str:
    docker = properties.get("docker")
    older = docker.get("image") if isinstance(docker, Mapping) else None
    return str(properties.get("containerImage") or older or "")


def _memory(asked: Any, stack: Stack) -> int:
    """Return the MB asked for; a class asks for what its function has, or would have."""
    if asked is None or asked == "":
        return 0
    name = str(asked).strip().upper()
    if name in Size.__members__:
        size = Size(name)
        return stack.memory.get(size, _CLASSES[size])
    return _megabytes(asked) or 0


_CLASSES = {Size.SMALL: 1769, Size.MEDIUM: 3008, Size.LARGE: 10240}


def _megabytes(text: Any) -> int | None:
    """Return how many MB a text such as ``4096``, ``4096 MB`` or ``4 GB`` says; None for anything else."""
    found = AMOUNT.fullmatch(str(text).strip()) if text is not None else None
    if found is None:
        return None
    return int(float(found["number"]) * (1024 if found["unit"][:1].upper() == "G" else 1))
