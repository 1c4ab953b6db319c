"""Which server is asked, and as whom: by option, by environment variable, in the file `client.yaml`.

The file lies in the folder ``headrace`` of the person's configuration (``~/.config``, or ``$XDG_CONFIG_HOME``). Its
credentials are for its own server: another one never gets to see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_cli import inputs
from headrace_cli.api_client import SERVER
from headrace_cli.errors import UserError
from headrace_cli.submit import CREDENTIALS, TOKEN

DEFAULT = "http://127.0.0.1:8080"
"""Where `headrace server` serves unless it is told otherwise."""
_KEYS = ("server", "token", "user")


@dataclass(frozen=True, slots=True)
class Whom:
    """A server, and what is shown to it."""

    address: str
    credentials: Mapping[str, str]
    """As in an environment: TOKEN, or CREDENTIALS, or nothing."""


def whom(server: str | None, token: str | None, user: str | None, environment: Mapping[str, str]) -> Whom:
    """Return which server to ask. Raises UserError for what is no address, and for a file that says something else."""
    said = _file(environment)
    address = server or environment.get(SERVER) or said.get("server") or DEFAULT
    if not address.startswith(("http://", "https://")):
        raise UserError(f"`{address}` is no address of a server: it begins with http:// or https://.")
    address = address.rstrip("/")
    given = {TOKEN: token, CREDENTIALS: user} if token or user else {key: environment.get(key) for key in _VARIABLES}
    if not any(given.values()) and address == said.get("server", DEFAULT).rstrip("/"):
        given = {TOKEN: said.get("token"), CREDENTIALS: said.get("user")}
    return Whom(address, {key: value for key, value in given.items() if value})


_VARIABLES = (TOKEN, CREDENTIALS)


def _file(environment: Mapping[str, str]) -> Mapping[str, str]:
    from headrace_engine.language.problems import did_you_mean  # noqa: PLC0415 - the language takes its time to load

    home = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".config"
    path = Path(home) / "headrace" / "client.yaml"
    if not path.is_file():
        return {}
    said = inputs.values(path)
    for name, value in said.items():
        if name not in _KEYS:
            hint = did_you_mean(name, _KEYS) or f" It may have {', '.join(_KEYS)}."
            raise UserError(f"{path}: there is no key `{name}`.{hint}")
        if not isinstance(value, str):
            raise UserError(f"{path}: `{name}` is a text.")
    return said
