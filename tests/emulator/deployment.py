"""The synthesised stack in an emulated AWS, deployed as CloudFormation would, and told what the emulator leaves out."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

# Says at every start that the machine's Node.js is old; nothing here depends on its version.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

import pytest
from aws_cdk import App

from aws.ministack import PYTHON, Account
from aws.resources import REGION
from bundles import CACHE, packed
from emulator.waiting import until
from headrace_cdk import HeadraceProps, HeadraceStack
from headrace_cdk.bundle import Bundle, BundleError, Target

STACK = "headrace"
POLLED = "orders"
"""A queue of somebody else, whose messages start flows."""
_BUNDLES = {
    "Worker": Bundle.WORKER,
    "Script": Bundle.SCRIPT,
    "ScriptMedium": Bundle.SCRIPT,
    "ScriptLarge": Bundle.SCRIPT,
    "Programs": Bundle.PROGRAMS,
}
_SHIPPED = HeadraceProps().target
"""What the assembly packs for, before its code is replaced."""
_QUALIFIER = "hnb659fds"
"""What the CDK puts into the names of its own resources in an account."""


# -- The assembly -------------------------------------------------------------------------------------


def synthesised(folder: Path) -> Path:
    """Write the cloud assembly of a stack that chooses a queue, and nothing else, to *folder*, and return it.

    The template is that of any account, but that each invocation logs a line: without one, the emulator waits for it.
    The code is packed for the interpreter that will run it. Skips where the package index cannot be reached.
    """
    try:
        _pack()
        app = App(outdir=str(folder))
        HeadraceStack(app, STACK, HeadraceProps(log_level="INFO", bundle_cache=CACHE, polled_queues=(POLLED,)))
        app.synth()
        for asset, path in _assets(folder):
            if path.suffix == ".zip":
                function = asset["displayName"].split("/")[-2]
                shutil.copyfile(packed(_interpreter(), _BUNDLES.get(function, Bundle.PLATFORM)), path)
    except BundleError as error:
        pytest.skip(f"the functions' libraries cannot be had: {str(error)[-300:]}")
    return folder


def _pack() -> None:
    """Pack all that the assembly packs, and what takes its place, two at a time."""
    with ThreadPoolExecutor(2) as at_once:
        list(at_once.map(packed, *zip(*product((_SHIPPED, _interpreter()), Bundle), strict=True)))


@cache
def _interpreter() -> Target:
    version = "import sys; print('{}.{}'.format(*sys.version_info))"
    done = subprocess.run([str(PYTHON), "-c", version], capture_output=True, text=True, check=True)
    return Target(done.stdout.strip(), {"aarch64": "arm64"}.get(platform.machine(), platform.machine()))


def _assets(assembly: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Yield what must lie in the account's bucket of assets, and where it is."""
    manifest = json.loads((assembly / f"{STACK}.assets.json").read_text(encoding="utf-8"))
    for asset in manifest["files"].values():
        yield asset, assembly / asset["source"]["path"]


# -- The account --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deployment:
    """A deployed stack."""

    account: Account
    outputs: Mapping[str, str]
    functions: Mapping[str, str]
    """The functions' names, by what they do."""

    @property
    def api_url(self) -> str:
        """Where the API answers: amazonaws.com does not lead to the emulator."""
        return self.outputs["ApiUrl"]

    def logged(self, function: str, *words: str) -> list[str]:
        """Return what a function logged, where all *words* are in it."""
        name = self.functions[function]
        group = self.account.client("lambda").get_function_configuration(FunctionName=name)["LoggingConfig"]["LogGroup"]
        pages = self.account.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        messages = [event["message"] for page in pages for event in page["events"]]
        return [message for message in messages if all(word in message for word in words)]

    def variable(self, function: str, name: str) -> str:
        """Return an environment variable of a function."""
        found = self.account.client("lambda").get_function_configuration(FunctionName=self.functions[function])
        return str(found["Environment"]["Variables"][name])

    @property
    def signing_keys(self) -> str:
        """Which secret holds the platform's signing keys."""
        return self.variable("executor", "HEADRACE_SIGNING_SECRET")

    @property
    def table(self) -> str:
        """The table's name."""
        return self.outputs["TableName"]


def deployed(account: Account, assembly: Path) -> Deployment:
    """Deploy the assembly's template as it is, and return the stack when it is there."""
    bucket = f"cdk-{_QUALIFIER}-assets-{account.id}-{REGION}"
    s3, cloudformation = account.client("s3"), account.client("cloudformation")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    account.client("ssm").put_parameter(Name=f"/cdk-bootstrap/{_QUALIFIER}/version", Value="30", Type="String")
    template = ""
    for asset, path in _assets(assembly):
        (destination,) = asset["destinations"].values()
        s3.upload_file(str(path), bucket, destination["objectKey"])
        if path.suffix == ".json":
            template = f"{account.endpoint}/{bucket}/{destination['objectKey']}"
    cloudformation.create_stack(StackName=STACK, TemplateURL=template, Capabilities=["CAPABILITY_IAM"])
    return completed(account)


def completed(account: Account) -> Deployment:
    """Return the stack when it is there and told what the emulator did not tell it."""
    cloudformation = account.client("cloudformation")

    def ended() -> Any:
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    stack = until(ended, "end of the deployment")
    assert stack["StackStatus"] == "CREATE_COMPLETE", _failures(cloudformation)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    api_id = outputs["ApiUrl"].partition("://")[2].partition(".")[0]
    outputs["ApiUrl"] = f"{account.endpoint}/_aws/execute-api/{api_id}"
    template = cloudformation.get_template(StackName=STACK)["TemplateBody"]
    template = json.loads(template) if isinstance(template, str) else template
    functions = {}
    for resource in cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]:
        declared = template["Resources"][resource["LogicalResourceId"]].get("Properties", {})
        if resource["ResourceType"] == "AWS::Lambda::Function":
            named = declared["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
            functions[named] = resource["PhysicalResourceId"]
            _complete_function(account, resource["PhysicalResourceId"], declared)
        elif resource["ResourceType"] == "AWS::DynamoDB::Table":
            account.client("dynamodb").update_time_to_live(
                TableName=resource["PhysicalResourceId"],
                TimeToLiveSpecification=declared["TimeToLiveSpecification"],
            )
        elif resource["ResourceType"] == "AWS::SQS::Queue":
            # What was not handled comes again after seconds; in the template it is minutes.
            account.client("sqs").set_queue_attributes(
                QueueUrl=resource["PhysicalResourceId"], Attributes={"VisibilityTimeout": "20"}
            )
    deployment = Deployment(account, outputs, functions)
    _tell_where_the_api_is(deployment)
    return deployment


def _complete_function(account: Account, name: str, declared: Mapping[str, Any]) -> None:
    """Set what the emulator drops of a function's properties."""
    lambda_ = account.client("lambda")
    if "RecursiveLoop" in declared:
        lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop=declared["RecursiveLoop"])
    if "ReservedConcurrentExecutions" in declared:
        lambda_.put_function_concurrency(
            FunctionName=name, ReservedConcurrentExecutions=declared["ReservedConcurrentExecutions"]
        )


def _tell_where_the_api_is(deployment: Deployment) -> None:
    """Scripts and containers ask the API for their files, at an address that leads to AWS."""
    lambda_ = deployment.account.client("lambda")
    for name in deployment.functions.values():
        variables = lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        if "HEADRACE_API_URL" in variables:
            told = variables | {"HEADRACE_API_URL": deployment.api_url}
            lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": told})


def _failures(cloudformation: Any) -> str:
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    return "\n".join(
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
        for event in events
        if event["ResourceStatus"].endswith("FAILED")
    )
