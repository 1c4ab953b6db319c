"""What the promises about size come to on the local runtime: wide loops, many that wait, many items.

``local.py --scale`` runs this after its own comparison. Every measure is a process of its own
(``scale_side.py``) on a fresh data folder, so that its peak memory is its own.

Cost is processor time: it is what an iteration takes from the machine, whatever else the machine is doing. The time on
the wall stands beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent

SMALL, LARGE = 100, 10_000
"""Iterations of the two loops that are compared, as ``scale_side.py`` has them."""
COST_GOAL = 1.5
"""An iteration of the large loop costs at most this many times one of the small."""
MEMORY_GOAL = 300.0
"""MB that no measure may exceed."""
HUNDRED_GOAL = 0.5
"""Seconds for a ForEach over 100 values; Kestra publishes 5."""
PAUSED = 10_000
RESTART_GOAL = 10.0
"""Seconds from starting the engine on that many paused executions until the last has been resumed and has ended."""
ITEMS = 100_000
ITEMS_RUN = 3_000
"""Parts of a ForEachItem, and how many of their executions are waited for."""


@dataclass(frozen=True, slots=True)
class Row:
    """A goal beside what was measured."""

    what: str
    goal: str
    measured: str
    met: bool


class Sides:
    """Starts measures, each on a folder of its own below *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self) -> Path:
        """Return an empty data folder."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def run(self, name: str, *arguments: object, folder: Path) -> dict[str, Any]:
        """Return what the measure *name* says."""
        command = [sys.executable, str(HERE / "scale_side.py"), name, *map(str, arguments), str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"The measure `{name}` ended with exit code {done.returncode}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def loops(sides: Sides, rounds: int) -> tuple[list[Row], dict[str, Any]]:
    """Compare 10,000 iterations with 100, for a body that shares commits and one with a commit each."""
    rows, results = [], {}
    hundred = 0.0
    for kind in ("inline", "light"):
        for limit in (0, 10):
            found = sides.run("loop", kind, limit, rounds, folder=sides.fresh())
            name = f"ForEach, {kind} body, concurrencyLimit {limit}"
            small, large = median(found["small cpu"]) / SMALL, median(found["large cpu"]) / LARGE
            wall = median(found["small"]) / SMALL, median(found["large"]) / LARGE
            measured = f"{large / small:.2f} x ({small * 1000:.2f}, {large * 1000:.2f} ms;"
            measured += f" on the wall {wall[0] * 1000:.2f}, {wall[1] * 1000:.2f})"
            goal = f"<= {COST_GOAL:g} x"
            rows += [
                Row(f"{name}: an iteration of {LARGE:,}, of {SMALL}", goal, measured, large / small <= COST_GOAL),
                memory(f"{name}: {LARGE:,}", found["peak"]),
            ]
            hundred = max(hundred, found["first"], median(found["small"]))
            results[name] = found
    rows.append(
        Row(
            f"ForEach over {SMALL} values, the slowest of those, the first run included",
            f"< {HUNDRED_GOAL:g} s",
            f"{hundred:.3f} s",
            hundred < HUNDRED_GOAL,
        )
    )
    return rows, results


def paused(sides: Sides) -> tuple[list[Row], dict[str, Any]]:
    """Start an engine on many paused executions; what waiting holds is what more of them hold more."""
    few: dict[str, Any] = {}
    many: dict[str, Any] = {}
    for count, answer in ((SMALL, few), (PAUSED, many)):
        folder = sides.fresh()
        answer["made"] = sides.run("pause", count, folder=folder)["seconds"]
        answer.update(sides.run("resume", folder=folder))
    threads = len(many["threads"]) - len(few["threads"])
    name = f"{PAUSED:,} paused executions"
    measured = f"{threads} threads more than {SMALL} hold, {many['processes']} processes,"
    measured += f" {100 * many['cpu while waiting']:.1f} % of a processor"
    return [
        Row(
            f"{name}: from starting the engine to the end of the last one resumed",
            f"<= {RESTART_GOAL:g} s",
            f"{many['resumed']:.2f} s",
            many["resumed"] <= RESTART_GOAL,
        ),
        Row(f"{name}: held while they wait", "none", measured, threads <= 0 and not many["processes"]),
        memory(name, many["peak"]),
    ], {name: many, f"{SMALL} paused executions": few}


def items(sides: Sides) -> tuple[list[Row], dict[str, Any]]:
    """Split many items, and run some of their executions; nobody holds them all."""
    found = sides.run("items", ITEMS, ITEMS_RUN, folder=sides.fresh())
    name = f"ForEachItem over {ITEMS:,} items"
    early, late = found["early"] * 1000, found["late"] * 1000
    measured = f"{late / early:.2f} x ({early:.1f}, {late:.1f} ms an item; {found['split']:.1f} s until the first)"
    what = f"{name}: an item of the second half of {found['ended']:,} that ran, of the first"
    return [
        Row(what, f"<= {COST_GOAL:g} x", measured, late / early <= COST_GOAL),
        memory(f"{name}, {found['ended']:,} run", found["peak"]),
    ], {name: found}


def memory(what: str, peak: float) -> Row:
    """Return the row of a peak memory."""
    return Row(f"{what}: peak memory", f"< {MEMORY_GOAL:g} MB", f"{peak:.0f} MB", peak < MEMORY_GOAL)


def measure(folder: Path, rounds: int, show: Callable[[Row], None]) -> dict[str, Any]:
    """Measure everything on folders below *folder*, showing each row when it is known; return the numbers."""
    sides = Sides(folder)
    results: dict[str, Any] = {}
    for part in (partial(loops, sides, rounds), partial(paused, sides), partial(items, sides)):
        rows, numbers = part()
        results.update(numbers)
        for row in rows:
            show(row)
    return results
