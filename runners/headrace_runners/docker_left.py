"""Which Docker engines an engine of ours has used, so that its next start finds what outlived it there."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace_engine.model.ids import new_id


class UsedEngines:
    """Kept in a file, which is made when the first Docker engine is about to be used."""

    def __init__(self, file: Path) -> None:
        """Read the file, if it is there. One that cannot be read counts as none."""
        self._file = file
        self._lock = threading.Lock()
        kept = _read(file)
        self.owner = str(kept.get("owner") or new_id())
        """What containers are labelled with: the same for as long as the file is there, and nobody else's."""
        self._urls = [str(url) for url in kept.get("engines") or []]

    def note(self, url: str) -> None:
        """Keep where an engine listens; done when this returns."""
        with self._lock:
            if url not in self._urls:
                self._urls.append(url)
                content = json.dumps({"owner": self.owner, "engines": self._urls})
                temporary = self._file.with_suffix(".tmp")
                temporary.write_text(content, encoding="utf-8")
                temporary.replace(self._file)

    def remove_left(self, environment: Mapping[str, str]) -> int:
        """Remove the containers that were left on them; return how many there were."""
        if not self._urls:
            return 0
        from headrace_runners.docker_engine import Address  # noqa: PLC0415 - nothing of it is loaded without need
        from headrace_runners.docker_runner import remove_left  # noqa: PLC0415 - as above

        return remove_left([Address.of(url, environment) for url in self._urls], self.owner)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, Mapping) else {}
