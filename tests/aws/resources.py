"""The table and the bucket, made as the adapters expect them, on whatever answers as AWS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.storage import S3Storage
from headrace_engine.adapters.aws.table import TABLE, Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client

REGION = "eu-central-1"


@dataclass(frozen=True, slots=True)
class Aws:
    """Clients, and what they reach."""

    dynamodb: DynamoDBClient
    s3: S3Client
    table_name: str = "headrace"
    bucket: str = "headrace"
    table: Table = field(init=False)
    overflow: Overflow = field(init=False)
    storage: S3Storage = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", Table(self.dynamodb, self.table_name))
        object.__setattr__(self, "overflow", Overflow(self.s3, self.bucket))
        object.__setattr__(self, "storage", S3Storage(self.s3, self.bucket))


def make(dynamodb: DynamoDBClient, s3: S3Client, bucket: str = "headrace") -> Aws:
    """Make table and bucket. Accounts share the names of buckets."""
    aws = Aws(dynamodb, s3, bucket=bucket)
    dynamodb.create_table(**TABLE.creation(aws.table_name))
    dynamodb.update_time_to_live(
        TableName=aws.table_name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": TABLE.ttl_attribute},
    )
    s3.create_bucket(Bucket=aws.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})  # type: ignore[typeddict-item]  # one of them
    return aws
