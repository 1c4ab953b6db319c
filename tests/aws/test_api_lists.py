"""Lists of the API are queries of an index, whatever else the table and the bucket hold: counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import boto3
import pytest

from api.client import ApiClient, api_client, log_flow
from aws.moto_table import moto_aws
from aws.resources import REGION
from headrace_engine.adapters.aws.flows import DynamoFlows
from headrace_engine.adapters.aws.kv import DynamoKV
from headrace_engine.adapters.aws.overflow import Overflow
from headrace_engine.adapters.aws.storage import S3Storage
from headrace_engine.adapters.aws.table import Table
from headrace_engine.engine import Engine
from headrace_engine.services import Stores
from headrace_engine.testing.contract.support import START
from headrace_engine.testing.requests import Requests

FLOWS = 110


@pytest.fixture(scope="module")
def requests() -> Requests:
    return Requests()


@pytest.fixture(scope="module")
def api(requests: Requests) -> Iterator[ApiClient]:
    with moto_aws() as aws:
        dynamodb, s3 = (
            boto3.client(name, region_name=REGION, aws_access_key_id="moto", aws_secret_access_key="moto")
            for name in ("dynamodb", "s3")
        )
        requests.watch(dynamodb)
        requests.watch(s3)
        table, overflow = Table(dynamodb, aws.table_name), Overflow(s3, aws.bucket)

        def engine(stores: Stores, *more: Any, **options: Any) -> Engine:
            flows, kv = DynamoFlows(table, overflow), DynamoKV(table, overflow)
            return Engine(replace(stores, flows=flows, kv=kv, storage=S3Storage(s3, aws.bucket)), *more, **options)

        with api_client(engine) as client:
            for number in range(FLOWS):
                name = f"ns{number % 10}.f{number:03}"
                client.stores.flows.save(f"ns{number % 10}", f"f{number:03}", log_flow(name), START)
            for number in range(40):
                client.stores.storage.put(f"kestra:///ns1/_files/folder/{number}", b"x")
            client.stores.kv.put("ns1", "key", "STRING", "x", now=START)
            yield client


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/flows/search?size=10&page=3", {"Query": 1, "BatchGetItem": 1}),
        ("/flows/search?size=1000", {"Query": 1, "BatchGetItem": 2}),
        ("/flows/search?q=f10&namespace=ns1", {"Query": 2, "BatchGetItem": 1}),
        ("/flows/search?filters[flowId][REGEX]=nothing", {"Query": 1}),
        ("/flows/distinct-namespaces", {"Query": 1}),
        ("/flows/ns1", {"Query": 2, "BatchGetItem": 1}),
        ("/flows/ns1/f001", {"GetItem": 1}),
        ("/namespaces/search", {"Query": 1}),
        ("/namespaces/ns1", {"Query": 2}),
        ("/namespaces/ns1/kv", {"Query": 4}),
        ("/namespaces/ns1/kv/key", {"GetItem": 1}),
        ("/namespaces/ns1/files/directory", {"ListObjectsV2": 1}),
        ("/namespaces/ns1/files/directory?path=folder", {"ListObjectsV2": 1}),
        ("/namespaces/ns1/files/stats?path=folder/1", {"HeadObject": 1}),
    ],
)
def test_a_list_asks_for_what_it_shows(
    api: ApiClient, requests: Requests, target: str, asked: Mapping[str, int]
) -> None:
    before = requests.usage
    api.get(target)
    spent = (requests.usage - before).costs
    assert {operation: cost.requests for (_, operation), cost in spent.items()} == asked


def test_a_file_is_had_from_the_bucket_itself(api: ApiClient) -> None:
    response = api.ask("GET", "/namespaces/ns1/files?path=folder/1")
    assert response.status == 302
    assert response.headers["cache-control"] == "no-store"
    assert "/files/ns1/_files/folder/1?" in response.headers["location"]
    assert "Signature=" in response.headers["location"]
