"""``headrace execution``: the executions of a server."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from headrace_cli import inputs
from headrace_cli.api_client import print_json, segment
from headrace_cli.errors import UNSUCCESSFUL
from headrace_cli.output import standard_error, standard_output
from headrace_cli.remote.client import Remote, of_server
from headrace_cli.remote.names import FLOW, FlowName, nearest_flow
from headrace_cli.remote.tables import cell, length_cell, print_table, state_cell, tell, tell_of_more
from headrace_cli.user import OUTPUT

_INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""

_IDS = click.argument("execution_ids", metavar="ID...", nargs=-1, required=True)
_ID = click.argument("execution_id", metavar="ID")
_QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress and no log, only the end.")
_REVISION = click.option("--revision", metavar="N", type=click.IntRange(1), help="Which revision of the flow.")


@click.group("execution")
def command() -> None:
    """Start executions on a server, look at them, and steer them.

    \b
    Example:
      headrace execution create company.team.etl --input date=2024-12-31 --follow
    """


@command.command("list")
@click.option("--flow", "flow", metavar="NAMESPACE.FLOW", type=FLOW, help="Only of this flow.")
@click.option("--namespace", metavar="NAMESPACE", help="Only of this namespace and those below it.")
@click.option("--state", "states", metavar="STATE", multiple=True, help="Only in this state. May be repeated.")
@click.option(
    "--label", "-l", "labels", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="Only with it."
)
@click.option("--query", "-q", "text", metavar="TEXT", help="Only with these words in id, flow or labels.")
@click.option("--since", metavar="DATE", help="Only those that began then or later: an ISO date with its zone.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=25, help="How many at most; 25 when not given.")
@of_server
@OUTPUT
def list_executions(
    *,
    remote: Remote,
    flow: FlowName | None,
    namespace: str | None,
    states: tuple[str, ...],
    labels: Mapping[str, str],
    text: str | None,
    since: str | None,
    limit: int,
    output: str,
) -> None:
    """List executions, the newest first."""
    if flow is not None and namespace is not None:
        raise click.UsageError("--flow names its namespace: leave --namespace out.")
    wanted: dict[str, Any] = {
        "namespace": namespace,
        "state": [state.upper() for state in states],
        "labels": [f"{key}:{value}" for key, value in labels.items()],
        "q": text,
        "startDate": since,
    }
    if flow is not None:
        wanted |= {"filters[namespace][EQUALS]": flow.namespace, "filters[flowId][EQUALS]": flow.id}
    found, answer = remote.pages("/executions/search", limit=limit, **wanted)
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            each["id"],
            state_cell(each["state"]["current"]),
            cell(f"{each['namespace']}.{each['flowId']}"),
            cell(each["flowRevision"]),
            each["state"]["startDate"][:19],
            length_cell(each["state"].get("duration")) if each["state"].get("endDate") else "-",
        )
        for each in found
    ]
    print_table(("ID", "STATE", "FLOW", "REVISION", "STARTED", "TOOK"), rows)
    tell_of_more(found, answer)


@command.command("get")
@_ID
@of_server
@OUTPUT
def get(*, remote: Remote, execution_id: str, output: str) -> None:
    """Print an execution: its task runs, what failed and why, and its outputs."""
    execution = remote.ask("GET", f"/executions/{segment(execution_id)}")
    if output == "json":
        print_json(execution)
        return
    from headrace_cli.remote.following import log_line, print_state  # noqa: PLC0415 - takes its time
    from headrace_cli.report import outputs  # noqa: PLC0415 - as above
    from headrace_cli.view import Names  # noqa: PLC0415 - as above

    names = Names()
    names.learn(execution)
    rows = [
        (
            names.of(run["id"]),
            state_cell(run["state"]["current"]),
            str(len(run["attempts"] or ())),
            length_cell(run["state"].get("duration")) if run["state"].get("endDate") else "-",
            run["id"],
        )
        for run in execution.get("taskRunList") or ()
    ]
    lines = remote.ask("GET", f"/logs/{segment(execution_id)}", minLevel="ERROR")
    out = standard_output()
    print_state(out, execution, [log_line(each) for each in lines])
    out.write([()])
    print_table(("TASK", "STATE", "ATTEMPTS", "TOOK", "TASK RUN"), rows)
    if execution.get("taskRunsTotal", 0) > len(rows):
        tell(f"These are {len(rows)} of {execution['taskRunsTotal']} task runs.")
    out.write(outputs(execution))


@command.command("create")
@click.argument("flow", metavar="NAMESPACE.FLOW", type=FLOW)
@inputs.options
@click.option("--label", "-l", "labels", metavar="NAME=VALUE", multiple=True, callback=inputs.pairs, help="A label.")
@_REVISION
@click.option("--at", "start", metavar="DATE", help="Run nothing before: an ISO date with its zone.")
@click.option("--follow", "follows", is_flag=True, help="Show it until it has ended; the exit code is 1 if it fails.")
@_QUIET
@of_server
@OUTPUT
@click.pass_context
def create(
    context: click.Context,
    *,
    remote: Remote,
    flow: FlowName,
    given: Mapping[str, str],
    files: Mapping[str, Path],
    inputs_file: Path | None,
    labels: Mapping[str, str],
    revision: int | None,
    start: str | None,
    follows: bool,
    quiet: bool,
    output: str,
) -> None:
    """Start an execution, and print its id.

    \b
    Exit codes:
      0  it is started; with --follow, it ended SUCCESS or WARNING
      1  with --follow: it ended FAILED, KILLED or CANCELLED
      2  nothing was started
    """
    from_file = inputs.values(inputs_file) if inputs_file is not None else {}
    with nearest_flow(remote, flow):
        known = remote.ask("GET", f"/flows/{flow.path}", revision=revision).get("inputs") or []
    inputs.check_names([*given, *files], [each["id"] for each in known], str(flow))
    execution = remote.submit(
        f"/executions/{flow.path}",
        {**from_file, **given, **files},
        lambda: flow.path,
        labels=[f"{key}:{value}" for key, value in labels.items()],
        revision=revision,
        scheduleDate=start,
    )
    if follows:
        _follow(context, remote, execution["id"], output, quiet=quiet)
    elif output == "json":
        print_json(execution)
    else:
        standard_output().write_text(f"{execution['id']}\n")


@command.command("follow")
@_ID
@_QUIET
@of_server
@OUTPUT
@click.pass_context
def follow(context: click.Context, *, remote: Remote, execution_id: str, quiet: bool, output: str) -> None:
    """Show an execution until it has ended. Ctrl-C ends the showing alone.

    \b
    Exit codes:
      0  it ended SUCCESS or WARNING
      1  it ended FAILED, KILLED or CANCELLED
      2  it could not be followed
    """
    _follow(context, remote, execution_id, output, quiet=quiet)


@command.command("logs")
@_ID
@click.option("--level", metavar="LEVEL", help="Only lines of this level (TRACE, DEBUG, INFO, WARN, ERROR) and above.")
@click.option("--task", "task_id", metavar="ID", help="Only lines of this task.")
@click.option("--follow", "-f", "follows", is_flag=True, help="Go on until the execution has ended.")
@of_server
@OUTPUT
def logs(
    *, remote: Remote, execution_id: str, level: str | None, task_id: str | None, follows: bool, output: str
) -> None:
    """Print the log of an execution."""
    from headrace_cli.remote.log_lines import print_line  # noqa: PLC0415 - takes its time

    wanted = {name: value for name, value in (("minLevel", level and level.upper()), ("taskId", task_id)) if value}
    if not follows:
        found = remote.ask("GET", f"/logs/{segment(execution_id)}", **wanted)
        if output == "json":
            print_json(found)
            return
        for each in found:
            print_line(each)
        return
    from headrace_cli.remote.following import followed_lines  # noqa: PLC0415 - as above

    try:
        for said in followed_lines(remote, execution_id, **wanted):
            print_line(said, as_json=output == "json")
    except KeyboardInterrupt:
        raise click.exceptions.Exit(_INTERRUPTED) from None


@command.command("kill")
@_IDS
@click.option("--no-cascade", is_flag=True, help="Leave alone what it started: executions of its subflows.")
@of_server
def kill(*, remote: Remote, execution_ids: tuple[str, ...], no_cascade: bool) -> None:
    """Stop executions, and what they started."""
    for each in execution_ids:
        remote.ask("DELETE", f"/executions/{segment(each)}/kill", isOnKillCascade=not no_cascade)
        tell(f"{each} is being killed.")


@command.command("pause")
@_IDS
@of_server
def pause(*, remote: Remote, execution_ids: tuple[str, ...]) -> None:
    """Start nothing new in executions until they are resumed; what runs goes on."""
    _each(remote, execution_ids, "pause")


@command.command("resume")
@_ID
@inputs.options
@of_server
def resume(
    *,
    remote: Remote,
    execution_id: str,
    given: Mapping[str, str],
    files: Mapping[str, Path],
    inputs_file: Path | None,
) -> None:
    """Go on with what is paused. The inputs are those that its task asks for."""
    from_file = inputs.values(inputs_file) if inputs_file is not None else {}
    path = f"/executions/{segment(execution_id)}"
    remote.submit(f"{path}/resume", {**from_file, **given, **files}, lambda: _flow_of(remote, path))
    tell(f"{execution_id} goes on.")


@command.command("restart")
@_IDS
@_REVISION
@of_server
def restart(*, remote: Remote, execution_ids: tuple[str, ...], revision: int | None) -> None:
    """Run again what failed, in the same execution; with another revision, in a new one.

    Prints the id of each execution that runs.
    """
    _each(remote, execution_ids, "restart", revision=revision)


@command.command("replay")
@_ID
@click.option("--task-run", "task_run", metavar="ID", help="Where to begin; at the beginning when not given.")
@_REVISION
@inputs.options
@of_server
def replay(
    *,
    remote: Remote,
    execution_id: str,
    task_run: str | None,
    revision: int | None,
    given: Mapping[str, str],
    files: Mapping[str, Path],
    inputs_file: Path | None,
) -> None:
    """Run again as a new execution, and print its id. Its inputs are the same unless some are given."""
    from_file = inputs.values(inputs_file) if inputs_file is not None else {}
    changed = {**from_file, **given, **files}
    path = f"/executions/{segment(execution_id)}"
    if changed:
        flow = functools.partial(_flow_of, remote, path)
        made = remote.submit(f"{path}/replay-with-inputs", changed, flow, taskRunId=task_run, revision=revision)
    else:
        made = remote.ask("POST", f"{path}/replay", taskRunId=task_run, revision=revision)
    standard_output().write_text(f"{made['id']}\n")


def _flow_of(remote: Remote, path: str) -> str:
    """Return the path of an execution's flow."""
    execution = remote.ask("GET", path)
    return FlowName(execution["namespace"], execution["flowId"]).path


def _each(remote: Remote, execution_ids: tuple[str, ...], verb: str, **query: Any) -> None:
    for each in execution_ids:
        now = remote.ask("POST", f"/executions/{segment(each)}/{verb}", **query)
        standard_output().write_text(f"{now['id']}\n")


def _follow(context: click.Context, remote: Remote, execution_id: str, output: str, *, quiet: bool) -> None:
    from headrace_cli.remote import following  # noqa: PLC0415 - takes its time
    from headrace_cli.report import outputs  # noqa: PLC0415 - as above
    from headrace_cli.view import state_of  # noqa: PLC0415 - as above

    out, err = standard_output(), standard_error()
    to = err if output == "json" else out
    display = following.display_for(to, err, remote, execution_id, quiet=quiet)
    try:
        execution, lines = following.follow(remote, execution_id, display)
    except KeyboardInterrupt:
        tell(f"It goes on. To see it again: headrace execution follow {execution_id}")
        raise click.exceptions.Exit(_INTERRUPTED) from None
    if not quiet:
        to.write([()])
    following.print_state(to, execution, lines)
    if output == "json":
        print_json(execution)
    else:
        out.write(outputs(execution))
    if not state_of(execution).is_success:
        context.exit(UNSUCCESSFUL)
