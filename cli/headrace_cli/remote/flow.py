"""``headrace flow``: the flows of a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from headrace_cli import inputs
from headrace_cli.api_client import print_json
from headrace_cli.output import standard_output
from headrace_cli.remote.client import Remote, of_server
from headrace_cli.remote.names import FLOW, FlowName, nearest_flow
from headrace_cli.remote.tables import cell, print_table, tell, tell_of_more
from headrace_cli.user import OUTPUT

_PATHS = click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True)
)
_FLOW = click.argument("flow", metavar="NAMESPACE.FLOW", type=FLOW)


@click.group("flow")
def command() -> None:
    """Look at the flows of a server, check and save some, delete some.

    A folder of flows is better brought to a server with `headrace plan` and `headrace apply`.

    \b
    Example:
      headrace flow list --namespace company
    """


@command.command("list")
@click.option("--namespace", metavar="NAMESPACE", help="Only of this namespace and those below it.")
@click.option("--query", "-q", "text", metavar="TEXT", help="Only with this in namespace or id.")
@click.option(
    "--label", "-l", "labels", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="Only with it."
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=1000, help="How many at most; 1000 when not given."
)
@of_server
@OUTPUT
def list_flows(
    *, remote: Remote, namespace: str | None, text: str | None, labels: Mapping[str, str], limit: int, output: str
) -> None:
    """List flows, by namespace and id."""
    wanted = [f"{key}:{value}" for key, value in labels.items()]
    found, answer = remote.pages("/flows/search", limit=limit, namespace=namespace, q=text, labels=wanted)
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            cell(each["namespace"]),
            cell(each["id"]),
            cell(each["revision"]),
            cell([trigger["id"] for trigger in each.get("triggers") or () if "id" in trigger]),
            "disabled" if each["disabled"] else "",
            cell((each.get("updated") or "")[:19]),
        )
        for each in found
    ]
    print_table(("NAMESPACE", "ID", "REVISION", "TRIGGERS", "", "UPDATED"), rows)
    tell_of_more(found, answer)


@command.command("get")
@_FLOW
@click.option("--revision", metavar="N", type=click.IntRange(1), help="Which one; the latest when not given.")
@click.option("--output", "-o", type=click.Choice(["yaml", "json"]), default="yaml", help="Its source, or all of it.")
@of_server
def get(*, remote: Remote, flow: FlowName, revision: int | None, output: str) -> None:
    """Print a flow, as its author wrote it."""
    with nearest_flow(remote, flow):
        found = remote.ask("GET", f"/flows/{flow.path}", source=True, revision=revision)
    if output == "json":
        print_json(found)
    else:
        standard_output().write_text(found["source"].rstrip("\n") + "\n")


@command.command("validate")
@_PATHS
@of_server
@OUTPUT
def validate(*, remote: Remote, paths: tuple[Path, ...], output: str) -> None:
    """Have the server check flows, and save nothing.

    PATH is a file, a folder or - for standard input. `headrace validate` checks without a server; this one knows the
    plugins and the plugin defaults that the server has. Exits 2 when a flow is not valid.
    """
    from headrace_cli.errors import ProblemsError  # noqa: PLC0415 - only needed here
    from headrace_cli.remote.checking import check  # noqa: PLC0415 - takes its time
    from headrace_cli.remote.desired import of_files  # noqa: PLC0415 - as above

    try:
        found = of_files(paths)
        warnings = check(remote, found.values())
    except ProblemsError as error:
        if output == "json":
            print_json({"valid": False, "errors": error.message.splitlines(), "warnings": []})
            raise click.exceptions.Exit(error.exit_code) from None
        raise
    if output == "json":
        print_json({"valid": True, "errors": [], "warnings": warnings})
        return
    for warning in warnings:
        tell(f"warning: {warning}")
    for flow in found.values():
        standard_output().write_text(f"{flow.name}: OK\n")


@command.command("save")
@_PATHS
@of_server
def save(*, remote: Remote, paths: tuple[Path, ...]) -> None:
    """Create flows, or change them. All are valid, or nothing is saved.

    Prints the revision that each has. The same source makes no new one.
    """
    from headrace_cli.remote.checking import check  # noqa: PLC0415 - takes its time
    from headrace_cli.remote.desired import of_files  # noqa: PLC0415 - as above
    from headrace_cli.remote.saving import in_order, save_flow  # noqa: PLC0415 - as above

    found = of_files(paths)
    check(remote, found.values())
    for flow in in_order(found.values()):
        standard_output().write_text(f"{flow.name} revision {save_flow(remote, flow)}\n")


@command.command("delete")
@click.argument("flows", metavar="NAMESPACE.FLOW...", nargs=-1, required=True, type=FLOW)
@of_server
def delete(*, remote: Remote, flows: tuple[FlowName, ...]) -> None:
    """Delete flows: all, or none when one is not there. Their executions stay."""
    for flow in flows:
        with nearest_flow(remote, flow):
            remote.ask("GET", f"/flows/{flow.path}")
    names = [{"namespace": flow.namespace, "id": flow.id} for flow in flows]
    remote.ask("DELETE", "/flows/delete/by-ids", body=names)
    for flow in flows:
        standard_output().write_text(f"{flow} is deleted.\n")
