"""Attempts sent to ECS Fargate and AWS Batch, and what is done when their containers end without having said so.

Starting an attempt twice runs it once. RunTask has a client token for that; Batch has none, so a job is looked for by
its name first; and of two runs that begin all the same, one gets the claim. Where AWS has no room, or is asked too
often, nothing was started: the start is tried again a little later, and no attempt is counted for it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from headrace_engine.adapters.aws.errors import AwsError, calling, error_code
from headrace_engine.adapters.aws.events import (
    ContainerEnd,
    JobChanged,
    TaskChanged,
    attempt_name,
    job_described,
    task_described,
)
from headrace_engine.adapters.aws.signing import Keyring, attempt_token
from headrace_engine.attempts import Attempts
from headrace_engine.plugin import TaskFailure
from headrace_engine.ports import AttemptId, Claim, Claims, Clock, Job, Level, PortError
from headrace_engine.run_context import validation_text
from headrace_runners.containers.asking import Where, asked_of, definition, queue_of, with_role
from headrace_runners.containers.definitions import STAGE_IN, STAGE_OUT, Definition, is_on_fargate
from headrace_runners.containers.ends import Verdict, verdict_of_job, verdict_of_task
from headrace_runners.containers.properties import Batch, Fargate
from headrace_runners.containers.settings import ContainerSettings
from headrace_runners.namespace_rules import NamespaceRules

_log = logging.getLogger(__name__)

Clients = Callable[[str], Any]
"""Returns the client of a service, the same one each time."""
Tell = Callable[[AttemptId, Level, str], None]
"""Writes a line into the log of an attempt that no worker writes into any more."""
Later = Callable[[AttemptId, datetime], None]
"""Has an attempt that could not be started for now started at that time, if it is still to be."""

_FIRST, _LONGEST = timedelta(seconds=15), timedelta(minutes=5)
"""How long a start waits at least and at most before it is tried again."""
_BUSY_CODES = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "ServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalServerError",
        "InternalFailure",
    }
)
_BUSY_WORDS = (
    "capacity is unavailable",
    "limit on the number of",
    "resource:",
    "rate exceeded",
    "no container instances",
)
_MISTAKES = frozenset(
    {"InvalidParameterException", "ClientException", "PlatformUnknownException", "UnsupportedFeatureException"}
)
_NOT_THERE = ("not found", "does not exist", "unable to describe", "inactive", "not active")
_LIVE_JOBS = frozenset({"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"})
_TOKEN_LENGTH = 64
_STOPPED = "The attempt was stopped"


class BusyError(Exception):
    """AWS cannot start it now: nothing runs, and later it may."""


class ContainerDispatch:
    """Starts and stops container runs, and looks after those that ended without a word."""

    def __init__(
        self,
        clients: Clients,
        claims: Claims,
        clock: Clock,
        keyring: Keyring,
        attempts: Attempts,
        *,
        settings: ContainerSettings,
        api_url: str,
        region: str,
        image_of: Callable[[Job], str],
        later: Later,
        tell: Tell = lambda _attempt, _level, _text: None,
        rules: NamespaceRules | None = None,
    ) -> None:
        """Take the ports; *image_of* tells the image of a job, *later* has one started again, *tell* logs ends.

        *rules* say which roles namespaces have.
        """
        self._clients = clients
        self._claims = claims
        self._clock = clock
        self._keyring = keyring
        self._attempts = attempts
        self._settings = settings
        self._api_url = api_url
        self._region = region
        self._image_of = image_of
        self._later = later
        self._tell = tell
        self._rules = rules or NamespaceRules()

    # -- Starting -----------------------------------------------------------------------------------

    def start(self, job: Job, where: Where) -> None:
        """Have *job* run in containers; calling it again with the same attempt runs nothing twice. Raises PortError."""
        attempt = job.attempt
        claim = self._claims.get(attempt)
        if claim is not None and claim.closed is not None:
            self._attempts.report(claim)
            return
        if claim is not None and claim.owner:
            self._look_after(claim)
            return
        if claim is not None and claim.stop_requested:
            self._attempts.never_began(attempt)
            return
        try:
            if where == "fargate":
                self._run_task(job)
            else:
                self._submit(job)
        except _StartedError:
            _log.info("Attempt %s was started before", attempt)
        except BusyError as busy:
            now = self._clock.now()
            wait = min(max((now - job.started) / 2, _FIRST), _LONGEST)
            _log.warning("Attempt %s cannot be started yet, and is tried again in %s: %s", attempt, wait, busy)
            self._later(attempt, now + wait)
        except (TaskFailure, ValidationError) as failure:
            text = validation_text(failure) if isinstance(failure, ValidationError) else str(failure)
            self._failed(attempt, text)

    def _run_task(self, job: Job) -> None:
        asked = asked_of(job.properties, Fargate)
        settings = self._settings
        defined = self._definition(job, asked)
        public = settings.assign_public_ip if asked.assign_public_ip is None else asked.assign_public_ip
        request: dict[str, Any] = {
            "cluster": settings.cluster,
            "taskDefinition": defined.name,
            "count": 1,
            "startedBy": attempt_name(job.attempt)[:128],
            "clientToken": hashlib.sha256(attempt_name(job.attempt).encode()).hexdigest()[:_TOKEN_LENGTH],
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": list(asked.subnets or settings.subnets),
                    "securityGroups": list(asked.security_groups or settings.security_groups),
                    "assignPublicIp": "ENABLED" if public else "DISABLED",
                }
            },
            "overrides": {
                "containerOverrides": [
                    {"name": name, "environment": self._environment(job)} for name in (STAGE_IN, STAGE_OUT)
                ]
            },
            "tags": [{"key": key, "value": value} for key, value in self._tags(job, asked).items()],
        }
        if asked.spot:
            request["capacityProviderStrategy"] = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        else:
            request["launchType"] = "FARGATE"
        answer = self._with_definition(
            lambda: _called("RunTask", lambda: self._ecs.run_task(**request)),
            lambda: self._ecs.register_task_definition(family=defined.name, **defined.body),
        )
        for failure in answer.get("failures", ()):
            self._refused(str(failure.get("reason", "")), str(failure.get("detail", "")))
        for task in answer.get("tasks", ()):
            if task.get("lastStatus") == "STOPPED":  # one that an earlier call of this started
                self.task_changed(task_described(task))

    def _submit(self, job: Job) -> None:
        asked = asked_of(job.properties, Batch)
        queue, defined = queue_of(asked, self._settings), self._definition(job, asked)
        name = attempt_name(job.attempt)
        found = self._jobs_named(queue, name)
        if any(each["status"] in _LIVE_JOBS for each in found):
            return
        for each in found:  # the newest: it has ended
            if (described := self._described(each["jobId"], {"jobQueue": queue, **each})) is not None:
                self.job_changed(described)
            return
        limit = job.timeout or asked.wait_until_completion
        request: dict[str, Any] = {
            "jobName": name[:128],
            "jobQueue": queue,
            "jobDefinition": defined.name,
            "ecsPropertiesOverride": {
                "taskProperties": [
                    {
                        "containers": [
                            {"name": each, "environment": self._environment(job)} for each in (STAGE_IN, STAGE_OUT)
                        ]
                    }
                ]
            },
            "tags": self._tags(job, asked),
            "propagateTags": True,
        }
        if limit is not None:
            # The wrapper ends the code in time; this ends a container that does not come to that.
            seconds = int(limit.total_seconds()) + (600 if job.timeout is not None else 0)
            request["timeout"] = {"attemptDurationSeconds": max(60, seconds)}
        self._with_definition(
            lambda: _called("SubmitJob", lambda: self._batch.submit_job(**request)),
            lambda: self._batch.register_job_definition(jobDefinitionName=defined.name, **defined.body),
        )
        if not is_on_fargate(asked):
            _log.info("Attempt %s waits in %s", job.attempt, queue)

    def _definition(self, job: Job, asked: Fargate | Batch) -> Definition:
        asked = with_role(asked, job.namespace, self._settings, self._rules)
        return definition(asked, self._image_of(job), self._settings, self._region)

    def _environment(self, job: Job) -> list[dict[str, str]]:
        attempt = job.attempt
        values = {
            "HEADRACE_API": self._api_url,
            "HEADRACE_ATTEMPT": f"{attempt.execution_id}/{attempt.task_run_id}/{attempt.number}",
            "HEADRACE_TOKEN": attempt_token(self._keyring, attempt),
        }
        return [{"name": name, "value": value} for name, value in values.items()]

    def _tags(self, job: Job, asked: Fargate | Batch) -> dict[str, str]:
        own = {"headrace:namespace": job.namespace, "headrace:flow": job.flow_id, "headrace:task": job.task_id}
        return {**asked.tags, **self._settings.tags, **own}

    def _with_definition(self, start: Callable[[], Any], register: Callable[[], Any]) -> Mapping[str, Any]:
        """Start what a definition describes; one that is not there yet is registered first."""
        try:
            answer: Mapping[str, Any] = start()
        except _NoDefinitionError:
            with _busy("RegisterTaskDefinition"):
                register()
            answer = self._again(start)
        return answer

    @staticmethod
    def _again(start: Callable[[], Any]) -> Any:
        try:
            return start()
        except _NoDefinitionError:
            raise BusyError("its definition is not seen yet") from None

    def _refused(self, reason: str, detail: str) -> None:
        text = f"{reason} {detail}".strip()
        if any(word in text.lower() for word in _BUSY_WORDS):
            raise BusyError(text)
        raise TaskFailure(f"ECS does not start the task: {text}")

    # -- Stopping -----------------------------------------------------------------------------------

    def stop(self, attempt: AttemptId) -> None:
        """End the attempt's containers, whatever they are at. Raises PortError.

        One that nobody has begun is over at once: its claim is closed, so that what comes up for it ends again.
        """
        claim = self._claims.get(attempt)
        if claim is None or not (claim.stop_requested or claim.closed):
            claim = self._claims.request_stop(attempt, self._clock.now())
        if claim.closed is not None:
            self._attempts.report(claim)
        elif claim.owner:
            self._end(claim.owner)
            return
        else:
            self._attempts.never_began(attempt)
        try:
            self._end_all(attempt_name(attempt))
        except (BusyError, PortError) as busy:
            _log.warning("What may come up for attempt %s is left to end by itself: %s", attempt, busy)

    def _end(self, owner: str) -> None:
        """End a task or job; one that is over already is."""
        try:
            with _busy("StopTask or TerminateJob"):
                if owner.startswith("batch:"):
                    self._batch.terminate_job(jobId=owner.removeprefix("batch:"), reason=_STOPPED)
                elif ":task/" in owner:
                    self._ecs.stop_task(cluster=self._settings.cluster, task=owner, reason=_STOPPED)
        except TaskFailure as gone:
            _log.info("Nothing of %s is left to end: %s", owner, gone)
        except BusyError as busy:
            raise AwsError("ECS or Batch", "StopTask", "Throttling") from busy

    def _end_all(self, name: str) -> None:
        """End what was started under a name, as far as it is seen."""
        with calling("ECS", "ListTasks"):
            found = self._ecs.list_tasks(cluster=self._settings.cluster, startedBy=name)
        for task in found.get("taskArns", ()):
            self._end(task)
        for queue in dict.fromkeys((*self._settings.queues.values(), *self._settings.job_queues)):
            for each in self._jobs_named(queue, name):
                if each["status"] in _LIVE_JOBS:
                    self._end(f"batch:{each['jobId']}")

    # -- Ends ---------------------------------------------------------------------------------------

    def task_changed(self, task: TaskChanged) -> None:
        """See to an attempt whose ECS task has stopped; any other change is none of ours."""
        if task.status == "STOPPED" and task.attempt is not None:
            self._over(task.attempt, task.task, task.containers, lambda: verdict_of_task(task))

    def job_changed(self, job: JobChanged) -> None:
        """See to an attempt whose Batch job has ended."""
        if job.status in ("SUCCEEDED", "FAILED") and job.attempt is not None:
            self._over(job.attempt, f"batch:{job.job_id}", job.containers, lambda: verdict_of_job(job))

    def _over(
        self, attempt: AttemptId, owner: str, containers: Sequence[ContainerEnd], find: Callable[[], Verdict]
    ) -> None:
        if any(each.name == STAGE_OUT and each.exit_code == 0 for each in containers):
            return  # it told the end, and heard that the end was reported
        claim = self._claims.get(attempt)
        if claim is not None and claim.closed is not None:
            self._attempts.report(claim)
        elif claim is not None and claim.owner not in ("", owner):
            _log.info("A second run of attempt %s ended, which had not begun", attempt)
        else:
            verdict = find()
            if verdict.is_lost:
                self._lost(attempt, verdict.reason, owner, is_told=claim is None or not claim.stop_requested)
            else:
                self._failed(attempt, verdict.reason)

    def _failed(self, attempt: AttemptId, reason: str) -> None:
        self._tell(attempt, Level.ERROR, reason)
        self._attempts.failed(attempt, reason)

    def _lost(self, attempt: AttemptId, reason: str, owner: str, *, is_told: bool = True) -> None:
        if is_told:  # nothing is lost by what was asked for
            self._tell(attempt, Level.WARN, reason)
        self._attempts.lost(attempt, reason, owner)

    def _look_after(self, claim: Claim) -> None:
        """See whether the containers of an attempt that has begun still run: the news of their end may be lost."""
        owner = claim.owner
        try:
            if owner.startswith("batch:"):
                described = self._described(owner.removeprefix("batch:"), None)
                if described is None:
                    self._lost(claim.attempt, "The job is not known to Batch any more", owner)
                else:
                    self.job_changed(described)
            elif ":task/" in owner:
                task = self._task(owner)
                if task is None:
                    self._lost(claim.attempt, "The task is not known to ECS any more", owner)
                else:
                    self.task_changed(task)
        except BusyError as busy:
            _log.info("Attempt %s is looked after another time: %s", claim.attempt, busy)

    def _task(self, arn: str) -> TaskChanged | None:
        with _busy("DescribeTasks"):
            answer = self._ecs.describe_tasks(cluster=self._settings.cluster, tasks=[arn])
        for task in answer.get("tasks", ()):
            return task_described(task)
        # Only what is said to be missing is: a stopped task is known for an hour.
        if any(each.get("reason") == "MISSING" for each in answer.get("failures", ())):
            return None
        raise BusyError("ECS says nothing of the task")

    def _jobs_named(self, queue: str, name: str) -> list[Mapping[str, Any]]:
        with _busy("ListJobs"):
            # Of any status, and the newest first.
            answer = self._batch.list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}])
        return list(answer.get("jobSummaryList", ()))

    def _described(self, job_id: str, summary: Mapping[str, Any] | None) -> JobChanged | None:
        with _busy("DescribeJobs"):
            answer = self._batch.describe_jobs(jobs=[job_id])
        for job in answer.get("jobs", ()):
            return job_described(job)
        return job_described(summary) if summary is not None else None

    @property
    def _ecs(self) -> Any:
        return self._clients("ecs")

    @property
    def _batch(self) -> Any:
        return self._clients("batch")


class _NoDefinitionError(Exception):
    """What is to be started is not registered."""


class _StartedError(Exception):
    """It was started before, in other words: with an older key, or before the settings changed."""


def _called(operation: str, call: Callable[[], Any]) -> Any:
    with _busy(operation):
        return call()


@contextmanager
def _busy(operation: str) -> Iterator[None]:
    """Tell the kinds of refusal apart. Raises BusyError, _NoDefinitionError, _StartedError, TaskFailure, PortError."""
    try:
        yield
    except ClientError as error:
        code, text = error_code(error), str(error.response.get("Error", {}).get("Message", ""))
        lower = text.lower()
        if "definition" in lower and any(word in lower for word in _NOT_THERE):
            raise _NoDefinitionError from None
        if code == "ConflictException":
            raise _StartedError from None
        if code in _BUSY_CODES or any(word in lower for word in _BUSY_WORDS):
            raise BusyError(f"{operation}: {code}") from None
        if code in _MISTAKES:
            raise TaskFailure(f"{operation} is refused: {text}") from None
        if "Denied" in code or "Unauthorized" in code:
            raise TaskFailure(f"{operation} is not allowed here: {text}") from None
        raise AwsError("ECS or Batch", operation, code) from None
    except BotoCoreError as error:
        raise AwsError("ECS or Batch", operation, type(error).__name__) from None
