"""The runner contract in containers: the real dispatch, definitions, stager and wrapper, with a platform that is played.

Whoever has the runner's place here passes on the plan that the script tasks make; what the engine does with what it is
told, the flows in test_containers show.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from botocore.awsrequest import AWSPreparedRequest

from headrace_engine.adapters.aws.signing import Keyring
from headrace_engine.adapters.aws.storage import S3Storage
from headrace_engine.adapters.memory import ManualClock
from headrace_engine.adapters.memory.claims import MemoryClaims
from headrace_engine.attempts import Attempts
from headrace_engine.model.ids import new_id
from headrace_engine.ports import AttemptId, Job
from headrace_engine.testing.runtime import START
from headrace_functions.testing.aws import REGION, Clients, by_moto, http_headers, observer
from headrace_functions.testing.fleet import SETTINGS, Fleet
from headrace_runners.containers.dispatch import ContainerDispatch
from headrace_runners.containers.properties import Batch, Fargate
from headrace_runners.containers.settings import ContainerSettings
from headrace_runners.contract import Command, OnLine, Site, Stream, TaskRunner
from headrace_runners.testing import RecordingContext, RunnerContract

PART = 1024 * 1024
"""Bytes of the largest file that goes up in one."""
PARTS = 5 * 1024 * 1024
"""Bytes of a part; S3 takes no smaller one but the last."""
API = "https://api.headrace.test"


class Silent:
    """A mailbox that nobody reads."""

    def send(self, execution_id: str, message: bytes) -> None:
        """Drop it."""


class ContainerRunner:
    """A task runner on a fleet: it answers what the side containers ask."""

    def __init__(self, folder: Path, where: Any) -> None:
        self._where = where
        self._command = Command([], folder)
        self._on_line: OnLine = lambda _stream, _line: None
        self._attempt = AttemptId("execution", "run", -1)
        self._code: int | None = None
        self._stop = threading.Event()
        self._uploads: dict[str, bytes] = {}
        self._kept: set[int] = set()
        self.failures = 0
        """How many lines' answers get lost from now on, though the lines are kept."""
        self.fleet = Fleet(folder, self._answer, lambda *_told: None, API)
        clients = Clients()
        clients.answers = self.fleet.answer
        clock = ManualClock(START)
        claims = MemoryClaims()
        settings = ContainerSettings.of(json.dumps(SETTINGS))
        self.dispatch = ContainerDispatch(
            clients,
            claims,
            clock,
            Keyring({1: b"a key of which everybody knows that it is one"}),
            Attempts(claims, clock, Silent()),
            settings=settings,
            api_url=API,
            region=REGION,
            image_of=lambda _job: "any",
            later=_never,
        )
        self._claims, self._clock = claims, clock

    def site(self, directory: Path) -> Site:
        del directory
        return Site(str(self.fleet.folder / f"{1:032x}" / "headrace" / "work"))  # the first task's volume

    def run(self, command: Command, context: Any, on_line: OnLine) -> int:
        self._command, self._on_line, self._code = command, on_line, None
        self._attempt = replace(self._attempt, number=self._attempt.number + 1)
        self._kept.clear()
        runner = {"type": Fargate.TYPE if self._where == "fargate" else Batch.TYPE}
        job = Job(self._attempt, "any", "task", "flows", "flow", 1, START, {"taskRunner": runner})
        context.on_stop(self._stop.set)
        self.dispatch.start(job, self._where)
        while self._code is None:
            if self._stop.is_set():
                self._stop.clear()
                self.dispatch.stop(self._attempt)
            claim = self._claims.get(self._attempt)
            if claim is not None and claim.closed is not None:
                self._code = 137  # it was stopped before it began
            self.fleet.step()
        while self.fleet.step():
            pass
        return self._code

    def _answer(self, request: httpx.Request) -> httpx.Response:
        operation = request.url.path.rpartition("/")[2]
        if request.method == "PUT":
            self._uploads[operation] = request.content
            return httpx.Response(200, headers={"etag": '"tag"'})
        assert request.headers["authorization"].startswith("Bearer 1.")
        given = json.loads(request.content)
        try:
            return httpx.Response(200, json=getattr(self, f"_{operation}")(given, request) or {})
        except ConnectionError:
            return httpx.Response(503)

    def _begin(self, given: Any, _request: httpx.Request) -> Any:
        self._claims.claim(self._attempt, given["owner"], self._clock.now())
        directory = self._command.directory
        files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
        return {
            "argv": list(self._command.argv),
            "env": dict(self._command.env),
            "files": [
                {
                    "path": path.relative_to(directory).as_posix(),
                    "content": base64.b64encode(path.read_bytes()).decode(),
                    "ifExists": "OVERWRITE",
                }
                for path in files
            ],
            "archive": None,
            "patterns": [{"text": "**", "regex": ".*"}],
            "outputDirectory": "out",
            "folder": "kestra:///folder",
            "large": "kestra:///large.json",
            "timeout": None,
        }

    def _said(self, given: Any, _request: httpx.Request) -> Any:
        if given["lines"] and given["batch"] not in self._kept:  # the first stands, as in the log port
            self._kept.add(given["batch"])
            for stream, line, _at in given["lines"]:
                self._on_line(Stream(stream), line)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("nobody hears the answer")
        claim = self._claims.get(self._attempt)
        return {"stop": claim is not None and claim.stop_requested}

    def _places(self, given: Any, request: httpx.Request) -> Any:
        address = f"http://{request.headers['x-asked-at']}"
        return {"places": [self._place(f"{address}/{each['uri'].rpartition('/')[2]}", each) for each in given["files"]]}

    def _place(self, address: str, file: Any) -> Any:
        size = file["size"]
        if size <= PART:
            return {"address": address, "size": size}
        parts = [f"{address}.{number}" for number in range(-(-size // PART))]
        return {"upload": "upload", "parts": parts, "part": PART, "size": size}

    def _complete(self, given: Any, _request: httpx.Request) -> Any:
        name = given["uri"].rpartition("/")[2]
        assert given["tags"] == ['"tag"'] * len(given["tags"])
        parts = [self._uploads.pop(f"{name}.{number}") for number in range(len(given["tags"]))]
        self._uploads[name] = b"".join(parts)

    def _end(self, given: Any, _request: httpx.Request) -> Any:
        for path, uri in given.get("files", {}).items():
            target = self._command.directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self._uploads[uri.rpartition("/")[2]])
        self._code = given["exitCode"]
        return {}


def _never(_attempt: AttemptId, _due: datetime) -> None:
    raise AssertionError("nothing here is busy")


class _Containers(RunnerContract):
    WHERE: ClassVar[str]

    @pytest.fixture
    def runner(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskRunner]:
        runner = ContainerRunner(tmp_path_factory.mktemp("fleet"), self.WHERE)
        yield runner
        assert runner.fleet.running() == []
        runner.fleet.close()


class TestFargate(_Containers):
    WHERE = "fargate"

    def test_a_large_file_goes_up_in_parts(self, runner: TaskRunner, context: RecordingContext, tmp_path: Path) -> None:
        content = bytes(range(256)) * 4 * 2600
        (tmp_path / "large.bin").write_bytes(content)
        assert self.lines_of(runner, context, tmp_path, "mv large.bin moved.bin")[0] == 0
        assert (tmp_path / "moved.bin").read_bytes() == content

    def test_a_platform_that_does_not_answer_for_a_while_loses_and_doubles_nothing(
        self, runner: ContainerRunner, context: RecordingContext, tmp_path: Path
    ) -> None:
        runner.failures = 6  # more than are tried at once
        script = "i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); sleep 0.05; done"
        code, lines = self.lines_of(runner, context, tmp_path, script)
        assert code == 0
        assert [line for _, line in lines] == [str(number) for number in range(40)]


@pytest.fixture
def storage() -> S3Storage:
    bucket = f"headrace-uploads-{new_id().lower()}"
    observer("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Storage(observer("s3"), bucket, whole=1000, upload_part=PARTS)


def test_the_bucket_takes_a_file_in_parts_from_who_has_no_rights(storage: S3Storage) -> None:
    uri, content = "kestra:///flows/large.bin", bytes(range(256)) * 50_000
    upload = storage.begin_upload(uri, len(content), timedelta(minutes=1))
    assert upload is not None
    assert (upload.part, len(upload.addresses)) == (PARTS, 3)
    tags = []
    for number, address in enumerate(upload.addresses):
        part = content[number * PARTS : (number + 1) * PARTS]
        answered = by_moto("s3", "", AWSPreparedRequest("PUT", address, http_headers({}), part, stream_output=False))
        assert answered.status_code == 200
        tags.append(answered.headers["etag"])
    assert storage.stat(uri) is None
    for _ in range(2):  # the answer to the first was lost
        storage.complete_upload(uri, upload.id, tags)
    assert storage.open(uri).read() == content


def test_a_file_that_is_not_large_goes_up_in_one(storage: S3Storage) -> None:
    assert storage.begin_upload("kestra:///flows/small.bin", 1000, timedelta(minutes=1)) is None


class TestBatch(_Containers):
    WHERE = "batch"
