"""Runs seeds, shrinks the ones that fail, and sums up what a run has tried."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from headrace_engine.core import commands, messages
from headrace_engine.core.transitions import EXECUTION, TASK_RUN
from headrace_engine.language import Registry
from headrace_engine.testing.simulation.chance import PLAIN, Fault, FaultKind, Profile, profile_of
from headrace_engine.testing.simulation.invariants import Invariant
from headrace_engine.testing.simulation.scenario import Scenario
from headrace_engine.testing.simulation.watch import Move, Violation
from headrace_engine.testing.simulation.world import World

ScenarioOf = Callable[[int], Scenario]


@dataclass
class Report:
    """What came of one seed."""

    seed: int
    scenario: str
    profile: str
    violations: list[Violation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    entries: int = 0
    calls: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    moves: set[Move] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    is_plain: bool = False
    """The run in which nothing strikes is what failed."""
    digest: str = ""
    """Names the whole history, when it was told."""


class Simulator:
    """Runs seeds; what one seed's plain run shows is kept for others of the same scenario."""

    def __init__(self, scenario_of: ScenarioOf, registry: Registry) -> None:
        self._scenario_of = scenario_of
        self._registry = registry
        self._outcomes: dict[str, Counter[str]] = {}

    def run(
        self,
        seed: int,
        *,
        kept: Collection[str] | None = None,
        is_told: bool = False,
        profile: Profile | None = None,
    ) -> Report:
        """Run a seed: once with nothing striking, then with its faults (only those *kept*, when given)."""
        scenario, profile = self._scenario_of(seed), profile or profile_of(seed)
        report = Report(seed, scenario.name, profile.name)
        expected = self._outcomes.get(scenario.name)
        if expected is None:
            plain = self._play(report, World(scenario, seed, PLAIN, self._registry, is_told=is_told))
            if report.violations:
                report.is_plain = True
                return report
            report.lines.clear()
            expected = plain.watch.outcome()
            if not scenario.name.startswith("generated"):
                self._outcomes[scenario.name] = expected
        world = self._play(report, World(scenario, seed, profile, self._registry, kept=kept, is_told=is_told))
        report.faults = world.chance.struck
        compares = scenario.compares and not world.watch.has_given_up
        if not report.violations and compares and (came := world.watch.outcome()) != expected:
            told = _difference(expected, came)
            report.violations.append(Violation(Invariant.SAME_OUTCOME, told))
            report.lines += told.splitlines()
        if is_told:
            report.digest = hashlib.blake2b("\n".join(report.lines).encode(), digest_size=8).hexdigest()
        return report

    def _play(self, report: Report, world: World) -> World:
        world.run()
        report.violations = world.watch.violations
        report.entries += world.watch.entries
        report.calls += world.calls
        report.kinds += world.watch.kinds + world.counts
        report.moves |= world.watch.moves
        report.lines = world.lines
        return world

    def shrunk(self, report: Report) -> list[str]:
        """Return the ids of a few faults with which the seed still fails in the same way; one less and it does not."""
        if report.is_plain:
            return []
        invariant = report.violations[0].invariant

        def fails(kept: Collection[str]) -> bool:
            again = self.run(report.seed, kept=frozenset(kept))
            return any(violation.invariant is invariant for violation in again.violations)

        return thinned([fault.id for fault in report.faults], fails)


def thinned(found: list[str], fails: Callable[[Collection[str]], bool]) -> list[str]:
    """Return a part of *found* that still fails, of which nothing can be left out: halves first, then one by one."""
    kept = list(dict.fromkeys(found))
    if not fails(kept):
        return kept
    size = max(1, len(kept) // 2)
    while True:
        at, has_shrunk = 0, False
        while at < len(kept):
            without = kept[:at] + kept[at + size :]
            if fails(without):
                kept, has_shrunk = without, True
            else:
                at += size
        if size == 1 and not has_shrunk:
            return kept
        size = max(1, size // 2)


def _difference(expected: Counter[str], came: Counter[str]) -> str:
    missing, more = sorted((expected - came).elements()), sorted((came - expected).elements())
    lines = []
    for left, right in zip(missing, more, strict=False):
        before, after = left.splitlines(), right.splitlines()
        lines += [f"- {line}" for line in before if line not in after]
        lines += [f"+ {line}" for line in after if line not in before]
        lines += [f"  (as often: {len(before)} lines, {len(after)} now)"] if len(before) != len(after) else []
    lines += [f"- {text}" for text in missing[len(more) :]]
    lines += [f"+ {text}" for text in more[len(missing) :]]
    return "\n".join(lines) or "(the same lines, another number of times)"


# -- What a run has tried ---------------------------------------------------------------------------


@dataclass
class Summary:
    """What many seeds have tried."""

    seeds: int = 0
    entries: int = 0
    calls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    moves: Counter[Move] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Count a seed in."""
        self.seeds += 1
        self.entries += report.entries
        self.calls += report.calls
        self.faults.update(fault.kind.name for fault in report.faults)
        self.kinds.update(report.kinds)
        self.moves.update(report.moves)
        if report.violations:
            self.failed.append((report.seed, str(report.violations[0])))

    def merge(self, other: Summary) -> None:
        """Count another summary in."""
        self.seeds += other.seeds
        self.entries += other.entries
        self.calls += other.calls
        self.faults.update(other.faults)
        self.kinds.update(other.kinds)
        self.moves.update(other.moves)
        self.failed += other.failed

    def seen(self) -> set[str]:
        """Return the names of the moves, commands, messages and faults that came up."""
        faults = {f"fault {name}" for name, count in self.faults.items() if count}
        return set(map(named, self.moves)) | {name for name, count in self.kinds.items() if count} | faults

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield the summary as text."""
        yield f"{self.seeds} seeds, {self.entries} entries, {self.calls} port calls, {self.seeds / seconds:.1f} seeds/s"
        yield "faults: " + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        for kind in ("command", "message", "invocation", "operation"):
            found = {name.partition(" ")[2]: count for name, count in self.kinds.items() if name.startswith(f"{kind} ")}
            yield f"{kind}s: " + ", ".join(f"{name} {count}" for name, count in sorted(found.items()))
        moves, seen = {named(row) for row in rows()}, self.seen()
        yield f"transitions: {len(moves & seen)} of {len(moves)} rows taken"
        for name in sorted(wanted() - seen):
            yield f"  never: {name}"
        yield f"{len(self.failed)} seeds failed"


def rows() -> Iterable[Move]:
    """Yield every row of the transition tables."""
    for what, table in (("execution", EXECUTION), ("task run", TASK_RUN)):
        for source, targets in table.items():
            for target in targets:
                yield what, source, target


def named(move: Move) -> str:
    """Return a move as text."""
    what, source, target = move
    return f"{what} {source} -> {target}"


def wanted() -> set[str]:
    """Return the names of all that many seeds must see: every row of the tables, command, message and fault."""
    names = {named(row) for row in rows()}
    names |= {f"command {kind.__name__}" for kind in commands.Command.__args__}
    names |= {f"message {kind.__name__}" for kind in messages.Message.__args__}
    return names | {f"fault {kind.name}" for kind in FaultKind}
