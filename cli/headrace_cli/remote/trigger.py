"""``headrace trigger``: the triggers of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from headrace_cli import inputs
from headrace_cli.api_client import print_json, segment
from headrace_cli.output import standard_output
from headrace_cli.remote.client import Remote, of_server
from headrace_cli.remote.names import FLOW, FlowName, nearest_flow
from headrace_cli.remote.tables import cell, print_table, tell, tell_of_more
from headrace_cli.user import OUTPUT


def _of_trigger(command: Callable[..., None]) -> Callable[..., None]:
    command = click.argument("trigger", metavar="TRIGGER")(command)
    return click.argument("flow", metavar="NAMESPACE.FLOW", type=FLOW)(command)


def _ask(remote: Remote, flow: FlowName, trigger: str, verb: str) -> None:
    with nearest_flow(remote, flow):
        remote.ask("POST", f"/triggers/{flow.path}/{segment(trigger)}/{verb}")


@click.group("trigger")
def command() -> None:
    """Look at the triggers of a server, switch them off and on, and run dates of the past.

    \b
    Example:
      headrace trigger backfill company.team.report mornings --start 2024-12-01T00:00:00Z --preview
    """


@command.command("list")
@click.option("--namespace", metavar="NAMESPACE", help="Only of this namespace and those below it.")
@click.option("--flow", "flow", metavar="NAMESPACE.FLOW", type=FLOW, help="Only of this flow.")
@click.option("--query", "-q", "text", metavar="TEXT", help="Only with this in namespace, flow or id.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=1000, help="How many at most; 1000 when not given."
)
@of_server
@OUTPUT
def list_triggers(
    *, remote: Remote, namespace: str | None, flow: FlowName | None, text: str | None, limit: int, output: str
) -> None:
    """List the triggers that have dates, or ask again and again, and how they stand."""
    if flow is not None and namespace is not None:
        raise click.UsageError("--flow names its namespace: leave --namespace out.")
    wanted: dict[str, Any] = {"namespace": namespace, "q": text}
    if flow is not None:
        wanted |= {"filters[namespace][EQUALS]": flow.namespace, "flowId": flow.id}
    found, answer = remote.pages("/triggers/search", limit=limit, **wanted)
    if output == "json":
        print_json(found)
        return
    rows = []
    for each in found:
        kept = each["triggerContext"]
        rows.append(
            (
                cell(f"{kept['namespace']}.{kept['flowId']}"),
                cell(kept["triggerId"]),
                cell(_short(str(each["abstractTrigger"].get("type", "")))),
                "disabled" if kept.get("disabled") else "",
                cell(_seconds(kept.get("nextExecutionDate"))),
                cell(_seconds(_last(kept))),
                cell(kept.get("executionId")),
            )
        )
    print_table(("FLOW", "TRIGGER", "TYPE", "", "NEXT", "LAST", "WAITS FOR"), rows)
    tell_of_more(found, answer)


def _short(name: str) -> str:
    """Return the end of a type's name that tells it from others: `Schedule`, but `s3.Trigger`."""
    *_, family, own = ("", *name.split("."))
    return f"{family}.{own}" if own.endswith("Trigger") and family else own


def _last(kept: Mapping[str, Any]) -> str | None:
    """Return the date that came last. The server tells of one that is to come where none has."""
    date: str | None = kept.get("date")
    return None if date in (kept.get("nextExecutionDate"), kept.get("updatedDate")) else date


def _seconds(moment: str | None) -> str | None:
    """Return an instant without fractions of a second, which dates of schedules do not have."""
    return None if moment is None else f"{moment[:19]}Z"


@command.command("enable")
@_of_trigger
@of_server
def enable(*, remote: Remote, flow: FlowName, trigger: str) -> None:
    """Switch a trigger on."""
    _put(remote, flow, trigger, {"disabled": False})
    tell(f"{trigger} is switched on.")


@command.command("disable")
@_of_trigger
@of_server
def disable(*, remote: Remote, flow: FlowName, trigger: str) -> None:
    """Switch a trigger off. What it started goes on."""
    _put(remote, flow, trigger, {"disabled": True})
    tell(f"{trigger} is switched off.")


@command.command("unlock")
@_of_trigger
@of_server
def unlock(*, remote: Remote, flow: FlowName, trigger: str) -> None:
    """Have a trigger wait no longer for the execution that it started."""
    _ask(remote, flow, trigger, "unlock")
    tell(f"{trigger} waits no longer.")


@command.command("restart")
@_of_trigger
@of_server
def restart(*, remote: Remote, flow: FlowName, trigger: str) -> None:
    """Have a trigger looked at anew."""
    _ask(remote, flow, trigger, "restart")
    tell(f"{trigger} is looked at.")


@command.command("backfill")
@_of_trigger
@click.option("--start", metavar="DATE", help="The first date that may run: an ISO date with its zone.")
@click.option("--end", metavar="DATE", help="The last one; now when not given.")
@click.option("--missing-only", is_flag=True, help="Leave out the dates that have an execution.")
@click.option("--input", "-i", "given", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="An input.")
@click.option("--label", "-l", "labels", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="A label.")
@click.option("--preview", is_flag=True, help="Print the dates that would run, and run none.")
@click.option("--pause", "then", flag_value="pause", help="Have the one under way pause; the schedule goes on.")
@click.option("--resume", "then", flag_value="unpause", help="Have the one that pauses go on.")
@click.option("--stop", "then", flag_value="delete", help="End the one under way; what it started goes on.")
@of_server
def backfill(
    *,
    remote: Remote,
    flow: FlowName,
    trigger: str,
    start: str | None,
    end: str | None,
    missing_only: bool,
    given: Mapping[str, str],
    labels: Mapping[str, str],
    preview: bool,
    then: str | None,
) -> None:
    """Run dates of the past of a schedule, one after the other, while the schedule itself waits."""
    if (start is None) == (then is None):
        raise click.UsageError("Give --start, or else one of --pause, --resume and --stop.")
    if then is not None:
        with nearest_flow(remote, flow):
            method = "POST" if then == "delete" else "PUT"
            remote.ask(method, f"/triggers/backfill/{then}", body=_named(flow, trigger))
        tell(f"The backfill of {trigger}: {then} is done.")
        return
    wanted: dict[str, Any] = {"start": start, "missingOnly": missing_only}
    wanted |= {"end": end} if end is not None else {}
    wanted |= {"inputs": dict(given)} if given else {}
    wanted |= {"labels": [{"key": key, "value": value} for key, value in labels.items()]} if labels else {}
    if not preview:
        _put(remote, flow, trigger, {"backfill": wanted})
        tell(f"The backfill of {trigger} has begun.")
        return
    with nearest_flow(remote, flow):
        found = remote.ask("POST", "/triggers/backfill/preview", body={**_named(flow, trigger), "backfill": wanted})
    standard_output().write_text("".join(f"{date}\n" for date in found["dates"]))
    if "next" in found:
        tell(f"There are more, from {found['next']} on.")


def _put(remote: Remote, flow: FlowName, trigger: str, what: Mapping[str, Any]) -> None:
    with nearest_flow(remote, flow):
        remote.ask("PUT", "/triggers", body={**_named(flow, trigger), **what})


def _named(flow: FlowName, trigger: str) -> dict[str, str]:
    return {"namespace": flow.namespace, "flowId": flow.id, "triggerId": trigger}
