"""Schedules on the deployed stack."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from emulator.client import NAMESPACE, Client, state
from emulator.waiting import until

pytestmark = pytest.mark.emulator

WHERE = {"namespace": NAMESPACE, "flowId": "ticks", "triggerId": "t"}


def test_a_schedule_fires_until_it_is_switched_off(client: Client) -> None:
    client.save(
        """id: ticks
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.date }}"}]
triggers: [{id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: "*/5 * * * * *", withSeconds: true}]
"""
    )

    def two() -> list[str]:
        found = [each["id"] for each in client.of_flow("ticks")]
        return found if len(found) > 1 else []

    ids = until(two, "executions of two dates")
    executions = [client.end(each) for each in ids]
    dates = [datetime.fromisoformat(each["scheduleDate"]) for each in executions]
    assert {state(each) for each in executions} == {"SUCCESS"}
    assert len(set(dates)) == len(dates)
    assert {date.second % 5 for date in dates} == {0}
    assert asked(client, {**WHERE, "disabled": True})["disabled"]
    kept = client.ask("GET", f"/triggers/{NAMESPACE}/ticks").json()["results"]
    assert [each["disabled"] for each in kept] == [True]


def test_a_backfill_runs_dates_of_the_past(client: Client) -> None:
    client.save(
        """id: yearly
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.date }}"}]
triggers: [{id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 1 1 *"}]
"""
    )
    backfill = {"start": "2021-06-01T00:00:00Z", "end": "2023-06-01T00:00:00Z"}
    asked(client, {**WHERE, "flowId": "yearly", "backfill": backfill})
    ids = until(
        lambda: [each["id"] for each in found] if len(found := client.of_flow("yearly")) == 2 else None,
        "executions of two dates",
    )
    dates = sorted(client.end(each)["scheduleDate"] for each in ids)
    assert [date[:10] for date in dates] == ["2022-01-01", "2023-01-01"]


def asked(client: Client, body: dict[str, Any]) -> Any:
    answer = client.ask("PUT", "/triggers", json.dumps(body).encode(), {"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()
