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
    """Put files into a namespace; of a folder all but hidden files. A file that is there gets a new revision."""
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
@click.option("--revision", metavar="N", type=click.IntRange(1), help="Which one; the latest when not given.")
@of_server
def download(*, remote: Remote, namespace: str, path: str, file: Path | None, revision: int | None) -> None:
    """Get a file of a namespace."""
    content = remote.content(_of(namespace), path=path, revision=revision)
    if file is None:
        sys.stdout.buffer.write(content)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}.") from None
    tell(f"{file} has {len(content)} bytes.")


@command.command("revisions")
@_NAMESPACE
@click.argument("path", metavar="PATH")
@of_server
@OUTPUT
def revisions(*, remote: Remote, namespace: str, path: str, output: str) -> None:
    """List the revisions of a file that can be had, the latest one last. What is written over is one."""
    found = remote.ask("GET", f"{_of(namespace)}/revisions", path=path)
    if output == "json":
        print_json(found)
        return
    print_table(("REVISION",), [(cell(each["revision"]),) for each in found])


@command.command("remove")
@_NAMESPACE
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@of_server
def remove(*, remote: Remote, namespace: str, paths: tuple[str, ...]) -> None:
    """Remove files of a namespace and their revisions; of a folder all that is in it."""
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


@command.command("retention")
@click.argument("namespace", metavar="[NAMESPACE]", required=False)
@click.option(
    "--executions", metavar="LENGTH", help="How long executions are kept after their end, with all of theirs."
)
@click.option("--logs", metavar="LENGTH", help="How long their logs are kept.")
@click.option("--files", metavar="LENGTH", help="How long the files that they stored are kept.")
@click.option("--inherit", is_flag=True, help="Forget what the namespace says: what the one above it says holds.")
@of_server
@OUTPUT
def retention(
    *,
    remote: Remote,
    namespace: str | None,
    executions: str | None,
    logs: str | None,
    files: str | None,
    inherit: bool,
    output: str,
) -> None:
    """Print how long things are kept, or set it: for a namespace and those below it, or for all without one.

    A LENGTH is an ISO duration, such as P30D, or FOREVER. What is not named stays as it was. What has not ended is
    never removed.

    \b
    Example:
      headrace namespace retention company.team --executions P90D --logs P14D
    """
    path = f"/namespaces/{segment(namespace)}/retention" if namespace else "/retention"
    given = {name: text for name, text in (("executions", executions), ("logs", logs), ("files", files)) if text}
    if inherit and given:
        raise UserError("Give either --inherit or a length.")
    if inherit:
        found = remote.ask("DELETE", path) if namespace else remote.ask("PUT", path, body={})
    else:
        found = remote.ask("GET", path)
        if given:
            found = remote.ask("PUT", path, body={**found["rule"], **given})
    if output == "json":
        print_json(found)
        return
    rows = [
        (cell(name), cell(each["length"]), cell(each["namespace"] or ("all" if name in found["rule"] else "")))
        for name, each in found["holds"].items()
    ]
    print_table(("WHAT", "KEPT", "SAID BY"), rows)
