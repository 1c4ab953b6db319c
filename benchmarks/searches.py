"""How long searches among many executions take: locally in milliseconds, on AWS in requests and read units.

    python benchmarks/searches.py                  # 100,000 executions in SQLite
    python benchmarks/searches.py --aws 20000      # so many in an emulated DynamoDB: what each search asks for

The executions are those of a made-up company: 200 flows in 40 namespaces, of which a few run most of the time.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.executions import SqliteExecutions
from headrace_engine.model.ids import new_id
from headrace_engine.model.search import Condition, ExecutionQuery, Operation, Order
from headrace_engine.model.state import State
from headrace_engine.ports import ExecutionPage, Executions, ExecutionSummary

NOW = datetime(2026, 1, 31, tzinfo=UTC)
_ENDS = (State.SUCCESS,) * 90 + (State.FAILED,) * 6 + (State.WARNING,) * 3 + (State.KILLED,)
_REPEATS = 5


def executions(count: int) -> Iterator[ExecutionSummary]:
    """Yield *count* executions of the last thirty days; some dozens have not ended."""
    chance = random.Random(1)  # noqa: S311 - made-up data, the same every time
    flows = [(f"company.team{n % 40}", f"flow-{n}") for n in range(200)]
    weights = [1 / (n + 1) for n in range(200)]
    start = NOW - timedelta(days=30)
    step = timedelta(days=30) / count
    for n in range(count):
        namespace, flow_id = chance.choices(flows, weights)[0]
        begin = start + n * step
        is_open = n >= count - 50 and chance.random() < 0.5
        yield ExecutionSummary(
            new_id(),
            namespace,
            flow_id,
            1,
            State.RUNNING if is_open else chance.choice(_ENDS),
            3,
            begin,
            None if is_open else begin + timedelta(seconds=chance.random() * 100),
            NOW + timedelta(minutes=10) if is_open else None,
            {"team": f"t{n % 40}", "run": f"r{n % 1000}"},
        )


def one_flow(number: int) -> ExecutionQuery:
    """Return what means the executions of one flow."""
    namespace = f"company.team{number % 40}"
    exactly = (Condition("namespace", Operation.EQUALS, (namespace,)),)
    return ExecutionQuery((namespace,), f"flow-{number}", conditions=exactly)


def searches(store: Executions) -> dict[str, Callable[[], ExecutionPage | object]]:
    """Return the searches that people make."""
    failed, running = (State.FAILED,), (State.RUNNING, State.PAUSED)
    return {
        "newest of all": lambda: store.search(limit=25),
        "page 40 of all": lambda: store.search(limit=25, offset=1000),
        "newest of a busy flow": lambda: store.search(one_flow(0), limit=25),
        "newest of a rare flow": lambda: store.search(one_flow(199), limit=25),
        "newest of a namespace": lambda: store.search(ExecutionQuery(("company.team3",)), limit=25),
        "failed, of all": lambda: store.search(ExecutionQuery(states=failed), limit=25),
        "failed, of a busy flow": lambda: store.search(ExecutionQuery(("company.team0",), "flow-0", failed), limit=25),
        "running": lambda: store.search(ExecutionQuery(states=running), limit=25),
        "a day": lambda: store.search(
            ExecutionQuery(since=NOW - timedelta(days=4), until=NOW - timedelta(days=3)), limit=25
        ),
        "a label": lambda: store.search(ExecutionQuery(labels=(("run", "r77"),)), limit=25),
        "a word": lambda: store.search(ExecutionQuery(words=("flow-199",)), limit=25),
        "a regular expression": lambda: store.search(
            ExecutionQuery(conditions=(Condition("flowId", Operation.REGEX, ("-1[0-9]$",)),)), limit=25
        ),
        "longest of a rare flow": lambda: store.search(one_flow(199), order=(Order("duration"),), limit=25),
        "thirty days by day": lambda: store.daily(ExecutionQuery(since=NOW - timedelta(days=30))),
    }


def locally(count: int) -> None:
    """Print the milliseconds of each search in SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "headrace.db")
        store = SqliteExecutions(database)
        begin = time.perf_counter()
        for summary in executions(count):
            store.put(summary)
        database.flush()
        spent = time.perf_counter() - begin
        print(f"{count:,} executions written in {spent:.1f} s, {spent / count * 1e6:.0f} µs each")
        for name, search in searches(store).items():
            times = []
            for _ in range(_REPEATS):
                begin = time.perf_counter()
                found = search()
                times.append((time.perf_counter() - begin) * 1000)
            print(f"{name:28}{min(times):8.1f} ms   {_of(found)}")
        database.close()


def on_aws(count: int) -> None:
    """Print what each search asks of DynamoDB."""
    import boto3
    from moto import mock_aws

    from headrace_engine.adapters.aws.executions import DynamoExecutions
    from headrace_engine.adapters.aws.overflow import Overflow
    from headrace_engine.adapters.aws.table import TABLE, Table

    with mock_aws():
        options = {"region_name": "eu-central-1", "aws_access_key_id": "moto", "aws_secret_access_key": "moto"}
        dynamodb = boto3.client("dynamodb", **options)  # type: ignore[call-overload]
        dynamodb.create_table(**TABLE.creation("bench"))
        table = Table(dynamodb, "bench")
        store = DynamoExecutions(table, Overflow(boto3.client("s3", **options), "bench"))  # type: ignore[call-overload]
        table.put_many(store.item(summary) for summary in executions(count))
        asked: list[tuple[str, int]] = []
        dynamodb.meta.events.register(
            "after-call.dynamodb",
            lambda http_response, model, **_: asked.append((model.name, len(http_response.content))),
        )
        print(f"{count:,} executions")
        for name, search in searches(store).items():
            asked.clear()
            found = search()
            queries = sum(operation == "Query" for operation, _ in asked)
            size = sum(size for _, size in asked)
            print(f"{name:28}{queries:4} queries {len(asked) - queries:4} reads {size / 1024:9,.0f} KiB   {_of(found)}")


def _of(found: object) -> str:
    if not isinstance(found, ExecutionPage):
        return ""
    return f"{len(found.found)} of {found.total:,}{'' if found.is_exact else ' or more'}"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--aws", type=int, default=0, help="so many executions in an emulated DynamoDB instead")
    options = parser.parse_args()
    if options.aws:
        on_aws(options.aws)
    else:
        locally(options.count)


if __name__ == "__main__":
    main()
