"""Files in buckets of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.ports import BucketFile, NotFoundError, Storage

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_GONE = frozenset({"NoSuchKey", "404", "412", "PreconditionFailed"})
"""It is not there, or a newer version is."""


class S3Buckets:
    """`Buckets` in S3. A file goes through this process in parts; it may be as large as it likes."""

    def __init__(self, s3: S3Client, storage: Storage) -> None:
        self._s3 = s3
        self._storage = storage

    def take(self, file: BucketFile, uri: str) -> None:
        """See `Buckets.take`. That version alone: a newer one has an event of its own."""
        with calling("S3", "GetObject"):
            try:
                body = self._s3.get_object(Bucket=file.bucket, Key=file.key, IfMatch=f'"{file.etag}"')["Body"]
            except ClientError as error:
                if error_code(error) in _GONE:
                    raise NotFoundError(f"{file.bucket}/{file.key} is gone") from None
                raise
        with body:
            self._storage.put(uri, body)  # type: ignore[arg-type]  # it is read, and nothing else is asked of it

    def move(self, file: BucketFile, bucket: str, key: str) -> None:
        """See `Buckets.move`. A copy and a delete: in between, both are there."""
        if not self._is_there(file):
            return
        with calling("S3", "CopyObject"):
            try:
                self._s3.copy_object(
                    Bucket=bucket,
                    Key=key,
                    CopySource={"Bucket": file.bucket, "Key": file.key},
                    CopySourceIfMatch=f'"{file.etag}"',
                )
            except ClientError as error:
                if error_code(error) in _GONE:
                    return
                raise
        self.delete(file)

    def delete(self, file: BucketFile) -> None:
        """See `Buckets.delete`."""
        if self._is_there(file):
            with calling("S3", "DeleteObject"):
                self._s3.delete_object(Bucket=file.bucket, Key=file.key)

    def _is_there(self, file: BucketFile) -> bool:
        """Return whether that version of a file still is: a newer one of its name has an event of its own."""
        with calling("S3", "HeadObject"):
            try:
                found = self._s3.head_object(Bucket=file.bucket, Key=file.key)
            except ClientError as error:
                if error_code(error) in _GONE:
                    return False
                raise
        return found["ETag"].strip('"') == file.etag
