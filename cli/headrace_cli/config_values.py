"""Reads the values of configuration keys: each function returns the value, or raises ValueError with what it should be.

What they are given was written in a file (numbers, maps, lists) or in a variable or an option (text).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from headrace_engine.plugin import format_duration, parse_duration

MASK = "********"
"""What is shown of a secret."""
_SECRET = re.compile(r"pass|secret|token|credential|api.?key|private.?key", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def text(value: Any) -> str:
    """Read text."""
    if not isinstance(value, str | int | float) or isinstance(value, bool) or str(value).strip() == "":
        raise ValueError("a text")
    return str(value)


def path(value: Any) -> Path:
    """Read the path of a file or folder."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a path")
    return Path(value).expanduser()


def address(value: Any) -> str:
    """Read an address of the web."""
    found = urlsplit(value) if isinstance(value, str) else None
    if found is None or found.scheme not in ("http", "https") or not found.netloc:
        raise ValueError("an address such as https://flows.example.org")
    return str(value).rstrip("/")


def addresses(value: Any) -> tuple[str, ...]:
    """Read addresses of the web: a list, or a text with commas."""
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, Sequence):
        raise ValueError("a list of addresses such as https://flows.example.org")
    return tuple(address(each.strip() if isinstance(each, str) else each) for each in found)


def port(value: Any) -> int:
    """Read a port's number."""
    number = _whole(value)
    if number is None or not 0 <= number <= 65535:
        raise ValueError("a whole number from 0 to 65535")
    return number


def count(value: Any) -> int:
    """Read how many."""
    number = _whole(value)
    if number is None or number < 1:
        raise ValueError("a whole number from 1 on")
    return number


def switch(value: Any) -> bool:
    """Read whether something is on."""
    if isinstance(value, bool):
        return value
    if str(value).strip().lower() not in ("true", "false"):
        raise ValueError("true or false")
    return str(value).strip().lower() == "true"


def size(value: Any) -> int:
    """Read a number of bytes."""
    match = re.fullmatch(r"(\d{1,12}) ?([kmg]?)(?:i?b)?", str(value).strip().lower())
    if isinstance(value, bool) or match is None or int(match[1]) < 1:
        raise ValueError("a number of bytes, such as 64MB or 65536")
    return int(match[1]) * _UNITS[match[2]]


def duration(value: Any) -> timedelta:
    """Read a length of time: of seconds, or as ISO 8601 writes it."""
    try:
        return timedelta(seconds=float(value)) if _is_number(value) else parse_duration(str(value))
    except (ValueError, OverflowError):
        raise ValueError("a length of time, such as PT30S, or a number of seconds") from None


def seconds(length: timedelta) -> float:
    """Return a length of time in seconds."""
    return length.total_seconds()


def mapping(value: Any) -> Mapping[str, Any]:
    """Read a map."""
    found = _structure(value)
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ValueError("a map of names to values")
    return found


def defaults(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Read plugin defaults: a list of maps with type and values."""
    found = _structure(value)
    if not isinstance(found, Sequence) or isinstance(found, str) or not all(_is_default(each) for each in found):
        raise ValueError("a list of maps with `type`, `values` and perhaps `forced`")
    return tuple(found)


def prefixes(value: Any) -> tuple[str, ...]:
    """Read prefixes of variables: a list, or a text with commas."""
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, Sequence) or not all(isinstance(each, str) and each.strip() for each in found):
        raise ValueError("a list of prefixes, such as ENV_")
    return tuple(each.strip() for each in found)


def credentials(value: Any) -> tuple[str, str] | None:
    """Read user and password: as ``user:password``, or as Kestra's map, where it is enabled."""
    if isinstance(value, Mapping):
        if value.get("enabled", True) is False:
            return None
        user, password = str(value.get("username") or ""), str(value.get("password") or "")
    elif isinstance(value, str):
        user, _, password = value.partition(":")
    else:
        user = password = ""
    if not user or not password:
        raise ValueError("user:password")
    return user, password


def encryption_key(value: Any) -> str:
    """Read a key: 32 bytes in base64."""
    try:
        raw = base64.b64decode("".join(str(value).split()), validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("32 bytes in base64 (openssl rand -base64 32)")
    return str(value)


def only(*allowed: str) -> Callable[[Any], str]:
    """Return what reads one of a few words."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(" or ".join(allowed))
        return str(value)

    return read


def plain(value: Any) -> Any:
    """Return a value as JSON can have it, with what lies under the name of a secret masked."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Mapping):
        return {name: MASK if _SECRET.search(name) else plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _is_number(value: Any) -> bool:
    is_written = isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value) is not None
    return is_written or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,18}", str(value), re.ASCII):
        return None
    return int(value)


def _structure(value: Any) -> Any:
    """Return a map or a list, also where it stands in a variable as YAML."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return None


def _is_default(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("type"), str)
        and isinstance(value.get("values", {}), Mapping)
        and value.keys() <= {"type", "values", "forced"}
    )
