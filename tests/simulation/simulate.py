"""Runs seeds of the simulator: many, summed up, or one, told entry by entry.

python -m simulation.simulate --seeds 1000
python -m simulation.simulate --seed 17 [--faults 3f2a91,90bc12]
"""

# ruff: noqa: T201 - a command that prints

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from headrace_engine.testing.simulation.scenario import registry
from headrace_engine.testing.simulation.seeds import Simulator, Summary
from simulation.scenarios import scenario_of

_CHUNK = 50
_SHRUNK_SEEDS = 3


@cache
def simulator() -> Simulator:
    """Return the simulator of this process."""
    return Simulator(scenario_of, registry())


def be_quiet() -> None:
    """Keep the engine from warning of all that strikes."""
    logging.disable(logging.CRITICAL)


def run_seeds(seeds: Iterable[int]) -> Summary:
    """Run seeds in this process and sum them up."""
    summary = Summary()
    for seed in seeds:
        summary.add(simulator().run(seed))
    return summary


def told(seed: int) -> str:
    """Return a failing seed's history with the fewest faults, and the command that replays it."""
    report = simulator().run(seed)
    kept = simulator().shrunk(report)
    again = simulator().run(seed, kept=frozenset(kept), is_told=True)
    faults = f" FAULTS={','.join(kept)}" if kept else ""
    lines = [f"seed {seed}: {report.scenario}, {report.profile}; {len(report.faults)} faults, shrunk to {len(kept)}"]
    lines += [*scenario_of(seed).flows, *again.lines, *map(str, again.violations or report.violations)]
    return "\n".join([*lines, f"Replay it with: make simulate SEED={seed}{faults}"])


def main() -> int:
    """Run what the command line says; 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--faults", help="the ids of the only faults that strike")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    be_quiet()
    if given.seed is not None:
        kept = frozenset(given.faults.split(",")) if given.faults else None
        report = simulator().run(given.seed, kept=kept, is_told=True)
        print("\n".join([*scenario_of(given.seed).flows, *report.lines, *map(str, report.violations)]))
        print(f"seed {given.seed}: {report.scenario}, {report.profile}; history {report.digest}")
        print(f"{len(report.faults)} faults: {','.join(fault.id for fault in report.faults)}")
        return bool(report.violations)
    begun = time.monotonic()
    summary = Summary()
    last = given.first + given.seeds
    chunks = [range(first, min(first + _CHUNK, last)) for first in range(given.first, last, _CHUNK)]
    with ProcessPoolExecutor(given.processes, initializer=be_quiet) as pool:
        for number, part in enumerate(pool.map(run_seeds, chunks), 1):
            summary.merge(part)
            if number % 100 == 0:
                print(f"{summary.seeds} seeds, {len(summary.failed)} failed", file=sys.stderr, flush=True)
    print("\n".join(summary.lines(time.monotonic() - begun)))
    for seed, what in summary.failed[:40]:
        print(f"  seed {seed}: {what[:300]}")
    for seed, _ in summary.failed[:_SHRUNK_SEEDS]:
        print(told(seed))
    return bool(summary.failed)


if __name__ == "__main__":
    sys.exit(main())
