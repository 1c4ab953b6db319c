"""``headrace export``: the flows of a server as a folder."""

from __future__ import annotations

from pathlib import Path

import click

from headrace_cli.errors import UserError
from headrace_cli.output import standard_output
from headrace_cli.remote.client import Remote, of_server


@click.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--namespace",
    "namespaces",
    metavar="NAMESPACE",
    multiple=True,
    help="Only of this namespace and those below it. May be repeated.",
)
@of_server
def command(*, remote: Remote, folder: Path, namespaces: tuple[str, ...]) -> None:
    """Write the flows of a server into a folder, as their authors wrote them: DIR/namespace/flow.yaml.

    A flow that DIR has in another file is written there, unless that file holds other flows as well. `headrace plan`
    finds nothing to do afterwards. Files of flows that the server does not have stay.

    \b
    Example:
      headrace export flows/ --namespace company.team
    """
    from headrace_cli.remote.desired import of_server as stored  # noqa: PLC0415 - takes its time
    from headrace_cli.remote.exporting import write  # noqa: PLC0415 - as above

    found = stored(remote, () if namespaces else None, namespaces)
    if not found:
        raise UserError("The server has no such flow.")
    for path in write(found.values(), folder):
        standard_output().write_text(f"{path}\n")
