"""Internal storage in S3."""

from __future__ import annotations

import builtins
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.adapters.aws.uploads import COPY_LIMIT, Source, copy, upload
from headrace_engine.adapters.paths import SCHEME, file_parts, folder_parts
from headrace_engine.ports import NotFoundError, StoredFile, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PREFIX = "files/"
"""Where in the bucket files stand, by the path of their URI; roles name it."""

_PART = 8 * 1024 * 1024
_MISSING = ("NoSuchKey", "404")
_WHOLE = 1024**3
"""Bytes of the largest file that others put up in one; S3 takes five times as much."""
_UPLOAD_PART = 256 * 1024 * 1024
_MOST_PARTS = 10_000


class S3Storage:
    """`Storage` in *bucket*. A role that reads it needs ListBucket, too: without it S3 denies what is missing.

    A file read while it is replaced is read as it was. A move is a copy and a delete: in between, both are there.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        part: int = _PART,
        copy_limit: int = COPY_LIMIT,
        whole: int = _WHOLE,
        upload_part: int = _UPLOAD_PART,
    ) -> None:
        """Take the bucket; the sizes are what S3 bears, smaller in tests."""
        self._s3 = s3
        self._bucket = bucket
        self._part = part
        self._copy_limit = copy_limit
        self._whole = whole
        self._upload_part = upload_part

    def address_to_read(self, uri: str, valid: timedelta) -> str:
        """Return a URL from which anybody gets the file until *valid* has passed, without rights of their own."""
        return self._address("get_object", uri, valid)

    def address_to_write(self, uri: str, valid: timedelta, size: int | None = None) -> str:
        """Return a URL to which anybody may PUT the file until *valid* has passed: of *size* bytes, or 5 GB at most."""
        return self._address("put_object", uri, valid, **({} if size is None else {"ContentLength": size}))

    def begin_upload(self, uri: str, size: int, valid: timedelta) -> Upload | None:
        """Begin an upload in parts of a file above the size that goes up in one; what is not completed goes again."""
        if size <= self._whole:
            return None
        key = _key(uri)
        part = max(self._upload_part, -(-size // _MOST_PARTS))
        with calling("S3", "CreateMultipartUpload"):
            upload = self._s3.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"]
        addresses = [
            self._address("upload_part", uri, valid, UploadId=upload, PartNumber=number + 1)
            for number in range(-(-size // part))
        ]
        return Upload(upload, addresses, part)

    def complete_upload(self, uri: str, upload: str, tags: Sequence[str]) -> None:
        """Have the file of an upload stand whole. One that was completed before is not there any more: it stands."""
        parts: Any = [{"ETag": tag, "PartNumber": number + 1} for number, tag in enumerate(tags)]
        with calling("S3", "CompleteMultipartUpload"):
            try:
                self._s3.complete_multipart_upload(
                    Bucket=self._bucket, Key=_key(uri), UploadId=upload, MultipartUpload={"Parts": parts}
                )
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise

    def _address(self, operation: str, uri: str, valid: timedelta, **more: Any) -> str:
        with calling("S3", operation):
            return self._s3.generate_presigned_url(
                operation,
                Params={"Bucket": self._bucket, "Key": _key(uri), **more},
                ExpiresIn=int(valid.total_seconds()),
            )

    def put(self, uri: str, content: bytes | BinaryIO) -> None:
        """See `Storage.put`. Durable when it returns; a large stream goes up in parts, one in memory at a time."""
        key = _key(uri)
        if isinstance(content, bytes | bytearray | memoryview):
            with calling("S3", "PutObject"):
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=bytes(content))
            return
        first = self._read(content)
        if len(first) < self._part:
            with calling("S3", "PutObject"):
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=first)
            return
        with upload(self._s3, self._bucket, key) as parts:
            chunk = first
            while chunk:
                with calling("S3", "UploadPart"):
                    answer = self._s3.upload_part(
                        Bucket=self._bucket, Key=key, Body=chunk, PartNumber=len(parts.done) + 1, UploadId=parts.id
                    )
                parts.add(answer["ETag"])
                chunk = self._read(content)

    def _read(self, content: BinaryIO) -> bytes:
        """Return the next part, which is short only at the end. What reading raises is the stream's own and passes."""
        pieces = []
        wanted = self._part
        while wanted and (piece := content.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def open(self, uri: str) -> BinaryIO:
        """See `Storage.open`. It can be read forward only."""
        key = _key(uri)
        with _asking("GetObject", uri):
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
        return io.BufferedReader(_Body(body), buffer_size=64 * 1024)

    def stat(self, uri: str) -> StoredFile | None:
        """See `Storage.stat`."""
        key = _key(uri)
        try:
            with _asking("HeadObject", uri):
                found = self._s3.head_object(Bucket=self._bucket, Key=key)
        except NotFoundError:
            return None
        return StoredFile(uri, found["ContentLength"], found["LastModified"])

    def list(self, prefix: str) -> Sequence[StoredFile]:
        """See `Storage.list`. A request for each thousand files."""
        folder = PREFIX + "".join(f"{part}/" for part in folder_parts(prefix))
        found = [_stored(each) for page in self._listed(folder) for each in page.get("Contents", ())]
        return sorted(found, key=lambda file: file.uri)

    def children(self, folder: str) -> tuple[Sequence[StoredFile], Sequence[str]]:
        """See `Storage.children`. A request for each thousand files and folders, whatever lies below those."""
        prefix = PREFIX + "".join(f"{part}/" for part in folder_parts(folder))
        files: builtins.list[StoredFile] = []
        folders: builtins.list[str] = []
        for page in self._listed(prefix, Delimiter="/"):
            files += map(_stored, page.get("Contents", ()))
            folders += [
                each["Prefix"].removeprefix(prefix).removesuffix("/") for each in page.get("CommonPrefixes", ())
            ]
        return sorted(files, key=lambda file: file.uri), sorted(folders)

    def _listed(self, prefix: str, **arguments: Any) -> Iterator[Any]:
        start: dict[str, Any] = {}
        while True:
            with calling("S3", "ListObjectsV2"):
                page = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **arguments, **start)
            yield page
            if not page.get("NextContinuationToken"):
                return
            start = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, uri: str) -> bool:
        """See `Storage.delete`. Of two at once, both may say that it was there."""
        if self.stat(uri) is None:
            return False
        with calling("S3", "DeleteObject"):
            self._s3.delete_object(Bucket=self._bucket, Key=_key(uri))
        return True

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`. Durable when it returns."""
        old, new = _key(source), _key(target)
        file = self.stat(source)
        if file is None:
            raise NotFoundError(f"{source} is not in internal storage")
        if old == new:
            return
        try:
            self._copy(Source(self._bucket, old, file.size), new)
        except NotFoundError:
            raise NotFoundError(f"{source} is not in internal storage") from None
        with calling("S3", "DeleteObject"):
            self._s3.delete_object(Bucket=self._bucket, Key=old)

    def take(self, source: Source, uri: str) -> None:
        """Have S3 copy an object of any bucket to a file, replacing what is there. Raises NotFoundError."""
        self._copy(source, _key(uri))

    def _copy(self, source: Source, key: str) -> None:
        copy(self._s3, source, self._bucket, key, limit=self._copy_limit)


class _Body(io.RawIOBase):
    """The body of an answer as a stream; what breaks off on the way is a PortError."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with calling("S3", "GetObject"):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


@contextmanager
def _asking(operation: str, uri: str) -> Iterator[None]:
    """As `calling`, with NotFoundError for a file that is not there."""
    with calling("S3", operation):
        try:
            yield
        except ClientError as error:
            if error_code(error) in _MISSING:
                raise NotFoundError(f"{uri} is not in internal storage") from None
            raise


def _stored(found: Any) -> StoredFile:
    return StoredFile(SCHEME + found["Key"].removeprefix(PREFIX), found["Size"], found["LastModified"])


def _key(uri: str) -> str:
    return PREFIX + "/".join(file_parts(uri))
