"""Runs a flow of the corpus: in memory on a virtual clock, there with engines that die, or as `headrace run` does."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from flows.corpus import Actual, FlowCase, outcome
from headrace_cli.local import LocalRuntime
from headrace_engine.engine import UnsupportedError
from headrace_engine.inputs import InputError
from headrace_engine.plugin import parse_duration
from headrace_engine.run_stores import RunKV, namespace_folder
from headrace_engine.services import Stores
from headrace_engine.testing.runtime import START, Letter, VirtualRuntime

_LONGEST_WAIT = 30.0

_DEATHS = 25


class FrailRuntime(VirtualRuntime):
    """Every message comes twice, and after each of the first ones the engine dies and another takes over."""

    deaths = 0

    def deliver(self, letter: Letter) -> None:
        """Handle the message, again without a memory of it, and then, for a while, die."""
        super().deliver(letter)
        self._executor.forget(letter.execution_id)
        self._executor.handle(letter.execution_id, [letter.message])
        self._executor.forget(letter.execution_id)
        if self.deaths < _DEATHS:
            self.deaths += 1
            self.world.forget()
            self._executor.close()
            self._executor = self.engine.executor(self.world.channels, is_gone=lambda _owner: True)
            self.recover()


def run_virtually(case: FlowCase, folder: Path, make: type[VirtualRuntime] = VirtualRuntime) -> dict[str, Any]:
    """Run *case* on the virtual clock; return its outcome."""
    given, flow = case.given, yaml.safe_load(case.source)
    now = datetime.fromisoformat(given["now"]) if "now" in given else START
    with make(
        now=now, secrets=given.get("secrets"), environment={"PATH": os.environ["PATH"], **given.get("environment", {})}
    ) as runtime:
        _save_flows(case, runtime.save_flow)
        _preset(runtime.stores, given, flow["namespace"])
        execution_id = ""
        for _ in range(given.get("runs", 1)):
            try:
                execution_id = runtime.create(
                    flow["namespace"], flow["id"], _inputs(given, folder), labels=given.get("labels")
                )
            except (UnsupportedError, InputError) as refused:
                return {"refused": str(refused), "tasks": []}
            if "kill" in given:
                runtime.settle(parse_duration(given["kill"]))
                runtime.kill(execution_id)
            runtime.settle()

        def actual(execution_id: str) -> Actual:
            came = runtime.outcome(execution_id)
            follower = _follower(runtime.stores, execution_id, actual)
            if follower is not None:
                for same in ("originalId", "inputs", "trigger", "flowRevision"):
                    assert follower.view[same] == came.view[same], f"the follower has another {same}"
            return Actual(came.view, came.logs, follower)

        return outcome(actual(execution_id), given, flow)


def run_locally(case: FlowCase, folder: Path) -> dict[str, Any]:
    """Run *case* on SQLite, threads and the system's clock; return its outcome."""
    given, flow = case.given, yaml.safe_load(case.source)
    environment = {"PATH": os.environ["PATH"], **given.get("environment", {})}
    for key, secret in given.get("secrets", {}).items():
        environment[f"SECRET_{key}"] = base64.b64encode(secret.encode()).decode()
    with closing(LocalRuntime.open(folder / "data", environment=environment)) as runtime:
        _save_flows(case, runtime.save_flow)
        _preset(runtime.stores, given, flow["namespace"])
        execution_id = ""
        for _ in range(given.get("runs", 1)):
            try:
                execution_id = runtime.create(
                    flow["namespace"], flow["id"], _inputs(given, folder), labels=given.get("labels")
                )
            except (UnsupportedError, InputError) as refused:
                return {"refused": str(refused), "tasks": []}
            assert runtime.wait(execution_id, _LONGEST_WAIT), "the execution did not end"
        return outcome(Actual(runtime.view(execution_id), runtime.logs(execution_id)), given, flow)


def _save_flows(case: FlowCase, save: Callable[[str], object]) -> None:
    for source in case.given.get("flows", ()):
        save(source)
    save(case.source)


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


def _follower(stores: Stores, execution_id: str, actual: Callable[[str], Actual]) -> Actual | None:
    found, _ = stores.executions.search(limit=1000)
    follower = next((summary.id for summary in found if summary.parent_id == execution_id), None)
    return None if follower is None else actual(follower)
