"""The program of the side containers: one file, standard library only, for any Python from 3.9 on.

`stage-in` begins the attempt (which takes its claim: of two that come, one does), puts the plan's files on the volume
and ends. `stage-out` begins when that has succeeded, beside the container with people's code: while it runs it sends
on what the code says; when it has ended it stores the files that are wanted and ends the attempt.

Both have the attempt's token and nothing else: no credentials of AWS. All that they ask for may be asked again. The
volume is shared with people's code, so nothing that is read from it is trusted: what matters stands in a folder of
the side containers' own, and the platform checks whatever they ask.

A signal that comes before the code has ended means that the container is being taken away. Then only what was said is
sent on: how the attempt ended, the platform learns from whoever stopped the container.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import stat
import sys
import tarfile
import time
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WRAPPER: str
"""wrapper.sh; whoever sends this program puts it in."""
SOURCE: bytes
"""This program, where it comes as an argument and not as a file."""

OWN = ".headrace"
TRIES = 30  # eight minutes and more: what has been done is worth waiting for
TRIES_MEANWHILE = 4
LONGEST_LINE = 64 * 1024
LONGEST_MESSAGE = 16 * 1024 * 1024
SENT_LINES = 1000
SENT_TEXT = 512 * 1024
INLINE_OUTPUTS = 1024 * 1024
PAGE = 100
CHUNK = 1024 * 1024
POST_EVERY = 5.0
HEARTBEAT = 60.0
LOOK_EVERY = 5.0
LAST_WORDS = 20.0
LATE = 60.0


class RefusedError(Exception):
    """The platform said no: asking again changes nothing."""


class FailedError(Exception):
    """The attempt has failed; the text is for the flow's author."""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_given: Any) -> None:
        """Follow nothing by itself."""


_http = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)


def request(
    method: str,
    url: str,
    data: Any = None,
    headers: dict[str, str] | None = None,
    *,
    timeout: float = 60,
    tries: int = TRIES,
) -> Any:
    """Return the answer to a request, tried again while it fails on the way or the other side does. Raises OSError."""
    for done in range(tries):
        try:
            body = data() if callable(data) else data
            asked = urllib.request.Request(url, body, headers or {}, method=method)
            return _http.open(asked, timeout=timeout)
        except urllib.error.HTTPError as error:
            if not is_passing(error) or done == tries - 1:
                raise
        except OSError:
            if done == tries - 1:
                raise
        time.sleep(min(0.2 * 2**done, 20))
    raise AssertionError("the last try returns or raises")


def is_passing(error: urllib.error.HTTPError) -> bool:
    """Tell whether a refusal is one of the moment."""
    return error.code >= 500 or error.code == 429


class Platform:
    """What the attempt asks the platform for."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._url = f"{environment['HEADRACE_API'].rstrip('/')}/api/v1/attempts/{environment['HEADRACE_ATTEMPT']}/"
        self._headers = {
            "authorization": f"Bearer {environment['HEADRACE_TOKEN']}",
            "content-type": "application/json",
        }
        self.owner, self.metadata = who(environment)

    def ask(self, operation: str, tries: int = TRIES, **values: Any) -> Any:
        """Return what the platform answers. Raises RefusedError; OSError when it cannot be reached."""
        body = json.dumps({"owner": self.owner, **values}).encode()
        try:
            with request("POST", self._url + operation, body, self._headers, tries=tries) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 303:  # a large answer is fetched elsewhere, where the token is nobody's business
                with request("GET", error.headers["location"]) as answer:
                    return json.loads(answer.read())
            if is_passing(error):
                raise
            raise RefusedError(f"{operation}: {error.code} {error.read(500).decode(errors='replace')}") from None


def who(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return what names this run of the containers, and the address of what is known of them."""
    address = environment.get("ECS_CONTAINER_METADATA_URI_V4", "")
    job = environment.get("AWS_BATCH_JOB_ID")
    if job:
        return f"batch:{job}", address
    with request("GET", f"{address}/task", timeout=5) as answer:
        return json.loads(answer.read())["TaskARN"], address


# -- In ---------------------------------------------------------------------------------------------


def stage_in(platform: Platform, volume: str, own: str) -> None:
    plan = platform.ask("begin", volume=volume)
    try:
        work = os.path.join(volume, "work")
        os.makedirs(work, exist_ok=True)
        if plan["archive"] and plan["archive"]["address"]:
            _unpack(plan["archive"]["address"], own, work)
        for file in plan["files"]:
            _place(work, file)
        os.makedirs(os.path.join(work, plan["outputDirectory"]), exist_ok=True)
        _open_to_all(work)
    except FailedError as failure:
        platform.ask("end", failure=str(failure))
        raise
    variables = {**plan["env"], "_HEADRACE_TIMEOUT": plan["timeout"]} if plan["timeout"] else plan["env"]
    _write(volume, "environment", "".join(f"export {name}={_quoted(value)}\n" for name, value in variables.items()))
    _write(volume, "command", f"set -- {' '.join(map(_quoted, plan['argv']))}\n")
    _write(volume, "wrapper.sh", WRAPPER)
    os.chmod(volume, 0o777)  # people's images run as whom they like, and the volume is this task's alone
    kept = ("archive", "outputDirectory", "patterns", "folder", "large", "timeout")
    with open(os.path.join(own, "stager.py"), "wb") as file:
        file.write(SOURCE)
    with open(os.path.join(own, "plan.json"), "w", encoding="utf-8") as file:
        json.dump({name: plan[name] for name in kept}, file)


def _place(work: str, file: Mapping[str, Any]) -> None:
    path = file["path"]
    target = os.path.join(work, path)
    root = os.path.realpath(work)
    if path.startswith("/") or ".." in path.split("/") or not _is_inside(os.path.dirname(target), root):
        raise FailedError(f"'{path}' leads out of the working directory")
    if os.path.lexists(target):
        if file["ifExists"] == "FAIL":
            raise FailedError(f"The namespace file '{path}' exists in the working directory already")
        if file["ifExists"] in ("WARN", "IGNORE"):
            return
        os.unlink(target)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if file.get("content") is not None:
        with open(target, "wb") as output:
            output.write(base64.b64decode(file["content"]))
    else:
        _fetch(file["address"], target, file["uri"])


def _fetch(address: str, target: str, name: str) -> None:
    for left in reversed(range(3)):
        try:
            with request("GET", address, timeout=300) as answer, open(target, "wb") as output:
                shutil.copyfileobj(answer, output, CHUNK)
                length = answer.headers.get("content-length")
                if length is None or int(length) == output.tell():
                    return
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):
                raise FailedError(f"The file '{name}' cannot be read: it does not exist, or not any more") from None
            raise
        except OSError:
            if not left:
                raise
    raise OSError(f"The file '{name}' breaks off on the way")


def _unpack(address: str, own: str, work: str) -> None:
    packed = os.path.join(own, "archive.tar.gz")
    _fetch(address, packed, "the working directory")
    with tarfile.open(packed, "r:gz") as archive:
        # Links may point outside, as a virtual environment's do; nothing is written through them.
        known: Any = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        archive.extractall(work, **known)
    os.unlink(packed)


def _open_to_all(root: str) -> None:
    for folder, folders, names in os.walk(root):
        os.chmod(folder, 0o777)  # as above
        for path in (os.path.join(folder, name) for name in [*folders, *names]):
            if not os.path.islink(path):
                mode = os.stat(path).st_mode
                os.chmod(path, stat.S_IMODE(mode) | (0o777 if mode & 0o111 else 0o666))


def _write(volume: str, name: str, text: str) -> None:
    path = os.path.join(volume, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o666)


def _quoted(value: Any) -> str:
    return "'" + str(value).replace("'", "'\\''") + "'"


# -- While it runs ----------------------------------------------------------------------------------


class Said:
    """What the code writes: its lines are sent on, and what it puts out is kept."""

    def __init__(self, platform: Platform, volume: str) -> None:
        self._platform = platform
        self._paths = {name: os.path.join(volume, name) for name in ("stdout", "stderr")}
        self._offsets = dict.fromkeys(self._paths, 0)
        self._rests = dict.fromkeys(self._paths, b"")
        self._waiting: list[tuple[str, str, int]] = []
        self._under_way: list[tuple[str, str, int]] = []
        """What was sent and not answered: it may be kept already, so it goes again as it was."""
        self._size = 0
        self._sent = 0
        self._tries = TRIES
        self._posted: float | None = None
        self.outputs: dict[str, Any] = {}
        self.counts = dict.fromkeys(self._paths, 0)
        self.stop = False

    def look(self, *, at_end: bool = False) -> None:
        """Send on what is there to send; *at_end*: all of it, or OSError is raised."""
        try:
            self._look(at_end)
        except OSError:
            if at_end:
                raise
            self._posted = time.monotonic()  # it goes again with the next: the code has no part in this

    def _look(self, at_end: bool) -> None:  # noqa: FBT001
        more = True
        self._tries = TRIES if at_end else TRIES_MEANWHILE
        while more:
            # What is not sent yet is not to fill the memory.
            is_full = self._size > 4 * SENT_TEXT and not at_end
            more = not is_full and sum(self._read(name, at_end) for name in self._paths) > 0
            since = None if self._posted is None else time.monotonic() - self._posted
            if (
                at_end
                or self._size > SENT_TEXT
                or ((self._waiting or self._under_way) and (since is None or since >= POST_EVERY))
            ):
                self._send()
            elif since is not None and since >= HEARTBEAT:
                self.post([])

    def _read(self, name: str, at_end: bool) -> bool:  # noqa: FBT001
        """Take the next lines of a stream; False when there was nothing."""
        try:
            with open(self._paths[name], "rb") as file:
                file.seek(self._offsets[name])
                chunk = file.read(CHUNK)
        except OSError:
            chunk = b""
        self._offsets[name] += len(chunk)
        *lines, rest = (self._rests[name] + chunk).split(b"\n")
        if rest and (len(rest) > LONGEST_MESSAGE or (at_end and not chunk)):
            lines.append(rest)
            rest = b""
        self._rests[name] = rest
        for line in lines:
            self._line(name, line)
        return bool(chunk)

    def _line(self, name: str, line: bytes) -> None:
        self.counts[name] += 1
        text = line.decode("utf-8", "replace").rstrip("\r")
        if text.startswith("::{") and text.rstrip().endswith("::"):
            try:
                message = json.loads(text.strip()[2:-2])
            except ValueError:
                message = None  # the platform says what is wrong with it
            if isinstance(message, dict):
                outputs = message.pop("outputs", None)
                if isinstance(outputs, dict):
                    self.outputs.update(outputs)
                if not message:
                    return
                text = f"::{json.dumps(message)}::"
        for begin in range(0, len(text) or 1, LONGEST_LINE):
            piece = text[begin : begin + LONGEST_LINE]
            self._waiting.append((name, piece, int(time.time() * 1000)))
            self._size += len(piece)

    def _send(self) -> None:
        while self._waiting or self._under_way:
            if not self._under_way:
                batch, size = 0, 0
                while batch < min(len(self._waiting), SENT_LINES) and size <= SENT_TEXT:
                    size += len(self._waiting[batch][1])
                    batch += 1
                self._under_way = self._waiting[:batch]
                del self._waiting[:batch]
                self._size -= size
            self.post(self._under_way)
            self._under_way = []

    def post(self, lines: list[tuple[str, str, int]]) -> None:
        """Have the platform keep *lines*; it says whether the attempt is to stop."""
        answer = self._platform.ask("said", self._tries, batch=self._sent, lines=lines)
        self._sent += bool(lines)
        self._posted = time.monotonic()
        self.stop = self.stop or answer["stop"]


def exit_code(volume: str) -> int | None:
    """Return the code's own exit code; None while it has not ended by itself."""
    try:
        with open(os.path.join(volume, "exit"), encoding="ascii") as file:
            text = file.read(20)
        return int(text) & 0xFF if text.endswith("\n") else None
    except (OSError, ValueError):
        return None


def has_stopped(platform: Platform) -> bool:
    """Tell whether ECS says that the container with the code runs no more, or never did."""
    if not platform.metadata:
        return False
    try:
        with _http.open(f"{platform.metadata}/task", timeout=5) as answer:
            containers = json.loads(answer.read()).get("Containers", [])
    except (OSError, ValueError):
        return False
    return any(each.get("Name") == "main" and each.get("KnownStatus") == "STOPPED" for each in containers)


def follow(platform: Platform, volume: str, said: Said, limit: float | None, taken_away: list[float]) -> int | None:
    """Send on what the code says until it has ended; return its exit code, None when it was ended from outside.

    Raises RefusedError when the attempt is over: somebody stopped it, or gave it up.
    """
    begun = looked = time.monotonic()
    pause = 0.05
    while True:
        code = exit_code(volume)
        now = time.monotonic()
        if code is None and now - looked >= LOOK_EVERY:
            looked = now
            if has_stopped(platform):
                time.sleep(1)  # what it wrote last is there before it is seen to have ended
                return exit_code(volume)
        if code is not None:
            return code
        if taken_away and now - taken_away[0] > LAST_WORDS:
            return None
        if limit and now - begun > limit + LATE:
            open(os.path.join(volume, "timeout"), "w").close()
            return None
        said.look()
        if said.stop:
            return None
        time.sleep(pause)
        pause = min(pause * 1.3, 0.5)


# -- Out --------------------------------------------------------------------------------------------


def stage_out(platform: Platform, volume: str, own: str) -> None:
    taken_away: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_signal: taken_away.append(time.monotonic()))
    with open(os.path.join(own, "plan.json"), encoding="utf-8") as file:
        plan = json.load(file)
    said = Said(platform, volume)
    code = follow(platform, volume, said, plan["timeout"], taken_away)
    was_taken = bool(taken_away)
    said.look(at_end=True)
    if was_taken:
        said.post([])  # whether somebody asked for it
        if not said.stop:
            raise RefusedError("the containers are taken away")
    ended: dict[str, Any] = {
        "exitCode": code,
        "started": os.path.exists(os.path.join(volume, "started")),
        "timedOut": os.path.exists(os.path.join(volume, "timeout")),
        "counts": [said.counts["stdout"], said.counts["stderr"]],
    }
    outputs = json.dumps(said.outputs).encode()
    if len(outputs) > INLINE_OUTPUTS:
        path = os.path.join(own, "outputs.json")
        with open(path, "wb") as file:
            file.write(outputs)
        _store(platform, own, [(path, plan["large"])])
        ended["large"] = True
    else:
        ended["outputs"] = said.outputs
    try:
        work = os.path.join(volume, "work")
        if code == 0 and not ended["timedOut"] and not said.stop:
            ended["files"], ended["unmatched"] = collect(platform, plan, work)
        if plan["archive"]:
            packed = os.path.join(own, "archive.tar.gz")
            _pack(work, packed)
            _store(platform, own, [(packed, plan["archive"]["uri"])])
    except (OSError, tarfile.TarError) as error:
        ended["failure"] = f"The files could not be stored: {type(error).__name__}: {error}"
    platform.ask("end", **ended)


def collect(platform: Platform, plan: Mapping[str, Any], work: str) -> tuple[dict[str, str], list[str]]:
    """Store the files that are wanted; return their URIs by path, and the patterns that no file matches."""
    found: dict[str, tuple[str, str]] = {}
    names: dict[str, int] = {}
    used: set[str] = set()
    patterns = [(each["text"], re.compile(each["regex"], re.DOTALL)) for each in plan["patterns"]]
    output_directory = os.path.join(work, plan["outputDirectory"])
    uris: dict[str, str] = {}
    for root, path in [
        *((work, path) for path in walk(work)),
        *((output_directory, p) for p in walk(output_directory)),
    ]:
        relative = os.path.relpath(path, root)
        if root == work:
            matching = [text for text, regex in patterns if regex.fullmatch(relative)]
            used.update(matching)
            if not matching:
                continue
        uri = f"{plan['folder']}/{unique(names, os.path.basename(path))}"
        found[uri] = (root, path)
        uris[relative] = uri
    _store(platform, work, [(found[uri][1], uri) for uri in uris.values()])
    return uris, [text for text, _ in patterns if text not in used]


def walk(root: str) -> Iterator[str]:
    """Yield the files below *root* in order, without Headrace's own and without links that lead out of it."""
    real_root = os.path.realpath(root)
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(OWN))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not name.startswith(OWN) and os.path.isfile(path) and _is_inside(path, real_root):
                yield path


def unique(names: dict[str, int], name: str) -> str:
    """Return a name for a stored file: plain, and not used before."""
    safe = re.sub(r"[^\w.~@=+-]", "_", unicodedata.normalize("NFC", name)).lstrip(".")[-200:] or "file"
    stem, dot, extension = safe.partition(".")
    number = names.get(safe, 0)
    candidate = safe if not number else f"{stem}-{number}{dot}{extension}"
    while candidate in names:
        number += 1
        candidate = f"{stem}-{number}{dot}{extension}"
    names[safe] = number + 1
    names.setdefault(candidate, 1)
    return candidate


def _is_inside(path: str, real_root: str) -> bool:
    return (os.path.realpath(path) + "/").startswith(real_root.rstrip("/") + "/")


def _store(platform: Platform, root: str, files: Sequence[tuple[str, str]]) -> None:
    """Put *files*, paths with the URIs they get, to where the platform says."""
    for begin in range(0, len(files), PAGE):
        page = files[begin : begin + PAGE]
        asked = [{"uri": uri, "size": os.path.getsize(path)} for path, uri in page]
        for (path, uri), place in zip(page, platform.ask("places", files=asked)["places"]):
            if "parts" not in place:
                _put(place["address"], path, root, 0, place["size"])
                continue
            tags = []
            for number, address in enumerate(place["parts"]):
                start = number * place["part"]
                tags.append(_put(address, path, root, start, min(place["part"], place["size"] - start)))
            platform.ask("complete", uri=uri, upload=place["upload"], tags=tags)


def _put(address: str, path: str, root: str, start: int, size: int) -> str:
    # The code is over, but what it left may run for a moment more: what was opened is what is looked at.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        is_plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_plain or not _is_inside(f"/proc/self/fd/{descriptor}", os.path.realpath(root)):
            raise OSError(f"{os.path.basename(path)} is not a file of the working directory")

        def pieces() -> Iterator[bytes]:
            file.seek(start)
            left = size
            while left and (piece := file.read(min(left, CHUNK))):
                left -= len(piece)
                yield piece

        headers = {"content-length": str(size), "content-type": "application/octet-stream"}
        with request("PUT", address, pieces if size else b"", headers, timeout=600) as answer:
            return str(answer.headers.get("etag", ""))


def _pack(work: str, packed: str) -> None:
    with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
        for name in sorted(os.listdir(work)):
            archive.add(os.path.join(work, name), arcname=name)


def main(which: str, volume: str, own: str) -> int:
    """Do the work of one of the side containers; return its exit code."""
    names = ("HEADRACE_API", "HEADRACE_ATTEMPT", "HEADRACE_TOKEN")
    try:
        platform = Platform(os.environ)
        for name in names:
            del os.environ[name]
        {"in": stage_in, "out": stage_out}[which](platform, volume, own)
    except (RefusedError, FailedError) as refused:
        print(f"{which}: {refused}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
