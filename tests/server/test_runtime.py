"""What a server asks of the local runtime: to stop in good order, and to tell of every change."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace_cli.config import load
from headrace_cli.local import LocalOptions, LocalRuntime
from headrace_engine.ports import EXPIRED_KEYS_KEPT

FLOW = """
id: one
namespace: demo
inputs:
  - {id: n, type: STRING}
tasks:
  - id: wait
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    commands:
      - echo {{ inputs.n }} >> FOLDER/begun
      - "[ -e FOLDER/gate ] || echo > FOLDER/tells"
      - while [ ! -e FOLDER/gate ]; do sleep 0.02; done
"""
CONFIGURED = """
id: configured
namespace: demo
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: "{{ globals.region }} {{ envs.name }} {{ kestra.url }}"}
  - {id: log, type: io.kestra.plugin.core.log.Log, message: said}
outputs:
  - {id: said, type: STRING, value: "{{ outputs.a.value }} {{ secret('WORD') }}"}
"""


def test_what_waits_is_not_begun_any_more_and_runs_at_the_next_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tells")
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    runtime = LocalRuntime.open(tmp_path / "data", environment={}, options=LocalOptions(workers=1))
    try:
        runtime.save_flow(FLOW.replace("FOLDER", str(tmp_path)))
        first = runtime.create("demo", "one", {"n": "1"})
        (tmp_path / "tells").read_bytes()
        second = runtime.create("demo", "one", {"n": "2"})

        def opened() -> bool:
            gate.touch()  # it is asked while it drains
            return False

        assert runtime.drain(60, opened)
        assert begun.read_text() == "1\n"
    finally:
        runtime.close()
    runtime = LocalRuntime.open(tmp_path / "data", environment={})
    try:
        assert runtime.wait(first, 60)
        assert runtime.wait(second, 60)
        assert begun.read_text() == "1\n2\n"
    finally:
        runtime.close()


def test_patience_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tells")
    runtime = LocalRuntime.open(tmp_path / "data", environment={})
    try:
        runtime.save_flow(FLOW.replace("FOLDER", str(tmp_path)))
        runtime.create("demo", "one", {"n": "1"})
        (tmp_path / "tells").read_bytes()
        assert not runtime.drain(0.01)
    finally:
        runtime.close()


def test_flows_see_what_is_configured_and_changes_are_told(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text(
        "variables: {globals: {region: eu}, envVarsPrefix: [MY_]}\n"
        "storage: {path: files}\n"
        "url: https://flows.example.org\n"
        "plugins: {defaults: [{type: io.kestra.plugin.core.log.Log, values: {level: WARN}}]}\n"
    )
    environment = {"MY_NAME": "me", "SECRET_WORD": base64.b64encode(b"sesame").decode()}
    configuration = load(file, environment, {})
    runtime = LocalRuntime.open(
        tmp_path / "data", environment=environment, options=configuration.options(environment, "http://127.0.0.1:1")
    )
    told: list[str] = []
    runtime.hear(told.append)
    try:
        runtime.save_flow(CONFIGURED)
        execution_id = runtime.create("demo", "configured")
        assert runtime.wait(execution_id, 60)
        assert runtime.view(execution_id)["outputs"] == {"said": "eu me https://flows.example.org sesame"}
        assert [line.level.value for line in runtime.logs(execution_id)] == ["WARN"]
        state = runtime.engine.platform.state(execution_id)
        assert state is not None
        assert state.closed
        assert runtime.engine.platform.state("nobody") is None
        assert set(told) == {execution_id}
        assert len(told) >= 2
    finally:
        runtime.close()
    assert (tmp_path / "files" / "files").is_dir()
    assert not (tmp_path / "data" / "storage").exists()


def test_keys_that_have_expired_go_in_time(tmp_path: Path) -> None:
    runtime = LocalRuntime.open(tmp_path / "data", environment={})
    try:
        runtime.save_flow(CONFIGURED)
        kv, now, hour = runtime.engine.stores.kv, datetime.now(UTC), timedelta(hours=1)
        for key, ago in (("old", EXPIRED_KEYS_KEPT + 2 * hour), ("new", EXPIRED_KEYS_KEPT)):
            kv.put("demo", key, "STRING", "v", now=now - ago, ttl=hour)
        kv.put("demo", "kept", "STRING", "v", now=now)
        runtime.sweep(now)
        assert [entry.key for entry in kv.list("demo")] == ["kept", "new"]
    finally:
        runtime.close()
