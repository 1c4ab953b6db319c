"""Reads the flows of the corpus and says what came of an execution in the same words (see README.md)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from headrace_engine.engine import CORRELATION_LABEL
from headrace_engine.ports import LogLine
from headrace_engine.view import duration

FOLDER = Path(__file__).resolve().parent
ANYTHING = "…"

_GIVEN = {
    "inputs", "uploads", "labels", "now", "secrets", "environment", "kv", "files", "flows", "templates", "runs", "kill",
}  # fmt: skip
_OUTCOME = {"history", "error", "attempt", "revision", "labels", "variables", "tasks", "outputs", "log", "duration"}
_EXPECTED = {"state", "follower", "executions", "refused", *_OUTCOME}
_FOLLOWER = {"inputs", *_EXPECTED}
_OTHER = {"inputs", *_OUTCOME}
VERBS = {
    "save", "save-template", "execute", "kill", "pause", "resume", "restart", "restart-on", "replay", "change", "force-run", "unqueue",
}  # fmt: skip
_STEP = {"after", "cascade", "inputs", "labels", "to", "by", "task", "value", "revision", "refused"}
_TASK_RUN = {"in", "value", "iteration", "history", "attempts", "outputs", "error", "starts", "duration"}
_TIMES = ("starts", "duration")
_UNATTENDED = re.compile(r"wait: false|core\.trigger\.")
_QUIET = ("TRACE", "DEBUG")


class CorpusError(ValueError):
    """A file of the corpus does not keep to the format."""


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, where there is one: there are hundreds of files to read."""


class _Loader(_SafeLoader):
    """YAML whose only plain scalars besides texts are null, true, false and decimal numbers."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^-?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?$"), list("-0123456789")
)


@dataclass(frozen=True)
class FlowCase:
    """One file: a flow, what it is given, and its whole expected outcome."""

    path: Path
    source: str
    given: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[Mapping[str, Any]] = ()
    """What is done to the execution while it goes on."""

    @property
    def name(self) -> str:
        """Area and behaviour: the path without the ending."""
        return self.path.relative_to(FOLDER).with_suffix("").as_posix()

    @property
    def needs_virtual_time(self) -> bool:
        """True when the outcome names instants or waits, which only the virtual clock repeats.

        So too when it waits for ever for another execution, or when there are executions that it does not wait for:
        only where time is virtual is it known that nothing is left to do.
        """
        expected = self.expected
        timed = bool({"now", "kill"} & self.given.keys() or {"duration", "follower"} & expected.keys())
        timed = timed or any({"after", "execute"} & step.keys() for step in self.steps)
        timed = timed or expected.get("state") == "RUNNING"
        if "executions" in expected and (self.steps or _UNATTENDED.search(self.source + str(self.given.get("flows")))):
            return True
        return timed or any(time in task for task in expected.get("tasks") or () for time in _TIMES)


@cache
def all_cases() -> tuple[FlowCase, ...]:
    """Return every flow of the corpus, by path."""
    return tuple(read_case(path) for path in sorted(FOLDER.glob("*/*.yaml")) if path.parent.name != "invalid")


def read_case(path: Path) -> FlowCase:
    """Return the case in *path*. Raises CorpusError when it does not keep to the format."""
    source, cut, second = path.read_text(encoding="utf-8").partition("\n---\n")
    if not source.startswith("# "):
        raise CorpusError(f"{path}: the first line is not a comment that says what the flow shows")
    said = (yaml.load(second, _Loader) if cut else None) or {}  # noqa: S506 - a safe loader of our own
    _only(path, said, {"given", "steps", "expect"})
    given, steps, expected = said.get("given") or {}, said.get("steps") or [], said.get("expect") or {}
    _only(path, given, _GIVEN)
    for step in steps:
        _only(path, step, VERBS | _STEP)
        if len(step.keys() & VERBS) != 1:
            raise CorpusError(f"{path}: a step does one of {sorted(VERBS)}: {step}")
    _check_expected(path, expected)
    return FlowCase(path, source + "\n", given, expected, steps)


def _check_expected(path: Path, expected: Mapping[str, Any], known: set[str] = _EXPECTED) -> None:
    _only(path, expected, known)
    for task in expected.get("tasks") or ():
        named = task.keys() - _TASK_RUN
        if len(named) != 1:
            raise CorpusError(f"{path}: a task run is `<task id>: <STATE>` and words of {sorted(_TASK_RUN)}: {task}")
    if not all(isinstance(line, str) for line in expected.get("log") or ()):
        raise CorpusError(f"{path}: a log line is a text, `LEVEL message`")
    if "follower" in expected:
        _check_expected(path, expected["follower"], _FOLLOWER)
    for other in expected.get("executions") or ():
        named = other.keys() - _OTHER
        if len(named) != 1:
            raise CorpusError(f"{path}: an execution is `<flow id>: <STATE>` and words of {sorted(_OTHER)}: {other}")
        _check_expected(path, {word: value for word, value in other.items() if word in _OTHER}, _OTHER)


def _only(path: Path, said: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(said.keys() - known)
    if unknown:
        raise CorpusError(f"{path}: unknown words {unknown}; there are {sorted(known)}")


# -- What came of it, in the words of the format ----------------------------------------------------


@dataclass(frozen=True)
class Actual:
    """An execution as its view and its logs show it, with the one that took over, if one did."""

    view: Mapping[str, Any]
    logs: Sequence[LogLine]
    flow: Mapping[str, Any]
    """The source of its revision."""
    follower: Actual | None = None
    others: Sequence[Actual] = ()
    """All other executions there are."""


def outcome(actual: Actual, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole outcome; what is as a reader expects it by default is left out."""
    told = {"state": actual.view["state"]["current"], **_told(actual, given)}
    if actual.follower is not None:
        told["follower"] = outcome(actual.follower, given)
        for word, name in (("inputs", "inputs"), ("flowRevision", "revision")):
            if actual.follower.view[word] != actual.view[word]:
                told["follower"][name] = actual.follower.view[word]
    if actual.others:
        told["executions"] = [each for _, each in sorted(map(_other, actual.others), key=lambda other: other[0])]
    return told


def _other(actual: Actual) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return an execution beside the first, and its place among the others: by start, flow, inputs, all the rest."""
    view = actual.view
    told: dict[str, Any] = {view["flowId"]: view["state"]["current"]}
    if view["inputs"]:
        told["inputs"] = view["inputs"]
    told |= _told(actual, {})
    return (view["state"]["startDate"], view["flowId"], dump({"": view["inputs"]}), dump(told)), told


def _told(actual: Actual, given: Mapping[str, Any]) -> dict[str, Any]:
    view, flow = actual.view, actual.flow
    state = view["state"]["current"]
    told: dict[str, Any] = {}
    history = _history(view)
    if history != _usual(state):
        told["history"] = history
    if view["error"] is not None:
        told["error"] = view["error"]["message"]
    if view["metadata"]["attemptNumber"] != 1:
        told["attempt"] = view["metadata"]["attemptNumber"]
    if view["flowRevision"] != 1:
        told["revision"] = view["flowRevision"]
    labels = [f"{label['key']}={label['value']}" for label in view["labels"] if label["key"] != CORRELATION_LABEL]
    if labels != _usual_labels(flow, given):
        told["labels"] = labels
    if view["variables"] != (flow.get("variables") or {}):
        told["variables"] = view["variables"]
    told["duration"] = view["state"]["duration"]
    places = _places(view["taskRunList"])
    told["tasks"] = [_task_run(run, places) for run in view["taskRunList"]]
    if view["outputs"] is not None:
        told["outputs"] = view["outputs"]
    log = [f"{line.level.value} {line.message}" for line in actual.logs if line.level.value not in _QUIET]
    if log:
        told["log"] = log
    return told


def _usual_labels(flow: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    labels = flow.get("labels") or {}
    if isinstance(labels, list):
        labels = {label["key"]: label["value"] for label in labels}
    return [f"{key}={value}" for each in (labels, given.get("labels") or {}) for key, value in each.items()]


def _history(thing: Mapping[str, Any]) -> list[str]:
    return [entry["state"] for entry in thing["state"]["histories"]]


def _usual(state: str) -> list[str]:
    return ["CREATED", "SKIPPED"] if state == "SKIPPED" else ["CREATED", "RUNNING", state]


def _places(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Task run id to how `in` names it: the task, and the values around it as in `outputs.task[a][b]`."""
    values: dict[str, tuple[str, ...]] = {}
    places: dict[str, str] = {}
    for run in runs:
        own = () if run["value"] is None else (run["value"],)
        values[run["id"]] = (*values.get(run["parentTaskRunId"], ()), *own)
        places[run["id"]] = run["taskId"] + "".join(f"[{value}]" for value in values[run["id"]])
    return places


def _task_run(run: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    state = run["state"]["current"]
    told: dict[str, Any] = {run["taskId"]: state}
    if run["parentTaskRunId"] is not None:
        told["in"] = places[run["parentTaskRunId"]]
    for name in ("value", "iteration"):
        if run[name] is not None:
            told[name] = run[name]
    if _history(run) != _usual(state):
        told["history"] = _history(run)
    attempts = run["attempts"] or []
    if len(attempts) > 1:
        told["attempts"] = [attempt["state"]["current"] for attempt in attempts]
    if run["outputs"] is not None:
        # Where a script ran is another place in each runtime.
        told["outputs"] = {name: value for name, value in run["outputs"].items() if name != "taskRunner"}
    if run["error"] is not None:
        told["error"] = run["error"]
    starts = [datetime.fromisoformat(attempt["state"]["startDate"]) for attempt in attempts]
    told["starts"] = [duration(start - starts[0]) for start in starts]
    told["duration"] = run["state"]["duration"]
    return told


# -- Comparing --------------------------------------------------------------------------------------


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any], *, in_order: bool = True) -> str:
    """Return '' when *actual* is what *expected* says, else a diff of the two.

    in_order is false where threads decide which of two parallel task runs comes first.
    """
    wanted = _completed(expected)
    found = _comparable(wanted, actual)
    if not in_order:
        wanted, found = _sorted(wanted), _sorted(found)
    found = _conformed(wanted, found)
    if found == wanted:
        return ""
    return "\n".join(
        difflib.unified_diff(
            dump(wanted).splitlines(), dump(found).splitlines(), "expected", "actual", lineterm="", n=9
        )
    )


def _comparable(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    """Return *actual* in the order of words of *expected*, without the times that *expected* does not ask for."""
    found = {name: actual[name] for name in expected if name in actual}
    found |= {name: value for name, value in actual.items() if name not in found and name != "duration"}
    tasks = []
    for index, task in enumerate(actual.get("tasks") or ()):
        asked = expected["tasks"][index] if index < len(expected.get("tasks", ())) else {}
        tasks.append({name: value for name, value in task.items() if name not in _TIMES or name in asked})
    found["tasks"] = tasks
    if "follower" in expected and "follower" in actual:
        found["follower"] = _comparable(expected["follower"], actual["follower"])
    others = expected.get("executions") or []
    if "executions" in actual:
        padded = [*others, *[{}] * (len(actual["executions"]) - len(others))]
        found["executions"] = [
            _comparable(wanted, other) for wanted, other in zip(padded, actual["executions"], strict=False)
        ]
    return found


def _completed(expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return *expected* with the task runs it does not mention: none."""
    completed = {"tasks": [], **expected}
    if "follower" in expected:
        completed["follower"] = _completed(expected["follower"])
    if "executions" in expected:
        completed["executions"] = [_completed(other) for other in expected["executions"]]
    return completed


def _sorted(told: Mapping[str, Any]) -> dict[str, Any]:
    def key(task: Mapping[str, Any]) -> tuple[str, ...]:
        return (*(task.keys() - _TASK_RUN), str(task.get("in")), str(task.get("value")))

    told = {**told, "tasks": sorted(told["tasks"], key=key)}
    if "log" in told:
        told["log"] = sorted(told["log"])
    if "executions" in told:
        told["executions"] = sorted((_sorted(other) for other in told["executions"]), key=str)
    return told


def _conformed(expected: Any, actual: Any) -> Any:
    """Return *actual* with every text that a pattern of *expected* matches replaced by that pattern."""
    if isinstance(expected, str) and isinstance(actual, str) and ANYTHING in expected:
        pattern = ".*".join(map(re.escape, expected.split(ANYTHING)))
        return expected if re.fullmatch(pattern, actual, re.DOTALL) else actual
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return {name: _conformed(expected.get(name), value) for name, value in actual.items()}
    if isinstance(expected, list) and isinstance(actual, list):
        padded = [*expected, *[None] * max(0, len(actual) - len(expected))]
        return [_conformed(left, right) for left, right in zip(padded, actual, strict=False)]
    return actual


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None)


_Dumper.add_representer(str, _text)


def dump(told: Mapping[str, Any]) -> str:
    """Return an outcome as YAML, as it stands in a file under `expect:`."""
    return yaml.dump(
        dict(told), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=118, allow_unicode=True
    )
