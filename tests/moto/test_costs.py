"""Task runs ask AWS for no more than their budgets allow: what `make costs` counts, for the quickest paths."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace_engine.testing.requests import Requests
from headrace_functions.testing.aws import Clients, observer
from headrace_functions.testing.cloud import Cloud

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def counting() -> ModuleType:
    benchmark("aws_at_rest")  # which the other one imports
    return benchmark("aws_requests")


def benchmark(name: str) -> ModuleType:
    """Return a module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prices() -> dict[str, Any]:
    return tomllib.loads((BENCHMARKS / "aws_prices.toml").read_text(encoding="utf-8"))


def test_every_path_keeps_to_its_budget(counting: Any, prices: dict[str, Any]) -> None:
    """With shorter sequences than the table's: what each further task run asks for is the same."""
    meter = counting.Meter(prices)
    one = meter.measure(counting.sequence(counting.LOG, 1))
    uses = {
        "execution": one,
        "inline": (meter.measure(counting.sequence(counting.LOG, 40)) - one).over(39),
        "fan-out": (meter.measure(counting.loop(50)) - one).over(50),
    }
    for path, task in (("light", "type: bench.Light"), ("dispatched", "type: bench.Dispatched")):
        uses[path] = counting.further(meter, counting.sequence(task, 1), counting.sequence(task, 7), 6)
    for path, use in uses.items():
        assert counting.Row(path, use, counting.BUDGETS[path]).misses(prices) == []


def test_a_script_in_a_container_keeps_to_its_budget(counting: Any, prices: dict[str, Any]) -> None:
    meter, task = counting.Meter(prices), counting.script("Fargate")
    use = counting.further(meter, counting.sequence(task, 1), counting.sequence(task, 2), 1, containers=True)
    assert counting.Row("Fargate", use, counting.BUDGETS["Fargate"]).misses(prices) == []
    assert use.others["api_requests"] == 3  # it begins, says its line, and ends


@pytest.mark.slow
def test_the_table_keeps_to_its_budgets(counting: Any, prices: dict[str, Any]) -> None:
    assert counting.failures(counting.rows(prices, wide=True), prices) == []


def test_a_budget_that_is_exceeded_is_said(counting: Any, prices: dict[str, Any]) -> None:
    use = counting.Use(5.0, 0, 0, 0, 0, 0, {})
    missed = counting.Row("inline", use, counting.BUDGETS["inline"]).misses(prices)
    assert missed == ["inline: 5.00 write units where 0.35 are allowed", "inline: 3.12 dollars where 0.4 are allowed"]


def test_the_price_of_a_use_is_that_of_its_parts(counting: Any, prices: dict[str, Any]) -> None:
    use = counting.Use(1, 1, 1, 1, 1, 0.1, {"eventbridge_events": 1})
    assert use.dollars(prices) == pytest.approx(0.625 + 0.125 + 0.5 + 0.4 + 0.2 + 1.66667 + 1)


def test_a_month_at_rest_costs_less_than_two_dollars_and_is_told_as_it_is(
    counting: Any, prices: dict[str, Any]
) -> None:
    """The secret of the signing keys is in it, and with it the first admin's password."""
    found = sys.modules["aws_at_rest"].items(prices)
    listed, paid = sum(each.listed for each in found), sum(each.paid for each in found)
    assert paid < 2
    told = counting.at_rest(prices)
    assert told.splitlines()[-1] == f"| **sum** | **${listed:.2f}** | **${paid:.2f}** |"
    pages = [BENCHMARKS.parent / "docs" / "costs.md", BENCHMARKS.parent / "docs" / "aws.md"]
    costs, aws = (page.read_text(encoding="utf-8") for page in pages)
    assert told in costs
    assert f"**${paid:.2f} a month** within AWS's free tier, ${listed:.2f} beyond it" in aws


def test_a_sweep_of_a_stack_where_nothing_happens_reads_what_is_reckoned_with(prices: dict[str, Any]) -> None:
    clients = Clients()
    requests = Requests(reader=observer("dynamodb"))
    requests.watch(clients("dynamodb"))
    with Cloud(clients=clients) as cloud:
        before = requests.usage
        cloud.sweep()
        cloud.settle(None)
        assert cloud.crashes == []
        read = (requests.usage - before).of("DynamoDB")
    assert 0 < read.read_units <= prices["at_rest"]["sweep_read_units"]
    assert read.write_units == 0
