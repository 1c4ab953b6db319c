"""What a container run is made of: settings, properties, definitions, and what is read from its end."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.adapters.aws.events import ContainerEnd, JobChanged, TaskChanged, job_changed, task_changed
from headrace_engine.language import Registry
from headrace_engine.plugin import TaskFailure
from headrace_engine.ports import PortError
from headrace_runners.containers.definitions import batch_definition, fargate_definition, is_on_fargate, program
from headrace_runners.containers.ends import verdict_of_job, verdict_of_task
from headrace_runners.containers.properties import Batch, Fargate, cpu_units, megabytes
from headrace_runners.containers.settings import ContainerSettings
from headrace_runners.placing import Sketch, Stack, place

SAMPLES = Path(__file__).parents[3] / "events" / "samples"
TEXT = json.dumps(
    {
        "cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/headrace",
        "subnets": ["subnet-1"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": True,
        "executionRole": "arn:aws:iam::123456789012:role/execution",
        "taskRole": None,
        "logGroup": "/headrace/containers",
        "stager": "example.com/python@sha256:0123",
        "queues": {"FARGATE": "arn:queue", "FARGATE_SPOT": "arn:spot"},
        "architecture": "ARM64",
        "cpu": "0.25",
        "memory": "512",
        "tags": {"team": "data"},
        "taskRoles": ["arn:aws:iam::123456789012:role/flows/*"],
    }
)
REGION = "eu-central-1"


def settings() -> ContainerSettings:
    return ContainerSettings.of(TEXT)


def fargate(**properties: Any) -> Fargate:
    return Fargate.model_validate({"type": Fargate.TYPE, **properties})


def batch(**properties: Any) -> Batch:
    return Batch.model_validate({"type": Batch.TYPE, **properties})


def asking(**request: Any) -> dict[str, Any]:
    return {"resources": {"request": request}}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


# -- Settings ---------------------------------------------------------------------------------------


def test_settings_that_cannot_be_read_are_named() -> None:
    with pytest.raises(PortError, match=r"HEADRACE_CONTAINERS cannot be read: .*`cluster`"):
        ContainerSettings.of("{}")


# -- Sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "units"), [("0.25", 256), ("1", 1024), ("16", 16384), ("512", 512), ("4096", 4096)])
def test_cpus_are_read_as_kestra_and_as_ecs_write_them(text: str, units: int) -> None:
    assert cpu_units(text) == units


@pytest.mark.parametrize(("text", "mib"), [("512", 512), ("2 GB", 2048), ("4GiB", 4096), ("1024 MB", 1024)])
def test_memory_is_read_with_and_without_a_unit(text: str, mib: int) -> None:
    assert megabytes(text) == mib


@pytest.mark.parametrize(
    ("request_", "size"),
    [
        ({}, ("256", "512")),
        ({"cpu": 1}, ("1024", "2048")),
        ({"memory": "8 GB"}, ("1024", "8192")),
        ({"cpu": "2", "memory": "8 GB"}, ("2048", "8192")),
        ({"cpu": 0.25, "memory": 1024}, ("256", "1024")),
    ],
)
def test_what_is_not_asked_for_follows_from_what_is(request_: dict[str, Any], size: tuple[str, str]) -> None:
    body = fargate_definition("python:3", fargate(**asking(**request_)), settings(), REGION).body
    assert (body["cpu"], body["memory"]) == size


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"cpu": 3}, "Fargate has no 3 CPU; it has 0.25, 0.5, 1, 2, 4, 8, 16"),
        ({"cpu": 1, "memory": 512}, "Fargate has no 512 MiB beside 1 CPU; it has 2048 to 8192 in steps of 1024"),
        ({"cpu": "many"}, "'many' is not a number of CPUs"),
        ({"memory": "much"}, "'much' is not an amount of memory"),
        ({"gpu": 1}, "Fargate has no GPU"),
    ],
)
def test_a_size_that_fargate_does_not_have_is_refused_with_those_it_has(request_: dict[str, Any], text: str) -> None:
    with pytest.raises(TaskFailure, match=text.replace("(", r"\(")):
        fargate_definition("python:3", fargate(**asking(**request_)), settings(), REGION)


# -- Definitions ------------------------------------------------------------------------------------


def test_a_task_definition_has_two_containers_beside_the_codes() -> None:
    body = fargate_definition("python:3", fargate(), settings(), REGION).body
    containers = {each["name"]: each for each in body["containerDefinitions"]}
    assert list(containers) == ["main", "stage-in", "stage-out"]
    assert {name: each["essential"] for name, each in containers.items()} == {
        "main": False,
        "stage-in": False,
        "stage-out": True,
    }
    begun = [{"containerName": "stage-in", "condition": "SUCCESS"}]
    assert containers["main"]["dependsOn"] == containers["stage-out"]["dependsOn"] == begun
    assert "dependsOn" not in containers["stage-in"]
    assert containers["main"]["image"] == "python:3"
    assert containers["main"]["entryPoint"] == ["/bin/sh", "/headrace/wrapper.sh"]
    assert [mount["containerPath"] for mount in containers["main"]["mountPoints"]] == ["/headrace"]
    for side in ("stage-in", "stage-out"):
        assert containers[side]["image"] == "example.com/python@sha256:0123"
        paths = [mount["containerPath"] for mount in containers[side]["mountPoints"]]
        assert paths == ["/headrace", "/headrace-own"]
    assert "taskRoleArn" not in body  # people's code may do nothing unless a role is named


def test_a_definition_is_named_after_what_it_says() -> None:
    plain = fargate_definition("python:3", fargate(), settings(), REGION)
    assert plain == fargate_definition("python:3", fargate(tags={"a": "b"}, subnets=["x"]), settings(), REGION)
    assert plain.name.startswith("headrace-task-")
    others = {
        fargate_definition(image, fargate(**properties), settings(), REGION).name
        for image, properties in [
            ("python:3.13", {}),
            ("python:3", asking(cpu=1)),
            ("python:3", {"taskRoleArn": "arn:aws:iam::123456789012:role/flows/a"}),
            ("python:3", {"ephemeralStorage": 50}),
            ("python:3", {"cpuArchitecture": "X86_64"}),
        ]
    }
    assert len(others | {plain.name}) == 6


def test_definitions_are_far_below_what_aws_takes() -> None:
    task = fargate_definition("python:3", fargate(), settings(), REGION).body
    job = batch_definition("python:3", batch(), settings(), REGION).body
    assert len(json.dumps(task)) < 20_000  # of 65,536
    assert len(json.dumps(job)) < 16_000  # of 24,576


def test_disk_is_asked_for_in_gibibytes() -> None:
    for text in ("50", 50, "50 GB", "51200 MB"):
        body = fargate_definition("python:3", fargate(ephemeralStorage=text), settings(), REGION).body
        assert body["ephemeralStorage"] == {"sizeInGiB": 50}
    with pytest.raises(TaskFailure, match="Fargate has no 500 GiB of disk: it has 20, or 21 to 200"):
        fargate_definition("python:3", fargate(ephemeralStorage="500 GB"), settings(), REGION)


def test_a_job_tells_each_containers_share() -> None:
    body = batch_definition("python:3", batch(**asking(cpu=2, memory=8192)), settings(), REGION).body
    task = body["ecsProperties"]["taskProperties"][0]
    shares = {
        each["name"]: {need["type"]: need["value"] for need in each["resourceRequirements"]}
        for each in task["containers"]
    }
    assert shares == {
        "main": {"VCPU": "1.5", "MEMORY": "7168"},
        "stage-in": {"VCPU": "0.25", "MEMORY": "512"},
        "stage-out": {"VCPU": "0.25", "MEMORY": "512"},
    }
    assert body["platformCapabilities"] == ["FARGATE"]
    assert body["retryStrategy"] == {"attempts": 1}
    assert task["networkConfiguration"] == {"assignPublicIp": "ENABLED"}


def test_the_smallest_job_has_room_for_three_containers() -> None:
    task = batch_definition("python:3", batch(), settings(), REGION).body["ecsProperties"]["taskProperties"][0]
    assert task["containers"][0]["resourceRequirements"] == [
        {"type": "VCPU", "value": "0.5"},
        {"type": "MEMORY", "value": "1024"},
    ]


def test_side_containers_that_leave_nothing_are_refused() -> None:
    greedy = batch(sidecarResources={"request": {"cpu": 0.5, "memory": 1024}})
    with pytest.raises(TaskFailure, match="the two containers for files leave nothing"):
        batch_definition("python:3", greedy, settings(), REGION)


def test_a_gpu_asks_for_machines_of_ec2() -> None:
    asked = batch(jobQueueArn="arn:gpu", **asking(cpu=4, memory=16384, gpu=1))
    assert not is_on_fargate(asked)
    body = batch_definition("pytorch/pytorch", asked, settings(), REGION).body
    assert body["platformCapabilities"] == ["EC2"]
    task = body["ecsProperties"]["taskProperties"][0]
    assert task["containers"][0]["resourceRequirements"] == [
        {"type": "VCPU", "value": "4"},
        {"type": "MEMORY", "value": "16384"},
        {"type": "GPU", "value": "1"},
    ]
    assert not {"platformVersion", "networkConfiguration", "runtimePlatform"} & task.keys()


def test_kestras_properties_of_batch_are_taken() -> None:
    asked = batch(
        region="eu-central-1",
        computeEnvironmentArn="arn:aws:batch:eu-central-1:1:compute-environment/x",
        jobQueueArn="arn:aws:batch:eu-central-1:1:job-queue/x",
        executionRoleArn="arn:e",
        taskRoleArn="arn:t",
        bucket="b",
        waitUntilCompletion="PT2H",
        completionCheckInterval="PT1S",
        delete=False,
        resume=True,
        streamLogs=True,
    )
    assert asked.job_queue_arn == "arn:aws:batch:eu-central-1:1:job-queue/x"


def test_every_name_of_a_runner_is_placed_where_it_says() -> None:
    stack = Stack(containers=True)
    for kind, where in ((Fargate, "fargate"), (Batch, "batch")):
        for name in (kind.TYPE, *kind.ALIASES):
            script = Sketch("io.kestra.plugin.scripts.shell.Commands", "flows", {"taskRunner": {"type": name}})
            assert place(script, stack).where == where
            assert Registry.load().runner(name) is kind


def test_neither_runs_on_a_machine_of_ones_own() -> None:
    for asked in (fargate(), batch()):
        with pytest.raises(TaskFailure, match=r"runs on a stack on AWS only\. Here, run the task with"):
            asked.runner()


# -- The program of the side containers -------------------------------------------------------------


def test_the_stager_is_one_file_for_any_python_from_3_9_on() -> None:
    source = resources.files("headrace_runners.containers").joinpath("stager.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not [name for name in imported if name.startswith(("headrace", "httpx", "boto"))]
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "isinstance" in calls  # and not with a union, which Python 3.9 has only as a tuple


def test_the_program_runs_as_an_argument() -> None:
    done = subprocess.run(["python3", "-c", program(), "in", "/v", "/o"], capture_output=True, text=True, check=False)
    assert "KeyError: 'HEADRACE_API'" in done.stderr  # it is whole, and asks for what it needs


# -- The wrapper ------------------------------------------------------------------------------------


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "work").mkdir()
    text = resources.files("headrace_runners.containers").joinpath("wrapper.sh").read_text(encoding="utf-8")
    (tmp_path / "wrapper.sh").write_text(text)
    yield tmp_path
    for process in BEGUN:  # as the kernel does when a container's first process is gone
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    BEGUN.clear()


def begin(volume: Path, script: str, *, shell: str = "sh", environment: str = "") -> subprocess.Popen[bytes]:
    (volume / "environment").write_text(environment)
    (volume / "script").write_text(script)
    (volume / "command").write_text(f"set -- {shell} '{volume}/script'\n")
    process = subprocess.Popen([shell, str(volume / "wrapper.sh")], start_new_session=True)
    BEGUN.append(process)
    return process


BEGUN: list[subprocess.Popen[bytes]] = []
SHELLS = [shell for shell in ("dash", "bash", "busybox") if subprocess.run(["which", shell], capture_output=True, check=False).returncode == 0]  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
class TestWrapper:
    """In each shell that is there."""

    def test_streams_and_status_are_left_on_the_volume(self, volume: Path, shell: str) -> None:
        assert begin(volume, "echo one; echo bad >&2; pwd; exit 7", shell=shell).wait(20) == 7
        assert (volume / "stdout").read_text() == f"one\n{volume / 'work'}\n"
        assert (volume / "stderr").read_text() == "bad\n"
        assert (volume / "exit").read_text() == "7\n"
        assert (volume / "started").exists()

    def test_variables_reach_the_code_and_are_gone_from_the_volume(self, volume: Path, shell: str) -> None:
        environment = "export SECRET='it'\\''s\nlong'\nexport _HEADRACE_TIMEOUT='60'\n"
        script = 'echo "$SECRET"; echo "${_HEADRACE_TIMEOUT-none}"; ls ..'
        assert begin(volume, script, shell=shell, environment=environment).wait(20) == 0
        lines = (volume / "stdout").read_text().splitlines()
        assert lines[:3] == ["it's", "long", "none"]
        assert "environment" not in lines

    def test_a_signal_ends_the_code_gently_and_its_own_status_counts(self, volume: Path, shell: str) -> None:
        process = begin(volume, "trap 'echo cleaned; exit 3' TERM; echo begun; sleep 60 & wait", shell=shell)
        wait_for(volume / "stdout", "begun")
        process.terminate()
        assert process.wait(20) == 3
        assert (volume / "stdout").read_text() == "begun\ncleaned\n"
        assert (volume / "exit").read_text() == "3\n"

    def test_a_signal_of_the_codes_own_is_told_as_its_status(self, volume: Path, shell: str) -> None:
        assert begin(volume, "kill -9 $$", shell=shell).wait(20) == 137
        assert (volume / "exit").read_text() == "137\n"

    def test_a_timeout_ends_the_code_and_is_told(self, volume: Path, shell: str) -> None:
        began = time.monotonic()
        process = begin(volume, "sleep 60", shell=shell, environment="export _HEADRACE_TIMEOUT='1'\n")
        assert process.wait(20) == 143
        assert time.monotonic() - began < 10
        assert (volume / "timeout").exists()

    def test_code_that_ends_in_time_is_not_waited_for(self, volume: Path, shell: str) -> None:
        began = time.monotonic()
        assert begin(volume, "true", shell=shell, environment="export _HEADRACE_TIMEOUT='600'\n").wait(60) == 0
        assert time.monotonic() - began < 60
        assert not (volume / "timeout").exists()


def wait_for(path: Path, text: str) -> None:
    until = time.monotonic() + 20
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < until


# -- Ends -------------------------------------------------------------------------------------------


def task(stop_code: str, reason: str, *containers: ContainerEnd) -> TaskChanged:
    return TaskChanged("arn", "cluster", "STOPPED", "", 1, stop_code, reason, containers)


def job(reason: str, *containers: ContainerEnd) -> JobChanged:
    return JobChanged("id", "name", "queue", "FAILED", reason, None, None, containers)


@pytest.mark.parametrize(
    ("stop_code", "reason", "is_lost"),
    [
        ("SpotInterruption", "Your Spot Task was interrupted.", True),
        ("TerminationNotice", "Task was stopped for maintenance", True),
        ("UserInitiated", "Task stopped by user", True),
        ("TaskFailedToStart", "Capacity is unavailable at this time", True),
        ("TaskFailedToStart", "Timeout waiting for network interface provisioning to complete.", True),
        ("TaskFailedToStart", "CannotPullContainerError: example.com/x:1: not found", False),
        ("TaskFailedToStart", "CannotPullContainerError: toomanyrequests: You have reached your pull rate limit", True),
        ("TaskFailedToStart", "CannotPullContainerError: dial tcp: i/o timeout", True),
        ("TaskFailedToStart", "CannotStartContainerError: exec /bin/sh: no such file or directory", False),
        ("EssentialContainerExited", "Essential container in task exited", True),
    ],
)
def test_what_took_a_task_away_decides(stop_code: str, reason: str, is_lost: bool) -> None:
    verdict = verdict_of_task(task(stop_code, reason))
    assert verdict.is_lost is is_lost
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("reason", "is_lost"),
    [
        ("Host EC2 (instance i-0123456789abcdef0) terminated.", True),
        ("Your Spot Task was interrupted.", True),
        ("Job attempt duration exceeded timeout", False),
        ("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", False),
        ("Essential container in task exited", True),
        ("CannotPullContainerError: example.com/x:1: not found", False),
    ],
)
def test_what_took_a_job_away_decides(reason: str, is_lost: bool) -> None:
    assert verdict_of_job(job(reason)).is_lost is is_lost


def test_too_little_memory_is_a_failure_that_says_so() -> None:
    killed = ContainerEnd("stage-out", 137, "OutOfMemoryError: container killed due to memory usage")
    verdict = verdict_of_task(task("EssentialContainerExited", "Essential container in task exited", killed))
    assert not verdict.is_lost
    assert verdict.reason.startswith("The containers ran out of memory: ask for more in `resources`")


@pytest.mark.parametrize(
    ("name", "is_lost", "text"),
    [
        ("ecs-task-spot", True, "Fargate Spot took its capacity back: Your Spot Task was interrupted."),
        ("ecs-task-image", False, "The image cannot be pulled (CannotPullContainerError: "),
        ("ecs-task-capacity", True, "The task could not be started: Capacity is unavailable at this time."),
        ("ecs-task-stopped", False, "The containers ran out of memory"),
    ],
)
def test_the_samples_of_ecs_are_read(name: str, is_lost: bool, text: str) -> None:
    changed = task_changed(sample(name))
    assert changed.status == "STOPPED"
    verdict = verdict_of_task(changed)
    assert (verdict.is_lost, verdict.reason[: len(text)]) == (is_lost, text)


@pytest.mark.parametrize(
    ("name", "is_lost", "text"),
    [
        ("batch-job-spot", True, "The job ended early: Your Spot Task was interrupted."),
        ("batch-job-image", False, "The image cannot be pulled (CannotPullContainerError: "),
        ("batch-job-failed", False, "The containers ran out of memory"),
    ],
)
def test_the_samples_of_batch_are_read(name: str, is_lost: bool, text: str) -> None:
    verdict = verdict_of_job(job_changed(sample(name)))
    assert (verdict.is_lost, verdict.reason[: len(text)]) == (is_lost, text)


def test_a_task_that_runs_is_read() -> None:
    changed = task_changed(sample("ecs-task-running"))
    assert (changed.status, changed.stop_code) == ("RUNNING", "")
    assert [each.name for each in changed.containers] == ["main", "stage-in", "stage-out"]
