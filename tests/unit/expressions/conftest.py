"""Shared by the tests of expressions: a host with an outside made of dicts, and short ways to render."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace_engine.expressions import ExpressionError, Expressions, NoHost


class OutsideHost(NoHost):
    """A host whose secrets, keys, files and answers are written here."""

    def __init__(self) -> None:
        super().__init__(datetime(2024, 7, 9, 6, 17, 1, 171193, tzinfo=UTC), seed=7)
        self.requests: list[dict[str, Any]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.files: dict[str, bytes] = {
            "a.txt": b"hello",
            "empty.txt": b"",
            "data.ion": b"{a:1}\n{a:2}\n",
            "binary.ion": b"\xe0\x01\x00\xea\x21\x07",
            "image.png": b"\xff\xfe\xfd",
        }

    def secret(self, key: str, namespace: str | None) -> str:
        self.asked.append(("secret", key, namespace))
        secrets = {"TOKEN": "s3cret", "DB": '{"user": "me", "port": 5432}'}
        if key not in secrets:
            raise ExpressionError(f"Cannot find secret for key '{key}'.")
        return secrets[key]

    def kv(self, key: str, namespace: str | None, error_on_missing: bool) -> Any:
        self.asked.append(("kv", key, namespace, error_on_missing))
        if key == "config":
            return {"a": [1, 2]}
        if error_on_missing:
            raise ExpressionError(f"The key '{key}' does not exist in the namespace '{namespace or 'demo'}'.")
        return None

    def read(self, uri_or_path: str) -> bytes:
        if uri_or_path not in self.files:
            raise ExpressionError(f"Unable to read the file '{uri_or_path}'")
        return self.files[uri_or_path]

    def file_size(self, uri_or_path: str) -> int:
        return len(self.read(uri_or_path))

    def file_exists(self, uri_or_path: str) -> bool:
        return uri_or_path in self.files

    def file_uri(self, path: str) -> str:
        return f"kestra:///demo/_files/{path}"

    def error_logs(self) -> list[dict[str, Any]]:
        return [{"taskId": "fail", "message": "went wrong"}]

    def http(self, request: Mapping[str, Any]) -> Any:
        self.requests.append(dict(request))
        return [{"slug": "beauty"}, {"slug": "books"}]


@pytest.fixture(scope="session")
def expressions() -> Expressions:
    """The engine most tests share; it holds nothing but compiled templates."""
    return Expressions()


@pytest.fixture
def host() -> OutsideHost:
    """A fresh outside."""
    return OutsideHost()


@pytest.fixture
def render(expressions: Expressions, host: OutsideHost) -> Callable[..., str]:
    """Render a template with keyword arguments as variables."""

    def run(template: str, /, **variables: Any) -> str:
        return expressions.render(template, variables, host)

    return run


@pytest.fixture
def value(expressions: Expressions, host: OutsideHost) -> Callable[..., Any]:
    """Return the typed value of an expression without its braces."""

    def run(expression: str, /, **variables: Any) -> Any:
        return expressions.render_typed("{{ " + expression + " }}", variables, host)

    return run


@pytest.fixture
def error(expressions: Expressions, host: OutsideHost) -> Callable[..., ExpressionError]:
    """Return the error that rendering a template ends in."""

    def run(template: str, /, **variables: Any) -> ExpressionError:
        with pytest.raises(ExpressionError) as caught:
            expressions.render(template, variables, host)
        return caught.value

    return run
