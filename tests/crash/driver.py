"""Lives of an engine, to be ended by kill -9: a program that forks one engine process after the other.

It has imported everything before, so that a life begins in milliseconds. It reads one line of JSON a life from its
standard input and writes lines about it to its standard output:

    born <pid>      the engine's process is there
    opened          the data folder is open and recovered
    step            an entry was written
    log <message>   the log of the execution has a new line
    killing         the kill of the execution, asked for by "kill_at", is on record
    over            the execution has ended, and the runtime is closed
    dead            the process is gone, however it ended
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from headrace_cli.local import LocalRuntime
from headrace_engine.engine import NoSuchExecutionError
from headrace_engine.language import Registry

EXECUTION = "killed"


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def live(life: dict[str, str]) -> None:
    """Open the data folder, go on with the execution (or create it) and see it to its end."""
    # Every process of this life inherits the mark: the test knows whose it is.
    os.environ["CRASH_MARK"] = life["mark"]
    environment = {**os.environ, "ENV_EFFECTS": life["effects"]}
    runtime = LocalRuntime.open(Path(life["folder"]), environment=environment)
    kill_at = int(life.get("kill_at", 0))
    steps = itertools.count(1)

    def step(_execution_id: str) -> None:
        tell("step")
        if next(steps) == kill_at:
            Thread(target=kill, daemon=True).start()

    def kill() -> None:
        runtime.kill(EXECUTION)
        tell("killing")

    runtime.subscribe(EXECUTION, step, lambda line: tell("log", line.message))
    tell("opened")
    for flow in life["flows"].split():
        definition = runtime.save_flow(Path(flow).read_text())
    try:
        runtime.view(EXECUTION)
    except NoSuchExecutionError:
        runtime.create(definition.namespace, definition.id, execution_id=EXECUTION)
    runtime.wait(EXECUTION)
    runtime.close()
    tell("over")


def main(live: Callable[[dict[str, str]], None]) -> None:
    """Fork one life after the other."""
    Registry.load()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                live(json.loads(line))
            except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
                traceback.print_exc()
            finally:
                os._exit(0)
        tell("born", pid)
        os.waitpid(pid, 0)
        tell("dead")


if __name__ == "__main__":
    main(live)
