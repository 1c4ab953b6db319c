"""Filters on texts (reference §10.2 and §10.5)."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from . import regex, values
from .context import Evaluation
from .errors import ExpressionError
from .registry import expression_filter, integer, text


@expression_filter("lower")
def lower(context: Evaluation, value: Any) -> str:
    """Return the text in lower case."""
    return _sized(context, text(value, "filter 'lower'").lower())


@expression_filter("upper")
def upper(context: Evaluation, value: Any) -> str:
    """Return the text in upper case."""
    return _sized(context, text(value, "filter 'upper'").upper())


@expression_filter("capitalize")
def capitalize(context: Evaluation, value: Any) -> str:
    """Return the text with its first letter in upper case, the rest as it is."""
    given = text(value, "filter 'capitalize'")
    return _sized(context, given[:1].upper() + given[1:])


@expression_filter("title")
def title(context: Evaluation, value: Any) -> str:
    """Return the text with the first letter of each word in upper case, the rest as it is."""
    given = text(value, "filter 'title'")
    return _sized(context, re.sub(r"(^|\s)(\S)", lambda match: match[1] + match[2].upper(), given))


@expression_filter("trim")
def trim(context: Evaluation, value: Any) -> str:
    """Return the text without white space around it."""
    return _sized(context, text(value, "filter 'trim'").strip())


def _sized(context: Evaluation, result: str) -> str:
    context.budget.chars(len(result))
    return result


@expression_filter("abbreviate", "length")
def abbreviate(context: Evaluation, value: Any, length: Any) -> str:
    """Return the text cut to *length* characters, three dots included."""
    given, width = text(value, "filter 'abbreviate'"), integer(length, "filter 'abbreviate'")
    if width < 0:
        raise ExpressionError("The filter 'abbreviate' needs a length of at least 0")
    if len(given) <= width:
        return given
    return _sized(context, given[:width] if width < 4 else given[: width - 3] + "...")


@expression_filter("string")
def string(context: Evaluation, value: Any) -> str:
    """Return the text of any value."""
    return values.text_of(value, context.budget)


@expression_filter("split", "delimiter limit")
def split(context: Evaluation, value: Any, delimiter: Any, limit: Any = 0) -> list[str]:
    """Return the parts between matches of a regular expression, as Java's String.split."""
    parts = regex.split(
        text(delimiter, "filter 'split'"),
        text(value, "filter 'split'"),
        integer(limit, "filter 'split'"),
        context.budget,
    )
    context.budget.items(len(parts))
    return parts


@expression_filter("replace", "replace_pairs regexp")
def replace(context: Evaluation, value: Any, replace_pairs: Any, regexp: Any = False) -> Any:
    """Return the text with each key of a map replaced by its value; with *regexp* keys are patterns, `$1` a group.

    A list or a map is returned with all texts in it replaced so, at any depth.
    """
    if not isinstance(replace_pairs, Mapping):
        raise ExpressionError(f"The filter 'replace' needs a map, not {values.class_name(replace_pairs)}")
    if isinstance(value, Mapping):
        return {key: _replaced_inside(context, value[key], replace_pairs, regexp) for key in value}
    if values.is_list(value):
        return [_replaced_inside(context, item, replace_pairs, regexp) for item in value]
    return _replaced(context, text(value, "filter 'replace'"), replace_pairs, regexp)


def _replaced_inside(context: Evaluation, value: Any, pairs: Mapping[Any, Any], regexp: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping) or values.is_list(value):
        return replace(context, value, pairs, regexp)
    return _replaced(context, values.text_of(value, context.budget), pairs, regexp)


def _replaced(context: Evaluation, result: str, replace_pairs: Mapping[Any, Any], regexp: Any) -> str:
    for old in replace_pairs:
        search, new = values.key_text(old), values.text_of(replace_pairs[old], context.budget)
        context.budget.step()
        if regexp:
            result = regex.replace_all(search, result, new, context.budget)
        else:
            context.budget.chars(len(result) + result.count(search) * max(0, len(new) - len(search)))
            result = result.replace(search, new)
    return result


@expression_filter("regexMatch", "regex")
def regex_match(context: Evaluation, value: Any, pattern: Any) -> bool:
    """Return whether the pattern is found in the text; `^` and `$` tie it to the ends."""
    given = text(value, "filter 'regexMatch'")
    return regex.compiled(pattern, context.budget, given).search(given) is not None


@expression_filter("regexExtract", "regex group")
def regex_extract(context: Evaluation, value: Any, pattern: Any, group: Any = 0) -> str | None:
    """Return the first match, or one group of it; null without one."""
    given = text(value, "filter 'regexExtract'")
    match = regex.compiled(pattern, context.budget, given).search(given)
    number = integer(group, "filter 'regexExtract'")
    if match is None:
        return None
    if not 0 <= number <= match.re.groups:
        raise ExpressionError(f"The regular expression `{pattern}` has no group {number}")
    found: str | None = match.group(number)
    return found


@expression_filter("regexReplace", "regex replacement")
def regex_replace(context: Evaluation, value: Any, pattern: Any, replacement: Any) -> str:
    """Return the text with every match replaced; `$1` is a group."""
    given = text(value, "filter 'regexReplace'")
    return regex.replace_all(pattern, given, values.text_of(replacement, context.budget), context.budget)


@expression_filter("condenseString")
def condense(context: Evaluation, value: Any) -> str:
    """Return the text with every run of white space made one space, none around it."""
    return _sized(context, " ".join(text(value, "filter 'condenseString'").split()))


@expression_filter("startsWith", "value")
def starts_with(context: Evaluation, value: Any, prefix: Any) -> bool:
    """Return whether the text begins with *prefix*."""
    del context
    return text(value, "filter 'startsWith'").startswith(text(prefix, "filter 'startsWith'"))


@expression_filter("endsWith", "value")
def ends_with(context: Evaluation, value: Any, suffix: Any) -> bool:
    """Return whether the text ends with *suffix*."""
    del context
    return text(value, "filter 'endsWith'").endswith(text(suffix, "filter 'endsWith'"))


@expression_filter("substringBefore", "separator")
def substring_before(context: Evaluation, value: Any, separator: Any) -> str:
    """Return what stands before the first separator; all of it without one."""
    given, mark = _around(context, value, separator, "substringBefore")
    return given.split(mark, 1)[0] if mark else ""


@expression_filter("substringBeforeLast", "separator")
def substring_before_last(context: Evaluation, value: Any, separator: Any) -> str:
    """Return what stands before the last separator; all of it without one."""
    given, mark = _around(context, value, separator, "substringBeforeLast")
    return given.rsplit(mark, 1)[0] if mark else given


@expression_filter("substringAfter", "separator")
def substring_after(context: Evaluation, value: Any, separator: Any) -> str:
    """Return what stands behind the first separator; nothing without one."""
    given, mark = _around(context, value, separator, "substringAfter")
    return given.partition(mark)[2] if mark else given


@expression_filter("substringAfterLast", "separator")
def substring_after_last(context: Evaluation, value: Any, separator: Any) -> str:
    """Return what stands behind the last separator; nothing without one."""
    given, mark = _around(context, value, separator, "substringAfterLast")
    return given.rpartition(mark)[2] if mark and mark in given else ""


def _around(context: Evaluation, value: Any, separator: Any, name: str) -> tuple[str, str]:
    given = text(value, f"filter '{name}'")
    context.budget.chars(len(given))
    return given, text(separator, f"filter '{name}'")


@expression_filter("slugify")
def slugify(context: Evaluation, value: Any) -> str:
    """Return the text as part of an address: accents and signs off, one dash between words, lower case."""
    given = unicodedata.normalize("NFD", re.sub(r"\s", "-", _sized(context, text(value, "filter 'slugify'"))))
    return re.sub(r"[_-]+", "-", re.sub(r"[^A-Za-z0-9_-]", "", given)).lower()


@expression_filter("escapeChar", "type")
def escape_char(context: Evaluation, value: Any, kind: Any) -> str:
    """Return the text with its quotes escaped for single quotes, double quotes, or a shell's single quotes."""
    given = text(value, "filter 'escapeChar'")
    match kind:
        case "single":
            escaped = given.replace("'", "\\'")
        case "double":
            escaped = given.replace('"', '\\"')
        case "shell":
            escaped = given.replace("'", "'\\''")
        case _:
            raise ExpressionError(
                f"The filter 'escapeChar' needs the type single, double or shell, not `{values.to_text(kind)}`"
            )
    return _sized(context, escaped)


@expression_filter("indent", "amount prefix")
def indent(context: Evaluation, value: Any, amount: Any, prefix: Any = " ") -> str:
    """Return the text with all lines but the first indented, by *amount* times *prefix*."""
    return _indented(context, text(value, "filter 'indent'"), amount, prefix, "indent")


@expression_filter("nindent", "amount prefix")
def nindent(context: Evaluation, value: Any, amount: Any, prefix: Any = " ") -> str:
    """Return a new line and the text with every line indented; nothing of nothing."""
    given = text(value, "filter 'nindent'")
    if not given:
        return ""
    return _indented(context, _newline(given) + given, amount, prefix, "nindent")


def _newline(given: str) -> str:
    return next((style for style in ("\r\n", "\n", "\r") if style in given), "\n")


def _indented(context: Evaluation, given: str, amount: Any, prefix: Any, name: str) -> str:
    count = integer(amount, f"filter '{name}'")
    unit = text(prefix, f"filter '{name}'")
    if count < 0:
        raise ExpressionError(f"The filter '{name}' needs an amount of at least 0")
    newline = _newline(given)
    added = count * len(unit) * given.count(newline)
    if added > context.budget.limits.repeat_chars or count * len(unit) > context.budget.limits.repeat_chars:
        raise ExpressionError(f"The filter '{name}' adds more than {context.budget.limits.repeat_chars} characters")
    context.budget.chars(len(given) + added)
    return given.replace(newline, newline + unit * count)


@expression_filter("base64encode")
def base64_encode(context: Evaluation, value: Any) -> str:
    """Return the text in base 64."""
    return _sized(context, base64.b64encode(_bytes(value, "base64encode")).decode())


@expression_filter("base64decode")
def base64_decode(context: Evaluation, value: Any) -> str:
    """Return the text that is written in base 64."""
    try:
        decoded = base64.b64decode(text(value, "filter 'base64decode'"), validate=True).decode("utf-8")
    except ValueError:
        raise ExpressionError("The filter 'base64decode' needs a text in base 64") from None
    return _sized(context, decoded)


def _bytes(value: Any, name: str) -> bytes:
    return value if isinstance(value, bytes) else text(value, f"filter '{name}'").encode("utf-8", "surrogatepass")


def _hash(name: str, algorithm: str) -> None:
    @expression_filter(name)
    def digest(context: Evaluation, value: Any) -> str:
        given = _bytes(value, name)
        context.budget.step(1 + len(given) // 1024)
        return hashlib.new(algorithm, given, usedforsecurity=False).hexdigest()


for _name in ("md5", "sha1", "sha256", "sha512"):
    _hash(_name, _name)


@expression_filter("urlencode")
def url_encode(context: Evaluation, value: Any) -> str:
    """Return the text as Java's URLEncoder writes it: a space is `+`."""
    given = text(value, "filter 'urlencode'")
    return _sized(context, quote_plus(given, safe="*").replace("~", "%7E"))


@expression_filter("urldecode")
def url_decode(context: Evaluation, value: Any) -> str:
    """Return the text that is percent-encoded."""
    return _sized(context, unquote_plus(text(value, "filter 'urldecode'")))
