"""Synthesises stacks, and reads what came out in few words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aws_cdk import App, RemovalPolicy, Stack, Validations, aws_iam, aws_kms, aws_lambda
from cdk_nag import AwsSolutionsChecks

from headrace_cdk import FunctionProps, Headrace, HeadraceProps, HeadraceStack

_HASH = re.compile(r"[0-9A-F]{8}$")


@dataclass(frozen=True)
class Assembly:
    """A synthesised stack."""

    template: Mapping[str, Any]
    refusal: str
    """Why cdk-nag refused it; empty when it did not."""

    @cached_property
    def resources(self) -> Mapping[str, Mapping[str, Any]]:
        """The resources by short name: the logical id without the construct's own name and the hash."""
        found = {short(name): resource for name, resource in self.template["Resources"].items()}
        assert len(found) == len(self.template["Resources"]), "two resources have one short name"
        return found

    def of_type(self, type_: str) -> dict[str, Mapping[str, Any]]:
        """Return the properties of the resources of a type, by short name."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == f"AWS::{type_}"
        }

    def role_of(self, name: str) -> set[str]:
        """Return the statements of a role, each as a line: effect, actions, resources, conditions."""
        policies = [
            policy
            for policy in self.of_type("IAM::Policy").values()
            if {"Ref": name} in map(_short_ref, policy["Roles"])
        ]
        lines = [line for policy in policies for line in _lines(policy["PolicyDocument"])]
        assert len(lines) == len(set(lines)), "a statement stands twice"
        return set(lines)


def short(name: str) -> str:
    """Return a logical id in short."""
    return _HASH.sub("", name).removeprefix("Headrace")


def _short_ref(value: Mapping[str, str]) -> dict[str, str]:
    return {"Ref": short(value["Ref"])}


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for statement in document["Statement"]:
        actions = ", ".join(_list(statement["Action"]))
        resources = " ".join(text(resource) for resource in _list(statement["Resource"]))
        line = f"{statement['Effect']} {actions} on {resources}"
        for operator, keys in statement.get("Condition", {}).items():
            for key, values in keys.items():
                line += f" if {key} {operator} {' '.join(text(value) for value in _list(values))}"
        yield line


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """Return a value of a template as text, references by short name."""
    match value:
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(text(part) for part in parts)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"{short(name)}.{attribute}"
        case {"Ref": str(name)}:
            return name if name.startswith("AWS::") else short(name)
        case _:
            return str(value)


def default_assembly(folder: Path) -> Assembly:
    """Return the stack of an app that chooses nothing."""
    return chosen_assembly(folder, HeadraceProps(bundle=False))


def chosen_assembly(folder: Path, props: HeadraceProps) -> Assembly:
    """Return the stack of an app that chooses *props*."""
    app = App(outdir=str(folder))
    HeadraceStack(app, "headrace", props)
    return _synth(app, folder, "headrace")


def foreign_assembly(folder: Path) -> Assembly:
    """Return somebody's own stack, with Headrace in it and everything chosen differently."""
    app = App(outdir=str(folder))
    stack = Stack(app, "Shop")
    key = aws_kms.Key(stack, "Key", enable_key_rotation=True)
    headrace = Headrace(
        stack,
        "Headrace",
        HeadraceProps(
            name="orders",
            architecture=aws_lambda.Architecture.X86_64,
            python_version="3.12",
            removal_policy=RemovalPolicy.DESTROY,
            encryption_key=key,
            worker=FunctionProps(3008, 7),
            reserve_concurrency=False,
            executor_concurrency=5,
            authorization="iam",
            cors_origins=("https://shop.example.com",),
            requests_per_second=7,
            watched_buckets=("uploads",),
            polled_queues=("orders", "returns.fifo"),
            vault="secretsmanager",
            log_level="DEBUG",
            log_retention_days=7,
            tracing=True,
            dashboard=False,
            alarm_email="ops@example.com",
            containers=False,
            script_large=FunctionProps(0),
            task_roles=("arn:aws:iam::123456789012:role/flows-*",),
            namespaces={"shop": {"taskRole": "arn:aws:iam::123456789012:role/flows-shop"}},
            bundle=False,
        ),
    )
    user = aws_iam.Role(stack, "Shopkeeper", assumed_by=aws_iam.ServicePrincipal("lambda.amazonaws.com"))
    headrace.api.grant_invoke(user)
    headrace.triggers.bus.grant_put_events_to(user)
    return _synth(app, folder, "Shop")


def _synth(app: App, folder: Path, stack: str) -> Assembly:
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    refusal = ""
    try:
        app.synth()
    except RuntimeError as error:  # after the template is written
        refusal = f"{error}\n{_violations(folder)}"
    return Assembly(json.loads((folder / f"{stack}.template.json").read_text(encoding="utf-8")), refusal)


def _violations(folder: Path) -> str:
    report = folder / "validation-report.json"
    return report.read_text(encoding="utf-8")[:10_000] if report.exists() else ""
