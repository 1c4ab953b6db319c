"""From what somebody gave to what an execution stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from headrace_engine.expressions import is_template
from headrace_engine.model.definition import InputDefinition
from headrace_engine.model.frozen import dataclass

from . import data
from .converters import Converted, Outside, Rules, Upload, convert, holds
from .problems import MASKED, InputError, InputProblem, Refused, input_problem
from .templates import each_text, prepared
from .view import nested

Render = Callable[[str, Mapping[str, Any]], Any]
"""Renders one template typed with these variables (the caller binds everything else); raises ValueErrors."""

StoreFile = Callable[[str, str, bytes | BinaryIO | Path | Upload], str]
"""Stores an uploaded file, given its input's id, its name and its content; returns its URI. Raises ValueError for an
upload that is not there any more."""

FindUpload = Callable[[str], Upload | None]
"""Returns the upload that a URI names, None for other files. Raises ValueError when it is not to be had."""

_NOTHING = Converted(None, None)


@dataclass(slots=True)
class _Reading:
    """What came of one input."""

    definition: InputDefinition
    given: Any = None
    value: Converted = _NOTHING
    enabled: bool = True
    is_default: bool = False
    choices: Sequence[str] | None = None
    problem: InputProblem | None = None

    @property
    def is_secret(self) -> bool:
        return holds(self.definition.type, self.definition.options, "SECRET")

    @property
    def is_file(self) -> bool:
        return holds(self.definition.type, self.definition.options, "FILE")


def read_inputs(
    definitions: Sequence[InputDefinition],
    given: Mapping[str, Any],
    *,
    render: Render,
    store_file: StoreFile,
    seal: Callable[[str], str] | None,
    find_upload: FindUpload = lambda _uri: None,
    variables: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Return the flat map {id: stored value} that the execution keeps.

    An input that is not given, has no default and is not required is stored as None; one whose `dependsOn` does not
    hold has no key. What no input declares is ignored. Files are stored only when every input can be taken, but for
    those that other inputs depend on.

    Args:
        definitions: the inputs of the flow, in the order they are declared.
        given: values by input id; the value of `a.b` may also stand under `b` in a map `a`.
        render: renders defaults, conditions and `expression`.
        store_file: stores an uploaded file.
        seal: encrypts a SECRET; None when no key is configured, which refuses every SECRET that is given.
        find_upload: finds what came before; without it there are no uploads.
        variables: what expressions see besides `inputs`.

    Raises:
        InputError: with every problem there is.
    """
    outside = _Doing(store_file, seal, find_upload)
    reader = _Reader(definitions, given, render=render, variables=variables, outside=outside)
    readings = reader.read()
    problems = [reading.problem for reading in readings if reading.problem is not None]
    if not problems:
        problems = [problem for reading in readings if (problem := reader.store_files(reading)) is not None]
    if problems:
        raise InputError(problems)
    return {reading.definition.id: reading.value.stored for reading in readings if reading.enabled}


def validate_inputs(
    definitions: Sequence[InputDefinition],
    given: Mapping[str, Any],
    *,
    render: Render,
    store_file: StoreFile,
    seal: Callable[[str], str] | None,
    find_upload: FindUpload = lambda _uri: None,
    variables: Mapping[str, Any] = {},
) -> list[dict[str, Any]]:
    """Return {id, value, enabled, isDefault, errors: [{message}]} for each input, as a form asks while it is filled.

    SELECT, MULTISELECT and ENUM have `choices` too: what there is to choose from, their `expression` rendered. The
    value of a SECRET is masked, that of an uploaded file its name. Takes the arguments of `read_inputs`, but stores
    nothing.
    """
    del store_file
    outside = _Doing(None, seal, find_upload)
    reader = _Reader(definitions, given, render=render, variables=variables, outside=outside)
    return [_answer(reading) for reading in reader.read()]


def _answer(reading: _Reading) -> dict[str, Any]:
    value = reading.value.stored
    if value is not None and reading.is_secret:
        value = [MASKED] * len(value) if isinstance(value, list) else MASKED
    answer = {
        "id": reading.definition.id,
        "value": value,
        "enabled": reading.enabled,
        "isDefault": reading.is_default,
        "errors": [] if reading.problem is None else [{"message": reading.problem.message}],
    }
    if reading.choices is not None:
        answer["choices"] = list(reading.choices)
    return answer


@dataclass(frozen=True, slots=True)
class _Doing:
    """What is done outside. Without *store_file* values are only checked."""

    store_file: StoreFile | None
    seal: Callable[[str], str] | None
    find_upload: FindUpload

    def for_input(self, input_id: str, *, stores: bool) -> Outside:
        """Return what is done for the values of one input; nothing is stored unless it *stores*."""
        store = _names(input_id, self.store_file) if stores and self.store_file is not None else _name_only
        seal = self.seal if self.store_file is not None or self.seal is None else _mask
        return Outside(store, seal, upload=self.find_upload)


class _Reader:
    """Takes the inputs of one execution, each after those it depends on."""

    def __init__(
        self,
        definitions: Sequence[InputDefinition],
        given: Mapping[str, Any],
        *,
        render: Render,
        variables: Mapping[str, Any],
        outside: _Doing,
    ) -> None:
        self._definitions = definitions
        self._given = given
        self._render = render
        self._variables = variables
        self._outside = outside
        self._needed = {name for definition in definitions for name in definition.depends_on}
        self._readings: dict[str, _Reading] = {}

    def read(self) -> list[_Reading]:
        """Return what came of each input, in the order they are declared."""
        for definition in _ordered(self._definitions):
            reading = self._readings[definition.id] = _Reading(definition)
            try:
                self._read_one(reading)
            except Refused as refused:
                reading.problem = input_problem(definition.id, refused, reading.given, secret=reading.is_secret)
        return [self._readings[definition.id] for definition in self._definitions]

    def _read_one(self, reading: _Reading) -> None:
        definition = reading.definition
        reading.given = self._given_value(definition.id)
        if not self._is_enabled(definition):
            reading.enabled = False
            return
        if definition.type in ("SELECT", "MULTISELECT", "ENUM") and (
            reading.given is not None or self._wants(definition)
        ):
            reading.choices = self._choices(definition)
        if reading.given is None:
            self._take_default(reading)
        if reading.given is not None:
            reading.value = self._convert(reading, stores=definition.id in self._needed)
        elif definition.required and not definition.has_defaults:
            raise Refused("it is required")

    def store_files(self, reading: _Reading) -> InputProblem | None:
        """Store the uploads of an input, if it has any that are not stored yet; return why that cannot be."""
        if (
            reading.is_file
            and reading.enabled
            and reading.given is not None
            and reading.definition.id not in self._needed
        ):
            try:
                reading.value = self._convert(reading, stores=True)
            except Refused as refused:
                return input_problem(reading.definition.id, refused, reading.given, secret=False)
        return None

    def _given_value(self, name: str) -> Any:
        """Return what was given for an input: under its id, or nested by the dots in it."""
        if name in self._given:
            return self._given[name]
        value: Any = self._given
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value

    # -- dependsOn

    def _is_enabled(self, definition: InputDefinition) -> bool:
        for name in definition.depends_on:
            needed = self._readings.get(name)
            if needed is None or not needed.enabled or needed.problem is not None:
                return False
        if definition.condition is None:
            return True
        try:
            return self._rendered(definition.condition, definition) is True
        except ValueError as error:
            raise Refused(f"its condition cannot be rendered ({error})") from None

    # -- defaults and choices

    def _wants(self, definition: InputDefinition) -> bool:
        """Return whether the choices of an input are asked for though no value was given."""
        only_checks = self._outside.store_file is None
        return only_checks or definition.has_defaults or bool(definition.options.get("autoSelectFirst"))

    def _take_default(self, reading: _Reading) -> None:
        definition = reading.definition
        if definition.has_defaults:
            try:
                reading.given = each_text(definition.defaults, lambda text: self._rendered(prepared(text), definition))
            except ValueError as error:
                raise Refused(f"its default cannot be rendered ({error})") from None
        elif reading.choices and definition.options.get("autoSelectFirst"):
            first = reading.choices[0]
            reading.given = [first] if definition.type == "MULTISELECT" else first
        if reading.given is None and definition.type == "BOOL":
            reading.given = False
        reading.is_default = reading.given is not None

    def _choices(self, definition: InputDefinition) -> Sequence[str] | None:
        values, expression = definition.options.get("values"), definition.options.get("expression")
        if expression is None:
            return None if values is None else [data.text(value) for value in values]
        try:
            found = self._rendered(expression, definition)
        except ValueError as error:
            raise Refused(f"its expression cannot be rendered ({error})") from None
        if isinstance(found, str):
            try:
                found = data.parse_json(found)
            except Refused:
                found = None
        if not data.is_list(found):
            raise Refused("its expression does not give a list")
        return [data.text(value) for value in found]

    # -- rendering

    def _rendered(self, template: str, definition: InputDefinition) -> Any:
        """Return *template* rendered typed; it sees the inputs that *definition* depends on."""
        if not is_template(template):
            return template
        variables = self._variables
        if definition.depends_on:
            seen = {name: self._readings[name].value.typed for name in definition.depends_on}
            variables = {**variables, "inputs": nested(seen)}
        return self._render(template, variables)

    # -- values

    def _convert(self, reading: _Reading, *, stores: bool) -> Converted:
        definition = reading.definition
        outside = self._outside.for_input(definition.id, stores=stores)
        return convert(definition.type, reading.given, Rules(outside, definition.options, reading.choices))


def _name_only(file: Path | Upload, name: str) -> str:
    del file
    return name


def _mask(text: str) -> str:
    del text
    return MASKED


def _names(input_id: str, store_file: StoreFile) -> Callable[[Path | Upload, str], str]:
    """Return what stores the files of one input, each under a name of its own."""
    taken: set[str] = set()

    def store(file: Path | Upload, name: str) -> str:
        free = next(tried for tried in _numbered(name) if tried not in taken)
        taken.add(free)
        try:
            return store_file(input_id, free, file)
        except ValueError as error:
            raise Refused(str(error)) from None

    return store


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{number}-{name}"


def _ordered(definitions: Sequence[InputDefinition]) -> Iterator[InputDefinition]:
    """Yield the definitions, each after those it depends on; a circle, refused when a flow is saved, comes last."""
    waiting = list(definitions)
    names = {definition.id for definition in definitions}
    done: set[str] = set()
    while waiting:
        ready = [one for one in waiting if all(name in done or name not in names for name in one.depends_on)]
        if not ready:
            yield from waiting
            return
        for one in ready:
            yield one
            done.add(one.id)
        waiting = [one for one in waiting if one.id not in done]
