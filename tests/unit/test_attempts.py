"""Who runs an attempt, what becomes of its result, and when it is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace_engine.adapters.memory import ManualClock, MemoryClaims
from headrace_engine.attempts import Attempts
from headrace_engine.core.codec import NewerFormatError, decode_message, encode_result
from headrace_engine.core.messages import AttemptReported
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, Job

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(minutes=15)
ATTEMPT = AttemptId("execution", "run", 0)
JOB = Job(ATTEMPT, "test", "task", "company", "flow", 1, START, {})


class Desk:
    """Attempts with stores in memory, and what they reported."""

    def __init__(self, vet: Any = None) -> None:
        self.clock = ManualClock(START)
        self.claims = MemoryClaims()
        self.ran = 0
        self.reports: list[AttemptReported] = []
        self.attempts = Attempts(self.claims, self.clock, self, *([vet] if vet else []))

    def send(self, execution_id: str, message: bytes) -> None:
        reported = decode_message(message)
        assert execution_id == "execution"
        assert isinstance(reported, AttemptReported)
        self.reports.append(reported)

    def execute(self, _job: Job) -> AttemptResult:
        self.ran += 1
        return AttemptResult(State.SUCCESS, self.clock.now(), self.clock.now())

    def run(self, owner: str = "one", **options: Any) -> None:
        self.attempts.run(JOB, owner, options.pop("execute", self.execute), **options)

    @property
    def ends(self) -> list[tuple[State, str | None]]:
        return [(report.result.state, report.result.error) for report in self.reports]


def test_an_attempt_runs_once_and_is_reported_as_often_as_somebody_comes() -> None:
    desk = Desk()
    for owner in ("one", "one", "two"):
        desk.run(owner)
    assert desk.ran == 1
    assert desk.ends == [(State.SUCCESS, None)] * 3


def test_whoever_comes_while_it_runs_leaves_it_alone() -> None:
    desk = Desk()

    def execute(job: Job) -> AttemptResult:
        desk.run("two", deadline=LATER)
        return desk.execute(job)

    desk.run("one", execute=execute, deadline=LATER)
    assert (desk.ran, desk.ends) == (1, [(State.SUCCESS, None)])


def test_what_nobody_ended_by_its_deadline_is_lost() -> None:
    desk = Desk()
    desk.run("one", execute=lambda _job: None, deadline=LATER)
    desk.run("two")
    assert desk.reports == []
    desk.clock.set(LATER)
    desk.run("two")
    assert desk.ends == [(State.RESUBMITTED, "The worker vanished")]


def test_a_call_that_is_repeated_finds_its_attempt_lost() -> None:
    desk = Desk()
    desk.run("one", execute=lambda _job: None, deadline=LATER)
    desk.run("one")
    assert desk.ends == [(State.RESUBMITTED, "The result of the attempt could not be stored")]
    assert desk.ran == 0


def test_an_invocation_that_failed_loses_its_own_attempt_only() -> None:
    desk = Desk()
    desk.run("one", execute=lambda _job: None, deadline=LATER)
    desk.attempts.lost(ATTEMPT, "it was throttled", "two")
    assert desk.reports == []
    desk.attempts.lost(ATTEMPT, "it crashed", "one")
    assert desk.ends == [(State.RESUBMITTED, "it crashed")]


def test_an_attempt_that_never_began_is_lost_for_good() -> None:
    desk = Desk()
    desk.attempts.lost(ATTEMPT, "it waited too long", "one")
    desk.run("two")
    assert desk.ran == 0
    assert desk.ends == [(State.RESUBMITTED, "it waited too long")] * 2


def test_an_attempt_that_was_stopped_first_does_not_begin() -> None:
    desk = Desk()
    desk.claims.request_stop(ATTEMPT, START)
    desk.run()
    assert (desk.ran, desk.ends) == (0, [(State.KILLED, "The attempt was stopped")])


def test_a_bug_of_a_worker_ends_the_attempt() -> None:
    desk = Desk()

    def execute(_job: Job) -> AttemptResult:
        raise KeyError("what")

    desk.run(execute=execute)
    assert desk.ends == [(State.FAILED, "The worker failed: KeyError: 'what'")]


def test_a_result_that_goes_too_far_is_refused() -> None:
    desk = Desk(vet=lambda _attempt, _message: "it may not")
    desk.run()
    assert desk.ends == [(State.FAILED, "The result is refused: it may not")]


@pytest.mark.parametrize("data", [b"", b"garbage", b'j[1,{"state":"HAPPY"}]', b"j[1,{}]", b"j[1,7]"])
def test_a_result_that_nobody_can_read_ends_the_attempt(data: bytes) -> None:
    desk = Desk()
    desk.claims.claim(ATTEMPT, "one", START)
    desk.claims.close(ATTEMPT, "one", data, START)
    desk.run("two")
    ((state, error),) = desk.ends
    assert state is State.FAILED
    assert error is not None
    assert error.startswith("The result is refused: it cannot be read (")


def test_a_result_of_a_newer_version_waits_for_that() -> None:
    desk = Desk()
    result = encode_result(AttemptResult(State.SUCCESS, START, START)).replace(b"j[1,", b"j[9,")
    desk.claims.claim(ATTEMPT, "one", START)
    desk.claims.close(ATTEMPT, "one", result, START)
    with pytest.raises(NewerFormatError):
        desk.run("two")
    assert desk.reports == []
