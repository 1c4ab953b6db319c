"""What a flow reaches of other namespaces, where the settings draw a line: through expressions and through tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from headrace_engine.language import Registry
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import VirtualRuntime
from headrace_functions.wiring import is_related

TASKS = Registry.load()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILE = "kestra:///other/team/_files/plan.txt"
RETURN = "io.kestra.plugin.core.debug.Return"


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    settings = Settings(may_reach=is_related)
    with VirtualRuntime(registry=TASKS, settings=settings, secrets={"KEY": "s3cret-value"}) as runtime:
        for namespace in ("company.one", "company.two", "other.team"):
            runtime.stores.kv.put(namespace, "key", "STRING", "value", now=NOW)
        runtime.stores.storage.put(FILE, b"plan")
        runtime.stores.storage.put("kestra:///company/two/_files/plan.txt", b"plan")
        yield runtime


def flow(task: str) -> str:
    return f"id: flow\nnamespace: company.one\ntasks:\n  - {{id: task, {task}}}\n"


def formatted(expression: str) -> str:
    return f'type: {RETURN}, format: "{{{{ {expression} }}}}"'


REACHING = [
    formatted("secret('KEY', namespace='{}')"),
    formatted("kv('key', namespace='{}')"),
    formatted("read('kestra:///{path}/_files/plan.txt')"),
    formatted("fileSize('kestra:///{path}/_files/plan.txt')"),
    "type: io.kestra.plugin.core.kv.Get, key: key, namespace: {}",
    "type: io.kestra.plugin.core.kv.Set, key: other, value: x, namespace: {}",
    "type: io.kestra.plugin.core.namespace.DownloadFiles, namespace: {}, files: ['**']",
    "type: io.kestra.plugin.core.storage.Size, uri: 'kestra:///{path}/_files/plan.txt'",
]


def put(task: str, namespace: str) -> str:
    return flow(task.replace("{path}", namespace.replace(".", "/")).replace("{}", namespace))


@pytest.mark.parametrize("task", REACHING)
def test_related_namespaces_reach_each_other(runtime: VirtualRuntime, task: str) -> None:
    assert runtime.run(put(task, "company.two")).state == "SUCCESS"


@pytest.mark.parametrize("task", REACHING)
def test_unrelated_ones_do_not(runtime: VirtualRuntime, task: str) -> None:
    outcome = runtime.run(put(task, "other.team"))
    assert outcome.state == "FAILED"
    told = " ".join(line.message for line in outcome.logs)
    assert "may not" in told or "didn't belong to" in told
    assert "s3cret" not in str(outcome.view)


def test_what_is_related() -> None:
    assert is_related("company.one", "company.two.three")
    assert is_related("company", "company.two")
    assert not is_related("company", "companytwo")
    assert not is_related("company.one", "other.company")
