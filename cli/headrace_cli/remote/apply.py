"""``headrace apply``: have a server hold the flows of a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from headrace_cli.errors import UNSUCCESSFUL, UserError
from headrace_cli.output import standard_output
from headrace_cli.remote.client import RefusedError, Remote, of_server
from headrace_cli.remote.plan import DELETE, FOLDER, NAMESPACES
from headrace_cli.remote.tables import tell


class UnfinishedError(UserError):
    """Some is done, and some is left."""

    exit_code = UNSUCCESSFUL


@click.command("apply")
@FOLDER
@DELETE
@NAMESPACES
@of_server
def command(*, remote: Remote, folder: Path, deletes: bool, namespaces: tuple[str, ...]) -> None:
    """Have a server hold the flows of a folder.

    All flows are checked by the server before the first is saved. Then each is saved by itself: what others call
    before what calls it, what triggers start behind all that nothing starts, and what is deleted at the end. A flow
    that the server has already is not touched. When it is interrupted, `headrace plan` shows what is left, and
    doing it again finishes it.

    \b
    Exit codes:
      0  the server holds them
      1  some are saved, some are left
      2  nothing was changed: a flow is not valid, or the server did not answer

    \b
    Example:
      headrace apply flows/ --delete
    """
    from headrace_cli.remote.desired import of_files  # noqa: PLC0415 - these take their time; not needed for --help
    from headrace_cli.remote.plan_text import summary  # noqa: PLC0415 - as above
    from headrace_cli.remote.planning import make_plan  # noqa: PLC0415 - as above
    from headrace_cli.remote.saving import save_flow  # noqa: PLC0415 - as above

    wanted = of_files([folder])
    plan = make_plan(remote, wanted, deletes=deletes, namespaces=namespaces, now=datetime.now(UTC))
    for warning in plan.warnings:
        tell(f"warning: {warning}")
    done = 0
    try:
        for step in plan.steps:
            if step.action == "delete":
                _delete(remote, step.name.path)
                standard_output().write_text(f"{step.name} is deleted.\n")
            else:
                revision = save_flow(remote, wanted[step.name])
                standard_output().write_text(f"{step.name} has revision {revision}.\n")
            done += 1
    except (UserError, KeyboardInterrupt) as error:
        why = error.message if isinstance(error, UserError) else "It was interrupted."
        left = f"{done} of {len(plan.steps)} are done; doing it again does the others."
        raise UnfinishedError(f"{why}\n{left}") from None
    tell(summary(plan) if not plan.steps else f"{remote.address} holds the flows of {folder}.")


def _delete(remote: Remote, path: str) -> None:
    try:
        remote.ask("DELETE", f"/flows/{path}")
    except RefusedError as error:
        if error.status != 404:  # somebody else was faster
            raise
