"""What goes wrong on the deployed stack: processes that die, code that must stop, messages that nobody signed."""

from __future__ import annotations

from typing import Any

import pytest

from aws.ministack import Emulator
from emulator.client import Client, runs, state
from emulator.deployment import Deployment
from emulator.processes import kill
from emulator.waiting import until
from headrace_engine.adapters.aws.mailbox import SqsMailbox
from headrace_engine.adapters.aws.signing import AttemptSigner, Keyring, PlatformSigner, Signer, attempt_token
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import Kill
from headrace_engine.ports import AttemptId

pytestmark = pytest.mark.emulator

_PROCESS = "taskRunner: {type: io.kestra.plugin.core.runner.Process}"


def claims(deployment: Deployment, execution_id: str) -> list[Any]:
    """Return the claims of an execution's attempts that somebody has."""
    pages = deployment.account.client("dynamodb").get_paginator("scan").paginate(TableName=deployment.table)
    return [
        item
        for page in pages
        for item in page["Items"]
        if item["pk"]["S"].startswith("C#") and execution_id in str(item) and "owner" in item
    ]


def attempts(run: Any) -> list[str]:
    """Return the states of a task run's attempts."""
    return [state(attempt) for attempt in run["attempts"]]


def test_an_attempt_whose_worker_is_killed_runs_again(
    client: Client, deployment: Deployment, emulator: Emulator
) -> None:
    client.save(
        """id: killed-worker
tasks:
  - id: query
    type: io.kestra.plugin.jdbc.duckdb.Query
    sql: "SELECT count(*) AS n FROM range(500000000) r(i) WHERE i % 7 = 0"
    fetchType: FETCH_ONE
"""
    )
    execution_id = client.start("killed-worker")
    until(lambda: claims(deployment, execution_id), "attempt that is claimed")
    assert kill(emulator, deployment.functions["worker"])
    execution = client.end(execution_id)
    assert runs(execution) == {"query": ["SUCCESS"]}
    (run,) = execution["taskRunList"]
    assert attempts(run) == ["RESUBMITTED", "SUCCESS"]
    assert run["outputs"]["row"] == {"n": 71428572}


def test_code_that_kills_its_function_each_time_fails_in_the_end(client: Client) -> None:
    execution = client.run(
        f"""id: deadly
tasks:
  - id: shell
    type: io.kestra.plugin.scripts.shell.Commands
    {_PROCESS}
    commands: ["kill -9 $PPID; sleep 60"]
errors: [{{id: told, type: io.kestra.plugin.core.log.Log, message: "it failed"}}]
"""
    )
    assert state(execution) == "FAILED"
    assert runs(execution) == {"shell": ["FAILED"], "told": ["SUCCESS"]}
    assert attempts(execution["taskRunList"][0]) == ["RESUBMITTED"] * 3


def test_a_running_script_is_killed_with_its_execution(client: Client, deployment: Deployment) -> None:
    client.save(
        f"""id: endless
tasks:
  - {{id: shell, type: io.kestra.plugin.scripts.shell.Commands, {_PROCESS}, commands: ["echo begun", "sleep 600"]}}
"""
    )
    execution_id = client.start("endless")
    until(lambda: claims(deployment, execution_id), "attempt that is claimed")
    assert client.ask("DELETE", f"/executions/{execution_id}/kill").status_code == 202
    execution = client.end(execution_id)
    assert state(execution) == "KILLED"
    assert runs(execution) == {"shell": ["KILLED"]}


def test_a_sandbox_runs_the_code_of_one_namespace_only(client: Client) -> None:
    flow = f"""id: sandbox
tasks:
  - {{id: shell, type: io.kestra.plugin.scripts.shell.Commands, {_PROCESS}, commands: ["echo here"]}}
"""
    first = client.run(flow)
    assert state(first) == "SUCCESS"
    source = f"namespace: elsewhere\n{flow}".encode()
    assert client.ask("POST", "/flows", source, {"content-type": "application/x-yaml"}).status_code == 200
    answer = client.ask("POST", "/executions/elsewhere/sandbox")
    second = client.end(answer.json()["id"])
    assert state(second) == "SUCCESS"
    assert attempts(second["taskRunList"][0]) == ["SUCCESS"], "being sent to another sandbox is no attempt"


def test_an_execution_whose_executor_is_killed_goes_on_in_another(
    client: Client, deployment: Deployment, emulator: Emulator
) -> None:
    client.save(
        """id: killed-executor
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: "{{ range(1, 60) }}"
    concurrencyLimit: 1
    tasks:
      - {id: put, type: io.kestra.plugin.core.kv.Set, key: "n{{ taskrun.value }}", value: "{{ taskrun.value }}"}
"""
    )
    execution_id = client.start("killed-executor")
    execution = client.when(execution_id, lambda execution: len(execution["taskRunList"]) > 3, "task runs")
    assert state(execution) == "RUNNING", "it was over before it could be disturbed"
    assert kill(emulator, deployment.functions["executor"])
    execution = client.end(execution_id)
    assert state(execution) == "SUCCESS"
    assert runs(execution)["put"] == ["SUCCESS"] * 60
    values = [run["value"] for run in execution["taskRunList"] if run["taskId"] == "put"]
    assert sorted(values, key=int) == [str(n) for n in range(1, 61)]


@pytest.mark.parametrize("of_the_attempt", [False, True], ids=["another-key", "the-attempts-token"])
def test_a_message_that_its_sender_may_not_send_is_refused(
    client: Client, deployment: Deployment, of_the_attempt: bool
) -> None:
    """Neither a key that nobody has signs a kill, nor an attempt's token, which is for its report."""
    flow = f"forged-{int(of_the_attempt)}"
    client.save(f"id: {flow}\ntasks: [{{id: pause, type: io.kestra.plugin.core.flow.Pause}}]\n")
    execution_id = client.start(flow)
    execution = client.when(execution_id, lambda execution: state(execution) == "PAUSED", "pause")
    account, url = deployment.account, deployment.outputs["MailboxUrl"]
    signer: Signer = PlatformSigner(Keyring({1: b"a key of another stack, of 32 bytes"}))
    if of_the_attempt:
        secrets = account.client("secretsmanager")
        kept = secrets.get_secret_value(SecretId=deployment.signing_keys)["SecretString"]
        attempt = AttemptId(execution_id, execution["taskRunList"][0]["id"], 0)
        signer = AttemptSigner(attempt, attempt_token(Keyring.from_text(kept), attempt))
    SqsMailbox(account.client("sqs"), url, signer).send(execution_id, encode_message(Kill()))
    refused = "A forged message was refused"
    until(lambda: deployment.logged("executor", refused, execution_id), "refusal in the executor's log")
    assert state(client.get(execution_id)) == "PAUSED"
    assert client.ask("POST", f"/executions/{execution_id}/resume").status_code == 204
    assert state(client.end(execution_id)) == "SUCCESS"
