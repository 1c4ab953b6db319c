"""``headrace logs``: the log lines of a server."""

from __future__ import annotations

from typing import Any

import click

from headrace_cli.api_client import print_json
from headrace_cli.remote.client import Remote, of_server
from headrace_cli.remote.names import FLOW, FlowName
from headrace_cli.remote.tables import tell_of_more
from headrace_cli.user import OUTPUT


@click.command("logs")
@click.option("--namespace", metavar="NAMESPACE", help="Only of this namespace and those below it.")
@click.option("--flow", "flow", metavar="NAMESPACE.FLOW", type=FLOW, help="Only of this flow.")
@click.option("--level", metavar="LEVEL", help="Only lines of this level (TRACE, DEBUG, INFO, WARN, ERROR) and above.")
@click.option("--query", "-q", "text", metavar="TEXT", help="Only lines with these words in them.")
@click.option("--since", metavar="DATE", help="Only lines from then on: an ISO date with its zone.")
@click.option("--until", metavar="DATE", help="Only lines until then.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=100, help="How many at most; 100 when not given.")
@of_server
@OUTPUT
def command(
    *,
    remote: Remote,
    namespace: str | None,
    flow: FlowName | None,
    level: str | None,
    text: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    output: str,
) -> None:
    """Print the last log lines of executions, whichever they are; the newest stands at the end.

    Those of one execution are printed, and followed, by `headrace execution logs`.

    \b
    Example:
      headrace logs --namespace company --level WARN --query timeout
    """
    if flow is not None and namespace is not None:
        raise click.UsageError("--flow names its namespace: leave --namespace out.")
    wanted: dict[str, Any] = {
        "namespace": namespace,
        "minLevel": level and level.upper(),
        "q": text,
        "startDate": since,
        "endDate": until,
    }
    if flow is not None:
        wanted |= {"namespace": flow.namespace, "flowId": flow.id}
    found, answer = remote.pages("/logs/search", limit=limit, **wanted)
    if flow is not None:  # the server finds those of the same id in namespaces below, too
        found = [each for each in found if each["namespace"] == flow.namespace]
    if output == "json":
        print_json(found)
        return
    from headrace_cli.remote.log_lines import print_line  # noqa: PLC0415 - takes its time; not needed for --help

    for each in reversed(found):
        print_line(each, with_flow=True)
    if flow is None:
        tell_of_more(found, answer)
