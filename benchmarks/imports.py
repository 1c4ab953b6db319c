"""What a cold start imports: CPU time of the functions and of the command line, and which modules it goes to.

    python benchmarks/imports.py [--runs N] [--modules N] [--check]

Each line is the least CPU time (user and system, the interpreter's own included) of several new processes, so that
what else the machine does counts little. Bytecode is compiled first, as an installed package has it. A function's
process ends without taking down what it has imported, which on Lambda never happens. With --check the exit status is 1
when importing the executor takes longer than BOUND.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

BOUND = 0.400
"""Seconds, on two cores at about 3 GHz that have little else to do."""
CHECKOUT = Path(__file__).resolve().parents[1]
HELLO = CHECKOUT / "examples" / "hello.yaml"

EXECUTOR = "import headrace_functions.executor"
_END = "\nimport os; os._exit(0)"
_FIRST_FLOW = f"""{EXECUTOR}
from headrace_engine.language import Registry, parse_flow
for task in parse_flow(open({str(HELLO)!r}).read(), registry=Registry.load()).tasks:
    Registry.load().task(task.type)
"""
_COMMAND = "from headrace_cli.main import main; main()"
PROCESSES: Mapping[str, Sequence[str]] = {
    "an interpreter that does nothing": ["pass"],
    EXECUTOR: [EXECUTOR + _END],
    "... and the first flow, compiled": [_FIRST_FLOW + _END],
    **{
        module: [module + _END]
        for module in (f"import headrace_functions.{name}" for name in ("worker", "triggers", "api", "script"))
    },
    "import boto3, five clients": [
        "import boto3\n"
        "for service in ('dynamodb', 's3', 'sqs', 'lambda', 'kms'):\n"
        "    boto3.client(service, region_name='eu-west-1')" + _END
    ],
    "headrace --version": [_COMMAND, "--version"],
    "headrace validate examples/hello.yaml": [_COMMAND, "validate", str(HELLO)],
    "all task types": ["from headrace_engine.language import Registry; Registry.load().tasks()"],
}
_IMPORT = re.compile(r"import time: +(\d+) \| +\d+ \| *(\S+)")


def cpu_time(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return the CPU seconds of a new interpreter that runs a program with its arguments."""
    process = subprocess.Popen([sys.executable, "-c", *arguments], env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{list(arguments)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def by_module(environment: Mapping[str, str]) -> dict[str, int]:
    """Return the microseconds that each module takes for itself while the executor function is imported."""
    command = [sys.executable, "-X", "importtime", "-c", EXECUTOR]
    told = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=True).stderr
    return {found[2]: int(found[1]) for found in map(_IMPORT.match, told.splitlines()) if found}


def group(module: str) -> str:
    """Return what *module* is counted to: a part of ours, or a library."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0].startswith("headrace_") else parts[0]


def environment_with(bytecode: str) -> dict[str, str]:
    """Return this process's environment, but that bytecode is kept, in a folder of its own."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, "PYTHONPYCACHEPREFIX": bytecode}


def main() -> None:
    """Measure and print; with --check, compare with the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="processes of each kind")
    parser.add_argument("--modules", type=int, default=20, help="how many groups of modules to print")
    parser.add_argument("--check", action="store_true", help="fail when the executor takes longer than the bound")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as bytecode:
        environment = environment_with(bytecode)
        for arguments in PROCESSES.values():
            cpu_time(arguments, environment)  # compiles
        least: dict[str, float] = {}
        for _ in range(options.runs):  # in turn: a busy moment does not decide between the lines
            for name, arguments in PROCESSES.items():
                least[name] = min(least.get(name, float("inf")), cpu_time(arguments, environment))
        modules: dict[str, int] = {}
        for _ in range(options.runs):
            for name, taken in by_module(environment).items():
                modules[name] = min(modules.get(name, taken), taken)
    width = max(map(len, PROCESSES))
    print(f"{'CPU time of a process':<{width}}      ms")
    for name, seconds in least.items():
        print(f"{name:<{width}}  {seconds * 1000:6.0f}")
    groups: defaultdict[str, int] = defaultdict(int)
    for name, taken in modules.items():
        groups[group(name)] += taken
    print(f"\n{f'of the executor, {len(modules)} modules by group':<{width}}      ms")
    largest = sorted(groups.items(), key=lambda item: -item[1])
    for name, taken in largest[: options.modules]:
        print(f"{name:<{width}}  {taken / 1000:6.1f}")
    print(f"{'all others':<{width}}  {sum(taken for _, taken in largest[options.modules :]) / 1000:6.1f}")
    taken_by_executor = least[EXECUTOR]
    if options.check and taken_by_executor > BOUND:
        raise SystemExit(f"The executor takes {taken_by_executor * 1000:.0f} ms, more than {BOUND * 1000:.0f} ms")


if __name__ == "__main__":
    main()
