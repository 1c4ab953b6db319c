"""The stack deployed as people do it: `cdk bootstrap`, `cdk deploy`, a first flow; and `cdk destroy`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aws.ministack import Account, running
from aws.resources import REGION
from emulator.client import Client, state
from emulator.deployment import STACK, completed, deployed
from example_flows import CHECKOUT

pytestmark = pytest.mark.emulator

_HERE = Path(__file__).parent
_INSTALLED = CHECKOUT / ".cache" / "cdk-command-line"
_OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET", "ENETUNREACH", "E403", "E404")


@pytest.fixture(scope="session")
def cdk() -> Path:
    """Return the CDK's command line, in the version that package.json names; skips where it cannot be had."""
    if not shutil.which("node") or not (npm := shutil.which("npm")):
        pytest.skip("the CDK's command line needs Node.js and npm")
    wanted, command = _HERE / "package.json", _INSTALLED / "node_modules" / ".bin" / "cdk"
    copied = _INSTALLED / "package.json"
    if not command.exists() or copied.read_bytes() != wanted.read_bytes():
        shutil.rmtree(_INSTALLED, ignore_errors=True)
        _INSTALLED.mkdir(parents=True)
        shutil.copyfile(wanted, copied)
        arguments = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1"]
        done = subprocess.run(arguments, check=False, cwd=_INSTALLED, capture_output=True, text=True, timeout=120)
        if done.returncode:
            shutil.rmtree(_INSTALLED)
            assert any(code in done.stderr for code in _OFFLINE), done.stderr
            pytest.skip(f"npm's registry does not give the CDK's command line: {done.stderr.strip()[-200:]}")
    return command


def run(cdk: Path, account: Account, folder: Path, *arguments: str) -> str:
    """Run the command line in an account of the emulator, and return what it wrote."""
    return told_by([str(cdk), *arguments, "--no-notices", "--no-version-reporting"], account, folder)


def told_by(command: list[str], account: Account, folder: Path) -> str:
    """Run a command with an account of the emulator's, and return what it wrote."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    environment |= {
        "AWS_ACCESS_KEY_ID": account.id,
        "AWS_SECRET_ACCESS_KEY": "emulator",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,  # what the first version of the AWS CLI reads
        "AWS_ENDPOINT_URL": account.endpoint,
        "AWS_ENDPOINT_URL_S3": account.endpoint,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CI": "true",
        "HOME": str(folder),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20",
    }
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def account(assembly: Path, tmp_path: Path) -> Iterator[Account]:
    """Yield an account where nothing is yet. Asks for the assembly, so that it skips without a bundle."""
    with running(tmp_path, iam=True) as emulator:
        yield emulator.own_account


def test_bootstrap_deploy_and_a_first_flow(account: Account, assembly: Path, cdk: Path, tmp_path: Path) -> None:
    run(cdk, account, tmp_path, "bootstrap", f"aws://{account.id}/{REGION}")
    told = run(cdk, account, tmp_path, "deploy", "--app", str(assembly), "--require-approval", "never", "--ci")
    assert f"{STACK}.ApiUrl" in told
    with closing(Client(completed(account))) as client:
        execution = client.run("id: first\ntasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hello}]\n")
        assert state(execution) == "SUCCESS"
        assert client.messages(execution["id"]) == ["hello"]


def test_it_goes_as_the_documentation_says_and_leaves_what_holds_data(
    account: Account, assembly: Path, cdk: Path, tmp_path: Path
) -> None:
    bash, aws = shutil.which("bash"), shutil.which("aws")
    if bash is None or aws is None:
        pytest.skip("what the documentation says to do needs bash and the AWS CLI")
    page = (CHECKOUT / "docs" / "aws.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (output,) = [re.search(r"output\(\) \{.*?\n\}\n", block, re.DOTALL) for block in blocks if "output() {" in block]
    (removal,) = [block for block in blocks if "remove_rules() {" in block]
    assert output is not None
    stack = deployed(account, assembly)
    events, bus = account.client("events"), stack.outputs["BusName"]
    with closing(Client(stack)) as client:
        client.save(
            """id: waiting
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hi}]
triggers:
  - {id: event, type: io.headrace.aws.eventbridge.Trigger, pattern: {source: [com.example.shop]}}
"""
        )
    before = {rule["Name"] for rule in events.list_rules(EventBusName=bus)["Rules"]}
    told = told_by([bash, "-euc", output.group() + removal], account, tmp_path)
    after = {rule["Name"] for rule in events.list_rules(EventBusName=bus)["Rules"]}
    assert len(after) == len(before) - 1, f"that of the flow alone goes: {told}"
    run(cdk, account, tmp_path, "destroy", "--app", str(assembly), "--force")
    assert account.client("lambda").list_functions()["Functions"] == []
    assert [each["Name"] for each in events.list_event_buses()["EventBuses"]] == ["default"]
    assert account.client("dynamodb").list_tables()["TableNames"] == [stack.table]
    buckets = [each["Name"] for each in account.client("s3").list_buckets()["Buckets"]]
    assert stack.outputs["BucketName"] in buckets
    assert len(account.client("secretsmanager").list_secrets()["SecretList"]) == 1
