"""``headrace token``: what programs show to a server."""

from __future__ import annotations

from pathlib import Path

import click

from headrace_cli.api_client import asking, of_server_or_folder, or_dash, print_json, print_rows, segment
from headrace_cli.output import standard_error, standard_output
from headrace_cli.submit import TOKEN
from headrace_cli.user import OUTPUT

_USER = click.option("--user", metavar="NAME", help="Whose; yours when none is named.")


@click.group("token")
def command() -> None:
    """Manage API tokens: what programs show to a server in a user's name.

    A token may what its user may, or less, and is worth nothing once it or its user is deleted or disabled. Yours are
    managed after logging in with your password; those of others with the role admin in every namespace.

    \b
    Example:
      headrace token add --user ci --about "deploys flows" --days 90 --grant editor@company.team
    """


@command.command("list")
@_USER
@of_server_or_folder
@OUTPUT
def list_tokens(*, user: str | None, server: str | None, data_dir: Path | None, output: str) -> None:
    """List the tokens of a user; never the tokens themselves."""
    with asking(server, data_dir) as client:
        found = client.ask("GET", _of(user))
    if output == "json":
        print_json(found)
        return
    rows = [[or_dash(token[key]) for key in ("id", "about", "grants", "created", "expires")] for token in found]
    print_rows(("ID", "ABOUT", "NARROWED TO", "CREATED", "EXPIRES"), rows)


@command.command("add")
@_USER
@click.option("--about", metavar="TEXT", default="", help="What it is for.")
@click.option("--days", metavar="N", type=float, help="How long it lives; for ever when this is not given.")
@click.option(
    "--grant",
    "grants",
    metavar="ROLE[@NAMESPACE]",
    multiple=True,
    help="What it may at most; all that its user may when this is not given. May be repeated.",
)
@of_server_or_folder
@OUTPUT
def add(
    *,
    user: str | None,
    about: str,
    days: float | None,
    grants: tuple[str, ...],
    server: str | None,
    data_dir: Path | None,
    output: str,
) -> None:
    """Make a token and print it: it is shown this once."""
    with asking(server, data_dir) as client:
        made = client.ask("POST", _of(user), {"about": about, "days": days, "grants": list(grants)})
    if output == "json":
        print_json(made)
        return
    standard_output().write_text(f"{made['token']}\n")
    standard_error().write_text(f"Keep it: it is not shown again. As {TOKEN} it is shown to the server.\n")


@command.command("delete")
@click.argument("token_id", metavar="ID")
@_USER
@of_server_or_folder
def delete(*, token_id: str, user: str | None, server: str | None, data_dir: Path | None) -> None:
    """Have a token be worth nothing from now on. ID is what `headrace token list` shows."""
    with asking(server, data_dir) as client:
        client.ask("DELETE", f"{_of(user)}/{segment(token_id)}")
    standard_output().write_text(f"Token {token_id} is deleted.\n")


def _of(user: str | None) -> str:
    return f"/users/{segment(user)}/tokens" if user is not None else "/me/tokens"
