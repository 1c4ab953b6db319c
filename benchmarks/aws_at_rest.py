"""What the stack costs while nothing happens, item by item, out of aws_prices.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Item:
    """What is paid for."""

    name: str
    listed: float
    """Dollars a month by the price list."""
    paid: float
    """The same within the free tier, if nothing else uses it."""


def items(prices: Mapping[str, Any]) -> list[Item]:
    """Return what a stack that chooses nothing is billed for."""
    month, million = prices["month"], prices["million"]
    return [
        Item("the KMS key that seals secrets", month["kms_key"], month["kms_key"]),
        Item(
            "the secret with the signing keys, from which the first admin's password follows",
            month["secret"],
            month["secret"],
        ),
        _polling(prices, million),
        _sweep(prices, million),
        _counted("alarms", 5, month["alarm"], prices["free"]["alarms"]),
        _counted("dashboard", 1, month["dashboard"], prices["free"]["dashboards"]),
    ]


def _polling(prices: Mapping[str, Any], million: Mapping[str, float]) -> Item:
    """The free tier counts both kinds together; here the cheaper ones are free first, which pays most."""
    rest = prices["at_rest"]
    each = rest["hours"] * 3600 / rest["poll_seconds"]
    fifo, standard = rest["fifo_pollers"] * each, rest["standard_pollers"] * each
    cost = (fifo * million["sqs_fifo_requests"] + standard * million["sqs_standard_requests"]) / 1e6
    free = prices["free"]["sqs_requests"]
    paid = max(0.0, fifo - max(0.0, free - standard)) * million["sqs_fifo_requests"] / 1e6
    name = (
        f"Lambda's polling of the queues: {(fifo + standard) / 1e6:.2f} million requests, of two FIFO queues with "
        "5 pollers each, and two others with 2"
    )
    return Item(name, cost, paid)


def _sweep(prices: Mapping[str, Any], million: Mapping[str, float]) -> Item:
    rest = prices["at_rest"]
    count = rest["hours"] * 60 / rest["sweep_minutes"]
    held = count * rest["sweep_seconds"] * prices["memory_gigabytes"]["triggers"]
    reads = count * rest["sweep_read_units"] * million["dynamodb_read_units"] / 1e6
    called = count * million["lambda_invocations"] / 1e6 + held * prices["gb_second"]["lambda"]
    free = prices["free"]
    if count > free["lambda_invocations"] or held > free["lambda_gb_seconds"]:
        raise ValueError("The sweep is beyond the free tier, which is not reckoned with")
    name = (
        f"the sweep: {count:,.0f} invocations of up to {rest['sweep_seconds']:g} s, and as many as "
        f"{rest['sweep_read_units']} read units each"
    )
    return Item(name, called + reads, reads)


def _counted(name: str, count: int, each: float, free: int) -> Item:
    return Item(f"{count} {name}", count * each, max(0, count - free) * each)


def at_rest(prices: Mapping[str, Any]) -> str:
    """Return the items as Markdown, with their sum."""
    found = items(prices)
    lines = ["| | list price | with the free tier |", "|---|---|---|"]
    lines += [f"| {each.name} | ${each.listed:.2f} | ${each.paid:.2f} |" for each in found]
    listed, paid = sum(each.listed for each in found), sum(each.paid for each in found)
    return "\n".join([*lines, f"| **sum** | **${listed:.2f}** | **${paid:.2f}** |"])
