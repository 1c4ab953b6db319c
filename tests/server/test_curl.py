"""What people copy from Kestra's documentation and from its users' scripts: `curl`, with and without the tenant."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_server import LocalServer, local_server

CURL = shutil.which("curl")
FLOW = """
id: inputs_demo
namespace: company.team
inputs:
  - {id: user, type: STRING, defaults: Rick Astley}
  - {id: data, type: FILE, required: false}
tasks:
  - {id: hello, type: io.kestra.plugin.core.log.Log, message: "Hey there, {{ inputs.user }}"}
outputs:
  - {id: who, type: STRING, value: "{{ inputs.user }}"}
triggers:
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: test1234}
  - {id: schedule, type: io.kestra.plugin.core.trigger.Schedule, cron: "*/30 * * * *"}
"""
PAUSED = """
id: asks
namespace: company.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    onResume: [{id: approved, type: BOOLEAN}]
"""
YAML, FORM = "Content-Type: application/x-yaml", "Content-Type: multipart/form-data"
JSON = "Content-Type: application/json"


class Shell:
    """A folder in which somebody calls `curl`."""

    def __init__(self, folder: Path, server: LocalServer) -> None:
        self.folder = folder
        self.base = f"{server.address}/api/v1"
        (folder / "flow.yaml").write_text(FLOW)

    def curl(self, *arguments: str, status: int = 200) -> Any:
        """Return the answer's JSON, or its text; *arguments* name addresses from what follows the API's."""
        told = [each.replace("API", self.base, 1) if each.startswith("API") else each for each in arguments]
        command = [CURL or "curl", "-sS", "-g", "-w", "\n%{http_code}", *told]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=self.folder, timeout=60)
        body, _, found = done.stdout.rpartition("\n")
        assert found == str(status), done.stdout
        return json.loads(body) if body[:1] in ("{", "[") else body

    def start(self, *arguments: str) -> Any:
        """Return the execution that was started, once it has ended."""
        return self.curl("-X", "POST", *arguments, "API/main/executions/company.team/inputs_demo?wait=true")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    if CURL is None:
        pytest.skip("there is no curl here: apt-get install curl")
    folder = tmp_path_factory.mktemp("curl")
    with local_server(folder / "data") as server:
        made = Shell(folder, server)
        made.curl("-X", "POST", "API/main/flows", "-H", YAML, "--data-binary", "@flow.yaml")
        yield made


def test_a_flow_is_started_in_every_way_that_is_told(shell: Shell) -> None:
    assert shell.start()["outputs"] == {"who": "Rick Astley"}
    assert shell.start("-F", "user=John Doe")["outputs"] == {"who": "John Doe"}
    assert shell.start("-H", FORM, "-F", "user=John", "-F", "data=@flow.yaml")["inputs"]["data"].endswith("/flow.yaml")
    by_the_old_name = shell.start("-F", "files=@flow.yaml;filename=data")
    assert by_the_old_name["inputs"]["data"].startswith("kestra:///company/team/inputs-demo/executions/")
    for shown in (("-u", "admin@kestra.io:kestra"), ("-H", "Authorization: Bearer YOUR_API_TOKEN")):
        started = shell.curl("-X", "POST", *shown, "API/executions/company.team/inputs_demo")
        assert (started["flowId"], started["originalId"]) == ("inputs_demo", started["id"])
    labelled = shell.curl("-X", "POST", "API/executions/trigger/company.team/inputs_demo?labels=a:1&labels=b:2")
    assert {(each["key"], each["value"]) for each in labelled["labels"]} >= {("a", "1"), ("b", "2")}


@pytest.mark.parametrize(
    "arguments", [("-H", JSON, "-d", '{"inputs": {"user": "green"}}'), ("-d", "user=green")], ids=["JSON", "urlencoded"]
)
def test_a_body_that_is_no_form_is_told_what_to_be(shell: Shell, arguments: tuple[str, ...]) -> None:
    refused = shell.curl("-X", "POST", *arguments, "API/main/executions/company.team/inputs_demo", status=415)
    assert refused["message"] == "Unsupported media type: the body is multipart/form-data (`curl -F name=value`)"


def test_a_webhook_is_called(shell: Shell) -> None:
    body = '{"pull_request": {"body": "${{ env.GITHUB_TOKEN }}"}}'
    address = "executions/webhook/company.team/inputs_demo"
    called = shell.curl("-X", "POST", "-H", JSON, "-d", body, f"API/{address}/test1234")
    assert called["trigger"]["variables"]["body"] == json.loads(body)
    assert shell.curl(f"API/main/{address}/test1234?a=1")["trigger"]["variables"]["parameters"] == {"a": ["1"]}
    assert "there is no such webhook" in shell.curl(f"API/main/{address}/wrong", status=404)["message"]


def test_a_schedule_is_backfilled_and_switched(shell: Shell) -> None:
    trigger = {"namespace": "company.team", "flowId": "inputs_demo", "triggerId": "schedule"}
    labels = [{"key": "reason", "value": "outage"}]
    backfill = {"start": "2024-03-28T06:30:00.000Z", "end": "2024-03-28T07:30:00Z", "inputs": None, "labels": labels}
    begun = shell.curl("-XPUT", "API/triggers", "-H", JSON, "-d", json.dumps({**trigger, "backfill": backfill}))
    assert begun["backfill"]["labels"] == labels
    refused = shell.curl("-X", "PUT", "API/release/triggers", "-H", JSON, "-d", "{}", status=404)
    assert refused["message"].endswith("there is one tenant, `main`: ask for /api/v1/main/triggers")
    found = shell.curl("API/main/triggers/search?namespace=company.team")
    assert [each["triggerContext"]["triggerId"] for each in found["results"]] == ["schedule"]
    shell.curl("-XPUT", "API/triggers", "-H", JSON, "-d", json.dumps({**trigger, "disabled": True}))


def test_flows_are_checked_exported_and_imported(shell: Shell) -> None:
    (said,) = shell.curl("-X", "POST", "API/main/flows/validate", "-H", YAML, "--data-binary", "@flow.yaml")
    assert "constraints" not in said
    shell.curl("API/main/flows/export/by-query?namespace=company", "-o", "flows.zip")
    assert "company.team.inputs_demo.yml" in zipfile.ZipFile(shell.folder / "flows.zip").namelist()
    for file in ("flows.zip", "flow.yaml"):
        assert shell.curl("-X", "POST", "API/main/flows/import", "-F", f"fileUpload=@{file}") == []
    together = ("-H", YAML, "--data-binary", "@flow.yaml")
    kept = shell.curl("-X", "POST", "API/main/flows/company.team?delete=false", *together)
    assert [each["revision"] for each in kept] == [1]
    shell.curl("-X", "PUT", "API/main/flows/company.team/inputs_demo", *together)


def test_executions_are_found_resumed_and_done_to_many(shell: Shell) -> None:
    shell.curl("-X", "POST", "API/main/flows", "-H", YAML, "--data-binary", PAUSED)
    ids = [shell.curl("-X", "POST", "API/main/executions/company.team/asks")["id"] for _ in range(3)]
    query = "namespace=company.team&flowId=asks"
    while shell.curl(f"API/main/executions/search?{query}&state=PAUSED")["total"] < len(ids):
        pass  # they are on their way
    by_filter = "filters[flowId][EQUALS]=asks&filters[state][IN]=PAUSED,RUNNING"
    assert shell.curl(f"API/main/executions/search?{by_filter}&size=1")["total"] == len(ids)
    approved = ("-H", FORM, "-F", "approved=true")
    shell.curl("-X", "POST", f"API/main/executions/{ids[0]}/resume", *approved, status=204)
    killed = shell.curl("-X", "DELETE", f"API/main/executions/kill/by-query?{query}&state=PAUSED")
    assert killed == {"count": len(ids) - 1}
    followed = shell.curl("-N", f"API/main/executions/{ids[1]}/follow")
    assert "event: end" in followed
    replayed = shell.curl("-X", "POST", "API/main/executions/replay/by-ids", "-H", JSON, "-d", json.dumps(ids[:1]))
    assert replayed == {"count": 1}
    deleted = shell.curl("-X", "DELETE", f"API/main/executions/by-query?{query}&state=KILLED")
    assert deleted == {"count": len(ids) - 1}


def test_keys_and_files_are_kept(shell: Shell) -> None:
    key = "API/main/namespaces/company.team/kv/my_key"
    shell.curl("-X", "PUT", "-H", JSON, key, "-d", '"Hello World"')
    assert shell.curl(key)["value"] == "Hello World"
    assert [each["key"] for each in shell.curl("API/main/namespaces/company.team/kv")] == ["my_key"]
    assert shell.curl("-X", "DELETE", key) == "true"
    shell.curl(key, status=404)
    files = "API/main/namespaces/company.team/files"
    shell.curl("-X", "POST", f"{files}?path=/scripts/a.yaml", "-F", "fileContent=@flow.yaml")
    assert shell.curl(f"{files}?path=/scripts/a.yaml") == FLOW
    assert shell.curl(f"{files}/directory?path=/")[0]["fileName"] == "scripts"
