"""JSON Web Tokens: the examples of RFC 7515, and what forgers do to tokens."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from headrace_engine.model.algorithms import PUBLIC, SHARED
from headrace_engine.webhooks.jwt import JwtCheck, KeySets, KeysUnavailableError, Rules
from headrace_engine.webhooks.proof import Sent, UnauthorizedError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOE = datetime.fromtimestamp(1300819380, UTC) - timedelta(minutes=1)
JOE_CLAIMS = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
_PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def data(written: str) -> bytes:
    return base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))


def claims(check: JwtCheck, token: str, now: datetime = NOW) -> Mapping[str, Any] | None:
    return check(Sent({"authorization": f"Bearer {token}"}, b""), now).claims


def keys(*found: Mapping[str, Any]) -> Any:
    return lambda _key_id: found


# -- RFC 7515, appendix A ---------------------------------------------------------------------------

HS256 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
HS256_KEY = data("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
RS256 = (
    f"eyJhbGciOiJSUzI1NiJ9.{_PAYLOAD}."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU"
    "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d"
    "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig"
    "cN_IoypGlUPQGe77Rw"
)
RS256_KEY = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SF"
    "d2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTB"
    "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2"
    "PAcDTW9gb54h4FRWyuXpoQ",
    "e": "AQAB",
}
ES256 = (
    f"eyJhbGciOiJFUzI1NiJ9.{_PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
ES256_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
UNSECURED = f"eyJhbGciOiJub25lIn0.{_PAYLOAD}."
EXAMPLES = [
    (HS256, JwtCheck(Rules(frozenset({"HS256"}), "joe"), secrets=(b"other", HS256_KEY))),
    (RS256, JwtCheck(Rules(frozenset({"RS256"}), "joe"), keys=keys(ES256_KEY, RS256_KEY))),
    (ES256, JwtCheck(Rules(frozenset({"ES256"}), "joe"), keys=keys(RS256_KEY, ES256_KEY))),
]


@pytest.mark.parametrize(("token", "check"), EXAMPLES, ids=["HS256", "RS256", "ES256"])
def test_the_examples_of_the_rfc(token: str, check: JwtCheck) -> None:
    assert claims(check, token, JOE) == JOE_CLAIMS
    with pytest.raises(UnauthorizedError, match="expired"):
        claims(check, token, NOW)
    head, body, signature = token.split(".")
    for forged in (
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{text(json.dumps({**JOE_CLAIMS, 'iss': 'eve'}).encode())}.{signature}",
        f"{head}.{body}",
        UNSECURED,
    ):
        with pytest.raises(UnauthorizedError):
            claims(check, forged, JOE)


def test_none_is_no_algorithm_even_when_it_is_allowed() -> None:
    for name in ("none", "None", "NONE", ""):
        token = f"{text(json.dumps({'alg': name}).encode())}.{_PAYLOAD}."
        with pytest.raises(UnauthorizedError):
            claims(JwtCheck(Rules(frozenset({name, "HS256"})), secrets=(HS256_KEY,)), token, JOE)


def test_a_public_key_is_no_secret() -> None:
    """The old confusion of algorithms: a token signed with HMAC and the text of the public key."""
    pem = rsa.generate_private_key(65537, 2048).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    head = text(b'{"alg":"HS256"}')
    token = f"{head}.{_PAYLOAD}.{text(hmac.digest(pem, f'{head}.{_PAYLOAD}'.encode(), 'sha256'))}"
    for algorithms in ({"RS256"}, {"RS256", "HS256"}):
        with pytest.raises(UnauthorizedError):
            claims(JwtCheck(Rules(frozenset(algorithms)), pem=pem), token, JOE)


# -- Every algorithm --------------------------------------------------------------------------------

RSA = rsa.generate_private_key(65537, 2048)
EC = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}
ELLIPTIC = {size: ec.generate_private_key(curve) for size, curve in EC.items()}
EDWARDS = ed25519.Ed25519PrivateKey.generate()
HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def token(algorithm: str, content: Mapping[str, Any], *, key_id: str = "", secret: bytes = b"s") -> str:
    head = {"alg": algorithm, **({"kid": key_id} if key_id else {})}
    signed = f"{text(json.dumps(head).encode())}.{text(json.dumps(content).encode())}"
    return f"{signed}.{text(signature(algorithm, signed.encode(), secret))}"


def signature(algorithm: str, signed: bytes, secret: bytes) -> bytes:
    size = algorithm[2:]
    match algorithm[:2]:
        case "HS":
            return hmac.digest(secret, signed, f"sha{size}")
        case "RS":
            return RSA.sign(signed, padding.PKCS1v15(), HASHES[size])
        case "PS":
            chosen = HASHES[size]
            return RSA.sign(signed, padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen)
        case "ES":
            key = ELLIPTIC[size]
            width = (key.curve.key_size + 7) // 8
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(HASHES[size])))
            return r.to_bytes(width, "big") + s.to_bytes(width, "big")
        case _:
            return EDWARDS.sign(signed)


def pem(algorithm: str) -> bytes:
    key: Any = RSA if algorithm[:2] in ("RS", "PS") else ELLIPTIC.get(algorithm[2:], EDWARDS)
    found: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


GOOD = {"exp": NOW.timestamp() + 60}
ALL = sorted(SHARED | PUBLIC)


@pytest.mark.parametrize("algorithm", ALL)
def test_every_algorithm(algorithm: str) -> None:
    rules = Rules(frozenset({algorithm}))
    check = JwtCheck(rules, secrets=(b"s",)) if algorithm.startswith("HS") else JwtCheck(rules, pem=pem(algorithm))
    assert claims(check, token(algorithm, GOOD)) == GOOD
    for other in set(ALL) - {algorithm}:
        with pytest.raises(UnauthorizedError):
            claims(check, token(other, GOOD))


def jwk(key: Any, **more: str) -> dict[str, str]:
    def written(number: int) -> str:
        return text(number.to_bytes((number.bit_length() + 7) // 8, "big"))

    if isinstance(key, rsa.RSAPrivateKey):
        rsa_numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": written(rsa_numbers.n), "e": written(rsa_numbers.e), **more}
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": text(raw), **more}


def test_a_key_is_used_for_what_it_is_for() -> None:
    rules = Rules(frozenset({"RS256", "EdDSA"}))
    for algorithm, key in (("RS256", RSA), ("EdDSA", EDWARDS)):
        good = token(algorithm, GOOD)
        assert claims(JwtCheck(rules, keys=keys(jwk(key, use="sig", alg=algorithm))), good)
        for wrong in (jwk(key, use="enc"), jwk(key, alg="RS512"), {**jwk(key), "kty": "oct"}, {"kty": "RSA"}):
            with pytest.raises(UnauthorizedError):
                claims(JwtCheck(rules, keys=keys(wrong)), good)


# -- What a token says ------------------------------------------------------------------------------

SAYS = [
    ({}, "never expires"),
    ({"exp": "soon"}, "no date"),
    ({"exp": True}, "no date"),
    ({"exp": 1e300}, "no date"),
    ({"exp": NOW.timestamp() - 31}, "expired"),
    ({**GOOD, "nbf": NOW.timestamp() + 31}, "future"),
    ({**GOOD, "iat": NOW.timestamp() + 31}, "future"),
    ({**GOOD, "iss": "eve"}, "issuer"),
    ({**GOOD, "iss": "joe", "aud": "them"}, "audience"),
    ({**GOOD, "iss": "joe", "aud": ["them", "others"]}, "audience"),
    ({**GOOD, "iss": "joe"}, "audience"),
]


@pytest.mark.parametrize(("content", "why"), SAYS)
def test_what_a_token_must_say(content: Mapping[str, Any], why: str) -> None:
    with pytest.raises(UnauthorizedError, match=why):
        claims(
            JwtCheck(Rules(frozenset({"HS256"}), "joe", frozenset({"us"})), secrets=(b"s",)), token("HS256", content)
        )


def test_clocks_may_differ_a_little() -> None:
    check = JwtCheck(Rules(frozenset({"HS256"}), audiences=frozenset({"us"})), secrets=(b"s",))
    for content in (
        {"exp": NOW.timestamp() - 29, "aud": "us"},
        {**GOOD, "nbf": NOW.timestamp() + 29, "iat": NOW.timestamp() + 29, "aud": ["them", "us"]},
    ):
        assert claims(check, token("HS256", content)) == content


@pytest.mark.parametrize(
    "written",
    ["", "a", "a.b.c", "..", f"{text(b'[]')}.{_PAYLOAD}.x", f"{text(b'{}')}.{_PAYLOAD}.x", "é.é.é", "a" * 20_000],
)
def test_what_is_no_token(written: str) -> None:
    with pytest.raises(UnauthorizedError):
        claims(JwtCheck(Rules(frozenset({"HS256"})), secrets=(b"s",)), written)


def test_an_extension_that_is_demanded_is_refused() -> None:
    head = text(json.dumps({"alg": "HS256", "crit": ["b64"], "b64": False}).encode())
    signed = f"{head}.{text(json.dumps(GOOD).encode())}"
    with pytest.raises(UnauthorizedError, match="extension"):
        claims(
            JwtCheck(Rules(frozenset({"HS256"})), secrets=(b"s",)),
            f"{signed}.{text(hmac.digest(b's', signed.encode(), 'sha256'))}",
        )


def test_a_token_for_one_use_is_named_by_its_id() -> None:
    check = JwtCheck(Rules(frozenset({"HS256"})), secrets=(b"s",), single_use=True)

    def once(content: Mapping[str, Any]) -> bytes:
        return check(Sent({"authorization": f"Bearer {token('HS256', content)}"}, b""), NOW).once

    assert once({**GOOD, "jti": "a"}) == once({**GOOD, "jti": "a", "more": 1})
    assert len({once({**GOOD, "jti": "a"}), once({**GOOD, "jti": "b"}), once(GOOD), once({**GOOD, "more": 1})}) == 4


# -- Where keys come from ---------------------------------------------------------------------------


class Issuer:
    def __init__(self, *found: Mapping[str, Any]) -> None:
        self.now = NOW
        self.keys: Sequence[Mapping[str, Any]] = found
        self.asked = 0
        self.is_up = True
        self.sets = KeySets(self.fetch, lambda: self.now)

    def fetch(self, _url: str) -> Any:
        self.asked += 1
        if not self.is_up:
            raise KeysUnavailableError("down")
        return {"keys": list(self.keys)}

    def find(self, key_id: str, after: timedelta = timedelta(0)) -> list[str]:
        self.now += after
        return [key["kid"] for key in self.sets("https://issuer.invalid/keys", key_id)]


def test_keys_are_kept_for_a_while() -> None:
    issuer = Issuer({"kid": "a"}, {"kid": "b"})
    assert issuer.find("a") == ["a"]
    assert issuer.find("") == ["a", "b"]
    assert (issuer.asked, issuer.find("b", timedelta(minutes=9)), issuer.asked) == (1, ["b"], 1)
    assert (issuer.find("b", timedelta(minutes=2)), issuer.asked) == (["b"], 2)


def test_a_new_key_is_found_soon_and_a_made_up_one_is_not_asked_for_at_every_call() -> None:
    issuer = Issuer({"kid": "a"})
    issuer.find("a")
    issuer.keys = [{"kid": "a"}, {"kid": "new"}]
    assert issuer.find("new", timedelta(seconds=30)) == []
    assert issuer.find("new", timedelta(seconds=31)) == ["new"]
    for _ in range(100):
        assert issuer.find("made up", timedelta(milliseconds=100)) == []
    assert issuer.asked == 2


def test_keys_that_are_there_outlast_an_issuer_that_is_down() -> None:
    issuer = Issuer({"kid": "a"})
    issuer.find("a")
    issuer.is_up = False
    for _ in range(5):
        assert issuer.find("a", timedelta(minutes=11)) == ["a"]
        assert issuer.find("a", timedelta(seconds=1)) == ["a"]
    assert issuer.asked == 6


def test_an_issuer_that_was_never_reached_says_so() -> None:
    issuer = Issuer()
    issuer.is_up = False
    with pytest.raises(KeysUnavailableError):
        issuer.find("a")
    for answer in ({}, [], {"keys": {}}, "keys"):
        with pytest.raises(KeysUnavailableError, match="no key set"):
            KeySets(lambda _url, answer=answer: answer, lambda: NOW)("https://issuer.invalid", "a")  # type: ignore[misc]
