"""``headrace doctor``: compares the triggers of a server's flows with what exists outside for them."""

from __future__ import annotations

from typing import Any

import click

from headrace_cli.api_client import print_json
from headrace_cli.output import standard_output
from headrace_cli.remote.client import Remote, of_server
from headrace_cli.remote.plan import PlanCommand
from headrace_cli.remote.tables import cell, print_table
from headrace_cli.user import OUTPUT

_DRIFT = 2


@click.command("doctor", cls=PlanCommand)
@click.option("--repair", is_flag=True, help="Put right what can be.")
@of_server
@OUTPUT
@click.pass_context
def command(context: click.Context, *, remote: Remote, repair: bool, output: str) -> None:
    """Compare the triggers of a server's flows with what exists outside for them: records, alarms, rules, buckets.

    Schedules and polling triggers must be looked at when they are due, and have an alarm for that; on AWS, triggers
    of events have rules, and buckets send their events. What is not so is printed, and with --repair put right; what
    cannot be put right from here says what somebody must do. Nothing of a flow is changed.

    \b
    Exit codes:
      0  all is as it should be, or was put right
      1  that could not be told: the server did not answer
      2  something is not as it should be

    \b
    Example:
      headrace doctor --repair
    """
    found = remote.ask("POST", "/doctor/repair") if repair else remote.ask("GET", "/doctor")
    if output == "json":
        print_json(found)
    elif not found["results"]:
        standard_output().write_text("All triggers have what they need.\n")
    else:
        rows = [_row(each) for each in found["results"]]
        print_table(("WHAT", "TRIGGER", "PROBLEM", ""), rows)
    if found["left"]:
        context.exit(_DRIFT)


def _row(finding: dict[str, Any]) -> tuple[Any, ...]:
    name = ".".join(filter(None, (finding["namespace"], finding["flowId"], finding["triggerId"])))
    what_can_be_done = "--repair" if finding["canRepair"] else "by hand"
    done = "repaired" if finding["repaired"] else what_can_be_done
    return cell(finding["part"].lower()), cell(name), cell(finding["problem"]), cell(done)
