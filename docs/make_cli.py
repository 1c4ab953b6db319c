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

`headrace flow`, `execution`, `trigger`, `kv`, `namespace` and `logs` ask [any server](api.md), local or on AWS.
`headrace plan` and `headrace apply` bring a folder of flows to one, from a desk or
[from a pipeline](../examples/ci/README.md).

Every command takes `--help`. A mistake of yours is told in a line on standard error, with exit code 2 and never a
traceback; so is what a server refuses, in its own words.
"""

SERVERS = """\
## Which server, and as whom

A server is named by `--server`, by `HEADRACE_SERVER`, or in `~/.config/headrace/client.yaml` (below `$XDG_CONFIG_HOME`,
where that is set); otherwise it is `http://127.0.0.1:8080`. One that asks who you are is shown `--token`, `--user`,
`HEADRACE_TOKEN` or `HEADRACE_SERVER_AUTH`, or what the file says, which only the server that stands beside it gets to
see:

```text
server: https://headrace.example.com
token: hr_…  # or user: name:password
```

A flow is `namespace.flow`; one whose id has a dot in it is `namespace/flow`.

## Names that the shell completes

Put this into `~/.bashrc` for commands and options to be completed by the tab key; with `zsh_source` into `~/.zshrc` for
zsh, and for fish `_HEADRACE_COMPLETE=fish_source headrace | source` into `~/.config/fish/completions/headrace.fish`:

```bash
eval "$(_HEADRACE_COMPLETE=bash_source headrace)"
```
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
    ("`HEADRACE_SERVER`", "The server that is asked, by every command that has `--server`."),
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
        [*parts, EXECUTION_OUTPUT, SERVERS, "## Environment variables\n", table(("variable", "meaning"), ENVIRONMENT)]
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
