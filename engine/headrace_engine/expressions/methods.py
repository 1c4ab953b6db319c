"""Java's methods that templates of Kestra call: `value.size()`, `text.toUpperCase()`, `map.get('a')`.

Only these, on texts, lists and maps; each does what its name does in Java, and none reaches a Python object. Null has
no methods: it is missing, as for a member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import operators, regex, values
from .context import Evaluation
from .errors import ExpressionError
from .registry import expression_method, integer, text


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _none(value, name)
    return value


def _map(value: Any, name: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _none(value, name)
    return value


def _none(value: Any, name: str) -> ExpressionError:
    return ExpressionError(f"A {values.class_name(value)} has no method `{name}`; use a filter")


@expression_method("size")
def size(context: Evaluation, value: Any) -> int:
    """Return how many items a list or map has."""
    del context
    if isinstance(value, Mapping) or values.is_list(value):
        return len(value)
    raise _none(value, "size")


@expression_method("length")
def length(context: Evaluation, value: Any) -> int:
    """Return how many characters a text has."""
    del context
    return len(_text(value, "length"))


@expression_method("isEmpty")
def is_empty(context: Evaluation, value: Any) -> bool:
    """Return whether a text, list or map has nothing in it."""
    del context
    if isinstance(value, str | Mapping) or values.is_list(value):
        return len(value) == 0
    raise _none(value, "isEmpty")


@expression_method("isBlank")
def is_blank(context: Evaluation, value: Any) -> bool:
    """Return whether a text has nothing but white space."""
    del context
    return not _text(value, "isBlank").strip()


@expression_method("toString")
def to_string(context: Evaluation, value: Any) -> str:
    """Return the text that a template prints."""
    return values.text_of(value, context.budget)


@expression_method("equals", "other")
def equals(context: Evaluation, value: Any, other: Any) -> bool:
    """Return whether it equals another value."""
    return values.equals(value, other, context.budget)


@expression_method("equalsIgnoreCase", "other")
def equals_ignore_case(context: Evaluation, value: Any, other: Any) -> bool:
    """Return whether a text is another but for case."""
    del context
    return isinstance(other, str) and _text(value, "equalsIgnoreCase").casefold() == other.casefold()


@expression_method("toUpperCase")
def to_upper_case(context: Evaluation, value: Any) -> str:
    """Return a text in upper case."""
    del context
    return _text(value, "toUpperCase").upper()


@expression_method("toLowerCase")
def to_lower_case(context: Evaluation, value: Any) -> str:
    """Return a text in lower case."""
    del context
    return _text(value, "toLowerCase").lower()


@expression_method("trim", aliases="strip")
def trim(context: Evaluation, value: Any) -> str:
    """Return a text without the white space around it."""
    del context
    return _text(value, "trim").strip()


@expression_method("startsWith", "prefix")
def starts_with(context: Evaluation, value: Any, prefix: Any) -> bool:
    """Return whether a text begins with another."""
    del context
    return _text(value, "startsWith").startswith(text(prefix, "method 'startsWith'"))


@expression_method("endsWith", "suffix")
def ends_with(context: Evaluation, value: Any, suffix: Any) -> bool:
    """Return whether a text ends with another."""
    del context
    return _text(value, "endsWith").endswith(text(suffix, "method 'endsWith'"))


@expression_method("contains", "wanted")
def contains(context: Evaluation, value: Any, wanted: Any) -> bool:
    """Return whether a text has another in it, or a list an item."""
    if isinstance(value, str):
        return text(wanted, "method 'contains'") in value
    if values.is_list(value):
        return any(values.equals(item, wanted, context.budget) for item in value)
    raise _none(value, "contains")


@expression_method("indexOf", "wanted")
def index_of(context: Evaluation, value: Any, wanted: Any) -> int:
    """Return where a text, or an item, stands first; -1 when nowhere."""
    if isinstance(value, str):
        return value.find(text(wanted, "method 'indexOf'"))
    if values.is_list(value):
        return next((at for at, item in enumerate(value) if values.equals(item, wanted, context.budget)), -1)
    raise _none(value, "indexOf")


@expression_method("lastIndexOf", "wanted")
def last_index_of(context: Evaluation, value: Any, wanted: Any) -> int:
    """Return where a text stands last in another; -1 when nowhere."""
    del context
    return _text(value, "lastIndexOf").rfind(text(wanted, "method 'lastIndexOf'"))


@expression_method("substring", "begin end")
def substring(context: Evaluation, value: Any, begin: Any, end: Any = None) -> str:
    """Return the part of a text from *begin* to before *end*, or to its end."""
    del context
    whole = _text(value, "substring")
    first = integer(begin, "method 'substring'")
    last = len(whole) if end is None else integer(end, "method 'substring'")
    if not 0 <= first <= last <= len(whole):
        raise ExpressionError(f"begin {first}, end {last}, length {len(whole)}")
    return whole[first:last]


@expression_method("replace", "old new")
def replace(context: Evaluation, value: Any, old: Any, new: Any) -> str:
    """Return a text with every *old* in it replaced."""
    whole = _text(value, "replace")
    search, put = text(old, "method 'replace'"), text(new, "method 'replace'")
    context.budget.chars(len(whole) + whole.count(search) * max(0, len(put) - len(search)))
    return whole.replace(search, put)


@expression_method("replaceAll", "pattern new")
def replace_all(context: Evaluation, value: Any, pattern: Any, new: Any) -> str:
    """Return a text with every match of a regular expression replaced; `$1` is a group."""
    whole = _text(value, "replaceAll")
    return regex.replace_all(
        text(pattern, "method 'replaceAll'"), whole, text(new, "method 'replaceAll'"), context.budget
    )


@expression_method("split", "pattern limit")
def split(context: Evaluation, value: Any, pattern: Any, limit: Any = 0) -> list[str]:
    """Return the parts of a text between matches of a regular expression."""
    whole, what = _text(value, "split"), "method 'split'"
    parts = regex.split(text(pattern, what), whole, integer(limit, what), context.budget)
    context.budget.items(len(parts))
    return parts


@expression_method("matches", "pattern")
def matches(context: Evaluation, value: Any, pattern: Any) -> bool:
    """Return whether all of a text matches a regular expression."""
    return bool(operators.matches(context, _text(value, "matches"), pattern, 1))


@expression_method("get", "key")
def get(context: Evaluation, value: Any, key: Any) -> Any:
    """Return the value of a key, null when there is none, or the item at an index."""
    if values.is_list(value):
        return operators.member(context, value, integer(key, "method 'get'"), 1)
    entries = _map(value, "get")
    return operators.member(context, entries, key, 1) if key in entries else None


@expression_method("getOrDefault", "key default")
def get_or_default(context: Evaluation, value: Any, key: Any, default: Any) -> Any:
    """Return the value of a key, or *default* when there is none."""
    entries = _map(value, "getOrDefault")
    return operators.member(context, entries, key, 1) if key in entries else default


@expression_method("containsKey", "key")
def contains_key(context: Evaluation, value: Any, key: Any) -> bool:
    """Return whether a map has a key."""
    del context
    return key in _map(value, "containsKey")


@expression_method("keySet")
def key_set(context: Evaluation, value: Any) -> list[Any]:
    """Return the keys of a map."""
    del context
    return list(_map(value, "keySet"))


@expression_method("values")
def all_values(context: Evaluation, value: Any) -> list[Any]:
    """Return the values of a map."""
    return [operators.member(context, value, key, 1) for key in _map(value, "values")]
