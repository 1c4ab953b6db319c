"""Table and bucket in this process: quick, and for one thread at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from moto import mock_aws

from aws.resources import REGION, Aws, make


@cache
def client(service: str) -> Any:
    """Return a client of *service*; made once, since that takes longer than most tests."""
    return boto3.client(service, region_name=REGION, aws_access_key_id="moto", aws_secret_access_key="moto")


@contextmanager
def moto_aws() -> Iterator[Aws]:
    """Yield an empty table and an empty bucket."""
    with mock_aws():
        yield make(client("dynamodb"), client("s3"))
