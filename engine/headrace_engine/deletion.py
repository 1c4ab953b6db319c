"""Executions that have ended are deleted: by the process that is asked, or by one that may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headrace_engine.model.frozen import dataclass

if TYPE_CHECKING:
    from headrace_engine.platform import PlatformServices


@dataclass(frozen=True, slots=True)
class Deletion:
    """Executions that have ended, and what goes with them."""

    execution_ids: tuple[str, ...]
    logs: bool = True
    metrics: bool = True
    storage: bool = True


Deletes = Callable[[Deletion], Sequence[str] | None]
"""Deletes executions. Returns the ids of those that are left, which may be tried again; None where all will have been
deleted later on."""


def delete(platform: PlatformServices, deletion: Deletion, goes_on: Callable[[], bool] = lambda: True) -> Sequence[str]:
    """Delete executions here, one after the other while it *goes_on*.

    Returns the ids of those that are left: there was no time for them, or the lists do not know their end yet.
    """
    left = []
    for execution_id in deletion.execution_ids:
        if not goes_on() or not _deleted(platform, execution_id, deletion):
            left.append(execution_id)
    return left


def _deleted(platform: PlatformServices, execution_id: str, deletion: Deletion) -> bool:
    summary = platform.stores.executions.get(execution_id)
    if summary is None:  # gone already, or not in the lists yet
        return platform.state(execution_id) is None
    purged = platform.of(summary.namespace).purge(
        execution_id, logs=deletion.logs, metrics=deletion.metrics, storage=deletion.storage
    )
    return purged is not None
