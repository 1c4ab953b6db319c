"""Whether the local server keeps up with webhooks: none lost, and one execution for each event.

    python benchmarks/webhooks.py [--rate 200] [--seconds 30] [--auth none|github] [--check]

Starts `headrace server` on a temporary folder and calls a webhook so often a second, whatever comes back; of every
twenty events one is sent twice, as senders do. With --check the exit code is 1 when a call was refused, an event has
no execution or two, or the answers did not keep up with the calls. Server and client share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import sys
import time
from dataclasses import dataclass, field

from server import Connection, processor, serving, told

SECRET = "It is a benchmark's"  # noqa: S105 - opens nothing but a server that lives for a minute
AUTH = {"none": "", "github": f", auth: {{type: github, secret: {json.dumps(SECRET)}}}"}
FLOW = """
id: called
namespace: bench
tasks:
  - {{id: log, type: io.kestra.plugin.core.log.Log, message: "{{{{ trigger.body.number }}}}"}}
triggers:
  - {{id: call, type: io.kestra.plugin.core.trigger.Webhook, key: bench{auth}}}
"""
PATH = "/api/v1/main/executions/webhook/bench/called/bench"
AGAIN = 20
"""One event of so many is sent a second time."""
BEHIND = 2.0
"""Seconds that the last answer may come after the last call."""
_PAGE = 1000


@dataclass
class Calls:
    """What came of the calls."""

    events: int = 0
    took: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    executions: dict[int, set[str]] = field(default_factory=dict)
    """By the number of the event."""
    behind: float = 0.0
    """Seconds from the last call to the last answer."""

    def problems(self, stored: set[str]) -> list[str]:
        """Return what was not kept; *stored* are the executions that are there and ended well."""
        answered = {each for ids in self.executions.values() for each in ids}
        found = {
            "calls refused": len(self.refused),
            "events without an execution": self.events - len(self.executions),
            "events with several executions": sum(len(ids) > 1 for ids in self.executions.values()),
            "executions for several events": sum(map(len, self.executions.values())) - len(answered),
            "executions that are not there, or not ended well": len(answered - stored),
            "executions that nobody called for": len(stored - answered),
        }
        texts = [f"{count} {what}" for what, count in found.items() if count]
        if self.behind > BEHIND:
            texts.append(f"the last answer came {self.behind:.1f} s after the last call")
        return texts + self.refused[:3]


async def call_all(address: tuple[str, int], rate: int, seconds: float, auth: str) -> Calls:
    """Call so often a second for so long, and wait for all answers."""
    calls = Calls()
    free: list[Connection] = []

    async def once(number: int) -> None:
        body = json.dumps({"number": number, "action": "opened", "text": "x" * 500}).encode()
        headers = [f"idempotency-key: {number}"] if auth == "none" else []
        if auth == "github":
            headers.append(f"x-hub-signature-256: sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}")
        begun = time.perf_counter()
        connection = free.pop() if free else Connection(*address)
        try:
            status, answer = await connection.ask("POST", PATH, body, "application/json", headers)
        except (OSError, EOFError) as error:
            calls.refused.append(f"event {number}: {error!r}")
            return
        free.append(connection)
        calls.took.append(time.perf_counter() - begun)
        if status == 200:
            calls.executions.setdefault(number, set()).add(json.loads(answer)["id"])
        elif not (auth == "github" and status == 401 and number % AGAIN == 0):
            # A signature that counted before is refused: that the event has an execution is seen to by the first call.
            calls.refused.append(f"event {number}: status {status}: {answer[:200]!r}")

    tasks = []
    start = time.perf_counter()
    for n in range(int(rate * seconds)):
        # Each twentieth call repeats the event of the one before it.
        number = n - 1 if n % AGAIN == 1 else n
        calls.events += number == n
        await asyncio.sleep(max(0.0, start + n / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(once(number)))
    last = time.perf_counter()
    await asyncio.gather(*tasks)
    calls.behind = time.perf_counter() - last
    for connection in free:
        connection.close()
    return calls


async def ended(address: tuple[str, int], count: int) -> set[str]:
    """Return the executions that ended well, once there are *count*, or after a minute."""
    connection = Connection(*address)
    search = f"/api/v1/main/executions/search?namespace=bench&flowId=called&state=SUCCESS&size={_PAGE}"
    deadline = time.perf_counter() + 60
    while True:
        found: set[str] = set()
        cursor = ""
        while True:
            _, body = await connection.ask("GET", search + (f"&cursor={cursor}" if cursor else ""))
            page = json.loads(body)
            found.update(each["id"] for each in page["results"])
            cursor = page.get("next", "")
            if not cursor:
                break
        if len(found) >= count or time.perf_counter() > deadline:
            connection.close()
            return found
        await asyncio.sleep(0.5)


async def measure(address: tuple[str, int], pid: int, given: argparse.Namespace) -> list[str]:
    """Call, print what came of it, and return what was not kept."""
    first = Connection(*address)
    status, body = await first.ask(
        "POST", "/api/v1/main/flows", FLOW.format(auth=AUTH[given.auth]).encode(), "application/x-yaml"
    )
    if status != 200:
        raise SystemExit(f"status {status}: {body!r}")
    first.close()
    begun, used = time.perf_counter(), processor(pid)
    calls = await call_all(address, given.rate, given.seconds, given.auth)
    print(told(f"{given.auth}, {given.rate} a second", calls.took, time.perf_counter() - begun, processor(pid) - used))
    stored = await ended(address, len(calls.executions))
    print(
        f"{len(calls.took)} calls for {calls.events} events: {len(stored)} executions, ended within "
        f"{time.perf_counter() - begun:.1f} s; the last answer came {calls.behind:.2f} s after the last call"
    )
    return calls.problems(stored)


def main() -> int:
    """Start a server, and measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=int, default=200, help="calls a second")
    options.add_argument("--seconds", type=float, default=30)
    options.add_argument("--auth", choices=list(AUTH), default="none", help="what the webhook demands of callers")
    options.add_argument("--check", action="store_true", help="exit 1 when something was not kept")
    given = options.parse_args()
    with serving() as (address, pid):
        problems = asyncio.run(measure(address, pid, given))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
