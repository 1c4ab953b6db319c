"""The task runners `io.headrace.runner.ecs.Fargate` and `io.kestra.plugin.ee.aws.runner.Batch`: what a task may say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import BeforeValidator, Field

from headrace_engine.plugin import Properties, Rendering, TaskFailure
from headrace_runners.contract import RunnerProperties
from headrace_runners.placing import AMOUNT

_AS_THE_STACK = "Refused: jobs are submitted with the stack's own role."
_UNIT = 1024
_CPU_AS_VCPU = 16
"""The most CPUs of a Fargate task; a larger number is in units of 1/1024."""

MEMORY_BY_CPU: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
"""The MiB that Fargate gives beside so many units of CPU."""


def cpu_units(text: str) -> int:
    """Return the units of 1/1024 CPU that *text* says: ``0.5`` or ``512``. Raises TaskFailure."""
    try:
        number = float(text)
    except ValueError:
        raise TaskFailure(f"'{text}' is not a number of CPUs: write 0.25, 0.5, 1, 2, 4, 8 or 16") from None
    return int(number * _UNIT) if number <= _CPU_AS_VCPU else int(number)


def megabytes(text: str) -> int:
    """Return the MiB that *text* says: ``2048``, ``2048 MB`` or ``2 GB``. Raises TaskFailure."""
    found = AMOUNT.fullmatch(text.strip())
    if found is None:
        raise TaskFailure(f"'{text}' is not an amount of memory: write a number of MiB, or one with MB or GB")
    return int(float(found["number"]) * (_UNIT if found["unit"][:1].upper() == "G" else 1))


def check_size(cpu: int, memory: int) -> None:
    """Raise TaskFailure where Fargate has no such size."""
    allowed = MEMORY_BY_CPU.get(cpu)
    if allowed is None:
        sizes = ", ".join(f"{units / _UNIT:g}" for units in MEMORY_BY_CPU)
        raise TaskFailure(f"Fargate has no {cpu / _UNIT:g} CPU; it has {sizes}")
    if memory not in allowed:
        raise TaskFailure(
            f"Fargate has no {memory} MiB beside {cpu / _UNIT:g} CPU; "
            + (f"it has {allowed[0]} to {allowed[-1]}" if len(allowed) > 1 else f"it has {allowed[0]}")
            + (f" in steps of {allowed[1] - allowed[0]}" if cpu > _UNIT // 4 else ": 512, 1024 and 2048")
        )


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Amount = Annotated[str, BeforeValidator(_text)]


class Request(Properties):
    """What a container asks for."""

    cpu: Amount | None = Field(None, description="CPUs: `0.25`, `0.5`, `1`, `2` …")
    memory: Amount | None = Field(None, description="Memory in MiB, or with a unit: `2 GB`.")
    gpu: int | None = Field(None, ge=1, description="GPUs, on a Batch queue of EC2 machines that have some.")


class Resources(Properties):
    """What is asked for, as Kestra has it."""

    request: Request = Field(default_factory=Request, description="What the task needs.")


class _Container(RunnerProperties):
    IN_THE_CLOUD: ClassVar[bool] = True

    resources: Resources = Field(default_factory=Resources, description="CPU, memory and GPU; the stack has defaults.")
    task_role_arn: str | None = Field(
        None, description="The role of the code itself. The stack must allow it; without one the code may do nothing."
    )
    execution_role_arn: str | None = Field(
        None, description="The role with which the image is pulled, such as from a private registry."
    )
    spot: bool = Field(
        default=False, description="Whether the task may be taken away for a lower price; it then begins again."
    )
    ephemeral_storage: Amount | None = Field(
        None, description="Disk for code, files and image, 21 to 200 GiB: `50`. 20 GiB if left out."
    )
    cpu_architecture: Literal["ARM64", "X86_64"] | None = Field(
        None, description="What the image is made for; the stack's default if left out."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the task, for the bill.")
    retries: Annotated[int | None, Rendering.STATIC] = Field(
        None,
        ge=0,
        le=10,
        description="How often in a row an attempt that was lost, to Spot or with its machine, begins again; 2 if left "
        "out. `retry` of the task is for failures.",
    )

    @classmethod
    def resubmits(cls, given: Mapping[str, Any]) -> int | None:
        """Return what `retries` says."""
        said = given.get("retries")
        return int(said) if said is not None else None

    def runner(self) -> NoReturn:
        """Refuse: this is no machine of AWS."""
        raise TaskFailure(
            f"`{self.TYPE}` runs on a stack on AWS only. Here, run the task with "
            "`taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker}` or "
            "`{type: io.kestra.plugin.core.runner.Process}`, or leave taskRunner out of the flow and set it by "
            "`pluginDefaults` where the stack is"
        )


class Fargate(_Container):
    """Run the script in a container of any image on ECS Fargate.

    The image needs `/bin/sh` and nothing else of ours: files and outputs come and go through two small containers
    beside it. On AWS the task runner need not be named: an image, or a timeout over 14 minutes, is enough.

        taskRunner:
          type: io.headrace.runner.ecs.Fargate
          resources:
            request:
              cpu: 2
              memory: 8 GB
    """

    TYPE: ClassVar[str] = "io.headrace.runner.ecs.Fargate"
    ALIASES: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.ee.aws.runner.EcsFargate",)

    type: Literal["io.headrace.runner.ecs.Fargate", "io.kestra.plugin.ee.aws.runner.EcsFargate"]
    subnets: list[str] = Field(default_factory=list, description="Subnets; the stack's if left out.")
    security_groups: list[str] = Field(default_factory=list, description="Security groups; the stack's if left out.")
    assign_public_ip: bool | None = Field(
        None, description="Whether the task gets a public address; as the stack has it if left out."
    )


class Batch(_Container):
    """Run the script as a job of AWS Batch: on Fargate, or on EC2 machines of a queue of yours, with GPUs too.

    The stack has a queue on Fargate and one on Fargate Spot. The image's own entry point stays, and is to run the
    command it is given, as that of most images does.

        taskRunner:
          type: io.kestra.plugin.ee.aws.runner.Batch
          resources:
            request:
              cpu: 1
              memory: 2048
    """

    TYPE: ClassVar[str] = "io.kestra.plugin.ee.aws.runner.Batch"
    ALIASES: ClassVar[tuple[str, ...]] = (
        "io.kestra.plugin.aws.runner.Batch",
        "io.kestra.plugin.ee.aws.runner.AwsBatchTaskRunner",
        "io.kestra.plugin.aws.runner.AwsBatchTaskRunner",
    )

    type: Literal[
        "io.kestra.plugin.ee.aws.runner.Batch",
        "io.kestra.plugin.aws.runner.Batch",
        "io.kestra.plugin.ee.aws.runner.AwsBatchTaskRunner",
        "io.kestra.plugin.aws.runner.AwsBatchTaskRunner",
    ]
    job_queue_arn: str | None = Field(None, description="The job queue; the stack's if left out.")
    platform: Literal["FARGATE", "EC2"] | None = Field(
        None, description="What the queue runs on. EC2 if a GPU is asked for, Fargate otherwise."
    )
    sidecar_resources: Resources = Field(
        default_factory=Resources,
        description="What each of the two containers for files gets: 0.25 CPU and 512 MiB on Fargate. On Fargate it is "
        "part of `resources`.",
    )
    wait_until_completion: timedelta | None = Field(
        None, description="After how long Batch ends the job, where the task has no `timeout`. Never if left out."
    )
    region: str | None = Field(None, description="Refused, unless it is the stack's own: jobs run there.")
    compute_environment_arn: str | None = Field(
        None, description="Refused without `jobQueueArn`; the queue that names has its compute environment."
    )
    bucket: str | None = Field(None, description="Refused: files go through the stack's own bucket.")
    access_key_id: str | None = Field(None, description=_AS_THE_STACK)
    secret_key_id: str | None = Field(None, description=_AS_THE_STACK)
    session_token: str | None = Field(None, description=_AS_THE_STACK)
    sts_role_arn: str | None = Field(None, description=_AS_THE_STACK)
    sts_role_external_id: str | None = Field(None, description=_AS_THE_STACK)
    sts_role_session_name: str | None = Field(None, description=_AS_THE_STACK)
    sts_role_session_duration: Any = Field(None, description=_AS_THE_STACK)
    sts_endpoint_override: str | None = Field(None, description=_AS_THE_STACK)
    endpoint_override: str | None = Field(None, description="Refused: jobs go to Batch of the stack's account.")
    service_account_name: str | None = Field(None, description="Refused: jobs do not run on EKS here.")
    completion_check_interval: Any = Field(None, description="Taken: an event of Batch tells the end at once.")
    delete: bool = Field(default=True, description="Taken: a job leaves nothing of its own; definitions are shared.")
    resume: bool = Field(
        default=True, description="Taken: a job goes on whatever becomes of us, and what is lost begins as a new one."
    )
    stream_logs: bool = Field(default=True, description="Taken: lines come while the job runs, and all of them.")
    sync_working_directory: bool = Field(
        default=False, description="Taken: the tasks of a WorkingDirectory share their files wherever they run."
    )
