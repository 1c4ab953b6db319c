"""Triggers that ask again and again: an HTTP API on loopback, queues in memory, a clock that is moved."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from headrace_engine.adapters.memory import MemoryQueues
from headrace_engine.language import FlowError, Registry
from headrace_engine.language.parser import check
from headrace_engine.polling import sqs
from headrace_engine.polling.asked import Poll
from headrace_engine.ports import PortError, QueueAddress
from headrace_engine.testing.runtime import Outcome, VirtualRuntime
from headrace_engine.trigger_operations import TriggerName, TriggerOperations

TASKS = Registry.load()
MINUTE = timedelta(minutes=1)
HOLD = "{id: hold, type: io.kestra.plugin.core.flow.Pause, pauseDuration: PT3M}"
SAY = '{{id: say, type: io.kestra.plugin.core.log.Log, message: "{0}"}}'
QUEUE = "https://queues.test/orders"
"""Never contacted: the queues are in memory."""


class Site:
    """An HTTP API that answers what a test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: Callable[[int], tuple[int, str]] = lambda _number: (200, "ok")
        site = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.asked.append((self.command, self.path, headers, body))
                status, text = site.answers(len(site.asked))
                self.send_response(status)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _answer  # noqa: N815 - BaseHTTPRequestHandler's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/state"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


class Scene:
    """A runtime on a clock, with queues in memory."""

    def __init__(self) -> None:
        self.runtime = VirtualRuntime(schedules=True, registry=TASKS, secrets={"TOKEN": "s3same-s3same"})
        self.queues = MemoryQueues(self.runtime.clock)
        self.restart()

    def restart(self) -> None:
        """Have another process take over: what was set going is lost, what is stored and sent stays."""
        world = self.runtime.world
        self.runtime = VirtualRuntime(schedules=True, registry=TASKS, world=world, queues=self.queues)

    def settle(self, length: timedelta) -> None:
        end = self.runtime.clock.now() + length
        self.runtime.settle(length)
        self.runtime.clock.set(end)

    def executions(self) -> list[Outcome]:
        page = self.runtime.stores.executions.search(limit=100)
        return [self.runtime.outcome(each.id) for each in reversed(page.found)]

    def said(self) -> list[str]:
        return [line.message for outcome in self.executions() for line in outcome.logs]

    def states(self) -> list[str]:
        return [outcome.state for outcome in self.executions()]

    def record(self, flow: str = "polls", trigger: str = "poll") -> Any:
        return self.runtime.stores.triggers.get("demo", flow, trigger)


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.runtime.close()


def flow(kind: str, *more: str, task: str = SAY.format("{{ trigger }}")) -> str:
    lines = "".join(f"    {line}\n" for line in more)
    return f"id: polls\nnamespace: demo\ntasks: [{task}]\ntriggers:\n  - id: poll\n    type: {kind}\n{lines}"


def http(site: Site, *more: str, task: str = SAY.format("{{ trigger.body }} {{ trigger.code }}")) -> str:
    return flow("io.kestra.plugin.core.http.Trigger", f"uri: {site.url}", *more, task=task)


def realtime(*more: str, task: str = SAY.format("{{ trigger.data }}")) -> str:
    return flow("io.kestra.plugin.aws.sqs.RealtimeTrigger", f"queueUrl: {QUEUE}", *more, task=task)


def batches(*more: str, task: str = SAY.format("{{ trigger.count }} {{ read(trigger.uri) }}")) -> str:
    return flow("io.kestra.plugin.aws.sqs.Trigger", f"queueUrl: {QUEUE}", *more, task=task)


# -- HTTP -------------------------------------------------------------------------------------------


def test_an_api_is_asked_at_once_and_then_every_minute(scene: Scene, site: Site) -> None:
    site.answers = lambda number: (200, f"answer {number}")
    scene.runtime.save_flow(http(site))
    scene.settle(3.5 * MINUTE)
    assert scene.said() == [f"answer {number} 200" for number in (1, 2, 3, 4)]


def test_only_an_answer_that_fits_starts_an_execution(scene: Scene, site: Site) -> None:
    site.answers = lambda number: (200, json.dumps({"price": 120 - number}))
    condition = "responseCondition: '{{ json(response.body).price <= 118 and response.statusCode == 200 }}'"
    scene.runtime.save_flow(http(site, condition, "interval: PT30S"))
    scene.settle(1.2 * MINUTE)
    assert scene.said() == ['{"price": 118} 200', '{"price": 117} 200']
    assert len(site.asked) == 3


def test_by_default_an_error_starts_nothing(scene: Scene, site: Site) -> None:
    site.answers = lambda number: (503 if number < 3 else 200, "x")
    scene.runtime.save_flow(http(site))
    scene.settle(2.5 * MINUTE)
    assert (len(site.asked), len(scene.executions())) == (3, 1)


def test_the_request_is_what_the_trigger_says_and_secrets_are_seen_by_nobody_else(
    scene: Scene, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    more = ("method: POST", "headers: {x-token: \"{{ secret('TOKEN') }}\"}", "body: '{\"a\": 1}'")
    query = "params: {q: \"{{ secret('TOKEN') }}\"}"
    scene.runtime.save_flow(http(site, *more, query, task=SAY.format("{{ trigger }}")))
    scene.settle(0.5 * MINUTE)
    ((method, path, headers, body),) = site.asked
    assert (method, path, body) == ("POST", "/state?q=s3same-s3same", b'{"a": 1}')
    assert headers["x-token"] == "s3same-s3same"
    (execution,) = scene.executions()
    assert "s3same" not in json.dumps(execution.view) + "".join(scene.said()) + caplog.text


def test_a_body_may_be_kept_encrypted_and_is_judged_all_the_same(scene: Scene, site: Site) -> None:
    site.answers = lambda _number: (200, "classified")
    condition = "responseCondition: \"{{ response.body == 'classified' }}\""
    opened = SAY.format("{{ trigger.encryptedBody.type }} {{ trigger.body is defined }}")
    scene.runtime.save_flow(http(site, condition, "encryptBody: true", task=opened))
    scene.settle(MINUTE / 2)
    assert scene.said() == ["io.kestra.datatype:aes_encrypted false"]
    (execution,) = scene.executions()
    assert "classified" not in json.dumps(execution.view)


def test_it_waits_for_its_execution_and_asks_again_when_that_has_ended(scene: Scene, site: Site) -> None:
    scene.runtime.save_flow(http(site, task=HOLD))
    scene.settle(2.5 * MINUTE)
    assert len(site.asked) == 1
    scene.settle(MINUTE)
    assert len(site.asked) == 2


def test_concurrent_executions_are_allowed_where_the_trigger_says_so(scene: Scene, site: Site) -> None:
    scene.runtime.save_flow(http(site, "allowConcurrent: true", task=HOLD))
    scene.settle(2.5 * MINUTE)
    assert len(scene.executions()) == 3


def test_stop_after_switches_it_off(scene: Scene, site: Site) -> None:
    scene.runtime.save_flow(http(site, "stopAfter: [SUCCESS]"))
    scene.settle(10 * MINUTE)
    assert (len(site.asked), scene.record().disabled) == (1, True)
    TriggerOperations(scene.runtime.engine).set_disabled(TriggerName("demo", "polls", "poll"), disabled=False)
    scene.settle(10 * MINUTE)
    assert (len(site.asked), scene.record().disabled) == (2, True)


def test_conditions_are_asked_before_anybody_is(scene: Scene, site: Site) -> None:
    condition = "conditions: [{type: io.kestra.plugin.core.condition.DayWeek, dayOfWeek: FRIDAY}]"
    scene.runtime.save_flow(http(site, condition, "interval: PT12H"))  # the clock begins on a Thursday
    scene.settle(timedelta(days=2, hours=-1))
    assert len(site.asked) == 2


def test_nobody_who_answers_is_asked_again_and_fails_only_where_that_is_wanted(
    scene: Scene, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    scene.runtime.save_flow(http(site).replace(site.url, "http://127.0.0.1:1/nobody"))
    scene.settle(1.5 * MINUTE)
    assert scene.executions() == []
    assert caplog.text.count("The trigger demo.polls.poll failed: GET http://127.0.0.1:1/nobody") == 2
    scene.runtime.save_flow(http(site, "failOnTriggerError: true").replace(site.url, "http://127.0.0.1:1/nobody"))
    scene.settle(0.5 * MINUTE)
    assert scene.states() == ["FAILED"]


def test_a_changed_trigger_asks_at_once_a_deleted_one_never_again(scene: Scene, site: Site) -> None:
    scene.runtime.save_flow(http(site, "interval: PT1H"))
    scene.settle(MINUTE)
    scene.runtime.save_flow(http(site, "interval: PT2H"))
    scene.settle(MINUTE)
    assert len(site.asked) == 2
    scene.runtime.engine.delete_flow("demo", "polls")
    scene.settle(timedelta(hours=5))
    assert len(site.asked) == 2


def test_events_with_the_same_key_start_one_execution(scene: Scene, site: Site) -> None:
    site.answers = lambda number: (200, "ab"[number // 3])
    scene.runtime.save_flow(http(site, "idempotencyKey: '{{ trigger.body }}'"))
    scene.settle(3.5 * MINUTE)
    assert len(site.asked) == 4
    assert scene.said() == ["a 200", "b 200"]


def test_a_process_that_took_over_goes_on_where_the_last_one_was(scene: Scene, site: Site) -> None:
    scene.runtime.save_flow(http(site, "interval: PT10M"))
    scene.settle(MINUTE)
    scene.runtime.world.forget()
    scene.restart()
    scene.runtime.recover()
    scene.settle(8 * MINUTE)
    assert len(site.asked) == 1
    scene.settle(2 * MINUTE)
    assert len(site.asked) == 2


def test_who_was_cut_off_after_starting_an_execution_starts_it_once(scene: Scene, site: Site) -> None:
    def lost(*_arguments: Any) -> None:
        raise PortError("the timer could not be set")

    scene.runtime.save_flow(http(site))
    world = scene.runtime.world
    kept, world.wake_trigger = world.wake_trigger, lost  # type: ignore[method-assign]  # a double of the port
    with pytest.raises(PortError):
        scene.runtime.settle(MINUTE / 2)
    world.wake_trigger = kept  # type: ignore[method-assign]
    scene.settle(MINUTE / 2)
    assert len(scene.executions()) == 1


# -- SQS --------------------------------------------------------------------------------------------


def test_each_message_starts_an_execution_and_leaves_the_queue(scene: Scene) -> None:
    scene.queues.send(QUEUE, *(f"order {number}" for number in range(25)))
    scene.runtime.save_flow(realtime())
    scene.settle(MINUTE / 2)
    assert sorted(scene.said()) == sorted(f"order {number}" for number in range(25))
    assert scene.queues.left(QUEUE) == []
    scene.queues.send(QUEUE, "late")
    scene.settle(MINUTE)
    assert scene.said()[-1] == "late"


def test_json_messages_are_read_and_what_is_none_is_left(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.queues.send(QUEUE, '{"id": 7}', "{", group="g")
    scene.runtime.save_flow(realtime("serdeType: JSON", task=SAY.format("{{ trigger.data.id }} {{ trigger.groupId }}")))
    scene.settle(MINUTE / 2)
    assert scene.said() == ["7 g"]
    assert scene.queues.left(QUEUE) == ["{"]
    assert "is no JSON" in caplog.text


def test_a_message_that_comes_again_starts_nothing_again(scene: Scene) -> None:
    scene.queues.send(QUEUE, "once")
    scene.runtime.save_flow(realtime("autoDelete: false"))
    scene.settle(5 * MINUTE)
    assert scene.said() == ["once"]
    assert scene.queues.left(QUEUE) == ["once"]
    assert len(scene.queues.asked) > 3


def test_a_queue_that_cannot_be_read_is_tried_again(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.runtime.save_flow(realtime())
    scene.settle(1.5 * MINUTE)
    assert "There is no queue" in caplog.text
    scene.queues.send(QUEUE, "at last")
    scene.settle(MINUTE)
    assert scene.said() == ["at last"]


def test_credentials_reach_the_queue_and_nothing_else(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    keys = ("accessKeyId: AKIA", "secretKeyId: \"{{ secret('TOKEN') }}\"", "region: eu-west-1")
    scene.runtime.save_flow(realtime(*keys))
    scene.settle(MINUTE / 2)
    (asked,) = set(scene.queues.asked)
    assert (asked.access_key, asked.secret_key, asked.region) == ("AKIA", "s3same-s3same", "eu-west-1")
    assert "s3same" not in repr(asked) + caplog.text


def test_messages_that_are_taken_together_start_one_execution(scene: Scene) -> None:
    scene.queues.send(QUEUE, *"abcde")
    scene.runtime.save_flow(batches("maxRecords: 3"))
    scene.settle(MINUTE / 2)
    assert scene.said() == ['3 "a"\n"b"\n"c"\n']
    scene.settle(MINUTE)
    assert scene.said()[1:] == ['2 "d"\n"e"\n']
    assert scene.queues.left(QUEUE) == []


def test_no_messages_start_nothing(scene: Scene) -> None:
    scene.queues.send(QUEUE)
    scene.runtime.save_flow(batches("maxDuration: PT5S", "interval: PT10S"))
    scene.settle(MINUTE)
    assert scene.executions() == []
    assert len(scene.queues.asked) == 7


class Cut(Exception):  # noqa: N818 - named for the situation
    """The process ended here."""


class CutMailbox:
    """Ends the process before or after a message was sent."""

    def __init__(self, scene: Scene, *, after: bool) -> None:
        self._world, self._after = scene.runtime.world, after

    def send(self, execution_id: str, message: bytes) -> None:
        if self._after:
            self._world.send(execution_id, message)
        raise Cut


@pytest.mark.parametrize("after", [False, True])
def test_who_was_cut_off_loses_and_doubles_no_message(scene: Scene, *, after: bool) -> None:
    definition = scene.runtime.save_flow(batches("maxRecords: 3", "allowConcurrent: true"))
    scene.queues.send(QUEUE, "a", "b")
    poll = Poll(definition, definition.triggers[0], scene.runtime.clock.now())
    with pytest.raises(Cut):
        sqs.take(scene.runtime.engine, CutMailbox(scene, after=after), scene.queues, poll, MINUTE)
    scene.queues.send(QUEUE, "c")
    scene.settle(3 * MINUTE)  # what was received and not deleted has come again by then, and not all of it at once
    lines = [line for said in scene.said() for line in said.partition(" ")[2].split()]
    assert sorted(lines) == ['"a"', '"b"', '"c"']
    assert scene.queues.left(QUEUE) == []


@pytest.mark.parametrize("before", ["receive", "put"])
def test_two_who_receive_the_same_message_make_one_execution_of_it(scene: Scene, before: str) -> None:
    """One is so slow that its messages come to the other, too: before it looked whose they are, and after."""
    definition = scene.runtime.save_flow(batches("maxRecords: 3", "disabled: true"))
    scene.queues.send(QUEUE, "a", "b")
    poll = Poll(definition, definition.triggers[0], scene.runtime.clock.now())
    slow = Slow(scene, before, poll)
    scene.runtime.world.stores = replace(scene.runtime.stores, storage=slow)
    scene.restart()
    sqs.take(scene.runtime.engine, scene.runtime.world, slow, poll, MINUTE)
    assert slow.has_happened
    scene.settle(MINUTE)
    assert scene.said() == ['3 "a"\n"b"\n"c"\n']
    assert scene.queues.left(QUEUE) == []


class Slow:
    """Queues and storage of a process that another one overtakes."""

    def __init__(self, scene: Scene, before: str, poll: Poll) -> None:
        self._scene, self._before, self._poll = scene, before, poll
        self._storage = scene.runtime.stores.storage
        self.has_happened = False

    def _overtaken(self, what: str) -> None:
        if what == self._before and not self.has_happened:
            self.has_happened = True
            scene = self._scene
            scene.runtime.clock.set(scene.runtime.clock.now() + MINUTE)
            scene.queues.send(QUEUE, "c")
            sqs.take(scene.runtime.engine, scene.runtime.world, scene.queues, self._poll, MINUTE)

    def receive(self, queue: QueueAddress, **options: Any) -> Any:
        found = self._scene.queues.receive(queue, **options)
        self._overtaken("receive" if found else "")
        return found

    def delete(self, *arguments: Any) -> Any:
        if len(arguments) == 1:
            return self._storage.delete(*arguments)
        return self._scene.queues.delete(*arguments)

    def put(self, uri: str, content: Any) -> None:
        self._overtaken("put")
        self._storage.put(uri, content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


# -- What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (batches(), "`maxRecords` or `maxDuration` says when to stop: give one of them."),
        (
            realtime("stsRoleArn: arn:aws:iam::1:role/x"),
            "The trigger `poll` cannot fire: `stsRoleArn` is not supported: give the role that runs Headrace access to "
            "the queue, or an access key.",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_the_flow_is_saved(scene: Scene, source: str, why: str) -> None:
    with pytest.raises(FlowError) as refused:
        scene.runtime.save_flow(source)
    assert [problem.message for problem in refused.value.problems] == [why]


def test_only_flow_triggers_wait_for_several_things() -> None:
    source = """
id: hooked
namespace: demo
tasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: x}]
triggers:
  - id: hook
    type: io.kestra.plugin.core.trigger.Webhook
    key: k
    conditions:
      - type: io.kestra.plugin.core.condition.MultipleCondition
        id: m
        window: P1D
        conditions: {a: {type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: demo, flowId: x}}
"""
    assert [problem.message for problem in check(source, registry=TASKS).errors] == [
        "The trigger `hook` cannot fire: only a Flow trigger waits for several executions (`MultipleCondition`)."
    ]
