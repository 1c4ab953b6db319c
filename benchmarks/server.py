"""How many requests the local server takes.

    python benchmarks/server.py [--seconds 10] [--connections 16] [--rate 200]

Starts `headrace server` on a temporary folder and asks it from this process: as fast as it answers (reads, and
executions created), then at a steady rate, whether anything is lost. Server and client share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

FLOW = """
id: hello
namespace: bench
inputs:
  - {id: n, type: STRING}
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.n }}"}
"""
FORM = "multipart/form-data; boundary=x"
_MAIN = "from headrace_cli.main import main; main()"


class Connection:
    """A connection to the server that is kept, and asks one thing after the other."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = "", headers: Sequence[str] = ()
    ) -> tuple[int, bytes]:
        """Return status and body of the answer; *headers* are lines."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
        head += "".join(f"{line}\r\n" for line in headers)
        head += f"content-type: {content_type}\r\n\r\n" if content_type else "\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
        return int(answer.split(b" ", 2)[1]), await reader.readexactly(int(length[1]) if length else 0)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


Ask = Callable[[Connection, int], Awaitable[tuple[int, bytes]]]


def create(connection: Connection, number: int) -> Awaitable[tuple[int, bytes]]:
    """Create an execution."""
    body = f'--x\r\ncontent-disposition: form-data; name="n"\r\n\r\n{number}\r\n--x--\r\n'.encode()
    return connection.ask("POST", "/api/v1/main/executions/bench/hello", body, FORM)


async def as_fast(address: tuple[str, int], ask: Ask, seconds: float, connections: int) -> list[float]:
    """Ask on so many connections at once for so long; return how long each answer took."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def go_on(connection: Connection) -> None:
        while (begun := time.perf_counter()) < end:
            status, body = await ask(connection, len(took))
            if status not in (200, 202):
                raise SystemExit(f"status {status}: {body[:300]!r}")
            took.append(time.perf_counter() - begun)
        connection.close()

    await asyncio.gather(*(go_on(Connection(*address)) for _ in range(connections)))
    return took


async def at_rate(address: tuple[str, int], ask: Ask, seconds: float, rate: int) -> tuple[list[float], int]:
    """Ask so often a second, whatever comes back; return how long each answer took, and how many failed."""
    free: list[Connection] = []
    took: list[float] = []
    failed = 0

    async def once(number: int) -> None:
        nonlocal failed
        begun = time.perf_counter()
        connection = free.pop() if free else Connection(*address)
        try:
            status, _ = await ask(connection, number)
            failed += status not in (200, 202)  # 202: it is on disk, and begins when its turn comes
        except (OSError, EOFError):
            failed += 1
        else:
            free.append(connection)
        took.append(time.perf_counter() - begun)

    tasks = []
    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(once(number)))
    await asyncio.gather(*tasks)
    return took, failed


def processor(pid: int) -> float:
    """Return the seconds of processor time that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(name: str, took: list[float], seconds: float, used: float) -> str:
    """Return a line of the table; *used* is the server's processor time."""
    ordered = sorted(took)
    each = used / len(took) * 1000
    p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    rate = f"{len(took) / seconds:>6.0f}/s   p50 {p50 * 1000:>7.1f} ms   p99 {p99 * 1000:>7.1f} ms"
    return f"{name:<28} {rate}   processor {each:>6.2f} ms each"


async def measure(address: tuple[str, int], seconds: float, connections: int, rate: int, pid: int) -> None:
    """Ask, and print what it took of the server of that process."""
    first = Connection(*address)
    status, body = await first.ask("POST", "/api/v1/main/flows", FLOW.encode(), "application/x-yaml")
    if status != 200:
        raise SystemExit(f"status {status}: {body!r}")
    _, body = await create(first, 0)
    execution_id = json.loads(body)["id"]

    def ended(connection: Connection, _number: int) -> Awaitable[tuple[int, bytes]]:
        return connection.ask("GET", f"/api/v1/main/executions/{execution_id}")

    def health(connection: Connection, _number: int) -> Awaitable[tuple[int, bytes]]:
        return connection.ask("GET", "/health")

    for name, ask in (("GET /health", health), ("GET /executions/{id}", ended), ("POST /executions/{ns}/{id}", create)):
        begun, used = time.perf_counter(), processor(pid)
        took = await as_fast(address, ask, seconds, connections)
        print(told(name, took, time.perf_counter() - begun, processor(pid) - used))
    before = await total(first)
    begun, used = time.perf_counter(), processor(pid)
    took, failed = await at_rate(address, create, seconds, rate)
    print(told(f"POST, {rate} a second", took, time.perf_counter() - begun, processor(pid) - used))
    deadline = time.perf_counter() + 60
    while (made := await total(first) - before) < len(took) - failed and time.perf_counter() < deadline:
        await asyncio.sleep(0.5)
    print(f"{len(took)} asked for, {failed} refused, {made} made and ended")


async def total(connection: Connection) -> int:
    """Return how many executions have ended."""
    _, body = await connection.ask("GET", "/api/v1/main/executions/search?namespace=bench&state=SUCCESS&size=1")
    return int(json.loads(body)["total"])


@contextmanager
def serving() -> Iterator[tuple[tuple[str, int], int]]:
    """Start a server on a temporary folder; give its address and process."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        command = [sys.executable, "-c", _MAIN, "server", "--port", "0", "--data-dir", str(Path(folder) / "data")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as server:
            try:
                told = server.stderr.readline() if server.stderr is not None else ""
                address = urlsplit(told.split()[-1])
                yield (str(address.hostname), address.port or 0), server.pid
            finally:
                server.terminate()


def main() -> None:
    """Start a server, and measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--rate", type=int, default=200)
    given = options.parse_args()
    with serving() as (place, pid):
        asyncio.run(measure(place, given.seconds, given.connections, given.rate, pid))


if __name__ == "__main__":
    main()
