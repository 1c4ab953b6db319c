"""The command as its own process on a pseudo-terminal, with somebody at the keyboard."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from time import monotonic

Write = Callable[..., Path]

PATIENCE = 30
INTERRUPT = b"\x03"
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"
SCRIPT = "tasks:\n  - id: stay\n    type: io.kestra.plugin.scripts.shell.Commands\n    commands:\n      - %s\n"

_MAIN = """
import os
os.close(os.open(os.ttyname(0), os.O_RDWR))  # now it is the process's own terminal, whose Ctrl-C it gets
from headrace_cli.main import main
main()
"""


class Terminal:
    """A process on a pseudo-terminal of 80 columns and 24 rows."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self._process = process
        self.seen = b""

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def wait_for(self, pattern: bytes) -> None:
        """Read until what *pattern* matches has been shown."""
        while not re.search(pattern, self.seen):
            assert self._read(), f"the process ended without showing {pattern!r}: {self.seen!r}"

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        return self._process.wait(PATIENCE)

    def _read(self) -> bool:
        deadline = monotonic() + PATIENCE
        assert select([self._master], [], [], deadline - monotonic())[0], f"nothing more after {self.seen!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: the other side is closed
            return False
        self.seen += data
        return bool(data)


@contextmanager
def terminal(*arguments: str | Path, **environment: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    outside = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, *map(str, arguments)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**outside, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_the_tree_is_drawn_in_place_and_the_cursor_comes_back(flow: Write) -> None:
    source = SCRIPT % "echo working" + "  - {id: last, type: io.kestra.plugin.core.log.Log, message: Bye}\n"
    with terminal("run", flow(source)) as screen:
        assert screen.end() == 0
    assert HIDE_CURSOR in screen.seen
    assert screen.seen.rindex(SHOW_CURSOR) > screen.seen.rindex(HIDE_CURSOR)
    assert b"\x1b[1A" in screen.seen  # up, to draw again
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen.seen).decode()
    assert re.search(r"\d\d:\d\d:\d\d\.\d{3} INFO  stay  working", text)
    assert re.search(r"\r✔ demo\.x   SUCCESS +\S+s\r\n├─ ✔ stay  SUCCESS +\S+s\r\n└─ ✔ last  SUCCESS +\S+s\r\n", text)
    assert re.search(r"\r\n✔ SUCCESS  demo\.x in \S+s  \w{22}\r\n$", text)


def test_without_colours_there_are_none(flow: Write) -> None:
    with terminal("run", flow(SCRIPT % "echo working"), NO_COLOR="1") as screen:
        assert screen.end() == 0
    assert not re.search(rb"\x1b\[(3[0-7]|9[0-7])m", screen.seen)


def test_a_dumb_terminal_gets_plain_lines(flow: Write) -> None:
    with terminal("run", flow(SCRIPT % "echo working"), TERM="dumb") as screen:
        assert screen.end() == 0
    assert b"\x1b" not in screen.seen
    assert b"INFO     stay: working" in screen.seen


def test_json_goes_with_a_live_picture_on_standard_error(flow: Write, tmp_path: Path) -> None:
    with terminal("run", flow(SCRIPT % "echo working"), "-o", "json") as screen:
        assert screen.end() == 0
    assert HIDE_CURSOR in screen.seen
    assert b'"taskRunList": [' in screen.seen


def test_ctrl_c_once_kills_the_execution_and_waits_for_its_end(flow: Write) -> None:
    with terminal("run", flow(SCRIPT % "echo begun; sleep 60")) as screen:
        screen.wait_for(rb"begun")
        screen.press(INTERRUPT)
        assert screen.end() == 1
    assert b"Press Ctrl-C again to leave at once" in screen.seen
    assert "✘ KILLED".encode() in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen.seen)


def is_gone(process: Path) -> bool:
    """Return whether a process that was killed has ended; that takes the system a moment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if "\nState:\tZ" in (process / "status").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)  # polls
    return False


def test_ctrl_c_twice_leaves_at_once_and_leaves_no_process_behind(flow: Write, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stubborn = f"trap '' TERM INT HUP; echo $$ > {pid}; echo begun; while true; do sleep 0.05; done"
    with terminal("run", flow(SCRIPT % f'"{stubborn}"'), TMPDIR=str(tmp_path)) as screen:
        screen.wait_for(rb"begun")
        screen.press(INTERRUPT)
        screen.wait_for(rb"Press Ctrl-C again")
        screen.press(INTERRUPT)
        assert screen.end() == 130
    assert screen.seen.endswith(SHOW_CURSOR)
    assert is_gone(Path(f"/proc/{pid.read_text().strip()}"))
    assert list(tmp_path.glob("headrace-*")) == []
