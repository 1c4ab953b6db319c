"""The ``headrace`` command. Each subcommand is a module of its own, imported when it is called."""

from __future__ import annotations

import atexit
import difflib
import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import Final

import click

SUBCOMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("headrace_cli.run", "Run a flow here and now, and show it happen."),
    "server": ("headrace_cli.server", "Serve Kestra's HTTP API, and run what it is asked to run."),
    "configs": ("headrace_cli.configs", "Print what `headrace server` is configured with."),
    "flow": ("headrace_cli.remote.flow", "Look at the flows of a server, check and save some, delete some."),
    "execution": ("headrace_cli.remote.execution", "Start executions on a server, look at them, and steer them."),
    "trigger": (
        "headrace_cli.remote.trigger",
        "Look at the triggers of a server, switch them off and on, and run dates of the past.",
    ),
    "kv": ("headrace_cli.remote.kv", "Read and write what flows keep under keys, by namespace."),
    "namespace": (
        "headrace_cli.remote.namespace",
        "Look at the namespaces of a server, and at the files that their flows share.",
    ),
    "logs": ("headrace_cli.remote.logs", "Print the last log lines of executions, whichever they are."),
    "plan": (
        "headrace_cli.remote.plan",
        "Compare a folder of flows with a server: print what `headrace apply` would do.",
    ),
    "apply": ("headrace_cli.remote.apply", "Have a server hold the flows of a folder."),
    "export": ("headrace_cli.remote.export", "Write the flows of a server into a folder."),
    "doctor": (
        "headrace_cli.remote.doctor",
        "Compare the triggers of a server's flows with what exists outside for them: records, alarms, rules, buckets.",
    ),
    "user": ("headrace_cli.user", "Manage the users of a server: who may ask it, and what."),
    "token": ("headrace_cli.token", "Manage API tokens: what programs show to a server."),
    "audit": ("headrace_cli.audit", "Print who changed what on a server."),
    "validate": (
        "headrace_cli.validate",
        "Check flows, and templates (files named *.template.yaml), without running them.",
    ),
    "test": ("headrace_cli.test", "Run the unit tests of flows."),
    "schema": ("headrace_cli.schema", "Print the JSON Schema of flows, for editors."),
    "tasks": ("headrace_cli.tasks", "List the task types, or explain one."),
}
"""Name to the module that holds the command, and its help in one line."""


_BEHIND = ("--server", "--token", "--user", "--data-dir", "--output", "-o", "--json")


class Subcommands(click.Group):
    """A group that imports a subcommand's module only when the subcommand is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options before a subcommand; of one that belongs behind it, tell that."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name in _BEHIND:
                ctx.fail(f"'{error.option_name}' stands behind the command: headrace flow list {error.option_name} …")
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        del ctx
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand, importing its module."""
        del ctx
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = import_module(SUBCOMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that is called; for a name that is none, tell the nearest."""
        near = [] if args[0] in SUBCOMMANDS else difflib.get_close_matches(args[0], SUBCOMMANDS, n=1)
        if near:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands, importing none."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in SUBCOMMANDS.items()])


@click.group(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headrace", message="headrace %(version)s")
def cli() -> None:
    """Headrace runs Kestra's YAML flows on this machine.

    \b
    Example:
      headrace run examples/hello.yaml --input message=Hello
    """


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding lacks is shown as \xNN, and never ends the command.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    atexit.register(_leave_garbage)
    cli(prog_name="headrace")


def _leave_garbage() -> None:
    """Keep an ending interpreter from looking through all objects: a quarter of the time that a short command takes.

    DuckDB tells of each of its objects that is left, in lines on the terminal: where it was used, they are collected.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()
