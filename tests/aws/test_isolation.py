"""People's code against the platform and its neighbours, in the process that runs it on Lambda (see isolated.py).

What it does not stop stands in docs/security.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from headrace_engine.adapters.aws.audit import DynamoAudit
from headrace_engine.adapters.aws.mailbox import SqsMailbox
from headrace_engine.adapters.aws.signing import AttemptSigner
from headrace_engine.core.codec import encode_message
from headrace_engine.core.messages import AttemptReported
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId
from headrace_functions.testing.cloud import Cloud

PROGRAM = Path(__file__).parent / "isolated.py"
USER = 64_321
"""Nobody's: the program ends every process of this user."""
SECRET = "what the function signs with"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "ASIAFUNCTION",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET,
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "_X_AMZN_TRACE_ID": "Root=1",
    "_HANDLER": "headrace_functions.script.handler",
    "LAMBDA_TASK_ROOT": "/var/task",
    "HEADRACE_STACK": "test",
    "HEADRACE_TABLE": "table",
    "HEADRACE_API_URL": "http://127.0.0.1:1",
    "HEADRACE_MAILBOX_URL": "http://127.0.0.1:1/mailbox",
}
STEAL = (
    f"cat /proc/$PPID/environ 2>/dev/null | tr '\\0' '\\n' | grep -c '{SECRET}' | sed 's/^/environ: /';"
    " (: < /proc/$PPID/mem) 2>/dev/null && echo 'memory: open' || echo 'memory: shut';"
    " (head -c 1 /proc/$PPID/maps) >/dev/null 2>&1 && echo 'maps: open' || echo 'maps: shut';"
    " ls /proc/$PPID/fd >/dev/null 2>&1 && echo 'files: open' || echo 'files: shut'"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield the folder that is /tmp to the program, where its user may go."""
    with TemporaryDirectory(prefix="headrace-isolated-") as name:
        Path(name).chmod(0o755)
        inside = Path(name, "tmp")
        inside.mkdir()
        if os.geteuid() == 0:
            os.chown(inside, USER, USER)
        yield inside


def attempts(folder: Path, *runs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what came of *runs* in one sandbox."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can become a user that has no other processes")
    environment = {**VARIABLES, "PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment["TMPDIR"] = str(folder)
    wanted = json.dumps([{"namespace": "team", **each} for each in runs])
    command = [sys.executable, "-W", "ignore", str(PROGRAM), str(USER), str(folder)]
    done = subprocess.run(command, input=wanted, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout.splitlines()[-1])
    assert came["on_lambda"]
    found: list[dict[str, Any]] = came["runs"]
    return found


def test_the_function_s_credentials_are_out_of_reach(folder: Path) -> None:
    """The first run shows that the attack would find them, were the process not shut."""
    before, after = attempts(folder, {"script": STEAL, "open": True}, {"script": STEAL})
    assert before["lines"] == ["environ: 2", "memory: open", "maps: open", "files: open"]
    assert after["lines"] == ["environ: 0", "memory: shut", "maps: shut", "files: shut"]


def test_nothing_in_the_environment_is_the_function_s_own(folder: Path) -> None:
    """Neither is the address of the runtime's API in it, nor the id of the request that it would ask for."""
    (came,) = attempts(folder, {"script": "env | cut -d= -f1 | sort"})
    ours = {name for name in came["lines"] if name in VARIABLES or name.startswith(("AWS_", "HEADRACE_", "LAMBDA_"))}
    assert ours == {"HEADRACE_PROCESS"}
    (came,) = attempts(folder, {"script": f"env | grep -c -e '{SECRET}' -e request- -e token-of || true"})
    assert came["lines"] == ["0"]


def test_no_process_outlives_its_attempt(folder: Path) -> None:
    leave = "setsid sh -c 'exec >/dev/null 2>&1 </dev/null; trap \"\" TERM; sleep 1000' & echo left"
    first, second = attempts(folder, {"script": leave}, {"script": "ps -o pid= -u $(id -u) | wc -l"})
    assert (first["state"], first["lines"]) == ("SUCCESS", ["left"])
    assert first["processes"] == []
    assert second["processes"] == []


def test_no_file_outlives_its_attempt(folder: Path) -> None:
    write = f"echo mine > {folder}/note; mkdir -p {folder}/a/.b; echo mine > {folder}/a/.b/c; chmod 0 {folder}/a/.b"
    first, second = attempts(folder, {"script": write}, {"script": f"find {folder} -type f; echo looked"})
    assert (first["state"], first["files"]) == ("SUCCESS", [])
    assert second["lines"] == ["looked"]


def test_what_a_process_left_that_died_is_gone_before_the_next_attempt_begins(folder: Path) -> None:
    """Whoever runs as the function's user can end its process: Lambda then starts another in the same place."""
    if os.geteuid() != 0:
        attempts(folder)
    (folder / "note").write_text("of another namespace")
    os.chown(folder / "note", USER, USER)
    with subprocess.Popen(["sleep", "1000"], user=USER, group=USER, extra_groups=[], cwd="/") as left:
        (came,) = attempts(folder, {"script": f"[ ! -e {folder}/note ] && echo gone"})
        assert left.wait() == -9
    assert came["lines"] == ["gone"]


def test_a_link_left_behind_leads_the_cleaning_nowhere(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    outside.chmod(0o777)
    (came,) = attempts(
        folder, {"script": f"ln -s {outside} {folder}/link; mkdir {folder}/d; ln -s {outside} {folder}/d/l"}
    )
    assert came["files"] == []
    assert (outside / "kept").read_text() == "kept"


def test_an_attempt_of_another_namespace_ends_the_sandbox(folder: Path) -> None:
    first, second = attempts(folder, {"script": "echo one"}, {"script": "echo two", "namespace": "other"})
    assert (first["state"], first["left"]) == ("SUCCESS", [])
    assert (second["state"], second["left"], second["lines"]) == (None, [75], [])


# -- Forging -----------------------------------------------------------------------------------------

TWO = """
id: two
namespace: flows
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: mine, type: io.kestra.plugin.scripts.shell.Commands, commands: [echo mine]}
      - {id: other, type: io.kestra.plugin.scripts.shell.Commands, commands: [echo other]}
"""


def test_an_attempt_s_token_is_good_for_its_own_attempt_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    with Cloud() as cloud:
        cloud.save_flow(TWO)
        execution_id = cloud.create("flows", "two")
        while len(cloud.pending) < 2:
            assert cloud.step()
        mine, other = (
            (AttemptId(execution_id, payload["attempt"]["taskRun"], 0), payload["token"])
            for payload in (invocation.payload for invocation in cloud.pending)
        )
        token = mine[1]
        # By the API: neither logs, nor files, nor secrets, nor a role in another's name.
        for operation in ("logs", "read", "write", "open", "grant"):
            path = f"/api/v1/attempts/{execution_id}/{other[0].task_run_id}/0/{operation}"
            assert cloud.request("POST", path, b"{}", {"authorization": f"Bearer {token}"}).status_code == 401
        # By the mailbox, where what it sends is signed with its token.
        now = cloud.clock.now()
        forged = AttemptReported(other[0].task_run_id, 0, AttemptResult(State.SUCCESS, now, now))
        signer = AttemptSigner(mine[0], token)
        SqsMailbox(cloud.clients("sqs"), cloud.environment.mailbox_url, signer).send(
            execution_id, encode_message(forged)
        )
        cloud.settle()
        came = cloud.outcome(execution_id)
        assert came.state == "SUCCESS"
        assert {line.message for line in came.logs} == {"mine", "other"}, "both have run"
        assert cloud.invocations["script"] == 2
        day = timedelta(days=1)
        (record,) = DynamoAudit(cloud.person.table).read(start=now - day, end=now + day)
        assert (record.kind, record.action, record.status) == ("none", "MESSAGE", 403)
        assert record.who == f"attempt 0 of task run {mine[0].task_run_id}"
        assert record.target == f"/executions/{execution_id}"
        assert record.notes == (f"it reports attempt 0 of task run {other[0].task_run_id}",)
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert [each["ForgedMessages"] for each in metrics] == [[1.0]]
