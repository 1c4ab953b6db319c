"""Jobs as bytes: what went in comes out, the same job is the same bytes, and what is not a job is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.core.codec import FormatError
from headrace_engine.jobs import decode_job, encode_job
from headrace_engine.ports import AttemptId, Job

INSTANT = datetime(2026, 3, 1, 8, 30, 15, 123456, tzinfo=UTC)
SEALED = {"type": "io.headrace.sealed", "value": "AbC="}


def job(properties: Mapping[str, Any], **others: Any) -> Job:
    attempt = AttemptId("execution", "task-run", 2)
    return Job(attempt, "a.Type", "task", "company.team", "flow", 3, INSTANT, properties, **others)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    properties=st.dictionaries(st.text(), JSON, max_size=4),
    variables=st.dictionaries(st.text(), JSON, max_size=2),
    timeout=st.none() | st.timedeltas(timedelta(0), timedelta(days=3650)),
    texts=st.tuples(*[st.none() | st.text(max_size=9)] * 3),
)
def test_a_job_comes_back_as_it_was_and_is_always_the_same_bytes(
    properties: dict[str, Any], variables: dict[str, Any], timeout: timedelta | None, texts: tuple[str | None, ...]
) -> None:
    sent = job(properties, variables=variables, timeout=timeout, log_level=texts[0], workspace=texts[1], cache=texts[2])
    data = encode_job(sent)
    assert decode_job(data) == sent
    assert encode_job(decode_job(data)) == data


def test_maps_keep_the_order_their_author_gave_them() -> None:
    names = ["b", "a", "c"]
    assert list(decode_job(encode_job(job({"env": dict.fromkeys(names, "x")}))).properties["env"]) == names


def test_what_is_sealed_stays_sealed() -> None:
    assert decode_job(encode_job(job({"password": SEALED}))).properties == {"password": SEALED}


def test_a_long_job_is_compressed() -> None:
    assert len(encode_job(job({"script": "print(1)\n" * 10_000}))) < 1000


def test_a_value_that_is_not_json_is_an_error_when_it_is_sent() -> None:
    with pytest.raises(TypeError, match="not JSON"):
        encode_job(job({"value": object()}))


@pytest.mark.parametrize("data", [b"", b"j", b"jnull", b"j{}", b"z" + b"x" * 9, b'j{"format":1,"job":{}}', b"\xff\xff"])
def test_what_is_not_a_job_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_job(data)


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(FormatError, match="job format 2 is newer than 1"):
        decode_job(b'j{"format":2,"job":{"anything":"else"}}')
