"""``headrace server``: the API, schedules, triggers and task runs in one process, on a data folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import click

from headrace_cli.output import standard_error


@click.command("server")
@click.option("--host", metavar="ADDRESS", help="The address to serve at; 127.0.0.1 when none is given.")
@click.option("--port", metavar="PORT", help="The port, 8080 when none is given; 0 takes one that is free.")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="State and files; .headrace when none is given.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A configuration file; headrace.yaml of the current folder when it is there.",
)
@click.option(
    "--flows",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Load all flows of this folder, and load them again when they change.",
)
@click.option(
    "--auth", metavar="USER:PASSWORD", help="Who may ask. Needed at every address that others than this machine reach."
)
@click.option(
    "--no-docker", is_flag=True, help="Run what names a container image as a process of this machine, with a warning."
)
def command(
    *,
    host: str | None,
    port: str | None,
    data_dir: Path | None,
    config: Path | None,
    flows: Path | None,
    auth: str | None,
    no_docker: bool,
) -> None:
    """Serve Kestra's HTTP API, and run what it is asked to run, in this process.

    GET /health answers 200 as soon as the server is ready. On Ctrl-C or SIGTERM it takes nothing more and gives what
    runs half a minute; a second Ctrl-C does not wait. Whatever way it ends, it goes on from there at the next start.

    Flows of --flows are saved when the server starts and whenever their file changes. A file that is broken is told of,
    and the flow stays as it was; it stays, too, when its file is gone.

    \b
    Exit codes:
      0  it was asked to stop
      2  it could not start: the port or DIR is in use, or the configuration is not valid

    \b
    Example:
      headrace server --flows examples --port 8080
    """
    from headrace_cli.config import load  # noqa: PLC0415 - these take their time; not needed for --help
    from headrace_cli.server_process import LocalServer  # noqa: PLC0415 - as above

    err = standard_error()

    def tell(row: str) -> None:
        err.write_text(f"{row}\n")

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options: dict[str, Any] = {
        "server.host": host,
        "server.port": port,
        "dataDir": data_dir,
        "flows": flows,
        "server.auth": auth,
    }
    if no_docker:
        options["docker.enabled"] = False
    configuration = load(config, os.environ, options)
    for note in configuration.notes:
        tell(note)
    LocalServer(configuration, os.environ, tell).run()
