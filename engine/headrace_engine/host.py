"""The outside as one step's expressions see it: expressions.Host on the ports, with the step's instant fixed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, BinaryIO

from headrace_engine.expressions import ExpressionError
from headrace_engine.model.ids import new_id
from headrace_engine.plugin import TaskFailure
from headrace_engine.ports import Level, NotFoundError
from headrace_engine.resume_links import PATH
from headrace_engine.run_stores import RunFiles, RunKV, file_policy, namespace_folder
from headrace_engine.sealing import is_sealed, open_sealed
from headrace_engine.services import Settings, Stores

_random = random.Random()  # noqa: S311 - randomInt() and the like, never a secret


class StepHost:
    """Implements expressions.Host. `secrets_used` says which secret texts were handed out since it was last cleared."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        *,
        namespace: str,
        flow_id: str,
        execution_id: str,
        now: datetime,
        parent_id: str | None = None,
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._namespace = namespace
        self._flow_id = flow_id
        self._execution_id = execution_id
        self._now = now
        self._parent_id = parent_id
        self.secrets_used: set[str] = set()
        self.errors_in_hand: Callable[[], list[dict[str, Any]]] = list
        """What errorLogs() says of the step that is being decided: the store gets its lines with its entry."""
        self.make_resume_key: Callable[[Mapping[str, Any]], str] | None = None
        """Makes the key of a link to a Pause, for a task run."""

    def now(self) -> datetime:
        return self._now

    def new_id(self) -> str:
        return new_id()

    def random(self) -> random.Random:
        return _random

    def secret(self, key: str, namespace: str | None) -> str:
        try:
            value = self._stores.secrets.get(self._reached(namespace), key)
        except NotFoundError:
            raise ExpressionError(f"Cannot find secret for key '{key}'.") from None
        self.secrets_used.add(value)
        return value

    def opened(self, value: Mapping[str, Any]) -> Any:
        if not is_sealed(value):
            return value
        clear, secrets = open_sealed(value, self._stores.cipher)
        self.secrets_used |= secrets
        return clear

    def kv(self, key: str, namespace: str | None, error_on_missing: bool) -> Any:  # noqa: FBT001 - agreed signature
        namespace = self._reached(namespace)
        try:
            return RunKV(self._stores.kv, self._stores.clock, namespace).get(key)
        except KeyError:
            if error_on_missing:
                message = f"The key '{key}' does not exist in the namespace '{namespace}'."
                raise ExpressionError(message) from None
            return None

    def read(self, uri_or_path: str) -> bytes:
        uri = self._uri(uri_or_path)
        try:
            with self._files().open(uri) as file:
                return file.read()
        except TaskFailure as failure:
            raise ExpressionError(str(failure)) from None

    def open(self, uri: str) -> BinaryIO:
        """Open a stored file for reading. Raises ExpressionError."""
        try:
            return self._files().open(uri)
        except TaskFailure as failure:
            raise ExpressionError(str(failure)) from None

    def file_size(self, uri_or_path: str) -> int:
        try:
            return self._files().size(self._uri(uri_or_path))
        except TaskFailure as failure:
            raise ExpressionError(str(failure)) from None

    def file_exists(self, uri_or_path: str) -> bool:
        try:
            return self._files().exists(self._uri(uri_or_path))
        except TaskFailure as failure:
            raise ExpressionError(str(failure)) from None

    def file_uri(self, path: str) -> str:
        parts = path.strip("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ExpressionError(f"`{path}` is not a path inside the namespace's files")
        return f"kestra://{namespace_folder(self._namespace)}/_files/{'/'.join(parts)}"

    def error_logs(self) -> list[dict[str, Any]]:
        stored = self._stores.logs.fetch(self._execution_id, min_level=Level.ERROR)
        return [{"taskId": line.task_id, "message": line.message} for line in stored] + self.errors_in_hand()

    def resume_url(self, asked: Mapping[str, Any]) -> str:
        if self.make_resume_key is None:
            raise ExpressionError("The function resumeUrl() is only available in the properties of a task")
        address = self._settings.surroundings.url.rstrip("/")
        if not address:
            raise ExpressionError(
                "The function resumeUrl() needs to know where people find this server: start `headrace server`, "
                "or set `url`"
            )
        key = self.make_resume_key(asked)
        self.secrets_used.add(key)
        return f"{address}{PATH}{key}"

    def http(self, request: Mapping[str, Any]) -> Any:
        if self._settings.http is None:
            raise ExpressionError("The function http() is not available here")
        return self._settings.http(request)

    def _reached(self, namespace: str | None) -> str:
        own = self._namespace
        if namespace in (None, "", own):
            return own
        if not self._settings.may_reach(own, str(namespace)):
            raise ExpressionError(f"The namespace '{own}' may not reach the namespace '{namespace}'")
        return str(namespace)

    def _uri(self, uri_or_path: str) -> str:
        return uri_or_path if "://" in uri_or_path else self.file_uri(uri_or_path)

    def _files(self) -> RunFiles:
        return RunFiles(
            self._stores.storage,
            self._stores.clock,
            namespace=self._namespace,
            flow_id=self._flow_id,
            execution_id=self._execution_id,
            task_id="",
            task_run_id="",
            attempt=0,
            policy=file_policy(self._settings, self._namespace),
        )
