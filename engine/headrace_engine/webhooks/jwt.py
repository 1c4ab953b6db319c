"""JSON Web Tokens (RFC 7515, 7517, 7519): signed by a key we know, for us, and valid now.

Which algorithms count is the trigger's to say, never the token's: `none` is no algorithm here, and a key is used for
its own kind only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from headrace_engine.model.algorithms import SHARED
from headrace_engine.model.frozen import dataclass
from headrace_engine.webhooks.proof import Proof, Sent, UnauthorizedError, without_scheme

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

_LARGEST = 16 * 1024
_CURVES = {"P-256": ("ES256", 32), "P-384": ("ES384", 48), "P-521": ("ES512", 66)}

KeySet = Callable[[], Sequence[Mapping[str, Any]]]


class KeysUnavailableError(Exception):
    """The keys of an issuer cannot be had now."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must be."""

    algorithms: frozenset[str]
    issuer: str | None = None
    audiences: frozenset[str] = frozenset()
    leeway: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class JwtCheck:
    """A header holds a JWT; implements proof.Check."""

    rules: Rules
    secrets: tuple[bytes, ...] = ()
    pem: bytes = b""
    keys: Callable[[str], Sequence[Mapping[str, Any]]] | None = None
    """Returns the keys (JWK) that may have the id; the id may be empty. Raises KeysUnavailableError."""
    header: str = "authorization"
    scheme: str = "Bearer"
    single_use: bool = False

    @property
    def hidden(self) -> frozenset[str]:
        """See Check."""
        return frozenset({self.header.lower()})

    def __call__(self, sent: Sent, now: datetime) -> Proof:
        """See Check. Raises KeysUnavailableError, too."""
        given = sent.header(self.header)
        token = without_scheme(given, self.scheme) if self.scheme else given
        claims = self._claims(token)
        expires = valid(claims, self.rules, now)
        if not self.single_use:
            return Proof(claims=claims)
        once = json.dumps([claims.get("iss"), claims["jti"]]) if "jti" in claims else token
        return Proof(hashlib.sha256(once.encode()).digest(), expires - now, claims)

    def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > _LARGEST:
            raise UnauthorizedError("the token is too long")
        parts = token.split(".")
        if len(parts) != 3:
            raise UnauthorizedError("the token is no JWT")
        head = _object(parts[0])
        signed = f"{parts[0]}.{parts[1]}".encode()
        signature = decoded(parts[2])
        algorithm = head.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self.rules.algorithms:
            raise UnauthorizedError(f"the token's algorithm `{str(algorithm)[:20]}` is not one of the trigger's")
        if "crit" in head:
            raise UnauthorizedError("the token demands an extension that is not known")
        if not self._is_signed(algorithm, str(head.get("kid") or ""), signed, signature):
            raise UnauthorizedError("the token's signature is wrong")
        return _object(parts[1])

    def _is_signed(self, algorithm: str, key_id: str, signed: bytes, signature: bytes) -> bool:
        if algorithm in SHARED:
            name = f"sha{algorithm[2:]}"
            found = [hmac.compare_digest(hmac.digest(secret, signed, name), signature) for secret in self.secrets]
            return any(found)
        if self.pem:
            from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - see below

            try:
                return _verifies(load_pem_public_key(self.pem), algorithm, signed, signature)
            except ValueError:
                raise UnauthorizedError("the trigger's `publicKey` is no public key in PEM") from None
        keys = self.keys(key_id) if self.keys is not None else ()
        return any(_verifies(_public_key(key), algorithm, signed, signature) for key in keys if _fits(key, algorithm))


def valid(claims: Mapping[str, Any], rules: Rules, now: datetime) -> datetime:
    """Return when a token with *claims* ends, leeway included. Raises UnauthorizedError when it is not valid now."""
    expires = _date(claims, "exp")
    if expires is None:
        raise UnauthorizedError("the token never expires")
    if now >= expires + rules.leeway:
        raise UnauthorizedError(f"the token expired at {expires.isoformat()}")
    for name in ("nbf", "iat"):
        begins = _date(claims, name)
        if begins is not None and now < begins - rules.leeway:
            raise UnauthorizedError(f"the token is of the future: `{name}` is {begins.isoformat()}")
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise UnauthorizedError("the token is of another issuer")
    audience = claims.get("aud")
    named = {audience} if isinstance(audience, str) else set(map(str, audience or ()))
    if rules.audiences and not rules.audiences & named:
        raise UnauthorizedError("the token is for another audience")
    return expires + rules.leeway


def _date(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnauthorizedError(f"the token's `{name}` is no date")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise UnauthorizedError(f"the token's `{name}` is no date") from None


def _object(part: str) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(decoded(part))
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise UnauthorizedError("the token is no JWT") from None
    if not isinstance(value, dict):
        raise UnauthorizedError("the token is no JWT")
    return value


def decoded(text: str) -> bytes:
    """Return the bytes of base64url without padding. Raises UnauthorizedError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise UnauthorizedError("the token is no JWT") from None


# -- Public keys. Imported late: most triggers need none, and every millisecond of a start counts ----


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Return whether a JWK may be used for *algorithm*: one of another kind, or for encryption, may not."""
    if key.get("use") not in (None, "sig") or key.get("alg") not in (None, algorithm):
        return False
    match key.get("kty"):
        case "RSA":
            return algorithm[:2] in ("RS", "PS")
        case "EC":
            return _CURVES.get(str(key.get("crv")), ("", 0))[0] == algorithm
        case "OKP":
            return algorithm == "EdDSA" and key.get("crv") == "Ed25519"
    return False


def _public_key(key: Mapping[str, Any]) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415 - see above

    try:
        match key["kty"]:
            case "RSA":
                return rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
            case "EC":
                curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[key["crv"]]
                return ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()
            case _:
                return ed25519.Ed25519PublicKey.from_public_bytes(decoded(str(key["x"])))
    except (ValueError, KeyError, TypeError):
        raise UnauthorizedError("the issuer's key cannot be read") from None


def _number(text: object) -> int:
    return int.from_bytes(decoded(str(text)), "big")


def _verifies(key: Any, algorithm: str, signed: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415 - see above

    try:
        match key, algorithm[:2]:
            case rsa.RSAPublicKey(), "RS":
                key.verify(signature, signed, padding.PKCS1v15(), _hash(algorithm))
            case rsa.RSAPublicKey(), "PS":
                chosen = _hash(algorithm)
                key.verify(signature, signed, padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen)
            case ec.EllipticCurvePublicKey(), "ES":
                size = (key.curve.key_size + 7) // 8
                wanted = {32: "ES256", 48: "ES384", 66: "ES512"}.get(size)
                if wanted != algorithm or len(signature) != 2 * size:
                    return False
                pair = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
                key.verify(encode_dss_signature(*pair), signed, ec.ECDSA(_hash(algorithm)))
            case ed25519.Ed25519PublicKey(), "Ed":
                key.verify(signature, signed)
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def _hash(algorithm: str) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - see above

    return {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]


# -- The keys of issuers ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Held:
    keys: tuple[Mapping[str, Any], ...]
    at: datetime


class KeySets:
    """The key sets (JWKS) of issuers, kept for a while. Safe to use from many threads."""

    _STAY = timedelta(minutes=10)
    _AGAIN = timedelta(minutes=1)
    """A key that is not there is looked for again after this, not with every call: anybody can make up ids."""

    def __init__(self, fetch: Callable[[str], Any], now: Callable[[], datetime]) -> None:
        """Take what returns the JSON at an address, raising KeysUnavailableError, and the time."""
        self._fetch = fetch
        self._now = now
        self._held: dict[str, _Held] = {}

    def __call__(self, url: str, key_id: str) -> Sequence[Mapping[str, Any]]:
        """Return the keys of *url* that may have the id; all, without one. Raises KeysUnavailableError."""
        held, now = self._held.get(url), self._now()
        if held is None or now - held.at > self._STAY or (now - held.at > self._AGAIN and not _named(held, key_id)):
            try:
                held = _Held(_keys(self._fetch(url)), now)
            except KeysUnavailableError:
                if held is None:
                    raise
                held = _Held(held.keys, now - self._STAY + self._AGAIN)  # old keys are better than none, for a moment
            self._held[url] = held
        return _named(held, key_id)


def _named(held: _Held, key_id: str) -> list[Mapping[str, Any]]:
    return [key for key in held.keys if not key_id or key.get("kid") in (None, key_id)]


def _keys(found: Any) -> tuple[Mapping[str, Any], ...]:
    keys = found.get("keys") if isinstance(found, Mapping) else None
    if not isinstance(keys, list):
        raise KeysUnavailableError("the answer is no key set: it has no list `keys`")
    return tuple(key for key in keys if isinstance(key, Mapping))
