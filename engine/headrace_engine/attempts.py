"""Runs dispatched attempts as DESIGN §3.5 has it: claim, run, close the claim with the result, report what it says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from headrace_engine.core.codec import NewerFormatError, decode_result, encode_message, encode_result
from headrace_engine.core.messages import AttemptReported
from headrace_engine.executor import ended_with_engine
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, Claim, Claims, ClaimTakenError, Clock, Job, Mailbox, PortError

_log = logging.getLogger(__name__)

Execute = Callable[[Job], AttemptResult | None]
"""Runs a job; None leaves its claim open, for whoever finds the attempt lost."""


Vet = Callable[[AttemptId, bytes], str]
"""Returns why an attempt may not report what an encoded message says; empty when it may."""


def accept(_attempt: AttemptId, _message: bytes) -> str:
    """Let every report pass: whoever writes claims is trusted."""
    return ""


class Attempts:
    """What whoever runs attempts does besides running them. Everything may be done again."""

    def __init__(self, claims: Claims, clock: Clock, mailbox: Mailbox, vet: Vet = accept) -> None:
        """Take the ports; vet looks at what is reported, where people's code may have written the claim."""
        self._vet = vet
        self._claims = claims
        self._clock = clock
        self._mailbox = mailbox

    def run(self, job: Job, owner: str, execute: Execute, deadline: datetime | None = None) -> None:
        """Have *execute* run the attempt, if nobody has claimed it before, and report how it ended.

        owner names this call and no other. An attempt whose claim is closed is reported again; one that was claimed
        by this call before (the platform repeats it), or whose deadline is over, is lost.
        """
        attempt = job.attempt
        try:
            claim = self._claims.claim(attempt, owner, self._clock.now(), deadline)
        except ClaimTakenError as taken:
            self._look_after(taken.claim, owner)
            return
        if claim.stop_requested:
            now = self._clock.now()
            result: AttemptResult | None = AttemptResult(State.KILLED, now, now, error="The attempt was stopped")
        else:
            result = self._executed(job, execute)
        if result is not None:
            self.report(self._claims.close(attempt, owner, encode_result(result), self._clock.now()))

    def lost(self, attempt: AttemptId, reason: str, owner: str | None = None) -> None:
        """Report that whoever was to run the attempt vanished.

        owner is the call that failed, where that is known: somebody else's claim stands until its deadline.
        """
        now = self._clock.now()
        claim = self._claims.get(attempt) or Claim(attempt, "", now)
        if claim.owner and owner not in (None, claim.owner) and not _is_over(claim, now):
            return
        self.report(self._claims.close_lost(attempt, encode_result(ended_with_engine(claim, now, reason)), now))

    def failed(self, attempt: AttemptId, reason: str) -> None:
        """Report that the attempt has failed without having been run, or that what ran it could not go on.

        Only who knows that nobody runs it any more calls this.
        """
        now = self._clock.now()
        claim = self._claims.get(attempt) or Claim(attempt, "", now)
        result = AttemptResult(State.FAILED, claim.claimed, max(claim.claimed, now), error=reason)
        if claim.stop_requested:
            result = ended_with_engine(claim, now, reason)
        self.report(self._claims.close_lost(attempt, encode_result(result), now))

    def never_began(self, attempt: AttemptId) -> None:
        """Report that an attempt which is to stop has: nobody has begun it, and from now on nobody can."""
        now = self._clock.now()
        result = AttemptResult(State.KILLED, now, now, error="The attempt was stopped")
        self.report(self._claims.close_lost(attempt, encode_result(result), now))

    def report(self, claim: Claim) -> None:
        """Report what the claim says; while it has no result, somebody is at work on it."""
        if claim.result is None:
            return
        attempt = claim.attempt
        self._mailbox.send(attempt.execution_id, self._message(claim, claim.result))

    def _message(self, claim: Claim, data: bytes) -> bytes:
        attempt = claim.attempt
        try:
            result = decode_result(data)
            message = encode_message(AttemptReported(attempt.task_run_id, attempt.number, result))
            refusal = self._vet(attempt, message)
        except NewerFormatError:
            raise
        except Exception as error:  # noqa: BLE001 - where people's code may write claims, anything can stand there
            refusal = f"it cannot be read ({type(error).__name__})"
        if refusal:
            _log.error("The result of attempt %s is refused: %s", attempt, refusal)
            ended = claim.closed or claim.claimed
            result = AttemptResult(State.FAILED, claim.claimed, ended, error=f"The result is refused: {refusal}")
            message = encode_message(AttemptReported(attempt.task_run_id, attempt.number, result))
        return message

    def _look_after(self, claim: Claim, owner: str) -> None:
        if claim.result is not None:
            self.report(claim)
        elif claim.closed is not None:
            return  # its execution was purged
        elif claim.owner == owner:
            self.lost(claim.attempt, "The result of the attempt could not be stored", owner)
        elif _is_over(claim, self._clock.now()):
            self.lost(claim.attempt, "The worker vanished", claim.owner)

    def _executed(self, job: Job, execute: Execute) -> AttemptResult | None:
        try:
            return execute(job)
        except PortError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours must end the attempt, not leave it open
            _log.exception("Attempt %s could not be run", job.attempt)
            now = self._clock.now()
            return AttemptResult(State.FAILED, now, now, error=f"The worker failed: {type(error).__name__}: {error}")


def _is_over(claim: Claim, now: datetime) -> bool:
    return claim.deadline is not None and claim.deadline <= now
