"""The local mailbox, timers and dispatch, each alone: no message, job or answer is lost or kept waiting for another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.dispatch import LocalDispatch
from headrace_engine.adapters.local.mailbox import ClosingError, KeptMailbox, LocalMailbox, Turn
from headrace_engine.adapters.memory import ManualClock, MemoryClaims
from headrace_engine.core.codec import decode_message, decode_result, encode_message
from headrace_engine.core.messages import Abort, AttemptReported, Kill, Message, Poke
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, Job, PortError
from headrace_engine.run_context import WorkerContext

SOON = 10.0
"""Seconds within which what must happen happens."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)

# -- Mailbox ----------------------------------------------------------------------------------------


class Handler:
    """Notes what it is given; raises for as long as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.given: list[tuple[str, Message]] = []
        self.failures = failures

    def __call__(self, execution_id: str, messages: Sequence[Message]) -> None:
        self.given += [(execution_id, message) for message in messages]
        if self.failures and not isinstance(messages[0], Abort):
            self.failures -= 1
            raise PortError("the disk is full")


def test_two_messages_at_once_do_not_wait_for_one_thread() -> None:
    """A thread that was woken, but does not run yet, must not be counted on for a second turn."""
    both = threading.Barrier(2)

    def meet() -> None:
        both.wait(SOON)

    with closing(LocalMailbox(lambda _id, _messages: None)) as mailbox:
        for number in range(50):
            mailbox.post("warm-up", Poke()).result(SOON)  # leaves a thread idle
            turns = [mailbox.post(f"{number} {side}", Turn(meet)) for side in ("left", "right")]
            for turn in turns:
                turn.result(SOON)


def test_a_message_that_fails_is_tried_again() -> None:
    handler = Handler(failures=2)
    with closing(LocalMailbox(handler)) as mailbox:
        mailbox.post("a", Kill()).result(SOON)
    assert handler.given == [("a", Kill())] * 3


def test_a_message_that_always_fails_ends_its_execution_and_tells_whoever_waits() -> None:
    handler = Handler(failures=3)
    with closing(LocalMailbox(handler)) as mailbox:
        with pytest.raises(PortError, match="the disk is full"):
            mailbox.post("a", Kill()).result(SOON)
        assert handler.given[-1] == (
            "a",
            Abort("The engine could not go on with this execution: PortError: the disk is full"),
        )
        mailbox.post("b", Kill()).result(SOON)


def test_what_was_asked_in_turn_fails_for_whoever_asked_and_nobody_else() -> None:
    handler = Handler()
    hold = threading.Event()

    def stay() -> None:
        assert hold.wait(SOON)

    def refuse() -> None:
        raise ValueError("no such execution")

    with closing(LocalMailbox(handler)) as mailbox:
        mailbox.post("a", Turn(stay))
        asked, told = mailbox.post("a", Turn(refuse)), mailbox.post("a", Kill())
        hold.set()
        told.result(SOON)
        with pytest.raises(ValueError, match="no such execution"):
            asked.result(SOON)
    assert handler.given == [("a", Kill())]


def test_what_must_be_done_in_turn_is_tried_again() -> None:
    tries: list[int] = []

    def recover() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise PortError("not yet")

    with closing(LocalMailbox(Handler())) as mailbox:
        mailbox.post("a", Turn(recover, insist=True)).result(SOON)
    assert len(tries) == 3


def test_nobody_waits_for_ever_for_a_message_that_closing_left_undone() -> None:
    entered, leave = threading.Event(), threading.Event()

    def busy() -> None:
        entered.set()
        leave.wait(SOON)

    mailbox = LocalMailbox(Handler(), threads=1)
    first = mailbox.post("a", Turn(busy))
    assert entered.wait(SOON)
    second = mailbox.post("b", Kill())
    closing_ = threading.Thread(target=mailbox.close)
    closing_.start()
    leave.set()
    closing_.join(SOON)
    first.result(SOON)
    with pytest.raises(ClosingError):
        second.result(SOON)
    with pytest.raises(ClosingError):
        mailbox.post("c", Kill()).result(SOON)


# -- What executions send each other ----------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "headrace.db") as database:
        yield database


def kept(database: Database) -> list[tuple[Any, ...]]:
    database.flush()
    return database.rows("SELECT execution_id FROM messages")


def test_a_message_between_executions_is_kept_until_it_is_handled(database: Database) -> None:
    handler = Handler()
    mailbox = LocalMailbox(handler)
    mailbox.close()  # as when the process dies right after it was sent
    KeptMailbox(database, mailbox).send("follower", encode_message(Kill()))
    assert kept(database) == [("follower",)]
    with closing(LocalMailbox(handler)) as again:
        KeptMailbox(database, again).send_again()
        again.post("follower", Poke()).result(SOON)
    assert handler.given == [("follower", Kill()), ("follower", Poke())]
    assert kept(database) == []


def test_a_message_that_could_not_be_handled_is_kept(database: Database) -> None:
    with closing(LocalMailbox(Handler(failures=3))) as mailbox:
        KeptMailbox(database, mailbox).send("follower", encode_message(Kill()))
        mailbox.post("follower", Turn(lambda: None)).result(SOON)
    assert kept(database) == [("follower",)]


# -- Dispatch ---------------------------------------------------------------------------------------


class Mail:
    """A mailbox that only collects."""

    def __init__(self) -> None:
        self.reports: list[AttemptReported] = []
        self.came = threading.Condition()

    def send(self, execution_id: str, message: bytes) -> None:
        report = decode_message(message)
        assert isinstance(report, AttemptReported)
        with self.came:
            self.reports.append(report)
            self.came.notify_all()

    def wait_for(self, count: int) -> list[AttemptReported]:
        with self.came:
            assert self.came.wait_for(lambda: len(self.reports) >= count, SOON)
        return self.reports


Run = Callable[[Job], AttemptResult]


class ScriptedWorker:
    """A worker whose jobs do what the test says."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def run(
        self,
        job: Job,
        *,
        on_context: Callable[[WorkerContext], None],
        on_process_group: Callable[[int], None] | None = None,
    ) -> AttemptResult:
        return self._run(job)


class FailingClaims(MemoryClaims):
    """Claims on a disk that is full when a result is to be stored."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    def close(self, attempt: AttemptId, owner: str, result: bytes, now: datetime) -> Any:
        if self.failures:
            self.failures -= 1
            raise PortError("the disk is full")
        return super().close(attempt, owner, result, now)


def job(number: int = 0, task_run_id: str = "task") -> Job:
    attempt = AttemptId("execution", task_run_id, number)
    return Job(attempt, "test.Task", "task", "test", "flow", 1, NOW, {}, {})


def success(_job: Job) -> AttemptResult:
    return AttemptResult(State.SUCCESS, NOW, NOW)


def dispatch(run: Run, mail: Mail, claims: MemoryClaims, owner: str = "me") -> LocalDispatch:
    worker: Any = ScriptedWorker(run)
    return LocalDispatch(claims, ManualClock(NOW), mail, worker, owner=owner, identify=str)


def test_two_jobs_at_once_do_not_wait_for_one_thread() -> None:
    mail, both = Mail(), threading.Barrier(2)

    def meet(job: Job) -> AttemptResult:
        if job.attempt.task_run_id != "warm-up":
            both.wait(SOON)
        return success(job)

    with closing(dispatch(meet, mail, MemoryClaims())) as workers:
        for number in range(0, 150, 3):
            workers.start(job(number, "warm-up"))  # leaves a thread idle
            mail.wait_for(number + 1)
            workers.start(job(number, "left"))
            workers.start(job(number, "right"))
            mail.wait_for(number + 3)


def test_a_job_that_is_sent_twice_runs_once() -> None:
    mail, claims, ran = Mail(), MemoryClaims(), []

    def note(job: Job) -> AttemptResult:
        ran.append(job.attempt)
        return success(job)

    with closing(dispatch(note, mail, claims)) as workers:
        workers.start(job())
        workers.start(job())
        mail.wait_for(1)
        workers.start(job())
        assert [report.result.state for report in mail.wait_for(2)] == [State.SUCCESS] * 2
    assert len(ran) == 1


def test_a_stop_that_comes_before_the_claim_keeps_the_code_from_running() -> None:
    mail, claims = Mail(), MemoryClaims()

    def never(_job: Job) -> AttemptResult:
        raise AssertionError("it ran")

    with closing(dispatch(never, mail, claims)) as workers:
        workers.stop(job().attempt)
        workers.start(job())
        assert mail.wait_for(1)[0].result.state is State.KILLED


def test_an_attempt_whose_result_could_not_be_stored_is_lost_when_it_is_asked_for_again() -> None:
    mail, claims = Mail(), FailingClaims()
    claims.failures = 1
    with closing(dispatch(success, mail, claims)) as workers:
        workers.start(job())
        while not mail.reports:  # as the sweeper does, again and again; the first time it may still be known as running
            workers.start(job())
            with mail.came:
                mail.came.wait(0.01)
    assert mail.reports[0].result.state is State.RESUBMITTED
    assert mail.reports[0].result.error == "The result of the attempt could not be stored"


def test_a_bug_in_the_worker_fails_the_attempt_and_leaves_the_thread() -> None:
    mail = Mail()

    def broken(job: Job) -> AttemptResult:
        if job.attempt.number == 0:
            raise TypeError("a bug")
        return success(job)

    with closing(dispatch(broken, mail, MemoryClaims())) as workers:
        workers.start(job(0))
        mail.wait_for(1)
        workers.start(job(1))
        first, second = (report.result for report in mail.wait_for(2))
    assert (first.state, first.error) == (State.FAILED, "The worker failed: TypeError: a bug")
    assert second.state is State.SUCCESS


def test_closing_leaves_what_it_stopped_open_and_closes_what_had_ended() -> None:
    mail, claims = Mail(), MemoryClaims()
    begun, closed = threading.Barrier(3), threading.Event()

    def end(job: Job) -> AttemptResult:
        begun.wait(SOON)
        assert closed.wait(SOON)
        state = State.KILLED if job.attempt.task_run_id == "stopped" else State.SUCCESS
        return AttemptResult(state, NOW, NOW)

    workers = dispatch(end, mail, claims)
    workers.start(job(0, "stopped"))
    workers.start(job(0, "ended"))
    begun.wait(SOON)
    closer = threading.Thread(target=workers.close)
    closer.start()
    while not workers.is_closed:
        closer.join(0.001)
    closed.set()
    closer.join(SOON)
    stopped, ended = claims.get(job(0, "stopped").attempt), claims.get(job(0, "ended").attempt)
    assert stopped is not None
    assert stopped.result is None
    assert ended is not None
    assert ended.result is not None
    assert decode_result(ended.result).state is State.SUCCESS


def test_an_attempt_another_engine_claimed_is_left_alone() -> None:
    mail, claims = Mail(), MemoryClaims()
    claims.claim(job().attempt, "another", NOW)
    with closing(dispatch(success, mail, claims)) as workers:
        workers.start(job(0))
        workers.start(job(0, "another task"))
        mail.wait_for(1)
    assert [report.task_run_id for report in mail.reports] == ["another task"]
