"""Which of a task's properties are rendered, and how, read from its class (reference §2.3).

The executor renders what a flow's author wrote; the class only says what must not be rendered
(Rendering.STATIC), what keeps its type (TYPED) and what the task renders itself (BY_TASK). A class is
looked at once; after that rendering a task costs a walk over its values.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from headrace_engine.plugin import Rendering

RenderText = Callable[[str], Any]
"""Renders one text. The result is a text, or the sealed form of one (headrace_engine.sealing)."""
RenderTyped = Callable[[str], Any]
"""Renders one text typed: a lone expression gives its object."""


@dataclass(slots=True)
class _Shape:
    """What a field's type means for rendering."""

    rendering: Rendering | None = None
    takes_text: bool = False
    takes_structure: bool = False
    takes_boolean: bool = False
    models: tuple[type[BaseModel], ...] = ()
    item: _Shape | None = None
    """Of a list's elements, a dict's values."""

    @property
    def parses_json(self) -> bool:
        return self.takes_structure and not self.takes_text


_ANYTHING = _Shape(takes_text=True, takes_structure=True, takes_boolean=True)


@dataclass(slots=True)
class _Plan:
    fields: dict[str, _Shape] = field(default_factory=dict)
    """By every name the field may be written under."""


def render_properties(
    cls: type[BaseModel],
    properties: Mapping[str, Any],
    render_text: RenderText,
    render_typed: RenderTyped,
) -> dict[str, Any]:
    """Return *properties*, as written in a flow, rendered for *cls*; what the callables raise passes through."""
    fields = _plan(cls).fields
    return {
        name: _render(fields.get(name, _ANYTHING), value, render_text, render_typed)
        for name, value in properties.items()
    }


def coerce_properties(cls: type[BaseModel], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return *properties* with JSON texts parsed where *cls* wants a list, map or model.

    render_properties does so already; this is for texts that were sealed then. Doing it twice changes nothing.
    """
    fields = _plan(cls).fields
    return {name: _coerce(fields.get(name, _ANYTHING), value) for name, value in properties.items()}


def _render(shape: _Shape, value: Any, text: RenderText, typed: RenderTyped) -> Any:
    if shape.rendering is not None:
        return _render_typed(value, text, typed) if shape.rendering is Rendering.TYPED else value
    if isinstance(value, str):
        rendered = text(value) if "{" in value else value
        return _parsed(rendered) if shape.parses_json and isinstance(rendered, str) else rendered
    if isinstance(value, Mapping):
        model = _model_for(shape, value)
        if model is not None:
            return render_properties(model, value, text, typed)
        item = shape.item or _ANYTHING
        return {_key(key, text): _render(item, element, text, typed) for key, element in value.items()}
    if isinstance(value, list | tuple):
        item = shape.item or _ANYTHING
        return [_render(item, element, text, typed) for element in value]
    return _scalar(shape, value)


def _scalar(shape: _Shape, value: Any) -> Any:
    """Return *value*, or for a field that takes texts only the text of a boolean (``format: true``)."""
    if isinstance(value, bool) and shape.takes_text and not shape.takes_boolean:
        return "true" if value else "false"
    return value


def _render_typed(value: Any, text: RenderText, typed: RenderTyped) -> Any:
    if isinstance(value, str):
        return typed(value) if "{" in value else value
    if isinstance(value, Mapping):
        return {_key(key, text): _render_typed(element, text, typed) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_render_typed(element, text, typed) for element in value]
    return value


def _key(key: Any, text: RenderText) -> Any:
    if not isinstance(key, str) or "{" not in key:
        return key
    rendered = text(key)
    if not isinstance(rendered, str):
        raise ValueError(f"The key `{key}` uses a secret; a secret can only stand in a value")
    return rendered


def _coerce(shape: _Shape, value: Any) -> Any:
    if shape.rendering in (Rendering.STATIC, Rendering.BY_TASK):
        return value
    if isinstance(value, str):
        return _parsed(value) if shape.parses_json else value
    if isinstance(value, Mapping):
        model = _model_for(shape, value)
        if model is not None:
            return coerce_properties(model, value)
        if shape.item is not None:
            return {key: _coerce(shape.item, element) for key, element in value.items()}
    elif isinstance(value, list | tuple) and shape.item is not None:
        return [_coerce(shape.item, element) for element in value]
    return _scalar(shape, value)


def _parsed(text: str) -> Any:
    """Return the list or map that *text* holds as JSON, or *text* itself: validation then says what was expected."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _model_for(shape: _Shape, value: Mapping[str, Any]) -> type[BaseModel] | None:
    if len(shape.models) < 2:
        return shape.models[0] if shape.models else None
    for model in shape.models:
        names = getattr(model, "TYPE", None), *getattr(model, "ALIASES", ())
        if value.get("type") in names:
            return model
    return next((model for model in shape.models if value.keys() <= _plan(model).fields.keys()), None)


@cache
def _plan(cls: type[BaseModel]) -> _Plan:
    plan = _Plan()
    for name, info in cls.model_fields.items():
        shape = _shape(info.annotation)
        shape.rendering = next((mark for mark in info.metadata if isinstance(mark, Rendering)), shape.rendering)
        for written in (name, info.alias, info.validation_alias):
            if isinstance(written, str):
                plan.fields[written] = shape
    return plan


def _shape(annotation: Any) -> _Shape:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        shape = _shape(inner)
        shape.rendering = next((mark for mark in metadata if isinstance(mark, Rendering)), shape.rendering)
        return shape
    if origin in (Union, types.UnionType):
        return _union([_shape(option) for option in get_args(annotation) if option is not type(None)])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _Shape(takes_structure=True, models=(annotation,))
    if annotation is Any or annotation is str or origin is typing.Literal:
        return _Shape(takes_text=True, takes_structure=annotation is Any, takes_boolean=annotation is not str)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _Shape(takes_structure=True, item=_shape(get_args(annotation)[1]))
    if isinstance(origin, type) and issubclass(origin, list | tuple | set | frozenset):
        return _Shape(takes_structure=True, item=_shape(get_args(annotation)[0]))
    if annotation in (dict, list):
        return _Shape(takes_structure=True)
    return _Shape(takes_boolean=annotation is bool)


def _union(options: list[_Shape]) -> _Shape:
    items = [option.item for option in options if option.item is not None]
    return _Shape(
        rendering=next((option.rendering for option in options if option.rendering is not None), None),
        takes_text=any(option.takes_text for option in options),
        takes_structure=any(option.takes_structure for option in options),
        takes_boolean=any(option.takes_boolean for option in options),
        models=tuple(model for option in options for model in option.models),
        item=items[0] if len(items) == 1 else (_union(items) if items else None),
    )
