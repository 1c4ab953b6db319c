"""Polling on the local runtime, as a server has it: real threads, SQLite and sockets on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from headrace_cli.local import LocalOptions, LocalRuntime
from headrace_cli.polling import PollThreads
from headrace_engine.ports import QueueAddress, QueueMessage
from headrace_engine.trigger_events import Happened, id_for_event

QUEUE = "https://queues.test/orders"
"""Never contacted: the queue is this process's."""
REALTIME = f"""
id: orders
namespace: demo
tasks: [{{id: log, type: io.kestra.plugin.core.log.Log, message: "{{{{ trigger.data }}}}"}}]
triggers:
  - {{id: poll, type: io.kestra.plugin.aws.sqs.RealtimeTrigger, queueUrl: "{QUEUE}"}}
"""


class OneQueue:
    """A queue whose receiver waits until there is a message, however long that takes; or until it is closed."""

    def __init__(self) -> None:
        self._messages: Queue[QueueMessage | None] = Queue()
        self.deleted: Queue[str] = Queue()

    def send(self, message_id: str, body: str) -> None:
        self._messages.put(QueueMessage(message_id, body, message_id))

    def close(self) -> None:
        self._messages.put(None)

    def receive(
        self, queue: QueueAddress, *, at_most: int, wait: timedelta, hidden: timedelta
    ) -> Sequence[QueueMessage]:
        del queue, at_most, hidden
        try:
            message = self._messages.get(block=wait > timedelta(0))
        except Empty:
            return []
        return [message] if message is not None else []

    def delete(self, queue: QueueAddress, messages: Sequence[QueueMessage]) -> None:
        del queue
        for message in messages:
            self.deleted.put(message.id)


@pytest.fixture
def orders() -> Iterator[OneQueue]:
    orders = OneQueue()
    yield orders
    orders.close()


def opened(folder: Path, orders: OneQueue) -> LocalRuntime:
    return LocalRuntime.open(folder, environment={}, options=LocalOptions(schedules=True, queues=orders))


def test_messages_start_flows_as_they_come(tmp_path: Path, orders: OneQueue) -> None:
    runtime = opened(tmp_path / "data", orders)
    try:
        flow = runtime.save_flow(REALTIME)
        for number in range(3):
            orders.send(f"m{number}", f"order {number}")
            assert orders.deleted.get(timeout=60) == f"m{number}"
            execution_id = id_for_event(Happened(flow, flow.triggers[0], {}), "sqs", QUEUE, f"m{number}")
            assert runtime.wait(execution_id, timeout=60)
            assert [line.message for line in runtime.logs(execution_id)] == [f"order {number}"]
    finally:
        runtime.close()  # though somebody waits for a message


def test_a_server_that_starts_again_goes_on_reading(tmp_path: Path, orders: OneQueue) -> None:
    runtime = opened(tmp_path / "data", orders)
    runtime.save_flow(REALTIME)
    runtime.close()
    orders.close()
    for thread in threading.enumerate():  # who waits for a message still holds nothing of the folder
        if thread.name == "headrace-poll":
            thread.join(60)
    runtime = opened(tmp_path / "data", orders)
    try:
        orders.send("late", "order")
        assert orders.deleted.get(timeout=60) == "late"
    finally:
        runtime.close()


def test_an_api_is_asked_while_others_work(tmp_path: Path) -> None:
    asked = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"42")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    runtime = LocalRuntime.open(tmp_path / "data", environment={}, options=LocalOptions(schedules=True))
    ended = threading.Event()
    seen: list[str] = []

    def hear(execution_id: str) -> None:
        seen.append(execution_id)
        ended.set()

    runtime.hear(hear)
    try:
        runtime.save_flow(
            f"""
id: asks
namespace: demo
tasks: [{{id: log, type: io.kestra.plugin.core.log.Log, message: "{{{{ trigger.body }}}}"}}]
triggers:
  - {{id: poll, type: io.kestra.plugin.core.http.Trigger, uri: "http://127.0.0.1:{server.server_port}/", interval: PT1H}}
"""
        )
        assert asked.wait(60)
        assert ended.wait(60)
        assert runtime.wait(seen[0], timeout=60)
        assert [line.message for line in runtime.logs(seen[0])] == ["42"]
    finally:
        runtime.close()
        server.shutdown()
        server.server_close()


def test_who_is_called_for_while_at_it_begins_again_and_not_twice_at_a_time() -> None:
    threads = PollThreads()
    gate, begun = threading.Event(), Queue[str]()

    def first() -> None:
        begun.put("first")
        gate.wait(60)

    threads.begin("t", first, waits=True)
    assert begun.get(timeout=60) == "first"
    for name in ("second", "third"):
        threads.begin("t", lambda name=name: begun.put(name), waits=True)  # type: ignore[misc]  # a default binds it
    assert begun.empty()
    gate.set()
    assert begun.get(timeout=60) == "third"
    threads.close()
    threads.begin("t", lambda: begun.put("late"), waits=True)
    assert begun.empty()
