"""Lives of an engine that come to a certain state and stay in it until they are killed: a program, as driver is.

It says ``held`` when what was asked for has come to its state.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from crash.driver import main, tell
from crash.held import HeldStorage
from headrace_cli.local import LocalOptions, LocalRuntime
from headrace_engine.adapters.local.storage import FolderStorage


def live(life: dict[str, str]) -> None:
    """Open the folder and create executions, one when the other has begun; stay when the last is where it is wanted.

    That is where it asks storage for what is to be held, or else as "until" says: at once, begun, or paused.
    """
    folder = Path(life["folder"])
    os.environ["DOCKER_HOST"] = life["engine"]
    environment = {"PATH": os.environ["PATH"], "ENV_FOLDER": str(folder), "DOCKER_HOST": life["engine"]}
    storage = HeldStorage(FolderStorage(folder / "data" / "storage"), life["hold"], lambda: tell("held"))
    options = LocalOptions(storage=storage, workers=int(life["workers"]))
    runtime = LocalRuntime.open(folder / "data", environment=environment, options=options)
    definition = runtime.save_flow(life["flow"])
    *others, (last, inputs) = json.loads(life["executions"]).items()
    for name, given in others:
        runtime.create(definition.namespace, definition.id, given, execution_id=name)
        _look((folder / name).exists)
    runtime.create(definition.namespace, definition.id, inputs, execution_id=last)
    if life["until"] == "begun":
        _look((folder / last).exists)
    elif life["until"] == "paused":
        _look(lambda: runtime.view(last)["state"]["current"] == "PAUSED")
    if not life["hold"]:
        tell("held")
    threading.Event().wait()


def _look(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)  # polls


if __name__ == "__main__":
    main(live)
