"""Secrets by namespace, in Secrets Manager or in Parameter Store, under ``<prefix>/<namespace>/<KEY>``.

A namespace has its own secrets and those of the namespaces above it; the nearest wins. Keys stand there in capitals.
What was found, or found missing, is remembered for a while, so that a wave of task runs asks once. No value is logged.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.ports import Clock, ContentError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient
    from mypy_boto3_ssm.client import SSMClient

_CACHED = 1024
_NAMES_A_CALL = 10
# No slash: a name from an expression must not lead out of its namespace.
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_KEY = re.compile(r"[A-Za-z0-9_.-]+")


class _NamedSecrets(ABC):
    """`Secrets` of a store that knows them by name. What it answers holds for *ttl*."""

    def __init__(self, prefix: str, clock: Clock, ttl: timedelta) -> None:
        self._prefix = prefix.rstrip("/")
        self._clock = clock
        self._ttl = ttl
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, str], tuple[datetime, str | None]] = OrderedDict()

    def get(self, namespace: str, key: str) -> str:
        """See `Secrets.get`."""
        value = None
        if _NAMESPACE.fullmatch(namespace) and _KEY.fullmatch(key):
            value = self._remembered(namespace, key.upper())
        if value is None:
            raise NotFoundError(f"Cannot find secret for key '{key}'.")
        return value

    def _remembered(self, namespace: str, key: str) -> str | None:
        now = self._clock.now()
        with self._lock:
            known = self._cache.get((namespace, key))
            if known is not None and now - known[0] < self._ttl:
                self._cache.move_to_end((namespace, key))
                return known[1]
        value = self._first([f"{self._prefix}/{ancestor}/{key}" for ancestor in _upwards(namespace)])
        with self._lock:
            self._cache[namespace, key] = (now, value)
            self._cache.move_to_end((namespace, key))
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return value

    def names(self, namespace: str) -> Sequence[str]:
        """See `Secrets.names`."""
        if not _NAMESPACE.fullmatch(namespace):
            return []
        folder = f"{self._prefix}/{namespace}/"
        return sorted(
            {name.removeprefix(folder) for name in self._below(folder) if _KEY.fullmatch(name[len(folder) :])}
        )

    @abstractmethod
    def _below(self, folder: str) -> Iterator[str]:
        """Yield the full names of the secrets in a folder."""

    @abstractmethod
    def _first(self, names: Sequence[str]) -> str | None:
        """Return the value of the first of *names* that has one."""


class SecretsManagerSecrets(_NamedSecrets):
    """Secrets in Secrets Manager."""

    def __init__(self, client: SecretsManagerClient, prefix: str, clock: Clock, ttl: timedelta) -> None:
        super().__init__(prefix, clock, ttl)
        self._client = client

    def _below(self, folder: str) -> Iterator[str]:
        start: dict[str, str] = {}
        while True:
            with calling("Secrets Manager", "ListSecrets"):
                page = self._client.list_secrets(Filters=[{"Key": "name", "Values": [folder]}], **start)  # type: ignore[arg-type]  # NextToken
            # The filter is one on words: it finds more than what begins so.
            yield from (each["Name"] for each in page["SecretList"] if each["Name"].startswith(folder))
            if not page.get("NextToken"):
                return
            start = {"NextToken": page["NextToken"]}

    def _first(self, names: Sequence[str]) -> str | None:
        for name in names:
            with calling("Secrets Manager", "GetSecretValue"):
                try:
                    answer = self._client.get_secret_value(SecretId=name)
                except ClientError as error:
                    if _is_absent(error):
                        continue
                    raise
            return _text(name, answer.get("SecretString"), answer.get("SecretBinary"))
        return None


class ParameterStoreSecrets(_NamedSecrets):
    """Secrets in Systems Manager's Parameter Store, as SecureString parameters: up to 4 KB, and free."""

    def __init__(self, client: SSMClient, prefix: str, clock: Clock, ttl: timedelta) -> None:
        super().__init__(prefix, clock, ttl)
        self._client = client

    def _below(self, folder: str) -> Iterator[str]:
        start: dict[str, str] = {}
        while True:
            with calling("SSM", "GetParametersByPath"):
                page = self._client.get_parameters_by_path(Path=folder, **start)  # type: ignore[arg-type]  # NextToken
            yield from (each["Name"] for each in page["Parameters"])
            if not page.get("NextToken"):
                return
            start = {"NextToken": page["NextToken"]}

    def _first(self, names: Sequence[str]) -> str | None:
        for start in range(0, len(names), _NAMES_A_CALL):
            some = names[start : start + _NAMES_A_CALL]
            with calling("SSM", "GetParameters"):
                answer = self._client.get_parameters(Names=list(some), WithDecryption=True)
            found = {parameter["Name"]: parameter["Value"] for parameter in answer["Parameters"]}
            for name in some:
                if name in found:
                    return found[name]
        return None


def _upwards(namespace: str) -> Iterator[str]:
    """Yield the namespace and those above it, the nearest first."""
    while namespace:
        yield namespace
        namespace = namespace.rpartition(".")[0]


def _is_absent(error: ClientError) -> bool:
    """Return whether there is no such secret, or only one that waits to be deleted for good."""
    code = error_code(error)
    return code == "ResourceNotFoundException" or (
        code == "InvalidRequestException" and "delet" in error.response.get("Error", {}).get("Message", "")
    )


def _text(name: str, text: str | None, binary: bytes | None) -> str:
    if text is not None:
        return text
    try:
        return (binary or b"").decode()
    except UnicodeDecodeError:
        raise ContentError(f"The secret {name} is binary, and not UTF-8 text") from None
