"""Files that come before the execution they are for: those that are too large for the body of a request.

An upload lies where no flow reads, under an id that cannot be guessed, until an execution of its flow is given it as a
FILE input; then it is that execution's file. One that nobody was given is removed after a day (`KEPT`): by the bucket's
lifecycle on AWS, by the sweep locally.
"""

from __future__ import annotations

import re
from datetime import timedelta

from headrace_engine.inputs import Upload
from headrace_engine.model.ids import new_id
from headrace_engine.ports import Clock, Storage

FOLDER = "_uploads"
"""In internal storage; no namespace has this name."""
KEPT = timedelta(days=1)
LARGEST = 5 * 1024**3
"""Bytes that S3 takes in one request."""
_ROOT = f"kestra:///{FOLDER}"
_UNFIT = re.compile(r"[\\/\x00-\x1f\x7f]")
_LONGEST_NAME = 200


class UploadError(ValueError):
    """There is no such upload for this flow; the text says so."""


class Uploads:
    """The uploads in *storage*."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    def new(self, namespace: str, flow_id: str, name: str) -> Upload:
        """Return where a file of this name is to be put for the flow; nothing is there yet."""
        name = file_name(name)
        return Upload(f"{_ROOT}/{namespace}/{flow_id}/{new_id()}/{name}", name)

    def find(self, namespace: str, flow_id: str, uri: str) -> Upload | None:
        """Return the upload that *uri* names; None when it names another kind of file.

        Raises UploadError when it is another flow's, or not there.
        """
        if not is_upload(uri):
            return None
        parts = uri.removeprefix(f"{_ROOT}/").split("/")
        if len(parts) != 4 or any(part in ("", ".", "..") for part in parts) or "\\" in uri or "\0" in uri:
            raise UploadError("it is no upload")
        if parts[:2] != [namespace, flow_id]:
            raise UploadError("it is an upload for another flow")
        if self._storage.stat(uri) is None:
            raise UploadError("there is no such upload: it did not come, was used before, or is older than a day")
        return Upload(uri, parts[3])

    def forget(self) -> int:
        """Remove the uploads that nobody has used for too long; return how many."""
        before = self._clock.now() - KEPT
        old = [each.uri for each in self._storage.list(_ROOT) if each.modified < before]
        return sum(self._storage.delete(uri) for uri in old)


def is_upload(uri: str) -> bool:
    """Return whether a URI is, or claims to be, that of an upload."""
    return uri == _ROOT or uri.startswith(f"{_ROOT}/")


def file_name(name: str) -> str:
    """Return a file's name as one part of a path: without what would be more, and not without end."""
    cut = _UNFIT.sub("_", name).encode("utf-8", "replace")[-_LONGEST_NAME:].decode("utf-8", "ignore")
    return cut if cut not in ("", ".", "..") else "file"
