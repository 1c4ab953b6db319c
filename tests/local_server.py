"""A real `headrace server` for tests: a process of its own on a loopback port that was free."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_MAIN = "from headrace_cli.main import main; main()"
PATIENCE = 60
"""Seconds that a server may take to start or to stop."""


class LocalServer:
    """A server that runs, and what it has told so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told: list[str] = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def address(self) -> str:
        """Where it answers; it does from when this is known."""
        return self.wait_for(r"Headrace serves (http://\S+)")[1]

    @property
    def api(self) -> str:
        """The address of its API."""
        return f"{self.address}/api/v1/main"

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match in what it tells on standard error, when it has told it."""
        with self._heard:
            self._heard.wait_for(lambda: self._match(pattern) or not self._reader.is_alive(), PATIENCE)
            found = self._match(pattern)
        assert found is not None, f"{pattern!r} is not in {self.told}"
        return found

    def _match(self, pattern: str) -> re.Match[str] | None:
        return next((found for row in self.told if (found := re.search(pattern, row))), None)

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Take it away as `kill -9` does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for row in self.process.stderr:
            with self._heard:
                self.told.append(row.rstrip("\n"))
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()


@contextmanager
def local_server(
    data_dir: Path, *options: str | Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[LocalServer]:
    """Start a server on *data_dir* with *options*; it is gone when the block is left."""
    arguments = ["server", "--port", "0", "--data-dir", str(data_dir), *(str(option) for option in options)]
    with subprocess.Popen(
        [sys.executable, "-c", _MAIN, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd or data_dir.parent,
    ) as process:
        server = LocalServer(process)
        try:
            yield server
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)
            server._reader.join()
