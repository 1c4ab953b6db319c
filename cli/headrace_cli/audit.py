"""``headrace audit``: who changed what, when, from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headrace_cli.api_client import asking, of_server_or_folder, or_dash, print_json, print_rows
from headrace_cli.user import OUTPUT

_PAGE = 1000


@click.command("audit")
@click.option("--who", metavar="NAME", help="Only what this user did.")
@click.option("--namespace", metavar="NAMESPACE", help="Only in this namespace and below it.")
@click.option("--query", "-q", "text", metavar="TEXT", help="Only with this in action, target or notes.")
@click.option("--since", metavar="DATE", help="From when, such as 2024-12-20T10:00:00Z; 30 days ago when not given.")
@click.option("--until", metavar="DATE", help="Until before when.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=50, help="How many at most; 50 when not given.")
@of_server_or_folder
@OUTPUT
def command(
    *,
    who: str | None,
    namespace: str | None,
    text: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    server: str | None,
    data_dir: Path | None,
    output: str,
) -> None:
    """Print who changed what on a server, or was refused to, the newest first.

    This needs the role admin in every namespace.

    \b
    Example:
      headrace audit --namespace company.team --query DELETE
    """
    found: list[Any] = []
    then: str | None = None
    asked = {"who": who, "namespace": namespace, "q": text, "startDate": since, "endDate": until}
    with asking(server, data_dir) as client:
        while len(found) < limit:
            size = min(limit - len(found), _PAGE)
            page = client.ask("GET", "/audit/search", **asked, size=size, after=then)
            found += page["results"]
            then = page["next"]
            if then is None:
                break
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            record["at"],
            _who(record),
            or_dash(record["client"]),
            f"{record['action'].partition(' ')[0]} {record['target']}" if record["target"] else record["action"],
            f"refused: {record['status']}" if record["status"] else "",
            "; ".join(record["notes"]),
        )
        for record in found
    ]
    print_rows(("AT", "WHO", "FROM", "WHAT", "", "ABOUT"), rows)


def _who(record: Any) -> str:
    who = record["who"] or record["kind"]
    return f"{who} ({record['kind']})" if record["who"] and record["kind"] != "password" else who
