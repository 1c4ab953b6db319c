"""What a task asks of ECS or Batch, and whether a stack does it: seen when a flow is saved, and when its task runs."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar, cast

from pydantic import ValidationError

from headrace_engine.plugin import TaskFailure
from headrace_engine.run_context import validation_text
from headrace_runners.containers.definitions import Definition, batch_definition, fargate_definition, is_on_fargate
from headrace_runners.containers.properties import MEMORY_BY_CPU, Batch, Fargate, megabytes
from headrace_runners.containers.settings import ContainerSettings
from headrace_runners.namespace_rules import NamespaceRules
from headrace_runners.placing import Placeable

Where = Literal["fargate", "batch"]
_Kind = TypeVar("_Kind", bound=Fargate | Batch)
_OF_NO_MATTER = frozenset({"tags", "region", "waitUntilCompletion", "completionCheckInterval"})
"""Properties on which `definition` does not depend."""


def asked_of(properties: Mapping[str, Any], kind: type[_Kind]) -> _Kind:
    """Return what the task says to its runner, if it names this one; what it says to another is not for this one.

    Raises ValidationError, TaskFailure.
    """
    given = properties.get("taskRunner")
    named = given if isinstance(given, Mapping) else {}
    if named.get("type") in (kind.TYPE, *kind.ALIASES):
        return cast("_Kind", kind.model_validate({**named, "type": kind.TYPE}))
    # A task that was to run on Lambda, and does not fit.
    kept: dict[str, Any] = {name: named[name] for name in ("taskRoleArn", "ephemeralStorage") if named.get(name)}
    memory = named.get("memory")
    if isinstance(memory, str) and memory.strip()[:1].isdigit():
        kept["resources"] = {"request": {"memory": _at_least(memory)}}
    return cast("_Kind", kind.model_validate({"type": kind.TYPE, **kept}))


def with_role(
    asked: Fargate | Batch, namespace: str, settings: ContainerSettings, rules: NamespaceRules
) -> Fargate | Batch:
    """Return *asked* with the role of the code, its namespace's where it names none.

    Raises TaskFailure for a role that flows there may not name.
    """
    for role in filter(None, (asked.task_role_arn, asked.execution_role_arn)):
        own = role in (settings.task_role, settings.execution_role)
        if not own and not any(fnmatchcase(role, pattern) for pattern in settings.task_roles):
            raise TaskFailure(
                f"This stack does not allow the role {role}: whoever deploys it names those it does "
                "(`-c headrace:taskRoles=…`)"
            )
        if rules.is_anothers(role, namespace):
            raise TaskFailure(f"The role {role} is for another namespace than {namespace}: name one of its own")
    return asked.model_copy(update={"task_role_arn": asked.task_role_arn or rules.task_role(namespace) or None})


def definition(asked: Fargate | Batch, image: str, settings: ContainerSettings, region: str) -> Definition:
    """Return the definition for what is asked for. Raises TaskFailure for what the stack does not do."""
    if isinstance(asked, Fargate):
        return fargate_definition(image, asked, settings, region)
    _check_queue(asked, settings)
    return batch_definition(image, asked, settings, region)


def queue_of(asked: Batch, settings: ContainerSettings) -> str:
    """Return the queue that a job goes to. Raises TaskFailure where the stack has none for it."""
    queue = asked.job_queue_arn or settings.queues.get("FARGATE_SPOT" if asked.spot else "FARGATE")
    if not queue:
        raise TaskFailure("This stack has no queue of AWS Batch for that: name one of yours in `jobQueueArn`")
    return queue


def misfit(wanted: Placeable, where: Where, settings: ContainerSettings, region: str, rules: NamespaceRules) -> str:
    """Return why the stack will not run what is wanted, and what to do; empty when it may.

    Where expressions say what is asked for, it is seen when the task runs.
    """
    given = wanted.properties.get("taskRunner")
    named = {key: given[key] for key in given if key not in _OF_NO_MATTER} if isinstance(given, Mapping) else {}
    if _has_expression(named):
        return ""
    kind: type[Fargate | Batch] = Batch if where == "batch" else Fargate
    try:
        asked = with_role(asked_of({"taskRunner": named}, kind), wanted.namespace, settings, rules)
        definition(asked, "image", settings, region)
    except TaskFailure as failure:
        return str(failure)
    except ValidationError as error:
        return validation_text(error)
    return ""


def _check_queue(asked: Batch, settings: ContainerSettings) -> None:
    queue, gpu = asked.job_queue_arn, asked.resources.request.gpu
    if gpu and asked.platform == "FARGATE":
        raise TaskFailure("Fargate has no GPU: leave `platform` out, and name a queue of EC2 machines in `jobQueueArn`")
    if queue is None:
        if not is_on_fargate(asked):
            what = "a GPU" if gpu else "`platform: EC2`"
            raise TaskFailure(
                f"The stack's own queues run on Fargate, which {what} is not for: name a queue of EC2 machines in "
                "`jobQueueArn`"
            )
        return
    if asked.spot:
        raise TaskFailure(
            "`spot` chooses between the stack's own queues, and `jobQueueArn` names another, whose compute environment "
            "says whether it is Spot: leave one of them out, or say `spot: false`"
        )
    if queue not in (*settings.queues.values(), *settings.job_queues):
        raise TaskFailure(
            f"This stack does not let flows use the queue {queue}: whoever deploys it names those it does "
            "(`-c headrace:jobQueues=…`)"
        )
    if not is_on_fargate(asked):
        for name, value, instead in (
            ("ephemeralStorage", asked.ephemeral_storage, "the machines of a queue have the disk"),
            ("cpuArchitecture", asked.cpu_architecture, "the machines of a queue have the processors"),
        ):
            if value is not None:
                raise TaskFailure(
                    f"`{name}` is for Fargate; on EC2 {instead} that its compute environment gives them: leave it out"
                )


def _has_expression(value: Any) -> bool:
    match value:
        case str():
            return "{{" in value or "{%" in value
        case Mapping():
            return any(map(_has_expression, value.values()))
        case list() | tuple():
            return any(map(_has_expression, value))
    return False


def _at_least(memory: str) -> str:
    """Return the least memory of a Fargate task that has as much."""
    wanted = megabytes(memory)
    sizes = sorted({size for sizes in MEMORY_BY_CPU.values() for size in sizes})
    return str(next((size for size in sizes if size >= wanted), wanted))
