"""A small OIDC issuer on loopback: what it publishes, the tokens it signs, and those that forgers make of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class Issuer:
    """Signs with its newest key, and publishes those that count."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.asked: list[str] = []
        """The paths that somebody has asked for."""
        self.address = ""
        self.rotate()

    @property
    def newest(self) -> str:
        """The id of the key that signs."""
        return list(self.keys)[-1]

    def rotate(self) -> None:
        """Sign with a new key from now on; the others count still."""
        self.keys[f"key-{len(self.keys) + 1}"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def withdraw(self, key_id: str) -> None:
        """Have a key count no longer."""
        del self.keys[key_id]

    @property
    def jwks_url(self) -> str:
        """Where its keys are."""
        return f"{self.address}/keys"

    def published(self, path: str) -> Any:
        """Return what it says at a path."""
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.address, "jwks_uri": self.jwks_url}
        return {"keys": [_jwk(key, key_id) for key_id, key in self.keys.items()]}

    def token(self, claims: Mapping[str, Any], *, key_id: str = "", **head: Any) -> str:
        """Return a token that it signs, in its own name unless the claims say another."""
        key_id = key_id or self.newest
        signed = signing_input({"alg": "RS256", "kid": key_id, **head}, {"iss": self.address, **claims})
        return f"{signed}.{_text(self.keys[key_id].sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def unsigned(self, claims: Mapping[str, Any], algorithm: str = "none") -> str:
        """Return a token that says that it needs no signature."""
        return signing_input({"alg": algorithm, "kid": self.newest}, {"iss": self.address, **claims}) + "."

    def confused(self, claims: Mapping[str, Any]) -> Iterator[str]:
        """Yield tokens signed with what everybody knows, the public key, as if that were a secret."""
        public = self.keys[self.newest].public_key()
        signed = signing_input({"alg": "HS256", "kid": self.newest}, {"iss": self.address, **claims})
        for encoding, form in (
            (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
            (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
            (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
        ):
            secret = public.public_bytes(encoding, form)
            for key in (secret, secret.rstrip(b"\n")):
                yield f"{signed}.{_text(hmac.digest(key, signed.encode(), hashlib.sha256))}"


@contextmanager
def issuer() -> Iterator[Issuer]:
    """Yield one that answers on a free port of loopback."""
    made = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(made.published(self.path)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            server.shutdown()


def signing_input(head: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Return what of a token is signed."""
    return f"{_text(json.dumps(head).encode())}.{_text(json.dumps(claims).encode())}"


def _jwk(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
