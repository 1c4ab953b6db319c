from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Headrace = Callable[..., Result]
Write = Callable[..., Path]

TASKS = "tasks:\n  - {id: a, type: io.kestra.plugin.core.debug.Return, format: x}\n"
OLD = "tasks:\n  - {id: a, type: io.kestra.core.tasks.log.Log, message: x}\n"


def test_valid_files_are_ok(headrace: Headrace, flow: Write) -> None:
    file = flow(TASKS)
    result = headrace("validate", file)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{file}: OK (demo.x)\n", "")


def test_each_problem_is_told_at_its_place_and_the_files_are_counted(
    headrace: Headrace, flow: Write, tmp_path: Path
) -> None:
    good, bad = flow(TASKS, "a"), flow("tasks: []\nlabel: x\n", "b")
    result = headrace("validate", tmp_path)
    assert result.exit_code == 2
    rows = result.stdout.splitlines()
    assert rows[0] == f"{good}: OK (demo.a)"
    assert rows[1].startswith(f"{bad}:3:8: tasks: ")
    assert rows[2].startswith(f"{bad}:4:1: label: ")
    assert rows[3:] == ["1 valid file, 1 invalid"]


def test_warnings_are_told_and_change_nothing(headrace: Headrace, flow: Write) -> None:
    file = flow(OLD)
    result = headrace("validate", file)
    assert result.exit_code == 0
    warning, ok = result.stdout.splitlines()
    assert warning.startswith(f"{file}:4:19: warning: tasks[0].type: ")
    assert ok == f"{file}: OK (demo.x)"


def test_what_a_run_would_refuse_is_told_at_its_place(headrace: Headrace, flow: Write) -> None:
    file = flow(
        "workerGroup: {key: big}\n"
        "tasks:\n"
        "  - {id: a, type: io.kestra.plugin.core.log.Log, message: x, logToFile: true}\n"
        "  - {id: b, type: io.kestra.plugin.scripts.groovy.Script, script: x}\n"
        "  - {id: c, type: io.kestra.plugin.scripts.groovy.Script, script: x, disabled: true}\n"
        "  - id: d\n"
        "    type: io.kestra.plugin.core.flow.Parallel\n"
        "    failFast: true\n"
        "    tasks: [{id: e, type: io.kestra.plugin.core.log.Log, message: x}]\n"
    )
    result = headrace("validate", file)
    assert result.exit_code == 0
    *warnings, ok = result.stdout.splitlines()
    places = [warning.partition(" is not supported by this version of Headrace: ")[0] for warning in warnings]
    assert places == [
        f"{file}:3:1: warning: workerGroup: `workerGroup`",
        f"{file}:5:62: warning: tasks[0].logToFile: `logToFile`",
        f"{file}:6:19: warning: tasks[1].type: `io.kestra.plugin.scripts.groovy.Script`",
        f"{file}:9:11: warning: tasks[3].type: `failFast: true`",
    ]
    assert ok == f"{file}: OK (demo.x)"


def test_a_trigger_that_does_not_fire_is_told(headrace: Headrace, flow: Write) -> None:
    mcp = "type: io.kestra.plugin.core.trigger.McpToolTrigger, toolName: t, title: T, toolDescription: t"
    file = flow(f"{TASKS}triggers: [{{id: tool, {mcp}}}]\n")
    result = headrace("validate", file)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        f"{file}:5:12: warning: triggers[0]: The trigger `tool` will not fire: "
        "triggers of its type start nothing in this version.",
    )


def test_json_holds_the_same_for_programs(headrace: Headrace, flow: Write) -> None:
    file = flow("tasks: []\n")
    result = headrace("validate", file, flow(OLD, "old"), "-o", "json")
    assert result.exit_code == 2
    bad, old = json.loads(result.stdout)
    message = bad["errors"][0].pop("message")
    assert message
    assert bad == {
        "file": str(file),
        "valid": False,
        "flows": [],
        "errors": [{"line": 3, "column": 8, "path": "tasks"}],
        "warnings": [],
    }
    assert (old["valid"], old["flows"], len(old["warnings"])) == (True, ["demo.old"], 1)


def test_standard_input_and_files_of_several_flows_are_read(headrace: Headrace) -> None:
    one = f"id: one\nnamespace: demo\n{TASKS}"
    result = headrace("validate", "-", stdin=f"{one}---\n{one.replace('one', 'two')}")
    assert result.stdout == "<stdin>: OK (demo.one, demo.two)\n"


def test_what_is_not_there_is_one_line(headrace: Headrace, tmp_path: Path) -> None:
    result = headrace("validate", tmp_path / "nope.yaml")
    assert (result.exit_code, result.stderr) == (2, f"Error: {tmp_path}/nope.yaml: there is no such file or folder.\n")
