"""What came of an execution, so that two runs of which one was disturbed can be compared.

Left out is what a crash may change: ids and instants, attempts that were lost (closed as RESUBMITTED) and what they
logged, and the order in which task runs side by side were created.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace_engine.core.events import AttemptEnded, Entry
from headrace_engine.model.state import State
from headrace_engine.ports import LogLine

LOST = "RESUBMITTED"
Lost = set[tuple[str, int]]
"""(task run id, number) of attempts that were lost."""


def lost_attempts(entries: Iterable[Entry]) -> Lost:
    """Return the attempts that a journal says were lost."""
    return {
        (event.task_run_id, event.number)
        for entry in entries
        for event in entry.events
        if isinstance(event, AttemptEnded) and event.state is State.RESUBMITTED
    }


def outcome(view: Mapping[str, Any], logs: Sequence[LogLine], lost: Lost) -> dict[str, Any]:
    """Return what must be the same however often the engine died on the way."""
    names = names_of(view)
    return {
        "state": view["state"]["current"],
        "history": [entry["state"] for entry in view["state"]["histories"]],
        "error": view["error"],
        "labels": [label for label in view["labels"] if not label["key"].startswith("system.")],
        "variables": view["variables"],
        "inputs": renamed(view["inputs"], names),
        "outputs": renamed(view["outputs"], names),
        "task runs": {names[run["id"]]: _task_run(run, names) for run in view["taskRunList"]},
        "order": _order(view["taskRunList"], names),
        "log": _log(logs, lost, names),
    }


def names_of(view: Mapping[str, Any]) -> dict[str, str]:
    """Return a name for every id in *view* that is the same in every run."""
    runs = {run["id"]: run for run in view["taskRunList"]}
    names = {view["id"]: "execution"}
    for run in view["taskRunList"]:
        names[run["id"]] = _place(run, runs)
        if run["outputs"] and "executionId" in run["outputs"]:
            names[run["outputs"]["executionId"]] = f"execution of {_place(run, runs)}"
    return names


def _place(run: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where in the flow a task run stands; no two of an execution of the flows here stand in one place."""
    parts = []
    current: Mapping[str, Any] | None = run
    while current is not None:
        value = "" if current["value"] is None else f"[{current['value']}]"
        parts.append(f"{current['taskId']}{value}")
        current = runs[current["parentTaskRunId"]] if current["parentTaskRunId"] is not None else None
    return "/".join(reversed(parts))


def _task_run(run: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    attempts = [attempt["state"]["current"] for attempt in run["attempts"] or ()]
    return {
        "state": run["state"]["current"],
        "history": [entry["state"] for entry in run["state"]["histories"]],
        "iteration": run["iteration"],
        "outputs": renamed(_timeless(run["outputs"]), names),
        "error": renamed(run["error"], names),
        "attempts": [attempt for attempt in attempts if attempt != LOST],
    }


def _timeless(outputs: Any) -> Any:
    """Return a task run's outputs without the instant at which a pause ended."""
    if isinstance(outputs, Mapping) and isinstance(resumed := outputs.get("resumed"), Mapping) and "on" in resumed:
        return {**outputs, "resumed": {**resumed, "on": "then"}}
    return outputs


def _order(runs: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the task runs of each lane in the order they were created; what lies side by side has no order."""
    lanes: dict[str, list[str]] = {}
    for run in runs:
        parent = names.get(run["parentTaskRunId"] or "", "execution")
        lane = f"{parent}[{run['value']}]"
        lanes.setdefault(lane, []).append(run["taskId"])
    return {lane: tasks if lane.rpartition("/")[2][:3] != "dag" else sorted(tasks) for lane, tasks in lanes.items()}


def _log(logs: Iterable[LogLine], lost: Lost, names: Mapping[str, str]) -> Counter[tuple[str, ...]]:
    return Counter(
        # A round of a loop that is over has left its lines, but no task runs.
        (
            line.level.value,
            names.get(line.task_run_id or "", line.task_id or "execution"),
            renamed(line.message, names),
        )
        for line in logs
        if (line.task_run_id, line.attempt) not in lost
    )


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return *value* with ids and the attempt's folder, which a lost attempt changes, replaced in every text."""
    if isinstance(value, str):
        for known, name in names.items():
            if known in value:
                value = re.sub(re.escape(known) + r"(/\d+(?=/))?", name, value)
        return value
    if isinstance(value, Mapping):
        return {key: renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return value
