"""Task runs ask AWS for no more than their budgets allow: what `make costs` counts, for the quickest paths."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def counting() -> ModuleType:
    spec = importlib.util.spec_from_file_location("aws_requests", BENCHMARKS / "aws_requests.py")
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
