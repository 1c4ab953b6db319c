"""Scripts in containers on the deployed stack: ECS Fargate and AWS Batch, played by the emulator with processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from aws.ministack import Emulator
from emulator.client import NAMESPACE, Client, runs, state
from emulator.deployment import Deployment
from emulator.processes import peaks, played
from emulator.waiting import until

pytestmark = pytest.mark.emulator

FARGATE = "io.headrace.runner.ecs.Fargate"
BATCH = "io.kestra.plugin.ee.aws.runner.Batch"
MEGABYTE = 1024 * 1024
LARGE = 200 * MEGABYTE
WHERE = pytest.mark.parametrize("where", [FARGATE, BATCH], ids=["fargate", "batch"])


def flow(name: str, where: str, script: str, **more: Any) -> str:
    """Return a flow of one shell script in a container."""
    task = {
        "id": "main",
        "type": "io.kestra.plugin.scripts.shell.Script",
        "taskRunner": {"type": where},
        "containerImage": "any/image",
        "script": script,
        **more,
    }
    return f"id: {name}-{where.rpartition('.')[2].lower()}\ntasks: {json.dumps([task])}\n"


def run_of(execution: Any) -> Any:
    (run,) = execution["taskRunList"]
    return run


def attempts(execution: Any) -> list[str]:
    return [state(attempt) for attempt in run_of(execution)["attempts"]]


def containers(deployment: Deployment) -> list[Any]:
    """Return the containers of all tasks that ever ran."""
    ecs = deployment.account.client("ecs")
    cluster = json.loads(deployment.variable("executor", "HEADRACE_CONTAINERS"))["cluster"]
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster=cluster, desiredStatus=status)["taskArns"]
    ]
    return ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []


@WHERE
def test_a_script_has_its_files_and_secrets_and_leaves_files_outputs_and_lines(
    client: Client, deployment: Deployment, where: str
) -> None:
    deployment.account.client("ssm").put_parameter(
        Name=f"{deployment.outputs['SecretsPrefix']}/{NAMESPACE}/WORD",
        Value="hush",
        Type="SecureString",
        Overwrite=True,
    )
    execution = client.run(
        flow(
            "whole",
            where,
            "cat in.txt | tr a-z A-Z > out.txt\n"
            """echo '::{"outputs": {"size": '$(wc -c < in.txt)'}}::'\n"""
            "echo the word is $WORD\n"
            "echo aside >&2\n"
            "echo $AWS_CONTAINER_CREDENTIALS_FULL_URI$AWS_ACCESS_KEY_ID$HEADRACE_TOKEN.",
            env={"WORD": "{{ secret('WORD') }}"},
            inputFiles={"in.txt": "hello"},
            outputFiles=["*.txt"],
        )
    )
    assert runs(execution) == {"main": ["SUCCESS"]}, client.messages(execution["id"])
    outputs = run_of(execution)["outputs"]
    assert (outputs["vars"], outputs["exitCode"]) == ({"size": 5}, 0)
    assert outputs["taskRunner"]["type"] == where
    uri = outputs["outputFiles"]["out.txt"]
    answer = client.ask("GET", f"/executions/{execution['id']}/file?{urlencode({'path': uri})}")
    content = answer.content if answer.status_code == 200 else client.fetch(answer.headers["location"])
    assert content == b"HELLO"
    messages = client.messages(execution["id"])
    assert "hush" not in "".join(messages)
    assert {"aside", "."} <= set(messages)
    assert "hush" not in json.dumps(execution)


@WHERE
def test_a_script_that_fails_has_failed_and_is_not_lost(client: Client, where: str) -> None:
    execution = client.run(flow("failing", where, "echo before; exit 3"))
    assert runs(execution) == {"main": ["FAILED"]}
    assert attempts(execution) == ["FAILED"]
    assert "before" in client.messages(execution["id"])


@WHERE
def test_an_image_that_is_not_there_fails_the_task_run_and_says_so(client: Client, where: str) -> None:
    execution = client.run(flow("imageless", where, "echo never", containerImage="missing/image"))
    assert runs(execution) == {"main": ["FAILED"]}
    assert "missing/image" in run_of(execution)["error"]


@WHERE
def test_a_container_that_runs_is_killed_with_its_execution(client: Client, emulator: Emulator, where: str) -> None:
    source = flow("endless", where, "echo begun; sleep 600")
    client.save(source)
    execution_id = client.start(source.partition("\n")[0].removeprefix("id: "))
    until(lambda: "begun" in client.messages(execution_id), "first line", then=lambda: client.get(execution_id))
    assert client.ask("DELETE", f"/executions/{execution_id}/kill").status_code == 202
    execution = client.end(execution_id)
    assert state(execution) == "KILLED"
    assert runs(execution) == {"main": ["KILLED"]}
    until(lambda: not played(emulator, "sleep 600"), "end of the containers' processes")


def test_a_task_that_somebody_stops_is_lost_and_begins_again(
    client: Client, deployment: Deployment, tmp_path: Path
) -> None:
    # It runs for as long as nobody has stopped it, however long somebody takes to; a container has this machine's files.
    stopped = tmp_path / "stopped"
    source = flow("stopped", FARGATE, f"echo begun; test -e {stopped} || sleep 600")
    client.save(source)
    execution_id = client.start("stopped-fargate")
    until(lambda: "begun" in client.messages(execution_id), "first line", then=lambda: client.get(execution_id))
    stopped.touch()
    (task,) = [each for each in containers(deployment) if each["startedBy"].startswith(execution_id)]
    deployment.account.client("ecs").stop_task(cluster=task["clusterArn"], task=task["taskArn"], reason="a drill")
    execution = client.end(execution_id)
    assert runs(execution) == {"main": ["SUCCESS"]}
    assert attempts(execution) == ["RESUBMITTED", "SUCCESS"]


def test_a_file_of_two_hundred_megabytes_passes_no_function(client: Client, emulator: Emulator) -> None:
    """It goes out of a container of Fargate, into one of Batch and out of it, and into one of Fargate again."""

    def script(name: str, where: str, text: str, source: str = "") -> dict[str, Any]:
        return {
            "id": name,
            "type": "io.kestra.plugin.scripts.shell.Script",
            "taskRunner": {"type": where},
            "containerImage": "any/image",
            "outputFiles": ["out.bin"],
            **({"inputFiles": {"in.bin": f"{{{{ outputs.{source}.outputFiles['out.bin'] }}}}"}} if source else {}),
            "script": text,
        }

    tasks = [
        script("make", FARGATE, f"head -c {LARGE} /dev/zero > out.bin; printf x >> out.bin"),
        script("through", BATCH, "mv in.bin out.bin; printf y >> out.bin", "make"),
        script("main", FARGATE, """echo '::{"outputs": {"size": '$(wc -c < in.bin)'}}::'; echo > out.bin""", "through"),
    ]
    assert state(client.run(flow("small", FARGATE, "true"))) == "SUCCESS"  # every function that has a part has begun
    before = peaks(emulator)
    assert before
    execution = client.run(f"id: through-containers\ntasks: {json.dumps(tasks)}\n")
    ended = {name: ["SUCCESS"] for name in ("make", "through", "main")}
    assert runs(execution) == ended, client.messages(execution["id"])
    assert execution["taskRunList"][-1]["outputs"]["vars"] == {"size": LARGE + 2}
    # A function takes its libraries' memory, and a little for each request: nothing that grows with the file.
    usual = max(before.values())
    more = {process: peak - before.get(process, usual) for process, peak in peaks(emulator).items()}
    assert max(more.values()) < LARGE / 5, more
