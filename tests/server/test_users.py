"""Users of a running server: made and changed by the command, asked for by everything else."""

from __future__ import annotations

import json
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
