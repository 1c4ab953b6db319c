"""Jobs as bytes, on their way to a worker: the same job is the same bytes, and what is sealed in it stays sealed.

JSON, compressed when that pays, with a format version; one newer than this code knows is refused by name.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace_engine.core.codec import FormatError
from headrace_engine.ports import Job

FORMAT = 1
"""Goes up when an older reader could no longer understand what is written."""
_COMPRESS_ABOVE = 512
_PLAIN, _ZLIB = b"j", b"z"


class _Envelope(msgspec.Struct):
    format: int
    job: msgspec.Raw


def encode_job(job: Job) -> bytes:
    """Return *job* as bytes."""
    body = msgspec.json.encode(_Envelope(FORMAT, msgspec.Raw(msgspec.json.encode(job, enc_hook=_plain))))
    if len(body) > _COMPRESS_ABOVE:
        return _ZLIB + zlib.compress(body, 1)
    return _PLAIN + body


def decode_job(data: bytes) -> Job:
    """Return the job that encode_job made *data* of. Raises FormatError."""
    try:
        body = zlib.decompress(data[1:]) if data[:1] == _ZLIB else data[1:]
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, zlib.error) as error:
        raise FormatError(f"not a job of Headrace: {error}") from None
    if envelope.format > FORMAT:
        raise FormatError(f"job format {envelope.format} is newer than {FORMAT}, the newest this version reads")
    try:
        return msgspec.json.decode(envelope.job, type=Job)
    except msgspec.DecodeError as error:
        raise FormatError(f"not a job of Headrace: {error}") from None


def _plain(value: Any) -> Any:
    """Return what JSON can hold for a map that msgspec does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a job holds a {type(value).__name__}, which is not JSON")
