"""The tables of runners.md that the code knows: the page is written by hand, and these parts of it are kept current."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from page_parts import code, table

from headrace_engine.language import Registry
from headrace_runners.containers.properties import MEMORY_BY_CPU
from headrace_runners.placing import ON_LAMBDA, Size, Sketch, Stack, place
from headrace_tasks.script_base import ScriptTask

PAGE = Path(__file__).resolve().with_name("runners.md")
PRICES = Path(__file__).resolve().parents[1] / "benchmarks" / "aws_prices.toml"
_PART = re.compile(r"(?P<begin><!-- made: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- until here -->)", re.DOTALL)
_WHERE = {"lambda": "Lambda", "fargate": "Fargate", "batch": "AWS Batch"}
_PROCESS = "io.kestra.plugin.core.runner.Process"
_DOCKER = "io.kestra.plugin.scripts.runner.docker.Docker"
_LAMBDA = "io.headrace.runner.lambda.Lambda"
_FARGATE = "io.headrace.runner.ecs.Fargate"
_BATCH = "io.kestra.plugin.ee.aws.runner.Batch"


def page() -> str:
    """Return the page with its made parts as they are to be."""
    return _PART.sub(
        lambda found: f"{found['begin']}{PARTS[found['name']]()}{found['end']}", PAGE.read_text(encoding="utf-8")
    )


def _languages() -> str:
    rows = []
    for name, image in sorted(_families()):
        on_aws = _WHERE[place(Sketch(f"{name}.Script", "any", {}), Stack(containers=True)).where]
        rows.append((code(name), code(image), "a process", on_aws))
    return table(("type, with `.Script` or `.Commands`", "default image", "without an image, here", "on AWS"), rows)


def _families() -> Iterator[tuple[str, str]]:
    for task in Registry.load().tasks():
        family, _, form = task.TYPE.rpartition(".")
        if issubclass(task, ScriptTask) and form == "Script":
            yield family, task.default_image()


def _places() -> str:
    shell, ruby = "io.kestra.plugin.scripts.shell.Commands", "io.kestra.plugin.scripts.ruby.Commands"
    asked: list[tuple[str, str, str, Mapping[str, object]]] = [
        ("nothing", "a process", shell, {}),
        ("another language than " + ", ".join(sorted(ON_LAMBDA)), "a process", ruby, {}),
        ("`containerImage`", "Docker", shell, {"containerImage": "alpine"}),
        ("`docker:` with an image (deprecated)", "Docker", shell, {"docker": {"image": "alpine"}}),
        ("`runner: DOCKER` (deprecated)", "Docker", shell, {"runner": "DOCKER"}),
        (code(_PROCESS), "a process", shell, {"taskRunner": {"type": _PROCESS}}),
        (code(_DOCKER), "Docker", shell, {"taskRunner": {"type": _DOCKER}}),
        (code(_LAMBDA), "a process", shell, {"taskRunner": {"type": _LAMBDA}}),
        (code(_FARGATE), "refused", shell, {"taskRunner": {"type": _FARGATE}}),
        (code(_BATCH), "refused", shell, {"taskRunner": {"type": _BATCH}}),
    ]
    rows = [
        (what, here, _WHERE[place(Sketch(kind, "any", properties), Stack(containers=True)).where])
        for what, here, kind, properties in asked
    ]
    return table(("the task names", "on a machine of your own", "on AWS"), rows)


def _limits() -> str:
    stack, cpus = Stack(), max(MEMORY_BY_CPU) // 1024
    minutes, seconds = divmod(int(stack.longest.total_seconds()), 60)
    of_fargate = f"{max(MEMORY_BY_CPU[cpus * 1024]) // 1024} GB, with {cpus} CPUs"
    rows = [
        (
            "runs",
            "what is installed here",
            "any image",
            "Python, shell, Node.js",
            "any image",
            "any image; GPUs on EC2",
        ),
        ("longest run", "no limit", "no limit", f"{minutes} minutes {seconds} seconds", "no limit", "no limit"),
        (
            "most memory",
            "the machine's",
            "the machine's",
            f"{stack.memory[Size.LARGE]:,} MB",
            of_fargate,
            f"{of_fargate}; on EC2 the machine's",
        ),
        (
            "disk",
            "the machine's",
            "the machine's",
            f"{stack.disk:,} MB",
            "20 to 200 GiB",
            "20 to 200 GiB; on EC2 the machine's",
        ),
        ("an idle hour costs", *("nothing",) * 5),
    ]
    return table(("", "Process", "Docker", "Lambda", "Fargate", "AWS Batch"), rows)


def _prices() -> str:
    prices = tomllib.loads(PRICES.read_text(encoding="utf-8"))
    rows = []
    for size, megabytes in Stack().memory.items():
        hour = megabytes / 1024 * prices["gb_second"]["lambda"] * 3600
        rows.append((f"Lambda, {code(size.value)}: {megabytes:,} MB", hour, 0))
    of_hour = prices["container_hour"]
    for where, cpu, gigabytes in (("Fargate", 0.25, 0.5), ("Fargate, Batch", 1, 2), ("Fargate, Batch", 4, 8)):
        hour = cpu * of_hour["cpu"] + gigabytes * of_hour["gigabyte"] + of_hour["address"]
        rows.append((f"{where}: {cpu:g} CPU, {gigabytes:g} GB", hour, 60))
    return table(
        ("", "an hour", "a run of 10 seconds", "a run of 10 minutes"),
        [
            (what, f"${hour:.3f}", f"${hour * max(10, least) / 3600:.5f}", f"${hour / 6:.4f}")
            for what, hour, least in rows
        ],
    )


PARTS: Mapping[str, Callable[[], str]] = {
    "places": _places,
    "languages": _languages,
    "limits": _limits,
    "prices": _prices,
}
"""The parts that are made, by their names in the page."""
