"""Runs the commands of a page as a person types them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def typed(line: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return what *line* prints, on standard output and standard error, when it is typed in *folder*."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout
