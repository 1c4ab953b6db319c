"""Who may say what to an execution: the platform anything, an attempt its own report, everybody else nothing."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from headrace_engine.adapters.aws.signing import (
    AttemptSigner,
    ForgedError,
    Keyring,
    PlatformSigner,
    StoredKeyring,
    Verifier,
    attempt_token,
)
from headrace_engine.adapters.memory import ManualClock
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import AttemptReported, Kill, Message
from headrace_engine.model.attempt import AttemptResult, ExecutionChange, Inline, Stored
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, PortError

OLD, NEW = b"old" * 16, b"new" * 16
KEYS = Keyring({1: OLD, 2: NEW})
VERIFIER = Verifier(KEYS)
EXECUTION = "5kQ1zVJb7Yw0hN3cTfR8Xa"
MINE = AttemptId(EXECUTION, "1PzmQ0rTyUiOpAsDfGhJkL", 3)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESULT = AttemptResult(State.SUCCESS, NOW, NOW, Inline({"rows": 3}))
REPORT = AttemptReported(MINE.task_run_id, MINE.number, RESULT)
KILL = encode_message(Kill())


def signed_by_attempt(message: Message, *, attempt: AttemptId = MINE, keys: Keyring = KEYS) -> tuple[bytes, str]:
    data = encode_message(message)
    return data, AttemptSigner(attempt, attempt_token(keys, attempt)).sign(attempt.execution_id, data)


def refusal(execution_id: str, data: bytes, signature: str) -> ForgedError:
    with pytest.raises(ForgedError) as refused:
        VERIFIER.verify(execution_id, data, signature)
    return refused.value


# -- The platform -----------------------------------------------------------------------------------


def test_the_platform_sends_any_message() -> None:
    VERIFIER.verify(EXECUTION, KILL, PlatformSigner(KEYS).sign(EXECUTION, KILL))


def test_a_message_to_one_execution_is_none_to_another() -> None:
    assert "not the platform's" in str(refusal("another", KILL, PlatformSigner(KEYS).sign(EXECUTION, KILL)))


def test_a_changed_message_is_refused() -> None:
    refusal(EXECUTION, KILL + b" ", PlatformSigner(KEYS).sign(EXECUTION, KILL))


def test_every_character_of_a_signature_counts() -> None:
    data, report = signed_by_attempt(REPORT)
    for message, signature in ((KILL, PlatformSigner(KEYS).sign(EXECUTION, KILL)), (data, report)):
        for position, stood in enumerate(signature):
            other = "A" if stood != "A" else "B"
            refusal(EXECUTION, message, signature[:position] + other + signature[position + 1 :])


@pytest.mark.parametrize(
    "signature",
    ["", "platform", "platform.2", "platform.2.", "platform..", "platform.-1.x", "platform.²".encode().decode() + ".x",
     "attempt.2.x", "attempt.2.x.y.z", "attempt.2.x.1.", "attempt.99999999999999.x.1.z", "attempt.2.x.1.ü", "platform.2.\ud800", "x.y.z"],
)  # fmt: skip
def test_what_is_no_signature_is_refused(signature: str) -> None:
    refusal(EXECUTION, KILL, signature)


# -- Rotation ---------------------------------------------------------------------------------------


def test_the_newest_key_signs_and_older_ones_are_still_accepted() -> None:
    before, after = Keyring({1: OLD}), Keyring({2: NEW})
    VERIFIER.verify(EXECUTION, KILL, PlatformSigner(before).sign(EXECUTION, KILL))
    VERIFIER.verify(EXECUTION, *signed_by_attempt(REPORT, keys=before))
    Verifier(after).verify(EXECUTION, KILL, PlatformSigner(KEYS).sign(EXECUTION, KILL))


def test_a_key_that_was_dropped_signs_nothing_any_more() -> None:
    after = Verifier(Keyring({2: NEW}))
    old = Keyring({1: OLD})
    with pytest.raises(ForgedError, match="no key 1 is accepted"):
        after.verify(EXECUTION, KILL, PlatformSigner(old).sign(EXECUTION, KILL))
    with pytest.raises(ForgedError, match="no key 1 is accepted"):
        after.verify(EXECUTION, *signed_by_attempt(REPORT, keys=old))


def test_a_process_that_is_older_than_a_key_reads_the_keys_again_but_not_for_every_forgery() -> None:
    texts = [json.dumps({"1": "a" * 40})]
    asked: list[str] = []

    def read() -> str:
        asked.append(texts[-1])
        return texts[-1]

    clock = ManualClock(NOW)
    stored = StoredKeyring(read, clock)
    verifier = Verifier(stored.current(), stored.again)
    texts.append(json.dumps({"1": "a" * 40, "2": "b" * 40}))
    newer = PlatformSigner(Keyring.from_text(texts[-1]))
    clock.advance(timedelta(minutes=1))
    verifier.verify(EXECUTION, KILL, newer.sign(EXECUTION, KILL))
    assert len(asked) == 2
    for _ in range(5):
        with pytest.raises(ForgedError):
            verifier.verify(EXECUTION, KILL, "platform.3.x")
    assert len(asked) == 2
    clock.advance(timedelta(minutes=1))
    with pytest.raises(ForgedError):
        verifier.verify(EXECUTION, *signed_by_attempt(REPORT, keys=Keyring({3: NEW})))
    assert len(asked) == 3
    assert stored.current().newest == 2
    assert len(asked) == 3


def test_another_stacks_key_of_the_same_number_signs_nothing_here() -> None:
    refusal(EXECUTION, KILL, PlatformSigner(Keyring({2: b"another" * 9})).sign(EXECUTION, KILL))


def test_a_keyring_is_read_from_a_secret_and_its_errors_do_not_show_it() -> None:
    keyring = Keyring.from_text(json.dumps({"1": "a" * 40, "10": "b" * 40, "9": "c" * 40}))
    assert keyring.newest == 10
    for text in ("", "[]", '"s3cr3t"', '{"one": "s3cr3t"}', '{"1": 2}', "{}", '{"1": "s3cr3t, too short"}'):
        with pytest.raises(PortError) as error:
            Keyring.from_text(text)
        assert "s3cr3t" not in str(error.value)
        assert error.value.__cause__ is None


def test_a_keyring_does_not_show_its_keys() -> None:
    assert "old" not in repr(KEYS)


# -- Attempts ---------------------------------------------------------------------------------------


def test_an_attempt_reports_itself() -> None:
    VERIFIER.verify(EXECUTION, *signed_by_attempt(REPORT))


def test_the_same_attempt_always_gets_the_same_token() -> None:
    assert attempt_token(KEYS, MINE) == attempt_token(Keyring({2: NEW}), MINE)


@pytest.mark.parametrize(
    "other",
    [replace(MINE, number=4), replace(MINE, task_run_id="another"), replace(MINE, execution_id="another")],
    ids=["another attempt", "another task run", "another execution"],
)
def test_an_attempts_token_is_no_other_attempts(other: AttemptId) -> None:
    assert attempt_token(KEYS, other) != attempt_token(KEYS, MINE)
    data = encode_message(AttemptReported(other.task_run_id, other.number, RESULT))
    # It says it is the other one, and signs with what it has.
    signature = AttemptSigner(other, attempt_token(KEYS, MINE)).sign(other.execution_id, data)
    assert "not this attempt's" in str(refusal(other.execution_id, data, signature))


@pytest.mark.parametrize("other", [("another", MINE.number), (MINE.task_run_id, 4)])
def test_an_attempt_does_not_report_another(other: tuple[str, int]) -> None:
    forged = refusal(EXECUTION, *signed_by_attempt(AttemptReported(*other, RESULT)))
    assert f"it reports attempt {other[1]} of task run {other[0]}" in str(forged)
    assert (forged.execution_id, forged.claimed) == (EXECUTION, f"attempt 3 of task run {MINE.task_run_id}")


def test_an_attempt_sends_nothing_but_its_report() -> None:
    assert "may not send Kill" in str(refusal(EXECUTION, *signed_by_attempt(Kill())))


def test_a_token_does_not_sign_for_the_platform() -> None:
    number, _, mac = attempt_token(KEYS, MINE).partition(".")
    refusal(EXECUTION, KILL, f"platform.{number}.{mac}")
    key = base64.urlsafe_b64decode(mac + "=")
    refusal(EXECUTION, KILL, PlatformSigner(Keyring({2: key})).sign(EXECUTION, KILL))


def test_an_attempts_report_says_nothing_about_its_execution() -> None:
    change = replace(REPORT, result=replace(RESULT, change=ExecutionChange(exit=State.SUCCESS)))
    assert "may not change its execution" in str(refusal(EXECUTION, *signed_by_attempt(change)))
    finder = replace(REPORT, finder="an executor")
    assert "may not speak as an executor" in str(refusal(EXECUTION, *signed_by_attempt(finder)))


def test_an_attempts_outputs_are_its_own_executions_files() -> None:
    own = Stored(f"kestra:///company/team/flow/executions/{EXECUTION}/tasks/a/b/outputs.json", 9)
    VERIFIER.verify(EXECUTION, *signed_by_attempt(replace(REPORT, result=replace(RESULT, outputs=own))))
    for uri in ("kestra:///company/other/_files/secrets.json", "kestra:///n/f/executions/another/outputs.json"):
        report = replace(REPORT, result=replace(RESULT, outputs=Stored(uri, 9)))
        assert "another execution" in str(refusal(EXECUTION, *signed_by_attempt(report)))


@pytest.mark.parametrize(
    "data", [b"", b"j", b"jnull", b"j[1,[]]", b'j[1,["AttemptReported",{}]]', b"z1234", b"j" + b"[" * 5000]
)
def test_what_an_attempt_signs_must_be_a_message(data: bytes) -> None:
    signature = AttemptSigner(MINE, attempt_token(KEYS, MINE)).sign(EXECUTION, data)
    assert "not a message" in str(refusal(EXECUTION, data, signature))


def test_a_report_that_would_fill_the_readers_memory_is_refused() -> None:
    data = b"z" + zlib.compress(b"[1," + b" " * 100_000_000 + b"[]]", 9)
    signature = AttemptSigner(MINE, attempt_token(KEYS, MINE)).sign(EXECUTION, data)
    assert "too large" in str(refusal(EXECUTION, data, signature))


def test_a_message_kept_elsewhere_is_verified_by_its_digest_and_only_the_platforms() -> None:
    data, signature = signed_by_attempt(REPORT)
    with pytest.raises(ForgedError):
        VERIFIER.verify_digest(EXECUTION, "0" * 64, signature)
    with pytest.raises(ForgedError):
        VERIFIER.verify_digest(EXECUTION, "0" * 64, PlatformSigner(KEYS).sign(EXECUTION, data))


def test_a_token_that_is_none_is_an_error() -> None:
    with pytest.raises(PortError, match="token"):
        AttemptSigner(MINE, "2.x").sign(EXECUTION, KILL)
