"""What a plan says of two sources of a flow, and of the dates of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from headrace_cli.remote.changes import Edge, Schedule, changes, differences, edges
from headrace_cli.remote.client import RefusedError
from headrace_cli.remote.desired import Flow
from headrace_cli.remote.names import FlowName
from headrace_cli.remote.next_dates import next_dates, schedules
from headrace_engine.api.graph import flow_graph
from headrace_engine.language import parse_flow
from headrace_engine.language.source import written

if TYPE_CHECKING:
    from headrace_cli.remote.client import Remote

NOW = datetime(2026, 3, 27, 12, tzinfo=UTC)
HEAD = "id: x\nnamespace: demo\ntasks:\n  - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}\n"
SCHEDULE = "{id: t, type: io.kestra.plugin.core.trigger.Schedule, cron: '30 2 * * *', timezone: Europe/Paris"


@pytest.mark.parametrize(
    ("trigger", "dates", "note"),
    [
        (
            f"{SCHEDULE}}}",  # on the 29th clocks leave 02:30 out
            ["03-28T02:30:00+01:00", "03-29T03:00:00+02:00", "03-30T02:30:00+02:00", "03-31T02:30:00+02:00", "04-01T02:30:00+02:00"],
            "",
        ),
        (
            f"{SCHEDULE}, conditions: [{{type: io.kestra.plugin.core.condition.DayWeek, dayOfWeek: FRIDAY}}]}}",
            ["04-03T02:30:00+02:00", "04-10T02:30:00+02:00", "04-17T02:30:00+02:00", "04-24T02:30:00+02:00", "05-01T02:30:00+02:00"],
            "",
        ),
        (
            f"{SCHEDULE}, when: \"{{{{ kv('on') }}}}\"}}",
            ["03-28T02:30:00+01:00", "03-29T03:00:00+02:00", "03-30T02:30:00+02:00", "03-31T02:30:00+02:00", "04-01T02:30:00+02:00"],
            "its conditions, which only the server can tell, are left aside",
        ),
        (
            "{id: t, type: io.kestra.plugin.core.trigger.ScheduleOnDates, dates: ['2026-01-01T00:00:00Z', '2026-12-24T18:00:00Z']}",
            ["12-24T18:00:00Z"],
            "",
        ),
        (
            "{id: t, type: io.kestra.plugin.core.trigger.ScheduleOnDates, dates: \"{{ kv('dates') }}\"}",
            [],
            "its dates are an expression",
        ),
        (f"{SCHEDULE}, disabled: true}}", [], "is disabled"),
    ],
)  # fmt: skip
def test_the_next_dates_are_those_that_will_start_it(trigger: str, dates: list[str], note: str) -> None:
    (found,) = schedules(f"{HEAD}triggers:\n  - {trigger}\n", NOW) or ()
    assert [date.removeprefix("2026-") for date in found.dates] == dates
    assert found.note == note


class Server:
    """A server that knows the dates of one schedule, or refuses to tell them."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.asked: list[str] = []
        self._refuses = refuses

    def send(self, method: str, path: str, content: str) -> Any:
        self.asked.append(f"{method} {path} {content.splitlines()[0]}")
        if self._refuses:
            raise RefusedError("Not Found", 404)
        return [{"triggerId": "t", "dates": ["2026-04-01T00:00:00Z"]}]


SERVERS_PLUGIN = f"{HEAD.replace('core.debug.Return', 'core.debug.OfTheServer')}triggers:\n  - {SCHEDULE}}}\n"


@pytest.mark.parametrize(
    "source", [SERVERS_PLUGIN, f"{HEAD}triggers:\n  - {SCHEDULE}, when: \"{{{{ kv('on') }}}}\"}}\n"]
)
def test_the_server_is_asked_for_the_dates_that_it_alone_can_tell(source: str) -> None:
    flow = Flow(FlowName("demo", "x"), source, written(source))
    server = Server()
    (told,) = next_dates(cast("Remote", server), flow, NOW)
    assert told == Schedule("t", ("2026-04-01T00:00:00Z",))
    assert server.asked == ["POST /triggers/dates id: x"]
    here = schedules(source, NOW)
    assert next_dates(cast("Remote", Server(refuses=True)), flow, NOW) == (here or ())


def test_a_server_is_not_asked_for_what_can_be_told_here() -> None:
    server = Server()
    for triggers in (f"triggers:\n  - {SCHEDULE}}}\n", ""):
        flow = Flow(FlowName("demo", "x"), HEAD + triggers, written(HEAD + triggers))
        assert next_dates(cast("Remote", server), flow, NOW) == schedules(flow.source, NOW)
    assert server.asked == []


BEFORE = """id: x
namespace: demo
labels: {team: data}
inputs: [{id: n, type: INT}, {id: m, type: INT}]
tasks:
  - id: choose
    type: io.kestra.plugin.core.flow.Switch
    value: "{{ inputs.n }}"
    cases:
      one: [{id: first, type: io.kestra.plugin.core.debug.Return, format: x}]
      two: [{id: second, type: io.kestra.plugin.core.debug.Return, format: x}]
  - id: dag
    type: io.kestra.plugin.core.flow.Dag
    tasks:
      - task: {id: left, type: io.kestra.plugin.core.debug.Return, format: x}
      - task: {id: right, type: io.kestra.plugin.core.debug.Return, format: x}
        dependsOn: [left]
errors:
  - {id: told, type: io.kestra.plugin.core.log.Log, message: x}
"""


def drawn(source: str) -> dict[str, object]:
    return dict(flow_graph(parse_flow(source), written(source)))


def test_what_lies_within_a_task_is_none_of_its_own_properties() -> None:
    after = BEFORE.replace("format: x}]\n      two", "format: y}]\n      two").replace("message: x", "message: y")
    found = changes(written(BEFORE), written(after))
    assert [part.id for part in found.tasks.changed] == ["first", "told"]
    assert not found.tasks.added
    assert not found.properties
    assert not edges(drawn(BEFORE), drawn(after))


PAUSED = """id: x
namespace: demo
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    onResume: [{id: reason, type: STRING}]
    onPause: {id: ask, type: io.kestra.plugin.core.log.Log, message: x}
"""


def test_what_a_pause_asks_is_a_property_of_it_and_no_task() -> None:
    found = changes({}, written(PAUSED))
    assert [part.id for part in found.tasks.added] == ["wait", "ask"]
    (changed,) = changes(written(PAUSED), written(PAUSED.replace("STRING", "INT"))).tasks.changed
    assert (changed.id, [each.path for each in changed.differences]) == ("wait", ["onResume[reason].type"])


def test_another_order_is_a_change_of_edges_alone() -> None:
    after = BEFORE.replace("dependsOn: [left]", "dependsOn: []").replace("one:", "uno:")
    found = changes(written(BEFORE), written(after))
    assert not found.tasks
    moved = edges(drawn(BEFORE), drawn(after))
    assert Edge("dag.left", "dag.right") in moved.removed
    assert Edge("dag", "dag.right", "parallel") in moved.added
    assert Edge("choose", "choose.first", "choice one") in moved.removed
    assert Edge("choose", "choose.first", "choice uno") in moved.added


def test_values_are_told_apart_as_deep_as_names_go() -> None:
    before = {"a": {"b": 1, "c": 2}, "list": [1], "inputs": [{"id": "n", "min": 1}, {"id": "m"}], "t": True}
    after = {"a": {"b": 1, "d": 3}, "list": [1, 2], "inputs": [{"id": "n", "min": 2}, {"id": "k"}], "t": 1}
    assert [each.path for each in differences(before, after)] == [
        "a.c", "a.d", "list", "inputs[n].min", "inputs[m]", "inputs[k]", "t",
    ]  # fmt: skip
    assert not list(differences(before, before))
