"""The events AWS calls the functions with, read from the samples of events/."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from headrace_engine.adapters.aws.dispatch import Invocation, invocation
from headrace_engine.adapters.aws.events import (
    BroughtEvent,
    ContainerEnd,
    EventError,
    ExecutionAlarm,
    FailedInvocation,
    JobChanged,
    ObjectCreated,
    OtherEvent,
    ScheduledEvent,
    SqsBatch,
    TaskChanged,
    TriggerAlarm,
    attempt_name,
    attempt_named,
    decode_alarm,
    encode_alarm,
    read_event,
    state_change,
    state_change_detail,
)
from headrace_engine.adapters.aws.mailbox import SqsInbox
from headrace_engine.adapters.aws.signing import AttemptSigner, Keyring, Verifier
from headrace_engine.core.codec import decode_message, encode_message
from headrace_engine.core.messages import AttemptReported, TimerFired
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, StateChange

EVENTS = Path(__file__).parents[3] / "events"
EXECUTION, TASK_RUN = "5kQ1zVJb7Yw0hN3cTfR8Xa", "1PzmQ0rTyUiOpAsDfGhJkL"
ATTEMPT = AttemptId(EXECUTION, TASK_RUN, 0)
INSTANT = datetime(2026, 3, 1, 8, 30, 15, 123456, tzinfo=UTC)
VERIFIER = Verifier(Keyring({1: b"the key of the samples, no secret"}))


def nothing_stored(digest: str) -> bytes:
    """Stands where nothing large comes."""
    raise AssertionError(digest)


def sample(name: str) -> Any:
    return json.loads((EVENTS / "samples" / f"{name}.json").read_text(encoding="utf-8"))


def schema(name: str) -> Any:
    return json.loads((EVENTS / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


def records(name: str) -> tuple[Any, ...]:
    batch = read_event(sample(name))
    assert isinstance(batch, SqsBatch)
    return batch.records


# -- Ours -------------------------------------------------------------------------------------------


def test_the_executor_reads_its_mail() -> None:
    timer, report = records("sqs-mailbox")
    assert (timer.queue, timer.group, timer.receive_count) == ("headrace-mailbox.fifo", EXECUTION, 1)
    assert timer.sent == datetime(2026, 3, 1, 8, 30, 15, 123000, tzinfo=UTC)
    inbox = SqsInbox(VERIFIER, nothing_stored)
    assert decode_message(inbox.open(timer).message) == TimerFired(f"retry/{TASK_RUN}")
    reported = decode_message(inbox.open(report).message)
    assert isinstance(reported, AttemptReported)
    assert (inbox.open(report).execution_id, reported.task_run_id) == (EXECUTION, TASK_RUN)


def test_triggers_reads_alarms() -> None:
    timer, trigger = (decode_alarm(record.body) for record in records("sqs-delay"))
    assert timer == ExecutionAlarm(EXECUTION, f"retry/{TASK_RUN}", INSTANT)
    assert trigger == TriggerAlarm("company.team", "etl", "every_morning", INSTANT)


def test_worker_reads_its_job() -> None:
    called = invocation(sample("lambda-worker"))
    assert (called.job.attempt, called.job.type, called.token) == (ATTEMPT, "io.kestra.plugin.core.http.Download", None)


def test_script_reads_its_job_and_a_token_that_signs_its_report() -> None:
    called: Invocation = invocation(sample("lambda-script"))
    assert called.job.properties == {"script": "print(1)"}
    assert called.token is not None
    data = encode_message(AttemptReported(TASK_RUN, 0, AttemptResult(State.SUCCESS, INSTANT, INSTANT)))
    VERIFIER.verify(EXECUTION, data, AttemptSigner(called.job.attempt, called.token).sign(EXECUTION, data))


def test_a_job_of_another_attempt_than_the_invocations_is_refused() -> None:
    event = sample("lambda-worker")
    event["attempt"]["number"] = 1
    with pytest.raises(EventError, match="attempt 0"):
        invocation(event)


@pytest.mark.parametrize(
    "change", [{"job": "not base64!"}, {"job": None}, {"job": None, "stored": "0" * 64}, {"attempt": None}]
)
def test_an_invocation_without_a_job_that_can_be_read_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(EventError):
        invocation({**sample("lambda-worker"), **change})


def test_state_changes_are_read_from_the_bus_as_they_were_written() -> None:
    change = StateChange(EXECUTION, "company.team", "etl", 3, 2, State.SUCCESS, INSTANT, "every_morning")
    assert read_event(sample("execution-state-change")) == change
    for each in (change, StateChange("x", "a", "b", 1, 0, State.CREATED, INSTANT, None, 4)):
        detail = json.loads(json.dumps(state_change_detail(each)))
        assert state_change({**sample("execution-state-change"), "detail": detail}) == each
        jsonschema.validate(detail, schema("execution-state-change"))


def test_an_event_that_a_rule_brought_says_for_whom_it_is() -> None:
    event = sample("eventbridge-brought")
    brought = read_event(event)
    assert brought == BroughtEvent("company.team", "orders", "placed", event["event"])
    for broken in ({"headrace": {}}, {"event": None}, {"event": {"source": "x"}}, {"headrace": "x"}):
        with pytest.raises(EventError):
            read_event({**event, **broken})


def test_a_state_that_does_not_exist_is_an_error() -> None:
    event = sample("execution-state-change")
    event["detail"]["state"] = "DONE"
    with pytest.raises(EventError, match="DONE"):
        read_event(event)


# -- AWS's own --------------------------------------------------------------------------------------


def test_an_invocation_that_timed_out_names_the_attempt_that_is_lost() -> None:
    failed = read_event(sample("lambda-failure"))
    assert failed == FailedInvocation(
        ATTEMPT,
        "RetriesExhausted",
        "arn:aws:lambda:eu-central-1:123456789012:function:headrace-worker:$LATEST",
        "e4b46cbf-b738-4880-8a98-0c6e0dd4a7b5",
        datetime(2026, 3, 1, 8, 45, 20, 191000, tzinfo=UTC),
        "Sandbox.Timedout: RequestId: e4b46cbf-b738-4880-8a98-0c6e0dd4a7b5 Error: Task timed out after 900.00 seconds",
    )
    assert "timed out" in failed.reason


def test_an_invocation_that_never_ran_names_its_attempt_too() -> None:
    failed = read_event(sample("lambda-expired"))
    assert isinstance(failed, FailedInvocation)
    assert (failed.attempt, failed.error) == (ATTEMPT, "")
    assert failed.reason == "The invocation waited too long for a free function"


def test_a_failure_is_the_same_from_a_bus() -> None:
    event = {
        **sample("scheduled-sweep"),
        "source": "lambda",
        "detail-type": "Lambda Function Invocation Result - Failure",
        "detail": sample("lambda-failure"),
    }
    assert read_event(event) == read_event(sample("lambda-failure"))


def test_a_file_that_arrived() -> None:
    assert read_event(sample("s3-object-created")) == ObjectCreated(
        "example-bucket",
        "incoming/März report+1.csv",
        5,
        "b1946ac92492d2347c6235b4d2611184",
        "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        "617f08299329d189",
        "PutObject",
        datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
    )


def test_an_ecs_task_that_stopped() -> None:
    changed = read_event(sample("ecs-task-stopped"))
    assert isinstance(changed, TaskChanged)
    assert (changed.attempt, changed.status, changed.version) == (ATTEMPT, "STOPPED", 5)
    assert (changed.stop_code, changed.stopped_reason) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert changed.containers == (
        ContainerEnd("task", 3, ""),
        ContainerEnd("files", None, "OutOfMemoryError: container killed due to memory usage"),
    )


def test_an_ecs_task_of_somebody_else() -> None:
    event = sample("ecs-task-stopped")
    for started_by in (None, "ecs-svc/4711", "deploy-of-today"):
        event["detail"]["startedBy"] = started_by
        changed = read_event(event)
        assert isinstance(changed, TaskChanged)
        assert changed.attempt is None


def test_a_batch_job_that_failed() -> None:
    changed = read_event(sample("batch-job-failed"))
    assert isinstance(changed, JobChanged)
    assert changed.attempt == AttemptId(EXECUTION, TASK_RUN, 1)
    assert (changed.status, changed.exit_code) == ("FAILED", 137)
    assert (changed.reason, changed.log_stream) == (
        "OutOfMemoryError: container killed due to memory usage",
        "headrace/default/5d6e",
    )


def test_the_sweep() -> None:
    assert read_event(sample("scheduled-sweep")) == ScheduledEvent(
        "headrace-sweep", datetime(2026, 3, 1, 8, 40, tzinfo=UTC)
    )


def test_any_other_event_is_handed_on_as_it_is() -> None:
    event = {**sample("s3-object-created"), "source": "com.example.shop", "detail-type": "Order Placed"}
    other = read_event(event)
    assert isinstance(other, OtherEvent)
    assert (other.source, other.detail_type, other.detail) == ("com.example.shop", "Order Placed", event["detail"])


@pytest.mark.parametrize("event", [{}, {"something": "else"}])
def test_what_is_no_event_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(EventError, match="No event of AWS"):
        read_event(event)


# -- All samples ------------------------------------------------------------------------------------

TRIGGERS = sorted(
    path.stem for path in (EVENTS / "samples").iterdir() if path.stem not in ("lambda-worker", "lambda-script")
)


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field in *value*."""
    if isinstance(value, Mapping):
        for name in value:
            yield (*path, name)
            yield from fields(value[name], (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from fields(item, (*path, index))


@pytest.mark.parametrize("name", TRIGGERS)
def test_an_event_that_lacks_a_field_or_has_another_there_is_read_or_refused_by_name(name: str) -> None:
    whole = sample(name)
    for path in fields(whole):
        for instead in (None, "text", 7, [], {}, True):
            event = copy.deepcopy(whole)
            parent = event
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = instead
            with suppress(EventError):  # anything else fails the test
                read_event(event)


def test_every_sample_is_listed_in_the_readme() -> None:
    listed = (EVENTS / "README.md").read_text(encoding="utf-8")
    for path in (EVENTS / "samples").iterdir():
        assert f"`{path.name}`" in listed


def test_what_is_ours_in_the_samples_follows_its_schema() -> None:
    jsonschema.validate(sample("execution-state-change")["detail"], schema("execution-state-change"))
    for record in records("sqs-mailbox"):
        jsonschema.validate(json.loads(record.body), schema("mailbox-message"))
    for record in records("sqs-delay"):
        jsonschema.validate(json.loads(record.body), schema("alarm"))
    for name in ("lambda-worker", "lambda-script"):
        jsonschema.validate(sample(name), schema("invocation"))


def test_the_schema_of_state_changes_knows_every_state() -> None:
    of_executions = set(State) - {State.RESUBMITTED}  # only an attempt is ever in that one
    assert set(schema("execution-state-change")["properties"]["state"]["enum"]) == {s.value for s in of_executions}


# -- Names and alarms -------------------------------------------------------------------------------


def test_an_attempts_name_is_one_for_ecs_and_batch_and_leads_back_to_it() -> None:
    name = attempt_name(ATTEMPT)
    assert attempt_named(name) == ATTEMPT
    assert len(attempt_name(AttemptId(EXECUTION, TASK_RUN, 10**9))) <= 128
    assert name.replace("-", "").isalnum()


@pytest.mark.parametrize("name", ["", "a", "a-b", "a-b-c", "a-b-1-2", "-b-1", "a--1", "a-b-²"])
def test_what_names_no_attempt(name: str) -> None:
    assert attempt_named(name) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"alarm":"execution"}', '{"alarm":"other","due":"2026-01-01T00:00:00Z"}',
     '{"alarm":"execution","execution":"x","key":"k","due":"2026-01-01T00:00:00"}',
     '{"alarm":"execution","execution":"x","key":"k","due":"tomorrow"}'],
)  # fmt: skip
def test_what_is_no_alarm_is_refused(text: str) -> None:
    with pytest.raises(EventError):
        decode_alarm(text)


def test_the_same_alarm_is_the_same_text_in_whatever_zone_it_is_due() -> None:
    alarm = ExecutionAlarm("x", "k", INSTANT)
    assert encode_alarm(alarm) == encode_alarm(ExecutionAlarm("x", "k", INSTANT.astimezone()))
    assert decode_alarm(encode_alarm(alarm)) == alarm
