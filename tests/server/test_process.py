"""`headrace server` as a process: started, stopped, killed, and in the way of another."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from headrace_cli.main import cli
from local_server import LocalServer, local_server

SLEEPS = """
id: sleeps
namespace: demo
inputs:
  - {id: gate, type: STRING}
tasks:
  - id: wait
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    commands:
      - echo begun >> {{ inputs.gate }}.begun
      - "[ -e {{ inputs.gate }} ] || echo > {{ inputs.gate }}.tells"
      - while [ ! -e {{ inputs.gate }} ]; do sleep 0.05; done
  - {id: after, type: io.kestra.plugin.core.debug.Return, format: done}
outputs:
  - {id: said, type: STRING, value: "{{ outputs.after.value }}"}
"""
HELLO = """
id: hello
namespace: demo
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: "{{ globals.word }}"}
outputs:
  - {id: said, type: STRING, value: "{{ outputs.a.value }}"}
"""
YAML = {"content-type": "application/x-yaml"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that the flow's task waits for; beside it a pipe, on which the task tells that it waits."""
    os.mkfifo(tmp_path / "gate.tells")
    return tmp_path / "gate"


def started(server: LocalServer, gate: Path) -> str:
    """Save the flow, and start an execution; return its id when its task waits for *gate*."""
    with httpx.Client(base_url=server.api, timeout=30) as client:
        assert client.post("/flows", content=SLEEPS, headers=YAML).status_code == 200
        answer = client.post("/executions/demo/sleeps", files={"gate": (None, str(gate))})
        assert answer.status_code == 200, answer.text
    gate.with_name("gate.tells").read_bytes()
    return str(answer.json()["id"])


def ended(server: LocalServer, *execution_ids: str) -> list[Any]:
    """Follow the executions to their end; return them."""
    executions = []
    with httpx.Client(base_url=server.api, timeout=60) as client:
        for execution_id in execution_ids:
            with client.stream("GET", f"/executions/{execution_id}/follow") as answer:
                last = [row for row in answer.iter_lines() if row.startswith("data: ")][-1]
            executions.append(json.loads(last.removeprefix("data: ")))
    assert all(each["state"]["current"] in ("SUCCESS", "FAILED") for each in executions), "answers ended too early"
    return executions


def test_what_a_killed_server_had_taken_goes_on_when_it_starts_again(data: Path, gate: Path) -> None:
    with local_server(data) as server:
        execution_id = started(server, gate)
        server.kill()
    gate.touch()
    with local_server(data) as server:
        (execution,) = ended(server, execution_id)
        assert server.stop() == 0
    assert execution["state"]["current"] == "SUCCESS"
    assert execution["outputs"] == {"said": "done"}
    assert gate.with_name("gate.begun").read_text() == "begun\n" * 2, (
        "the attempt of the killed server is lost; the task run has a second"
    )


def test_whatever_was_answered_before_the_server_was_killed_is_there(data: Path) -> None:
    answered: list[str] = []
    enough = threading.Event()

    def ask(api: str) -> None:
        with httpx.Client(timeout=30) as client, suppress(httpx.TransportError):  # killed in the middle of an answer
            while True:
                answer = client.post(f"{api}/executions/demo/hello")
                assert answer.status_code in (200, 202)
                answered.append(answer.json()["id"])
                if len(answered) >= 40:
                    enough.set()

    with local_server(data) as server, ThreadPoolExecutor(4) as pool:
        hello = HELLO.replace("globals.word", "execution.id")
        assert httpx.post(f"{server.api}/flows", content=hello, headers=YAML).status_code == 200
        asking = [pool.submit(ask, server.api) for _ in range(4)]
        assert enough.wait(60)
        server.kill()
        for each in asking:
            each.result()
    with local_server(data) as server:
        executions = ended(server, *answered)
    assert {execution["outputs"]["said"] for execution in executions} == set(answered)


def test_a_server_that_is_asked_to_stop_lets_what_runs_end(data: Path, gate: Path) -> None:
    with local_server(data) as server:
        execution_id = started(server, gate)
        with httpx.stream("GET", f"{server.api}/executions/{execution_id}/follow", timeout=60) as answer:
            rows = answer.iter_lines()
            next(rows)
            server.process.terminate()
            for _ in rows:  # the server ends what would go on and on
                pass
        gate.touch()
        assert server.process.wait(60) == 0
        assert not any("runs again" in row for row in server.told)
    with local_server(data) as server:
        (execution,) = ended(server, execution_id)
    assert execution["state"]["current"] == "SUCCESS"
    assert gate.with_name("gate.begun").read_text() == "begun\n", "the attempt has ended: it counts"


def test_a_second_signal_does_not_wait_for_what_runs(data: Path, gate: Path) -> None:
    with local_server(data) as server:
        started(server, gate)
        server.process.terminate()
        server.wait_for("Stopping")
        server.process.terminate()
        assert server.process.wait(60) == 0
        server.wait_for("runs again at the next start")


def test_the_folder_and_the_port_are_one_servers(data: Path, gate: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["server", *map(str, arguments)], prog_name="headrace")
        return result.exit_code, result.stderr

    with local_server(data) as server:
        address = server.address
        code, told = run("--port", "0", "--data-dir", data)
        assert code == 2
        assert f"is in use by process {server.process.pid}, which serves {address}" in told
        port = address.rpartition(":")[2]
        code, told = run("--port", port, "--data-dir", tmp_path / "other")
        assert code == 2
        assert told == f"Error: Port {port} of 127.0.0.1 is in use; name another with --port, or take any: --port 0.\n"
        # What runs a flow on the folder has the server run it.
        flow = tmp_path / "sleeps.yaml"
        flow.write_text(SLEEPS)
        gate.touch()
        arguments = ["run", str(flow), "--data-dir", str(data), "--input", f"gate={gate}"]
        result = CliRunner().invoke(cli, arguments, prog_name="headrace")
        assert result.exit_code == 0, result.stderr
        assert f"The server {address} holds" in result.stderr
        assert "said  done" in result.stdout


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_port_that_something_else_serves_is_told_of(taken: int, data: Path) -> None:
    result = CliRunner().invoke(cli, ["server", "--port", str(taken), "--data-dir", str(data)], prog_name="headrace")
    assert result.exit_code == 2
    assert "is in use" in result.stderr
    assert not data.exists()


def test_a_server_asks_for_credentials_loads_a_folder_and_reads_its_configuration(data: Path, tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "hello.yaml").write_text(HELLO)
    (flows / "broken.yaml").write_text("id: broken")
    file = tmp_path / "other.yaml"
    file.write_text("server: {auth: 'me:sesame'}\nvariables: {globals: {word: hello}}\nflows: flows\n")
    with local_server(data, "--config", file) as server, httpx.Client(base_url=server.api, timeout=30) as client:
        assert any(row.startswith(f"{flows}/broken.yaml:1:1:") for row in server.told)
        assert httpx.get(f"{server.address}/health").json() == {"status": "UP"}
        asked = {"params": {"wait": "true"}}
        assert client.post("/executions/demo/hello", **asked).status_code == 401
        client.auth = ("me", "sesame")
        assert client.post("/executions/demo/hello", **asked).json()["outputs"] == {"said": "hello"}
        environment = {**os.environ, "HEADRACE_SERVER_AUTH": "me:sesame"}
        arguments = ["run", str(flows / "hello.yaml"), "--data-dir", str(data)]
        refused = CliRunner().invoke(cli, arguments, prog_name="headrace")
        assert refused.exit_code == 2
        assert "Error: The server asks who you are: set HEADRACE_TOKEN, or" in refused.stderr
        done = CliRunner().invoke(cli, arguments, prog_name="headrace", env=environment)
        assert done.exit_code == 0, done.stderr
        assert "said  hello" in done.stdout


def test_an_address_that_others_reach_is_not_served_without_credentials(data: Path) -> None:
    arguments = ["server", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(data)]  # noqa: S104 - never contacted
    result = CliRunner().invoke(cli, arguments, prog_name="headrace")
    assert result.exit_code == 2
    assert "--auth user:password" in result.stderr


def test_the_configuration_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("server: {auth: 'me:sesame', port: 1}")
    shown = CliRunner().invoke(cli, ["configs", "--config", str(file)], prog_name="headrace")
    assert shown.exit_code == 0
    assert f"server.port              1                    {file}:1\n" in shown.stdout
    assert "sesame" not in shown.stdout
    as_json = CliRunner().invoke(cli, ["configs", "--config", str(file), "--output", "json"], prog_name="headrace")
    found = {each["key"]: each for each in json.loads(as_json.stdout)}
    assert found["server.auth"] == {
        "key": "server.auth", "variable": "HEADRACE_SERVER_AUTH", "value": "********", "source": f"{file}:1",
    }  # fmt: skip
    file.write_text("server: {prt: 1}")
    refused = CliRunner().invoke(cli, ["configs", "--config", str(file)], prog_name="headrace")
    assert refused.exit_code == 2
    assert "did you mean `server.port`?" in refused.stderr
