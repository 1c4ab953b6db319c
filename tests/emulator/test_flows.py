"""Flows on the deployed stack, driven over HTTP: each kind of task and of message, once."""

from __future__ import annotations

import json

import httpx
import pytest

from emulator.client import NAMESPACE, Client, runs, state
from emulator.deployment import Deployment
from emulator.waiting import until
from headrace_engine.adapters.aws.deletion import AT_ONCE

pytestmark = pytest.mark.emulator

MEGABYTE = 1024 * 1024


def test_hello(client: Client) -> None:
    client.save(
        """id: hello
inputs: [{id: name, type: STRING}]
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "Hello, {{ inputs.name }}"}]
outputs: [{id: said, type: STRING, value: "{{ inputs.name }}"}]
"""
    )
    execution_id = client.start("hello", name="Ada")
    execution = client.end(execution_id)
    assert state(execution) == "SUCCESS"
    assert runs(execution) == {"log": ["SUCCESS"]}
    assert execution["outputs"] == {"said": "Ada"}
    assert client.messages(execution_id) == ["Hello, Ada"]
    assert [each["id"] for each in client.of_flow("hello")] == [execution_id]


def test_waiting_for_an_execution_answers_with_its_end(client: Client) -> None:
    client.save("id: waited\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: x}]\n")
    answer = client.ask("POST", f"/executions/{NAMESPACE}/waited", wait="true")
    assert answer.status_code == 200
    assert state(answer.json()) == "SUCCESS"
    assert answer.headers["location"].endswith(f"/executions/{answer.json()['id']}")


def test_who_does_not_show_who_they_are_is_refused(client: Client, deployment: Deployment) -> None:
    url = f"{deployment.api_url}/api/v1/main/flows/{NAMESPACE}"
    for auth in (None, ("admin", "a wrong password"), ("nobody", "")):
        assert httpx.get(url, auth=auth).status_code == 401


def test_a_user_and_a_token_may_what_was_granted(client: Client, deployment: Deployment) -> None:
    wish = {"name": "viewer", "grants": [f"viewer@{NAMESPACE}"], "password": "a good password"}
    assert client.ask("POST", "/users", json.dumps(wish).encode()).status_code == 201
    made = client.ask("POST", "/users/viewer/tokens", b"{}").json()
    flows = f"{deployment.api_url}/api/v1/main/flows"
    bearer = {"authorization": f"Bearer {made['token']}"}
    for shown in ({"auth": ("viewer", "a good password")}, {"headers": bearer}):
        assert httpx.get(f"{flows}/{NAMESPACE}", **shown).status_code == 200
        assert httpx.get(f"{flows}/elsewhere", **shown).status_code == 403
        assert httpx.delete(f"{flows}/{NAMESPACE}/none", **shown).status_code == 403
    records = client.ask("GET", "/audit/search", who="viewer").json()["results"]
    assert {(each["action"], each["status"]) for each in records} == {("DELETE /flows/{namespace}/{flow_id}", 403)}
    assert client.ask("DELETE", "/users/viewer").status_code == 204
    assert httpx.get(f"{flows}/{NAMESPACE}", headers=bearer).status_code == 401


def test_a_mistake_in_a_flow_is_told(client: Client) -> None:
    answer = client.ask("POST", "/flows", b"id: wrong\nnamespace: emulator\ntasks: [{id: x, type: none.such}]\n")
    assert answer.status_code == 422
    assert "none.such" in answer.text


def test_light_and_dispatched_tasks_hand_values_on(client: Client) -> None:
    execution = client.run(
        """id: kinds
tasks:
  - {id: put, type: io.kestra.plugin.core.kv.Set, key: answer, value: "42", kvType: NUMBER}
  - {id: get, type: io.kestra.plugin.core.kv.Get, key: answer}
  - {id: write, type: io.kestra.plugin.core.storage.Write, content: "{{ outputs.get.value }}", extension: .txt}
  - {id: size, type: io.kestra.plugin.core.storage.Size, uri: "{{ outputs.write.uri }}"}
  - id: query
    type: io.kestra.plugin.jdbc.duckdb.Query
    sql: "SELECT 10 * {{ outputs.size.size }} AS n"
    fetchType: FETCH_ONE
outputs: [{id: all, type: STRING, value: "{{ read(outputs.write.uri) }} {{ outputs.query.row.n }}"}]
"""
    )
    assert {status for statuses in runs(execution).values() for status in statuses} == {"SUCCESS"}
    assert execution["outputs"] == {"all": "42 20"}


def test_a_script_gets_files_and_secrets_and_gives_files_outputs_and_logs(
    client: Client, deployment: Deployment
) -> None:
    deployment.account.client("ssm").put_parameter(
        Name=f"{deployment.outputs['SecretsPrefix']}/{NAMESPACE}/PASSWORD", Value="hush", Type="SecureString"
    )
    rows = b"a,b\n1,2\n" * (MEGABYTE // 4)
    client.save(
        """id: script
inputs: [{id: data, type: FILE}]
tasks:
  - id: python
    type: io.kestra.plugin.scripts.python.Script
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    env: {PASSWORD: "{{ secret('PASSWORD') }}"}
    inputFiles: {rows.csv: "{{ inputs.data }}"}
    outputFiles: ["*.txt"]
    script: |
      import os
      from kestra import Kestra
      data = open("rows.csv", "rb").read()
      open("reversed.txt", "wb").write(data[::-1])
      Kestra.outputs({
          "size": len(data),
          "letters": len(os.environ["PASSWORD"]),
          "credentials": sorted(name for name in os.environ if name.startswith(("AWS_", "HEADRACE_"))),
      })
      print("the password is", os.environ["PASSWORD"])
  - id: shell
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    commands: ["head -c 7 {{ outputs.python.outputFiles['reversed.txt'] }} | tr -d '[:space:]'"]
"""
    )
    execution = client.end(client.start("script", data=rows))
    assert runs(execution) == {"python": ["SUCCESS"], "shell": ["SUCCESS"]}
    assert execution["taskRunList"][0]["outputs"]["vars"] == {
        "size": len(rows),
        "letters": 4,
        "credentials": ["HEADRACE_PROCESS"],
    }
    messages = client.messages(execution["id"])
    assert "hush" not in "".join(messages)
    assert messages[-1] == "2,1b,"


def test_the_memory_a_script_asks_for_chooses_its_function(client: Client) -> None:
    client.save(
        """id: sized
tasks:
  - id: medium
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.headrace.runner.lambda.Lambda, memory: 2 GB}
    commands:
      - 'echo "::{\\"outputs\\": {\\"home\\": \\"$HOME\\"}}::"'
"""
    )
    execution = client.end(client.start("sized"))
    (run,) = execution["taskRunList"]
    assert execution["state"]["current"] == "SUCCESS"
    assert run["outputs"]["taskRunner"] == {
        "type": "io.headrace.runner.lambda.Lambda",
        "size": "MEDIUM",
        "memory": 3008,
        "why": "It asks for 2 GB memory",
    }
    assert run["outputs"]["vars"]["home"], "it has a home that it may write to"


def test_loops_children_and_values(client: Client) -> None:
    client.save(
        """id: child
inputs: [{id: n, type: INT}]
tasks: [{id: twice, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.n * 2 }}"}]
outputs: [{id: twice, type: INT, value: "{{ outputs.twice.value }}"}]
"""
    )
    execution = client.run(
        """id: loop
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2, 3, 4, 5, 6]
    concurrencyLimit: 3
    tasks:
      - {id: write, type: io.kestra.plugin.core.storage.Write, content: "{{ taskrun.value }}"}
  - id: parallel
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: one, type: io.kestra.plugin.core.flow.Subflow, namespace: emulator, flowId: child, inputs: {n: 1}, wait: true, transmitFailed: true}
      - {id: two, type: io.kestra.plugin.core.flow.Subflow, namespace: emulator, flowId: child, inputs: {n: 2}, wait: true, transmitFailed: true}
outputs: [{id: sum, type: INT, value: "{{ outputs.one.outputs.twice + outputs.two.outputs.twice }}"}]
"""
    )
    assert state(execution) == "SUCCESS"
    assert runs(execution)["write"] == ["SUCCESS"] * 6
    assert execution["outputs"] == {"sum": 6}
    assert len(client.of_flow("child")) == 2


def test_a_pause_ends_when_somebody_resumes_it(client: Client) -> None:
    client.save(
        """id: paused
tasks:
  - {id: approve, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: reason, type: STRING}]}
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ outputs.approve.onResume.reason }}"}
"""
    )
    execution_id = client.start("paused")
    client.when(execution_id, lambda execution: state(execution) == "PAUSED", "pause")
    form = httpx.Request("POST", "http://localhost", files={"reason": (None, "fine")})
    answer = client.ask(
        "POST", f"/executions/{execution_id}/resume", form.read(), {"content-type": form.headers["content-type"]}
    )
    assert answer.status_code == 204, answer.text
    assert state(client.end(execution_id)) == "SUCCESS"
    assert client.messages(execution_id) == ["fine"]


def test_a_timer_rings_when_it_is_due(client: Client) -> None:
    execution = client.run(
        """id: timers
tasks:
  - {id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT1S}
  - {id: pause, type: io.kestra.plugin.core.flow.Pause, pauseDuration: PT2S}
"""
    )
    assert state(execution) == "SUCCESS"
    for run in execution["taskRunList"]:
        expected = 1 if run["taskId"] == "sleep" else 2
        assert float(run["state"]["duration"].removeprefix("PT").removesuffix("S")) >= expected


def test_a_second_execution_waits_for_the_slot_of_the_first(client: Client) -> None:
    client.save(
        """id: one-at-a-time
concurrency: {limit: 1, behavior: QUEUE}
tasks: [{id: pause, type: io.kestra.plugin.core.flow.Pause}]
"""
    )
    first = client.start("one-at-a-time")
    client.when(first, lambda execution: state(execution) == "PAUSED", "pause")
    second = client.start("one-at-a-time")  # of two that come together either may be first
    client.when(second, lambda execution: state(execution) == "QUEUED", "place in the queue")
    assert client.ask("POST", f"/executions/{first}/resume").status_code == 204
    assert state(client.end(first)) == "SUCCESS"
    client.when(second, lambda execution: state(execution) == "PAUSED", "turn")
    assert client.ask("DELETE", f"/executions/{second}/kill").status_code == 202
    assert state(client.end(second)) == "KILLED"


def test_an_output_of_five_megabytes_goes_from_task_to_task(client: Client, deployment: Deployment) -> None:
    execution = client.run(
        """id: large
tasks:
  - id: make
    type: io.kestra.plugin.scripts.python.Script
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    outputFiles: [large.txt]
    script: "open('large.txt', 'w').write('x' * (5 * 1024 * 1024 - 1) + 'y')"
  - {id: value, type: io.kestra.plugin.core.debug.Return, format: "{{ read(outputs.make.outputFiles['large.txt']) }}"}
  - {id: end, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.value.value | length }} {{ outputs.value.value | slice(5242875) }}"}
"""
    )
    assert runs(execution) == {"make": ["SUCCESS"], "value": ["SUCCESS"], "end": ["SUCCESS"]}
    assert execution["taskRunList"][-1]["outputs"]["value"] == f"{5 * MEGABYTE} xxxxy"
    pages = deployment.account.client("dynamodb").get_paginator("scan").paginate(TableName=deployment.table)
    items = [item for page in pages for item in page["Items"] if execution["id"] in str(item)]
    assert items
    assert max(len(str(item)) for item in items) < 100_000


def test_the_end_of_one_execution_starts_another(client: Client) -> None:
    client.save(
        """id: listener
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "heard {{ trigger.executionId }}"}]
triggers:
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    preconditions: {id: up, flows: [{namespace: emulator, flowId: heard, states: [SUCCESS]}]}
"""
    )
    source = client.run("id: heard\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: x}]\n")
    found = until(lambda: client.of_flow("listener"), "execution of the listener")
    execution = client.end(found[0]["id"])
    assert state(execution) == "SUCCESS"
    assert client.messages(execution["id"]) == [f"heard {source['id']}"]
    assert len(client.of_flow("listener")) == 1


def test_a_failed_execution_goes_on_where_it_failed(client: Client) -> None:
    client.save("id: ready\ntasks: [{id: set, type: io.kestra.plugin.core.kv.Set, key: ready, value: 'true'}]\n")
    failed = client.run(
        """id: restarted
tasks:
  - {id: write, type: io.kestra.plugin.core.storage.Write, content: once}
  - {id: check, type: io.kestra.plugin.core.kv.Get, key: ready, errorOnMissing: true}
"""
    )
    assert runs(failed) == {"write": ["SUCCESS"], "check": ["FAILED"]}
    client.end(client.start("ready"))
    answer = client.ask("POST", f"/executions/{failed['id']}/restart")
    assert answer.status_code == 200, answer.text
    execution = client.when(failed["id"], lambda execution: state(execution) == "SUCCESS", "success after the restart")
    assert execution["taskRunList"][0] == failed["taskRunList"][0]
    assert runs(execution) == {"write": ["SUCCESS"], "check": ["SUCCESS"]}


def test_what_is_purged_is_gone(client: Client, deployment: Deployment) -> None:
    """By the function whose role is for that, and nothing but that it went is left."""
    done = client.run(
        "id: old\ntasks: [{id: write, type: io.kestra.plugin.core.storage.Write, content: kept until it is purged}]\n"
    )
    uri = done["taskRunList"][0]["outputs"]["uri"]
    execution = client.run(
        f"""id: purging
tasks:
  - id: purge
    type: io.kestra.plugin.core.execution.PurgeExecutions
    namespace: {NAMESPACE}
    flowId: old
    endDate: "{{{{ now() }}}}"
"""
    )
    assert runs(execution) == {"purge": ["SUCCESS"]}, client.messages(execution["id"])
    purged = execution["taskRunList"][0]["outputs"]
    assert (purged["executionsCount"], purged["storagesCount"]) == (1, 1)
    assert client.get(done["id"]) is None
    assert client.of_flow("old") == []
    assert deployment.logged("purger", "Running", execution["id"])
    bucket = deployment.outputs["BucketName"]
    key = f"files/{uri.removeprefix('kestra:///')}"
    assert deployment.account.client("s3").list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount") == 0
    pages = deployment.account.client("dynamodb").get_paginator("scan").paginate(TableName=deployment.table)
    kinds = {item["pk"]["S"][0] for page in pages for item in page["Items"] if done["id"] in item["pk"]["S"]}
    assert kinds <= {"X"}, "its tombstone"


def test_what_somebody_deletes_over_the_api_is_gone(client: Client, deployment: Deployment) -> None:
    """One by one, by ids, and one that goes on, which is killed; the function deletes that the API's role cannot."""
    client.save("id: short\ntasks: [{id: write, type: io.kestra.plugin.core.storage.Write, content: kept}]\n")
    client.save("id: long\ntasks: [{id: pause, type: io.kestra.plugin.core.flow.Pause}]\n")
    ids = [client.end(client.start("short"))["id"] for _ in range(3)]
    assert client.ask("DELETE", f"/executions/{ids[0]}").status_code == 204
    assert client.get(ids[0]) is None
    paused = client.start("long")
    client.when(paused, lambda execution: state(execution) == "PAUSED", "pause")
    left = json.dumps([*ids[1:], paused]).encode()
    assert client.ask("DELETE", "/executions/by-ids", left).status_code == 400, "one has not ended"
    answer = client.ask("DELETE", "/executions/by-ids", left, includeNonTerminated="true")
    assert (answer.status_code, answer.json()) == (200, {"count": 3})
    assert client.of_flow("short") == client.of_flow("long") == []
    bucket = deployment.outputs["BucketName"]
    prefix = f"files/{NAMESPACE}/short/executions/"
    assert deployment.account.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 0


def test_many_are_deleted_once_the_answer_has_come(client: Client) -> None:
    client.save("id: many\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: x}]\n")
    ids = [client.start("many") for _ in range(AT_ONCE + 1)]
    for each in ids:
        client.end(each)
    answer = client.ask("DELETE", "/executions/by-query", namespace=NAMESPACE, flowId="many")
    assert (answer.status_code, answer.json()) == (202, {"count": len(ids)})
    until(lambda: not client.of_flow("many"), "list without the executions that were deleted")
