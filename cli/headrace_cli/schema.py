"""``headrace schema``: the JSON Schema of flows, which lets an editor complete and check them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from headrace_cli.errors import UserError
from headrace_cli.output import standard_output


@click.command("schema")
@click.option(
    "--output",
    "-o",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this file instead of standard output.",
)
def command(file: Path | None) -> None:
    """Print the JSON Schema of flows, for editors.

    It is made from the same classes that check a flow, so an editor completes and checks exactly what Headrace takes.

    \b
    Example:
      headrace schema --output flow.schema.json

    VS Code (with Red Hat's YAML extension) then checks every flow whose file begins with the line

    \b
      # yaml-language-server: $schema=./flow.schema.json

    or all that settings.json names:

    \b
      "yaml.schemas": {"./flow.schema.json": "flows/**/*.yaml"}
    """
    from headrace_engine.language.schema import json_schema  # noqa: PLC0415 - takes its time; not needed for --help

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if file is None:
        standard_output().write_text(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}.") from None
