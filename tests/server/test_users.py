"""Users of a running server: made and changed by the command, asked for by everything else."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx
from click.testing import CliRunner, Result

from headrace_cli.main import cli
from local_server import local_server


def headrace(*arguments: str, **environment: str) -> Result:
    shown = {"HEADRACE_SERVER_AUTH": "", "HEADRACE_TOKEN": "", "HEADRACE_SERVER": "", **environment}
    return CliRunner().invoke(cli, list(arguments), prog_name="headrace", env=shown)


def test_the_command_asks_the_server_that_holds_the_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with local_server(data, "--auth", "me:sesame") as server:
        assert server.address  # from now on it holds the folder
        folder = ("--data-dir", str(data))
        refused = headrace("user", "list", *folder)
        assert (refused.exit_code, "asks who you are" in refused.stderr) == (2, True)
        me = {"HEADRACE_SERVER_AUTH": "me:sesame"}
        assert headrace("user", "add", "ann", "--grant", "viewer@demo", *folder, **me).exit_code == 0
        token = headrace("token", "add", "--user", "ann", *folder, **me).stdout.strip()

        ann = {"HEADRACE_TOKEN": token, "HEADRACE_SERVER": server.address}
        shown = json.loads(headrace("user", "me", "--output", "json", **ann).stdout)
        assert shown == {"name": "ann", "kind": "token", "grants": ["viewer@demo"]}
        refused = headrace("user", "list", **ann)
        assert (refused.exit_code, "needs the role admin" in refused.stderr) == (2, True)
        assert json.loads(headrace("audit", "--who", "ann", "-o", "json", *folder, **me).stdout) == []
        first = json.loads(headrace("audit", "-o", "json", *folder, **me).stdout)[-1]
        assert (first["who"], first["action"], first["client"]) == ("me", "POST /users", "127.0.0.1")

        with httpx.Client(base_url=server.api, timeout=30, headers={"authorization": f"Bearer {token}"}) as client:
            assert client.get("/flows/demo").status_code == 200
            assert client.get("/flows/other").status_code == 403
            assert client.delete("/flows/demo/hello").status_code == 403
        page = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        refused_page = httpx.post(f"{server.api}/flows", auth=("me", "sesame"), headers=page)
        assert refused_page.status_code == 403


def test_a_server_that_asks_nobody_is_no_other_sites(tmp_path: Path) -> None:
    with local_server(tmp_path / "data") as server, httpx.Client(base_url=server.api, timeout=30) as client:
        answer = client.get("/flows/demo")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert client.get("/flows/demo", headers={"host": "evil.example"}).status_code == 403
        assert client.post("/flows", headers={"origin": "https://evil.example"}).status_code == 403


def test_a_user_made_while_the_server_is_open_counts_at_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with local_server(data) as server:
        assert httpx.get(f"{server.api}/me").json()["kind"] == "local"
        folder = ("--data-dir", str(data))
        refused = headrace("user", "add", "ann", "--grant", "viewer", *folder)
        assert (refused.exit_code, "The first user" in refused.stderr) == (2, True)
        added = CliRunner().invoke(
            cli, ["user", "add", "ann", "--grant", "admin", "--password", *folder], input="long enough\n"
        )
        assert added.exit_code == 0, added.output
        assert httpx.get(f"{server.api}/me").status_code == 401
        assert httpx.get(f"{server.api}/me", auth=("ann", "long enough")).json()["kind"] == "password"
        assert headrace("user", "add", "ci", *folder, HEADRACE_SERVER_AUTH="ann:long enough").exit_code == 0


def test_nothing_of_a_large_body_is_taken_of_who_may_not_send_it(tmp_path: Path) -> None:
    """The answer is there before a byte of the body: its sender has not sent one."""
    with local_server(tmp_path / "data", "--auth", "me:sesame") as server:
        host, port = server.address.removeprefix("http://").split(":")
        for path in ("/api/v1/main/flows", "/forms/demo/hello", "/api/v1/main/uploads/x", "/nothing"):
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 60000000\r\n\r\n"
                connection.sendall(head.replace("POST", "PUT" if "uploads" in path else "POST").encode())
                answer = connection.recv(4096).decode()
                expected = "404" if "uploads" in path or path == "/nothing" else "401"
                assert answer.startswith(f"HTTP/1.1 {expected} "), (path, answer)
                assert "connection: close" in answer
