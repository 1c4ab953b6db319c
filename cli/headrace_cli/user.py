"""``headrace user``: who may ask a server, and what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from headrace_cli.api_client import asking, of_server_or_folder, or_dash, print_json, print_rows, segment
from headrace_cli.errors import UserError
from headrace_cli.output import standard_output

OUTPUT = click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
_GRANT = click.option(
    "--grant",
    "grants",
    metavar="ROLE[@NAMESPACE]",
    multiple=True,
    help="A role (viewer, editor, operator, admin) in a namespace and all below it; without one, in all. "
    "May be repeated.",
)
_PASSWORD = click.option("--password", is_flag=True, help="Ask for a password, or read it from standard input.")


@click.group("user")
def command() -> None:
    """Manage the users of a server: who may ask it, and what.

    A data folder that no server holds is changed itself, so the first users can be made before there is a server.
    Otherwise this needs the role admin in every namespace.

    \b
    Example:
      headrace user add ann --grant viewer --grant editor@company.team --password
    """


@command.command("list")
@of_server_or_folder
@OUTPUT
def list_users(*, server: str | None, data_dir: Path | None, output: str) -> None:
    """List the users."""
    with asking(server, data_dir) as client:
        found = client.ask("GET", "/users")
    if output == "json":
        print_json(found)
        return
    rows = [(user["name"], or_dash(user["grants"]), _state(user), or_dash(user["created"])) for user in found]
    print_rows(("NAME", "GRANTS", "LOGS IN", "CREATED"), rows)


@command.command("add")
@click.argument("name", metavar="NAME")
@_GRANT
@_PASSWORD
@of_server_or_folder
def add(*, name: str, grants: tuple[str, ...], password: bool, server: str | None, data_dir: Path | None) -> None:
    """Make a user. One without a password is let in by tokens alone, as a program is."""
    wish = {"name": name, "grants": list(grants), "password": _password() if password else ""}
    with asking(server, data_dir) as client:
        client.ask("POST", "/users", wish)
    standard_output().write_text(f"There is a user {name} now.\n")


@command.command("change")
@click.argument("name", metavar="NAME")
@_GRANT
@click.option("--no-grants", is_flag=True, help="Nothing from now on.")
@_PASSWORD
@click.option("--disable/--enable", "disabled", default=None, help="Let the user in no more, or again.")
@of_server_or_folder
def change(
    *,
    name: str,
    grants: tuple[str, ...],
    no_grants: bool,
    password: bool,
    disabled: bool | None,
    server: str | None,
    data_dir: Path | None,
) -> None:
    """Change a user. The grants that are given replace all that there were."""
    if grants and no_grants:
        raise click.UsageError("--grant and --no-grants say different things.")
    wanted: dict[str, Any] = {"disabled": disabled} if disabled is not None else {}
    if grants or no_grants:
        wanted["grants"] = list(grants)
    if password:
        wanted["password"] = _password()
    if not wanted:
        raise click.UsageError("Say what is to change: --grant, --no-grants, --password, --disable or --enable.")
    with asking(server, data_dir) as client:
        client.ask("PUT", f"/users/{segment(name)}", wanted)
    standard_output().write_text(f"User {name} is changed.\n")


@command.command("delete")
@click.argument("name", metavar="NAME")
@of_server_or_folder
def delete(*, name: str, server: str | None, data_dir: Path | None) -> None:
    """Delete a user, and their tokens with them."""
    with asking(server, data_dir) as client:
        client.ask("DELETE", f"/users/{segment(name)}")
    standard_output().write_text(f"User {name} is deleted.\n")


@command.command("me")
@of_server_or_folder
@OUTPUT
def me(*, server: str | None, data_dir: Path | None, output: str) -> None:
    """Tell who you are to the server, and what you may."""
    with asking(server, data_dir) as client:
        found = client.ask("GET", "/me")
    if output == "json":
        print_json(found)
        return
    print_rows(("NAME", "BY", "GRANTS"), [(found["name"], found["kind"], or_dash(found["grants"]))])


def _password() -> str:
    """Ask a person, twice; or read the first line of standard input."""
    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise UserError("There is no password on standard input.")
    return password


def _state(user: dict[str, Any]) -> str:
    if user["disabled"]:
        return "no"
    return "by password" if user["hasPassword"] else "by token"
