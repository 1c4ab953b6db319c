"""An attempt that a container carries out: what its side containers ask, in order and out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from headrace_engine.apart import Apart, RefusedError
from headrace_engine.attempt_access import AttemptAccess
from headrace_engine.attempts import Attempts
from headrace_engine.core.messages import AttemptReported
from headrace_engine.language import Registry
from headrace_engine.ports import AttemptId, Upload
from headrace_engine.testing.runtime import VirtualRuntime
from headrace_tasks.scripts_apart import ScriptsApart

FLOW = """
id: boxed
namespace: flows
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    env: {PASSWORD: "{{ secret('PASSWORD') }}", "not-a-name": x}
    inputFiles: {in.txt: hello, stored.txt: "kestra:///flows/_files/stored.txt"}
    outputFiles: ["*.txt"]
    timeout: PT1M30S
    commands: ['echo {{ workingDir }}']
"""
TASKS = Registry.load()
MINE, THEIRS = "arn:aws:ecs:eu-central-1:123456789012:task/headrace/1", "batch:2"


class Files:
    """Addresses that say what they are for."""

    def __init__(self) -> None:
        self.completed: list[tuple[str, str, list[str]]] = []

    def address_to_read(self, uri: str, valid: timedelta) -> str:
        return f"read {uri}"

    def address_to_write(self, uri: str, valid: timedelta) -> str:
        return f"write {uri}"

    def begin_upload(self, uri: str, size: int, valid: timedelta) -> Upload | None:
        return Upload("upload", [f"part {number} of {uri}" for number in range(3)], 100) if size > 100 else None

    def complete_upload(self, uri: str, upload: str, tags: Sequence[str]) -> None:
        self.completed.append((uri, upload, list(tags)))


class Stand:
    """An engine with an attempt that waits for its container."""

    def __init__(self, source: str = FLOW) -> None:
        self.runtime = VirtualRuntime(registry=TASKS, secrets={"PASSWORD": "open-sesame"})
        self.files = Files()
        stores = self.runtime.stores
        stores.storage.put("kestra:///flows/_files/stored.txt", b"stored")
        attempts = Attempts(stores.claims, stores.clock, self.runtime.world)
        apart = Apart(self.runtime.engine, self.files, ScriptsApart(), attempts, lambda _job: {"type": "here"})
        self.access = AttemptAccess(self.runtime.engine, self.files, lambda: apart)
        self.runtime.save_flow(source)
        self.runtime.create("flows", "boxed", execution_id="execution")
        while not self.runtime.world.jobs:
            self.runtime.step()
        self.job = self.runtime.world.jobs.popleft()
        self.attempt = self.job.attempt

    def ask(self, operation: str, owner: str = MINE, **values: Any) -> Any:
        body = json.dumps({"owner": owner, **values}).encode()
        return json.loads(msgspec.json.encode(self.access.answer(self.attempt, operation, body)))

    def begin(self, owner: str = MINE) -> Any:
        return self.ask("begin", owner, volume="/headrace")

    def end(self, owner: str = MINE, **values: Any) -> Any:
        given = {"exitCode": 0, "started": True, "timedOut": False, "counts": [1, 0], "outputs": {}, "files": {}}
        return self.ask("end", owner, **{**given, **values})

    @property
    def folder(self) -> str:
        return f"kestra:///flows/boxed/executions/execution/tasks/script/{self.attempt.task_run_id}"

    def reports(self) -> list[AttemptReported]:
        return [each.message for each in self.runtime.world.letters if isinstance(each.message, AttemptReported)]

    def outcome(self) -> Any:
        self.runtime.settle()
        return self.runtime.outcome("execution")

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(line.level.value, line.message) for line in self.runtime.stores.logs.fetch("execution")]


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    with stand.runtime:
        yield stand


# -- Beginning --------------------------------------------------------------------------------------


def test_who_begins_is_told_all_that_is_to_be_done(stand: Stand) -> None:
    plan = stand.begin()
    assert plan["argv"] == ["/bin/sh", "-c", "set -e\necho /headrace/work"]
    assert plan["env"]["PASSWORD"] == "open-sesame"
    assert plan["env"]["WORKING_DIR"] == "/headrace/work"
    assert plan["timeout"] == 90
    assert plan["archive"] is None
    assert plan["folder"] == stand.folder
    assert {file["path"]: file.get("address") or file["content"] for file in plan["files"]} == {
        "in.txt": "aGVsbG8=",
        "stored.txt": "read kestra:///flows/_files/stored.txt",
    }
    assert [each["text"] for each in plan["patterns"]] == ["*.txt"]
    claim = stand.runtime.stores.claims.get(stand.attempt)
    assert claim is not None
    assert claim.owner == MINE


def test_a_variable_that_no_shell_can_export_is_left_out_and_said(stand: Stand) -> None:
    assert "not-a-name" not in stand.begin()["env"]
    assert stand.lines == [
        ("WARN", "The environment variable 'not-a-name' is left out: a shell cannot pass on that name")
    ]


def test_of_two_that_begin_one_does(stand: Stand) -> None:
    stand.begin()
    with pytest.raises(RefusedError, match="Somebody else runs the attempt"):
        stand.begin(THEIRS)
    assert stand.reports() == []


def test_who_did_not_hear_the_answer_begins_again(stand: Stand) -> None:
    assert stand.begin() == stand.begin()


def test_an_attempt_that_is_to_stop_does_not_begin(stand: Stand) -> None:
    stand.runtime.stores.claims.request_stop(stand.attempt, stand.runtime.clock.now())
    with pytest.raises(RefusedError, match="The attempt was stopped"):
        stand.begin()
    (report,) = stand.reports()
    assert report.result.state == "KILLED"


def test_what_cannot_be_planned_has_failed_before_anything_runs() -> None:
    stand = Stand(FLOW.replace("stored.txt", "none.txt"))
    stand.runtime.stores.storage.delete("kestra:///flows/_files/none.txt")
    with stand.runtime:
        with pytest.raises(RefusedError, match="The attempt has failed"):
            stand.begin()
        (report,) = stand.reports()
        assert (report.result.state, report.result.error) == (
            "FAILED",
            "The file 'kestra:///flows/_files/none.txt' does not exist",
        )


def test_nobody_begins_what_has_ended(stand: Stand) -> None:
    stand.begin()
    stand.end()
    for owner in (MINE, THEIRS):
        with pytest.raises(RefusedError, match="The attempt has ended"):
            stand.begin(owner)


# -- Running ----------------------------------------------------------------------------------------


def test_what_was_said_is_kept_once_and_masked(stand: Stand) -> None:
    stand.begin()
    lines = [
        ["stdout", "hello open-sesame", 1_767_225_600_000],
        ["stderr", "bad", 1_767_225_601_000],
        ["stdout", '::{"metrics": [{"name": "rows", "type": "counter", "value": 2}]}::', 1_767_225_602_000],
    ]
    for _ in range(2):  # the answer to the first was lost
        assert stand.ask("said", batch=0, lines=lines) == {"stop": False}
    assert stand.lines[1:] == [("INFO", "hello ********"), ("ERROR", "bad")]
    points = stand.runtime.stores.metrics.fetch("execution")
    assert [(point.name, point.value) for point in points] == [("rows", 2.0)]


def test_who_speaks_is_told_to_stop(stand: Stand) -> None:
    stand.begin()
    stand.runtime.stores.claims.request_stop(stand.attempt, stand.runtime.clock.now())
    assert stand.ask("said", batch=0, lines=[]) == {"stop": True}


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("said", {"batch": 0, "lines": [["stdout", "forged", 0]]}),
        ("places", {"files": []}),
        ("complete", {"uri": "kestra:///x", "upload": "upload", "tags": []}),
        ("end", {"exitCode": 0}),
    ],
)
def test_only_who_has_begun_may_go_on(stand: Stand, operation: str, values: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        stand.ask(operation, **values)  # nobody has
    stand.begin()
    with pytest.raises(RefusedError):
        stand.ask(operation, THEIRS, **values)
    with pytest.raises(RefusedError):
        stand.ask(operation, "", **values)
    claim = stand.runtime.stores.claims.get(stand.attempt)
    assert claim is not None
    assert claim.closed is None
    assert ("INFO", "forged") not in stand.lines
    assert stand.reports() == []


def test_files_get_addresses_in_the_attempts_own_folder_only(stand: Stand) -> None:
    stand.begin()
    mine = f"{stand.folder}/out.txt"
    places = stand.ask("places", files=[{"uri": mine, "size": 5}])["places"]
    assert places == [{"address": f"write {mine}", "size": 5}]
    for uri in (
        "kestra:///flows/_files/out.txt",
        f"{stand.folder}/../out.txt",
        stand.folder.replace("executions/execution", "executions/other") + "/out.txt",
    ):
        with pytest.raises(RefusedError, match="The attempt may not write"):
            stand.ask("places", files=[{"uri": uri, "size": 5}])
        with pytest.raises(RefusedError, match="The attempt may not write"):
            stand.ask("complete", uri=uri, upload="upload", tags=[])


def test_a_large_file_goes_up_in_parts(stand: Stand) -> None:
    stand.begin()
    mine = f"{stand.folder}/large.bin"
    (place,) = stand.ask("places", files=[{"uri": mine, "size": 250}])["places"]
    assert (place["upload"], place["part"], len(place["parts"])) == ("upload", 100, 3)
    stand.ask("complete", uri=mine, upload="upload", tags=["a", "b", "c"])
    assert stand.files.completed == [(mine, "upload", ["a", "b", "c"])]


# -- Ending -----------------------------------------------------------------------------------------


def test_the_end_becomes_the_tasks_outputs(stand: Stand) -> None:
    stand.begin()
    uri = f"{stand.folder}/out.txt"
    stand.end(counts=[3, 1], outputs={"rows": 12}, files={"out.txt": uri}, unmatched=["*.csv"])
    outcome = stand.outcome()
    assert outcome.state == "SUCCESS"
    assert outcome.find("script")["outputs"] == {
        "exitCode": 0,
        "outputFiles": {"out.txt": uri},
        "vars": {"rows": 12},
        "stdOutLineCount": 3,
        "stdErrLineCount": 1,
        "taskRunner": {"type": "here"},
    }
    assert ("WARN", "No file matches `*.csv` of outputFiles") in stand.lines


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"exitCode": 3}, "Command failed with exit code 3"),
        ({"exitCode": None}, "The container was ended from outside, most likely for want of memory"),
        ({"exitCode": None, "started": False}, "The container could not be started: its image needs /bin/sh"),
        ({"failure": "The files could not be stored"}, "The files could not be stored"),
        ({"exitCode": 143, "timedOut": True}, "TimeoutExceededException: the attempt did not end within PT1M30S"),
    ],
)
def test_what_went_wrong_is_said(stand: Stand, said: dict[str, Any], error: str) -> None:
    stand.begin()
    stand.end(**said)
    (report,) = stand.reports()
    assert report.result.state == "FAILED"
    assert str(report.result.error).startswith(error)


def test_an_attempt_that_was_stopped_is_killed_however_it_ended(stand: Stand) -> None:
    stand.begin()
    stand.runtime.stores.claims.request_stop(stand.attempt, stand.runtime.clock.now())
    stand.end(exitCode=143)
    (report,) = stand.reports()
    assert report.result.state == "KILLED"


def test_an_end_that_is_told_again_changes_nothing(stand: Stand) -> None:
    stand.begin()
    stand.end(exitCode=0, outputs={"rows": 1})
    stand.end(exitCode=9, outputs={"rows": 2})
    first, second = stand.reports()
    assert first == second
    assert stand.outcome().find("script")["outputs"]["vars"] == {"rows": 1}


def test_a_late_end_of_a_lost_attempt_changes_nothing(stand: Stand) -> None:
    stand.begin()
    stores = stand.runtime.stores
    Attempts(stores.claims, stores.clock, stand.runtime.world).lost(stand.attempt, "Spot took it", MINE)
    stand.end(exitCode=0)
    assert {report.result.state.value for report in stand.reports()} == {"RESUBMITTED"}


def test_after_the_end_nothing_more_is_taken(stand: Stand) -> None:
    stand.begin()
    stand.end()
    for operation, values in (
        ("said", {"batch": 7, "lines": [["stdout", "late", 0]]}),
        ("places", {"files": [{"uri": f"{stand.folder}/x", "size": 1}]}),
        ("open", {"sealed": "x"}),
    ):
        with pytest.raises(RefusedError, match="The attempt has ended"):
            stand.ask(operation, **values)


def test_files_that_are_not_the_attempts_cannot_become_its_outputs(stand: Stand) -> None:
    stand.begin()
    with pytest.raises(RefusedError, match="A file that is said to be the attempt's is not"):
        stand.end(files={"x": "kestra:///flows/_files/stored.txt"})
    claim = stand.runtime.stores.claims.get(stand.attempt)
    assert claim is not None
    assert claim.closed is None


def test_large_outputs_are_read_where_they_were_put(stand: Stand) -> None:
    plan = stand.begin()
    with pytest.raises(RefusedError, match="The outputs are not where they should be"):
        stand.end(large=True)
    stand.runtime.stores.storage.put(plan["large"], json.dumps({"text": "x" * 2_000_000}).encode())
    stand.end(large=True)
    assert len(stand.outcome().find("script")["outputs"]["vars"]["text"]) == 2_000_000


def test_another_attempt_is_not_spoken_for(stand: Stand) -> None:
    other = AttemptId("execution", stand.attempt.task_run_id, 7)
    with pytest.raises(RefusedError, match="No such attempt runs"):
        stand.access.answer(other, "begin", json.dumps({"owner": MINE, "volume": "/headrace"}).encode())


def test_a_request_that_cannot_be_read_is_refused(stand: Stand) -> None:
    for operation in ("begin", "said", "places", "complete", "end"):
        with pytest.raises(RefusedError, match="The request cannot be read"):
            stand.access.answer(stand.attempt, operation, b"{}" if operation != "end" else b"[]")
