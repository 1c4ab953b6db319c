"""Objects that come into a bucket in parts: as a stream, or copied by S3 from where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.model.frozen import dataclass
from headrace_engine.ports import NotFoundError, PortError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

COPY_LIMIT = 256 * 1024 * 1024
"""Bytes that are copied in one request. S3 takes 5 GB, but whoever asks waits for it: several at a time are faster."""
_COPIERS = 8
_MOST_PARTS = 10_000
_GONE = frozenset({"NoSuchKey", "404", "412", "PreconditionFailed"})
"""It is not there, or a newer version is."""


class Parts:
    """The parts of an upload that are there."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.done: list[Any] = []

    def add(self, tag: str) -> None:
        """Note the next part, by the tag that S3 gave it."""
        self.done.append({"ETag": tag, "PartNumber": len(self.done) + 1})


@contextmanager
def upload(s3: S3Client, bucket: str, key: str, described: Mapping[str, Any] | None = None) -> Iterator[Parts]:
    """Begin an upload in parts, and end it: the object changes when the block is left, and only without error."""
    with calling("S3", "CreateMultipartUpload"):
        parts = Parts(s3.create_multipart_upload(Bucket=bucket, Key=key, **(described or {}))["UploadId"])
    try:
        yield parts
        _complete(s3, bucket, key, parts)
    except BaseException:
        with suppress(PortError), calling("S3", "AbortMultipartUpload"):  # else the bucket's lifecycle does it
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=parts.id)
        raise


def _complete(s3: S3Client, bucket: str, key: str, parts: Parts) -> None:
    with calling("S3", "CompleteMultipartUpload"):
        try:
            s3.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=parts.id, MultipartUpload={"Parts": parts.done}
            )
        except ClientError as error:
            # Nobody else knows this upload. It is complete when the answer was lost and botocore asked again.
            if error_code(error) != "NoSuchUpload":
                raise


@dataclass(frozen=True, slots=True)
class Source:
    """An object to copy."""

    bucket: str
    key: str
    size: int
    etag: str = ""
    """Of the version that is meant; whatever stands there when it is empty."""

    @property
    def named(self) -> dict[str, Any]:
        """Return how requests to copy name it."""
        only = {"CopySourceIfMatch": f'"{self.etag}"'} if self.etag else {}
        return {"CopySource": {"Bucket": self.bucket, "Key": self.key}, **only}


def copy(
    s3: S3Client,
    source: Source,
    bucket: str,
    key: str,
    *,
    limit: int = COPY_LIMIT,
    tags: str = "",
    described: Mapping[str, Any] | None = None,
) -> None:
    """Have S3 copy *source* over an object, whatever its size; the object is durable when this returns.

    The copy has the *tags* of a query string, whatever those of the source: to read them is a right of its own. Where
    it is made in parts, *described* says what else goes with it. Raises NotFoundError when the source is gone.
    """
    tagged: dict[str, Any] = {"Tagging": tags} if tags else {}
    if source.size <= limit:
        with _from(source, "CopyObject"):
            s3.copy_object(Bucket=bucket, Key=key, TaggingDirective="REPLACE", **source.named, **tagged)
        return
    part = max(limit, -(-source.size // _MOST_PARTS))
    with upload(s3, bucket, key, {**(described or {}), **tagged}) as parts:

        def one(number: int) -> str:
            begin = number * part
            with _from(source, "UploadPartCopy"):
                answer = s3.upload_part_copy(
                    Bucket=bucket,
                    Key=key,
                    CopySourceRange=f"bytes={begin}-{min(begin + part, source.size) - 1}",
                    PartNumber=number + 1,
                    UploadId=parts.id,
                    **source.named,
                )
            return str(answer["CopyPartResult"]["ETag"])

        with ThreadPoolExecutor(_COPIERS, thread_name_prefix="headrace-copy") as pool:
            for tag in pool.map(one, range(-(-source.size // part))):
                parts.add(tag)


@contextmanager
def _from(source: Source, operation: str) -> Iterator[None]:
    with calling("S3", operation):
        try:
            yield
        except ClientError as error:
            if error_code(error) in _GONE:
                raise NotFoundError(f"{source.bucket}/{source.key} is gone") from None
            raise
