"""The shared directory of a WorkingDirectory where its tasks run on different machines: an archive in internal storage.

The tasks of a WorkingDirectory run one after the other, so the archive is one task's at a time. An attempt unpacks it
before it begins and packs it when it has ended, however that was.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, cast

from headrace_engine.ports import Job, NotFoundError, Storage
from headrace_engine.run_stores import execution_folder

_IN_MEMORY = 8 * 1024 * 1024


def workspace_archive(namespace: str, flow_id: str, execution_id: str, task_run_id: str) -> str:
    """Return the URI of the archive for the WorkingDirectory with this task run."""
    return f"{execution_folder(namespace, flow_id, execution_id)}/_workspaces/{task_run_id}.tar.gz"


def archive_of(job: Job) -> str | None:
    """Return the URI of the archive that *job* works on; None outside a WorkingDirectory."""
    if job.workspace is None:
        return None
    return workspace_archive(job.namespace, job.flow_id, job.attempt.execution_id, job.workspace)


def unpack(storage: Storage, uri: str, directory: Path) -> None:
    """Put what the archive holds into *directory*, empty or not there; an archive that is not there yet is empty.

    Raises PortError; tarfile.TarError when a member would lie outside.
    """
    import tarfile  # noqa: PLC0415 - of all tasks only those of a WorkingDirectory need it

    directory.mkdir(parents=True, exist_ok=True)
    try:
        stored = storage.open(uri)
    except NotFoundError:
        return
    with stored, tarfile.open(fileobj=stored, mode="r|gz") as archive:
        # Links may point outside, as a virtual environment's do; nothing is written through them.
        archive.extractall(directory, filter="tar")


def pack(storage: Storage, uri: str, directory: Path) -> None:
    """Store what *directory* holds as the archive. Raises PortError."""
    import tarfile  # noqa: PLC0415 - as above

    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        with tarfile.open(fileobj=cast("IO[bytes]", file), mode="w:gz", compresslevel=1) as archive:
            for path in sorted(directory.iterdir()):
                archive.add(path, arcname=path.name)
        file.seek(0)
        storage.put(uri, file)  # type: ignore[arg-type]  # it is a binary file
