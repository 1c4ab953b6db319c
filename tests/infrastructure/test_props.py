"""What may be chosen, in code and by context."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, RemovalPolicy, Stack, aws_lambda

from example_flows import CHECKOUT
from headrace_cdk import FunctionProps, Headrace, HeadraceProps
from headrace_cdk.bundle import Target
from headrace_cdk.props import PropsError
from headrace_engine.identity import Grant


def from_context(**context: Any) -> HeadraceProps:
    """Return the properties of an app with this context below ``headrace:``."""
    app = App(context={f"headrace:{name}": value for name, value in context.items()})
    return HeadraceProps.from_context(app.node)


def test_without_context_nothing_is_chosen() -> None:
    assert HeadraceProps.from_context(App(context={"somebody:else": "1"}).node) == HeadraceProps()


def test_context_chooses_as_text_from_the_command_line_and_as_json_from_a_file() -> None:
    props = from_context(
        name="test",
        architecture="x86_64",
        removalPolicy="destroy",
        executorConcurrency="20",
        reserveConcurrency="false",
        corsOrigins="https://a.example.com,https://b.example.com",
        watchedBuckets=["one", "two"],
        tracing=True,
        worker={"memory": 3008, "reservedConcurrency": 10},
        script={"memory": 512},
        scriptLarge='{"memory": 0}',
        taskRoles="arn:aws:iam::1:role/a,arn:aws:iam::1:role/b-*",
        namespaces='{"pay": {"isolation": "container", "taskRole": "arn:aws:iam::1:role/b-pay"}}',
        pluginDefaults='{"io.headrace.runner.ecs.Fargate": {"spot": true, "retries": 5}}',
        api={"reservedConcurrency": 0},
    )
    assert props.name == "test"
    assert props.architecture.name == aws_lambda.Architecture.X86_64.name
    assert props.removal_policy is RemovalPolicy.DESTROY
    assert props.executor_concurrency == 20
    assert props.reserve_concurrency is False
    assert props.cors_origins == ("https://a.example.com", "https://b.example.com")
    assert props.watched_buckets == ("one", "two")
    assert props.tracing is True
    assert props.worker == FunctionProps(3008, 10)
    assert props.script == FunctionProps(512, 100)
    assert props.script_large == FunctionProps(0, 10)
    assert props.task_roles == ("arn:aws:iam::1:role/a", "arn:aws:iam::1:role/b-*")
    assert props.namespaces == {"pay": {"isolation": "container", "taskRole": "arn:aws:iam::1:role/b-pay"}}
    assert props.plugin_defaults == {"io.headrace.runner.ecs.Fargate": {"spot": True, "retries": 5}}
    assert props.api == FunctionProps(1024, None)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"nmae": "x"}, r"There is no context value headrace:nmae; use one of headrace:alarmEmail, "),
        ({"tracing": "yes"}, r"headrace:tracing is 'yes'; use true, false"),
        ({"executorConcurrency": "many"}, r"headrace:executorConcurrency is 'many'; it must be a whole number"),
        ({"executorConcurrency": "1"}, r"executor_concurrency is 1; AWS takes 2 to 1,000"),
        ({"removalPolicy": "keep"}, r"headrace:removalPolicy is 'keep'; use retain, destroy"),
        ({"architecture": "arm"}, r"headrace:architecture is 'arm'; use arm64, x86_64"),
        ({"worker": "1024"}, r'headrace:worker must be an object, such as \{"memory": 1024\}'),
        ({"worker": {"size": 1}}, r"headrace:worker has no size; use memory, reservedConcurrency"),
        ({"logRetentionDays": "5"}, r"log_retention_days is 5; use one of 7, 14, 30, 90, 180, 365"),
        ({"pythonVersion": "3.9"}, r"python_version is '3.9'; use 3.12 or newer, such as 3.13"),
        ({"name": "a/b"}, r"The name 'a/b' must be a letter, then letters, digits and hyphens, 64 at most"),
        ({"encryptionKey": "arn"}, r"headrace:encryptionKey is no plain value; set it where HeadraceProps is made"),
        ({"namespaces": "pay"}, r"headrace:namespaces is not JSON: pay"),
        ({"namespaces": {"pay": "container"}}, r'headrace:namespaces must hold objects, such as \{"company.pay"'),
        ({"namespaces": {"pay": {"isolation": "vm"}}}, r"the isolation of pay is one of none, container"),
        ({"namespaces": {"pay": {"role": "x"}}}, r"pay has no role; use isolation, taskRole"),
        ({"namespaces": {"pay": {"taskRole": "arn:x"}}}, r"the role arn:x of pay is none of task_roles"),
        (
            {"namespaces": {"pay": {"isolation": "container"}}, "containers": "false"},
            r"pay asks for containers, and containers is false",
        ),
        ({"namespaces": {"n" * 1500: {}}}, r"namespaces has more than 1500 characters"),
        ({"pluginDefaults": {"a.b": "c"}}, r'headrace:pluginDefaults must hold objects, such as \{"io.headrace.runner'),
        ({"pluginDefaults": {"a.b": {"c": "d" * 1500}}}, r"namespaces and plugin_defaults have more than 1500 char"),
        ({"requestsPerSecond": 0}, r"requests_per_second is 0; it must be 1 or more"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_choice_that_cannot_be_is_refused_with_what_can(context: dict[str, Any], message: str) -> None:
    with pytest.raises(PropsError, match=message):
        from_context(**context)


def test_a_deployment_is_called_as_its_stack_unless_it_has_a_name() -> None:
    stack = Stack(App(), "Shop", stack_name="shop")
    assert Headrace(stack, "Headrace", HeadraceProps(bundle=False)).name == "shop"


def test_the_code_is_packed_for_where_it_will_run() -> None:
    assert HeadraceProps().target == Target("3.13", "arm64")
    assert from_context(architecture="x86_64", pythonVersion="3.12").target == Target("3.12", "x86_64")


def test_two_deployments_in_one_stack_are_told_apart_by_name() -> None:
    stack = Stack(App(), "Shop")
    first = Headrace(stack, "First", HeadraceProps(name="first", bundle=False))
    second = Headrace(stack, "Second", HeadraceProps(name="second", bundle=False))
    assert first.secrets_prefix == "/headrace/first/secrets"
    assert second.secrets_prefix == "/headrace/second/secrets"


def test_every_choice_is_documented() -> None:
    text = (CHECKOUT / "docs" / "aws.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(\w+)`", text))
    names = {re.sub(r"_(\w)", lambda found: found.group(1).upper(), field.name) for field in fields(HeadraceProps)}
    assert names - {"encryptionKey"} <= documented
    assert "encryption_key" in documented, "which is no plain value"


def test_the_app_takes_its_choices_from_the_command_line(tmp_path: Path) -> None:
    command = json.loads((CHECKOUT / "cdk" / "cdk.json").read_text(encoding="utf-8"))["app"]
    python, script = command.split()
    assert (CHECKOUT / "cdk" / python).parent.parent == CHECKOUT / "cdk" / ".." / ".venv"
    # As the CDK's command line does.
    context = json.dumps({"headrace:name": "trial", "headrace:bundle": "false", "headrace:logRetentionDays": "90"})
    environment = os.environ | {"CDK_OUTDIR": str(tmp_path), "CDK_CONTEXT_JSON": context}
    done = subprocess.run(
        [sys.executable, script], cwd=CHECKOUT / "cdk", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    resources = json.loads((tmp_path / "trial.template.json").read_text(encoding="utf-8"))["Resources"].values()
    retained = {each["Properties"]["RetentionInDays"] for each in resources if each["Type"] == "AWS::Logs::LogGroup"}
    assert retained == {90}


JWT: dict[str, Any] = {
    "authorization": "jwt",
    "jwt_issuer": "https://issuer.example.com",
    "jwt_audience": ("app",),
    "jwt_grants": ("ops=admin",),
}


def test_what_groups_may_is_read_by_group() -> None:
    given = ("ops=admin", "team a=editor@company.a", "team a=viewer")
    props = HeadraceProps(**{**JWT, "jwt_grants": given})
    assert props.grants_of_groups == {"ops": ["admin"], "team a": ["editor@company.a", "viewer"]}
    for grants in props.grants_of_groups.values():
        assert [str(Grant.parse(grant)) for grant in grants] == grants


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"authorization": "none"}, "use one of headrace, jwt, iam"),
        ({"authorization": "iam"}, "jwt_… is for authorization jwt"),
        ({"jwt_issuer": "http://issuer.example.com"}, "begins with https://"),
        ({"jwt_audience": ()}, "tokens for anybody would count"),
        ({"jwt_grants": ()}, "nobody would be let in"),
        ({"jwt_grants": ("ops=root",)}, "group=role"),
        ({"jwt_grants": ("ops=editor@",)}, "group=role"),
        ({"jwt_grants": ("=admin",)}, "group=role"),
    ],
)
def test_who_calls_is_told_in_full(change: dict[str, Any], refusal: str) -> None:
    with pytest.raises(PropsError, match=refusal):
        HeadraceProps(**{**JWT, **change})
