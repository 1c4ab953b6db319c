"""Reads the inputs and labels that a command line gives: ``name=value``, ``name=@path``, a file of values."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace_cli.errors import ProblemsError, UserError
from headrace_cli.flow_files import read

if TYPE_CHECKING:
    from headrace_engine.inputs.problems import InputError
    from headrace_engine.model.definition import FlowDefinition, InputDefinition


def pairs(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    """Return ``name=value`` texts as a map (a click callback). No name may come twice."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"`{text}` is not of the form name=value.", context, parameter)
        if name in found:
            raise click.BadParameter(f"`{name}` is given twice.", context, parameter)
        found[name] = value
    return found


def files(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> dict[str, Path]:
    """Return ``name=@path`` or ``name=path`` texts as a map (a click callback). The files must exist."""
    found = {name: Path(value.removeprefix("@")) for name, value in pairs(context, parameter, given).items()}
    for name, path in found.items():
        if not path.is_file():
            raise click.BadParameter(f"`{name}`: there is no file {path}.", context, parameter)
    return found


_OPTIONS = (
    click.option("--input", "-i", "given", metavar="NAME=VALUE", multiple=True, callback=pairs, help="An input."),
    click.option(
        "--input-file",
        "-f",
        "files",
        metavar="NAME=@PATH",
        multiple=True,
        callback=files,
        help="A file for a FILE input.",
    ),
    click.option(
        "--inputs",
        "inputs_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="A JSON or YAML file with a map of inputs.",
    ),
)


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Have a command take inputs: as `given`, `files` and `inputs_file`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def values(path: Path) -> dict[str, Any]:
    """Return the inputs that a JSON or YAML file holds: a map of names to values.

    YAML is read as in flows: dates stay texts, ``on`` and ``yes`` are no truth values.
    """
    text = read(path)
    loaded = _json(text, path) if path.suffix.lower() == ".json" else _yaml(text, path)
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path}: a map of input names to values is expected.")
    return dict(loaded)


def check_names(given: Iterable[str], known: Sequence[str], flow: str) -> None:
    """Raise UserError for names among *given* that the flow has no input of."""
    from headrace_engine.language.problems import did_you_mean  # noqa: PLC0415 - the language takes its time to load

    unknown = [name for name in given if name not in known]
    if unknown:
        has = f"Its inputs are {', '.join(known)}." if known else "It has no inputs."
        raise UserError(
            "\n".join(f"{flow} has no input `{name}`.{did_you_mean(name, known) or f' {has}'}" for name in unknown)
        )


def told(error: InputError, flow: FlowDefinition, given: Collection[str]) -> str:
    """Return why inputs are not taken, a line each, and of those that nobody gave how to give them."""
    options = {each.id: _option(each) for each in flow.inputs}
    return "\n".join(
        problem.message
        if problem.input_id in given or problem.input_id not in options
        else f"{problem.message}. Give it with {options[problem.input_id]}"
        for problem in error.problems
    )


def _option(known: InputDefinition) -> str:
    return f"--input-file {known.id}=@PATH" if known.type == "FILE" else f"--input {known.id}=VALUE"


def _json(text: str, path: Path) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: no JSON: {error}") from None


def _yaml(text: str, path: Path) -> object:
    from headrace_engine.language.nodes import plain  # noqa: PLC0415 - the language takes its time to load
    from headrace_engine.language.problems import FlowError  # noqa: PLC0415 - as above
    from headrace_engine.language.yaml_reader import read_documents  # noqa: PLC0415 - as above

    try:
        documents = read_documents(text, str(path))
    except FlowError as error:
        raise ProblemsError(error.problems) from None
    return plain(documents[0]) if len(documents) == 1 else None
