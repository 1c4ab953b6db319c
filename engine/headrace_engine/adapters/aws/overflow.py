"""Where the stores put what is too large for an item: objects in S3, each named by the item that points to it.

An object stands before its item is written and is never changed. What the stores replace or refuse they remove;
a crash in between leaves an object that nothing points to, which costs its storage and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from headrace_engine.adapters.aws.errors import AwsError, calling, error_code
from headrace_engine.adapters.aws.table import INLINE_LIMIT, Item
from headrace_engine.ports import NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PREFIX = "state/"
"""Where in the bucket the objects stand, below the letter of their kind; lifecycle rules and roles name it."""


class Overflow:
    """The values of items: in the item up to INLINE_LIMIT bytes, in *bucket* above."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def keep(self, name: str, data: bytes) -> dict[str, Any]:
        """Return the attribute that holds *data*, or points to the object *name* that does since now.

        A name is used again for the same bytes only. It begins with the kind of the item.
        """
        if len(data) <= INLINE_LIMIT:
            return {"data": {"B": data}}
        place = PREFIX + name
        with calling("S3", "PutObject"):
            self._s3.put_object(Bucket=self._bucket, Key=place, Body=data)
        return {"at": {"S": place}}

    def load(self, item: Item) -> bytes:
        """Return what `keep` was given. Raises NotFoundError when the object was removed: the item has changed."""
        if "at" not in item:
            return bytes(item["data"]["B"])
        with calling("S3", "GetObject"):
            try:
                return self._s3.get_object(Bucket=self._bucket, Key=item["at"]["S"])["Body"].read()
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    raise NotFoundError(f"{item['at']['S']} is not in the bucket any more") from None
                raise

    def drop(self, item: Item | None, unless: Item | None = None) -> None:
        """Remove the object that an item which was replaced, refused or deleted points to.

        It stays when *unless*, which stands in the table, points to the same: then that item is this very one, whose
        answer was lost.
        """
        if item is not None and "at" in item and (unless or {}).get("at") != item["at"]:
            with calling("S3", "DeleteObject"):
                self._s3.delete_object(Bucket=self._bucket, Key=item["at"]["S"])

    def clear(self, folder: str) -> None:
        """Remove all objects below *folder*. Raises PortError when one stays."""
        start: dict[str, Any] = {}
        while True:
            with calling("S3", "ListObjectsV2"):
                page = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=f"{PREFIX}{folder}/", **start)
            found: list[Any] = [{"Key": each["Key"]} for each in page.get("Contents", ())]
            if found:
                with calling("S3", "DeleteObjects"):
                    answer = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": found, "Quiet": True})
                if failed := answer.get("Errors"):  # no error of the call
                    raise AwsError("S3", "DeleteObjects", failed[0].get("Code", "Unknown"))
            if not page.get("NextContinuationToken"):
                return
            start = {"ContinuationToken": page["NextContinuationToken"]}
