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
@inputs.options
@click.option("--label", "-l", "labels", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="A label.")
@click.option("--flows", metavar="DIR", type=click.Path(path_type=Path), help="Save all flows of this folder first.")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep state and files here, instead of in a temporary folder.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A configuration file; headrace.yaml of the current folder when it is there.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["pretty", "json"]),
    default="pretty",
    help="pretty: progress and outputs. json: the execution as JSON on standard output, progress on standard error.",
)
@click.option(
    "--no-docker", is_flag=True, help="Run what names a container image as a process of this machine, with a warning."
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
    config: Path | None,
    output: str,
    no_docker: bool,
    quiet: bool,
    no_color: bool,
) -> None:
    """Run a flow here and now, and show it happen.

    The flow is checked first. While it runs its task runs are shown with their states and logs; at the end what failed,
    or the flow's outputs. Ctrl-C ends the execution as KILLED; a second Ctrl-C leaves at once.

    Flows with a Flow trigger start when the execution changes its state. Without --data-dir they are waited for and
    told of, too; with it they go on when DIR is used again. The exit code is that of the flow that was named.

    What a server reads of its configuration file counts here, so far as it is about flows: globals, envs, plugin
    defaults, the encryption key, secrets, limits. Its storage counts with --data-dir, and its dataDir not at all.

    \b
    Exit codes:
      0  the execution ended SUCCESS or WARNING
      1  it ended FAILED, KILLED or CANCELLED
      2  nothing was run: the flow or its inputs are not valid, or DIR is in use

    \b
    Example:
      headrace run examples/hello.yaml --input message=Hello
    """
    from headrace_cli.config import load  # noqa: PLC0415 - these take their time; not needed for --help
    from headrace_cli.report import outputs, report  # noqa: PLC0415 - these take their time; not needed for --help
    from headrace_cli.session import HeldByServerError, Request, session  # noqa: PLC0415 - as above

    out, err = standard_output(color=not no_color), standard_error(color=not no_color)
    to = err if output == "json" else out
    from_file = inputs.values(inputs_file) if inputs_file is not None else {}
    request = Request(flow, {**from_file, **given, **files}, [*given, *files], labels, flows)
    logs: Sequence[LogLine] = ()
    triggered: Sequence[View] = ()
    are_files_gone = False
    configuration = load(config, os.environ, {})
    err.write_text("".join(f"{note}\n" for note in configuration.notes))
    options = configuration.options_of_run(os.environ, keeps=data_dir is not None, docker=not no_docker)
    try:
        with session(data_dir, options) as opened:
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
