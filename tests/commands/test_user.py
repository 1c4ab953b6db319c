"""``headrace user``, ``token`` and ``audit``, on a data folder that no server holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Headrace = Callable[..., Result]


def test_users_and_tokens_are_made_before_there_is_a_server(headrace: Headrace, tmp_path: Path) -> None:
    def run(*arguments: str, stdin: str | None = None) -> str:
        result = headrace(*arguments, "--data-dir", tmp_path, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def seen(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--output", "json"))

    added = run(
        "user", "add", "ann", "--grant", "viewer", "--grant", "editor@company", "--password", stdin="long enough\n"
    )
    assert added == "There is a user ann now.\n"
    run("user", "add", "ci")
    run("user", "change", "ci", "--grant", "editor@company")
    assert [(user["name"], user["grants"], user["hasPassword"]) for user in seen("user", "list")] == [
        ("ann", ["viewer", "editor@company"], True),
        ("ci", ["editor@company"], False),
    ]
    token = run("token", "add", "--user", "ci", "--about", "deploys", "--days", "1").strip()
    assert token.startswith("hr_")
    (listed,) = seen("token", "list", "--user", "ci")
    assert (listed["about"], token in json.dumps(listed)) == ("deploys", False)
    run("token", "delete", listed["id"], "--user", "ci")
    run("user", "change", "ci", "--disable", "--no-grants")
    run("user", "delete", "ci")
    assert "ann" in run("user", "list")
    assert seen("user", "me") == {"name": "local", "kind": "local", "grants": ["admin"]}
    records = seen("audit", "--limit", "3")
    assert [record["action"] for record in records] == [
        "DELETE /users/{name}",
        "PUT /users/{name}",
        "DELETE /users/{name}/tokens/{token_id}",
    ]
    assert "long enough" not in run("audit")


def test_what_cannot_be_is_refused_in_a_line(headrace: Headrace, tmp_path: Path) -> None:
    def refused(*arguments: str, stdin: str | None = None) -> str:
        result = headrace(*arguments, "--data-dir", tmp_path, stdin=stdin)
        assert result.exit_code == 2
        return result.stderr

    assert "`root` is no role" in refused("user", "add", "ann", "--grant", "root")
    assert refused("user", "add", "ann", "--password", stdin="") == "Error: There is no password on standard input.\n"
    assert "Say what is to change" in refused("user", "change", "ann")
    assert "--grant and --no-grants" in refused("user", "change", "ann", "--grant", "viewer", "--no-grants")
    assert refused("user", "delete", "a/../b") == "Error: Refused: Not Found: User a/../b\n"
    assert "log" in refused("token", "list"), "nobody has logged in"
