"""Files of a form that are larger than its body may be: where scripts run, they go ahead of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from headrace_engine.api.uploads import upload_origin
from headrace_engine.engine import Engine
from headrace_engine.model.frozen import dataclass
from headrace_engine.pages.fields import Field
from headrace_engine.pages.html import connecting, path

MOST_OF_FILES = 4_000_000
"""Bytes that the files of a form may have where Lambda is called with it: 6 MB in base64, other fields included."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a page's form is told of its files."""

    largest: int
    address: str
    """Where its script asks where a file goes."""

    @property
    def words(self) -> str:
        """The most that goes with the form, as people say it."""
        million = 1_000_000
        return f"{self.largest / million:.3g} MB" if self.largest >= million else f"{self.largest / 1000:.3g} kB"


def place_of_flow(namespace: str, flow_id: str) -> str:
    """Return where a script asks of somebody who may start the flow."""
    return path("api", "v1", "main", "executions", namespace, flow_id, "uploads")


class Uploading:
    """Says of forms how large their files may be, and where larger ones go."""

    def __init__(self, engine: Engine, largest: int) -> None:
        self._engine = engine
        self._largest = largest

    def ahead(self, fields: Sequence[Field], address: str) -> Ahead | None:
        """Return what a form is told whose script asks *address* for places; None when it has no field for a file."""
        is_asked = any(field.control == "file" for field in fields)
        return Ahead(self._largest, address) if is_asked else None

    def headers(self, ahead: Ahead | None) -> Mapping[str, str]:
        """Return what the page's policy must let its script do."""
        return connecting(self._origin) if ahead is not None and self._origin else {}

    @cached_property
    def _origin(self) -> str:
        return upload_origin(self._engine)
