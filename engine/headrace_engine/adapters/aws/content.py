"""What is too large for a queue or an invocation, in S3 under the digest of its content.

Putting the same again changes nothing, and nobody who reads it can be given something else. The bucket's lifecycle
removes it after 30 days: longer than any queue keeps a message.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import calling, error_code
from headrace_engine.ports import NotFoundError, PortError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PREFIX = "content/"
"""Where in the bucket it stands; the lifecycle rule and the roles name it."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Content:
    """Bytes by their SHA-256 digest. Only a client that signs with ``s3v4`` makes addresses of encrypted objects."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def put(self, data: bytes) -> str:
        """Keep *data*; return its digest."""
        digest = hashlib.sha256(data).hexdigest()
        with calling("S3", "PutObject"):
            self._s3.put_object(Bucket=self._bucket, Key=PREFIX + digest, Body=data)
        return digest

    def get(self, digest: str) -> bytes:
        """Return what has this digest. Raises NotFoundError."""
        with calling("S3", "GetObject"):
            try:
                data = self._s3.get_object(Bucket=self._bucket, Key=self._key(digest))["Body"].read()
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    raise NotFoundError(f"The content {digest} is not in the bucket any more") from None
                raise
        return checked(data, digest)

    def address(self, digest: str, valid: timedelta, content_type: str | None = None) -> str:
        """Return a URL from which anybody gets the content until *valid* has passed, without rights of their own.

        It is answered as *content_type*.
        """
        headers = {"ResponseContentType": content_type} if content_type else {}
        with calling("S3", "GetObject"):
            return self._s3.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": self._key(digest), **headers},
                ExpiresIn=int(valid.total_seconds()),
            )

    def _key(self, digest: str) -> str:
        # What comes from a message must not name another object.
        if not _DIGEST.fullmatch(digest):
            raise PortError("The digest of a content has 64 hexadecimal digits")
        return PREFIX + digest


def checked(data: bytes, digest: str) -> bytes:
    """Return *data* if it has this digest. Raises PortError."""
    if not hmac.compare_digest(hashlib.sha256(data).hexdigest(), digest):
        raise PortError(f"What stands in place of the content {digest} is something else")
    return data
