"""Secrets from the environment and from a ``.env`` file, as Kestra reads them: ``SECRET_<KEY>``, in base64."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace_engine.ports import NotFoundError, PortError

_PREFIX = "SECRET_"

_log = logging.getLogger(__name__)

# NAME=value, value bare to the end of the line, or in quotes and then over as many lines as it likes.
_ASSIGNMENT = re.compile(
    r"""
    ^[ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_.-]*) [ \t]*=[ \t]*
    (?: "(?P<double>[^"]*)" | '(?P<single>[^']*)' | (?P<bare>[^\r\n]*) )
    """,
    re.VERBOSE | re.MULTILINE,
)


class EnvironmentSecrets:
    """`Secrets` of the variables ``SECRET_<KEY>`` in *environment* and in the file *dotenv*, for every namespace.

    The environment wins over the file. Values are base64, line breaks allowed; one that is not (or is no
    UTF-8) is left out with a warning that does not show it. Everything is read here, once; a *dotenv* that is
    not there counts as empty. Raises PortError when it cannot be read.
    """

    def __init__(self, environment: Mapping[str, str], dotenv: Path | None = None) -> None:
        variables = {**_read(dotenv), **environment}
        self._values: dict[str, str] = {}
        for name, encoded in variables.items():
            if not name.upper().startswith(_PREFIX):
                continue
            value = _decode(encoded)
            if value is None:
                _log.warning("%s is left out of the secrets: its value is not base64 of UTF-8 text", name)
            else:
                self._values[name[len(_PREFIX) :].upper()] = value

    def get(self, namespace: str, key: str) -> str:  # noqa: ARG002  # these secrets are those of every namespace
        """See `Secrets.get`."""
        try:
            return self._values[key.upper()]
        except KeyError:
            raise NotFoundError(f"Cannot find secret for key '{key}'.") from None

    def names(self, namespace: str) -> Sequence[str]:  # noqa: ARG002  # as above
        """See `Secrets.names`."""
        return sorted(self._values)


def _read(dotenv: Path | None) -> dict[str, str]:
    if dotenv is None:
        return {}
    try:
        text = dotenv.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PortError(f"{dotenv} cannot be read: {error}") from error
    return {match["name"]: _value(match) for match in _ASSIGNMENT.finditer(text)}


def _value(match: re.Match[str]) -> str:
    for quoted in ("double", "single"):
        if match[quoted] is not None:
            return str(match[quoted])
    return re.split(r"\s#", str(match["bare"]), maxsplit=1)[0].strip()


def _decode(encoded: str) -> str | None:
    """Return the text, or None. Padding may be missing, as for Kestra's decoder."""
    text = "".join(encoded.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
