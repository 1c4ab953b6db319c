"""Containers of the emulator's ECS and Batch, played by processes of this machine. Run by ministack's interpreter.

What is played is what tasks and jobs of Fargate are about: containers that wait for each other, volumes that they
share, essential ones whose end is the task's, signals, logs in CloudWatch Logs, the address where a container asks about
its task, and the events that say how it ended. Images are not: any image is this machine, but that one whose name begins
with ``missing/`` cannot be pulled. A volume is a folder; arguments and variables that begin with where it is mounted
begin with the folder instead.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ministack.core.responses import (
    error_response_json,
    get_account_id,
    get_region,
    json_response,
    request_scope,
)
from ministack.services import batch, cloudwatch_logs, ecs, ecs_metadata, eventbridge
from ministack.services.cloudformation import provisioners

PLAYED = "PLAYED_BY"
"""The variable that every played process has: the emulator's process id."""
MISSING = "missing/"
_PATIENCE = 5
"""Seconds between SIGTERM and SIGKILL, whatever a definition says."""
_KILLED = 137
_NO_ANSWER = 125
"""The exit code of a container that could not be started."""


# -- Containers on processes --------------------------------------------------------------------------


@dataclass
class Container:
    """A container of a task."""

    name: str
    image: str
    command: list[str]
    variables: dict[str, str]
    essential: bool
    waits_for: list[tuple[str, str]]
    mounts: dict[str, str]
    """The volume at each path."""
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    started: bool = False
    over: bool = False


def container(definition: Mapping[str, Any], override: Mapping[str, Any]) -> Container:
    """Return a container as a definition of ECS or Batch says, and what it is started with otherwise."""
    variables = {each["name"]: each["value"] for each in definition.get("environment", ())}
    variables |= {each["name"]: each["value"] for each in override.get("environment", ())}
    return Container(
        definition["name"],
        definition["image"],
        [*definition.get("entryPoint", ()), *(override.get("command") or definition.get("command", ()))],
        variables,
        definition.get("essential", True),
        [(each["containerName"], each["condition"]) for each in definition.get("dependsOn", ())],
        {each["containerPath"]: each["sourceVolume"] for each in definition.get("mountPoints", ())},
    )


@dataclass
class Play:
    """The containers of one task, run on a thread until the last has ended."""

    containers: list[Container]
    say: Callable[[Container, str], None]
    changed: Callable[[Container], None]
    ended: Callable[[Play], None]
    reason: str = "Essential container in task exited"
    stop_code: str = "EssentialContainerExited"
    begun: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _look: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin."""
        scope = get_account_id(), get_region()

        def run() -> None:
            with request_scope(*scope):
                self._run()

        threading.Thread(target=run, daemon=True).start()

    def stop(self, stop_code: str, reason: str) -> None:
        """End all of it, gently first."""
        if not self._stop.is_set():
            self.stop_code, self.reason = stop_code, reason
            self._stop.set()
            self._look.set()

    def _run(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="task-"))
        try:
            missing = [each.image for each in self.containers if each.image.startswith(MISSING)]
            if missing:
                self.stop_code = "TaskFailedToStart"
                self.reason = f"CannotPullContainerError: pull image manifest has been retried 7 time(s): {missing[0]}"
            else:
                self.begun = True
                self._play(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self.ended(self)

    def _play(self, folder: Path) -> None:
        while not self._stop.is_set():
            # Asked before: one that ends meanwhile may be what another waits for, which the next round then starts.
            is_running = any(each.started and not each.over for each in self.containers)
            for each in self.containers:
                if not each.started and not each.over and self._may_start(each):
                    self._start(each, folder)
                    is_running = True
            if not is_running or any(each.over and each.essential for each in self.containers):
                break
            self._look.wait(1)
            self._look.clear()
        self._end()

    def _may_start(self, waiting: Container) -> bool:
        named = {each.name: each for each in self.containers}
        met = {
            "START": lambda other: other.started,
            "COMPLETE": lambda other: other.over,
            "SUCCESS": lambda other: other.over and other.code == 0,
        }
        for name, condition in waiting.waits_for:
            other = named[name]
            if condition == "SUCCESS" and other.over and other.code != 0:
                waiting.over = True  # it never starts
                return False
            if not met[condition](other):
                return False
        return True

    def _start(self, each: Container, folder: Path) -> None:
        def placed(text: str) -> str:
            for path, volume in each.mounts.items():
                if text == path or text.startswith(f"{path}/"):
                    return f"{folder / volume}{text[len(path) :]}"
            return text

        for volume in each.mounts.values():
            (folder / volume).mkdir(exist_ok=True)
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HOSTNAME": each.name,
            PLAYED: str(os.getpid()),
            **{name: placed(value) for name, value in each.variables.items()},
        }
        each.started = True
        try:
            each.process = subprocess.Popen(
                [placed(part) for part in each.command],
                env=variables,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self.say(each, str(error))
            each.code, each.over = _NO_ANSWER, True
            self._look.set()
            return
        self.changed(each)
        scope = get_account_id(), get_region()
        threading.Thread(target=self._follow, args=(each, each.process, scope), daemon=True).start()

    def _follow(self, each: Container, process: subprocess.Popen[bytes], scope: tuple[str, str]) -> None:
        def read() -> None:
            with request_scope(*scope):
                for line in process.stdout or ():
                    self.say(each, line.decode(errors="replace").rstrip("\n"))

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        status = process.wait()
        _signal(process, signal.SIGKILL)  # a container's first process takes the others along
        reading.join(1)
        each.code = status if status >= 0 else 128 - status
        each.over = True
        with request_scope(*scope):
            self.changed(each)
        self._look.set()

    def _end(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        running = [each for each in self.containers if each.process is not None and not each.over]
        for each in running:
            _signal(each.process, signal.SIGTERM)
        while any(not each.over for each in running) and time.monotonic() < deadline:
            time.sleep(0.05)  # polls
        for each in running:
            if not each.over:
                _signal(each.process, signal.SIGKILL)
        for each in running:
            while not each.over:
                time.sleep(0.01)  # polls


def _signal(process: Any, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _logged(definition: Mapping[str, Any], task: str, line: str) -> None:
    """Put a line where a container's log driver would."""
    config = ecs._awslogs_config(definition, task, task)
    if config is not None and ecs._ensure_awslogs_stream(config):
        ecs._emit_awslogs_event(config, line)


def _event(source: str, kind: str, resource: str, detail: Mapping[str, Any]) -> None:
    entry = {"Source": source, "DetailType": kind, "Resources": [resource], "Detail": json.dumps(detail, default=str)}
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


# -- ECS ----------------------------------------------------------------------------------------------

_plays: dict[str, Play] = {}
"""By the ARN of the task, or the id of the job."""


def _run_task(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def started(data: Mapping[str, Any]) -> Any:
        definition = ecs._task_defs.get(ecs._resolve_td_key(data["taskDefinition"]))
        if definition is None:  # in AWS's words
            return error_response_json("ClientException", "TaskDefinition not found.", 400)
        answer = run(data)
        if answer[0] == 200:
            overrides = {each["name"]: each for each in data.get("overrides", {}).get("containerOverrides", ())}
            for told in json.loads(answer[2])["tasks"]:
                _play_task(ecs._tasks[told["taskArn"]], definition, overrides)
        return answer

    return started


def _play_task(task: dict[str, Any], definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    arn = task["taskArn"]
    definitions = {each["name"]: each for each in definition["containerDefinitions"]}
    known = {each["name"]: each for each in task["containers"]}
    containers, tokens = [], {}
    for name, each in definitions.items():
        made = container(each, overrides.get(name, {}))
        told: dict[str, str] = {}
        tokens[name] = ecs._register_metadata(
            arn, task["clusterArn"], definition, each, task["launchType"], told, True, None
        )
        ecs_metadata.set_container_status(tokens[name], "PENDING")
        # Not what else is told: credentials, which a task without a role has not.
        made.variables["ECS_CONTAINER_METADATA_URI_V4"] = told["ECS_CONTAINER_METADATA_URI_V4"]
        known[name]["lastStatus"] = "PENDING"
        containers.append(made)

    def changed(each: Container) -> None:
        status = "STOPPED" if each.over else "RUNNING"
        known[each.name] |= {"lastStatus": status, "exitCode": each.code}
        ecs_metadata.set_container_status(tokens[each.name], status)

    def ended(play: Play) -> None:
        for each in play.containers:
            known[each.name]["exitCode"] = each.code
        task["desiredStatus"] = "RUNNING"  # else it counts as stopped, and nothing is marked
        ecs._mark_task_stopped(arn, task, play.reason, play.stop_code)
        view = ecs._sanitize(task)
        for each in view["containers"]:
            if each.get("exitCode") is None:
                each.pop("exitCode", None)
        _plays.pop(arn, None)
        _event("aws.ecs", "ECS Task State Change", arn, view)

    def say(each: Container, line: str) -> None:
        _logged(definitions[each.name], arn.rpartition("/")[2], line)

    _plays[arn] = Play(containers, say, changed, ended)
    _plays[arn].start()


def _stop_task(stop: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def stopped(data: Mapping[str, Any]) -> Any:
        task = ecs._resolve_task(data.get("task", ""), ecs._resolve_cluster_name(data.get("cluster", "default")))
        play = _plays.get(task["taskArn"]) if task else None
        if play is None:
            return stop(data)
        task["desiredStatus"] = "STOPPED"
        play.stop("UserInitiated", data.get("reason", "Task stopped by user"))
        return json_response({"task": ecs._sanitize(task)})

    return stopped


# -- Batch --------------------------------------------------------------------------------------------


def _register_job_definition(register: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def registered(asked: Mapping[str, Any]) -> Any:
        answer = register(asked)
        if answer[0] == 200:
            batch._job_definitions[asked["jobDefinitionName"]][-1].update(
                {name: value for name, value in asked.items() if name != "jobDefinitionName"}
            )
        return answer

    return registered


def _describe_job_definitions(asked: Mapping[str, Any]) -> Any:
    every = [each for revisions in batch._job_definitions.values() for each in revisions]
    if name := asked.get("jobDefinitionName"):
        every = [each for each in every if each["jobDefinitionName"] == name]
    if names := asked.get("jobDefinitions"):
        every = [
            each
            for each in every
            if {each["jobDefinitionArn"], f"{each['jobDefinitionName']}:{each['revision']}"} & {*names}
        ]
    if status := asked.get("status"):
        every = [each for each in every if each["status"] == status]
    return batch._json(200, {"jobDefinitions": every})


def _definition(named: str) -> Mapping[str, Any] | None:
    name, _, revision = named.rpartition("/")[2].partition(":")
    revisions = batch._job_definitions.get(name, [])
    return next((each for each in reversed(revisions) if not revision or str(each["revision"]) == revision), None)


def _submit_job(submit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def submitted(asked: Mapping[str, Any]) -> Any:
        definition = _definition(asked["jobDefinition"])
        queue, _ = batch._job_queue_name_from_ref(asked["jobQueue"])
        if definition is None or queue not in batch._job_queues:
            return error_response_json("ClientException", f"JobDefinition or JobQueue not found: {asked}", 404)
        answer = submit(asked)
        job = batch._jobs[json.loads(answer[2])["jobId"]]
        del job["startedAt"], job["stoppedAt"], job["container"]
        job |= {
            "status": "RUNNABLE",
            "statusReason": "",
            "jobQueue": batch._jq_arn(queue),
            "jobDefinition": definition["jobDefinitionArn"],
            "tags": {**asked.get("tags", {})},
            "platformCapabilities": definition.get("platformCapabilities", []),
            "attempts": [],
        }
        _play_job(job, definition, asked)
        return answer

    return submitted


def _play_job(job: dict[str, Any], definition: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    (task,) = definition["ecsProperties"]["taskProperties"]
    (override,) = asked.get("ecsPropertiesOverride", {}).get("taskProperties") or [{}]
    overrides = {each["name"]: each for each in override.get("containers", ())}
    definitions = {each["name"]: each for each in task["containers"]}
    containers = [container(each, overrides.get(name, {})) for name, each in definitions.items()]
    for each in containers:
        each.variables |= {
            "AWS_BATCH_JOB_ID": job["jobId"],
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "AWS_BATCH_JQ_NAME": job["jobQueue"].rpartition("/")[2],
        }

    def told(play: Play) -> list[dict[str, Any]]:
        return [
            {"name": each.name, **({} if each.code is None else {"exitCode": each.code})} for each in play.containers
        ]

    def changed(_each: Container) -> None:
        if job["status"] == "RUNNABLE":
            job.update(status="RUNNING", startedAt=batch._now_ms())

    def ended(play: Play) -> None:
        essential = [each.code for each in play.containers if each.essential]
        is_well = play.stop_code == "EssentialContainerExited" and all(code == 0 for code in essential)
        properties = {"taskProperties": [{"containers": told(play)}]}
        now = batch._now_ms()
        job.update(
            status="SUCCEEDED" if is_well else "FAILED",
            statusReason=play.reason,
            stoppedAt=now,
            ecsProperties=properties,
            attempts=[
                {**properties, "startedAt": job.get("startedAt", now), "stoppedAt": now, "statusReason": play.reason}
            ],
        )
        _plays.pop(job["jobId"], None)
        _event("aws.batch", "Batch Job State Change", job["jobArn"], job)

    def say(each: Container, line: str) -> None:
        _logged(definitions[each.name], job["jobId"], line)

    _plays[job["jobId"]] = Play(containers, say, changed, ended)
    _plays[job["jobId"]].start()


def _terminate_job(asked: Mapping[str, Any]) -> Any:
    if (play := _plays.get(asked["jobId"])) is not None:
        play.stop("UserInitiated", asked["reason"])
    return batch._json(200, {})


def _list_jobs(list_: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def listed(asked: Mapping[str, Any]) -> Any:
        filters = {each["name"]: each["values"] for each in asked.get("filters", ())}
        answer = list_({name: value for name, value in asked.items() if name != "jobStatus" or not filters})
        found = json.loads(answer[2])["jobSummaryList"]
        if names := filters.get("JOB_NAME"):
            found = [each for each in found if each["jobName"] in names]
        if not filters and "jobStatus" not in asked:
            found = [each for each in found if each["status"] == "RUNNING"]
        return batch._json(200, {"jobSummaryList": found})

    return listed


# -- CloudFormation -----------------------------------------------------------------------------------


def _lower(value: Any) -> Any:
    """Return properties as the service names them."""
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: _lower(each) for name, each in value.items()}
    return [_lower(each) for each in value] if isinstance(value, list) else value


def _made(create: Callable[[Any], Any], kind: str) -> Callable[..., Any]:
    def made(logical_id: str, properties: Any, stack: str) -> Any:
        name = f"{stack}-{logical_id}"
        status, _, body = create({f"{kind}Name": name, **_lower(properties)})
        if status != 200:
            raise ValueError(body)
        arn = json.loads(body)[f"{kind}Arn"]
        return arn, {f"{kind[0].upper()}{kind[1:]}Arn": arn}

    return made


def _capacities(_logical_id: str, properties: Any, _stack: str) -> Any:
    ecs._put_cluster_capacity_providers(_lower(properties))
    return properties["Cluster"], {}


def install() -> None:
    """Have ECS and Batch play containers, and CloudFormation know Batch's resources."""
    assert not ecs._get_docker(), "the emulator would run containers itself"
    assert hasattr(cloudwatch_logs, "_put_log_events")
    for action, make in (("RunTask", _run_task), ("StopTask", _stop_task)):
        ecs._ACTION_MAP[action] = make(ecs._ACTION_MAP[action])
    actions = batch._DISPATCH
    for path, make in (
        ("registerjobdefinition", _register_job_definition),
        ("submitjob", _submit_job),
        ("listjobs", _list_jobs),
    ):
        actions[f"/v1/{path}"] = make(actions[f"/v1/{path}"])
    actions["/v1/describejobdefinitions"] = _describe_job_definitions
    actions["/v1/terminatejob"] = _terminate_job
    for type_, kind, create in (
        ("ComputeEnvironment", "computeEnvironment", batch._create_compute_environment),
        ("JobQueue", "jobQueue", batch._create_job_queue),
    ):
        handlers = {"create": _made(create, kind), "delete": lambda _name, _properties: None}
        provisioners._RESOURCE_HANDLERS[f"AWS::Batch::{type_}"] = handlers
    provisioners._RESOURCE_HANDLERS["AWS::ECS::ClusterCapacityProviderAssociations"] = {
        "create": _capacities,
        "delete": lambda _name, _properties: None,
    }
