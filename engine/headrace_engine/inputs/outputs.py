"""The outputs of a flow (reference §7): rendered when the execution ends, typed as inputs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace_engine.model.definition import OutputDefinition

from . import data
from .converters import Outside, Rules, Upload, convert, holds
from .problems import InputProblem, OutputError, Refused, output_problem
from .templates import each_text, prepared
from .view import nested


def read_outputs(
    definitions: Sequence[OutputDefinition],
    *,
    render_value: Callable[[Any], Any],
    seal: Callable[[str], str] | None,
) -> dict[str, Any]:
    """Return the outputs in their stored form, nested by the dots in their ids, without those that are null.

    An output that renders to an empty text, though its type has no empty value (an INT, say), is null: what null is
    when it is rendered to text. One with `required: false` is left out when it cannot be rendered.

    Args:
        definitions: the outputs of the flow.
        render_value: renders the texts in a value of the flow, at any depth, typed or to texts; raises ValueErrors.
        seal: encrypts a SECRET; None when no key is configured.

    Raises:
        OutputError: with every problem there is (trap 17: it makes the execution FAILED).
    """
    outside = Outside(store=_refuse_file, seal=seal, storage_only=True)
    problems: list[InputProblem] = []
    taken: dict[str, Any] = {}
    for definition in definitions:
        try:
            value = render_value(each_text(definition.value, prepared))
        except ValueError as error:
            if definition.required:
                message = f"Invalid value for output `{definition.id}`. Cause: {error}"
                problems.append(InputProblem(definition.id, message))
            continue
        if value is None or (value == "" and definition.type not in _MAY_BE_EMPTY):
            continue
        try:
            stored = convert(definition.type, value, _rules(definition, outside)).stored
        except Refused as refused:
            secret = holds(definition.type, definition.options, "SECRET")
            problems.append(output_problem(definition.id, refused, value, secret=secret))
            continue
        if stored is not None:
            taken[definition.id] = stored
    if problems:
        raise OutputError(problems)
    return nested(taken)


_MAY_BE_EMPTY = frozenset({"STRING", "SECRET"})


def _rules(definition: OutputDefinition, outside: Outside) -> Rules:
    values = definition.options.get("values")
    choices = None if values is None else [data.text(value) for value in values]
    return Rules(outside, definition.options, choices)


def _refuse_file(path: Path | Upload, name: str) -> str:
    del path, name
    raise Refused("it must be the URI of a file in internal storage, which begins with `kestra:///`")
