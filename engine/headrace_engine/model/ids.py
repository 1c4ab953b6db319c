"""Identifiers: 128 bits as 22 base-62 characters; random for people, derived from their cause for machines.

DESIGN §3.4 is the rule they follow.
"""

from __future__ import annotations

import hashlib
import secrets

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 22
# Two characters at a time halve the divisions; a fan-out of 10,000 derives 10,000 ids in one step.
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def _base62(number: int) -> str:
    pairs = []
    for _ in range(_LENGTH // 2):
        number, rest = divmod(number, 3844)
        pairs.append(_PAIRS[rest])
    return "".join(reversed(pairs))


def new_id() -> str:
    """Return a fresh random id of 22 characters."""
    return _base62(secrets.randbits(128))


def derived_id(*cause: str | int) -> str:
    """Return the id that *cause* always gives: the same parts, the same 22 characters."""
    text = "\x1f".join(map(str, cause)).encode()
    return _base62(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big"))


def id_for_key(namespace: str, flow_id: str, trigger_id: str, key: str) -> str:
    """Return the id of the execution that all events of a trigger with this idempotency key start, together."""
    return derived_id("trigger", namespace, flow_id, trigger_id, "key", key)


def derived_number(*cause: str | int) -> int:
    """Return a number from 0 to 2**64 - 1 that *cause* always gives, evenly spread over causes."""
    text = "\x1f".join(map(str, cause)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
