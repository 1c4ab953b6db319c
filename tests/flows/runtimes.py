"""Runs a flow of the corpus: in memory on a virtual clock, there with engines that die, on AWS, or as `headrace run` does."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from flows.corpus import Actual, FlowCase, outcome
from flows.steps import REFUSALS, Course, Runtime
from headrace_cli.local import LocalRuntime
from headrace_engine.plugin import parse_duration
from headrace_engine.ports import LogLine
from headrace_engine.run_stores import RunKV, namespace_folder
from headrace_engine.services import Stores
from headrace_engine.testing.runtime import START, Letter, VirtualRuntime
from headrace_functions.testing.cloud import Cloud

_LONGEST_WAIT = 30.0

_DEATHS = 25

_RESTS = ("PAUSED", "QUEUED")


class FrailRuntime(VirtualRuntime):
    """Every message comes twice, and after each of the first ones the engine dies and another takes over."""

    deaths = 0

    def deliver(self, letter: Letter) -> None:
        """Handle the message, again without a memory of it, and then, for a while, die."""
        super().deliver(letter)
        self.executor.forget(letter.execution_id)
        self.executor.handle(letter.execution_id, [letter.message])
        self.executor.forget(letter.execution_id)
        if self.deaths < _DEATHS:
            self.deaths += 1
            self.world.forget()
            self.executor.close()
            self.executor = self.engine.executor(self.world.channels, is_gone=lambda _owner: True)
            self.recover()


def run_virtually(
    case: FlowCase, folder: Path, make: Callable[..., VirtualRuntime | Cloud] = VirtualRuntime
) -> dict[str, Any]:
    """Run *case* on the virtual clock; return its outcome."""
    given, flow = case.given, yaml.safe_load(case.source)
    now = datetime.fromisoformat(given["now"]) if "now" in given else START
    with make(
        now=now, secrets=given.get("secrets"), environment={"PATH": os.environ["PATH"], **given.get("environment", {})}
    ) as runtime:
        _save_flows(case, runtime)
        _preset(runtime.stores, given, flow["namespace"])
        before: list[str] = []
        for _ in range(given.get("runs", 1)):
            try:
                execution_id = runtime.create(
                    flow["namespace"], flow["id"], _inputs(given, folder), labels=given.get("labels")
                )
            except REFUSALS as refused:
                return {"refused": str(refused), "tasks": []}
            if "kill" in given:
                runtime.settle(parse_duration(given["kill"]))
                runtime.kill(execution_id)
            if not case.steps:
                runtime.settle()
            before.append(execution_id)
        course = Course(case, runtime, flow["namespace"], flow["id"], before.pop())
        for step in case.steps:
            _pass(runtime, step.get("after"))
            course.take(step)
        runtime.settle()

        def shown(execution_id: str) -> tuple[Mapping[str, Any], Sequence[LogLine]]:
            came = runtime.outcome(execution_id)
            return came.view, came.logs

        return outcome(_actual(runtime.stores, execution_id, before, shown), given)


def _pass(runtime: VirtualRuntime | Cloud, after: str | None) -> None:
    """Let *after* go by; without it, do what is left to do now."""
    if after is None:
        runtime.settle(None)
        return
    then = runtime.clock.now() + parse_duration(after)
    runtime.settle(parse_duration(after))
    runtime.clock.set(then)


def run_locally(case: FlowCase, folder: Path) -> dict[str, Any]:
    """Run *case* on SQLite, threads and the system's clock; return its outcome."""
    given, flow = case.given, yaml.safe_load(case.source)
    environment = {"PATH": os.environ["PATH"], **given.get("environment", {})}
    for key, secret in given.get("secrets", {}).items():
        environment[f"SECRET_{key}"] = base64.b64encode(secret.encode()).decode()
    with closing(LocalRuntime.open(folder / "data", environment=environment)) as runtime:
        runtime.keep_triggered()
        _save_flows(case, runtime)
        _preset(runtime.stores, given, flow["namespace"])
        before: list[str] = []
        for _ in range(given.get("runs", 1)):
            try:
                execution_id = runtime.create(
                    flow["namespace"], flow["id"], _inputs(given, folder), labels=given.get("labels")
                )
            except REFUSALS as refused:
                return {"refused": str(refused), "tasks": []}
            _wait_for_rest(runtime, execution_id)
            before.append(execution_id)
        course = Course(case, runtime, flow["namespace"], flow["id"], before.pop())
        for step in case.steps:
            _wait_for_rest(runtime, execution_id)
            course.take(step)
        _wait_for_rest(runtime, execution_id)
        _wait_for_children(runtime, execution_id)
        for summary in runtime.stores.executions.search(limit=1000).found:
            _wait_for_rest(runtime, summary.id)

        def shown(execution_id: str) -> tuple[Mapping[str, Any], Sequence[LogLine]]:
            return runtime.view(execution_id), runtime.logs(execution_id)

        return outcome(_actual(runtime.stores, execution_id, before, shown), given)


def _wait_for_rest(runtime: LocalRuntime, execution_id: str) -> None:
    """Return when the execution has ended, or waits for a person or for another execution's end."""
    changed = threading.Event()
    runtime.subscribe(execution_id, lambda _id: changed.set(), lambda _line: None)
    while not runtime.wait(execution_id, 0):
        view = runtime.view(execution_id)
        pauses_after = view["state"]["endDate"] and any(
            run["state"]["current"] == "PAUSED" for run in view["taskRunList"]
        )
        if view["state"]["current"] in _RESTS or pauses_after:
            return
        assert changed.wait(_LONGEST_WAIT), "the execution did not end"
        changed.clear()


def _wait_for_children(runtime: LocalRuntime, execution_id: str) -> None:
    """Return when those that the execution's Subflows started are in the lists: they reply a moment before."""
    for run in runtime.view(execution_id)["taskRunList"]:
        child = (run.get("outputs") or {}).get("executionId")
        if isinstance(child, str) and runtime.executor.load(child) is not None:
            runtime.wait_for_triggered(child)  # and so for all that its last step calls for
            _wait_for_children(runtime, child)


def _actual(
    stores: Stores,
    execution_id: str,
    before: Sequence[str],
    shown: Callable[[str], tuple[Mapping[str, Any], Sequence[LogLine]]],
) -> Actual:
    """Return how the execution stands, with those that took it over and all others but the ones *before*."""
    found = stores.executions.search(limit=1000).found
    followers = {summary.parent_id: summary.id for summary in found}
    followers.pop(None, None)
    chain = [execution_id]
    while chain[-1] in followers:
        chain.append(followers[chain[-1]])
    others = [summary.id for summary in found if summary.id not in {*chain, *before}]

    def actual(execution_id: str, followed_by: Sequence[str], others: Sequence[Actual]) -> Actual:
        view, logs = shown(execution_id)
        source = stores.flows.get(view["namespace"], view["flowId"], view["flowRevision"])
        assert source is not None
        follower = actual(followed_by[0], followed_by[1:], ()) if followed_by else None
        if follower is not None:
            for same in ("originalId", "trigger"):
                assert follower.view[same] == view[same], f"the follower has another {same}"
        return Actual(view, logs, yaml.safe_load(source.source), follower, others)

    return actual(execution_id, chain[1:], [actual(other, (), ()) for other in others])


def _save_flows(case: FlowCase, runtime: Runtime) -> None:
    for source in case.given.get("templates", ()):
        runtime.save_template(source)
    for source in case.given.get("flows", ()):
        runtime.save_flow(source)
    runtime.save_flow(case.source)


def _preset(stores: Stores, given: Mapping[str, Any], namespace: str) -> None:
    for key, value in given.get("kv", {}).items():
        RunKV(stores.kv, stores.clock, namespace).set(key, value)
    for path, content in given.get("files", {}).items():
        stores.storage.put(f"kestra://{namespace_folder(namespace)}/_files/{path}", content.encode())


def _inputs(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    inputs = dict(given.get("inputs", {}))
    for name, content in given.get("uploads", {}).items():
        path = folder / f"{name}.txt"
        path.write_text(content, encoding="utf-8")
        inputs[name] = path
    return inputs
