"""Runs one attempt of a light or dispatched task: the same code in the local runtime and in a Lambda function."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from headrace_engine.expressions import Expressions
from headrace_engine.host import StepHost
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.plugin import NetworkPolicy, Platform
from headrace_engine.ports import Job
from headrace_engine.prepare import TaskClasses
from headrace_engine.run_context import HandOver, WorkerContext, run_attempt
from headrace_engine.run_stores import RunFiles, file_policy, run_files
from headrace_engine.services import Settings, Stores
from headrace_engine.workspace_archive import archive_of, pack, unpack


class Worker:
    """What a worker knows besides the job: the stores, the task classes, where its directories lie."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        expressions: Expressions,
        task_class: TaskClasses,
        *,
        temporary_root: Path,
        workspaces: Path,
        network: NetworkPolicy | None = None,
        platform: Callable[[str, str], Platform] | None = None,
        archive_workspaces: bool = False,
        granted: Callable[[Job], Mapping[str, str]] | None = None,
    ) -> None:
        """Take the stores; platform returns what tasks of a namespace, in an execution, may do with others.

        archive_workspaces: the tasks of a WorkingDirectory run on different machines. granted returns what a job's
        context has in `granted`.
        """
        self._granted = granted
        self._archive_workspaces = archive_workspaces
        self._platform = platform
        self._stores = stores
        self._settings = settings
        self._expressions = expressions
        self._task_class = task_class
        self._temporary_root = temporary_root
        self._workspaces = workspaces
        self._network = network

    def run(
        self,
        job: Job,
        *,
        lease: timedelta | None = None,
        on_context: Callable[[WorkerContext], None] = lambda _context: None,
        on_process_group: Callable[[int], None] | None = None,
        hand_over: HandOver | None = None,
        keep_outputs: bool = False,
        placement: Mapping[str, Any] | None = None,
    ) -> AttemptResult:
        """Run *job* and return how it ended; whatever its code does is in the result, not raised.

        on_context is given the context before anything runs, so that the attempt can be stopped; hand_over is the
        context's, and so is placement. With keep_outputs they are in the result, however large.
        """
        stores = self._stores
        task_class = self._task_class(job.type)
        if task_class is None:
            now = stores.clock.now()
            return AttemptResult(State.FAILED, now, now, error=f"This worker has no task type `{job.type}`")
        workspace = None
        archive = archive_of(job) if self._archive_workspaces else None
        if job.workspace is not None:
            workspace = self.workspace(job.attempt.execution_id, job.workspace)
            workspace.mkdir(parents=True, exist_ok=True)
        if workspace is not None and archive is not None:
            shutil.rmtree(workspace)  # what an attempt left here before is not what the last one left
            unpack(stores.storage, archive, workspace)
        context = self.context(
            job,
            workspace=workspace,
            on_process_group=on_process_group,
            hand_over=hand_over,
            placement=placement,
            environment=partial(self._granted, job) if self._granted is not None else None,
        )
        on_context(context)
        limit = sys.maxsize if keep_outputs else self._settings.output_inline_limit
        result = run_attempt(task_class, job, context, lease=lease, inline_limit=limit)
        if workspace is not None and archive is not None:
            pack(stores.storage, archive, workspace)
            shutil.rmtree(workspace)
        return result

    def context(self, job: Job, **others: Any) -> WorkerContext:
        """Return a context for *job*; others are as for WorkerContext."""
        stores = self._stores
        return WorkerContext(
            job,
            storage=stores.storage,
            kv=stores.kv,
            logs=stores.logs,
            metrics=stores.metrics,
            cipher=stores.cipher,
            clock=stores.clock,
            render=self._renderer(job),
            temporary_root=self._temporary_root,
            network=self._network,
            code=self._settings.code,
            file_policy=file_policy(self._settings, job.namespace),
            may_reach=partial(self._settings.may_reach, job.namespace),
            platform=self._platform(job.namespace, job.attempt.execution_id) if self._platform is not None else None,
            **others,
        )

    def files(self, job: Job) -> RunFiles:
        """Return what the attempt sees of internal storage."""
        return run_files(self._stores, self._settings, job)

    def workspace(self, execution_id: str, task_run_id: str) -> Path:
        """Return the directory that the tasks of a WorkingDirectory share."""
        return self._workspaces / execution_id / task_run_id

    def _renderer(self, job: Job) -> Callable[[str, Mapping[str, Any]], str]:
        host = StepHost(
            self._stores,
            self._settings,
            namespace=job.namespace,
            flow_id=job.flow_id,
            execution_id=job.attempt.execution_id,
            now=job.started,
        )
        return lambda template, variables: self._expressions.render(template, variables, host)
