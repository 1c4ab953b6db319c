"""What an execution asks of AWS, counted request by request, beside its budget, and what that costs.

    python benchmarks/aws_requests.py              # the table, all but the widest loop
    python benchmarks/aws_requests.py --wide       # with the loop over 1,000 values
    python benchmarks/aws_requests.py --check      # exit 1 where a budget is exceeded
    python benchmarks/aws_requests.py --wide --write   # docs/costs.md

The real functions run on an emulated AWS; a hook of botocore counts what they send, and computes DynamoDB's units from
the items as they stand before and after each write, indexes included. What a queue's event source mapping asks is
counted, too. Processes are warm: the flow ran once before. A task run leaves one log line and outputs of 20 bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "CRITICAL")

from aws_at_rest import at_rest

from headrace_engine.language import Registry
from headrace_engine.model.definition import Kind
from headrace_engine.plugin import RunContext, RunnableTask, TaskOutputs
from headrace_engine.testing.requests import Requests
from headrace_functions.testing.aws import Clients, observer
from headrace_functions.testing.cloud import Cloud

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "costs.md"
SEQUENCE = 40
SCRIPTS_IN_SEQUENCE = 4
FAN_OUT_GOAL = 1.3
"""A task run of the wide loop costs at most this many times one of the loop over 50."""

_SERVICES = ("dynamodb", "s3", "sqs", "lambda", "events", "scheduler", "secretsmanager", "ssm", "kms")
_OTHERS = {
    ("Scheduler", "CreateSchedule"): "scheduler_invocations",
    ("S3", "PutObject"): "s3_put",
    ("S3", "GetObject"): "s3_get",
    ("Secrets Manager", "GetSecretValue"): "secretsmanager",
    ("KMS", "Encrypt"): "kms",
    ("KMS", "Decrypt"): "kms",
    ("KMS", "GenerateDataKey"): "kms",
}


class _Bench(RunnableTask):
    class Outputs(TaskOutputs):
        value: str

    def run(self, context: RunContext) -> Outputs:
        """Leave one line and twenty bytes."""
        context.log.info("One line")
        return self.Outputs(value="x" * 20)


class Light(_Bench):
    """A light task that does nothing outside.

    id: light
    type: bench.Light
    """

    TYPE: ClassVar[str] = "bench.Light"
    KIND: ClassVar[Kind] = Kind.LIGHT


class Dispatched(_Bench):
    """A dispatched task that does nothing.

    id: dispatched
    type: bench.Dispatched
    """

    TYPE: ClassVar[str] = "bench.Dispatched"
    KIND: ClassVar[Kind] = Kind.DISPATCHED


@dataclass(frozen=True)
class Use:
    """What was asked of AWS, as it is billed."""

    write_units: float
    read_units: float
    fifo: float
    standard: float
    invocations: float
    gb_seconds: float
    others: Mapping[str, float]

    @property
    def sqs(self) -> float:
        """Requests to queues."""
        return self.fifo + self.standard

    def __sub__(self, other: Use) -> Use:
        return self._with(other, -1)

    def _with(self, other: Use, sign: int) -> Use:
        keys = self.others.keys() | other.others.keys()
        return Use(
            self.write_units + sign * other.write_units,
            self.read_units + sign * other.read_units,
            self.fifo + sign * other.fifo,
            self.standard + sign * other.standard,
            self.invocations + sign * other.invocations,
            self.gb_seconds + sign * other.gb_seconds,
            {key: self.others.get(key, 0) + sign * other.others.get(key, 0) for key in keys},
        )

    def over(self, count: int) -> Use:
        """Return the share of one of *count*."""
        return Use(
            self.write_units / count,
            self.read_units / count,
            self.fifo / count,
            self.standard / count,
            self.invocations / count,
            self.gb_seconds / count,
            {key: value / count for key, value in self.others.items()},
        )

    def dollars(self, prices: Mapping[str, Any]) -> float:
        """Return what a million of it costs."""
        million = prices["million"]
        return (
            self.write_units * million["dynamodb_write_units"]
            + self.read_units * million["dynamodb_read_units"]
            + self.fifo * million["sqs_fifo_requests"]
            + self.standard * million["sqs_standard_requests"]
            + self.invocations * million["lambda_invocations"]
            + self.gb_seconds * prices["gb_second"]["lambda"] * 1_000_000
            + sum(value * million[name] for name, value in self.others.items())
        )


class Meter:
    """Runs flows on a stack of its own, and says what an execution asked for."""

    def __init__(self, prices: Mapping[str, Any]) -> None:
        self._prices = prices
        self._registry = Registry.load().extended([Light, Dispatched])

    def measure(self, tasks: str, *, containers: bool = False) -> Use:
        """Return what one execution of a flow of these tasks asks for, in processes that have run it before.

        containers: the stack has some.
        """
        clients = Clients()
        requests = Requests(reader=observer("dynamodb"))
        for service in _SERVICES:
            requests.watch(clients(service))
        fleet = {} if containers else None
        with Cloud(registry=self._registry, clients=clients, side_by_side=True, containers=fleet) as cloud:
            cloud.save_flow(f"id: bench\nnamespace: bench\n{tasks}")
            # Right after a change listeners read all flows again and again; this is about any other time.
            cloud.clock.set(cloud.clock.now() + timedelta(hours=1))
            self._end(cloud, self._execute(cloud))
            before, called = requests.usage, Counter(cloud.invocations)
            asked, fifo, standard = Counter(cloud.asked), cloud.mailbox.requests, cloud.delays.requests
            delayed, events = cloud.delays.sent, cloud.published
            execution_id = self._execute(cloud)
            used = requests.usage - before
            self._end(cloud, execution_id)  # not counted: nobody need look
            sent = used.of("SQS").requests
            delays = cloud.delays.sent - delayed
            invocations = cloud.invocations - called
            seconds = self._gb_seconds(invocations, cloud.asked - asked)
            others = Counter({"eventbridge_events": cloud.published - events})
            others["api_requests"] += invocations["api"]
            for key, name in _OTHERS.items():
                others[name] += used.of(*key).requests
            table = used.of("DynamoDB")
            return Use(
                table.write_units,
                table.read_units,
                sent - delays + cloud.mailbox.requests - fifo,
                delays + cloud.delays.requests - standard,
                sum(invocations.values()),
                seconds,
                dict(+others),
            )

    def _execute(self, cloud: Cloud) -> str:
        execution_id = cloud.create("bench", "bench")
        cloud.settle()
        return execution_id

    def _end(self, cloud: Cloud, execution_id: str) -> None:
        state = cloud.outcome(execution_id).state
        if state != "SUCCESS":
            raise SystemExit(f"The flow ended {state}")

    def _gb_seconds(self, invocations: Mapping[str, int], asked: Mapping[str, int]) -> float:
        duration, memory = self._prices["duration"], self._prices["memory_gigabytes"]
        return sum(
            memory[function]
            * (count * duration["milliseconds_fixed"] + asked.get(function, 0) * duration["milliseconds_a_request"])
            / 1000
            for function, count in invocations.items()
        )


# -- The table --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Budget:
    """The ceilings of a path."""

    write_units: float
    read_units: float
    sqs: float
    invocations: float
    dollars: float


BUDGETS = {
    "inline": Budget(0.35, 0.1, 0.1, 0.05, 0.40),
    "light": Budget(1.5, 0.2, 0.1, 0.05, 1.20),
    "dispatched": Budget(4, 2, 3, 2, 5.50),
    "fan-out": Budget(3.3, 0.5, 1.5, 1.2, 3.80),
    "execution": Budget(10, 3, 3, 1, 9),
    "Lambda": Budget(4, 3, 3, 3, 8),
    "Fargate": Budget(4, 6, 3, 5, 11),
    "AWS Batch": Budget(4, 6, 3, 5, 11),
}


@dataclass(frozen=True)
class Row:
    """What one task run, or execution, asked for, beside its budget."""

    name: str
    use: Use
    budget: Budget | None
    """None: shown, and held to nothing."""
    states: float = 0
    """State transitions of the same flow in Step Functions."""
    tasks: int = 1
    """Task runs of one execution: what an Express workflow's request is shared by."""

    def misses(self, prices: Mapping[str, Any]) -> list[str]:
        """Return where it is above its budget."""
        if self.budget is None:
            return []
        compared = (
            ("write units", self.use.write_units, self.budget.write_units),
            ("read units", self.use.read_units, self.budget.read_units),
            ("SQS requests", self.use.sqs, self.budget.sqs),
            ("invocations", self.use.invocations, self.budget.invocations),
            ("dollars", self.use.dollars(prices), self.budget.dollars),
        )
        return [
            f"{self.name}: {used:.2f} {what} where {ceiling:g} are allowed"
            for what, used, ceiling in compared
            if round(used, 2) > ceiling
        ]


def sequence(task: str, count: int) -> str:
    """Return a flow's tasks: *count* of them, one after the other."""
    return "tasks:\n" + "".join(f"  - {{id: t{number}, {task}}}\n" for number in range(count))


def loop(values: int) -> str:
    """Return a flow's tasks: a loop that dispatches all its values at once."""
    return (
        "tasks:\n  - id: each\n    type: io.kestra.plugin.core.flow.ForEach\n"
        f'    values: "{{{{ range(1, {values}) }}}}"\n    concurrencyLimit: 0\n'
        "    tasks: [{id: task, type: bench.Dispatched}]\n"
    )


LOG = "type: io.kestra.plugin.core.log.Log, message: One line"
SCRIPTS = {
    "Lambda": "",
    "Fargate": ", containerImage: alpine, taskRunner: {type: io.headrace.runner.ecs.Fargate}",
    "AWS Batch": ", containerImage: alpine, taskRunner: {type: io.kestra.plugin.ee.aws.runner.Batch}",
}
"""What a script says to run there."""


def script(place: str) -> str:
    """Return a script that runs there: one line, and twenty bytes of outputs."""
    commands = ["echo One line", 'echo \'::{"outputs": {"value": "xxxxxxxxxxxxxxxxxxxx"}}::\'']
    return f"type: io.kestra.plugin.scripts.shell.Commands, commands: {json.dumps(commands)}{SCRIPTS[place]}"


def further(meter: Meter, fewer: str, more: str, count: int, *, containers: bool = False) -> Use:
    """Return what each of the *count* task runs asks for that one flow has and the other has not."""
    return (meter.measure(more, containers=containers) - meter.measure(fewer, containers=containers)).over(count)


def rows(prices: Mapping[str, Any], *, wide: bool) -> list[Row]:
    """Measure all paths; *wide*: the loop over 1,000 values, too."""
    meter = Meter(prices)
    one = meter.measure(sequence(LOG, 1))
    found = []
    for name, task, budget in (
        ("inline, 40 in sequence", LOG, "inline"),
        ("light, 40 in sequence", "type: bench.Light", "light"),
        ("dispatched, 40 in sequence", "type: bench.Dispatched", "dispatched"),
    ):
        each = further(meter, sequence(task, 1), sequence(task, SEQUENCE), SEQUENCE - 1)
        found.append(Row(name, each, BUDGETS[budget], 1, SEQUENCE))
    for values in (50, 1000) if wide else (50,):
        each = further(meter, loop(1), loop(values), values - 1)
        budget = BUDGETS["fan-out"] if values >= 1000 else BUDGETS["dispatched"]
        found.append(Row(f"dispatched, ForEach of {values:,}", each, budget, 2, values))
    for place in SCRIPTS:
        task = script(place)
        each = further(
            meter, sequence(task, 1), sequence(task, SCRIPTS_IN_SEQUENCE), SCRIPTS_IN_SEQUENCE - 1, containers=True
        )
        found.append(Row(f"a script on {place}, in sequence", each, BUDGETS[place], 1, SCRIPTS_IN_SEQUENCE))
    dispatched = meter.measure(sequence("type: bench.Dispatched", 1)) - found[2].use
    return [
        *found,
        Row("an execution, fixed", one, BUDGETS["execution"], 2),
        Row("the same, of dispatched tasks", dispatched, None, 2),
    ]


def standard(row: Row, prices: Mapping[str, Any]) -> float:
    """Return what a million of the same costs in a Standard workflow, without the functions it calls."""
    return row.states * float(prices["million"]["step_functions_transitions"])


def express(row: Row, prices: Mapping[str, Any]) -> float:
    """Return what a million of the same costs in an Express workflow, without the functions it calls."""
    million, duration = prices["million"], prices["duration"]
    seconds = duration["step_functions_express_milliseconds_a_task"] / 1000
    held = seconds * duration["step_functions_express_gigabytes"] * prices["gb_second"]["step_functions_express"]
    return float(million["step_functions_express_requests"] / row.tasks + held * 1_000_000)


def table(found: list[Row], prices: Mapping[str, Any]) -> str:
    """Return the rows as Markdown: used, and in brackets what is allowed."""
    lines = [
        "| path | write units | read units | SQS requests | Lambda | $ per million | Standard | Express |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        use, budget = row.use, row.budget
        used = (use.write_units, use.read_units, use.sqs, use.invocations, use.dollars(prices))
        cells = [f"{each:.2f}" for each in used]
        if budget is not None:
            allowed = (budget.write_units, budget.read_units, budget.sqs, budget.invocations, budget.dollars)
            cells = [f"{each} ({ceiling:g})" for each, ceiling in zip(cells, allowed, strict=True)]
        theirs = [f"{standard(row, prices):.2f}", f"{express(row, prices):.2f}"]
        lines.append("| " + " | ".join([row.name, *cells, *theirs]) + " |")
    return "\n".join(lines)


def container_minute(prices: Mapping[str, Any], cpus: float, gigabytes: float) -> float:
    """Return the dollars of a million minutes of a Fargate task."""
    hour = prices["container_hour"]
    return float((cpus * hour["cpu"] + gigabytes * hour["gigabyte"] + hour["address"]) / 60 * 1_000_000)


def failures(found: list[Row], prices: Mapping[str, Any]) -> list[str]:
    """Return every budget that is exceeded, and the goal of the wide loop if it is missed."""
    missed = [miss for row in found for miss in row.misses(prices)]
    loops = [row.use.dollars(prices) for row in found if "ForEach" in row.name]
    if len(loops) > 1 and loops[1] > FAN_OUT_GOAL * loops[0]:
        missed.append(f"ForEach of 1,000: {loops[1] / loops[0]:.2f} times the loop over 50, {FAN_OUT_GOAL} are allowed")
    return missed


def page(found: list[Row], prices: Mapping[str, Any]) -> str:
    """Return docs/costs.md."""
    duration = prices["duration"]
    missed = failures(found, prices)
    verdict = (
        "Every budget is kept."
        if not missed
        else "Above their budgets today:\n\n" + "\n".join(f"- {miss}" for miss in missed)
    )
    return f"""# What it costs on AWS

Counted, not guessed: `make costs` runs the Lambda functions on an emulated AWS, counts every request they make, and
writes this page. Each cell is what one task run asks for, and in brackets what it may; dollars are for a million task
runs (last two rows: executions), at the on-demand prices of {prices["date"]} in `benchmarks/aws_prices.toml`. The last
two columns are Step Functions' for the same flow.

{table(found, prices)}

{verdict}

- A task run leaves one log line and 20 bytes of outputs. The fixed cost is that of an execution of one inline task; the
  rows above it are what each further task run adds. An execution whose tasks are dispatched tells that it runs before
  it tells that it ended, which the last row has and the budget has not. Processes are warm, and no flow has a Flow
  trigger: with one in the stack, each change of state is an invocation of `triggers` and a read unit more.
- Write units include indexes and refused conditions; SQS requests include what Lambda's pollers ask for. What an idle
  poller asks for is part of what the stack costs at rest.
- Dollars add Lambda's time, which an emulator cannot measure: {duration["milliseconds_fixed"]} ms for an invocation and
  {duration["milliseconds_a_request"]} ms for each request it makes, at the functions' memory. The work of a task itself
  is not in it. Step Functions' columns do not count the functions that a workflow calls.
- A script's rows are those of a shell script that writes a line and an output, on the function for scripts and in a
  container; its requests to the API are counted. A container's own time comes on top, a minute of it at least:
  {container_minute(prices, 0.25, 0.5):,.0f} dollars per million minutes of the smallest Fargate task (0.25 CPU, 512 MB,
  ARM, with its public address), {container_minute(prices, 1, 2):,.0f} of the smallest job of Batch on Fargate (1 CPU,
  2 GB).
- Step Functions Standard bills state transitions: one for a task in a sequence, two for one in a Map. Express bills
  requests and, here, {duration["step_functions_express_milliseconds_a_task"]} ms of 64 MB a task; it ends after five
  minutes, runs steps more than once, and keeps no history but its logs.

## At rest

What a month costs in which nothing happens, of a stack that chooses nothing (us-east-1):

{at_rest(prices)}

Free for every account, each month, are a million requests to queues, a million invocations and 400,000 GB-seconds of
functions, ten alarms and three dashboards; where other things use that up, the first column counts. The network, the
cluster and the queues for containers cost nothing, nor do tables, buckets, rules, schedules and the API; data does
([What it costs](aws.md#what-it-costs)). `-c headrace:dashboard=false` leaves out the dashboard, and with a key of yours
there is none to pay here.
"""


def main() -> int:
    """Print the table; see the module."""
    parser = argparse.ArgumentParser(description="Requests to AWS by task run, beside their budget")
    parser.add_argument("--wide", action="store_true", help="with the loop over 1,000 values: minutes")
    parser.add_argument("--check", action="store_true", help="exit 1 when a budget is exceeded")
    parser.add_argument("--write", action="store_true", help="write docs/costs.md")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    prices = tomllib.loads((HERE / "aws_prices.toml").read_text(encoding="utf-8"))
    found = rows(prices, wide=options.wide)
    print(table(found, prices))
    missed = failures(found, prices)
    print("\n".join(missed), file=sys.stderr)
    if options.write:
        PAGE.write_text(page(found, prices), encoding="utf-8")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
