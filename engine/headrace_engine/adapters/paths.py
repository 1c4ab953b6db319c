"""What a URI of internal storage may be: one rule for every adapter.

``kestra:///`` and a path of parts divided by single slashes. A part is not empty, not ``.`` or ``..``, and holds
no NUL and no backslash, so that no path means another place on any platform.
"""

from __future__ import annotations

SCHEME = "kestra:///"


def file_parts(uri: str) -> tuple[str, ...]:
    """Return the parts of a file's path. Raises ValueError for anything but a confined path."""
    if not uri.startswith(SCHEME):
        raise ValueError(f"{uri!r} is no URI of internal storage: it does not begin with {SCHEME}")
    parts = tuple(uri[len(SCHEME) :].split("/"))
    for part in parts:
        if part in ("", ".", ".."):
            raise ValueError(f"{uri!r} is no URI of internal storage: its path has the part {part!r}")
        if "\\" in part or "\0" in part:
            raise ValueError(f"{uri!r} is no URI of internal storage: its path has a backslash or a NUL")
    return parts


def folder_parts(uri: str) -> tuple[str, ...]:
    """Return the parts of a folder's path, with or without a slash at its end; none for the root."""
    return () if uri == SCHEME else file_parts(uri.removesuffix("/"))
