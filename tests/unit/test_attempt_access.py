"""An attempt that runs apart: all it has of the platform is a client with its token."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

import httpx
import msgspec
import pytest

from headrace_engine.adapters.remote.client import AttemptClient
from headrace_engine.adapters.remote.stores import Absent, RemoteCipher, RemoteLogs, RemoteMetrics, RemoteStorage
from headrace_engine.attempt_access import AttemptAccess, RefusedError
from headrace_engine.expressions import Expressions
from headrace_engine.language import Registry
from headrace_engine.model.attempt import AttemptResult
from headrace_engine.model.state import State
from headrace_engine.ports import AttemptId, Job, Level, LogLine, NotFoundError, PortError
from headrace_engine.services import Settings, Stores
from headrace_engine.testing.runtime import VirtualRuntime
from headrace_engine.worker import Worker

FLOW = """
id: apart
namespace: company.team
inputs:
  - {id: data, type: FILE}
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    env: {PASSWORD: "{{ secret('PASSWORD') }}"}
    inputFiles: {in.txt: "{{ inputs.data }}"}
    outputFiles: [out.txt]
    commands:
      - test "$PASSWORD" = "open""-sesame"
      - tr a-z A-Z <in.txt >out.txt
      - echo '::{"outputs":{"lines":3}}::'
      - echo done with $PASSWORD
"""
SHARED = """
id: shared
namespace: company.team
tasks:
  - id: directory
    type: io.kestra.plugin.core.flow.WorkingDirectory
    inputFiles: {first.txt: one}
    tasks:
      - id: write
        type: io.kestra.plugin.scripts.shell.Commands
        commands: ['mkdir -p deep && cat first.txt >deep/second.txt && ln -s deep link']
      - id: read
        type: io.kestra.plugin.scripts.shell.Commands
        outputFiles: [deep/second.txt]
        commands: ['test -h link', 'cat link/second.txt']
"""


TASKS = Registry.load()


class Platform:
    """A platform, with an address for each file, that attempts reach over HTTP."""

    def __init__(self, folder: Path) -> None:
        self.runtime = VirtualRuntime(registry=TASKS, run_job=self.run_job, secrets={"PASSWORD": "open-sesame"})
        self.access = AttemptAccess(self.runtime.engine, self)
        self.folder = folder
        self.jobs: list[Job] = []
        self.failures = 0
        """How many answers get lost from now on."""

    def address_to_read(self, uri: str, valid: timedelta) -> str:
        return f"http://127.0.0.1:2/{quote(uri, safe='')}"

    address_to_write = address_to_read

    def client(self, attempt: AttemptId) -> AttemptClient:
        transport = httpx.MockTransport(self._answer)
        return AttemptClient("http://127.0.0.1:1", attempt, "token", transport=transport, wait=lambda _seconds: None)

    def run_job(self, job: Job) -> AttemptResult:
        self.jobs.append(job)
        client = self.client(job.attempt)
        absent = cast("Any", Absent())
        stores = Stores(
            **dict.fromkeys(
                ("journal", "flows", "templates", "executions", "kv", "slots", "triggers", "claims", "secrets"), absent
            ),
            clock=self.runtime.clock,
            storage=RemoteStorage(client),
            logs=RemoteLogs(client),
            metrics=RemoteMetrics(client),
            cipher=RemoteCipher(client),
        )
        worker = Worker(
            stores,
            Settings(),
            Expressions(),
            self.runtime.engine.task_class,
            temporary_root=self.folder,
            workspaces=self.folder / "workspaces" / str(len(self.jobs)),  # each attempt on a machine of its own
            archive_workspaces=True,
        )
        return worker.run(job)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.failures:
            self.failures -= 1
            raise httpx.ReadTimeout("lost")
        storage = self.runtime.stores.storage
        if request.url.port == 2:
            uri = unquote(request.url.raw_path.decode()[1:])
            if request.method == "PUT":
                storage.put(uri, request.read())
                return httpx.Response(200)
            try:
                return httpx.Response(200, content=storage.open(uri).read())
            except NotFoundError:
                return httpx.Response(404)
        assert request.headers["authorization"] == "Bearer token"
        _, execution, run, number, operation = request.url.path.removeprefix("/api/v1").split("/")[1:]
        try:
            answer = self.access.answer(AttemptId(execution, run, int(number)), operation, request.read())
        except RefusedError as refused:
            return httpx.Response(403, json={"message": str(refused)})
        return httpx.Response(200, content=msgspec.json.encode(answer))


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path)
    with platform.runtime:
        yield platform


@pytest.fixture
def running(platform: Platform) -> tuple[Platform, Job]:
    """A platform with an attempt of FLOW that waits to be run."""
    runtime = platform.runtime
    runtime.save_flow(FLOW)
    (platform.folder / "given.txt").write_bytes(b"abc")
    runtime.create("company.team", "apart", {"data": platform.folder / "given.txt"}, execution_id="execution")
    while not runtime.world.jobs:
        runtime.step()
    return platform, runtime.world.jobs[0]


def test_a_script_runs_with_nothing_but_its_token(platform: Platform) -> None:
    platform.failures = 2  # on the way; it asks again
    (platform.folder / "given.txt").write_bytes(b"some text")
    outcome = platform.runtime.run(FLOW, {"data": platform.folder / "given.txt"})
    outputs = outcome.find("script")["outputs"]
    assert outcome.state == "SUCCESS"
    assert outputs["vars"] == {"lines": 3}
    assert platform.runtime.stores.storage.open(outputs["outputFiles"]["out.txt"]).read() == b"SOME TEXT"
    assert [line.message for line in outcome.logs if line.level is Level.INFO] == ["done with ********"]
    assert "open-sesame" not in str(platform.jobs)


def test_the_tasks_of_a_working_directory_share_it_from_machine_to_machine(platform: Platform) -> None:
    outcome = platform.runtime.run(SHARED)
    assert outcome.state == "SUCCESS"
    uri = outcome.find("read")["outputs"]["outputFiles"]["deep/second.txt"]
    assert platform.runtime.stores.storage.open(uri).read() == b"one"


def test_an_attempt_opens_the_secrets_of_its_own_job_only(running: tuple[Platform, Job]) -> None:
    platform, job = running
    cipher = RemoteCipher(platform.client(job.attempt))
    own = job.properties["env"]["PASSWORD"]
    sealed = next(text for text in _strings(own) if text and text != "ENCRYPTED" and len(text) > 20)
    assert b"open-sesame" in cipher.open(sealed)
    other = platform.runtime.stores.cipher.seal(b"somebody else's")
    with pytest.raises(PortError, match="not one of the attempt's job"):
        cipher.open(other)


@pytest.mark.parametrize(
    "uri",
    [
        "kestra:///company/team/_files/script.py",
        "kestra:///company/team/apart/executions/execution/_engine/job.json",
        "kestra:///company/team/apart/executions/execution/tasks/script/another/out.txt",
        "kestra:///company/team/apart/executions/other/tasks/script/x/out.txt",
        "kestra:///company/team/apart/executions/execution/tasks/script/{run}/../../../x",
        "file:///etc/passwd",
    ],
)
def test_an_attempt_writes_its_own_files_only(running: tuple[Platform, Job], uri: str) -> None:
    platform, job = running
    storage = RemoteStorage(platform.client(job.attempt))
    with pytest.raises(PortError, match="may not write"):
        storage.put(uri.replace("{run}", job.attempt.task_run_id), b"x")


def test_an_attempt_reads_files_of_people_not_of_the_engine(running: tuple[Platform, Job]) -> None:
    platform, job = running
    storage = RemoteStorage(platform.client(job.attempt))
    platform.runtime.stores.storage.put("kestra:///company/team/_files/a.txt", b"shared")
    with storage.open("kestra:///company/team/_files/a.txt") as file:
        assert file.read() == b"shared"
    assert [each.uri for each in storage.list("kestra:///company/team/_files")] == [
        "kestra:///company/team/_files/a.txt"
    ]
    with pytest.raises(NotFoundError):
        storage.open("kestra:///company/team/_files/b.txt")
    for uri in ("kestra:///company/team/apart/executions/execution/_engine/job.json", "kestra:///_cluster/secret"):
        with pytest.raises(PortError, match="didn't belong"):
            storage.open(uri)


def test_lines_are_kept_as_the_attempts_own(running: tuple[Platform, Job]) -> None:
    platform, job = running
    now = platform.runtime.clock.now()
    logs = RemoteLogs(platform.client(job.attempt))
    key = f"{job.attempt.task_run_id}/0"
    logs.append("another", f"{key}/0", [LogLine("another", "evil", "flow", now, Level.INFO, "hello", "x", "y", 7)])
    (line,) = [each for each in platform.runtime.stores.logs.fetch("execution") if each.message == "hello"]
    assert (line.namespace, line.task_id, line.task_run_id, line.attempt) == (
        "company.team",
        "script",
        job.attempt.task_run_id,
        0,
    )
    with pytest.raises(PortError, match="not one of the attempt"):
        logs.append("execution", "#0", [line])


def test_nothing_is_given_to_an_attempt_that_has_ended_or_never_was(running: tuple[Platform, Job]) -> None:
    platform, job = running
    storage = RemoteStorage(platform.client(job.attempt))
    assert storage.list("kestra:///company/team/_files") == []
    for attempt in (replace(job.attempt, number=1), replace(job.attempt, execution_id="nobody")):
        with pytest.raises(PortError, match="No such attempt runs"):
            RemoteStorage(platform.client(attempt)).list("kestra:///company/team/_files")
    platform.runtime.attempts.lost(job.attempt, "gone")
    with pytest.raises(PortError, match="has ended"):
        storage.list("kestra:///company/team/_files")


def test_what_it_has_no_access_to_is_refused(running: tuple[Platform, Job]) -> None:
    platform, job = running
    client = platform.client(job.attempt)
    with pytest.raises(PortError, match="may not delete files"):
        RemoteStorage(client).delete("kestra:///company/team/_files/a.txt")
    with pytest.raises(PortError, match="may not use put"):
        Absent().put("x")
    with pytest.raises(PortError, match="no operation `rights`"):
        client.ask("rights")


def test_a_platform_that_stays_away_is_an_error(running: tuple[Platform, Job]) -> None:
    platform, job = running
    platform.failures = 100
    with pytest.raises(PortError, match="cannot be reached"):
        RemoteStorage(platform.client(job.attempt)).put("kestra:///x", io.BytesIO(b"x"))
    assert State.RUNNING is platform.runtime.state("execution").state


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for item in (value.values() if isinstance(value, dict) else value) for text in _strings(item)]
