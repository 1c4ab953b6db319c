"""The Headrace side of ``scale.py``: one measure a process, so that each has a peak memory of its own.

    python scale_side.py loop KIND LIMIT ROUNDS FOLDER                loops of two sizes, taking turns
    python scale_side.py pause COUNT FOLDER                           leave COUNT paused executions in the folder
    python scale_side.py resume FOLDER                                start on them; resume the last; what they hold
    python scale_side.py items TOTAL ENOUGH FOLDER                    ForEachItem over TOTAL lines until ENOUGH ended

Each writes one line of JSON. Peak memory is the highest resident set of this process or of one it started.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from headrace_cli.local import LocalRuntime
from headrace_engine.model.search import ExecutionQuery
from headrace_engine.model.state import State

NAMESPACE = "benchmarks"

SIZES = (100, 10_000)
"""Iterations of the two loops that are compared."""

BODIES: dict[str, dict[str, Any]] = {
    "inline": {"type": "io.kestra.plugin.core.debug.Return", "format": "{{ taskrun.value }}"},
    "light": {"type": "io.kestra.plugin.core.kv.Get", "key": "key-{{ taskrun.value }}", "errorOnMissing": False},
}

PAUSING = {
    "id": "pausing",
    "namespace": NAMESPACE,
    "tasks": [
        # With a timer, which an engine that starts must set again: without one it would not even read them.
        {"id": "pause", "type": "io.kestra.plugin.core.flow.Pause", "pauseDuration": "P1D"},
        {"id": "after", "type": "io.kestra.plugin.core.debug.Return", "format": "resumed"},
    ],
}

PART = {
    "id": "part",
    "namespace": NAMESPACE,
    "inputs": [{"id": "file", "type": "FILE"}],
    "tasks": [{"id": "read", "type": "io.kestra.plugin.core.debug.Return", "format": "{{ read(inputs.file) }}"}],
}

PARTS = {
    "id": "parts",
    "namespace": NAMESPACE,
    "inputs": [{"id": "file", "type": "FILE"}],
    "tasks": [
        {
            "id": "each",
            "type": "io.kestra.plugin.core.flow.ForEachItem",
            "items": "{{ inputs.file }}",
            "batch": {"rows": 1},
            "namespace": NAMESPACE,
            "flowId": "part",
            "inputs": {"file": "{{ taskrun.items }}"},
        }
    ],
}


def peak() -> float:
    """Return the peak memory in MB; the kernel counts in KB, on macOS in bytes."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def loop_flow(kind: str, limit: int, size: int) -> dict[str, Any]:
    """Return a flow that is one ForEach over *size* values."""
    return {
        "id": f"loop-{size}",
        "namespace": NAMESPACE,
        "tasks": [
            {
                "id": "each",
                "type": "io.kestra.plugin.core.flow.ForEach",
                "values": [f"value-{number}" for number in range(size)],
                "concurrencyLimit": limit,
                "tasks": [{"id": "body", **BODIES[kind]}],
            }
        ],
    }


def loop(kind: str, limit: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Run loops of both sizes in turns, so that what else the machine does meets both."""
    small, large = SIZES
    runtime = LocalRuntime.open(folder)
    for size in SIZES:
        runtime.save_flow(json.dumps(loop_flow(kind, limit, size)))

    def run(size: int) -> tuple[float, float]:
        begun, worked = time.perf_counter(), time.process_time()
        execution_id = runtime.create(NAMESPACE, f"loop-{size}", {})
        runtime.wait(execution_id)
        taken = time.perf_counter() - begun, time.process_time() - worked
        state = runtime.view(execution_id)["state"]["current"]
        if state != "SUCCESS":
            sys.exit(f"A loop over {size} values ended {state}")
        return taken

    first = run(small)  # imports, compiled templates
    taken: dict[int, list[tuple[float, float]]] = {small: [], large: []}
    for _ in range(rounds):
        taken[small] += [run(small) for _ in range(max(1, large // small // 10))]
        taken[large].append(run(large))
    runtime.close()
    return {
        "first": first[0],
        "small": [wall for wall, _ in taken[small]],
        "large": [wall for wall, _ in taken[large]],
        "small cpu": [cpu for _, cpu in taken[small]],
        "large cpu": [cpu for _, cpu in taken[large]],
        "peak": peak(),
    }


def pause(count: int, folder: Path) -> dict[str, Any]:
    """Leave *count* paused executions in *folder*."""
    runtime = LocalRuntime.open(folder)
    runtime.save_flow(json.dumps(PAUSING))
    begun = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: runtime.create(NAMESPACE, "pausing", {}), range(count)))
    while runtime.stores.executions.search(ExecutionQuery(states=(State.PAUSED,)), limit=1).total < count:
        time.sleep(0.01)
    seconds = time.perf_counter() - begun
    runtime.close()
    return {"seconds": seconds}


def descendants() -> int:
    """Return how many processes this one has started that go on."""
    return sum(len(children.read_text().split()) for children in Path("/proc/self/task").glob("*/children"))


def resume(folder: Path) -> dict[str, Any]:
    """Start on *folder*; wait until the last of its executions is taken up; resume it, and wait for its end."""
    begun = time.perf_counter()
    runtime = LocalRuntime.open(folder)
    opened = time.perf_counter() - begun
    waiting = sorted(runtime.open_executions())
    last = waiting[-1]  # taken up in the order of their ids
    runtime.ask(last, lambda operations, state: operations.resume(state))
    runtime.wait(last)
    resumed = time.perf_counter() - begun
    state = runtime.view(last)["state"]["current"]
    if state != "SUCCESS":
        sys.exit(f"The resumed execution ended {state}")
    worked, second = time.process_time(), 1.0
    time.sleep(second)
    worked = time.process_time() - worked
    answer = {
        "opened": opened,
        "resumed": resumed,
        "waiting": len(waiting) - 1,
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "processes": descendants(),
        "cpu while waiting": worked / second,
        "peak": peak(),
    }
    runtime.close()
    return answer


def items(total: int, enough: int, folder: Path) -> dict[str, Any]:
    """Run a ForEachItem over *total* lines until *enough* of its executions have ended; then stop the engine."""
    file = folder / "lines.csv"  # one line is one part
    with file.open("w") as stream:
        stream.writelines(f"{number:06},some,values,of,a,line\n" for number in range(total))
    runtime = LocalRuntime.open(folder)
    for flow in (PART, PARTS):
        runtime.save_flow(json.dumps(flow))
    bare = peak()
    begun = time.perf_counter()
    execution_id = runtime.create(NAMESPACE, "parts", {"file": file})

    def ended() -> Iterator[int]:
        while not runtime.wait(execution_id, timeout=0.02):
            yield runtime.stores.executions.search(
                ExecutionQuery(flow_id="part", states=(State.SUCCESS,)), limit=1
            ).total
        yield total

    marks: list[tuple[int, float, float]] = []
    for count in ended():
        if count:
            marks.append((count, time.process_time(), time.perf_counter() - begun))
        if count >= enough:
            break
    split = marks[0][2]
    half = next(mark for mark in marks if mark[0] >= enough / 2)
    early = (half[1] - marks[0][1]) / max(1, half[0] - marks[0][0])
    late = (marks[-1][1] - half[1]) / max(1, marks[-1][0] - half[0])
    is_over = runtime.wait(execution_id, timeout=0)
    state = runtime.view(execution_id)["state"]["current"]
    if is_over and state != "SUCCESS":
        sys.exit(f"The ForEachItem ended {state}")
    most = peak()
    runtime.close()
    return {
        "ended": marks[-1][0],
        "seconds": marks[-1][2],
        "split": split,
        "early": early,
        "late": late,
        "bare": bare,
        "peak": most,
        "over": is_over,
    }


def main() -> None:
    """Do the measure that is named."""
    name, *arguments, folder = sys.argv[1:]
    measures: dict[str, Callable[..., dict[str, Any]]] = {
        "loop": loop,
        "pause": pause,
        "resume": resume,
        "items": items,
    }
    given = [int(each) if each.isdigit() else each for each in arguments]
    print(json.dumps(measures[name](*given, Path(folder))))


if __name__ == "__main__":
    main()
