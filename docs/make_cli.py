"""cli.md, from the help of the commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from page_parts import generated_by, table

from headrace_cli.main import SUBCOMMANDS, cli

INTRODUCTION = """\
# The command

`headrace run` runs a flow in its own process, and needs no server. `headrace server` is [the server](server.md), for
flows that are started over HTTP, by schedules and by triggers.

Every command takes `--help`. A mistake of yours is told in a line on standard error, with exit code 2 and never a
traceback.
"""

ENVIRONMENT: tuple[tuple[str, str], ...] = (
    (
        "`SECRET_<KEY>`",
        "A secret, in base64: `secret('KEY')`. A file `.env` in the current folder is read too; the environment wins.",
    ),
    ("`ENV_<NAME>`, `KESTRA_<NAME>`", "A value for expressions: `envs.name`, in lower case and without the prefix."),
    (
        "`HEADRACE_ENCRYPTION_SECRET_KEY`",
        "The key that seals secrets: 32 bytes in base64. Without it the data folder has one of its own, `cipher.key`.",
    ),
    ("`HEADRACE_PYTHON`", "The Python that Python scripts run with."),
    (
        "`HEADRACE_TOKEN`, `HEADRACE_SERVER_AUTH`",
        "What is shown to a server that asks who you are: an API token, or user:password.",
    ),
    ("`HEADRACE_SERVER`", "The server that `user`, `token` and `audit` ask."),
    ("`HEADRACE_<KEY>`", "Every [key of the server's configuration](server.md#configuration)."),
    ("`NO_COLOR`", "No colours, whatever its value."),
)

EXECUTION_OUTPUT = """\
## What `run` prints

On a terminal, a tree of task runs that is drawn again as they change. Elsewhere one line for each change of state and
each log line: time (UTC), state or level, name. At the end comes what failed and why, then the flow's outputs.

`--output json` prints the execution on standard output in the shape of Kestra's API: `id`, `namespace`, `flowId`,
`flowRevision`, `taskRunList`, `inputs`, `outputs`, `labels`, `state` and the rest.

## Where `run` keeps things

In a temporary folder that is gone afterwards, unless `--data-dir` names one. A data folder keeps flows, executions,
logs, keys and files. Only one command can use it at a time; another one is refused, and told the process that has it.
When a command was killed, the next one on the same folder goes on with the executions that were not done, beside the
one it was asked for; it ends when its own has ended.
"""


def page() -> str:
    """Return the text of cli.md."""
    context = click.Context(cli, info_name="headrace")
    parts = [
        generated_by("make_cli.py"),
        INTRODUCTION,
        table(("command", "does"), ((f"[`{n}`](#headrace-{n})", text) for n, (_, text) in SUBCOMMANDS.items())),
        "`headrace --version` prints the version.\n",
    ]
    for name in SUBCOMMANDS:
        command = cli.get_command(context, name)
        if command is None:
            raise LookupError(name)
        parts += [f"## headrace {name}\n", *_command(name, command)]
        if isinstance(command, click.Group):
            for own, subcommand in command.commands.items():
                parts += [f"### headrace {name} {own}\n", *_command(f"{name} {own}", subcommand)]
    return "\n".join(
        [*parts, EXECUTION_OUTPUT, "## Environment variables\n", table(("variable", "meaning"), ENVIRONMENT)]
    )


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [str(param.metavar) for param in command.params if isinstance(param, click.Argument)]
    if not isinstance(command, click.Group):
        yield f"```text\n{' '.join(['headrace', name, '[OPTIONS]', *arguments])}\n```\n"
    yield from (_paragraph(text) for text in inspect.cleandoc(command.help or "").split("\n\n"))
    options = [param for param in command.params if isinstance(param, click.Option)]
    if options:
        yield table(("option", "meaning"), ((_option(option), option.help or "") for option in options))


def _paragraph(text: str) -> str:
    """Return a paragraph of a command's help; click keeps the lines of one that begins with a backspace."""
    if not text.startswith("\b"):
        return f"{text}\n"
    rows = text.splitlines()[1:]
    title = f"{rows.pop(0)}\n\n" if rows[0].endswith(":") else ""
    return f"{title}```text\n{inspect.cleandoc(chr(10).join(rows))}\n```\n"


def _option(option: click.Option) -> str:
    if option.is_flag:
        value = ""
    elif isinstance(option.type, click.Choice):
        value = " " + "|".join(map(str, option.type.choices))
    else:
        value = f" {option.metavar or str(option.type.name).upper()}"
    return ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in reversed(option.opts))
