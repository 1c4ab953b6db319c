"""What AWS does around the functions, as `Cloud` plays it, and what becomes of executions that meet its limits."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from crash.cloud_scenes import tasks
from headrace_engine.adapters.aws.events import read_event
from headrace_engine.testing.requests import item_size
from headrace_functions.testing.aws import by_moto
from headrace_functions.testing.cloud import Cloud
from headrace_functions.testing.limits import ASYNCHRONOUS_PAYLOAD, HTTP_BODY, OVERRIDES, LimitError
from headrace_functions.testing.shapes import failure_record, sweep_event

KIB, MIB = 1024, 1024 * 1024
SAMPLES = Path(__file__).resolve().parents[2] / "events" / "samples"
STATE_ITEM = 100 * KIB
HELLO = """
id: hello
namespace: flows
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hello}]
"""

LISTENER = """
id: listener
namespace: flows
triggers: [{id: after, type: io.kestra.plugin.core.trigger.Flow}]
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: heard}]
"""


def shape(value: Any) -> Any:
    """Return *value* with every text and number replaced by its type; the keys stay."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


class Seen(Cloud):
    """A cloud that keeps what each function was called with."""

    def __init__(self, **options: Any) -> None:
        self.events: list[tuple[str, Any]] = []
        super().__init__(**options)

    def _called(self, function: str, event: Any, request_id: str) -> Any:
        self.events.append((function, event))
        return super()._called(function, event, request_id)

    def of(self, function: str, key: str) -> Any:
        return next(event for name, event in self.events if name == function and key in event)


def test_functions_are_called_with_the_events_of_the_samples() -> None:
    with Seen() as cloud:
        cloud.save_flow(LISTENER)  # without one, nobody is called about changes of state
        cloud.run("""
id: events
namespace: flows
tasks:
  - {id: script, type: io.kestra.plugin.scripts.shell.Commands, commands: [echo hi]}
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT5S}
""")
        mailbox = cloud.of("executor", "Records")
        assert shape(mailbox["Records"][0]) == shape(sample("sqs-mailbox")["Records"][0])
        assert shape(cloud.of("triggers", "Records")["Records"][0]) == shape(sample("sqs-delay")["Records"][0])
        assert shape(cloud.of("script", "attempt")) == shape(sample("lambda-script"))
        change = cloud.of("triggers", "detail-type")
        detail = sample("execution-state-change")
        del detail["detail"]["triggerId"]  # nothing triggered it
        assert shape(change) == shape(detail)
        assert shape(sweep_event("id", cloud.clock.now())) == shape(sample("scheduled-sweep"))
        payload = sample("lambda-failure")["requestPayload"]
        record = failure_record("worker", "id", payload, cloud.clock.now(), tries=1, error=("A", "b"))
        assert shape(record) == shape(sample("lambda-failure"))
        read_event(record)


def test_an_execution_that_crashes_the_executor_fails_and_holds_up_nobody() -> None:
    """Whatever a message of the one sets off, another of the same batch ends at once."""
    poisoned = """
id: poisoned
namespace: flows
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "{{ kv('poison') }}"}]
"""
    with Cloud() as cloud:
        answers = cloud.clients.answers  # what stands between the functions and AWS

        def poison(service: str, operation: str, request: Any) -> Any:
            if b"poison" in bytes(request.body or b"") and operation == "GetItem" and b"F#" not in request.body:
                raise RuntimeError("boom")
            return answers(service, operation, request)

        cloud.save_flow(poisoned)
        cloud.save_flow(HELLO)
        cloud.clients.answers = poison
        bad, good = cloud.create("flows", "poisoned"), cloud.create("flows", "hello")
        cloud.settle(None)
        assert cloud.outcome(good).state == "SUCCESS"
        cloud.settle(timedelta(hours=2))
        cloud.clients.answers = answers
        came = cloud.outcome(bad)
        assert came.state == "FAILED"
        assert "RuntimeError: boom" in came.view["error"]["message"]
        assert not cloud.mailbox_dead.messages


def test_a_flow_is_made_and_run_over_http() -> None:
    with Cloud() as cloud:
        made = cloud.request("POST", "/api/v1/main/flows", HELLO.encode(), {"content-type": "application/x-yaml"})
        assert made.status_code < 500
        with pytest.raises(LimitError):
            cloud.request("POST", "/api/v1/main/flows", b"x" * (HTTP_BODY + 1))


def test_an_invocation_above_the_limit_is_refused() -> None:
    with Cloud() as cloud:
        client = cloud.clients("lambda")
        payload = json.dumps({"x": "y" * ASYNCHRONOUS_PAYLOAD})
        with pytest.raises(ClientError, match="too large"):
            client.invoke(FunctionName="worker", InvocationType="Event", Payload=payload)


def test_an_item_above_the_limit_is_refused() -> None:
    with Cloud() as cloud:
        item = {"pk": {"S": "a"}, "sk": {"S": "b"}, "data": {"B": b"x" * (400 * KIB)}}
        with pytest.raises(LimitError):
            cloud.clients("dynamodb").put_item(TableName=cloud.environment.table, Item=item)


def test_a_function_that_takes_too_long_has_failed() -> None:
    """The message comes again, to another process."""
    with Cloud() as cloud:
        answers = cloud.clients.answers
        slow = [True]

        def late(service: str, operation: str, request: Any) -> Any:
            if operation == "PutItem" and slow:
                slow.clear()
                cloud.clock.advance(timedelta(minutes=2))
            return answers(service, operation, request)

        cloud.save_flow(HELLO)
        cloud.clients.answers = late
        execution_id = cloud.create("flows", "hello")
        cloud.settle()
        assert cloud.crashes == ["executor: _ProcessEndedError: Task timed out after 60.00 seconds"]
        assert cloud.outcome(execution_id).state == "SUCCESS"


def test_a_message_sent_twice_with_one_deduplication_id_is_one() -> None:
    with Cloud() as cloud:
        sqs = cloud.clients("sqs")
        for _ in range(2):
            sqs.send_message(
                QueueUrl=cloud.environment.mailbox_url,
                MessageBody="x",
                MessageGroupId="g",
                MessageDeduplicationId="same",
            )
        assert len(cloud.mailbox.messages) == 1


def test_a_message_above_the_limit_is_refused() -> None:
    with Cloud() as cloud, pytest.raises(ClientError, match="bytes"):
        cloud.clients("sqs").send_message(QueueUrl=cloud.environment.delays_url, MessageBody="x" * (MIB + 1))


def test_events_above_the_limit_are_refused() -> None:
    entry = {"Source": "s", "DetailType": "t", "Detail": json.dumps({"x": "y" * MIB})}
    with Cloud() as cloud, pytest.raises(ClientError, match="over the limit"):
        cloud.clients("events").put_events(Entries=[{**entry, "EventBusName": cloud.environment.bus}])


def test_overrides_of_a_container_above_the_limit_are_refused() -> None:
    with Cloud(containers={}) as cloud:
        ecs = cloud.clients("ecs")
        ecs.register_task_definition(family="headrace-x", containerDefinitions=[{"name": "main", "image": "any"}])
        variable = {"name": "X", "value": "y" * OVERRIDES}
        with pytest.raises(LimitError, match="The overrides"):
            ecs.run_task(
                taskDefinition="headrace-x",
                overrides={"containerOverrides": [{"name": "main", "environment": [variable]}]},
                clientToken="token",
                startedBy="test",
            )


PURGE = """
id: cleaning
namespace: flows
tasks:
  - id: purge
    type: io.kestra.plugin.core.execution.PurgeExecutions
    namespace: flows
    flowId: hello
    endDate: "{{ now() }}"
"""


def test_executions_are_purged_by_the_function_that_may() -> None:
    with Cloud() as cloud:
        done = cloud.run(HELLO).view["id"]
        kept = cloud.run(HELLO.replace("id: hello", "id: other")).view["id"]
        cloud.clock.advance(timedelta(minutes=1))
        came = cloud.run(PURGE)
        assert came.state == "SUCCESS", came.logs
        assert came.find("purge")["outputs"]["executionsCount"] == 1
        assert cloud.invocations["purger"] == 1
        assert cloud.invocations["worker"] == 0
        assert not cloud.stores.journal.entries(done)
        assert cloud.stores.executions.get(done) is None
        assert not cloud.stores.logs.fetch(done)
        assert cloud.stores.journal.entries(kept)
        cloud.kill(done)  # a message that comes late finds the tombstone
        cloud.settle()
        assert not cloud.crashes


def test_the_archive_of_a_working_directory_goes_with_it() -> None:
    flow = """
id: shared
namespace: flows
tasks:
  - id: together
    type: io.kestra.plugin.core.flow.WorkingDirectory
    tasks:
      - {id: write, type: io.kestra.plugin.scripts.shell.Commands, commands: [echo hi > note.txt]}
      - {id: read, type: io.kestra.plugin.scripts.shell.Commands, commands: [grep -q hi note.txt]}
"""
    with Cloud() as cloud:
        cloud.save_flow(flow)
        execution_id = cloud.create("flows", "shared")
        while not archives(cloud):
            assert cloud.step()
        cloud.settle()
        came = cloud.outcome(execution_id)
        assert came.state == "SUCCESS", came.logs
        assert archives(cloud) == []


def archives(cloud: Cloud) -> list[str]:
    return [file.uri for file in cloud.stores.storage.list("kestra:///flows") if "_workspaces" in file.uri]


def started_by_triggers(cloud: Cloud) -> list[str]:
    found = [item for item in cloud.items() if item["pk"]["S"].startswith("E#") and "trigger" in item]
    return [item["flow"]["S"] for item in found]


def test_nobody_is_called_about_changes_of_state_while_no_flow_listens() -> None:
    with Cloud() as cloud:
        cloud.run(HELLO)
        assert (cloud.published, cloud.invocations["triggers"]) == (3, 0)
        cloud.save_flow(LISTENER)
        cloud.run(HELLO)
        heard = cloud.invocations["triggers"]
        assert heard >= 3
        assert started_by_triggers(cloud) == ["listener"]
        cloud.save_flow(LISTENER.replace("triggers: [{id: after, type: io.kestra.plugin.core.trigger.Flow}]", ""))
        cloud.run(HELLO)
        assert cloud.invocations["triggers"] == heard
        assert len(started_by_triggers(cloud)) == 1


def largest_state_item(cloud: Cloud) -> int:
    return max(item_size(item) for item in cloud.items())


def test_large_outputs_and_inputs_leave_the_state() -> None:
    """5 MB of outputs, a file of 50 MB between two tasks, an input of 300 KB: no limit is met."""
    flow = """
id: large
namespace: flows
inputs: [{id: text, type: STRING}]
tasks:
  - id: make
    type: io.kestra.plugin.scripts.shell.Commands
    commands:
      - head -c 52428800 /dev/zero > zeros.bin
      - printf '::{"outputs":{"text":"%s"}}::\\n' "$(head -c 5242880 /dev/zero | tr '\\0' x)"
    outputFiles: [zeros.bin]
  - {id: size, type: io.kestra.plugin.core.storage.Size, uri: "{{ outputs.make.outputFiles['zeros.bin'] }}"}
  - {id: told, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.make.vars.text | length }}"}
"""
    with Cloud() as cloud:
        came = cloud.run(flow, {"text": "y" * (300 * KIB)})
        assert came.state == "SUCCESS", came.logs
        assert came.find("size")["outputs"] == {"size": 50 * MIB}
        assert came.find("told")["outputs"] == {"value": str(5 * MIB)}
        assert largest_state_item(cloud) < STATE_ITEM


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_loop_over_ten_thousand_values_meets_no_limit() -> None:
    flow = """
id: wide
namespace: flows
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: "{{ range(1, 10000) }}"
    concurrencyLimit: 0
    tasks: [{id: note, type: io.kestra.plugin.core.debug.Return, format: "{{ taskrun.value }}"}]
"""
    with Cloud(registry=tasks()) as cloud:
        assert cloud.run(flow).state == "SUCCESS"
        assert largest_state_item(cloud) < STATE_ITEM


def test_every_request_is_answered_by_somebody() -> None:
    with Cloud() as cloud:
        cloud.run(HELLO)
        clients = cloud.clients
    assert clients.answers is by_moto
