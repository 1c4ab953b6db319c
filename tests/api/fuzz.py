"""Tries the API of a local server with what its OpenAPI document allows, and with what it does not.

No answer may be a 5xx, and each must be documented: its status, its content type, its shape. Every request is one that
schemathesis makes of the document; what it creates is there for the next ones. Every operation is tried: with names that
are made up, then with names of what is there, and last those that delete, so that the others find it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from local_server import local_server

_FLOW = """
id: hello
namespace: company.team
inputs: [{id: name, type: STRING, defaults: World}]
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "Hello {{ inputs.name }}"}
  - {id: fail, type: io.kestra.plugin.core.execution.Fail, condition: "{{ inputs.name == 'nobody' }}"}
triggers:
  - {id: call, type: io.kestra.plugin.core.trigger.Webhook, key: greeting}
  - {id: yearly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 1 1 *"}
"""
_CHECKS = ",".join(
    (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
)
_KNOWN = """
[dictionaries]
executions = {{ values = {executions} }}
task_runs = {{ values = {task_runs} }}
triggers = {{ values = ["call", "yearly"] }}

[parameters]
"path.namespace" = "company.team"
"path.flow_id" = "hello"
"path.task_id" = "log"
"path.key" = "greeting"
"path.execution_id" = {{ dictionary = "executions", probability = 0.95 }}
"path.task_run_id" = {{ dictionary = "task_runs", probability = 0.95 }}
"path.trigger_id" = {{ dictionary = "triggers", probability = 0.95 }}
"query.path" = "scripts/hello.py"
"body.taskRunId" = {{ dictionary = "task_runs", probability = 0.5 }}
"body.namespace" = {{ dictionary = "namespaces", probability = 0.5 }}
"body.flowId" = {{ dictionary = "flows", probability = 0.5 }}
"body.triggerId" = {{ dictionary = "triggers", probability = 0.5 }}

[dictionaries.namespaces]
values = ["company.team"]

[dictionaries.flows]
values = ["hello"]
"""
"""Names that are there: most of what is made up finds nothing. The executions have ended, so whoever follows one hears the
end."""
_PASSES = ((0.4, False, ""), (0.5, True, "--exclude-method=DELETE"), (0.1, True, "--include-method=DELETE"))
"""What part of the time for a pass, whether with known names, and which operations."""


def main() -> int:
    """Try it; return 0 when all answers were as documented."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=240, help="how long to go on at most")
    parser.add_argument("--examples", type=int, default=20, help="how many requests of a kind to make of an operation")
    parser.add_argument("--only", default="", help="a regular expression for the paths to try")
    parser.add_argument("--seed", type=int, default=1, help="what the requests are made from")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, local_server(Path(folder) / "data") as server:
        failed = False
        for part, is_known, which in _PASSES:
            known = _prepare(server.api)
            Path(folder, "schemathesis.toml").write_text(known if is_known else "", encoding="utf-8")
            failed |= _tried(server.api, given, folder, max(1, int(given.seconds * part)), which)
        crashes = [row for row in server.told if "Traceback" in row]
        failed |= bool(crashes) or _asked("GET", f"{server.api}/flows/search") != 200
    return int(failed)


def _tried(api: str, given: argparse.Namespace, folder: str, seconds: int, which: str) -> bool:
    """Return whether an answer was not as documented."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{api}/openapi.json",
        f"--url={api}",
        f"--checks={_CHECKS}",
        "--phases=examples,coverage,fuzzing",
        "--mode=all",
        f"--max-examples={given.examples}",
        f"--seed={given.seed}",
        f"--max-time={seconds}",
        "--request-timeout=40",
        "--suppress-health-check=all",
        "--continue-on-failure",
        "--generation-database=none",
        "--warnings=off",
        *([which] if which else []),
        *([f"--include-path-regex={given.only}"] if given.only else []),
    ]
    return subprocess.run(command, check=False, cwd=folder).returncode != 0


def _prepare(api: str) -> str:
    """Have there be something to find; return what schemathesis is told of it."""
    _asked("POST", f"{api}/flows", _FLOW.encode())
    _asked("PUT", f"{api}/namespaces/company.team/kv/greeting", b"hello")
    form = b'--x\r\ncontent-disposition: form-data; name="fileContent"; filename="f"\r\n\r\nx\r\n--x--\r\n'
    _asked(
        "POST", f"{api}/namespaces/company.team/files?path=scripts/hello.py", form, "multipart/form-data; boundary=x"
    )
    executions = [_ended(api, name) for name in ("World", "nobody", "World")]
    return _KNOWN.format(
        executions=json.dumps([each["id"] for each in executions]),
        task_runs=json.dumps([run["id"] for each in executions for run in each["taskRunList"]]),
    )


def _ended(api: str, name: str) -> Any:
    """Return an execution that has ended."""
    form = f'--x\r\ncontent-disposition: form-data; name="name"\r\n\r\n{name}\r\n--x--\r\n'.encode()
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{api}/executions/company.team/hello?wait=true", content=form, headers=headers, timeout=40)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _asked(method: str, address: str, body: bytes = b"", media: str = "text/plain") -> int:
    return httpx.request(method, address, content=body, headers={"content-type": media}, timeout=40).status_code


if __name__ == "__main__":
    sys.exit(main())
