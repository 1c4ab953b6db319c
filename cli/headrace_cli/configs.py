"""``headrace configs``: what is configured, and where each value comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from headrace_cli.output import standard_error, standard_output


@click.command("configs")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A configuration file; headrace.yaml of the current folder when it is there.",
)
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def command(*, config: Path | None, output: str) -> None:
    """Print what `headrace server` is configured with: each key, its value, and where that comes from.

    Secrets are masked.

    \b
    Exit codes:
      0  the configuration is valid
      2  it is not

    \b
    Example:
      headrace configs --config headrace.yaml
    """
    from headrace_cli.config import load  # noqa: PLC0415 - takes its time; not needed for --help

    out, err = standard_output(), standard_error()
    configuration = load(config, os.environ, {})
    err.write_text("".join(f"{note}\n" for note in configuration.notes))
    shown = [(key, value, source) for key, value, source in configuration.shown()]
    if output == "json":
        found = [
            {"key": key.name, "variable": key.variable, "value": value, "source": source}
            for key, value, source in shown
        ]
        out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        return
    rows = [(key.name, "-" if value is None else _text(value), source) for key, value, source in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    out.write_text(
        "".join(f"{name.ljust(widths[0])}  {value.ljust(widths[1])}  {source}\n" for name, value, source in rows)
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
