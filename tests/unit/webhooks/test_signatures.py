"""What proves that a call is right, on the examples that its inventors publish, and on what forgers try."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.webhooks.checks import check_of
from headrace_engine.webhooks.jwt import KeySets
from headrace_engine.webhooks.proof import Check, Proof, Sent, UnauthorizedError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def check(**auth: object) -> Check:
    return check_of(auth, lambda text: text, KeySets(lambda _url: {}, lambda: NOW))


def proof(of: Check, body: bytes, now: datetime = NOW, **headers: str) -> Proof:
    return of(Sent({name.replace("_", "-"): value for name, value in headers.items()}, body), now)


# -- Published examples -----------------------------------------------------------------------------

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
    b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
    b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
    b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_TIME = datetime.fromtimestamp(1531420618, UTC)
SLACK_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
STRIPE_TIME = datetime.fromtimestamp(1533204620, UTC)
STRIPE_SIGNATURE = (
    "t=1533204620,v1=82216eca827bcb7b34b8055eb2d2d9e6bc13b9ac39ded14a61e69f70c565f53a,"
    "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
)
STRIPE_BODY = b"""{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "ii_123",
      "object": "invoiceitem",
      "amount": 1000,
      "currency": "usd",
      "customer": "cus_123",
      "date": 1533204620,
      "description": "Test Invoice Item",
      "discountable": false,
      "invoice": "in_123",
      "livemode": false,
      "metadata": {},
      "period": {
        "start": 1533204620,
        "end": 1533204620
      },
      "proration": false,
      "quantity": 3
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "invoiceitem.created"
}
"""
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
GITHUB_SECRET = "It's a Secret to Everybody"


def test_the_example_of_github() -> None:
    found = check(type="github", secret=GITHUB_SECRET)
    assert proof(found, b"Hello, World!", x_hub_signature_256=GITHUB_SIGNATURE).keep == timedelta(days=1)
    with pytest.raises(UnauthorizedError):
        proof(found, b"Hello, World?", x_hub_signature_256=GITHUB_SIGNATURE)


def test_the_example_of_slack() -> None:
    found = check(type="slack", secret=SLACK_SECRET)
    headers = {"x_slack_signature": SLACK_SIGNATURE, "x_slack_request_timestamp": "1531420618"}
    assert proof(found, SLACK_BODY, SLACK_TIME + timedelta(minutes=5), **headers).once
    with pytest.raises(UnauthorizedError, match="more than 0:05:00 from now"):
        proof(found, SLACK_BODY, SLACK_TIME + timedelta(minutes=5, seconds=1), **headers)
    with pytest.raises(UnauthorizedError, match="wrong"):
        proof(found, SLACK_BODY, SLACK_TIME, **{**headers, "x_slack_request_timestamp": "1531420619"})


def test_the_example_of_stripe() -> None:
    found = check(type="stripe", secret="webhook_secret")
    assert proof(found, STRIPE_BODY, STRIPE_TIME, stripe_signature=STRIPE_SIGNATURE).once
    with pytest.raises(UnauthorizedError, match="from now"):
        proof(found, STRIPE_BODY, STRIPE_TIME + timedelta(minutes=6), stripe_signature=STRIPE_SIGNATURE)
    with pytest.raises(UnauthorizedError, match="wrong"):
        proof(found, STRIPE_BODY + b" ", STRIPE_TIME, stripe_signature=STRIPE_SIGNATURE)


def test_stripe_signs_twice_while_its_secret_changes() -> None:
    other = "v1=" + "0" * 64
    header = STRIPE_SIGNATURE.replace(",v1=", f",{other},v1=")
    assert proof(check(type="stripe", secret="webhook_secret"), STRIPE_BODY, STRIPE_TIME, stripe_signature=header).once


@pytest.mark.parametrize(
    "header",
    [
        STRIPE_SIGNATURE.replace("v1=", "v2="),  # a scheme that is none
        STRIPE_SIGNATURE.replace("t=1533204620,", ""),
        STRIPE_SIGNATURE + ",t=1533204621",  # two times: which is signed?
        STRIPE_SIGNATURE.replace("t=", "t= -"),
        "v1=" + "0" * 64 + ",t=",
        "t=1533204620,v1=82216eca",
        ",,,=,",
    ],
)
def test_a_header_that_is_not_stripes(header: str) -> None:
    with pytest.raises(UnauthorizedError):
        proof(check(type="stripe", secret="webhook_secret"), STRIPE_BODY, STRIPE_TIME, stripe_signature=header)


# -- Any HMAC ---------------------------------------------------------------------------------------


def signature(secret: str, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), message, algorithm)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_every_algorithm_and_encoding(algorithm: str, encoding: str) -> None:
    found = check(type="hmac", secret="s", header="X-Sig", algorithm=algorithm, encoding=encoding, prefix="p ")
    right = signature("s", b"body", algorithm)
    text = right.hex() if encoding == "hex" else base64.b64encode(right).decode()
    assert proof(found, b"body", x_sig=f"p {text}").once == right
    for wrong in (text, f"p{text}", f"p {text}00", f"p {text[:-2]}", "p ", f"p {text[::-1]}"):
        with pytest.raises(UnauthorizedError):
            proof(found, b"body", x_sig=wrong)


def test_both_secrets_count_while_one_is_changed() -> None:
    found = check(type="hmac", secret=["old", "new"], header="X-Sig")
    for secret in ("old", "new"):
        assert proof(found, b"body", x_sig=signature(secret, b"body").hex())
    with pytest.raises(UnauthorizedError):
        proof(found, b"body", x_sig=signature("older", b"body").hex())


def test_the_same_signature_written_otherwise_is_the_same() -> None:
    found = check(type="hmac", secret="s", header="X-Sig")
    text = signature("s", b"body").hex()
    assert proof(found, b"body", x_sig=text).once == proof(found, b"body", x_sig=text.upper()).once


TIMES = ["1767225600", "1767225600000", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"]


@pytest.mark.parametrize("time", TIMES)
def test_a_time_in_every_form(time: str) -> None:
    found = check(type="hmac", secret="s", header="X-Sig", timestampHeader="X-Time", tolerance="PT1M")
    right = signature("s", f"{time}.body".encode()).hex()
    assert proof(found, b"body", x_sig=right, x_time=time).keep == timedelta(minutes=1, seconds=1)
    for now in (NOW - timedelta(seconds=61), NOW + timedelta(seconds=61)):
        with pytest.raises(UnauthorizedError, match="from now"):
            proof(found, b"body", now, x_sig=right, x_time=time)


@pytest.mark.parametrize("time", ["", "soon", "9" * 30, "-5", "1e9", "2026-01-01T00:00:00", "NaN", "٣"])
def test_what_is_no_time(time: str) -> None:
    found = check(type="hmac", secret="s", header="X-Sig", timestampHeader="X-Time")
    right = signature("s", f"{time}.body".encode()).hex()
    with pytest.raises(UnauthorizedError):
        proof(found, b"body", x_sig=right, x_time=time)


def test_a_call_from_the_future_is_remembered_until_it_is_too_old() -> None:
    found = check(type="hmac", secret="s", header="X-Sig", timestampHeader="X-Time", tolerance="PT1M")
    time = "1767225630"
    right = signature("s", f"{time}.body".encode()).hex()
    assert proof(found, b"body", x_sig=right, x_time=time).keep == timedelta(seconds=91)


def test_what_is_signed_may_be_told() -> None:
    signed = "a={timestamp}&b={body}&{body}"
    found = check(type="hmac", secret="s", header="X-Sig", timestampHeader="X-Time", signed=signed)
    right = signature("s", b"a=1767225600&b={timestamp}&{timestamp}").hex()
    assert proof(found, b"{timestamp}", x_sig=right, x_time="1767225600").once


@given(st.binary(max_size=40), st.text(max_size=40))
def test_no_made_up_signature_counts(body: bytes, text: str) -> None:
    for found in (
        check(type="github", secret="s"),
        check(type="stripe", secret="s"),
        check(type="slack", secret="s"),
        check(type="gitlab", secret="s3cret"),
        check(type="bearer", secret="s3cret"),
        check(type="jwt", secret="s3cret"),
    ):
        names = ("x-hub-signature-256", "stripe-signature", "x-slack-signature", "x-gitlab-token", "authorization")
        headers = dict.fromkeys((*names, "x-slack-request-timestamp"), text)
        with pytest.raises(UnauthorizedError):
            found(Sent(headers, body), NOW)


# -- Tokens -----------------------------------------------------------------------------------------


def test_tokens() -> None:
    assert proof(check(type="gitlab", secret="t"), b"", x_gitlab_token="t") == Proof()
    assert proof(check(type="bearer", secret="t"), b"", authorization="bearer t") == Proof()
    assert proof(check(type="apiKey", secret="t"), b"", x_api_key="t") == Proof()
    assert proof(check(type="apiKey", secret=["u", "t"], header="X-Own"), b"", x_own="t") == Proof()
    for wrong in ("t", "Basic t", "Bearer", "Bearer tt", "Bearer T"):
        with pytest.raises(UnauthorizedError):
            proof(check(type="bearer", secret="t"), b"", authorization=wrong)
    with pytest.raises(UnauthorizedError, match="no header"):
        proof(check(type="gitlab", secret="t"), b"")


def test_headers_that_hold_a_secret_are_hidden() -> None:
    assert check(type="bearer", secret="t").hidden == {"authorization"}
    assert check(type="apiKey", secret="t", header="X-Own").hidden == {"x-own"}
    assert check(type="github", secret="t").hidden == frozenset()


@pytest.mark.parametrize("secret", ["", ["a", ""], [], None])
def test_an_empty_secret_opens_nothing(secret: object) -> None:
    with pytest.raises(UnauthorizedError, match="empty"):
        check(type="github", secret=secret)


def test_comparing_takes_no_shortcut_for_a_longer_secret() -> None:
    # Tokens are compared by their digests: a token of any length is as far from the right one.
    found = check(type="bearer", secret="right")
    wrong = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(UnauthorizedError):
        proof(found, b"", authorization=f"Bearer {wrong}")
