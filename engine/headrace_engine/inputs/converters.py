"""The types of inputs and outputs: one function each, from what was given to what is typed and stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from headrace_engine.model.frozen import dataclass
from headrace_engine.sealing import ENCRYPTED

from . import data, temporal
from .problems import Refused, RefusedItem

NO_KEY = "a SECRET needs an encryption key: set `encryption.secretKey` (environment: HEADRACE_ENCRYPTION_SECRET_KEY)"


class Converted(NamedTuple):
    """A value that was taken."""

    typed: Any
    """What expressions see."""
    stored: Any
    """What the execution keeps."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came before what it is given to (`headrace_engine.uploads`)."""

    uri: str
    name: str


@dataclass(frozen=True, slots=True)
class Outside:
    """What taking a value does outside: an uploaded file is stored, a secret sealed."""

    store: Callable[[Path | Upload, str], str]
    """Store a file under a name; return its URI."""
    seal: Callable[[str], str] | None
    storage_only: bool = False
    """Whether a FILE must be in internal storage: true for outputs."""
    upload: Callable[[str], Upload | None] = lambda _uri: None
    """Returns the upload that a URI names, None for other files. Raises ValueError when it is not to be had."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one input asks of its value besides the type."""

    outside: Outside
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Sequence[str] | None = None
    """What SELECT, MULTISELECT and ENUM choose from; None when anything goes."""


def convert(kind: str, value: Any, rules: Rules) -> Converted:
    """Return *value*, which is not None, as an input of type *kind* has it. Raises Refused."""
    return _CONVERTERS[kind](value, rules)


def holds(kind: str, options: Mapping[str, Any], wanted: str) -> bool:
    """Return whether an input is of the type *wanted*, or a list of it."""
    return wanted in (kind, options.get("itemType"))


# -- texts ----------------------------------------------------------------------------------------------------------


def _string(value: Any, rules: Rules) -> Converted:
    text = data.text(value)
    _matches(text, rules)
    return Converted(text, text)


def _secret(value: Any, rules: Rules) -> Converted:
    if isinstance(value, Mapping) or data.is_list(value):
        raise Refused("it must be a text")
    text = data.text(value)
    _matches(text, rules)
    if rules.outside.seal is None:
        raise Refused(NO_KEY)
    return Converted(text, {"type": ENCRYPTED, "value": rules.outside.seal(text)})


def _matches(text: str, rules: Rules) -> None:
    pattern = rules.options.get("validator")
    if pattern is not None and _compiled(str(pattern)).fullmatch(text) is None:
        raise Refused(f"it must match the pattern `{pattern}`")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """Return *pattern* compiled by RE2, which cannot hang; that it is valid was checked when the flow was saved."""
    import re2  # noqa: PLC0415 - a C library that most flows never need

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise Refused(f"its pattern `{pattern}` is no valid regular expression") from None


_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
_EMAIL = re.compile(rf"(?=.{{3,254}}$)[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{{1,64}}@(?:{_LABEL}\.)+(?!\d+$){_LABEL}")


def _email(value: Any, rules: Rules) -> Converted:
    del rules
    text = data.text(value)
    if _EMAIL.fullmatch(text) is None:
        raise Refused("it must be an e-mail address")
    return Converted(text, text)


# What RFC 3986 allows, and as in Java's URI any letter beyond ASCII; the rest must be percent-encoded.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|[^\W_]|%[0-9A-Fa-f]{2})+")
_WITH_HOST = frozenset({"http", "https", "ftp", "ftps", "s3", "gs", "ws", "wss"})


def _uri(value: Any, rules: Rules) -> Converted:
    del rules
    text = data.text(value)
    if _URI.fullmatch(text) is None or not _has_parts(text):
        raise Refused("it must be a URI such as `https://example.com/data.csv`")
    return Converted(text, text)


def _has_parts(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:  # a port that is no number, brackets that do not match
        return False
    return bool(parts.hostname) or parts.scheme not in _WITH_HOST


# -- truth and numbers ----------------------------------------------------------------------------------------------


def _boolean(value: Any, rules: Rules) -> Converted:
    """Any text but `true` is false (trap 24)."""
    del rules
    if isinstance(value, Mapping) or data.is_list(value):
        raise Refused("it must be `true` or `false`")
    truth = value if isinstance(value, bool) else data.text(value).lower() == "true"
    return Converted(truth, truth)


_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
_REAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")


def _read_int(value: Any) -> int:
    result = None
    if isinstance(value, str):
        result = int(value) if _WHOLE.fullmatch(value) else None
    else:
        exact = _finite(value)
        result = None if exact is None or exact != int(exact) else int(exact)
    if result is None:
        raise Refused("it must be a whole number")
    if not -(2**63) <= result < 2**63:
        raise Refused("it must be a whole number of at most 64 bits")
    return result


def _read_float(value: Any) -> float:
    if isinstance(value, str):
        value = float(value) if _REAL.fullmatch(value) else None
    result = _finite(value)
    try:
        if result is not None:
            return float(result)
    except OverflowError:
        pass  # an integer beyond what a float holds
    raise Refused("it must be a number")


def _finite(value: Any) -> int | float | None:
    """Return *value* when it is a number of sensible size."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return data.number(value)
    except Refused:
        return None


def _int(value: Any, rules: Rules) -> Converted:
    number = _read_int(value)
    _within(number, rules, _read_int, ("min", "be at least"), ("max", "be at most"))
    return Converted(number, number)


def _float(value: Any, rules: Rules) -> Converted:
    number = _read_float(value)
    _within(number, rules, _read_float, ("min", "be at least"), ("max", "be at most"))
    return Converted(number, number)


# -- dates ----------------------------------------------------------------------------------------------------------


def _datetime(value: Any, rules: Rules) -> Converted:
    instant = temporal.read_datetime(value)
    _within(instant, rules, _read_bound, ("after", "not be before"), ("before", "not be after"))
    return Converted(instant, temporal.iso(instant))


def _read_bound(value: Any) -> datetime:
    """Return a bound of the flow's: one that was written without a zone is in UTC."""
    bound = datetime.fromisoformat(value) if isinstance(value, str) else value
    return temporal.read_datetime(bound if bound.tzinfo is not None else bound.replace(tzinfo=UTC))


def _date(value: Any, rules: Rules) -> Converted:
    day = temporal.read_date(value)
    _within(day, rules, temporal.read_date, ("after", "not be before"), ("before", "not be after"))
    return Converted(day, temporal.iso(day))


def _time(value: Any, rules: Rules) -> Converted:
    clock = temporal.read_time(value)
    _within(clock, rules, temporal.read_time, ("after", "not be before"), ("before", "not be after"))
    return Converted(clock, temporal.iso(clock))


def _duration(value: Any, rules: Rules) -> Converted:
    length = temporal.read_duration(value)
    _within(length, rules, temporal.read_duration, ("min", "be at least"), ("max", "be at most"))
    return Converted(length, temporal.iso(length))


def _within(value: Any, rules: Rules, read: Callable[[Any], Any], low: tuple[str, str], high: tuple[str, str]) -> None:
    """Refuse *value* outside the bounds that the options named in *low* and *high* set; both are allowed values."""
    least, most = rules.options.get(low[0]), rules.options.get(high[0])
    if least is not None and value < (bound := read(least)):
        raise Refused(f"it must {low[1]} `{_bound_text(bound)}`")
    if most is not None and value > (bound := read(most)):
        raise Refused(f"it must {high[1]} `{_bound_text(bound)}`")


def _bound_text(bound: Any) -> str:
    return temporal.iso(bound) if isinstance(bound, date | time | timedelta) else data.text(bound)


# -- files ----------------------------------------------------------------------------------------------------------

_STORAGE = "kestra:///"
_NAMESPACE_FILE = re.compile(r"nsfile://(?:[a-z0-9][a-z0-9._-]*)?/")


def _file(value: Any, rules: Rules) -> Converted:
    if isinstance(value, Path):
        uri = _uploaded(value, rules)
        return Converted(uri, uri)
    uri = data.text(value)
    try:
        upload = rules.outside.upload(uri)
    except ValueError as error:
        raise Refused(str(error)) from None
    if upload is not None:
        uri = _uploaded(upload, rules)
        return Converted(uri, uri)
    namespace_file = None if rules.outside.storage_only else _NAMESPACE_FILE.match(uri)
    if uri.startswith(_STORAGE):
        path = uri[len(_STORAGE) :]
    elif namespace_file is not None:
        path = uri[namespace_file.end() :]
    elif rules.outside.storage_only:
        raise Refused("it must be the URI of a file in internal storage, which begins with `kestra:///`")
    else:
        raise Refused("it must be an uploaded file, or a URI that begins with `kestra:///` or `nsfile:///`")
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise Refused("its path must not be empty or hold `..`, `.`, `//` or `\\`")
    return Converted(uri, uri)


def _uploaded(file: Path | Upload, rules: Rules) -> str:
    if isinstance(file, Path) and not file.is_file():
        raise Refused("there is no such file")
    name = re.sub(r"[\\/\x00-\x1f\x7f]", "_", file.name).encode("utf-8", "replace").decode()
    allowed = rules.options.get("allowedFileExtensions")
    if allowed and not name.lower().endswith(tuple(_dotted(extension).lower() for extension in allowed)):
        listed = ", ".join(f"`{_dotted(extension)}`" for extension in allowed)
        raise Refused(f"it must be a file with one of the extensions {listed}")
    if not PurePosixPath(file.name).suffix:
        name += _dotted(rules.options.get("extension") or ".upl")
    return rules.outside.store(file, name)


def _dotted(extension: Any) -> str:
    text = str(extension)
    return text if text.startswith(".") else f".{text}"


# -- structures -----------------------------------------------------------------------------------------------------


def _json(value: Any, rules: Rules) -> Converted:
    parsed = data.parse_json(data.checked(value)) if isinstance(value, str) else data.plain(value)
    schema = rules.options.get("jsonSchema")
    if schema is not None:
        from .json_schema import violation  # noqa: PLC0415 - few inputs have one

        if (wrong := violation(parsed, schema)) is not None:
            raise Refused(f"it must satisfy its JSON Schema ({wrong})")
    return Converted(parsed, parsed)


def _yaml(value: Any, rules: Rules) -> Converted:
    del rules
    parsed = data.parse_yaml(data.checked(value)) if isinstance(value, str) else data.plain(value)
    return Converted(parsed, parsed)


def _select(value: Any, rules: Rules) -> Converted:
    if isinstance(value, Mapping) or data.is_list(value):
        raise Refused("it must be a text")
    text = data.text(value)
    _chosen(text, rules)
    return Converted(text, text)


def _chosen(text: str, rules: Rules) -> None:
    if rules.choices is not None and not rules.options.get("allowCustomValue") and text not in rules.choices:
        listed = ", ".join(f"`{choice}`" for choice in rules.choices)
        raise Refused(f"it must be one of {listed}" if listed else "there is nothing to choose from")


def _array(value: Any, rules: Rules) -> Converted:
    return _items(value, rules, chosen=False)


def _multiselect(value: Any, rules: Rules) -> Converted:
    return _items(value, rules, chosen=True)


def _items(value: Any, rules: Rules, *, chosen: bool) -> Converted:
    kind = str(rules.options.get("itemType") or "STRING")
    # The options are the list's own, not its items': an item has no bounds and no pattern.
    item_rules = replace(rules, options={}, choices=None)
    typed, stored = [], []
    for number, item in enumerate(_list(value), start=1):
        try:
            if item is None:
                raise Refused("it must not be null")
            converted = convert(kind, item, item_rules)
            if chosen:
                _chosen(data.text(item), rules)
        except RefusedItem as refused:
            raise RefusedItem(f"item {number}, {refused.reason}", refused.item) from None
        except Refused as refused:
            raise RefusedItem(f"item {number}: {refused.reason}", item) from None
        typed.append(converted.typed)
        stored.append(converted.stored)
    return Converted(typed, stored)


def _list(value: Any) -> Sequence[Any]:
    """Return the items of a list, given as one or as JSON text."""
    if isinstance(value, str):
        try:
            value = data.parse_json(data.checked(value))
        except Refused:
            value = None
    if not data.is_list(value):
        raise Refused('it must be a list such as `["a", "b"]`')
    return list(value)


_CONVERTERS: dict[str, Callable[[Any, Rules], Converted]] = {
    "STRING": _string,
    "INT": _int,
    "FLOAT": _float,
    "BOOLEAN": _boolean,
    "BOOL": _boolean,
    "DATETIME": _datetime,
    "DATE": _date,
    "TIME": _time,
    "DURATION": _duration,
    "FILE": _file,
    "JSON": _json,
    "YAML": _yaml,
    "URI": _uri,
    "SECRET": _secret,
    "ENUM": _select,
    "SELECT": _select,
    "MULTISELECT": _multiselect,
    "ARRAY": _array,
    "EMAIL": _email,
}
