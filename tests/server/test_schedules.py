"""Schedules of the local runtime, by the machine's own clock; and Kestra's client on what a server says of them."""

from __future__ import annotations

import csv
import io
import math
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from kestrapy import KestraClient, QueryFilter, TriggerControllerSetDisabledRequest
from kestrapy.exceptions import ApiException

from headrace_cli.local import LocalOptions, LocalRuntime
from headrace_engine.core.schedule.trigger import execution_id
from local_server import local_server

PATIENCE = 60
EVERY_SECOND = """
id: ticks
namespace: demo
tasks: [{id: said, type: io.kestra.plugin.core.debug.Return, format: "{{ trigger.date }}"}]
triggers:
  - {id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: "* * * * * *", withSeconds: true, allowConcurrent: true}
"""
SECOND = timedelta(seconds=1)


def opened(folder: Path, *, schedules: bool = True) -> LocalRuntime:
    return LocalRuntime.open(folder, environment={}, options=LocalOptions(schedules=schedules))


def next_dates(count: int) -> list[datetime]:
    """Return the dates of the schedule from the one after the next on."""
    now = datetime.fromtimestamp(math.ceil(datetime.now(UTC).timestamp()), UTC)
    return [now + (number + 1) * SECOND for number in range(count)]


def ran(runtime: LocalRuntime, date: datetime) -> None:
    """Wait until the execution of a date has ended; it says its date."""
    made = execution_id("demo", "ticks", "t", date)
    assert runtime.wait(made, PATIENCE), f"no execution of {date}"
    view = runtime.view(made)
    assert view["taskRunList"][0]["outputs"]["value"] == date.isoformat().replace("+00:00", "Z")


def test_dates_are_run_as_they_come_and_those_of_a_time_without_an_engine_afterwards(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "data")) as runtime:
        runtime.save_flow(EVERY_SECOND)
        first, second = next_dates(2)
        ran(runtime, first)
        ran(runtime, second)
    missed = second + SECOND
    while datetime.now(UTC) < missed + SECOND:  # the next engine comes later than that
        with closing(opened(tmp_path / "data", schedules=False)) as runtime:
            assert runtime.stores.executions.get(execution_id("demo", "ticks", "t", missed)) is None
    with closing(opened(tmp_path / "data")) as runtime:
        ran(runtime, missed)
        ran(runtime, next_dates(1)[0])


def test_where_a_flow_is_only_run_its_schedule_waits_for_a_server(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "data", schedules=False)) as runtime:
        runtime.save_flow(EVERY_SECOND)
        made = runtime.create("demo", "ticks")
        assert runtime.wait(made, PATIENCE)
        assert runtime.stores.executions.search().total == 1
    with closing(opened(tmp_path / "data")) as runtime:
        ran(runtime, next_dates(1)[0])


YEARLY = """
id: yearly
namespace: demo
tasks: [{id: pause, type: io.kestra.plugin.core.flow.Pause}]
triggers: [{id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 1 1 *"}]
"""


def test_kestras_client_deals_with_triggers(tmp_path: Path) -> None:
    with local_server(tmp_path / "data") as server, httpx.Client(base_url=server.api) as http:
        for source in (YEARLY, YEARLY.replace("id: yearly", "id: other")):
            saved = http.post("/flows", content=source, headers={"content-type": "application/x-yaml"})
            assert saved.status_code == 200, saved.text
        triggers = KestraClient(host=server.address).triggers
        by_flow = [QueryFilter(field="FLOW_ID", operation="EQUALS", value={"value": "yearly"})]
        found = triggers.search_triggers("main", page=1, size=10, sort=["flowId:desc"])
        assert [each["triggerContext"]["flowId"] for each in found["results"]] == ["yearly", "other"]
        assert triggers.search_triggers("main", filters=by_flow)["total"] == 1
        (kept,) = triggers.search_triggers_for_flow("main", "demo", "yearly")["results"]
        rows = list(csv.DictReader(io.StringIO(triggers.export_triggers("main", filters=by_flow))))
        assert [(row["flowId"], row["triggerId"]) for row in rows] == [("yearly", "t")]

        both = [{"namespace": "demo", "flowId": flow, "triggerId": "t"} for flow in ("yearly", "other")]
        asked = {"triggers": [{**kept, **each, "date": "2026-01-01T00:00:00Z"} for each in both], "disabled": True}
        switched = triggers.disabled_triggers_by_ids("main", TriggerControllerSetDisabledRequest.from_dict(asked))
        assert switched == {"count": 2}
        assert triggers.search_triggers_for_flow("main", "demo", "other")["results"][0]["disabled"]
        assert triggers.disabled_triggers_by_query("main", disabled=False, filters=by_flow) == {"count": 1}

        with pytest.raises(ApiException) as refused:
            triggers.unlock_trigger("main", "demo", "other", "t")
        assert refused.value.status == 409
        assert triggers.unlock_triggers_by_query("main", filters=by_flow)["count"] in (0, 1)
        assert triggers.restart_trigger("main", "demo", "yearly", "t")["triggerId"] == "t"

        span = {"start": "2020-12-01T00:00:00Z", "end": "2024-02-01T00:00:00Z"}
        started = http.put("/triggers", json={**both[0], "backfill": span})
        assert started.status_code == 200, started.text
        backfilled = started.json()
        assert triggers.pause_backfill("main", backfilled)["backfill"]["paused"] is True
        assert triggers.unpause_backfill_by_ids("main", [both[0]]) == {"count": 1}
        assert triggers.pause_backfill_by_query("main", filters=by_flow) == {"count": 1}
        assert triggers.unpause_backfill("main", both[0])["backfill"]["paused"] is False
        assert triggers.delete_backfill("main", both[0]).get("backfill") is None
        assert triggers.delete_backfill_by_query("main", filters=by_flow) == {"count": 0}

        triggers.delete_trigger("main", "demo", "yearly", "t")
        assert triggers.delete_triggers_by_ids("main", both) == {"count": 2}
        assert server.stop() == 0
