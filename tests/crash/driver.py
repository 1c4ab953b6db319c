"""Lives of an engine, to be ended by kill -9: a program that forks one engine process after the other.

It has imported everything before, so that a life begins in milliseconds. It reads one line of JSON a life from its
standard input and writes lines about it to its standard output:

    born <pid>      the engine's process is there
    opened          the data folder is open and recovered
    step            an entry was written
    over            the execution has ended, and the runtime is closed
    dead            the process is gone, however it ended
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from headrace_cli.local import LocalRuntime
from headrace_engine.engine import NoSuchExecutionError
from headrace_engine.language import Registry

EXECUTION = "killed"
FLOWS = ("killed-child.yaml", "killed.yaml")


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def live(life: dict[str, str]) -> None:
    """Open the data folder, go on with the execution (or create it) and see it to its end."""
    # Every process of this life inherits the mark: the test knows whose it is.
    os.environ["CRASH_MARK"] = life["mark"]
    environment = {**os.environ, "ENV_EFFECTS": life["effects"]}
    runtime = LocalRuntime.open(Path(life["folder"]), environment=environment)
    runtime.subscribe(EXECUTION, lambda *_: tell("step"), lambda _line: None)
    tell("opened")
    for flow in FLOWS:
        definition = runtime.save_flow(Path(__file__).with_name(flow).read_text())
    try:
        runtime.view(EXECUTION)
    except NoSuchExecutionError:
        runtime.create(definition.namespace, definition.id, execution_id=EXECUTION)
    runtime.wait(EXECUTION)
    runtime.close()
    tell("over")


def main() -> None:
    """Fork one life after the other."""
    Registry.load()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                live(json.loads(line))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        tell("born", pid)
        os.waitpid(pid, 0)
        tell("dead")


if __name__ == "__main__":
    main()
