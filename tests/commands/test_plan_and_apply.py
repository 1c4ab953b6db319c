"""``headrace plan``, ``apply`` and ``export`` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from click.testing import Result

Remote = Callable[..., Result]

REPORT = """# the report
id: report
namespace: {namespace}
description: {description}
inputs:
  - {{id: day, type: DATE, defaults: "2024-12-31"}}
tasks:
  - {{id: load, type: io.kestra.plugin.core.debug.Return, format: "{text}"}}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2]
    tasks:
      - {{id: inner, type: io.kestra.plugin.core.debug.Return, format: x}}
triggers:
  - id: mornings
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "{cron}"
    timezone: Europe/Paris
    conditions:
      - {{type: io.kestra.plugin.core.condition.DayWeek, dayOfWeek: MONDAY}}
"""
NAPS = """id: naps
namespace: {namespace}
tasks:
  - {{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT10M}}
"""


def write(folder: Path, namespace: str, **said: str) -> None:
    words = {"namespace": namespace, "description": "first", "text": "a", "cron": "30 6 * * *", **said}
    folder.mkdir(exist_ok=True)
    (folder / "report.yaml").write_text(REPORT.format(**words))
    (folder / "naps.yaml").write_text(NAPS.format(**words))


def plan(remote: Remote, *arguments: str | Path, code: int = 2) -> Any:
    return json.loads(remote("plan", *arguments, "--json", code=code).stdout)


def test_a_folder_is_applied_once_and_then_there_is_nothing_to_do(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.one")
    todo = plan(remote, folder)
    assert [(step["action"], step["id"]) for step in todo["steps"]] == [("create", "naps"), ("create", "report")]
    assert [task["id"] for task in todo["steps"][1]["tasks"]["added"]] == ["load", "each", "inner"]
    (schedule,) = todo["steps"][1]["schedules"]
    dates = [datetime.fromisoformat(date) for date in schedule["dates"]]
    assert len(dates) == 5
    assert {(date.weekday(), date.hour, date.minute) for date in dates} == {(0, 6, 30)}, "Mondays, on Paris's clocks"

    applied = remote("apply", folder)
    assert applied.stdout == "gate.one.naps has revision 1.\ngate.one.report has revision 1.\n"
    assert plan(remote, folder, code=0)["unchanged"] == 2
    assert "Nothing to do" in remote("plan", folder).stdout
    assert "Nothing to do" in remote("apply", folder).stderr


def test_dates_that_hang_on_the_server_are_told_by_it(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "told.yaml").write_text("""id: told
namespace: gate.told
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: x}
triggers:
  - id: listed
    type: io.kestra.plugin.core.trigger.ScheduleOnDates
    dates: "{{ kv('dates') }}"
    timezone: Europe/Paris
  - {id: never, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 30 2 *"}
  - {id: off, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 * * *", disabled: true}
""")
    found = plan(remote, folder)["steps"][0]["schedules"]
    assert (found[0].get("dates"), found[0]["note"][:37]) == (None, "Its dates cannot be rendered: The key")
    remote("kv", "set", "gate.told", "dates", '["2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]')
    found = plan(remote, folder)["steps"][0]["schedules"]
    assert found[0] == {"id": "listed", "dates": ["2999-01-01T01:00:00+01:00"]}
    assert found[1] == {"id": "never"}
    assert found[2] == {"id": "off", "note": "is disabled"}


def test_a_plan_says_what_a_change_means(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.two")
    remote("apply", folder)
    napping = remote("execution", "create", "gate.two.naps").stdout.strip()
    source = (folder / "report.yaml").read_text()
    changed = source.replace("first", "second").replace('"a"', '"b"').replace("30 6", "0 7")
    changed = changed.replace(
        "triggers:", "  - {id: last, type: io.kestra.plugin.core.log.Log, message: done}\ntriggers:"
    )
    changed = changed.replace("id: inner", "id: within").replace("2024-12-31", "2024-12-30")
    (folder / "report.yaml").write_text(changed)
    (folder / "naps.yaml").write_text((folder / "naps.yaml").read_text().replace("PT10M", "PT9M"))

    naps, report = plan(remote, folder)["steps"]
    assert naps["tasks"]["changed"] == [
        {
            "id": "nap",
            "type": "io.kestra.plugin.core.flow.Sleep",
            "differences": [{"path": "duration", "before": "PT10M", "after": "PT9M"}],
        }
    ]
    assert naps["executions"] == {"total": 1, "ids": [napping]}
    assert (report["action"], report["revision"]) == ("change", 1)
    assert report["properties"] == [
        {"path": "description", "before": "first", "after": "second"},
        {"path": "inputs[day].defaults", "before": "2024-12-31", "after": "2024-12-30"},
    ]
    assert [task["id"] for task in report["tasks"]["added"]] == ["within", "last"]
    assert [task["id"] for task in report["tasks"]["removed"]] == ["inner"]
    assert [task["id"] for task in report["tasks"]["changed"]] == ["load"]
    assert report["triggers"]["changed"][0]["differences"][0]["after"] == "0 7 * * *"
    assert {"source": "each.end", "target": "last"} in report["edges"]["added"]
    assert {"source": "each", "target": "each.inner", "why": "dynamic"} in report["edges"]["removed"]
    assert "T07:00:00+0" in report["schedules"][0]["dates"][0]

    text = remote("plan", folder, code=2).stdout
    assert '    ~ format: "a" -> "b"' in text
    assert f"1 execution under way keeps the revision begun with: {napping}" in text
    assert "2 to change, 0 unchanged." in text
    shown = remote("plan", folder, "--output", "markdown", code=2).stdout
    assert shown.startswith("### Headrace plan\n")
    assert "\n```diff\n~ change gate.two.naps (revision 1, " in shown
    assert '\n~     format: "a" -> "b"\n' in shown
    remote("apply", folder)
    assert remote("plan", folder).exit_code == 0
    remote("execution", "kill", napping)


def test_a_comment_is_a_change_of_the_text_alone(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.three")
    remote("apply", folder)
    (folder / "naps.yaml").write_text(f"# `````` with a fence\n{NAPS.format(namespace='gate.three')}")
    (step,) = plan(remote, folder)["steps"]
    assert (step["action"], step["tasks"], step["edges"]) == ("rewrite", {}, {})
    assert "gate.three.naps in its text alone" in remote("plan", folder, code=2).stdout


def test_no_flow_ends_the_block_of_markdown_that_it_is_shown_in(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.fence", description='"```` ![x](y)"')
    shown = remote("plan", folder, "-o", "markdown", code=2).stdout
    assert "`````diff\n" not in shown, "a flow that is new is told of by its tasks"
    remote("apply", folder)
    write(folder, "gate.fence", description='"```` again"')
    shown = remote("plan", folder, "-o", "markdown", code=2).stdout
    assert shown.count("`````") == 2
    assert "\n`````diff\n" in shown


def test_nothing_is_deleted_unless_it_is_asked_for(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.four")
    remote("apply", folder)
    other = tmp_path / "other.yaml"
    other.write_text(NAPS.format(namespace="gate.four.below"))
    remote("flow", "save", other)
    (folder / "report.yaml").unlink()
    assert plan(remote, folder, code=0)["others"] == ["gate.four.report"]
    assert "1 other flow of these namespaces is left alone" in remote("plan", folder).stdout
    assert [(step["action"], step["id"]) for step in plan(remote, folder, "--delete")["steps"]] == [
        ("delete", "report")
    ]
    both = plan(remote, folder, "--delete", "--namespace", "gate.four")["steps"]
    assert [(step["action"], step["namespace"]) for step in both] == [
        ("delete", "gate.four"),  # it has a trigger: it goes before what nothing starts
        ("delete", "gate.four.below"),
    ]
    assert "- trigger mornings" in remote("plan", folder, "--delete", code=2).stdout
    assert remote("apply", folder, "--delete").stdout == "gate.four.report is deleted.\n"
    listed = remote("flow", "list", "--namespace", "gate.four").stdout
    assert "report" not in listed
    assert "gate.four.below" in listed


def test_nothing_is_saved_when_one_flow_is_wrong(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.five")
    (folder / "zz.yaml").write_text("id: zz\nnamespace: gate.five\ntasks: []\n")
    for verb, code in (("plan", 1), ("apply", 2)):
        assert remote(verb, folder, code=code).stderr.startswith(f"{folder}/zz.yaml:3:")
    assert remote("flow", "list", "--namespace", "gate.five").stdout.count("\n") == 1
    assert "No such option" in remote("plan", folder, "--wrong", code=1).stderr
    assert "No server answers at" in remote("plan", folder, "--server", "http://127.0.0.1:9", code=1).stderr
    assert "no such file or folder" in remote("plan", tmp_path / "nowhere", code=1).stderr


def test_an_export_is_a_folder_for_which_there_is_nothing_to_do(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.six")
    remote("apply", folder)
    out = tmp_path / "out"
    written = remote("export", out, "--namespace", "gate.six").stdout
    assert written == f"{out}/gate.six/naps.yaml\n{out}/gate.six/report.yaml\n"
    assert (out / "gate.six" / "report.yaml").read_bytes() == (folder / "report.yaml").read_bytes()
    assert plan(remote, out, code=0)["unchanged"] == 2

    (folder / "naps.yaml").write_text("")
    (folder / "naps.yaml").unlink()
    (folder / "here.yaml").write_text(NAPS.format(namespace="gate.six").replace("PT10M", "PT1M"))
    assert f"{folder}/here.yaml\n" in remote("export", folder, "--namespace", "gate.six").stdout
    assert "PT10M" in (folder / "here.yaml").read_text(), "where the flow stands already"
    (folder / "here.yaml").unlink()
    (folder / "gate.six").mkdir()
    (folder / "gate.six" / "naps.yaml").write_text(NAPS.format(namespace="gate.six.other"))
    assert "holds something else" in remote("export", folder, "--namespace", "gate.six", code=2).stderr
    assert "no such flow" in remote("export", out, "--namespace", "gate.none", code=2).stderr


def test_templates_beside_the_flows_are_left_alone(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    write(folder, "gate.templates")
    (folder / "shared.template.yaml").write_text("id: shared\nnamespace: gate.templates\ntasks: [wrong]\n")
    assert [step["id"] for step in plan(remote, folder)["steps"]] == ["naps", "report"]
    assert "shared" not in remote("apply", folder).stdout
    assert "shared" not in remote("flow", "list", "--namespace", "gate.templates").stdout
    out = tmp_path / "out"
    out.mkdir()
    (out / "shared.template.yaml").write_text("mine")
    assert remote("export", out, "--namespace", "gate.templates").stdout.count("\n") == 2
    assert (out / "shared.template.yaml").read_text() == "mine"
    assert plan(remote, out, code=0)["unchanged"] == 2
