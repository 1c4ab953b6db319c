"""Starts and stops that AWS answers in all the ways it may; what really runs then is seen in tests/moto."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.signing import Keyring
from headrace_engine.adapters.memory import ManualClock
from headrace_engine.adapters.memory.claims import MemoryClaims
from headrace_engine.attempts import Attempts
from headrace_engine.core.codec import decode_message
from headrace_engine.ports import AttemptId, Job, PortError
from headrace_engine.testing.runtime import START
from headrace_runners.containers.dispatch import ContainerDispatch
from headrace_runners.containers.properties import Batch, Fargate
from headrace_runners.containers.settings import ContainerSettings

ATTEMPT = AttemptId("execution", "run", 0)
TASK = "arn:aws:ecs:eu-central-1:123456789012:task/headrace/1"
SETTINGS = {
    "cluster": "cluster",
    "executionRole": "arn:execution",
    "logGroup": "group",
    "stager": "image",
    "queues": {"FARGATE": "arn:queue", "FARGATE_SPOT": "arn:spot"},
    "jobQueues": ["arn:mine"],
    "tags": {"headrace": "stack"},
}


class Service:
    """A client of AWS that answers as it was told, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {
            "run_task": {"tasks": [{"taskArn": TASK, "lastStatus": "PROVISIONING"}], "failures": []},
            "list_tasks": {"taskArns": []},
            "list_jobs": {"jobSummaryList": []},
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**values: Any) -> Any:
            self.asked.append((name, values))
            answer = self.answers.get(name, {})
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


def refusal(code: str, text: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": text}}, "Any")


class Stand:
    """A dispatch on services that are told what to answer."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.claims = MemoryClaims()
        self.service = Service()
        self.reports: list[Any] = []
        self.later: list[tuple[AttemptId, datetime]] = []
        self.dispatch = ContainerDispatch(
            lambda _service: self.service,
            self.claims,
            self.clock,
            Keyring({1: b"a key of which everybody knows that it is one"}),
            Attempts(self.claims, self.clock, self),
            settings=ContainerSettings.of(json.dumps(SETTINGS)),
            api_url="https://api.headrace.test",
            region="eu-central-1",
            image_of=lambda _job: "alpine",
            later=lambda attempt, due: self.later.append((attempt, due)),
        )

    def send(self, execution_id: str, message: bytes) -> None:
        self.reports.append(decode_message(message))

    def start(self, kind: Any = Fargate, **properties: Any) -> None:
        runner = {"type": kind if isinstance(kind, str) else kind.TYPE, **properties}
        job = Job(ATTEMPT, "any", "task", "flows", "flow", 1, START, {"taskRunner": runner})
        self.dispatch.start(job, "batch" if kind is Batch else "fargate")

    @property
    def ends(self) -> list[tuple[str, str]]:
        return [(each.result.state.value, each.result.error) for each in self.reports]


@pytest.fixture
def stand() -> Stand:
    return Stand()


def test_a_task_is_started_with_the_attempts_name_and_token(stand: Stand) -> None:
    stand.start(tags={"cost": "42", "headrace": "another"}, spot=True)
    ((name, asked),) = stand.service.asked
    assert (name, asked["startedBy"], asked["count"]) == ("run_task", "execution-run-0", 1)
    assert len(asked["clientToken"]) == 64
    assert asked["capacityProviderStrategy"] == [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    assert "launchType" not in asked
    overrides = asked["overrides"]["containerOverrides"]
    assert [each["name"] for each in overrides] == ["stage-in", "stage-out"]
    assert len(json.dumps(asked["overrides"])) < 1500  # of 8,192
    # The platform's own tags stand: roles tell by them whose a job is.
    assert {each["key"]: each["value"] for each in asked["tags"]} == {
        "cost": "42",
        "headrace": "stack",
        "headrace:namespace": "flows",
        "headrace:flow": "flow",
        "headrace:task": "task",
    }


@pytest.mark.parametrize(
    "answer",
    [
        refusal("ThrottlingException"),
        refusal("ServerException"),
        refusal("ClientException", "You've reached the limit on the number of vCPUs you can run concurrently"),
        {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time."}]},
        {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]},
    ],
)
def test_what_cannot_be_started_now_is_started_later(stand: Stand, answer: Any) -> None:
    stand.service.answers["run_task"] = answer
    stand.start()
    assert stand.later == [(ATTEMPT, START + timedelta(seconds=15))]
    stand.clock.set(START + timedelta(minutes=4))
    stand.start()
    assert stand.later[1] == (ATTEMPT, START + timedelta(minutes=6))
    stand.clock.set(START + timedelta(hours=4))
    stand.start()
    assert stand.later[2] == (ATTEMPT, START + timedelta(hours=4, minutes=5))
    assert stand.reports == []


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (refusal("InvalidParameterException", "No such subnet"), "RunTask is refused: No such subnet"),
        (refusal("AccessDeniedException", "May not pass the role"), "RunTask is not allowed here: May not pass"),
        ({"tasks": [], "failures": [{"reason": "MISSING"}]}, "ECS does not start the task: MISSING"),
    ],
)
def test_what_can_never_be_started_is_a_failure(stand: Stand, answer: Any, text: str) -> None:
    stand.service.answers["run_task"] = answer
    stand.start()
    ((state, error),) = stand.ends
    assert state == "FAILED"
    assert error.startswith(text)
    stand.start()  # again: it is over
    assert stand.service.names == ["run_task"]
    assert stand.ends[1] == stand.ends[0]


def test_properties_that_are_wrong_are_a_failure_that_names_them(stand: Stand) -> None:
    stand.start(resources={"request": {"cpu": "many"}})
    stand.start()
    assert stand.ends[0] == ("FAILED", "'many' is not a number of CPUs: write 0.25, 0.5, 1, 2, 4, 8 or 16")


def test_what_nobody_knows_an_answer_to_is_tried_again_by_who_asked(stand: Stand) -> None:
    stand.service.answers["run_task"] = refusal("Strange")
    with pytest.raises(PortError, match="Strange"):
        stand.start()
    assert (stand.reports, stand.later) == ([], [])


def test_a_definition_that_is_not_there_is_registered(stand: Stand) -> None:
    stand.service.answers["run_task"] = [
        refusal("ClientException", "TaskDefinition not found."),
        {"tasks": [], "failures": []},
    ]
    stand.start()
    assert stand.service.names == ["run_task", "register_task_definition", "run_task"]
    assert stand.service.asked[1][1]["family"] == stand.service.asked[0][1]["taskDefinition"]


def test_a_definition_that_is_not_seen_yet_is_waited_for(stand: Stand) -> None:
    stand.service.answers["run_task"] = refusal("ClientException", "TaskDefinition not found.")
    stand.start()
    assert len(stand.later) == 1


def test_a_token_that_was_used_otherwise_was_this_attempts_start(stand: Stand) -> None:
    stand.service.answers["run_task"] = refusal("ConflictException")
    stand.start()
    assert (stand.reports, stand.later) == ([], [])


def test_a_task_that_an_earlier_start_began_and_that_is_over_is_lost(stand: Stand) -> None:
    told = {
        "taskArn": TASK,
        "clusterArn": "cluster",
        "lastStatus": "STOPPED",
        "startedBy": "execution-run-0",
        "version": 4,
        "containers": [],
        "stopCode": "SpotInterruption",
        "stoppedReason": "Your Spot Task was interrupted.",
    }
    stand.service.answers["run_task"] = {"tasks": [told], "failures": []}
    stand.start()
    assert [state for state, _ in stand.ends] == ["RESUBMITTED"]


def test_what_a_task_says_to_another_runner_is_heeded_as_far_as_it_goes(stand: Stand) -> None:
    stand.start("io.headrace.runner.lambda.Lambda", memory="12 GB", ephemeralStorage="30 GB")
    stand.service.answers["run_task"] = refusal("ClientException", "TaskDefinition not found.")
    stand.start("io.headrace.runner.lambda.Lambda", memory="12 GB", ephemeralStorage="30 GB")
    body = dict(stand.service.asked)["register_task_definition"]
    assert (body["memory"], body["ephemeralStorage"]) == ("12288", {"sizeInGiB": 30})


def test_a_job_goes_to_the_queue_of_its_kind(stand: Stand) -> None:
    stand.start(Batch)
    stand.start(Batch, spot=True)
    stand.start(Batch, jobQueueArn="arn:mine")
    queues = [asked["jobQueue"] for name, asked in stand.service.asked if name == "submit_job"]
    assert queues == ["arn:queue", "arn:spot", "arn:mine"]


def test_a_job_that_waits_is_not_submitted_again(stand: Stand) -> None:
    stand.service.answers["list_jobs"] = {"jobSummaryList": [{"jobId": "1", "jobName": "x", "status": "RUNNABLE"}]}
    stand.start(Batch)
    assert stand.service.names == ["list_jobs"]


def test_a_stop_ends_the_task_that_has_begun(stand: Stand) -> None:
    stand.claims.claim(ATTEMPT, TASK, START)
    stand.dispatch.stop(ATTEMPT)
    assert stand.service.asked == [
        ("stop_task", {"cluster": "cluster", "task": TASK, "reason": "The attempt was stopped"})
    ]
    assert stand.reports == []  # its end is told by who hears of it


def test_a_stop_of_a_job_that_has_begun_ends_it(stand: Stand) -> None:
    stand.claims.claim(ATTEMPT, "batch:17", START)
    stand.dispatch.stop(ATTEMPT)
    assert stand.service.asked == [("terminate_job", {"jobId": "17", "reason": "The attempt was stopped"})]


def test_a_stop_before_anything_began_is_the_end(stand: Stand) -> None:
    stand.service.answers["list_tasks"] = {"taskArns": [TASK]}
    stand.dispatch.stop(ATTEMPT)
    assert stand.ends == [("KILLED", "The attempt was stopped")]
    assert "stop_task" in stand.service.names
    stand.dispatch.stop(ATTEMPT)
    assert stand.ends[1] == stand.ends[0]


def test_a_stop_ends_jobs_that_wait_in_any_queue_that_flows_may_name(stand: Stand) -> None:
    stand.dispatch.stop(ATTEMPT)
    asked = [values["jobQueue"] for name, values in stand.service.asked if name == "list_jobs"]
    assert asked == ["arn:queue", "arn:spot", "arn:mine"]


def test_a_stop_that_is_throttled_is_the_end_all_the_same(stand: Stand) -> None:
    stand.service.answers["list_tasks"] = refusal("ThrottlingException")
    stand.dispatch.stop(ATTEMPT)
    assert [state for state, _ in stand.ends] == ["KILLED"]


def test_a_stop_of_what_runs_and_is_throttled_is_asked_again(stand: Stand) -> None:
    stand.claims.claim(ATTEMPT, TASK, START)
    stand.service.answers["stop_task"] = refusal("ThrottlingException")
    with pytest.raises(PortError):
        stand.dispatch.stop(ATTEMPT)


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        ({"tasks": [], "failures": [{"arn": TASK, "reason": "MISSING"}]}, ["RESUBMITTED"]),
        ({"tasks": [], "failures": []}, []),
        (refusal("ThrottlingException"), []),
    ],
)
def test_only_what_is_missing_is_lost(stand: Stand, answer: Any, ends: list[str]) -> None:
    stand.claims.claim(ATTEMPT, TASK, START)
    stand.service.answers["describe_tasks"] = answer
    stand.start()
    assert [state for state, _ in stand.ends] == ends
