"""``headrace plan``: what `headrace apply` would do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from headrace_cli.api_client import print_json
from headrace_cli.output import standard_output
from headrace_cli.remote.client import Remote, of_server

_FAILED = 1
_TO_DO = 2


class PlanCommand(click.Command):
    """A command whose errors, those of its own usage included, have another exit code than what it finds."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line."""
        with _failing():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _failing():
            return super().invoke(ctx)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        error.show()
        raise click.exceptions.Exit(_FAILED) from None


FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
DELETE = click.option(
    "--delete", "deletes", is_flag=True, help="Delete the other flows of the namespaces that DIR has flows of."
)
NAMESPACES = click.option(
    "--namespace",
    "namespaces",
    metavar="NAMESPACE",
    multiple=True,
    help="Look at this namespace and those below it, too, even where DIR has no flow of it. May be repeated.",
)


@click.command("plan", cls=PlanCommand)
@FOLDER
@DELETE
@NAMESPACES
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    help="How to print it; markdown is for a pull request.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@of_server
@click.pass_context
def command(
    context: click.Context,
    *,
    remote: Remote,
    folder: Path,
    deletes: bool,
    namespaces: tuple[str, ...],
    output: str,
    as_json: bool,
) -> None:
    """Compare a folder of flows with a server: print what `headrace apply` would do, and do nothing.

    The server checks every flow that is another than its own. Of each such flow it is told what becomes of its
    properties, tasks and triggers, of the order of its tasks, which the next five dates of its schedules are, and
    which of its executions have not ended: those keep their revision.

    \b
    Exit codes:
      0  there is nothing to do
      1  a flow is not valid, or the server did not answer
      2  there is something to do

    \b
    Example:
      headrace plan flows/ --delete --output markdown
    """
    from headrace_cli.remote.desired import of_files  # noqa: PLC0415 - these take their time; not needed for --help
    from headrace_cli.remote.plan_text import lines, markdown  # noqa: PLC0415 - as above
    from headrace_cli.remote.planning import make_plan  # noqa: PLC0415 - as above

    plan = make_plan(remote, of_files([folder]), deletes=deletes, namespaces=namespaces, now=datetime.now(UTC))
    if as_json or output == "json":
        print_json(msgspec.to_builtins(plan))
    elif output == "markdown":
        standard_output().write_text(markdown(plan))
    else:
        standard_output().write(lines(plan))
    if plan.steps:
        context.exit(_TO_DO)
