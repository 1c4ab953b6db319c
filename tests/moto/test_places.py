"""Where scripts run on AWS: which function gets them, what the task run says about it, and what is refused."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from headrace_engine.engine import UnsupportedError
from headrace_functions.testing.cloud import SCRIPTS, Cloud

LAMBDA = "io.headrace.runner.lambda.Lambda"
FLOW = """
id: placed
namespace: flows
inputs: [{{id: image, type: STRING, required: false}}]
tasks:
  - {{id: script, type: {type}, {body}}}
"""
ISOLATED = {"HEADRACE_NAMESPACES": '{"flows": {"isolation": "container"}}'}


def flow(body: str, kind: str = "io.kestra.plugin.scripts.shell.Commands") -> str:
    return FLOW.format(type=kind, body=body)


def invoked(cloud: Cloud) -> list[str]:
    return [function for function in SCRIPTS if cloud.invocations[function]]


@pytest.mark.parametrize(
    ("memory", "function", "described"),
    [
        ("SMALL", "script", {"size": "SMALL", "memory": 1769, "why": "It asks for SMALL memory"}),
        ("2 GB", "script-medium", {"size": "MEDIUM", "memory": 3008, "why": "It asks for 2 GB memory"}),
        ("LARGE", "script-large", {"size": "LARGE", "memory": 10240, "why": "It asks for LARGE memory"}),
    ],
)
def test_the_memory_asked_for_chooses_the_function(memory: str, function: str, described: dict[str, Any]) -> None:
    with Cloud() as cloud:
        came = cloud.run(flow(f"commands: [echo hi], taskRunner: {{type: {LAMBDA}, memory: {memory}}}"))
        assert came.state == "SUCCESS", came.logs
        assert invoked(cloud) == [function]
        assert came.find("script")["outputs"]["taskRunner"] == {"type": LAMBDA, **described}


def test_a_task_run_says_where_it_ran_though_nobody_chose() -> None:
    with Cloud() as cloud:
        came = cloud.run(flow("commands: [exit 3]"))
        assert came.state == "FAILED"
        assert came.find("script")["outputs"]["taskRunner"] == {
            "type": LAMBDA,
            "size": "SMALL",
            "memory": 1769,
            "why": "It fits into a function",
        }


def test_node_runs_on_lambda() -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed here")
    script = """|
      const rows = [1, 2, 3]
      console.log('::' + JSON.stringify({outputs: {rows: rows.length}}) + '::')"""
    source = f"""
id: javascript
namespace: flows
tasks:
  - id: script
    type: io.kestra.plugin.scripts.node.Script
    script: {script}
  - id: commands
    type: io.kestra.plugin.scripts.node.Commands
    inputFiles: {{main.js: "console.log(40 + 2)"}}
    commands: [node main.js]
"""
    with Cloud() as cloud:
        came = cloud.run(source)
        assert came.state == "SUCCESS", came.logs
        assert came.find("script")["outputs"]["vars"] == {"rows": 3}
        assert [line.message for line in came.logs] == ["42"]
        assert cloud.invocations["script"] == 2


@pytest.mark.parametrize(
    ("body", "environment", "why"),
    [
        ("commands: [sleep 1], timeout: PT1H", {}, "Its timeout is PT1H"),
        (f"commands: [x], taskRunner: {{type: {LAMBDA}, memory: 16 GB}}", {}, "It asks for 16384 MB of memory"),
        (f"commands: [x], taskRunner: {{type: {LAMBDA}, ephemeralStorage: 9 GB}}", {}, "It asks for 9216 MB of disk"),
        ("commands: [x]", ISOLATED, "The namespace flows is isolated"),
        ("commands: [x], containerImage: alpine", {}, "It names the image alpine"),
        ("commands: [x], docker: {image: alpine}", {}, "It names the image alpine"),
        ("commands: [x], runner: DOCKER", {}, "The task names Docker, which runs on Fargate here"),
        ("commands: [x], taskRunner: {type: io.headrace.runner.ecs.Fargate}", {}, "The task names Fargate"),
        ("commands: [x], taskRunner: {type: io.kestra.plugin.ee.aws.runner.Batch}", {}, "The task names AWS Batch"),
    ],
)
def test_what_fits_no_function_is_not_even_saved_in_a_stack_without_containers(
    body: str, environment: dict[str, str], why: str
) -> None:
    with Cloud(environment=environment) as cloud:
        with pytest.raises(UnsupportedError) as refused:
            cloud.save_flow(flow(body))
        assert str(refused.value).startswith("task `script`: it needs a container, and this stack has none. " + why)
        made = cloud.request("POST", "/api/v1/main/flows", flow(body).encode(), {"content-type": "application/x-yaml"})
        assert made.status_code == 422
        assert why in made.json()["message"]
        assert cloud.stores.flows.get("flows", "placed") is None


@pytest.mark.parametrize("language", ["r", "ruby", "powershell", "go"])
def test_a_language_that_the_functions_have_not_needs_a_container(language: str) -> None:
    with Cloud() as cloud, pytest.raises(UnsupportedError, match=f"The functions have no {language}"):
        cloud.save_flow(flow("commands: [x]", f"io.kestra.plugin.scripts.{language}.Commands"))


def test_a_disabled_task_or_flow_needs_no_place() -> None:
    with Cloud() as cloud:
        cloud.save_flow(flow("commands: [x], timeout: PT1H, disabled: true"))
        cloud.save_flow(flow("commands: [x], timeout: PT1H") + "disabled: true\n")


def test_what_only_its_expressions_send_to_a_container_fails_with_the_reason() -> None:
    with Cloud() as cloud:
        came = cloud.run(flow("commands: [echo never], timeout: \"{{ 'PT1H' }}\""))
        assert came.state == "FAILED"
        assert [line.message for line in came.logs] == [
            "The task cannot run: it needs a container, and this stack has none. Its timeout is PT1H, and a function "
            "runs for PT14M30S at most. Deploy the stack with containers (`-c headrace:containers=true`), or change the "
            "task so that it fits Lambda: Python, shell or Node.js, no image, a timeout up to 14 minutes"
        ]
