"""ECS and Batch in this process, as far as Headrace asks for them: what they start really runs.

A task's containers are processes of this machine, in the order and with the ends that ECS gives them; what they ask of
the API and of the bucket goes to the stack's own functions, over a loopback port. Images are names only: every
container runs with what is installed here. One thread does everything, a little at each `step`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from headrace_functions.testing import limits
from headrace_functions.testing.aws import ACCOUNT, REGION, body_of, by_moto, http_headers, with_error, with_json
from headrace_functions.testing.shapes import arn

CLUSTER = arn("ecs", "cluster/headrace")
QUEUES = {name: arn("batch", f"job-queue/{name}") for name in ("FARGATE", "FARGATE_SPOT")}
SETTINGS = {
    "cluster": CLUSTER,
    "subnets": ["subnet-1"],
    "securityGroups": ["sg-1"],
    "executionRole": f"arn:aws:iam::{ACCOUNT}:role/execution",
    "taskRole": None,
    "logGroup": "/headrace/containers",
    "stager": "stager@sha256:played",
    "queues": QUEUES,
    "architecture": "ARM64",
    "cpu": "0.25",
    "memory": "512",
    "taskRoles": [f"arn:aws:iam::{ACCOUNT}:role/flows/*"],
}
"""What HEADRACE_CONTAINERS holds here."""
MISSING_IMAGE = "example.com/missing:1"
"""One that no registry has."""
NO_SHELL = "example.com/without-shell:1"
"""One in which main cannot start."""
_BUCKET = re.compile(rb"https://([\w.-]+\.s3[\w.-]*\.amazonaws\.com)/")
_LINGER = 3.0
"""Seconds between SIGTERM and SIGKILL; AWS gives more, and a person waits here."""
_SERVE = 0.02


class Phase(Enum):
    """How far a task is."""

    SUBMITTED = "submitted"
    STAGING_IN = "staging in"
    RUNNING = "running"
    STAGING_OUT = "staging out"
    STOPPED = "stopped"


@dataclass(eq=False)
class Task:
    """A task of ECS, by itself or under a job of Batch."""

    arn: str
    definition: Mapping[str, Any]
    containers: Mapping[str, Mapping[str, Any]]
    """By name, the definition's with the overrides' environment."""
    started_by: str
    folder: Path
    job: dict[str, Any] | None = None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ended: dict[str, int | None] = field(default_factory=dict)
    """Containers that are over, with their exit codes."""
    reasons: dict[str, str] = field(default_factory=dict)
    stop_code: str = ""
    stopped_reason: str = ""
    kill_at: float | None = None
    stopped: bool = False

    @property
    def id(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def phase(self) -> Phase:
        """How far it is."""
        if self.stopped:
            return Phase.STOPPED
        if not self.processes:
            return Phase.SUBMITTED
        if "stage-in" not in self.ended:
            return Phase.STAGING_IN
        return Phase.STAGING_OUT if "main" in self.ended else Phase.RUNNING


class Fleet:
    """What runs, and who asks about it."""

    def __init__(
        self,
        folder: Path,
        http: Callable[[httpx.Request], httpx.Response],
        tell: Callable[[str, str, Mapping[str, Any]], None],
        api: str,
    ) -> None:
        """Take a folder for volumes, what answers the API, and what is told events: source, kind and detail."""
        self.folder = folder
        self._http = http
        self._tell = tell
        self._api = api
        self._numbers, self._jobs = itertools.count(1), itertools.count(1)
        self._definitions: dict[str, Mapping[str, Any]] = {}
        self._tokens: dict[str, Task] = {}
        self.tasks: list[Task] = []
        """All that ever were started, in their order."""
        self.calls: list[str] = []
        """What was asked of ECS and Batch."""
        self.asked: list[Mapping[str, Any]] = []
        """With these bodies."""
        self.busy = 0
        """How many starts from now on are refused for want of capacity."""
        self.throttles = 0
        """How many requests from now on are refused because there were too many."""
        self.forgets = False
        """Whether client tokens and jobs are forgotten, so that every start starts a task."""
        self.is_silent = False
        """Whether no events are sent."""
        self.before: Callable[[str, Task | None], None] = lambda _operation, _task: None
        """Called with what a container asks, before it is answered."""
        self.largest = 0
        """Bytes of the largest request to the API, or answer of it."""
        self.passed = 0
        """Bytes of all requests to the API, and of its answers."""
        self.stored = 0
        """Bytes that went to and came from the bucket, past the API."""
        self._server: HTTPServer | None = None

    # -- What functions ask -------------------------------------------------------------------------

    def answer(self, service: str, operation: str, request: AWSPreparedRequest) -> AWSResponse:
        """Answer a request to ECS or Batch."""
        asked = json.loads(body_of(request) or b"{}")
        self.calls.append(operation)
        self.asked.append(asked)
        if self.throttles and operation in ("RunTask", "SubmitJob"):
            self.throttles -= 1
            code = "ThrottlingException" if service == "ecs" else "TooManyRequestsException"
            return _refusal(request, code, "Rate exceeded")
        try:
            return with_json(request, getattr(self, f"_{operation}")(asked))
        except _RefusedError as refused:
            return _refusal(request, "ClientException", str(refused))

    def _RegisterTaskDefinition(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802 - AWS's own names
        limits.check("A task definition", len(json.dumps(asked)), limits.TASK_DEFINITION)
        self._definitions[f"task {asked['family']}"] = asked
        return {"taskDefinition": asked}

    def _RegisterJobDefinition(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        limits.check("A job definition", len(json.dumps(asked)), limits.JOB_DEFINITION)
        self._definitions[f"job {asked['jobDefinitionName']}"] = asked
        name = asked["jobDefinitionName"]
        return {"jobDefinitionName": name, "jobDefinitionArn": arn("batch", name), "revision": 1}

    @property
    def definitions(self) -> list[Mapping[str, Any]]:
        """What was registered."""
        return list(self._definitions.values())

    def _RunTask(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        if self.busy:
            self.busy -= 1
            reason = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
            return {"tasks": [], "failures": [{"arn": CLUSTER, "reason": reason}]}
        definition = self._definitions.get(f"task {asked['taskDefinition']}")
        if definition is None:
            raise _RefusedError("TaskDefinition not found.")
        limits.check("The overrides", len(json.dumps(asked["overrides"])), limits.OVERRIDES)
        task = None if self.forgets else self._tokens.get(asked["clientToken"])
        if task is None:
            overrides = asked["overrides"]["containerOverrides"]
            task = self._task(definition["containerDefinitions"], definition, overrides, asked["startedBy"])
            self._tokens[asked["clientToken"]] = task
        return {"tasks": [self._told(task)], "failures": []}

    def _SubmitJob(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        definition = self._definitions.get(f"job {asked['jobDefinition']}")
        if definition is None:
            raise _RefusedError(f"JobDefinition {asked['jobDefinition']} does not exist")
        limits.check("The job", len(json.dumps(asked)), limits.JOB)
        inner = definition["ecsProperties"]["taskProperties"][0]
        overrides = asked["ecsPropertiesOverride"]["taskProperties"][0]["containers"]
        job = {"jobId": f"{next(self._jobs):08x}-0000-4000-8000-00000000ba7c", "jobName": asked["jobName"]}
        job |= {"jobQueue": asked["jobQueue"], "jobDefinition": asked["jobDefinition"], "tags": asked.get("tags", {})}
        self._task(inner["containers"], definition, overrides, "", job)
        return job

    def _task(
        self,
        containers: list[Mapping[str, Any]],
        definition: Mapping[str, Any],
        overrides: list[Mapping[str, Any]],
        started_by: str,
        job: dict[str, Any] | None = None,
    ) -> Task:
        given = {each["name"]: each["environment"] for each in overrides}
        told = {each["name"]: {**each, "environment": given.get(each["name"], [])} for each in containers}
        name = f"{next(self._numbers):032x}"
        task = Task(arn("ecs", f"task/headrace/{name}"), definition, told, started_by, self.folder / name, job)
        self.tasks.append(task)
        return task

    def _ListTasks(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        mine = [task for task in self.tasks if task.started_by == asked["startedBy"] and not task.stopped]
        return {"taskArns": [task.arn for task in mine]}

    def _DescribeTasks(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        found = {task.arn: task for task in self.tasks if task.arn in asked["tasks"]}
        missing = [{"arn": each, "reason": "MISSING"} for each in asked["tasks"] if each not in found]
        return {"tasks": [self._told(task) for task in found.values()], "failures": missing}

    def _StopTask(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        task = next(task for task in self.tasks if task.arn == asked["task"])
        self.stop(task, "UserInitiated", asked["reason"])
        return {"task": self._told(task)}

    def _ListJobs(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        names = asked["filters"][0]["values"]
        jobs = [task for task in self.tasks if task.job and task.job["jobQueue"] == asked["jobQueue"]]
        if self.forgets:
            jobs = []
        found = [self._told_job(task) for task in jobs if task.job and task.job["jobName"] in names]
        return {"jobSummaryList": [{key: each[key] for key in ("jobId", "jobName", "status")} for each in found]}

    def _DescribeJobs(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        return {
            "jobs": [self._told_job(task) for task in self.tasks if task.job and task.job["jobId"] in asked["jobs"]]
        }

    def _TerminateJob(self, asked: Mapping[str, Any]) -> Any:  # noqa: N802
        task = next(task for task in self.tasks if task.job and task.job["jobId"] == asked["jobId"])
        self.stop(task, "UserInitiated", asked["reason"])
        return {}

    # -- What happens to tasks ----------------------------------------------------------------------

    def stop(self, task: Task, code: str, reason: str) -> None:
        """Have a task end: its containers get SIGTERM, and a little later SIGKILL."""
        if task.stopped or task.stop_code:
            return
        task.stop_code, task.stopped_reason = code, reason
        for name in task.processes:
            if name not in task.ended:
                with suppress(ProcessLookupError):
                    task.processes[name].send_signal(signal.SIGTERM)
        task.kill_at = time.monotonic() + _LINGER

    def interrupt(self, task: Task) -> None:
        """Take back the capacity that a task runs on."""
        self.stop(task, "SpotInterruption", "Your Spot Task was interrupted.")

    def vanish(self, task: Task) -> None:
        """End a task with its machine."""
        task.stop_code, task.stopped_reason = "TerminationNotice", "Host EC2 (instance i-0123) terminated."
        self._kill(task)

    def step(self) -> bool:
        """Let what runs go on a little; False when nothing does."""
        alive = [task for task in self.tasks if not task.stopped]
        for task in alive:
            self._advance(task)
        if any(task.processes and not task.stopped for task in alive):
            self._serving.handle_request()
        return bool(alive)

    def _advance(self, task: Task) -> None:
        for name, process in task.processes.items():
            if name not in task.ended and process.poll() is not None:
                self._end_group(process)  # as the kernel does when a container's first process is gone
                code = process.returncode
                task.ended[name] = 128 - code if code < 0 else code
        if task.kill_at is not None and time.monotonic() > task.kill_at:
            self._kill(task)
        if not task.stop_code:
            self._begin_what_can(task)
        essential = [name for name, each in task.containers.items() if each.get("essential") and name in task.ended]
        if essential and not task.stop_code:
            self.stop(task, "EssentialContainerExited", "Essential container in task exited")
        if task.stop_code and all(name in task.ended for name in task.processes):
            self._stopped(task)

    def _begin_what_can(self, task: Task) -> None:
        for name, each in task.containers.items():
            if name in task.processes or name in task.ended:
                continue
            waited = [
                (needed["condition"], task.ended.get(needed["containerName"], "not yet"))
                for needed in each.get("dependsOn", ())
            ]
            if any(state == "not yet" for _, state in waited):
                continue
            if any(condition == "SUCCESS" and state != 0 for condition, state in waited):
                task.ended[name] = None
            elif each["image"] == MISSING_IMAGE:
                self.stop(task, "TaskFailedToStart", f"CannotPullContainerError: {MISSING_IMAGE}: not found")
            elif each["image"] == NO_SHELL:
                task.ended[name], task.reasons[name] = None, 'CannotStartContainerError: exec "/bin/sh": no such file'
            else:
                task.processes[name] = self._begin(task, each)
        if all(name in task.ended for name in task.containers) and not task.stop_code:
            self.stop(task, "EssentialContainerExited", "Essential container in task exited")

    def _begin(self, task: Task, container: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        # Images are pulled before anything begins.
        if not task.processes and any(each["image"] == MISSING_IMAGE for each in task.containers.values()):
            self.stop(task, "TaskFailedToStart", f"CannotPullContainerError: {MISSING_IMAGE}: not found")
        mounts = {}
        for mount in container.get("mountPoints", ()):
            folder = task.folder / mount["sourceVolume"]
            folder.mkdir(parents=True, exist_ok=True)
            mounts[mount["containerPath"]] = str(folder)
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        if task.job is not None:
            environment["AWS_BATCH_JOB_ID"] = task.job["jobId"]
        environment["ECS_CONTAINER_METADATA_URI_V4"] = f"{self._address}/v4/{task.id}"
        environment |= {each["name"]: each["value"] for each in container["environment"]}
        if "HEADRACE_API" in environment:
            environment["HEADRACE_API"] = f"{self._address}/from/{task.id}"
        command = [*container.get("entryPoint", ()), *container.get("command", ())]
        with (task.folder / f"{container['name']}.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - what a definition says is run
                [_inside(word, mounts) for word in command],
                env=environment,
                cwd=task.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _kill(self, task: Task) -> None:
        for name, process in task.processes.items():
            if name not in task.ended:
                self._end_group(process)
                process.wait()
                task.ended[name] = 137

    def _end_group(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def _stopped(self, task: Task) -> None:
        task.stopped = True
        if self.is_silent:
            return
        if task.job is None:
            self._tell("aws.ecs", "ECS Task State Change", self._told(task))
        else:
            self._tell("aws.batch", "Batch Job State Change", self._told_job(task))

    def _told(self, task: Task) -> dict[str, Any]:
        containers = [
            {
                "name": name,
                "lastStatus": "STOPPED" if name in task.ended else "RUNNING",
                **({"exitCode": code} if (code := task.ended.get(name)) is not None else {}),
                **({"reason": task.reasons[name]} if name in task.reasons else {}),
            }
            for name in task.containers
        ]
        told = {
            "taskArn": task.arn,
            "clusterArn": CLUSTER,
            "lastStatus": "STOPPED" if task.stopped else ("RUNNING" if task.processes else "PROVISIONING"),
            "desiredStatus": "STOPPED" if task.stop_code else "RUNNING",
            "startedBy": task.started_by,
            "version": 5 if task.stopped else 1,
            "containers": containers,
        }
        if task.stopped:
            told |= {"stopCode": task.stop_code, "stoppedReason": task.stopped_reason}
        return told

    def _told_job(self, task: Task) -> dict[str, Any]:
        assert task.job is not None  # noqa: S101 - who asks has looked
        status = "RUNNING" if task.processes else "RUNNABLE"
        if task.stopped:
            status = "SUCCEEDED" if task.ended.get("stage-out") == 0 and task.kill_at is not None else "FAILED"
            status = "FAILED" if task.stop_code != "EssentialContainerExited" else status
        job = {**task.job, "status": status, "startedAt": 0}
        if task.stopped:
            job["statusReason"] = task.stopped_reason
            job["ecsProperties"] = {"taskProperties": [{"containers": self._told(task)["containers"]}]}
        return job

    # -- What containers ask ------------------------------------------------------------------------

    @property
    def _serving(self) -> HTTPServer:
        if self._server is None:
            fleet = self

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    fleet.serve(self)

                do_POST = do_PUT = do_GET  # noqa: N815 - http.server's names

                def log_message(self, *_: Any) -> None:
                    """Say nothing."""

            self._server = HTTPServer(("127.0.0.1", 0), Handler)
            self._server.timeout = _SERVE
        return self._server

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self._serving.server_address[1]}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer what a container asks."""
        size = int(handler.headers.get("content-length") or 0)
        body = handler.rfile.read(size)
        _, kind, place, rest = f"{handler.path}//".split("/", 3)
        rest = rest[:-2] if rest.endswith("//") else rest.rstrip("/")
        if kind == "v4":
            task = next(task for task in self.tasks if task.id == place)
            answered = httpx.Response(200, json=self._metadata(task))
        elif kind == "s3":
            self.before(handler.command, None)
            self.stored += size
            answered = self._of_bucket(handler, f"https://{place}/{rest}", body)
            self.stored += len(answered.content)
        else:
            task = next(task for task in self.tasks if task.id == place)
            self.before(rest.rpartition("/")[2], task)
            headers = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
            headers["x-asked-at"] = f"{handler.headers['host']}/from/{place}"
            asked = httpx.Request(handler.command, f"{self._api}/{rest}", headers=headers, content=body)
            try:
                answered = self._http(asked)
            except FunctionEndedError:  # as API Gateway has it
                answered = httpx.Response(502, json={"message": "Internal Server Error"})
            self.largest = max(self.largest, size, len(answered.content))
            self.passed += size + len(answered.content)
        content = (
            _BUCKET.sub(f"{self._address}/s3/\\1/".encode(), answered.content) if kind == "from" else answered.content
        )
        handler.send_response(answered.status_code)
        for name in ("etag", "content-type"):
            if name in answered.headers:
                handler.send_header(name, answered.headers[name])
        if "location" in answered.headers:
            location = _BUCKET.sub(f"{self._address}/s3/\\1/".encode(), answered.headers["location"].encode())
            handler.send_header("location", location.decode())
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            handler.wfile.write(content)

    def _of_bucket(self, handler: BaseHTTPRequestHandler, url: str, body: bytes) -> httpx.Response:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "connection")}
        if "authorization" in {name.lower() for name in headers}:
            return httpx.Response(400, content=b"Only one auth mechanism allowed")  # as S3 says
        asked = AWSPreparedRequest(handler.command, url, http_headers(headers), body, stream_output=False)
        answered = by_moto("s3", "", asked)
        tag = answered.headers.get("etag")
        return httpx.Response(
            answered.status_code, content=answered.content, headers={"etag": str(tag)} if tag else None
        )

    def _metadata(self, task: Task) -> dict[str, Any]:
        status = {name: "STOPPED" if name in task.ended else "RUNNING" for name in task.containers}
        return {
            "Cluster": CLUSTER,
            "TaskARN": task.arn,
            "Containers": [{"Name": name, "KnownStatus": state} for name, state in status.items()],
        }

    def close(self) -> None:
        """End what still runs."""
        for task in self.tasks:
            self._kill(task)
            for process in task.processes.values():
                process.wait()
        if self._server is not None:
            self._server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def running(self) -> list[str]:
        """Return the containers whose processes live, by task and name."""
        return [
            f"{task.id}/{name}"
            for task in self.tasks
            for name, process in task.processes.items()
            if process.poll() is None
        ]


class FunctionEndedError(Exception):
    """A function's process is gone, and did not say why."""


class _RefusedError(Exception):
    """AWS says no."""


def _refusal(request: AWSPreparedRequest, code: str, message: str) -> AWSResponse:
    refused = with_error(request, code, message)
    refused.headers["x-amzn-errortype"] = code
    return refused


def _inside(word: str, mounts: Mapping[str, str]) -> str:
    for path, folder in mounts.items():
        if word == path or word.startswith(f"{path}/"):
            return folder + word[len(path) :]
    return word


__all__ = ["CLUSTER", "QUEUES", "REGION", "SETTINGS", "Fleet", "Phase", "Task"]
