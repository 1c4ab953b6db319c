"""Secrets on their way to a task: sealed where they are stored or sent, opened in memory just before the code starts.

A text that was rendered with a secret travels as ``{"type": "io.headrace.sealed", "value": …}``; a SECRET
input as Kestra's ``{"type": "io.kestra.datatype:aes_encrypted", "value": …}``. What is sealed is either
the plain text, or a JSON object that also names the secrets inside it, so that a log line which shows
only the secret (not the whole script around it) is masked too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from headrace_engine.model.definition import InputDefinition
from headrace_engine.ports import Cipher

SEALED = "io.headrace.sealed"
ENCRYPTED = "io.kestra.datatype:aes_encrypted"
MASK = "********"

_ENVELOPE = b'{"headrace.sealed":'


def seal_text(text: Any, secrets: Iterable[str], cipher: Cipher) -> dict[str, str]:
    """Return the sealed form of *text*, or any JSON value, which holds *secrets*."""
    envelope = _ENVELOPE + json.dumps({"text": text, "secrets": sorted(set(secrets))}).encode() + b"}"
    return {"type": SEALED, "value": cipher.seal(envelope)}


def seal_held(values: Mapping[str, Any], secrets: Collection[str], cipher: Cipher) -> dict[str, Any]:
    """Return *values* with each sealed that holds one of *secrets*, in itself or in a text at any depth."""
    found = {}
    for name, value in values.items():
        held = set() if is_sealed(value) else {each for each in secrets if each and _holds(value, each)}
        found[name] = seal_text(value, held, cipher) if held else value
    return found


def _holds(value: Any, secret: str) -> bool:
    if isinstance(value, str):
        return secret in value
    if isinstance(value, Mapping):
        return any(_holds(key, secret) or _holds(item, secret) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_holds(item, secret) for item in value)


def sealed_inputs(
    values: Mapping[str, Any], definitions: Iterable[InputDefinition], secrets: Collection[str], cipher: Cipher
) -> dict[str, Any]:
    """Return inputs that nobody has checked as an execution keeps them: sealed if declared SECRET, or holding one."""
    declared = {definition.id for definition in definitions if definition.type == "SECRET"}
    kept = {
        name: {"type": ENCRYPTED, "value": cipher.seal(str(value).encode())}
        if name in declared and value is not None and not is_sealed(value)
        else value
        for name, value in values.items()
    }
    return seal_held(kept, secrets, cipher)


def is_sealed(value: Any) -> bool:
    """Tell whether *value* is a sealed text or an encrypted input or output."""
    return (
        isinstance(value, Mapping)
        and value.get("type") in (SEALED, ENCRYPTED)
        and isinstance(value.get("value"), str)
        and len(value) == 2
    )


def open_sealed(value: Any, cipher: Cipher) -> tuple[Any, frozenset[str]]:
    """Return *value* with everything sealed in it opened, at any depth, and the texts that logs must not show."""
    secrets: set[str] = set()
    return _opened(value, cipher, secrets), frozenset(secrets)


def _opened(value: Any, cipher: Cipher, secrets: set[str]) -> Any:
    if isinstance(value, Mapping):
        if is_sealed(value):
            return _open_one(value["value"], cipher, secrets)
        return {key: _opened(item, cipher, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_opened(item, cipher, secrets) for item in value]
    return value


def _open_one(sealed: str, cipher: Cipher, secrets: set[str]) -> Any:
    plain = cipher.open(sealed)
    if plain.startswith(_ENVELOPE):
        envelope = json.loads(plain)["headrace.sealed"]
        secrets.update(envelope["secrets"])
        return envelope["text"]
    text = plain.decode()
    secrets.add(text)
    return text


class Mask:
    """Replaces the secrets of a run in whatever would be logged."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Mask *secrets* too; of one with several lines each line, because logs are written by lines."""
        texts = set(self._secrets)
        for secret in secrets:
            texts.add(secret.strip())
            texts.update(line.strip() for line in secret.splitlines())
        # The longest first: a secret that contains another one must not leave its rest behind.
        self._secrets = tuple(sorted(texts - {""}, key=lambda text: (-len(text), text)))

    def __call__(self, text: str) -> str:
        """Return *text* with every secret in it replaced."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text
