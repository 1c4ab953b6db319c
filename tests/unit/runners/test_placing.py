"""Where a script runs on AWS: the rule, line by line, and which of two that apply counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.ports import PortError
from headrace_runners.namespace_rules import NamespaceRules
from headrace_runners.placing import Size, Sketch, Stack, place

SHELL = "io.kestra.plugin.scripts.shell.Commands"
PYTHON = "io.kestra.plugin.scripts.python.Script"
NODE = "io.kestra.plugin.scripts.node.Commands"
R = "io.kestra.plugin.scripts.r.Script"
RULES = NamespaceRules.from_text(
    '{"company.pay": {"isolation": "container"}, "company.pay.docs": {"isolation": "none"}}'
)
STACK = Stack(containers=True, is_isolated=RULES.is_isolated, python="3.13")
LAMBDA = "io.headrace.runner.lambda.Lambda"
PROCESS = {"type": "io.kestra.plugin.core.runner.Process"}
DOCKER = {"type": "io.kestra.plugin.scripts.runner.docker.Docker"}
FARGATE = {"type": "io.headrace.runner.ecs.Fargate"}
BATCH = {"type": "io.kestra.plugin.ee.aws.runner.Batch"}


def runner(**properties: Any) -> dict[str, Any]:
    return {"taskRunner": {"type": LAMBDA, **properties}}


def sketch(
    kind: str = SHELL,
    properties: Mapping[str, Any] | None = None,
    minutes: float | None = None,
    namespace: str = "demo",
) -> Sketch:
    timeout = timedelta(minutes=minutes) if minutes is not None else None
    return Sketch(kind, namespace, properties or {}, timeout)


@pytest.mark.parametrize("kind", [SHELL, PYTHON, NODE, "com.example.RunsCode"])
def test_what_fits_runs_on_the_smallest_function(kind: str) -> None:
    placed = place(sketch(kind), STACK)
    assert (placed.where, placed.size, placed.why, placed.refusal) == (
        "lambda",
        Size.SMALL,
        "It fits into a function",
        "",
    )


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (sketch(properties={"taskRunner": FARGATE}), "The task names Fargate"),
        (sketch(properties={"taskRunner": {"type": "io.kestra.plugin.ee.aws.runner.EcsFargate"}}), "names Fargate"),
        (sketch(properties={"taskRunner": DOCKER}), "The task names Docker, which runs on Fargate here"),
        (sketch(properties={"runner": "DOCKER"}), "The task names Docker, which runs on Fargate here"),
        (sketch(properties={"containerImage": "python:3.13"}), "It names the image python:3.13"),
        (sketch(properties={"docker": {"image": "alpine"}}), "It names the image alpine"),
        (sketch(properties={"containerImage": "alpine"} | runner()), "It names the image alpine"),
        (sketch(R), "The functions have no r"),
        (sketch("io.kestra.plugin.scripts.powershell.Commands"), "The functions have no powershell"),
        (sketch(PYTHON, {"pythonVersion": "3.12"}), "The functions have Python 3.13, and it asks for 3.12"),
        (sketch(PYTHON, {"pythonVersion": "3.1"}), "The functions have Python 3.13, and it asks for 3.1"),
        (sketch(minutes=15), "Its timeout is PT15M, and a function runs for PT14M30S at most"),
        (sketch(properties={"taskRunner": PROCESS}, minutes=60), "Its timeout is PT1H"),
        (sketch(properties=runner(ephemeralStorage="10 GB")), "asks for 10240 MB of disk, and a function has 2048"),
        (sketch(properties=runner(memory="16 GB")), "asks for 16384 MB of memory, and a function has 10240 at most"),
        (sketch(namespace="company.pay.cards"), "The namespace company.pay.cards is isolated"),
        (sketch(properties={"taskRunner": PROCESS}, namespace="company.pay"), "is isolated"),
    ],
)
def test_what_does_not_fit_runs_on_fargate_and_says_why(wanted: Sketch, why: str) -> None:
    placed = place(wanted, STACK)
    assert (placed.where, placed.size) == ("fargate", None)
    assert why in placed.why
    assert placed.described(STACK) == {"type": "io.headrace.runner.ecs.Fargate", "why": placed.why}


@pytest.mark.parametrize(
    ("properties", "size"),
    [
        (runner(), Size.SMALL),
        (runner(memory="SMALL"), Size.SMALL),
        (runner(memory="medium"), Size.MEDIUM),
        (runner(memory="LARGE"), Size.LARGE),
        (runner(memory="1769"), Size.SMALL),
        (runner(memory=1770), Size.MEDIUM),
        (runner(memory="2.5 GB"), Size.MEDIUM),
        (runner(memory="4GiB"), Size.LARGE),
        (runner(memory="{{ inputs.memory }}"), Size.SMALL),
        (runner(ephemeralStorage="2 GB"), Size.SMALL),
    ],
)
def test_memory_chooses_the_smallest_function_that_has_it(properties: Mapping[str, Any], size: Size) -> None:
    placed = place(sketch(properties=properties), STACK)
    assert (placed.where, placed.size) == ("lambda", size)
    assert placed.described(STACK) == {
        "type": LAMBDA,
        "size": size.value,
        "memory": STACK.memory[size],
        "why": placed.why,
    }


def test_batch_is_named_and_stays_batch() -> None:
    wanted = sketch(properties={"taskRunner": BATCH, "containerImage": "alpine"}, minutes=90, namespace="company.pay")
    placed = place(wanted, STACK)
    assert (placed.where, placed.why) == ("batch", "The task names AWS Batch")
    assert placed.described(STACK)["type"] == "io.kestra.plugin.ee.aws.runner.Batch"


@pytest.mark.parametrize("version", ["3.13", "3", "{{ inputs.python }}"])
def test_the_python_that_functions_have_is_theirs(version: str) -> None:
    assert place(sketch(PYTHON, {"pythonVersion": version}), STACK).where == "lambda"


def test_a_process_has_no_image() -> None:
    for properties in ({"taskRunner": PROCESS}, {"runner": "PROCESS"}):
        assert place(sketch(properties=properties | {"containerImage": "alpine"}), STACK).where == "lambda"


def test_a_namespace_below_an_isolated_one_may_say_otherwise() -> None:
    assert place(sketch(namespace="company.pay.docs"), STACK).where == "lambda"
    assert place(sketch(namespace="company.payments"), STACK).where == "lambda"


def test_a_timeout_that_just_fits_is_a_functions() -> None:
    assert place(sketch(minutes=14.5), STACK).where == "lambda"


def test_a_stack_without_a_large_function_sends_what_asks_for_it_to_fargate() -> None:
    stack = Stack(memory={Size.SMALL: 1769, Size.MEDIUM: 3008}, containers=True)
    assert place(sketch(properties=runner(memory="LARGE")), stack).where == "fargate"


def test_a_stack_without_containers_refuses_with_the_reason_and_the_way_out() -> None:
    placed = place(sketch(R), Stack())
    assert placed.refusal == (
        "it needs a container, and this stack has none. The functions have no r. Deploy the stack with containers "
        "(`-c headrace:containers=true`), or change the task so that it fits Lambda: Python, shell or Node.js, "
        "no image, a timeout up to 14 minutes"
    )
    assert place(sketch(), Stack()).refusal == ""


def test_rules_of_namespaces_are_read_strictly() -> None:
    rules = NamespaceRules.from_text('{"a": {"taskRole": "arn:aws:iam::123456789012:role/a"}, "a.b": {}}')
    assert rules.task_role("a.b.c") == "arn:aws:iam::123456789012:role/a"
    assert rules.task_role("ab") == ""
    for text in ('{"a": {"isolation": "vm"}}', '{"a": {"role": "x"}}', "[]"):
        with pytest.raises(PortError, match="rules of namespaces"):
            NamespaceRules.from_text(text)
