"""A task runner of the deployed stack, as the suite of the runners' contract wants one: over the API.

A command is a flow of one shell task on the runner, and its run an execution: the folder's files are the task's input
files, its output files come back into the folder, the context's stop is a kill, lines are those of the log.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from emulator.client import Client, state
from emulator.waiting import until
from headrace_engine.plugin import TaskFailure
from headrace_runners.contract import Command, OnLine, Site, Stream
from headrace_runners.testing import RecordingContext

PATIENCE = 200.0
_PAUSE = 0.5
_LEVELS = {"INFO": Stream.STDOUT, "ERROR": Stream.STDERR}
_CUT = re.compile(r"… \((\d+) more characters\)$")
"""What the log says instead of the rest of a long line."""
_OF_THE_TASK = "Command failed with exit code "
"""How the line begins by which a task run says that it has failed: nothing that the code wrote."""
_ENDED = frozenset({"SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED"})
_NEVER_BEGAN = 137
_numbers = itertools.count(1)


class DeployedRunner:
    """Implements contract.TaskRunner by executions."""

    def __init__(self, client: Client, kind: str, name: str) -> None:
        """Take a client, the type of the task runner, and a name for its flows."""
        self._client = client
        self._kind = kind
        self._name = name
        self.executions: list[str] = []
        """The ids of all that was run, in their order."""

    def site(self, directory: Path) -> Site:
        """See contract.TaskRunner; the code has a variable that says where its folder is."""
        del directory
        return Site("$WORKING_DIR")

    def run(self, command: Command, context: RecordingContext, on_line: OnLine) -> int:
        """See contract.TaskRunner."""
        flow_id = f"{self._name}-{next(_numbers)}"
        self._client.save(f"id: {flow_id}\ntasks: {json.dumps([self._task(command)])}\n")
        execution_id = self._client.start(flow_id)
        self.executions.append(execution_id)
        context.on_stop(lambda: self._kill(execution_id))
        execution = self._followed(execution_id, on_line)
        (run,) = execution["taskRunList"]
        assert [state(attempt) for attempt in run.get("attempts") or [run]] == [state(run)], "it ran once"
        assert state(execution) == state(run)
        if context.stopping:
            assert state(run) in ("KILLED", "SUCCESS")
        outputs = run.get("outputs") or {}
        self._collect(execution_id, outputs.get("outputFiles", {}), command.directory)
        if "exitCode" in outputs:
            assert (outputs["exitCode"] == 0) is (state(run) == "SUCCESS") or state(run) == "KILLED"
            assert outputs["taskRunner"]["type"] == self._kind
            return int(outputs["exitCode"])
        if state(run) == "KILLED":
            return _NEVER_BEGAN
        raise TaskFailure(str(run.get("error")))

    def _task(self, command: Command) -> dict[str, Any]:
        program, *words = command.argv
        is_shell = program == "/bin/sh" and words[:1] == ["-c"]
        folder = command.directory
        paths = sorted(folder.rglob("*"))
        return {
            "id": "main",
            "type": "io.kestra.plugin.scripts.shell.Commands",
            "taskRunner": {"type": self._kind},
            **({"containerImage": command.image} if "lambda" not in self._kind else {}),
            "failFast": False,
            "beforeCommands": [f"mkdir -p {each.relative_to(folder)}" for each in paths if each.is_dir()],
            "commands": [words[1] if is_shell else shlex.join(command.argv)],
            "env": dict(command.env),
            "inputFiles": {each.relative_to(folder).as_posix(): each.read_text() for each in paths if each.is_file()},
            "outputFiles": ["**"],
        }

    def _kill(self, execution_id: str) -> None:
        until(lambda: self._client.get(execution_id), "beginning of an execution that was started")
        answer = self._client.ask("DELETE", f"/executions/{execution_id}/kill")
        assert answer.status_code in (202, 409), answer.text  # it runs, or it has ended

    def _followed(self, execution_id: str, on_line: OnLine) -> Any:
        """Hand over lines as they come, and return the execution when it has ended."""
        told = dict.fromkeys(Stream, 0)
        deadline = time.monotonic() + PATIENCE
        while True:
            execution = self._client.get(execution_id)
            is_over = execution is not None and state(execution) in _ENDED
            if execution is not None:
                said = self._lines(execution_id)
                for stream in Stream:
                    for line in said[stream][told[stream] :]:
                        on_line(stream, line)
                    told[stream] = len(said[stream])
            if is_over:
                return execution
            assert time.monotonic() < deadline, f"it does not end: {json.dumps(execution)}"
            time.sleep(_PAUSE)  # polls

    def _lines(self, execution_id: str) -> dict[Stream, list[str]]:
        """Return the lines of each stream so far."""
        answer = self._client.ask("GET", f"/logs/{execution_id}")
        if answer.status_code == 303:
            answer = httpx.get(answer.headers["location"])
        assert answer.status_code == 200, answer.text
        found: dict[Stream, list[str]] = {stream: [] for stream in Stream}
        for line in answer.json():
            stream, text = _LEVELS.get(line["level"]), line["message"]
            if stream is not None and not text.startswith(_OF_THE_TASK):
                found[stream].append(_CUT.sub(lambda cut: "…" * int(cut[1]), text))
        return found

    def _collect(self, execution_id: str, files: dict[str, str], folder: Path) -> None:
        for name, uri in files.items():
            answer = self._client.ask("GET", f"/executions/{execution_id}/file?{urlencode({'path': uri})}")
            content = answer.content if answer.status_code == 200 else self._client.fetch(answer.headers["location"])
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
