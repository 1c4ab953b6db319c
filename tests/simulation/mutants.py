"""Breaks the engine in named ways, one at a time, on a copy of it; the simulator must catch every one.

    python -m simulation.mutants [name …]

prints the table of docs/reliability.md.
"""

# ruff: noqa: T201 - a command that prints

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PACKAGE = TESTS.parent / "engine" / "headrace_engine"
SEEDS = 2000
_PATIENCE = 1000.0
"""Seconds after which a mutant that only makes things slow counts as missed."""


@dataclass(frozen=True)
class Mutant:
    """One way to break the engine: in *file*, *old* becomes *new*."""

    name: str
    file: str
    old: str
    new: str


_JOURNAL = "adapters/memory/journal.py"
_CLAIMS = "adapters/memory/claims.py"
_SLOTS = "adapters/memory/slots.py"

MUTANTS = (
    Mutant(
        "drop the condition: an entry overwrites another of its seq",
        _JOURNAL,
        "            if entry.seq in entries:\n                raise SeqTakenError(entries[entry.seq])\n",
        "",
    ),
    Mutant(
        "issue before the append",
        "executor.py",
        "        size = self._append(draft.id, entry)\n        for key in taken:\n",
        "        self._issue(draft, commands_of(draft, entry.events))\n"
        "        size = self._append(draft.id, entry)\n        for key in taken:\n",
    ),
    Mutant(
        "acknowledge before issuing: what the last writer died before doing is left undone",
        "executor.py",
        "                if refused or stale:\n                    known = self._catch_up(known)\n",
        "                if refused or stale:\n",
    ),
    Mutant(
        "ignore the watermark: an entry says of its own commands that they are out",
        "executor.py",
        "            tuple(step.events),\n            before.seq,\n",
        "            tuple(step.events),\n            draft.seq,\n",
    ),
    Mutant(
        "move the watermark on without issuing",
        "executor.py",
        "        self._issue(before, outstanding(draft, above=before.issued_through, through=before.seq))\n",
        "",
    ),
    Mutant(
        "take a refused append for one's own",
        "executor.py",
        "            if taken.stored.writer != writer:  # else: ours, whose answer was lost\n                raise\n",
        "            del taken\n",
    ),
    Mutant(
        "re-run on the platform's retry",
        "attempts.py",
        "        except ClaimTakenError as taken:\n",
        "        except ClaimTakenError as taken:\n"
        "            if taken.claim.result is None and taken.claim.owner == owner:\n"
        "                execute(job)\n",
    ),
    Mutant(
        "run whoever claimed the attempt before",
        _CLAIMS,
        "            if stored.owner != _NOBODY or stored.closed is not None:\n                raise ClaimTakenError(stored)\n",
        "",
    ),
    Mutant(
        "report the result before it is written",
        "attempts.py",
        "            self.report(self._claims.close(attempt, owner, encode_result(result), self._clock.now()))\n",
        "            from dataclasses import replace\n"
        "            self.report(replace(claim, result=encode_result(result)))\n"
        "            self._claims.close(attempt, owner, encode_result(result), self._clock.now())\n",
    ),
    Mutant(
        "count instead of set: a slot is released whoever holds it",
        _SLOTS,
        "                holders.pop(execution_id, None)\n",
        "                holders.pop(min(holders, default=execution_id), None)\n",
    ),
    Mutant(
        "count instead of set: who holds a slot takes another",
        _SLOTS,
        "            if execution_id not in holders and limit is not None and len(holders) >= limit:\n",
        "            if limit is not None and len(holders) >= limit:\n",
    ),
    Mutant(
        "leave the queue before the slot's message is sent",
        "concurrency.py",
        "            self._mailbox.send(execution_id, encode_message(SlotGranted(seq)))\n"
        "            self._slots.dequeue(flow, execution_id)\n",
        "            self._slots.dequeue(flow, execution_id)\n"
        "            self._mailbox.send(execution_id, encode_message(SlotGranted(seq)))\n",
    ),
    Mutant(
        "restart under a live lease",
        "executor.py",
        "            overdue = attempt.deadline is None or attempt.deadline <= now\n",
        "            overdue = True\n",
    ),
    Mutant(
        "snapshot over a newer one",
        _JOURNAL,
        "            if execution_id not in self._purged and (stored is None or seq > stored[0]):\n",
        "            if execution_id not in self._purged:\n",
    ),
    Mutant(
        "id without seq",
        "core/fold.py",
        "            id=derived_id(state.id, state.seq, ordinal),\n",
        "            id=derived_id(state.id, ordinal),\n",
    ),
    Mutant(
        "id without cause: a part's execution is another one each time it is started",
        "executor.py",
        "            child_id = item_id(task_run.id, index, items.generation)\n",
        "            child_id = item_id(task_run.id, index, hash(now))\n",
    ),
    Mutant(
        "id without cause: a change starts what listens to it anew each time it is heard of",
        "flow_triggers.py",
        "self.trigger.id, change.execution_id, change.number\n",
        "self.trigger.id, change.execution_id, engine.stores.clock.now().isoformat()\n",
    ),
    Mutant(
        "take a report for whatever attempt is open",
        "core/decide.py",
        "        if task_run is not None and attempt is not None and attempt.number == message.number:\n",
        "        if task_run is not None and attempt is not None:\n",
    ),
    Mutant(
        "lost is failed",
        "core/decide.py",
        "        elif result.state is State.RESUBMITTED:\n            self.attempt_lost(task_run, finder)\n",
        "        elif result.state is State.RESUBMITTED:\n            self.attempt_failed(task_run, error)\n",
    ),
    Mutant(
        "count lost attempts as tries",
        "core/decide.py",
        "    return max(1, sum(attempt.state is not State.RESUBMITTED for attempt in task_run.attempts))\n",
        "    return len(task_run.attempts)\n",
    ),
    Mutant(
        "a loss replaces the result that was there first",
        _CLAIMS,
        "            stored = self._claims.get(attempt, Claim(attempt, _NOBODY, now))\n"
        "            if stored.closed is not None:\n"
        "                return stored\n"
        "            return self._store(replace(stored, result=result, closed=now))\n",
        "            stored = self._claims.get(attempt, Claim(attempt, _NOBODY, now))\n"
        "            return self._store(replace(stored, result=result, closed=now))\n",
    ),
    Mutant(
        "a summary replaces a newer one",
        "adapters/memory/executions.py",
        "            if stored is None or summary.seq > stored.seq:\n",
        "            if stored is None or summary.seq != stored.seq:\n",
    ),
    Mutant(
        "time runs back",
        "executor.py",
        "        begun = at if before.at is None else max(at, before.at)\n",
        "        begun = at\n",
    ),
    Mutant(
        "lose the log lines of an entry whose writer died",
        "known.py",
        "        unkept = tuple(each for each in (*self.unkept, entry) if each.seq > kept and (each.logs or each.metrics))\n",
        "        unkept: tuple[Entry, ...] = ()\n",
    ),
    Mutant(
        "throw dead letters away",
        "invocations.py",
        "            self.advance(execution_id, [message])\n        except NewerFormatError:\n",
        "            pass\n        except NewerFormatError:\n",
    ),
    Mutant(
        "a poke looks at nothing",
        "executor.py",
        "            self._issue(known.state, outstanding(known.state))\n",
        "",
    ),
)


@dataclass(frozen=True)
class Catch:
    """Which seed caught a mutant, and by what."""

    seed: int
    invariant: str


def stale() -> Iterator[str]:
    """Yield the names of mutants whose place in the engine is no longer there, once."""
    for mutant in MUTANTS:
        if (PACKAGE / mutant.file).read_text(encoding="utf-8").count(mutant.old) != 1:
            yield mutant.name


def hunt(mutant: Mutant, seeds: int = SEEDS) -> Catch | None:
    """Run seeds on an engine with the mutant until one catches it; None when none does."""
    with tempfile.TemporaryDirectory(prefix="headrace-mutant-") as folder:
        copy = Path(folder) / "headrace_engine"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / mutant.file
        file.write_text(file.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([folder, str(TESTS)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "simulation.mutants", "--seeds", str(seeds)]
        try:
            ran = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return None
    if ran.returncode != 0:
        raise RuntimeError(f"{mutant.name}: {ran.stderr[-2000:]}")
    found = json.loads(ran.stdout.splitlines()[-1])
    if not found["engine"].startswith(folder):
        raise RuntimeError(f"{mutant.name}: the engine that ran is {found['engine']}")
    return Catch(found["seed"], found["invariant"]) if found["invariant"] else None


def _run_until_caught(seeds: int) -> None:
    import headrace_engine
    from simulation.simulate import be_quiet, simulator

    be_quiet()

    told = {"engine": headrace_engine.__file__, "seed": -1, "invariant": ""}
    for seed in range(seeds):
        report = simulator().run(seed)
        if report.violations:
            told |= {"seed": seed, "invariant": report.violations[0].invariant.name}
            break
    print(json.dumps(told))


def main(arguments: Sequence[str]) -> int:
    """Hunt all mutants, or those whose name has one of the words; 1 when one is missed."""
    if arguments[:1] == ["--seeds"]:
        _run_until_caught(int(arguments[1]))
        return 0
    wanted = [each for each in MUTANTS if not arguments or any(word in each.name for word in arguments)]
    print("| mutant | caught by | after seeds |\n|---|---|---|", flush=True)
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, catch in zip(wanted, pool.map(hunt, wanted), strict=True):
            missed += catch is None
            caught = f"{catch.invariant} | {catch.seed + 1}" if catch is not None else "**missed** | "
            print(f"| {mutant.name} | {caught} |", flush=True)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
