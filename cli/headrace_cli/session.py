"""One execution in this process: a runtime on a data folder, a flow started on it and followed to its end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from headrace_cli import flow_files, inputs
from headrace_cli.display import Display
from headrace_cli.errors import ProblemsError, UserError
from headrace_cli.feed import Drawing, Feed
from headrace_cli.interrupts import Interrupts
from headrace_cli.local import LocalOptions, LocalRuntime
from headrace_cli.view import View
from headrace_engine.adapters.local.lock import DataFolderLockedError
from headrace_engine.engine import CheckFailedError, NoSuchFlowError, UnsupportedError
from headrace_engine.inputs import InputError
from headrace_engine.language import FlowError
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.ids import new_id
from headrace_engine.ports import LogLine, PortError

_INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended (128 and the signal's number)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be run, and with what."""

    flow: Path
    inputs: Mapping[str, Any] = field(default_factory=dict)
    named: Sequence[str] = ()
    """The inputs that were named one by one: a name the flow does not know is a mistake."""
    labels: Mapping[str, str] = field(default_factory=dict)
    flows: Path | None = None
    """A folder whose flows are saved first."""


@dataclass(frozen=True, slots=True)
class Started:
    """An execution under way, and what it has told so far."""

    execution_id: str
    feed: Feed


class HeldByServerError(UserError):
    """A server runs on the folder: it can be asked to run the flow."""

    def __init__(self, address: str) -> None:
        super().__init__(f"The data folder is held by the server {address}")
        self.address = address


class Session:
    """A runtime on a folder that is this command's alone."""

    def __init__(self, runtime: LocalRuntime, folder: Path, *, is_temporary: bool) -> None:
        self._runtime = runtime
        self._folder = folder
        self.is_temporary = is_temporary

    def save(self, request: Request) -> FlowDefinition:
        """Check and save the flow, and before it those of the folder, and the templates beside it and in the folder.

        Raises UserError for what is not valid.
        """
        others = [] if request.flows is None else flow_files.find([request.flows])
        for path in flow_files.templates_for(request.flow, request.flows):
            self._save_template(path)
        for path in others:
            self._save(path)
        return self._save(request.flow)

    def _save_template(self, path: Path) -> None:
        try:
            self._runtime.save_template(flow_files.read(path), file=flow_files.label(path))
        except FlowError as error:
            raise ProblemsError(error.problems) from None

    def _save(self, path: Path) -> FlowDefinition:
        source = flow_files.read(path)
        try:
            return self._runtime.save_flow(source, file=flow_files.label(path))
        except FlowError as error:
            raise ProblemsError(error.problems) from None
        except UnsupportedError as error:
            raise UserError(f"{flow_files.label(path)}: {error}") from None

    def start(self, definition: FlowDefinition, request: Request, *, watched: bool) -> Started:
        """Create the execution, to be followed with a display when it is *watched*.

        Raises UserError for inputs and flows that cannot be run.
        """
        name = f"{definition.namespace}.{definition.id}"
        inputs.check_names(request.named, [known.id for known in definition.inputs], name)
        started = Started(new_id(), Feed())
        if self.is_temporary:
            self._runtime.keep_triggered()
        if watched:
            self._runtime.subscribe(started.execution_id, started.feed.changed, started.feed.log)
        try:
            self._runtime.create(
                definition.namespace,
                definition.id,
                request.inputs,
                labels=request.labels,
                execution_id=started.execution_id,
            )
        except InputError as error:
            raise UserError(inputs.told(error, definition, request.inputs)) from None
        except (CheckFailedError, NoSuchFlowError, UnsupportedError) as error:
            raise UserError(str(error)) from None
        return started

    def follow(self, started: Started, display: Display) -> View:
        """Show the execution until it has ended; return it as it ended. Ctrl-C kills it, a second one leaves."""
        runtime, execution_id = self._runtime, started.execution_id

        # Whoever gets it ends this command: the end of the execution, or a person who does not wait for it.
        ending = Lock()

        def kill() -> None:
            display.note("Killing the execution. Press Ctrl-C again to leave at once.")
            runtime.kill(execution_id)

        def leave() -> NoReturn:
            ending.acquire()
            try:
                display.abandon()
                self._runtime.end_code()
                if self.is_temporary:
                    shutil.rmtree(self._folder, ignore_errors=True)
            finally:
                os._exit(_INTERRUPTED)

        with Drawing(started.feed, display, lambda: runtime.view(execution_id)) as drawing, Interrupts(kill, leave):
            runtime.wait(execution_id)
            ending.acquire()
            execution = runtime.view(execution_id)
            drawing.close(execution)
        return execution

    def triggered(self, started: Started) -> Sequence[View]:
        """Return what Flow triggers started because of the execution, once each has ended or waits for a person.

        Nothing on a folder that stays: there they go on when it is opened again.
        """
        return [self._runtime.view(each) for each in self._runtime.wait_for_triggered(started.execution_id)]

    def logs(self, started: Started) -> Sequence[LogLine]:
        """Return the execution's log."""
        return self._runtime.logs(started.execution_id)


@contextmanager
def session(data_dir: Path | None, options: LocalOptions | None = None) -> Iterator[Session]:
    """Open a runtime on *data_dir*, or on a folder that is gone afterwards.

    Raises UserError when another engine runs on the folder or it cannot be used.
    """
    folder = Path(tempfile.mkdtemp(prefix="headrace-")) if data_dir is None else data_dir
    try:
        # PortError includes DataFolderLockedError, which names the process.
        with _told():
            try:
                runtime = LocalRuntime.open(folder, options=options)
            except DataFolderLockedError as locked:
                if locked.address is not None:
                    raise HeldByServerError(locked.address) from None
                raise
        try:
            with _told():
                yield Session(runtime, folder, is_temporary=data_dir is None)
        finally:
            runtime.close()
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _told() -> Iterator[None]:
    """Tell a store's failure (a full disk, a folder in use) in one line."""
    try:
        yield
    except PortError as error:
        raise UserError(str(error)) from error
