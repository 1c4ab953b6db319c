"""Functions that ask the host: secrets, the KV store, files, HTTP, ids and randomness (reference §10.4)."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any

from . import structured, values
from .context import Evaluation
from .errors import ExpressionError
from .host import BASE62
from .registry import expression_function, integer, text

_NANO_ALPHABET = "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KSUID_EPOCH = 1_400_000_000
_ION_BINARY = b"\xe0\x01\x00\xea"


@expression_function("secret", "key namespace subkey full")
def secret(
    context: Evaluation, key: Any, namespace: Any = None, subkey: Any = None, full: Any = False
) -> Any:  # fmt: skip
    """Return a secret; a field of one that is a JSON map; or, in full, a map with its `value`."""
    if subkey is not None and values.boolean(full):
        raise ExpressionError("The function 'secret' takes either subkey or full, not both")
    found = context.host.secret(text(key, "function 'secret'"), _optional(namespace, "secret"))
    if values.boolean(full):
        return {"value": found}
    if subkey is None:
        return found
    name = text(subkey, "function 'secret'")
    try:
        fields = structured.from_json(found, context.budget)
    except ExpressionError:
        # The parser's message would quote the secret.
        raise ExpressionError(f"The secret '{key}' is not JSON, so it has no subkey '{name}'.") from None
    if not isinstance(fields, Mapping) or name not in fields:
        raise ExpressionError(f"Cannot find subkey '{name}' in secret '{key}'.")
    return values.text_of(fields[name], context.budget)


def _optional(value: Any, name: str) -> str | None:
    return None if value is None else text(value, f"function '{name}'")


@expression_function("kv", "key namespace errorOnMissing")
def kv(context: Evaluation, key: Any, namespace: Any = None, error_on_missing: Any = True) -> Any:
    """Return a value of the KV store; a missing one is an error, or null when errorOnMissing is false."""
    wanted = _optional(namespace, "kv")
    return context.host.kv(text(key, "function 'kv'"), wanted, values.boolean(error_on_missing))


@expression_function("read", "path")
def read(context: Evaluation, path: Any) -> Any:
    """Return the text of a namespace file or of a file of the internal storage; binary Ion as bytes for fromIon."""
    data = context.host.read(text(path, "function 'read'"))
    context.budget.chars(len(data))
    if data.startswith(_ION_BINARY):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ExpressionError(f"The file '{path}' is not a text in UTF-8") from None


@expression_function("fileSize", "path")
def file_size(context: Evaluation, path: Any) -> int:
    """Return the size of a file in bytes."""
    return context.host.file_size(text(path, "function 'fileSize'"))


@expression_function("fileExists", "path")
def file_exists(context: Evaluation, path: Any) -> bool:
    """Return whether a file is there."""
    return context.host.file_exists(text(path, "function 'fileExists'"))


@expression_function("isFileEmpty", "path", aliases="fileEmpty")
def is_file_empty(context: Evaluation, path: Any) -> bool:
    """Return whether a file has no content."""
    return context.host.file_size(text(path, "function 'isFileEmpty'")) == 0


@expression_function("fileURI", "path")
def file_uri(context: Evaluation, path: Any) -> str:
    """Return the `kestra:///` URI of a namespace file; one outside is refused."""
    wanted = text(path, "function 'fileURI'")
    if ".." in wanted.replace("\\", "/").split("/"):
        raise ExpressionError(f"The path '{wanted}' leaves the namespace's files")
    return context.host.file_uri(wanted)


@expression_function("errorLogs")
def error_logs(context: Evaluation) -> list[dict[str, Any]]:
    """Return task and message of the execution's errors."""
    return context.host.error_logs()


@expression_function("resumeUrl", "task decisions expiresIn recipient")
def resume_url(
    context: Evaluation, task: Any = None, decisions: Any = None, expires_in: Any = None, recipient: Any = None
) -> str:
    """Return a new link to a page where a person decides what becomes of a Pause; logs show it masked."""
    asked = {"task": task, "decisions": decisions, "expiresIn": expires_in, "recipient": recipient}
    return context.host.resume_url({key: value for key, value in asked.items() if value is not None})


@expression_function("http", "uri method query body contentType accept headers options")
def http(
    context: Evaluation,
    uri: Any,
    *,
    method: Any = "GET",
    query: Any = None,
    body: Any = None,
    content_type: Any = None,
    accept: Any = None,
    headers: Any = None,
    options: Any = None,
) -> Any:
    """Return the body of the answer to an HTTP request, parsed if it is JSON."""
    request = {
        "uri": text(uri, "function 'http'"),
        "method": text(method, "function 'http'").upper(),
        "query": query,
        "body": body,
        "contentType": content_type,
        "accept": accept,
        "headers": headers,
        "options": options,
    }
    return context.host.http({key: value for key, value in request.items() if value is not None})


@expression_function("id", aliases="uuid")
def new_id(context: Evaluation) -> str:
    """Return a new id of 22 base-62 characters."""
    return context.host.new_id()


@expression_function("randomInt", "lower upper")
def random_int(context: Evaluation, lower: Any, upper: Any) -> int:
    """Return a random integer from *lower* to before *upper*."""
    low, high = integer(lower, "function 'randomInt'"), integer(upper, "function 'randomInt'")
    if high <= low:
        raise ExpressionError(f"The function 'randomInt' needs an upper bound above {low}, not {high}")
    return context.host.random().randrange(low, high)


@expression_function("randomPort")
def random_port(context: Evaluation) -> int:
    """Return a port that is free on this machine now."""
    del context
    import socket  # noqa: PLC0415 - one function; nothing is sent

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@expression_function("nanoId", "length alphabet")
def nano_id(context: Evaluation, length: Any = 21, alphabet: Any = _NANO_ALPHABET) -> str:
    """Return a random text of *length* characters of *alphabet*."""
    size = integer(length, "function 'nanoId'")
    letters = text(alphabet, "function 'nanoId'")
    if not 0 < size <= 4096 or not letters:
        raise ExpressionError("The function 'nanoId' needs a length from 1 to 4096 and an alphabet")
    return "".join(context.host.random().choices(letters, k=size))


@expression_function("ksuid")
def ksuid(context: Evaluation) -> str:
    """Return a K-sortable id: 27 base-62 characters of 4 bytes of time and 16 random ones."""
    seconds = int(context.host.now().timestamp()) - _KSUID_EPOCH
    number = (max(seconds, 0) << 128) | context.host.random().getrandbits(128)
    digits = []
    for _ in range(27):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


@expression_function("encrypt", "key plaintext")
def encrypt(context: Evaluation, key: Any, plaintext: Any) -> str | None:
    """Return a text encrypted with AES-GCM by a key in base 64: base 64 of the nonce and what follows; null of null."""
    del context
    if plaintext is None:
        return None
    nonce = os.urandom(12)
    sealed = _cipher(key, "encrypt").encrypt(nonce, text(plaintext, "function 'encrypt'").encode(), None)
    return base64.b64encode(nonce + sealed).decode()


@expression_function("decrypt", "key encrypted")
def decrypt(context: Evaluation, key: Any, encrypted: Any) -> str | None:
    """Return what `encrypt` was given; null of null."""
    del context
    if encrypted is None:
        return None
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as in _cipher

    cipher = _cipher(key, "decrypt")
    try:
        data = base64.b64decode(text(encrypted, "function 'decrypt'"), validate=True)
        plain: bytes = cipher.decrypt(data[:12], data[12:], None)
        return plain.decode()
    except (InvalidTag, ValueError):
        raise ExpressionError("The function 'decrypt' was given another key, or a text that is not encrypted") from None


def _cipher(key: Any, name: str) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - a large library for two functions

    try:
        return AESGCM(base64.b64decode(text(key, f"function '{name}'"), validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"The function '{name}' needs a key of 16, 24 or 32 bytes in base 64") from None
