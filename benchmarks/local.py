"""What the local runtime costs: against DBOS, by the size of an execution, and over a script's own start.

    python benchmarks/local.py [--vs dbos] [--scale] [--script] [--repetitions N] [--check] [--json FILE]

Without a choice everything is measured. Each side runs in a process of its own that stays warm, on the same
disk; the sides take turns, once each a round, and medians are compared. DBOS lives in an environment of its own
under .cache/benchmarks, made on first use. With --check the exit code is 1 when a goal of the project is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Self, TextIO, cast

import scale

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "benchmarks"

DBOS = ("dbos==3.4.0", "sqlalchemy==2.1.9")
"""What the comparison is made with. Newer releases may be faster or slower: change it here and measure again."""

TASKS = 40
WIDE_ROUNDS = 3
"""Loops of 10,000 iterations a kind: each takes seconds."""

INLINE_GOAL = 4.0
"""Inline tasks a second, at least this many times DBOS's steps."""
LIGHT_GOAL = 1.0
"""Light tasks a second, at least this many times DBOS's steps."""
SCALE_GOAL = 1.3
"""A task of an execution of 1,000 costs at most this many times one of 100."""
SCRIPT_GOAL = 15.0
"""Milliseconds a python.Script task may cost over starting the interpreter."""


DURABLE_WHEN = """\
  Every commit is flushed before it counts, on both sides. A DBOS step is on disk when it has returned,
  before the next one starts; so is a Headrace light task. Headrace's inline tasks touch nothing outside
  the execution and share a commit: on disk together, before anything outside sees one of them. After a
  crash in between they are computed again, which from outside looks like having waited.
"""


@dataclass
class Report:
    """What was measured and which goals it meets."""

    results: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def goal(self, sentence: str, met: bool) -> None:  # noqa: FBT001 - the second half of the sentence
        """Print whether a goal is met and remember it when not."""
        print(f"  {'met   ' if met else 'MISSED'}  {sentence}")
        if not met:
            self.missed.append(sentence)


class Side:
    """A process that runs one execution for each line it is sent."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.requests = cast("TextIO", self.process.stdin)
        self.answers = cast("TextIO", self.process.stdout)
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.requests.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def run(self, **request: Any) -> float:
        """Have one execution run; return its milliseconds."""
        self.requests.write(json.dumps(request) + "\n")
        self.requests.flush()
        return float(self._answer()["milliseconds"])

    def _answer(self) -> dict[str, Any]:
        line = self.answers.readline()
        if not line:
            sys.exit(f"{self.process.args!r} ended with exit code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Workplace:
    """A folder on the checkout's disk (not /tmp, which may be memory) and the sides that work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Scripts are to start with the interpreter that the bare start is measured with.
        self.environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def _command(self, python: Path, script: str, job: str, *arguments: str) -> list[str]:
        data = Path(tempfile.mkdtemp(dir=self.folder))
        return [str(python), str(HERE / script), job, str(data), *arguments]

    def observe(self, python: Path, script: str, *arguments: str) -> dict[str, Any]:
        """Return what a side says of its own durability."""
        command = self._command(python, script, "observe", *arguments)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=self.environment, check=False)
        if done.returncode:
            sys.exit(f"{script} ended with exit code {done.returncode}")
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts

    def side(self, python: Path, script: str, *arguments: str) -> Side:
        """Start a side that measures."""
        return Side(self._command(python, script, "measure", *arguments), self.environment)

    def headrace(self) -> Side:
        """Start Headrace with the Python that runs this."""
        return self.side(Path(sys.executable), "headrace_side.py")


@contextmanager
def workplace() -> Iterator[Workplace]:
    """Make the folder, and remove it with all that the sides wrote."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    try:
        yield Workplace(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def dbos_python() -> Path:
    """Return the interpreter of the environment with DBOS, after making it when it is not there yet."""
    name = f"{DBOS[0].replace('==', '-')}-py{sys.version_info.major}.{sys.version_info.minor}"
    folder = CACHE / name
    python = folder / "bin" / "python"
    installed = folder / "installed"
    if not installed.exists() or installed.read_text() != " ".join(DBOS):
        print(f"Installing {' '.join(DBOS)} into {folder.relative_to(HERE.parent)}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *DBOS], check=True)
        installed.write_text(" ".join(DBOS))
    return python


def take_turns(measures: dict[str, Callable[[], float]], repetitions: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Call every measure once a round, in an order that turns; return what each gave after the warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    names = list(measures)
    for round_ in range(warm_up + repetitions):
        start = round_ % len(names)
        for name in names[start:] + names[:start]:
            value = measures[name]()
            if round_ >= warm_up:
                taken[name].append(value)
    return taken


def spread(values: list[float]) -> str:
    """Return the middle half of *values* as text."""
    low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return f"{low:.3f} to {high:.3f}"


def machine() -> str:
    """Say where this ran."""
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def against_dbos(place: Workplace, repetitions: int, report: Report) -> None:
    """Compare 40 sequential trivial tasks with 40 steps of a DBOS workflow."""
    python = dbos_python()
    shipped = place.observe(python, "dbos_side.py", "delete")
    wal = place.observe(python, "dbos_side.py", "wal")
    ours = place.observe(Path(sys.executable), "headrace_side.py")
    with ExitStack() as stack:
        dbos_shipped = stack.enter_context(place.side(python, "dbos_side.py", "delete"))
        dbos_wal = stack.enter_context(place.side(python, "dbos_side.py", "wal"))
        headrace = stack.enter_context(place.headrace())
        taken = take_turns(
            {
                "DBOS, as it ships": lambda: dbos_shipped.run(tasks=TASKS) / TASKS,
                "DBOS, with a write-ahead log": lambda: dbos_wal.run(tasks=TASKS) / TASKS,
                "Headrace, inline (Return)": lambda: headrace.run(kind="inline", tasks=TASKS) / TASKS,
                "Headrace, light (kv.Get)": lambda: headrace.run(kind="light", tasks=TASKS) / TASKS,
            },
            repetitions,
        )
    facts = [shipped, wal, {**ours, **ours["inline"]}, {**ours, **ours["light"]}]
    middle = {name: median(values) for name, values in taken.items()}
    first, second, inline, light = middle.values()

    print(f"\n{TASKS} sequential trivial tasks; median of {repetitions} executions a side, taking turns; {machine()}")
    print(
        f"DBOS {shipped['version']}, SQLite {shipped['sqlite']}; Headrace {ours['version']}, SQLite {ours['sqlite']}\n"
    )
    print(f"{'':30}{'ms a task':>10}{'middle half':>18}{'tasks/s':>9}{'x DBOS':>8}{'x DBOS wal':>12}")
    for name, milliseconds in middle.items():
        print(
            f"{name:30}{milliseconds:10.3f}{spread(taken[name]):>18}{1000 / milliseconds:9.0f}"
            f"{first / milliseconds:8.1f}{second / milliseconds:12.1f}"
        )
    print("\nWhat is on disk when (counted in this run, not assumed):")
    for name, fact in zip(middle, facts, strict=True):
        print(
            f"  {name}: journal_mode={fact['journal_mode']}, synchronous={fact['synchronous']};"
            f" {fact['commits_per_task']:g} commits a task and {fact['commits_per_execution']:g} an execution"
        )
    print(DURABLE_WHEN)
    faster = min(first, second)
    report.goal(
        f"inline tasks a second at least {INLINE_GOAL:g} times those of the faster DBOS: {faster / inline:.1f}",
        faster / inline >= INLINE_GOAL,
    )
    report.goal(
        f"light tasks a second at least those of the faster DBOS: {faster / light:.2f} times",
        faster / light >= LIGHT_GOAL,
    )
    report.results["vs dbos"] = {"ms a task": middle, "facts": dict(zip(middle, facts, strict=True))}


def by_size(place: Workplace, repetitions: int, report: Report) -> None:
    """Compare what a task costs in a flow of 1,000 sequential tasks and in one of 100."""
    with place.headrace() as headrace:
        taken = take_turns(
            {
                "100": lambda: headrace.run(kind="inline", tasks=100) / 100,
                "1000": lambda: headrace.run(kind="inline", tasks=1000) / 1000,
            },
            repetitions,
        )
    small, large = median(taken["100"]), median(taken["1000"])
    print(f"\nSequential inline tasks, median of {repetitions} executions a size; {machine()}\n")
    print(f"{'':30}{'ms a task':>10}{'middle half':>18}")
    print(f"{'100 tasks':30}{small:10.3f}{spread(taken['100']):>18}")
    print(f"{'1,000 tasks':30}{large:10.3f}{spread(taken['1000']):>18}\n")
    report.goal(
        f"a task of 1,000 costs at most {SCALE_GOAL:g} times one of 100: {large / small:.2f}",
        large / small <= SCALE_GOAL,
    )
    report.results["scale"] = {"ms a task of 100": small, "ms a task of 1000": large}


def by_width(place: Workplace, report: Report) -> None:
    """Put what is promised about size beside what it comes to."""
    print(f"\nWide loops, waiting executions, many items; {machine()}\n")
    print(f"  {'':8}{'goal':10}{'measured'}\n")

    def show(row: scale.Row) -> None:
        print(f"  {'met' if row.met else 'MISSED':8}{row.what}\n{'':10}{row.goal:10}{row.measured}", flush=True)
        if not row.met:
            report.missed.append(row.what)

    report.results["width"] = scale.measure(place.folder, WIDE_ROUNDS, show)


def script_start(place: Workplace, repetitions: int, report: Report) -> None:
    """Compare a python.Script task with starting the interpreter on the same script."""
    script = place.folder / "script.py"
    script.write_text("pass\n")
    scripts = 10

    def bare() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, str(script)], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return (time.perf_counter() - begun) * 1000

    with place.headrace() as headrace:
        taken = take_turns(
            {
                "bare": lambda: sum(bare() for _ in range(scripts)) / scripts,
                "task": lambda: headrace.run(kind="script", tasks=scripts) / scripts,
            },
            repetitions,
        )
    alone, task = median(taken["bare"]), median(taken["task"])
    print(f"\nA script that does nothing, {scripts} in sequence, median of {repetitions} rounds; {machine()}\n")
    print(f"{'':30}{'ms':>10}{'middle half':>18}")
    print(f"{'the interpreter alone':30}{alone:10.3f}{spread(taken['bare']):>18}")
    print(f"{'a python.Script task':30}{task:10.3f}{spread(taken['task']):>18}\n")
    report.goal(
        f"a script costs at most {SCRIPT_GOAL:g} ms over its start: {task - alone:.1f} ms", task - alone <= SCRIPT_GOAL
    )
    report.results["script"] = {"ms alone": alone, "ms as a task": task}


def main() -> int:
    """Measure what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vs", choices=["dbos"], help="40 sequential tasks against another engine, in one run")
    parser.add_argument("--scale", action="store_true", help="how cost and memory grow with size")
    parser.add_argument("--script", action="store_true", help="a python.Script task against the bare interpreter")
    parser.add_argument("--repetitions", type=int, default=15, metavar="N", help="executions measured a side (15)")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians there")
    options = parser.parse_args()
    everything = not (options.vs or options.scale or options.script)
    report = Report()
    with workplace() as place:
        if options.vs or everything:
            against_dbos(place, options.repetitions, report)
        if options.scale or everything:
            by_size(place, options.repetitions, report)
            by_width(place, report)
        if options.script or everything:
            script_start(place, options.repetitions, report)
    if options.json:
        options.json.write_text(json.dumps(report.results, indent=2) + "\n")
    return 1 if options.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
