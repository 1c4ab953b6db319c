"""Entries, snapshots, messages and results as bytes: JSON with a format version, compressed when that pays.

The shape of each class is worked out once from its annotations; nothing is registered by hand. Fields that hold
their default are left out, unions are told apart by the class name. Instants are microseconds since 1970, UTC.
A format newer than this code knows is refused by name, never guessed at.
"""

from __future__ import annotations

import types
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from immutables import Map

from headrace_engine.core.events import Entry, ExecutionCreated
from headrace_engine.core.evolve import evolve
from headrace_engine.core.flow import FlowIndex
from headrace_engine.core.messages import Message
from headrace_engine.core.state import ExecutionState
from headrace_engine.core.windows import TriggerMemory
from headrace_engine.model.attempt import AttemptResult

FORMAT = 1
"""Goes up when an older reader could no longer understand what is written."""
_COMPRESS_ABOVE = 512
_PLAIN, _ZLIB = b"j", b"z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class FormatError(Exception):
    """The bytes are of a newer format than this version reads, or are not ours at all."""


class NewerFormatError(FormatError):
    """A newer version wrote the bytes; that one can read them."""


class _Coder(NamedTuple):
    """How one type becomes JSON values and comes back."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def encode_entry(entry: Entry) -> bytes:
    """Return *entry* as bytes."""
    return _encode(Entry, entry)


def decode_entry(data: bytes) -> Entry:
    """Return the entry that encode_entry made *data* of. Raises FormatError."""
    return cast("Entry", _decode(Entry, data))


def encode_state(state: ExecutionState) -> bytes:
    """Return *state* as bytes, its flow left out."""
    return _encode(ExecutionState, state)


def decode_state(data: bytes, flow_of: Callable[[ExecutionCreated], FlowIndex]) -> ExecutionState:
    """Return the state that encode_state made *data* of, with the flow that it was created for. Raises FormatError."""
    state = cast("ExecutionState", _decode(ExecutionState, data))
    if state.created is None:
        raise FormatError("a snapshot of an execution that was never created")
    return evolve(state, flow=flow_of(state.created))


def encode_message(message: Message) -> bytes:
    """Return *message* as bytes."""
    return _encode(Message, message)


def decode_message(data: bytes) -> Message:
    """Return the message that encode_message made *data* of. Raises FormatError."""
    return cast("Message", _decode(Message, data))


def encode_result(result: AttemptResult) -> bytes:
    """Return *result* as bytes."""
    return _encode(AttemptResult, result)


def decode_result(data: bytes) -> AttemptResult:
    """Return the result that encode_result made *data* of. Raises FormatError."""
    return cast("AttemptResult", _decode(AttemptResult, data))


def encode_memory(memory: TriggerMemory) -> bytes:
    """Return what a Flow trigger remembers as bytes."""
    return _encode(TriggerMemory, memory)


def decode_memory(data: bytes) -> TriggerMemory:
    """Return what encode_memory made *data* of. Raises FormatError."""
    return cast("TriggerMemory", _decode(TriggerMemory, data))


def encode_as(kind: type, value: object) -> bytes:
    """Return *value*, of the dataclass *kind*, as bytes."""
    return _encode(kind, value)


def decode_as(kind: type, data: bytes) -> Any:
    """Return the value of *kind* that encode_as made *data* of. Raises FormatError."""
    return _decode(kind, data)


def _encode(kind: Any, value: object) -> bytes:
    body = msgspec.json.encode([FORMAT, _coder(kind).pack(value)])
    if len(body) > _COMPRESS_ABOVE:
        return _ZLIB + zlib.compress(body, 1)
    return _PLAIN + body


def _decode(kind: Any, data: bytes) -> Any:
    try:
        body = zlib.decompress(data[1:]) if data[:1] == _ZLIB else data[1:]
        version, packed = msgspec.json.decode(body)
    except (msgspec.DecodeError, zlib.error, ValueError, TypeError) as error:
        raise FormatError(f"not an entry or message of Headrace: {error}") from None
    if version > FORMAT:
        raise NewerFormatError(f"format {version} is newer than format {FORMAT}, the newest this version reads")
    return _coder(kind).unpack(packed)


def _same(value: Any) -> Any:
    return value


@cache
def _coder(kind: Any) -> _Coder:
    """Return the coder of a type: a dataclass, a union of them, X | None, tuple[X, ...], an enum, or plain JSON."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        members = tuple(argument for argument in arguments if argument is not type(None))
        inner = _coder(members[0]) if len(members) == 1 else _union(members)
        if len(members) == len(arguments):
            return inner
        return _Coder(
            lambda value: None if value is None else inner.pack(value),
            lambda value: None if value is None else inner.unpack(value),
        )
    if origin is tuple:
        return _tuple(arguments)
    if origin is Map:
        return _map(arguments)
    if origin is frozenset:
        inner = _coder(arguments[0])
        return _Coder(
            lambda value: sorted(inner.pack(item) for item in value),
            lambda value: frozenset(inner.unpack(item) for item in value),
        )
    if isinstance(kind, type):
        if is_dataclass(kind):
            return _dataclass(kind)
        if issubclass(kind, Enum):
            return _Coder(lambda value: value.value, kind)
        if issubclass(kind, datetime):
            return _Coder(lambda value: (value - _EPOCH) // _MICROSECOND, lambda value: _EPOCH + value * _MICROSECOND)
    if origin is Mapping:
        return _Coder(_plain_mapping, _same)
    return _Coder(_same, _same)


def _plain_mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else dict(value)


def _tuple(arguments: tuple[Any, ...]) -> _Coder:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = _coder(arguments[0])
        return _Coder(
            lambda value: [inner.pack(item) for item in value],
            lambda value: tuple(inner.unpack(item) for item in value),
        )
    coders = [_coder(argument) for argument in arguments]
    return _Coder(
        lambda value: [coder.pack(item) for coder, item in zip(coders, value, strict=True)],
        lambda value: tuple(coder.unpack(item) for coder, item in zip(coders, value, strict=True)),
    )


def _map(arguments: tuple[Any, ...]) -> _Coder:
    """As pairs in the order of their keys: the order of a HAMT differs from process to process."""
    key, item = (_coder(argument) for argument in arguments)
    return _Coder(
        lambda value: sorted(([key.pack(k), item.pack(v)] for k, v in value.items()), key=itemgetter(0)),
        lambda value: Map((key.unpack(k), item.unpack(v)) for k, v in value),
    )


def _union(members: tuple[type, ...]) -> _Coder:
    by_name = {member.__name__: _coder(member) for member in members}
    return _Coder(
        lambda value: [type(value).__name__, by_name[type(value).__name__].pack(value)],
        lambda value: by_name[value[0]].unpack(value[1]),
    )


def _dataclass(kind: type) -> _Coder:
    hints = get_type_hints(kind)
    plan: list[tuple[str, _Coder, Any]] = []
    for field in fields(kind):
        if hints[field.name] is FlowIndex:
            continue  # found again by its revision
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        plan.append((field.name, _coder(hints[field.name]), default))

    def pack(value: Any) -> dict[str, Any]:
        packed = {}
        for name, coder, default in plan:
            item = getattr(value, name)
            if item is not default and (default is MISSING or item != default):
                packed[name] = coder.pack(item)
        return packed

    coders = {name: coder for name, coder, _ in plan}

    given = {field.name: None for field in fields(kind) if hints[field.name] is FlowIndex}

    def unpack(packed: dict[str, Any]) -> Any:
        return kind(**given, **{name: coders[name].unpack(item) for name, item in packed.items()})

    return _Coder(pack, unpack)
