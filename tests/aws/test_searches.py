"""Searches on AWS stop when they have read enough, and go on where they stopped: nothing is missed or told twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aws.moto_table import client, moto_aws
from aws.resources import Aws
from headrace_engine.adapters.aws.executions import DynamoExecutions, SearchLimits
from headrace_engine.model.search import Condition, ExecutionQuery, Operation, Order
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionSummary, SearchTooWideError
from headrace_engine.testing.requests import Requests

START = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 36
ENDS = (State.SUCCESS, State.FAILED, State.RUNNING)


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with moto_aws() as aws:
        chance = random.Random(7)
        store = DynamoExecutions(aws.table, aws.overflow)
        for n in range(COUNT):
            state = chance.choice(ENDS)
            start = START + timedelta(seconds=n // 3)  # three begin at once
            store.put(
                ExecutionSummary(
                    f"x{chance.randrange(10**6)}n{n}",
                    chance.choice(("a", "a.b", "c")),
                    chance.choice(("f", "g")),
                    1,
                    state,
                    0,
                    start,
                    start + timedelta(seconds=1) if state.is_terminal else None,
                    labels={"team": chance.choice(("red", "blue"))},
                )
            )
        yield aws


QUERIES = {
    "all": ExecutionQuery(),
    "a namespace": ExecutionQuery(("a",)),
    "two namespaces": ExecutionQuery(("a.b", "c")),
    "a flow": ExecutionQuery(("c",), "f", conditions=(Condition("namespace", Operation.EQUALS, ("c",)),)),
    "flows of a name": ExecutionQuery(("a",), "f"),
    "failed": ExecutionQuery(states=(State.FAILED,)),
    "failed of a flow": ExecutionQuery(("c",), "f", (State.FAILED,)),
    "running": ExecutionQuery(states=(State.RUNNING, State.PAUSED)),
    "failed or running": ExecutionQuery(states=(State.FAILED, State.RUNNING)),
    "a label": ExecutionQuery(labels=(("team", "red"),)),
    "some seconds": ExecutionQuery(since=START + timedelta(seconds=5), until=START + timedelta(seconds=9)),
    "nothing": ExecutionQuery(("nowhere",)),
}


@pytest.mark.parametrize("name", QUERIES)
def test_pages_that_stop_early_give_all_once_and_in_order(aws: Aws, name: str) -> None:
    query = QUERIES[name]
    everything = DynamoExecutions(aws.table, aws.overflow).search(limit=1000).found
    assert len(everything) == COUNT
    wanted = [each.id for each in everything if query.matches(each)]
    store = DynamoExecutions(aws.table, aws.overflow, SearchLimits(keys=2, pages=13, summaries=7))
    found: list[str] = []
    after = ""
    for _ in range(200):
        page = store.search(query, limit=8, after=after)
        found += [each.id for each in page.found]
        assert page.total <= len(wanted)
        assert page.total == len(wanted) or not page.is_exact
        assert page.after or page.is_exact
        after = page.after
        if not after:
            break
    assert found == wanted
    assert page.total == len(wanted)


def test_what_cannot_be_had_from_the_indexes_is_refused(aws: Aws) -> None:
    store = DynamoExecutions(aws.table, aws.overflow, SearchLimits(keys=2, pages_of_days=9, sorted=5))
    with pytest.raises(SearchTooWideError, match="narrow the search"):
        store.search(order=(Order("duration"),))
    with pytest.raises(SearchTooWideError, match="fewer days"):
        store.daily(ExecutionQuery())
    day = DynamoExecutions(aws.table, aws.overflow).daily(ExecutionQuery())
    assert sum(tally.count for tally in day) == COUNT


def test_a_flows_page_is_a_query_a_shard_and_one_read(aws: Aws) -> None:
    requests = Requests(reader=client("dynamodb"))
    dynamodb = client("dynamodb")
    requests.watch(dynamodb)
    before = requests.usage
    DynamoExecutions(aws.table, aws.overflow).search(QUERIES["a flow"], limit=5)
    spent = requests.usage - before
    assert spent.of("DynamoDB", "Query").requests == 8
    assert spent.of("DynamoDB", "BatchGetItem").requests == 1
