"""``headrace kv``: the key-value store of a server."""

from __future__ import annotations

import json
from pathlib import Path

import click

from headrace_cli import flow_files
from headrace_cli.api_client import print_json, segment
from headrace_cli.output import standard_output
from headrace_cli.remote.client import Remote, of_server
from headrace_cli.remote.tables import cell, print_table, tell
from headrace_cli.user import OUTPUT

_NAMESPACE = click.argument("namespace", metavar="NAMESPACE")
_KEY = click.argument("key", metavar="KEY")


@click.group("kv")
def command() -> None:
    """Read and write what flows keep under keys, by namespace.

    \b
    Example:
      headrace kv set company.team limits '{"rows": 1000}' --ttl P1D
    """


@command.command("list")
@_NAMESPACE
@click.option("--inherited", is_flag=True, help="Those of the namespaces above it instead, of equal ones the nearest.")
@of_server
@OUTPUT
def list_keys(*, remote: Remote, namespace: str, inherited: bool, output: str) -> None:
    """List the keys of a namespace."""
    found = remote.ask("GET", f"{_of(namespace)}{'/inheritance' if inherited else ''}")
    if output == "json":
        print_json(found)
        return
    rows = [[cell(each.get(name)) for name in ("namespace", "key", "updateDate", "expirationDate")] for each in found]
    print_table(("NAMESPACE", "KEY", "UPDATED", "EXPIRES"), rows)


@command.command("get")
@_NAMESPACE
@_KEY
@of_server
@OUTPUT
def get(*, remote: Remote, namespace: str, key: str, output: str) -> None:
    """Print a value: a text as it is, everything else as JSON."""
    found = remote.ask("GET", f"{_of(namespace)}/{segment(key)}")
    if output == "json":
        print_json(found)
        return
    value = found["value"]
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    standard_output().write_text(f"{text}\n")


@command.command("set")
@_NAMESPACE
@_KEY
@click.argument("value", metavar="[VALUE]", required=False)
@click.option(
    "--file",
    "-f",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file with the value instead, or - for standard input.",
)
@click.option("--text", "is_text", is_flag=True, help="A text, even if it could be read as a number, a date or JSON.")
@click.option("--ttl", metavar="DURATION", help="How long it is kept, such as PT1H; for good when not given.")
@of_server
def set_value(
    *, remote: Remote, namespace: str, key: str, value: str | None, file: Path | None, is_text: bool, ttl: str | None
) -> None:
    """Set a value. JSON, dates and durations are what they look like; everything else is a text."""
    if (value is None) == (file is None):
        raise click.UsageError("Give either VALUE or --file.")
    said = flow_files.read(file) if file is not None else value or ""
    path = f"{_of(namespace)}/{segment(key)}"
    if is_text:
        remote.send("PUT", path, json.dumps(said), media="application/json", ttl=ttl)
    else:
        remote.send("PUT", path, said, media="text/plain", ttl=ttl)
    tell(f"{key} is set.")


@command.command("delete")
@_NAMESPACE
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@of_server
def delete(*, remote: Remote, namespace: str, keys: tuple[str, ...]) -> None:
    """Delete keys, and print those that were there."""
    gone = remote.ask("DELETE", _of(namespace), body={"keys": list(keys)})["keys"]
    for key in gone:
        standard_output().write_text(f"{cell(key)}\n")


def _of(namespace: str) -> str:
    return f"/namespaces/{segment(namespace)}/kv"
