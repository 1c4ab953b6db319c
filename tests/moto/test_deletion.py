"""Executions deleted over the API, whose role may not write what they leave: `purger` does it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest

from headrace_engine.adapters.aws.deletion import AT_ONCE, LambdaDeletes, deletion_asked
from headrace_engine.adapters.aws.errors import AwsError
from headrace_engine.adapters.aws.events import EventError
from headrace_engine.deletion import Deletion
from headrace_engine.testing.runtime import START
from headrace_functions.testing.cloud import Cloud

FLOW = """
id: hello
namespace: flows
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: here}
  - {id: keep, type: io.kestra.plugin.core.storage.Write, content: "a file"}
"""
PAUSED = "id: paused\nnamespace: flows\ntasks: [{id: pause, type: io.kestra.plugin.core.flow.Pause}]\n"
EXECUTIONS = "/api/v1/main/executions"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        cloud.save_flow(FLOW)
        cloud.save_flow(PAUSED)
        yield cloud


def ended(cloud: Cloud, count: int = 1) -> list[str]:
    found = [cloud.create("flows", "hello") for _ in range(count)]
    cloud.settle(None)
    return found


def is_there(cloud: Cloud, execution_id: str) -> bool:
    return cloud.request("GET", f"{EXECUTIONS}/{execution_id}").status_code == 200


def stored(cloud: Cloud, execution_id: str) -> Counter[str]:
    """Return how much is stored of an execution, by kind."""
    return Counter(item["pk"]["S"][0] for item in cloud.items() if execution_id in str(item))


def test_one_execution_is_deleted_at_once_by_the_function_that_may(cloud: Cloud) -> None:
    (execution_id,) = ended(cloud)
    assert stored(cloud, execution_id).keys() >= {"X", "E", "L"}
    assert cloud.request("DELETE", f"{EXECUTIONS}/{execution_id}").status_code == 204
    assert cloud.invocations["purger"] == 1
    assert stored(cloud, execution_id).keys() <= {"X", "A"}, "a tombstone, and who deleted it"
    assert not cloud.stores.storage.list("kestra:///flows/hello/executions/")
    assert not is_there(cloud, execution_id)
    assert cloud.request("DELETE", f"{EXECUTIONS}/{execution_id}").status_code == 404


def test_what_is_to_be_kept_of_it_is_kept(cloud: Cloud) -> None:
    (execution_id,) = ended(cloud)
    query = "?deleteLogs=false&deleteStorage=false"
    assert cloud.request("DELETE", f"{EXECUTIONS}/{execution_id}{query}").status_code == 204
    assert stored(cloud, execution_id)["L"] > 0
    assert cloud.stores.storage.list("kestra:///flows/hello/executions/")


@pytest.mark.parametrize("how", ["by-ids", "by-query"])
def test_a_few_are_deleted_before_the_answer(cloud: Cloud, how: str) -> None:
    ids = ended(cloud, 3)
    query, body = ("", ids) if how == "by-ids" else ("?flowId=hello&namespace=flows", None)
    answer = cloud.request("DELETE", f"{EXECUTIONS}/{how}{query}", body=json.dumps(body).encode())
    assert (answer.status_code, answer.json()) == (200, {"count": 3})
    assert cloud.invocations["purger"] == 1
    assert not [each for each in ids if is_there(cloud, each)]


def test_many_are_accepted_and_deleted_later_on(cloud: Cloud) -> None:
    ids = ended(cloud, AT_ONCE + 1)
    answer = cloud.request("DELETE", f"{EXECUTIONS}/by-ids", body=json.dumps(ids).encode())
    assert (answer.status_code, answer.json()) == (202, {"count": len(ids)})
    assert is_there(cloud, ids[0])
    cloud.settle(None)
    assert not [each for each in ids if is_there(cloud, each)]
    assert cloud.invocations["purger"] == 1


def test_one_that_goes_on_is_refused(cloud: Cloud) -> None:
    """Unless told otherwise, which tests/emulator tries: here the clock stands while the API waits."""
    execution_id = cloud.create("flows", "paused")
    cloud.settle(None)
    refused = cloud.request("DELETE", f"{EXECUTIONS}/by-ids", body=json.dumps([execution_id]).encode())
    assert refused.status_code == 400
    assert cloud.invocations["purger"] == 0
    assert is_there(cloud, execution_id)


def test_what_is_kept_no_longer_goes_with_the_sweep(cloud: Cloud) -> None:
    rule = json.dumps({"executions": "P7D", "logs": "P1D", "files": "P2D"}).encode()
    asked = cloud.request("PUT", "/api/v1/main/namespaces/flows/retention", body=rule)
    assert asked.json()["rule"] == {"executions": "P7D", "logs": "P1D", "files": "P2D"}
    ids = ended(cloud, 3)
    waiting = cloud.create("flows", "paused")
    cloud.settle(None)
    for days, there, logs, files in ((0, True, 1, 1), (1, True, 0, 1), (2, True, 0, 0), (7, False, 0, 0)):
        cloud.clock.set(START + timedelta(days=days))
        cloud.sweep()
        cloud.settle(None)
        assert {is_there(cloud, each) for each in ids} == {there}
        assert [len(cloud.stores.logs.fetch(each)) for each in ids] == [logs] * 3
        uris = [each.uri for each in cloud.stores.storage.list("kestra:///flows/hello/executions/")]
        assert [sum(each in uri for uri in uris) for each in ids] == [files] * 3
    assert is_there(cloud, waiting)
    assert cloud.invocations["purger"] == 1
    cloud.clock.set(START + timedelta(days=7, minutes=10))
    before = Counter(cloud.asked)
    cloud.sweep()
    cloud.settle(None)
    assert (cloud.asked - before)["triggers"] < 25  # a sweep that removes nothing asks little


class Failing:
    """Lambda, where the function fails."""

    def invoke(self, **_: Any) -> Any:
        return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": BytesIO(b'{"errorMessage": "no memory"}')}


def test_a_function_that_fails_is_told_of() -> None:
    with pytest.raises(AwsError, match="no memory"):
        LambdaDeletes(Failing(), "purger")(Deletion(("one",)))  # type: ignore[arg-type]  # what it uses of a client


def test_what_cannot_be_read_deletes_nothing() -> None:
    with pytest.raises(EventError, match="executions"):
        deletion_asked({"delete": {"execution": "one"}})
