"""What a stack with containers has besides: who starts them, and who answers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from headrace_engine.adapters.aws.events import JobChanged, StartAlarm, TaskChanged
from headrace_engine.adapters.aws.signing import Keyring
from headrace_engine.attempts import Attempts
from headrace_engine.plugin import RunnableTask
from headrace_engine.ports import AttemptId, Claims, Clock, Job, Level, LogLine
from headrace_functions.environment import Environment

if TYPE_CHECKING:
    from headrace_engine.adapters.aws.timers import SqsTimers
    from headrace_engine.apart import Apart, Uploads
    from headrace_engine.engine import Engine
    from headrace_runners.containers.dispatch import ContainerDispatch
    from headrace_runners.namespace_rules import NamespaceRules


class Containers:
    """What runs attempts in containers. It is made when one first asks for it: most invocations start none."""

    def __init__(self, make: Callable[[], ContainerDispatch]) -> None:
        self._made = cache(make)

    def start(self, job: Job, where: Literal["fargate", "batch"]) -> None:
        """See `ContainerDispatch.start`."""
        self._made().start(job, where)

    def stop(self, attempt: AttemptId) -> None:
        """See `ContainerDispatch.stop`."""
        self._made().stop(attempt)

    def task_changed(self, task: TaskChanged) -> None:
        """See `ContainerDispatch.task_changed`."""
        self._made().task_changed(task)

    def job_changed(self, job: JobChanged) -> None:
        """See `ContainerDispatch.job_changed`."""
        self._made().job_changed(job)


def containers(
    environment: Environment,
    client: Callable[[str], Any],
    *,
    claims: Claims,
    clock: Clock,
    keyring: Keyring,
    attempts: Attempts,
    timers: SqsTimers,
    engine: Engine,
    rules: NamespaceRules,
) -> Containers | None:
    """Return what runs attempts in containers; None in a stack without any."""
    if not environment.containers:
        return None

    def make() -> ContainerDispatch:
        from headrace_runners.containers.dispatch import ContainerDispatch  # noqa: PLC0415 - see Containers
        from headrace_runners.containers.settings import ContainerSettings  # noqa: PLC0415  # as above

        return ContainerDispatch(
            client,
            claims,
            clock,
            keyring,
            attempts,
            settings=ContainerSettings.of(environment.containers),
            api_url=environment.api_url,
            region=environment.variables.get("AWS_REGION", ""),
            image_of=image_of,
            later=lambda attempt, due: timers.set(StartAlarm(attempt, due)),
            tell=tell,
            rules=rules,
        )

    def image_of(job: Job) -> str:
        from headrace_tasks.scripts_apart import container_image  # noqa: PLC0415 - as above

        task = engine.registry.task(job.type)
        return container_image(task if task is not None and issubclass(task, RunnableTask) else None, job.properties)

    def tell(attempt: AttemptId, level: Level, text: str) -> None:
        state = engine.platform.state(attempt.execution_id)
        task_run = state.task_runs.get(attempt.task_run_id) if state is not None else None
        if state is None or task_run is None:
            return
        flow, place = state.flow.definition, (task_run.task_id, task_run.id, attempt.number)
        line = LogLine(state.id, flow.namespace, flow.id, clock.now(), level, text, *place)
        engine.stores.logs.append(state.id, f"{task_run.id}/{attempt.number}/end", [line])

    return Containers(make)


def apart(
    environment: Environment,
    engine: Engine,
    addresses: Uploads,
    attempts: Attempts,
    placement: Callable[[Job], Mapping[str, Any]],
) -> Callable[[], Apart] | None:
    """Return what makes who answers containers; None in a stack without any."""
    if not environment.containers:
        return None

    def make() -> Apart:
        from headrace_engine.apart import Apart  # noqa: PLC0415 - see Containers
        from headrace_tasks.scripts_apart import ScriptsApart  # noqa: PLC0415  # as above

        return Apart(engine, addresses, ScriptsApart(), attempts, placement)

    return make
