"""``headrace run``: a flow from its file to its end, in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace_cli import inputs
from headrace_cli.display import Display, Silent
from headrace_cli.errors import UNSUCCESSFUL
from headrace_cli.output import Output, standard_error, standard_output
from headrace_cli.styled import Span, Tone, line
from headrace_cli.submit import submit
from headrace_cli.view import View, state_of

if TYPE_CHECKING:
    from headrace_engine.model.definition import FlowDefinition
    from headrace_engine.ports import LogLine


@click.command("run")
@click.argument("flow", metavar="FLOW.yaml", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--input", "-i", "given", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="An input.")
@click.option(
    "--input-file",
    "-f",
    "files",
    metavar="NAME=@PATH",
    multiple=True,
    callback=inputs.files,
    help="A file for a FILE input.",
)
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A JSON or YAML file with a map of inputs.",
)
@click.option("--label", "-l", "labels", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="A label.")
@click.option("--flows", metavar="DIR", type=click.Path(path_type=Path), help="Save all flows of this folder first.")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep state and files here, instead of in a temporary folder.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["pretty", "json"]),
    default="pretty",
    help="pretty: progress and outputs. json: the execution as JSON on standard output, progress on standard error.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress and no log, only the end.")
@click.option("--no-color", is_flag=True, help="No colours; NO_COLOR in the environment does the same.")
@click.pass_context
def command(
    context: click.Context,
    *,
    flow: Path,
    given: dict[str, str],
    files: dict[str, Path],
    inputs_file: Path | None,
    labels: dict[str, str],
    flows: Path | None,
    data_dir: Path | None,
    output: str,
    quiet: bool,
    no_color: bool,
) -> None:
    """Run a flow here and now, and show it happen.

    The flow is checked first. While it runs its task runs are shown with their states and logs; at the end what failed,
    or the flow's outputs. Ctrl-C ends the execution as KILLED; a second Ctrl-C leaves at once.

    Flows with a Flow trigger start when the execution changes its state. Without --data-dir they are waited for and
    told of, too; with it they go on when DIR is used again. The exit code is that of the flow that was named.

    \b
    Exit codes:
      0  the execution ended SUCCESS or WARNING
      1  it ended FAILED, KILLED or CANCELLED
      2  nothing was run: the flow or its inputs are not valid, or DIR is in use

    \b
    Example:
      headrace run examples/hello.yaml --input message=Hello
    """
    from headrace_cli.report import outputs, report  # noqa: PLC0415 - these take their time; not needed for --help
    from headrace_cli.session import HeldByServerError, Request, session  # noqa: PLC0415 - as above

    out, err = standard_output(color=not no_color), standard_error(color=not no_color)
    to = err if output == "json" else out
    from_file = inputs.values(inputs_file) if inputs_file is not None else {}
    request = Request(flow, {**from_file, **given, **files}, [*given, *files], labels, flows)
    logs: Sequence[LogLine] = ()
    triggered: Sequence[View] = ()
    are_files_gone = False
    try:
        with session(data_dir) as opened:
            definition = opened.save(request)
            started = opened.start(definition, request, watched=not quiet)
            execution = opened.follow(started, Silent() if quiet else _display(to, err, definition))
            logs = opened.logs(started)
            triggered = opened.triggered(started)
            are_files_gone = opened.is_temporary
    except HeldByServerError as held:
        if not quiet:
            err.write([line(f"The server {held.address} holds {data_dir}: it runs the flow.")])
        execution = submit(held.address, flow, flows, request.inputs, labels, environment=os.environ)

    if output == "pretty" or not quiet:
        told = report(execution, logs, to.symbols, datetime.now(UTC))
        to.write([*([] if quiet else [()]), *told])
    for each in triggered:
        name = f"{each['namespace']}.{each['flowId']}"
        to.write([line(Span(f"A trigger started {name}: {each['state']['current']} ({each['id']})", Tone.FAINT))])
    if output == "json":
        out.write_text(json.dumps(execution, indent=2, ensure_ascii=False) + "\n")
    else:
        out.write(outputs(execution))
        if are_files_gone and "kestra:///" in json.dumps(execution["outputs"]):
            out.write([(), line(Span(_FILES_ARE_GONE, Tone.FAINT))])
    if not state_of(execution).is_success:
        context.exit(UNSUCCESSFUL)


_FILES_ARE_GONE = "The files of this execution are gone with its temporary folder; --data-dir DIR keeps them."


def _display(to: Output, notes: Output, definition: FlowDefinition) -> Display:
    if to.is_terminal:
        from headrace_cli.live import LiveDisplay  # noqa: PLC0415 - rich is not needed elsewhere

        return LiveDisplay(to, [task.id for task in definition.branch("tasks")])
    from headrace_cli.plain import PlainDisplay  # noqa: PLC0415 - not needed for --help

    return PlainDisplay(to, notes)
