"""Files and webhooks on the local runtime, as a server has it: real folders, threads and SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_cli.local import LocalOptions, LocalRuntime
from headrace_engine.adapters.local.buckets import FolderBuckets
from headrace_engine.model.trigger import WEBHOOK
from headrace_engine.trigger_events import Happened, id_for_event
from headrace_engine.webhooks import Call, Taken, UnauthorizedError, Webhooks

FLOW = """
id: heard
namespace: demo
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.body ?? read(trigger.objects[0].uri) }}"}
triggers:
  - {id: file, type: io.kestra.plugin.aws.s3.Trigger, bucket: in, action: DELETE}
  - id: hook
    type: io.kestra.plugin.core.trigger.Webhook
    key: k
    auth: {type: github, secret: "It's a Secret to Everybody"}
"""
SIGNED = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}


def opened(folder: Path) -> LocalRuntime:
    return LocalRuntime.open(folder, environment={}, options=LocalOptions(schedules=True))


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    runtime = opened(tmp_path / "data")
    yield runtime
    runtime.close()


def test_a_file_in_a_folder_starts_a_flow(runtime: LocalRuntime) -> None:
    flow = runtime.save_flow(FLOW)
    path = runtime.data_dir / "buckets" / "in" / "a.txt"
    path.parent.mkdir(parents=True)
    path.write_text("hello")
    (file,) = FolderBuckets(runtime.data_dir / "buckets", runtime.stores.storage).files()
    happened = Happened(flow, flow.triggers[0], {})
    execution_id = id_for_event(happened, "s3", file.bucket, file.key, file.version)
    assert runtime.wait(execution_id, timeout=60)
    assert [line.message for line in runtime.logs(execution_id)] == ["hello"]


def test_a_signature_stays_used_when_the_server_starts_again(tmp_path: Path) -> None:
    call = Call(SIGNED, body=b"Hello, World!")
    runtime = opened(tmp_path / "data")
    runtime.save_flow(FLOW)
    taken = Webhooks(runtime.engine, runtime.mailbox).take("demo", "heard", "k", call)
    assert isinstance(taken, Taken)
    assert taken.trigger.type == WEBHOOK
    assert runtime.wait(taken.execution_id, timeout=60)
    runtime.close()
    runtime = opened(tmp_path / "data")
    try:
        assert [line.message for line in runtime.logs(taken.execution_id)] == ["Hello, World!"]
        with pytest.raises(UnauthorizedError, match="used before"):
            Webhooks(runtime.engine, runtime.mailbox).take("demo", "heard", "k", call)
    finally:
        runtime.close()
