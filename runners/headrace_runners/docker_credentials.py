"""What a registry is shown so that it gives away an image: from the task, or as Docker's own client finds it.

Docker's `config.json` has credentials itself (`auths`), or names a program that keeps them: one for each registry
(`credHelpers`), or one for all (`credsStore`). Such a program, `docker-credential-NAME`, is asked as Docker asks it.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headrace_engine.plugin import TaskFailure
from headrace_runners.docker import Docker

HUB = "https://index.docker.io/v1/"
"""The registry of images that name none."""
_HELPER = re.compile(r"[\w.-]+")
_PATIENCE = 60.0
"""Seconds that a helper may take: it may ask a cloud."""
_A_TOKEN = "<token>"  # noqa: S105 - what a helper says in the user's place
_NONE_KEPT = "credentials not found"
"""What a helper says of a registry that it knows nothing of; it ends with 1 then, as when it fails."""


def registry_credentials(given: Docker, image: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the image's registry is to be shown: `credentials`, else what `config` or the machine's own has.

    Raises TaskFailure for what cannot be read, and for a helper that is not there or fails.
    """
    registry = registry_of(image)
    if given.credentials is not None:
        told = given.credentials
        username, password = told.username, told.password
        if told.auth and not username:
            username, password = _basic(told.auth)
        return _texts(
            serveraddress=told.registry or registry,
            username=username,
            password=password,
            registrytoken=told.registry_token,
            identitytoken=told.identity_token,
        )
    config = _configuration(given.config, environment)
    helper = _of_registry(config.get("credHelpers"), registry) or config.get("credsStore")
    kept = _kept(str(helper), registry, environment) if helper else {}
    if kept:
        return kept
    entry = _of_registry(config.get("auths"), registry)
    if not isinstance(entry, Mapping):
        return {}
    username, password = entry.get("username"), entry.get("password")
    if entry.get("auth") and not username:
        username, password = _basic(str(entry["auth"]))
    return _texts(
        serveraddress=registry, username=username, password=password, identitytoken=entry.get("identitytoken")
    )


def registry_of(image: str) -> str:
    """Return the registry that an image's name begins with; Docker's own when it names none."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB


def _kept(helper: str, registry: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the credential helper of that name keeps for the registry; empty for nothing."""
    name = f"docker-credential-{helper}"
    program = shutil.which(name, path=environment.get("PATH")) if _HELPER.fullmatch(helper) else None
    if program is None:
        raise TaskFailure(
            f"The Docker configuration leaves the credentials of {registry} to `{name}`, and there is no such program: "
            "install it where Headrace runs, take `credsStore` or `credHelpers` out of the configuration, or give "
            "`credentials` to the task runner"
        )
    try:
        ended = subprocess.run(  # noqa: S603 - the program that the configuration names, as Docker's client runs it
            [program, "get"],
            input=registry.encode(),
            capture_output=True,
            env=environment,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TaskFailure(f"`{name}` gave no credentials of {registry}: {type(error).__name__}") from None
    said = ended.stdout.decode(errors="replace").strip()
    if ended.returncode != 0 and _NONE_KEPT in said:
        return {}
    with suppress(ValueError):
        told = json.loads(said) if ended.returncode == 0 else None
        if isinstance(told, Mapping) and told.get("Secret"):
            username, secret = told.get("Username"), told["Secret"]
            if username == _A_TOKEN:
                return _texts(serveraddress=registry, identitytoken=secret)
            return _texts(serveraddress=registry, username=username, password=secret)
    # What it says when all is well may hold a secret.
    why = (said or ended.stderr.decode(errors="replace").strip())[:500] if ended.returncode else "no JSON with a Secret"
    raise TaskFailure(f"`{name}` gave no credentials of {registry}: {why}")


def _configuration(config: str | Mapping[str, Any] | None, environment: Mapping[str, str]) -> Mapping[str, Any]:
    told: Any = config
    if told is None:
        folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME", "/"), ".docker"))
        with suppress(OSError):
            told = Path(folder, "config.json").read_text(encoding="utf-8")
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError as error:
            raise TaskFailure(f"The Docker configuration is not JSON: {error}") from None
    return told if isinstance(told, Mapping) else {}


def _of_registry(entries: Any, registry: str) -> Any:
    """Return what *entries* have for the registry, by its host, however they write it; None for nothing."""
    found = entries if isinstance(entries, Mapping) else {}
    return next((found[name] for name in found if _host(str(name)) == _host(registry)), None)


def _host(registry: str) -> str:
    host = registry.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def _basic(auth: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(auth).decode().partition(":")
    except ValueError:
        raise TaskFailure("`auth` of the registry's credentials is not `user:password` in Base64") from None
    return username, password


def _texts(**values: Any) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}
