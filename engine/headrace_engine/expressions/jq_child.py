"""The process in which jq programs run; see `jq`. It is started as a file, not imported.

Reads requests (seconds, size, then `[program, document, results, characters]` as JSON), writes a list of results or a
text that says what is wrong.
"""

import json
import os
import resource
import signal
import struct
import sys
from functools import lru_cache
from typing import Any, BinaryIO


def main() -> None:
    """Answer requests until there are no more."""
    memory = int(sys.argv[1])
    sys.path[:] = sys.argv[2:]
    os.environ.clear()  # Python itself may have set a locale, and jq can read all there is
    import jq  # noqa: PLC0415 - found on the parent's path

    compiled = lru_cache(maxsize=128)(jq.compile)
    # Everything is loaded: from here on no file can be opened, by nobody.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "darwin":  # macOS refuses this limit; there the alarm alone must do
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # The default action ends the process even while C code runs, also when the parent is gone.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(12):
        seconds, size = struct.unpack(">dI", head)
        answer = serve(requests, size, seconds, compiled)
        answers.write(struct.pack(">I", len(answer)) + answer)
        answers.flush()


def serve(requests: BinaryIO, size: int, seconds: float, compiled: Any) -> bytes:
    """Answer one request, or die by the alarm."""
    program, document, results, characters = json.loads(requests.read(size))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        answer: Any = evaluate(compiled(program), document, results, characters)
    except (ValueError, RecursionError, MemoryError) as error:
        answer = " ".join(str(error).split()) or type(error).__name__
    signal.setitimer(signal.ITIMER_REAL, 0)
    return json.dumps(answer).encode()


def evaluate(program: Any, document: str, results: int, characters: int) -> Any:
    """Return all results, or a text when they are too many or too long."""
    found: list[Any] = []
    left = characters
    for value in program.input_text(document):
        left -= len(json.dumps(value))
        if left < 0 or len(found) >= results:
            return "it has too many or too long results"
        found.append(value)
    return found


if __name__ == "__main__":
    main()
