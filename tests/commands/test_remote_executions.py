"""``headrace execution`` against a real server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from local_server import local_server

Remote = Callable[..., Result]

FLOWS = """
id: greet
namespace: hall.team
inputs:
  - {id: name, type: STRING}
  - {id: data, type: FILE, required: false}
  - {id: more, type: JSON, required: false}
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: "Hello\u2028{{ inputs.name }}"}
  - {id: size, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.data is defined ? read(inputs.data) : '-' }}"}
outputs:
  - {id: read, type: STRING, value: "{{ outputs.size.value }}"}
---
id: breaks
namespace: hall.team
inputs:
  - {id: mode, type: STRING, defaults: bad}
tasks:
  - {id: first, type: io.kestra.plugin.core.debug.Return, format: x}
  - {id: check, type: io.kestra.plugin.core.execution.Fail, condition: "{{ inputs.mode == 'bad' }}", errorMessage: no}
---
id: approve
namespace: hall.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    onResume: [{id: reason, type: STRING}]
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ outputs.wait.onResume.reason }}"}
---
id: naps
namespace: hall.team
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT10M}
"""


@pytest.fixture(autouse=True)
def flows(remote: Remote, tmp_path: Path) -> None:
    remote("flow", "save", "-", stdin=FLOWS)


def execution(remote: Remote, execution_id: str) -> Any:
    return json.loads(remote("execution", "get", execution_id, "-o", "json").stdout)


def test_an_execution_is_started_with_inputs_and_files_and_followed_to_its_end(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("four")
    (tmp_path / "in.yaml").write_text("name: Ann\nmore: {a: [1, true]}\n")
    told = remote(
        "execution", "create", "hall.team.greet", "--inputs", tmp_path / "in.yaml", "-f", f"data=@{tmp_path}/d.txt",
        "-l", "why=test", "--follow",
    ).stdout  # fmt: skip
    assert "INFO     say: HelloAnn" in told, "what ends a line for some readers ends none here"
    story = told.partition("\n\n")[0].splitlines()
    assert "SUCCESS  hall.team.greet (" in story[-1], "the log comes before the end"
    assert "read  four" in told
    (found,) = json.loads(
        remote("execution", "list", "--flow", "hall.team.greet", "-l", "why=test", "-o", "json").stdout
    )
    assert execution(remote, found["id"])["inputs"]["more"] == {"a": [1, True]}
    again = remote("execution", "follow", found["id"], "--quiet", "-o", "json")
    assert json.loads(again.stdout)["outputs"] == {"read": "four"}
    table = remote("execution", "list", "--namespace", "hall", "--state", "success", "--limit", "1").stdout
    assert "hall.team.greet" in table
    assert "STATE" in table
    log = remote("execution", "logs", found["id"], "--task", "say").stdout
    assert "INFO     say: HelloAnn" in log
    assert remote("execution", "logs", found["id"], "--follow").stdout.endswith(log)
    assert remote("execution", "logs", found["id"], "--level", "error").stdout == ""
    one = remote("execution", "logs", found["id"], "--follow", "-o", "json", "--task", "say").stdout.splitlines()
    assert [json.loads(row)["taskId"] for row in one] == ["say"]


def test_what_is_wrong_with_an_execution_is_told_before_it_is_started(remote: Remote) -> None:
    assert "no input `nam`. Did you mean `name`?" in remote(
        "execution", "create", "hall.team.greet", "-i", "nam=x", code=2
    ).stderr  # fmt: skip
    assert "name" in remote("execution", "create", "hall.team.greet", code=2).stderr
    assert "Did you mean `hall.team.greet`?" in remote("execution", "create", "hall.team.gret", code=2).stderr
    assert remote("execution", "get", "nowhere", code=2).stderr.startswith("Error: Not Found: ")
    assert "Not Found" in remote("execution", "follow", "nowhere", code=2).stderr
    assert remote("execution", "list", "--state", "DONE", code=2).stderr.startswith("Error: Bad request: ")


def test_what_failed_is_restarted_and_replayed(remote: Remote) -> None:
    failed = remote("execution", "create", "hall.team.breaks", "--follow", "-o", "json", code=1)
    execution_id = json.loads(failed.stdout)["id"]
    assert "FAILED   hall.team.breaks" in failed.stderr
    shown = remote("execution", "get", execution_id).stdout
    assert "FAILED" in shown
    assert "no" in shown
    first = next(row for row in shown.splitlines() if row.startswith("first"))
    assert first.split()[1] == "SUCCESS"

    assert remote("execution", "restart", execution_id).stdout == f"{execution_id}\n"
    assert remote("execution", "follow", execution_id, "-q", code=1).stdout.startswith("✘ FAILED")
    task_run = execution(remote, execution_id)["taskRunList"][1]["id"]
    copy = remote("execution", "replay", execution_id, "--task-run", task_run).stdout.strip()
    remote("execution", "follow", copy, "-q", code=1)
    assert execution(remote, copy)["originalId"] == execution_id
    mended = remote("execution", "replay", execution_id, "-i", "mode=good").stdout.strip()
    assert "SUCCESS" in remote("execution", "follow", mended, "-q").stdout


def test_what_runs_is_killed_paused_and_resumed(remote: Remote) -> None:
    napping = remote("execution", "create", "hall.team.naps").stdout.strip()
    assert remote("execution", "kill", napping).stderr == f"{napping} is being killed.\n"
    assert "KILLED" in remote("execution", "follow", napping, "-q", code=1).stdout
    assert "Error: " in remote("execution", "pause", napping, code=2).stderr

    waiting = remote("execution", "create", "hall.team.approve").stdout.strip()
    while execution(remote, waiting)["state"]["current"] != "PAUSED":
        pass  # looks again
    assert "reason" in remote("execution", "resume", waiting, code=2).stderr
    assert remote("execution", "resume", waiting, "-i", "reason=fine").stderr == f"{waiting} goes on.\n"
    assert "log: fine" in remote("execution", "follow", waiting).stdout


def test_a_file_that_is_larger_than_a_request_may_be_is_uploaded_first(remote: Remote, tmp_path: Path) -> None:
    file = tmp_path / "large.txt"
    file.write_text("0123456789" * 200_000)
    with local_server(tmp_path / "data", environment={**os.environ, "HEADRACE_SERVER_LARGEST_BODY": "100000"}) as small:
        server = ("--server", small.address)
        remote("flow", "save", "-", *server, stdin=FLOWS)
        made = remote("execution", "create", "hall.team.greet", *server, "-i", "name=Ann", "-f", f"data=@{file}")
        ended = json.loads(remote("execution", "follow", made.stdout.strip(), "-q", "-o", "json", *server).stdout)
        assert ended["outputs"]["read"] == "0123456789" * 200_000
        assert ended["inputs"]["data"].endswith("/inputs/data/large.txt")
        source = tmp_path / "greet.yaml"
        source.write_text(FLOWS.partition("---")[0])
        folder = ("--data-dir", tmp_path / "data")
        ran = remote("run", source, *folder, "-i", "name=Cid", "--input-file", f"data=@{file}", "--output", "json")
        assert json.loads(ran.stdout)["outputs"]["read"] == "0123456789" * 200_000
        again = remote("execution", "replay", ended["id"], *server, "-i", "name=Bob", "-f", f"data=@{file}")
        assert (
            json.loads(remote("execution", "get", again.stdout.strip(), "-o", "json", *server).stdout)["inputs"]["name"]
            == "Bob"
        )
