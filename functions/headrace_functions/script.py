"""The `script` function: people's code, an attempt for each invocation, apart from the platform (DESIGN §6).

Its role reaches claims and the mailbox only. All else that an attempt needs (its secrets, files, logs) it asks the API
for, with the attempt's token. The code runs in processes that see neither credentials nor this one's memory; when an
attempt has ended nothing of it is left, and a sandbox runs the code of one namespace only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import httpx

from headrace_engine.adapters.aws.claims import DynamoClaims
from headrace_engine.adapters.aws.dispatch import invocation
from headrace_engine.adapters.aws.mailbox import SqsMailbox
from headrace_engine.adapters.aws.signing import AttemptSigner
from headrace_engine.adapters.aws.table import Table
from headrace_engine.adapters.local.clock import SystemClock
from headrace_engine.adapters.remote.client import AttemptClient
from headrace_engine.adapters.remote.stores import Absent, RemoteCipher, RemoteLogs, RemoteMetrics, RemoteStorage
from headrace_engine.attempts import Attempts
from headrace_engine.expressions import Expressions
from headrace_engine.language import Registry
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.packages import ArchiveShare, KeptPackages, remove
from headrace_engine.plugin import AttemptLostError, CodePolicy, RunnableTask, TaskFailure
from headrace_engine.ports import Clock, Job, Level, LogLine, PortError
from headrace_engine.services import Settings, Stores
from headrace_engine.worker import Worker
from headrace_functions.environment import ELSEWHERE, Environment
from headrace_functions.observability import logger
from headrace_functions.wiring import make_client, remaining
from headrace_functions.worker import Wait, run_watched, wait_for

_MARGIN = timedelta(seconds=20)
_PR_SET_DUMPABLE = 4
_ENDING = 2.0
"""Seconds that what an attempt left may take to die of SIGKILL."""
_SECRET = ("AWS_", "_X_AMZN", "_HANDLER", "HEADRACE_", "LAMBDA_")
"""How the names of variables begin that are the function's own."""
_ON_LAMBDA = "AWS_LAMBDA_RUNTIME_API" in os.environ
"""Whether this process is an environment of the function, and all others of its user are people's code."""
_LIBRARIES = Path(__file__).resolve().parents[1] / "for_scripts"
"""Beside our packages in the function's bundle: what people's code can import, and we do not."""
_SEARCH_PATH = "PYTHONPATH"


@dataclass
class Sandbox:
    """What one process of the function keeps from an attempt to the next."""

    environment: Environment
    claims: DynamoClaims
    send: Any
    """The SQS client."""
    registry: Registry
    clock: Clock
    folder: Path
    namespace: str | None = None
    """Whose code has run here."""
    transport: httpx.BaseTransport | None = None
    wait: Wait = wait_for
    """How the supervisor passes the time between two looks at the claim."""
    packages: KeptPackages = field(init=False)
    """Those that scripts of its namespace have had installed."""

    def __post_init__(self) -> None:
        self.packages = KeptPackages(self.folder / "packages")


def handler(event: Mapping[str, Any], context: Any) -> None:
    """Run the attempt the event holds, unless somebody has."""
    handle(_sandbox(), event, context, leave=os._exit)


def handle(sandbox: Sandbox, event: Mapping[str, Any], context: Any, *, leave: Callable[[int], Any]) -> None:
    """Do what `handler` does, in *sandbox*; *leave* ends the process."""
    called = invocation(event, fetch_address=lambda address: _fetch(address, sandbox.transport))
    job, token = called.job, called.token or ""
    if sandbox.namespace not in (None, job.namespace):
        logger.warning("A sandbox ends: another namespace's attempt came", extra={"namespace": job.namespace})
        leave(ELSEWHERE)
        return
    if sandbox.namespace is None:
        # Lambda starts a process that died again where it was, and what its attempt left is still there.
        clean(sandbox.folder)
    sandbox.namespace = job.namespace
    end = remaining(context, sandbox.clock.now(), timedelta(0))
    remote = AttemptClient(sandbox.environment.api_url, job.attempt, token, transport=sandbox.transport)
    mailbox = SqsMailbox(sandbox.send, sandbox.environment.mailbox_url, AttemptSigner(job.attempt, token))
    attempts = Attempts(sandbox.claims, sandbox.clock, mailbox)

    def execute(job: Job) -> AttemptResult:
        if called.refusal:
            return _refused(job, f"The task cannot run: {called.refusal}", sandbox.clock, RemoteLogs(remote))
        worker = _worker(sandbox, job, remote, has_role=called.has_role)
        lease = end - _MARGIN - sandbox.clock.now()
        return run_watched(
            worker,
            job,
            sandbox.claims,
            lease,
            placement=called.placement,
            wait=sandbox.wait,
            # Before anything of people's begins, and after all that was installed for it.
            on_process_group=lambda _group: sandbox.packages.note(),
        )

    try:
        attempts.run(job, context.aws_request_id, execute, deadline=end)
    finally:
        remote.close()
        clean(sandbox.folder, sandbox.packages.root)
        sandbox.packages.tidy()


def _refused(job: Job, error: str, clock: Clock, logs: RemoteLogs) -> AttemptResult:
    """Return the end of an attempt that nothing here can run; its log says why."""
    attempt, now = job.attempt, clock.now()
    place = (job.task_id, attempt.task_run_id, attempt.number)
    line = LogLine(attempt.execution_id, job.namespace, job.flow_id, now, Level.ERROR, error, *place)
    logs.append(attempt.execution_id, f"{attempt.task_run_id}/{attempt.number}", [line])
    return AttemptResult(State.FAILED, now, now, error=error)


def _worker(sandbox: Sandbox, job: Job, remote: AttemptClient, *, has_role: bool) -> Worker:
    absent = cast("Any", Absent())
    storage = RemoteStorage(remote)
    code = CodePolicy(docker=False, packages=sandbox.packages.root, share=ArchiveShare(job, storage))
    stores = Stores(
        clock=sandbox.clock,
        journal=absent,
        flows=absent,
        templates=absent,
        executions=absent,
        kv=absent,
        slots=absent,
        triggers=absent,
        claims=sandbox.claims,
        storage=storage,
        logs=RemoteLogs(remote),
        metrics=RemoteMetrics(remote),
        secrets=absent,
        cipher=RemoteCipher(remote),
    )

    def task_class(name: str) -> type[RunnableTask] | None:
        found = sandbox.registry.task(name)
        return found if found is not None and issubclass(found, RunnableTask) and found.RUNS_CODE else None

    return Worker(
        stores,
        Settings(code=code),
        Expressions(),
        task_class,
        temporary_root=sandbox.folder,
        workspaces=sandbox.folder / "workspaces",
        archive_workspaces=True,
        granted=partial(_granted, remote) if has_role else None,
    )


def _granted(remote: AttemptClient, _job: Job) -> Mapping[str, str]:
    """Return the credentials of the attempt's role, which the platform assumes. Raises TaskFailure.

    Raises AttemptLostError when it cannot now: nobody's code has begun, so the attempt may begin again.
    """
    try:
        answer = remote.ask("grant")
    except PortError as problem:
        raise AttemptLostError(f"The credentials of the task's role could not be had: {problem}") from None
    if answer["refusal"]:
        raise TaskFailure(answer["refusal"])
    variables: Mapping[str, str] = answer["environment"]
    return variables


def clean(folder: Path, kept: Path | None = None) -> None:
    """Leave nothing of an attempt: no file it may have written (but in *kept*), no process it may have left behind."""
    if sys.platform == "linux" and _ON_LAMBDA:
        _end_others(time.monotonic() + _ENDING)
    for path in folder.iterdir():
        if path == kept and not path.is_symlink():
            continue
        remove(path)


def _end_others(deadline: float) -> None:
    """End every process of this user but this one; return when none lives any more, or at *deadline*."""
    while True:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)  # every process this user may signal, but this one
        if not _others_live() or time.monotonic() >= deadline:
            return
        time.sleep(0.005)  # the kernel tells nobody of the end of processes that are not this one's children


def _others_live() -> bool:
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it has gone meanwhile
            # The owner of the folder would be another one for a process that has shut itself.
            lines = Path(entry.path, "status").read_text(errors="replace").splitlines()
            told = dict(line.partition(":")[::2] for line in lines)
            if int(told["Uid"].split()[0]) == os.getuid() and told["State"].split()[0] not in ("Z", "X"):
                return True
    return False


def shut() -> None:
    """Keep this process's memory and environment from the processes it starts (prctl(2), PR_SET_DUMPABLE)."""
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")


def leave_to_people(variables: MutableMapping[str, str]) -> None:
    """Leave in *variables* what people's code is given: none of the function's own, and a path to what it can import.

    This process's own search path was made when it began, so that what is there for scripts cannot get into it.
    """
    for name in [name for name in variables if name.startswith(_SECRET)]:
        del variables[name]
    # The function's own home is not to be written to, and what it has on its disk goes with the attempt: a cache of
    # uv's would be filled for nobody, and links into it would look like changes when it goes.
    variables.update({"HOME": tempfile.gettempdir(), "UV_NO_CACHE": "1", "UV_LINK_MODE": "copy"})
    variables.setdefault("UV_COMPILE_BYTECODE", "1")
    if _LIBRARIES.is_dir():
        # Last, so that what Lambda's image brings stays as its other libraries know it.
        variables[_SEARCH_PATH] = os.pathsep.join(filter(None, [variables.get(_SEARCH_PATH), str(_LIBRARIES)]))


@cache
def _sandbox() -> Sandbox:
    """Return this process's sandbox; the first call takes the credentials out of the environment people's code gets."""
    environment = Environment.of(os.environ)
    table, sqs = make_client("dynamodb"), make_client("sqs")
    # Both have their credentials now: from here on nobody finds them in the environment.
    shut()
    leave_to_people(os.environ)
    return Sandbox(
        environment=environment,
        claims=DynamoClaims(Table(table, environment.table)),
        send=sqs,
        registry=Registry.load(),
        clock=SystemClock(),
        folder=Path(tempfile.gettempdir()),
    )


def _fetch(address: str, transport: httpx.BaseTransport | None) -> bytes:
    with httpx.Client(transport=transport, timeout=30, trust_env=False) as http:
        response = http.get(address)
    response.raise_for_status()
    return response.content
