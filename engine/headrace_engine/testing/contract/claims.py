"""What claims promise."""

from __future__ import annotations

from functools import partial

import pytest

from headrace_engine.ports import AttemptId, Claim, Claims, ClaimTakenError, NotFoundError
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract, at

ATTEMPT = AttemptId("x", "task-run", 0)


class ClaimsContract(Contract):
    """Needs the fixture ``claims: Claims``, empty."""

    # -- claim --------------------------------------------------------------------------------------

    def test_a_claim_is_read_back_as_made(self, claims: Claims) -> None:
        claim = claims.claim(ATTEMPT, "me", START, deadline=at(60))
        assert claim == Claim(ATTEMPT, "me", START, deadline=at(60))
        assert claims.get(ATTEMPT) == claim

    def test_an_attempt_without_claim_has_none(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        assert claims.get(AttemptId("x", "task-run", 1)) is None
        assert claims.get(AttemptId("x", "other", 0)) is None
        assert claims.get(AttemptId("y", "task-run", 0)) is None

    def test_a_claimed_attempt_is_refused_with_its_claim_and_nothing_changes(self, claims: Claims) -> None:
        first = claims.claim(ATTEMPT, "me", START, deadline=at(60))
        with pytest.raises(ClaimTakenError) as refusal:
            claims.claim(ATTEMPT, "you", at(1))
        assert refusal.value.claim == first
        assert claims.get(ATTEMPT) == first

    def test_the_owner_is_refused_too(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        with pytest.raises(ClaimTakenError):
            claims.claim(ATTEMPT, "me", START)

    def test_a_claim_past_its_deadline_still_stands(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START, deadline=at(1))
        with pytest.raises(ClaimTakenError):
            claims.claim(ATTEMPT, "you", at(1_000_000))

    def test_a_closed_attempt_is_refused_with_its_result(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        claims.close(ATTEMPT, "me", b"done", at(1))
        with pytest.raises(ClaimTakenError) as refusal:
            claims.claim(ATTEMPT, "you", at(2))
        assert refusal.value.claim.result == b"done"

    def test_one_of_many_claims_an_attempt(self, claims: Claims) -> None:
        for number in range(20):
            attempt = AttemptId("x", "task-run", number)
            outcomes = self.race([partial(claims.claim, attempt, f"owner {n}", at(n)) for n in range(CONTENDERS)])
            won = [outcome for outcome in outcomes if isinstance(outcome, Claim)]
            lost = [outcome for outcome in outcomes if isinstance(outcome, ClaimTakenError)]
            assert (len(won), len(lost)) == (1, CONTENDERS - 1)
            assert claims.get(attempt) == won[0]
            assert all(refusal.claim == won[0] for refusal in lost)

    def test_attempts_claimed_at_once_are_all_kept(self, claims: Claims) -> None:
        attempts = [AttemptId("x", "task-run", number) for number in range(CONTENDERS)]
        self.race([partial(claims.claim, attempt, "me", START) for attempt in attempts])
        assert [claim.attempt for claim in claims.of_execution("x")] == attempts

    # -- record_process -----------------------------------------------------------------------------

    def test_the_owner_notes_its_process_group(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        assert claims.record_process(ATTEMPT, "me", 4242, "boot-1:99") is True
        assert claims.get(ATTEMPT) == Claim(ATTEMPT, "me", START, process_group=4242, process_started="boot-1:99")

    def test_a_process_is_noted_on_an_open_claim_of_the_owner_only(self, claims: Claims) -> None:
        assert claims.record_process(ATTEMPT, "me", 1, "s") is False
        assert claims.get(ATTEMPT) is None
        claims.claim(ATTEMPT, "me", START)
        assert claims.record_process(ATTEMPT, "you", 1, "s") is False
        closed = claims.close(ATTEMPT, "me", b"done", at(1))
        assert claims.record_process(ATTEMPT, "me", 1, "s") is False
        assert claims.get(ATTEMPT) == closed

    # -- close --------------------------------------------------------------------------------------

    def test_close_writes_the_result_and_keeps_the_rest(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START, deadline=at(60))
        claims.record_process(ATTEMPT, "me", 4242, "s")
        expected = Claim(ATTEMPT, "me", START, at(60), 4242, "s", result=b"\0done\xff", closed=at(9))
        assert claims.close(ATTEMPT, "me", b"\0done\xff", at(9)) == expected
        assert claims.get(ATTEMPT) == expected

    def test_a_result_may_be_empty(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        assert claims.close(ATTEMPT, "me", b"", at(1)).result == b""
        assert claims.close(ATTEMPT, "me", b"late", at(2)).result == b""

    def test_a_result_may_be_large(self, claims: Claims) -> None:
        large = bytes(range(256)) * 2000
        claims.claim(ATTEMPT, "me", START)
        closed = claims.close(ATTEMPT, "me", large, at(1))
        assert closed == Claim(ATTEMPT, "me", START, result=large, closed=at(1))
        assert claims.close(ATTEMPT, "me", large[::-1], at(2)) == closed
        assert claims.close_lost(ATTEMPT, large[::-1], at(2)) == closed
        assert list(claims.of_execution("x")) == [closed]
        with pytest.raises(ClaimTakenError) as refusal:
            claims.claim(ATTEMPT, "you", at(3))
        assert refusal.value.claim == closed

    def test_the_first_result_stands(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        first = claims.close(ATTEMPT, "me", b"first", at(1))
        assert claims.close(ATTEMPT, "me", b"second", at(2)) == first
        assert claims.get(ATTEMPT) == first

    def test_nobody_but_the_owner_closes(self, claims: Claims) -> None:
        claim = claims.claim(ATTEMPT, "me", START)
        assert claims.close(ATTEMPT, "you", b"yours", at(1)) == claim
        assert claims.get(ATTEMPT) == claim

    def test_close_without_a_claim_is_an_error(self, claims: Claims) -> None:
        with pytest.raises(NotFoundError):
            claims.close(ATTEMPT, "me", b"done", START)
        assert claims.get(ATTEMPT) is None

    # -- close_lost ---------------------------------------------------------------------------------

    def test_a_claimed_attempt_is_closed_as_lost(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        lost = claims.close_lost(ATTEMPT, b"lost", at(5))
        assert lost == Claim(ATTEMPT, "me", START, result=b"lost", closed=at(5))
        assert claims.get(ATTEMPT) == lost

    def test_an_owner_that_comes_back_finds_its_attempt_lost(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        lost = claims.close_lost(ATTEMPT, b"lost", at(5))
        assert claims.close(ATTEMPT, "me", b"done after all", at(6)) == lost
        assert claims.record_process(ATTEMPT, "me", 1, "s") is False

    def test_a_result_that_was_there_first_stands(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        closed = claims.close(ATTEMPT, "me", b"done", at(1))
        assert claims.close_lost(ATTEMPT, b"lost", at(2)) == closed
        assert claims.get(ATTEMPT) == closed

    def test_an_attempt_lost_before_it_was_claimed_can_never_be(self, claims: Claims) -> None:
        lost = claims.close_lost(ATTEMPT, b"lost", START)
        assert (lost.owner, lost.result, lost.closed) == ("", b"lost", START)
        with pytest.raises(ClaimTakenError) as refusal:
            claims.claim(ATTEMPT, "me", at(1))
        assert refusal.value.claim == lost
        assert claims.get(ATTEMPT) == lost

    def test_losing_twice_keeps_the_first_loss(self, claims: Claims) -> None:
        lost = claims.close_lost(ATTEMPT, b"lost", START)
        assert claims.close_lost(ATTEMPT, b"again", at(1)) == lost

    def test_of_a_result_and_losses_at_once_one_stands_and_all_are_shown_it(self, claims: Claims) -> None:
        for number in range(20):
            attempt = AttemptId("x", "task-run", number)
            claims.claim(attempt, "me", START)
            outcomes = self.race(
                [
                    partial(claims.close, attempt, "me", b"done", at(1)),
                    *(partial(claims.close_lost, attempt, f"lost {n}".encode(), at(2)) for n in range(CONTENDERS - 1)),
                ]
            )
            assert outcomes == [claims.get(attempt)] * CONTENDERS

    def test_of_a_claim_and_a_loss_at_once_the_loss_closes_whatever_stands(self, claims: Claims) -> None:
        for number in range(20):
            attempt = AttemptId("x", "task-run", number)
            claimed, lost = self.race(
                [partial(claims.claim, attempt, "me", START), partial(claims.close_lost, attempt, b"lost", at(1))]
            )
            assert isinstance(lost, Claim)
            assert claims.get(attempt) == lost
            assert lost.result == b"lost"
            if isinstance(claimed, Claim):
                assert lost.owner == "me"
            else:
                assert isinstance(claimed, ClaimTakenError)
                assert lost.owner == ""

    # -- request_stop -------------------------------------------------------------------------------

    def test_a_running_attempt_is_asked_to_stop(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        expected = Claim(ATTEMPT, "me", START, stop_requested=True)
        assert claims.request_stop(ATTEMPT, at(1)) == expected
        assert claims.request_stop(ATTEMPT, at(2)) == expected
        assert claims.get(ATTEMPT) == expected

    def test_a_stop_that_came_first_is_shown_to_who_claims_then(self, claims: Claims) -> None:
        stop = claims.request_stop(ATTEMPT, START)
        assert (stop.owner, stop.stop_requested, stop.closed) == ("", True, None)
        claim = claims.claim(ATTEMPT, "me", at(1), deadline=at(60))
        assert claim == Claim(ATTEMPT, "me", at(1), at(60), stop_requested=True)
        assert claims.get(ATTEMPT) == claim
        with pytest.raises(ClaimTakenError):
            claims.claim(ATTEMPT, "you", at(2))

    def test_a_stopped_attempt_is_closed_by_its_owner_all_the_same(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        claims.request_stop(ATTEMPT, at(1))
        closed = claims.close(ATTEMPT, "me", b"killed", at(2))
        assert (closed.result, closed.stop_requested) == (b"killed", True)

    def test_a_stop_alone_gives_nobody_the_right_to_close(self, claims: Claims) -> None:
        stop = claims.request_stop(ATTEMPT, START)
        assert claims.close(ATTEMPT, "me", b"done", at(1)) == stop
        assert claims.record_process(ATTEMPT, "me", 1, "s") is False
        assert claims.get(ATTEMPT) == stop

    def test_a_stop_alone_can_be_closed_as_lost(self, claims: Claims) -> None:
        claims.request_stop(ATTEMPT, START)
        lost = claims.close_lost(ATTEMPT, b"never started", at(1))
        assert (lost.owner, lost.stop_requested, lost.result) == ("", True, b"never started")
        with pytest.raises(ClaimTakenError):
            claims.claim(ATTEMPT, "me", at(2))

    def test_a_stop_of_what_has_ended_changes_nothing(self, claims: Claims) -> None:
        claims.claim(ATTEMPT, "me", START)
        closed = claims.close(ATTEMPT, "me", b"done", at(1))
        assert claims.request_stop(ATTEMPT, at(2)) == closed
        assert claims.get(ATTEMPT) == closed

    def test_of_claims_and_stops_at_once_one_owns_and_the_stop_is_kept(self, claims: Claims) -> None:
        for number in range(20):
            attempt = AttemptId("x", "task-run", number)
            self.race(
                [
                    *(partial(claims.claim, attempt, f"owner {n}", START) for n in range(CONTENDERS // 2)),
                    *(partial(claims.request_stop, attempt, START) for _ in range(CONTENDERS // 2)),
                ]
            )
            claim = claims.get(attempt)
            assert claim is not None
            assert claim.owner.startswith("owner")
            assert claim.stop_requested

    # -- lists --------------------------------------------------------------------------------------

    def test_claims_of_an_execution_by_task_run_and_number(self, claims: Claims) -> None:
        for attempt in (
            AttemptId("x", "b", 0),
            AttemptId("x", "a", 10),
            AttemptId("x", "a", 9),
            AttemptId("x1", "a", 0),
        ):
            claims.claim(attempt, "me", START)
        claims.request_stop(AttemptId("x", "c", 0), START)
        assert [(claim.attempt.task_run_id, claim.attempt.number) for claim in claims.of_execution("x")] == [
            ("a", 9),
            ("a", 10),
            ("b", 0),
            ("c", 0),
        ]
        assert list(claims.of_execution("nobody")) == []

    def test_open_yields_what_is_owned_and_not_closed(self, claims: Claims) -> None:
        running, stopping, done, lost, unclaimed = (AttemptId("x", "t", number) for number in range(5))
        for attempt in (running, stopping, done, lost):
            claims.claim(attempt, "me", START)
        claims.request_stop(stopping, START)
        claims.close(done, "me", b"done", START)
        claims.close_lost(lost, b"lost", START)
        claims.request_stop(unclaimed, START)
        assert {claim.attempt for claim in claims.open()} == {running, stopping}

    def test_delete_forgets_one_execution_and_is_idempotent(self, claims: Claims) -> None:
        other = AttemptId("x1", "task-run", 0)
        claims.claim(ATTEMPT, "me", START)
        claims.claim(other, "me", START)
        claims.close(ATTEMPT, "me", bytes(500_000), START)
        claims.delete("x", START)
        claims.delete("x", START)
        assert list(claims.of_execution("x")) == []
        assert [claim.attempt for claim in claims.open()] == [other]

    def test_what_was_deleted_cannot_be_claimed_or_closed_again(self, claims: Claims) -> None:
        running = AttemptId("x", "task-run", 1)
        claims.claim(ATTEMPT, "me", START)
        claims.close(ATTEMPT, "me", b"result", START)
        claims.claim(running, "me", START)
        claims.delete("x", at(1))
        for attempt, closed in ((ATTEMPT, START), (running, at(1))):
            with pytest.raises(ClaimTakenError) as refusal:
                claims.claim(attempt, "late", at(1))
            assert (refusal.value.claim.result, refusal.value.claim.closed) == (None, closed)
        assert claims.close(running, "me", b"late", at(1)).result is None
        assert claims.close_lost(running, b"lost", at(1)).result is None
        assert list(claims.of_execution("x")) == []
