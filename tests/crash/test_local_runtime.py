"""The local runtime at its edges: opening what a dead engine left, closing in the midst of work, and what may fail."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from crash.lives import lives, until
from headrace_cli.local import LocalRuntime
from headrace_engine.adapters.local.lock import DataFolderLockedError
from headrace_engine.core.codec import decode_result
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, Claim, PurgedError
from headrace_runners.process_groups import process_identity

SOON = 20.0

QUICK = """
id: quick
namespace: test
tasks:
  - {id: hello, type: io.kestra.plugin.core.log.Log, message: hello}
"""
NAP = """
id: nap
namespace: test
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT0.2S}
"""
# Takes for ever the first time, and no time the second.
SCRIPT = """
id: script
namespace: test
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    commands:
      - '[ -e {{ envs.folder }}/begun ] && exit 0'
      - echo $$ > {{ envs.folder }}/pid
      - mv {{ envs.folder }}/pid {{ envs.folder }}/begun
      - sleep 1000
"""


def opened(folder: Path) -> LocalRuntime:
    return LocalRuntime.open(folder / "data", environment={"PATH": os.environ["PATH"], "ENV_FOLDER": str(folder)})


def begin(runtime: LocalRuntime, source: str, execution_id: str) -> None:
    flow = runtime.save_flow(source)
    runtime.create(flow.namespace, flow.id, execution_id=execution_id)


def attempts(runtime: LocalRuntime, execution_id: str) -> list[str]:
    (run,) = runtime.view(execution_id)["taskRunList"]
    return [attempt["state"]["current"] for attempt in run["attempts"]]


def state(runtime: LocalRuntime, execution_id: str) -> str:
    return str(runtime.view(execution_id)["state"]["current"])


# -- One engine a folder ----------------------------------------------------------------------------


def test_a_second_engine_on_a_folder_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as first:
        begin(first, SCRIPT, "script")
        until((tmp_path / "begun").exists)
        with pytest.raises(DataFolderLockedError) as refused:
            opened(tmp_path)
        assert refused.value.pid == os.getpid()
        code = "import sys; from pathlib import Path; from headrace_cli.local import LocalRuntime as L; "
        other = subprocess.run(
            [sys.executable, "-c", f"{code}L.open(Path(sys.argv[1]))", tmp_path / "data"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"is in use by process {os.getpid()}" in other.stderr
        assert attempts(first, "script") == ["RUNNING"]
    with closing(opened(tmp_path)) as again:
        assert again.wait("script", SOON)


# -- Closing ----------------------------------------------------------------------------------------


def test_closing_ends_running_scripts_and_opening_goes_on_with_them(tmp_path: Path) -> None:
    runtime = opened(tmp_path)
    begin(runtime, SCRIPT, "script")
    until((tmp_path / "begun").exists)
    pid = int((tmp_path / "begun").read_text())
    assert lives(pid)
    runtime.close()
    assert not lives(pid)
    with closing(opened(tmp_path)) as again:
        assert again.wait("script", SOON)
        assert state(again, "script") == "SUCCESS"
        assert attempts(again, "script") == ["RESUBMITTED", "SUCCESS"]


def test_closing_wakes_those_who_wait(tmp_path: Path) -> None:
    runtime = opened(tmp_path)
    begin(runtime, SCRIPT, "script")
    until((tmp_path / "begun").exists)
    told: list[bool] = []
    waiting = threading.Thread(target=lambda: told.append(runtime.wait("script")))
    waiting.start()
    runtime.close()
    waiting.join(SOON)
    assert told == [False]


def test_a_script_that_was_told_to_stop_before_the_engine_died_is_killed_not_lost(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as runtime:
        claims, now = runtime.stores.claims, runtime.stores.clock.now()
        attempt = AttemptId("execution", "task", 0)
        claims.claim(attempt, "dead", now)
        claims.request_stop(attempt, now)
    assert closed_by_recovery(tmp_path, attempt) is State.KILLED


# -- Opening ----------------------------------------------------------------------------------------


def closed_by_recovery(folder: Path, attempt: AttemptId) -> State:
    with closing(opened(folder)) as runtime:
        claim: Claim | None = runtime.stores.claims.get(attempt)
        assert claim is not None
        assert claim.result is not None
        return decode_result(claim.result).state


@pytest.mark.parametrize("recorded", ["an older process of that number", "a process that is gone"])
def test_recovery_touches_no_process_but_the_one_recorded(tmp_path: Path, recorded: str) -> None:
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    group, identity = stranger.pid, "0123abcd-1-1"
    if recorded == "a process that is gone":
        gone = subprocess.Popen(["true"])
        group, identity = gone.pid, process_identity(gone.pid)
        gone.wait()
    attempt = AttemptId("execution", "task", 0)
    with closing(opened(tmp_path)) as runtime:
        claims = runtime.stores.claims
        claims.claim(attempt, "dead", runtime.stores.clock.now())
        assert claims.record_process(attempt, "dead", group, identity)
    try:
        assert closed_by_recovery(tmp_path, attempt) is State.RESUBMITTED
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_opening_removes_the_directories_a_dead_engine_left(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as runtime:
        begin(runtime, QUICK, "done")
        assert runtime.wait("done", SOON)
    for left in ("tmp/headrace-abc", "workspaces/done/task", "workspaces/unknown/task", "storage/partial/x"):
        (tmp_path / "data" / left).mkdir(parents=True)
    with closing(opened(tmp_path)):
        assert not list((tmp_path / "data/tmp").iterdir())
        assert not list((tmp_path / "data/workspaces").iterdir())
        assert not list((tmp_path / "data/storage/partial").iterdir())


def test_an_execution_that_cannot_go_on_keeps_no_other_from_it(tmp_path: Path) -> None:
    """Here its flow is gone from the database; it stays as it is, and the log says why."""
    with closing(opened(tmp_path)) as runtime:
        begin(runtime, NAP, "nap")
        begin(runtime, SCRIPT, "script")
    with closing(sqlite3.connect(tmp_path / "data/headrace.db")) as database, database:
        assert database.execute("DELETE FROM flows WHERE id = 'script'").rowcount == 1
    with closing(opened(tmp_path)) as again:
        assert again.wait("nap", SOON)
        assert state(again, "nap") == "SUCCESS"


def test_a_summary_that_was_lost_is_written_again(tmp_path: Path) -> None:
    """Summaries follow the journal by a moment, and a crash may come in between: before the last, or the first."""
    with closing(opened(tmp_path)) as runtime:
        for name in ("one", "two"):
            begin(runtime, QUICK, name)
            assert runtime.wait(name, SOON)
        expected = {name: runtime.stores.executions.get(name) for name in ("one", "two")}
    with closing(sqlite3.connect(tmp_path / "data/headrace.db")) as database, database:
        database.execute("DELETE FROM executions WHERE id = 'one'")
        database.execute("UPDATE executions SET seq = -1, state = 'RUNNING', \"end\" = NULL WHERE id = 'two'")
        database.execute("DELETE FROM logs")
    with closing(opened(tmp_path)) as again:
        until(lambda: {name: again.stores.executions.get(name) for name in expected} == expected)
        until(lambda: all([line.message for line in again.logs(name)] == ["hello"] for name in expected))


def test_the_sweep_disturbs_nothing_that_goes_on_by_itself(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as runtime:
        begin(runtime, SCRIPT, "script")
        until((tmp_path / "begun").exists)
        far = runtime.stores.clock.now() + timedelta(days=1)
        assert [summary.id for summary in runtime.stores.executions.due(far)] == ["script"]
        runtime.sweep(far)
        runtime.kill("script")
        assert runtime.wait("script", SOON)
        assert attempts(runtime, "script") == ["KILLED"]


# -- What may fail ----------------------------------------------------------------------------------


def test_an_execution_that_could_not_be_stored_is_not_acknowledged(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as runtime:
        runtime.stores.journal.purge("purged")
        with pytest.raises(PurgedError):
            begin(runtime, QUICK, "purged")
        begin(runtime, QUICK, "other")
        assert runtime.wait("other", SOON)


def test_creating_the_same_execution_twice_starts_it_once(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as runtime:
        begin(runtime, QUICK, "same")
        begin(runtime, QUICK, "same")
        assert runtime.wait("same", SOON)
        assert attempts(runtime, "same") == ["SUCCESS"]


def test_a_listener_that_fails_disturbs_nobody(tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a display with a bug")

    with closing(opened(tmp_path)) as runtime:
        runtime.subscribe("quick", fail, fail)
        begin(runtime, QUICK, "quick")
        assert runtime.wait("quick", SOON)
        assert state(runtime, "quick") == "SUCCESS"
