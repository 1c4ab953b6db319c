"""What a browser sent of a form: texts, and files that are there until the request is answered."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs

from headrace_engine.api.http import ApiError, Request, parts
from headrace_engine.model.frozen import dataclass
from headrace_engine.uploads import file_name

_URLENCODED = "application/x-www-form-urlencoded"
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Posted:
    """A form as it came: what each field holds, in order."""

    texts: Mapping[str, Sequence[str]]
    files: Mapping[str, Sequence[Path]]

    def one(self, name: str) -> str:
        """Return the last text of a field; empty without any."""
        return (self.texts.get(name) or [""])[-1]


@contextmanager
def posted(request: Request) -> Iterator[Posted]:
    """Give the form of a body. Raises ApiError 400 and 415."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == _URLENCODED or (not content_type and not request.body):
        try:
            texts = parse_qs(request.text(), keep_blank_values=True, max_num_fields=_MOST)
        except ValueError:
            raise ApiError(400, f"Bad request: a form has at most {_MOST} fields") from None
        yield Posted(texts, {})
        return
    found: dict[str, list[str]] = {}
    files: dict[str, list[Path]] = {}
    with ExitStack() as made:
        folder = ""
        for number, part in enumerate(parts(request)):
            if part.filename is None:
                # A browser ends the lines of a text as mail does.
                text = part.content.decode("utf-8", "replace").replace("\r\n", "\n")
                found.setdefault(part.name, []).append(text)
                continue
            if not part.filename:
                continue  # a field for a file that was left empty
            name = file_name(PurePosixPath(part.filename.replace("\\", "/")).name)
            folder = folder or made.enter_context(tempfile.TemporaryDirectory(prefix="headrace-"))
            path = Path(folder) / str(number) / name
            path.parent.mkdir()
            part.save(path)
            files.setdefault(part.name, []).append(path)
        yield Posted(found, files)
