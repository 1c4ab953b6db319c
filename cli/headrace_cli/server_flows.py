"""A folder of flows, kept in step with a server: what its files say is saved, now and whenever they change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_cli import flow_files
from headrace_cli.errors import UserError
from headrace_engine.engine import UnsupportedError
from headrace_engine.language import FlowError
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.ports import FlowSource
from headrace_runners.refusals import NoPlaceError

_LOOK = 1.0
"""Seconds between two looks at the folder."""

_log = logging.getLogger(__name__)

Save = Callable[[str, str], FlowDefinition | FlowSource]
"""Saves a flow, or the template of a file that says so: its source, and what messages call its file.

Raises FlowError, UnsupportedError.
"""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was looked at last."""

    changed: tuple[int, int]
    """When it was written, and how long it is: another of either is another file."""
    flow: str | None = None
    """What was saved from it, `flow` or `template` with namespace and id; None when it is broken."""


class FlowFolder:
    """Saves the flows and templates of *folder* with *save*, and tells what a person should know with *tell*.

    A file that is broken is told of, and the flow's last good revision stays. So does the flow of a file that is gone:
    a file is gone for a moment whenever it is moved or another branch is checked out, and with a flow go its triggers.
    """

    def __init__(self, folder: Path, save: Save, tell: Tell) -> None:
        self._folder = folder
        self._save = save
        self._tell = tell
        self._seen: Mapping[Path, _Seen] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Save what is new or has changed since the last look. Raises PortError when nothing can be saved now."""
        found = self._found()
        seen = {path: before for path, before in self._seen.items() if path in found}
        for path, before in self._seen.items():
            if path not in found and before.flow is not None:
                self._tell(f"{path} is gone; the {before.flow} stays.")
        self._seen = seen
        elsewhere: list[Path] = []
        for path, changed in found.items():
            if path not in seen or seen[path].changed != changed:
                # What cannot be saved now (PortError) is not seen: the next look tries again.
                seen[path] = self._taken(path, changed, seen, elsewhere)
        if elsewhere:
            self._tell(
                f"Not for this machine, so not loaded: {', '.join(map(str, elsewhere))}. "
                f"`headrace run {elsewhere[0]}` tells why."
            )

    def watch(self) -> None:
        """Look every second from now on, until `close`."""
        self._thread = threading.Thread(target=self._keep_looking, name="headrace-flows", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _keep_looking(self) -> None:
        while not self._stop.wait(_LOOK):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - the next look may do better; without this thread there is none
                _log.exception("The flows of %s could not be looked at", self._folder)

    def _found(self) -> dict[Path, tuple[int, int]]:
        found = {}
        try:
            paths = flow_files.find([self._folder], templates=True)
        except UserError:  # an empty folder, or one that is gone for a moment
            paths = []
        for path in paths:
            try:
                about = path.stat()
            except OSError:  # gone meanwhile
                continue
            found[path] = (about.st_mtime_ns, about.st_size)
        return found

    def _taken(self, path: Path, changed: tuple[int, int], seen: Mapping[Path, _Seen], elsewhere: list[Path]) -> _Seen:
        """Save the flow of a file; add to *elsewhere* the file of one that has no place here."""
        before = seen.get(path)
        flow = before.flow if before is not None else None
        try:
            source = flow_files.read(path)
            others = {each.flow: other for other, each in seen.items() if other != path and each.flow is not None}
            definition = self._save(source, flow_files.label(path))
        except UserError as error:
            self._tell(error.message)
            return self._left(changed, flow)
        except FlowError as error:
            for problem in error.problems:
                self._tell(str(problem))
            return self._left(changed, flow)
        except NoPlaceError:
            elsewhere.append(path)
            return self._left(changed, flow)
        except UnsupportedError as error:
            self._tell(f"{path}: {error}")
            return self._left(changed, flow)
        name = f"{'template' if flow_files.is_template(path) else 'flow'} {definition.namespace}.{definition.id}"
        if name in others:
            self._tell(f"{path} holds the {name}, as {others[name]} does; whichever changes last counts.")
        return _Seen(changed, name)

    def _left(self, changed: tuple[int, int], flow: str | None) -> _Seen:
        """Leave the flow of a file that is broken as it was."""
        if flow is not None:
            self._tell(f"The {flow} stays as it was.")
        return _Seen(changed, flow)
