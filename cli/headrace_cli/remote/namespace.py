"""``headrace namespace``: the namespaces of a server, and their files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from headrace_cli.api_client import print_json, segment
from headrace_cli.errors import UserError
from headrace_cli.output import standard_output
from headrace_cli.remote.client import Remote, of_server
from headrace_cli.remote.tables import cell, print_table, tell, tell_of_more
from headrace_cli.user import OUTPUT

_NAMESPACE = click.argument("namespace", metavar="NAMESPACE")


@click.group("namespace")
def command() -> None:
    """Look at the namespaces of a server, and at the files that their flows share.

    \b
    Example:
      headrace namespace upload company.team scripts/ --to scripts
    """


@command.command("list")
@click.option("--query", "-q", "text", metavar="TEXT", help="Only with this in its name.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=1000, help="How many at most; 1000 when not given."
)
@of_server
@OUTPUT
def list_namespaces(*, remote: Remote, text: str | None, limit: int, output: str) -> None:
    """List the namespaces that have flows."""
    found, answer = remote.pages("/namespaces/search", limit=limit, q=text, existing=True)
    if output == "json":
        print_json(found)
        return
    print_table(("NAMESPACE",), [(cell(each["id"]),) for each in found])
    tell_of_more(found, answer)


@command.command("files")
@_NAMESPACE
@click.option("--query", "-q", "text", metavar="TEXT", help="Only with this in their path.")
@of_server
@OUTPUT
def files(*, remote: Remote, namespace: str, text: str | None, output: str) -> None:
    """List the files of a namespace."""
    found = remote.ask("GET", f"{_of(namespace)}/search", q=text or "")
    if output == "json":
        print_json(found)
        return
    for path in found:
        standard_output().write_text(f"{cell(path.removeprefix('/'))}\n")


@command.command("upload")
@_NAMESPACE
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--to", "folder", metavar="FOLDER", default="", help="The folder of the namespace that they are put into."
)
@of_server
def upload(*, remote: Remote, namespace: str, paths: tuple[Path, ...], folder: str) -> None:
    """Put files into a namespace; of a folder all that is in it, but hidden files. A file that is there is replaced."""
    found = [(each, name) for path in paths for each, name in _within(path)]
    if not found:
        raise UserError("There is no file to upload.")
    for each, name in found:
        target = "/".join(part for part in (folder.strip("/"), name) if part)
        remote.upload(_of(namespace), each, path=target)
        standard_output().write_text(f"{cell(target)}\n")


@command.command("download")
@_NAMESPACE
@click.argument("path", metavar="PATH")
@click.option(
    "--to",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to put it; standard output when not given.",
)
@of_server
def download(*, remote: Remote, namespace: str, path: str, file: Path | None) -> None:
    """Get a file of a namespace."""
    content = remote.content(_of(namespace), path=path)
    if file is None:
        sys.stdout.buffer.write(content)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}.") from None
    tell(f"{file} has {len(content)} bytes.")


@command.command("remove")
@_NAMESPACE
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@of_server
def remove(*, remote: Remote, namespace: str, paths: tuple[str, ...]) -> None:
    """Remove files of a namespace; of a folder all that is in it."""
    for path in paths:
        remote.ask("DELETE", _of(namespace), path=path)
        tell(f"{path} is removed.")


def _of(namespace: str) -> str:
    return f"/namespaces/{segment(namespace)}/files"


def _within(path: Path) -> Iterator[tuple[Path, str]]:
    if path.is_file():
        yield path, path.name
        return
    for each in sorted(path.rglob("*")):
        inner = each.relative_to(path)
        if each.is_file() and not any(part.startswith(".") for part in inner.parts):
            yield each, inner.as_posix()
