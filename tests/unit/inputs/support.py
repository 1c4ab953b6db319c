"""What the tests of inputs share: the real expression engine, the real cipher, a folder for uploads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from headrace_engine.adapters.local.cipher import AesCipher
from headrace_engine.expressions import Expressions, NoHost
from headrace_engine.inputs import InputError, read_inputs, typed_inputs, validate_inputs
from headrace_engine.model.definition import InputDefinition
from headrace_engine.sealing import open_sealed

EXPRESSIONS = Expressions()
CIPHER = AesCipher(bytes(range(32)))
NOW = datetime(2024, 12, 20, 10, 11, 12, tzinfo=UTC)
REQUIRED: Any = object()


def render(template: str, variables: Mapping[str, Any]) -> Any:
    return EXPRESSIONS.render_typed(template, variables, NoHost(now=NOW))


def seal(text: str) -> str:
    return CIPHER.seal(text.encode())


def unseal(sealed: Mapping[str, Any]) -> Any:
    return open_sealed(sealed, CIPHER)[0]


@dataclass
class Store:
    """Keeps uploads in memory."""

    files: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, input_id: str, name: str, content: bytes | BinaryIO | Path) -> str:
        uri = f"kestra:///demo/flow/executions/1/inputs/{input_id}/{name}"
        assert isinstance(content, Path)
        assert uri not in self.files
        self.files[uri] = content.read_bytes()
        return uri


def define(
    kind: str,
    name: str = "x",
    *,
    defaults: Any = REQUIRED,
    required: bool = True,
    depends_on: Sequence[str] = (),
    condition: str | None = None,
    **options: Any,
) -> InputDefinition:
    return InputDefinition(
        id=name,
        type=kind,
        required=required,
        defaults=None if defaults is REQUIRED else defaults,
        has_defaults=defaults is not REQUIRED,
        depends_on=tuple(depends_on),
        condition=condition,
        options=options,
    )


def read(
    definitions: Sequence[InputDefinition],
    given: Mapping[str, Any],
    variables: Mapping[str, Any] | None = None,
    *,
    store: Store | None = None,
    key: bool = True,
) -> dict[str, Any]:
    return read_inputs(
        definitions,
        given,
        render=render,
        store_file=store if store is not None else Store(),
        seal=seal if key else None,
        variables=variables or {},
    )


def validate(
    definitions: Sequence[InputDefinition],
    given: Mapping[str, Any],
    variables: Mapping[str, Any] | None = None,
    *,
    store: Store | None = None,
) -> list[dict[str, Any]]:
    return validate_inputs(
        definitions,
        given,
        render=render,
        store_file=store if store is not None else Store(),
        seal=seal,
        variables=variables or {},
    )


def typed(definitions: Sequence[InputDefinition], stored: Mapping[str, Any]) -> Mapping[str, Any]:
    return typed_inputs(definitions, stored, unseal=unseal)


def refusal(
    definitions: Sequence[InputDefinition], given: Mapping[str, Any], variables: Mapping[str, Any] | None = None
) -> str:
    with pytest.raises(InputError) as refused:
        read(definitions, given, variables)
    return str(refused.value)
