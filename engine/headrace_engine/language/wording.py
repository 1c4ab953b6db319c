"""pydantic's errors in the words of the flow language."""

from __future__ import annotations

from typing import Any, get_args

from headrace_engine.language.fields import branches, choices, describe, fields_of, is_list, is_map, is_model
from headrace_engine.language.nodes import Entries, Items, Node, Scalar
from headrace_engine.language.problems import did_you_mean, listed

_LONGEST_SHOWN = 60


def show(node: Node | None) -> str:
    """Return in words what stands at *node*."""
    match node:
        case None:
            return "nothing"
        case Items():
            return "a list"
        case Entries():
            return "a map"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=str()):
            text = node.text.strip().replace("\n", " ")
            shown = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
            return f"the text `{shown}`" if shown else "an empty text"
        case _:
            return f"`{node.text}`" if isinstance(node, Scalar) else "something else"


def expected(annotation: Any, node: Node | None) -> str:
    """Return the sentence for a value that is not of the type *annotation*."""
    names = [name for branch in branches(annotation) for name in choices(branch) or ()]
    if names and isinstance(node, Scalar) and node.value is not None:
        only_names = all(choices(branch) or branch is type(None) for branch in branches(annotation))
        if only_names:
            listing = listed([f"`{name}`" for name in names])
            one_of = "one of " if len(names) > 1 else ""
            return f"Expected {one_of}{listing}, got `{node.text[:80]}`.{did_you_mean(node.text, names)}"
    return f"Expected {describe(annotation)}, got {show(node)}."


def message_for(error: Any, annotation: Any, node: Node | None) -> str | None:
    """Return the sentence for one entry of ``ValidationError.errors()`` about a value of type *annotation*.

    None: the entry is a union's branch that the value was not meant for.
    """
    context = error.get("ctx") or {}
    shown = show(node)
    match error["type"]:
        case "value_error" | "assertion_error":
            text = str(context.get("error") or error["msg"])
            return text if text.endswith((".", "?", "!")) else text[:1].upper() + text[1:] + "."
        case "greater_than":
            return f"Must be greater than {context['gt']}, got {shown}."
        case "greater_than_equal":
            return f"Must be at least {context['ge']}, got {shown}."
        case "less_than":
            return f"Must be less than {context['lt']}, got {shown}."
        case "less_than_equal":
            return f"Must be at most {context['le']}, got {shown}."
        case "string_too_short" | "too_short":
            least = context["min_length"]
            return "Must not be empty." if least == 1 else f"Must have at least {least} {_parts(error['type'])}."
        case "string_too_long" | "too_long":
            return f"Must have at most {context['max_length']} {_parts(error['type'])}."
        case "string_pattern_mismatch":
            return f"Must match `{context['pattern']}`, got {shown}."
        case _:
            return None if _has_right_shape(annotation, node) else expected(annotation, node)


def _has_right_shape(annotation: Any, node: Node | None) -> bool:
    """True for a list or map where a branch of the type takes one: that branch's own errors say more."""
    if isinstance(node, Items):
        return any(is_list(branch) for branch in branches(annotation))
    return isinstance(node, Entries) and any(is_map(branch) or is_model(branch) for branch in branches(annotation))


def _parts(kind: str) -> str:
    return "characters" if kind.startswith("string") else "items"


def annotation_at(annotation: Any, location: tuple[str | int, ...], node: Node) -> tuple[Any, Node, bool]:
    """Follow pydantic's *location* below a value of type *annotation* that is written at *node*.

    Returns the type and the node it leads to, and whether the location ends on a property that is missing.
    Steps that name a branch of a union, and so lead to no key or item, are passed over.
    """
    for step in location:
        below = _child(node, step)
        if below is None:
            if (
                step == location[-1]
                and isinstance(step, str)
                and isinstance(node, Entries)
                and _has_field(annotation, step)
            ):
                return annotation, node, True
            continue
        annotation = _type_below(annotation, step, node)
        node = below
    return annotation, node, False


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node, Entries):
        return node.entries.get(str(step))
    if isinstance(node, Items) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def _has_field(annotation: Any, name: str) -> bool:
    return any(is_model(branch) and name in fields_of(branch) for branch in branches(annotation))


def _type_below(annotation: Any, step: str | int, node: Node) -> Any:
    for branch in branches(annotation):
        if isinstance(node, Entries) and is_model(branch) and step in fields_of(branch):
            return fields_of(branch)[str(step)].annotation
        if isinstance(node, Entries) and is_map(branch):
            arguments = get_args(branch)
            return arguments[1] if len(arguments) == 2 else Any
        if isinstance(node, Items) and is_list(branch):
            arguments = get_args(branch)
            return arguments[0] if arguments else Any
    return Any
