"""Files in buckets of others."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.adapters.aws.storage import S3Storage
from headrace_engine.adapters.aws.uploads import COPY_LIMIT, Source, copy
from headrace_engine.ports import BucketFile, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_GONE = frozenset({"NoSuchKey", "404"})
_DESCRIBED = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")
"""What goes with a file. A copy in one has it, one in parts is told."""


class S3Buckets:
    """`Buckets` in S3, which copies by itself: nothing of a file comes through here, however large it is."""

    def __init__(self, s3: S3Client, storage: S3Storage, *, copy_limit: int = COPY_LIMIT) -> None:
        self._s3 = s3
        self._storage = storage
        self._copy_limit = copy_limit

    def take(self, file: BucketFile, uri: str) -> None:
        """See `Buckets.take`. That version alone: a newer one has an event of its own."""
        if self._found(file) is None:
            raise NotFoundError(f"{file.bucket}/{file.key} is gone")
        self._storage.take(_source(file), uri)

    def move(self, file: BucketFile, bucket: str, key: str) -> None:
        """See `Buckets.move`. A copy, with its tags, and a delete: in between, both are there."""
        found = self._found(file)
        if found is None or (file.bucket, file.key) == (bucket, key):
            return
        described = {name: found[name] for name in _DESCRIBED if name in found}
        tags = self._tags(file) if found.get("TagCount") else ""
        with suppress(NotFoundError):
            copy(self._s3, _source(file), bucket, key, limit=self._copy_limit, tags=tags, described=described)
            self.delete(file)

    def _tags(self, file: BucketFile) -> str:
        with calling("S3", "GetObjectTagging"):
            found = self._s3.get_object_tagging(Bucket=file.bucket, Key=file.key)["TagSet"]
        return urlencode({tag["Key"]: tag["Value"] for tag in found})

    def delete(self, file: BucketFile) -> None:
        """See `Buckets.delete`."""
        if self._found(file) is not None:
            with calling("S3", "DeleteObject"):
                self._s3.delete_object(Bucket=file.bucket, Key=file.key)

    def _found(self, file: BucketFile) -> Any:
        """Return that version of a file, None where it is not: a newer one of its name has an event of its own."""
        with calling("S3", "HeadObject"):
            try:
                found = self._s3.head_object(Bucket=file.bucket, Key=file.key)
            except ClientError as error:
                if error_code(error) in _GONE:
                    return None
                raise
        return found if found["ETag"].strip('"') == file.etag else None


def _source(file: BucketFile) -> Source:
    return Source(file.bucket, file.key, file.size, file.etag)
