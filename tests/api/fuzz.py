"""Tries the API of a local server with what its OpenAPI document allows, and with what it does not.

No answer may be a 5xx, and each must be documented: its status, its content type, its shape. Every request is one that
schemathesis makes of the document; what it creates is there for the next ones.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from local_server import local_server

_FLOW = """
id: hello
namespace: company.team
inputs: [{id: name, type: STRING, defaults: World}]
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: "Hello {{ inputs.name }}"}]
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
_ENDLESS = "/follow$"
"""Answers that go on until an execution ends are not for this: schemathesis reads each to its end."""


_KNOWN = """
[parameters]
"path.namespace" = "company.team"
"path.flow_id" = "hello"
"path.task_id" = "log"
"path.key" = "greeting"
"query.path" = "scripts/hello.py"
"""
"""Names that are there, for the second half: most of what is made up finds nothing."""


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
        for known in ("", _KNOWN):
            _prepare(server.api)
            Path(folder, "schemathesis.toml").write_text(known, encoding="utf-8")
            failed |= _tried(server.api, given, folder)
        crashes = [row for row in server.told if "Traceback" in row]
        failed |= bool(crashes) or _asked("GET", f"{server.api}/flows/search") != 200
    return int(failed)


def _tried(api: str, given: argparse.Namespace, folder: str) -> bool:
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
        f"--max-time={given.seconds // 2}",
        "--request-timeout=40",
        "--suppress-health-check=all",
        "--continue-on-failure",
        "--generation-database=none",
        "--warnings=off",
        f"--exclude-path-regex={_ENDLESS}",
        *([f"--include-path-regex={given.only}"] if given.only else []),
    ]
    return subprocess.run(command, check=False, cwd=folder).returncode != 0


def _prepare(api: str) -> None:
    """Have there be something to find."""
    _asked("POST", f"{api}/flows", _FLOW.encode())
    _asked("PUT", f"{api}/namespaces/company.team/kv/greeting", b"hello")
    form = b'--x\r\ncontent-disposition: form-data; name="fileContent"; filename="f"\r\n\r\nx\r\n--x--\r\n'
    _asked(
        "POST", f"{api}/namespaces/company.team/files?path=scripts/hello.py", form, "multipart/form-data; boundary=x"
    )


def _asked(method: str, address: str, body: bytes = b"", media: str = "text/plain") -> int:
    return httpx.request(method, address, content=body, headers={"content-type": media}, timeout=40).status_code


if __name__ == "__main__":
    sys.exit(main())
