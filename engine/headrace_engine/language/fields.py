"""What a pydantic class says about its fields, as the language needs it: names, markers, types in words."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from headrace_engine.language.markers import Holds, Verbatim
from headrace_engine.language.problems import listed
from headrace_engine.model.frozen import dataclass
from headrace_engine.plugin import Rendering, TaskRunnerProperties


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One property of a class."""

    name: str
    """As it is written in YAML."""
    other_names: tuple[str, ...]
    annotation: Any
    required: bool
    marker: Rendering | Verbatim | None
    holds: Holds | None
    deprecated: str | None
    info: FieldInfo


@lru_cache(maxsize=4096)
def fields_of(cls: type[BaseModel]) -> Mapping[str, FieldShape]:
    """Return the properties of *cls* by their YAML name."""
    shapes = {}
    for python_name, info in cls.model_fields.items():
        name, *others = _names(python_name, info)
        shapes[name] = FieldShape(
            name=name,
            other_names=tuple(others),
            annotation=info.annotation,
            required=info.is_required(),
            marker=next((item for item in info.metadata if isinstance(item, Rendering | Verbatim)), None)
            or _marker_within(info.annotation),
            holds=next((item for item in info.metadata if isinstance(item, Holds)), None)
            or _holds_within(info.annotation),
            deprecated=_deprecation(info),
            info=info,
        )
    return shapes


@lru_cache(maxsize=4096)
def names_of(cls: type[BaseModel]) -> Mapping[str, str]:
    """Return every accepted name of a property of *cls*, with the name it stands for."""
    names = {}
    for shape in fields_of(cls).values():
        names[shape.name] = shape.name
        for other in shape.other_names:
            names[other] = shape.name
    return names


def _deprecation(info: FieldInfo) -> str | None:
    if info.deprecated is True:
        return "see its description."
    return info.deprecated if isinstance(info.deprecated, str) else None


def _names(python_name: str, info: FieldInfo) -> list[str]:
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)] or [python_name]
    if isinstance(alias, str):
        return [alias]
    return [info.alias or python_name]


def _annotated_within(annotation: Any, kind: Any) -> Any:
    """Return a marker that stands in one branch of a union, such as ``TaskList | None``."""
    if get_origin(annotation) is Annotated:
        for item in get_args(annotation)[1:]:
            if isinstance(item, kind):
                return item
        return _annotated_within(get_args(annotation)[0], kind)
    if get_origin(annotation) in (Union, types.UnionType):
        for branch in get_args(annotation):
            found = _annotated_within(branch, kind)
            if found is not None:
                return found
    return None


def _marker_within(annotation: Any) -> Rendering | Verbatim | None:
    found: Rendering | Verbatim | None = _annotated_within(annotation, Rendering | Verbatim)
    return found


def _holds_within(annotation: Any) -> Holds | None:
    found: Holds | None = _annotated_within(annotation, Holds)
    return found


@lru_cache(maxsize=4096)
def branches(annotation: Any) -> tuple[Any, ...]:
    """Return the types that *annotation* allows, unions and annotations opened; None stays as NoneType."""
    origin = get_origin(annotation)
    if hasattr(annotation, "__value__"):  # a `type X = …` statement of Python 3.12
        return branches(annotation.__value__)
    if origin is Annotated:
        return branches(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(branch for member in get_args(annotation) for branch in branches(member))
    return (annotation,)


def is_model(branch: Any) -> bool:
    """True for a pydantic class."""
    return isinstance(branch, type) and issubclass(branch, BaseModel)


def is_runner(branch: Any) -> bool:
    """True for a field that takes a task runner, whose class is chosen by its ``type``."""
    return isinstance(branch, type) and issubclass(branch, TaskRunnerProperties)


def is_list(branch: Any) -> bool:
    """True for a list type of any kind."""
    origin = get_origin(branch) or branch
    return isinstance(origin, type) and issubclass(origin, list | tuple | set | frozenset)


def is_map(branch: Any) -> bool:
    """True for a map with free keys."""
    origin = get_origin(branch) or branch
    return isinstance(origin, type) and issubclass(origin, Mapping)


def choices(branch: Any) -> list[str] | None:
    """Return the values of an enumeration or literal type, as text."""
    if isinstance(branch, type) and issubclass(branch, Enum):
        return [str(member.value) for member in branch]
    if get_origin(branch) is Literal:
        return [str(value) for value in get_args(branch)]
    return None


_WORDS: dict[Any, str] = {
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    timedelta: "a duration such as `PT30S`",
    datetime: "a date and time such as `2025-01-31T10:00:00Z`",
    date: "a date such as `2025-01-31`",
    time: "a time such as `10:30:00`",
    Any: "any value",
    object: "any value",
}
_PLURALS = {
    "text": "texts",
    "an integer": "integers",
    "a number": "numbers",
    "a map": "maps",
    "any value": "any values",
}


def describe(annotation: Any) -> str:
    """Return in words what a value of this type looks like."""
    words: list[str] = []
    for branch in branches(annotation):
        word = _describe_branch(branch)
        if word and word not in words:
            words.append(word)
    if "any value" in words:
        return "any value"
    words.sort(key=lambda word: word.startswith("a list"))  # typing may hand out an equal union in another order
    return listed(words) or "nothing"


def _describe_branch(branch: Any) -> str:
    if branch is type(None):
        return ""
    if branch in _WORDS:
        return _WORDS[branch]
    names = choices(branch)
    if names is not None:
        return listed([f"`{name}`" for name in names])
    if is_list(branch):
        arguments = [argument for argument in get_args(branch) if argument is not Ellipsis]
        inner = describe(arguments[0]) if arguments else "any value"
        return "a list" if inner == "any value" else f"a list of {_PLURALS.get(inner, inner)}"
    if is_map(branch) or is_model(branch):
        return "a map"
    return "text"
