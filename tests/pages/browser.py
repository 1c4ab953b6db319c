"""A browser without JavaScript: it keeps cookies, follows redirects, fills forms in as they stand in the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from headrace_engine.adapters.memory import MemoryAudit
from headrace_engine.api import Request, Response
from headrace_engine.api.gate import Gate
from headrace_engine.context import Surroundings
from headrace_engine.core.codec import decode_message
from headrace_engine.identity import OWNER, Grant, Kind, Principal
from headrace_engine.language import Registry
from headrace_engine.pages import Site
from headrace_engine.ports import AuditRecord
from headrace_engine.services import Settings
from headrace_engine.testing.runtime import VirtualRuntime

TASKS = Registry.load()
ADDRESS = "https://headrace.test"
_SECOND = timedelta(seconds=1)
_VOID = frozenset({"area", "br", "col", "hr", "img", "input", "link", "meta"})


@dataclass
class Form:
    """A form in a page."""

    action: str
    method: str
    enctype: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    """What it would send as it stands."""
    names: list[str] = field(default_factory=list)
    buttons: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Page:
    """A page as it came."""

    status: int
    headers: Mapping[str, str]
    text: str
    path: str
    forms: list[Form]
    elements: list[tuple[str, dict[str, str]]]
    words: str
    """Its text, without markup."""

    def form(self, action: str = "") -> Form:
        """Return the form that is sent to *action*; the last one when it does not matter."""
        return next(each for each in reversed(self.forms) if each.action == action or not action)

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of the elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def by_id(self, html_id: str) -> dict[str, str]:
        """Return the attributes of an element."""
        return next(attributes for _, attributes in self.elements if attributes.get("id") == html_id)

    def links(self) -> list[str]:
        """Return where its links lead."""
        return [each["href"] for each in self.all("a")]

    def value(self, name: str) -> str | None:
        """Return what a field of its forms holds; None when it would not be sent."""
        found = [value for form in self.forms for key, value in form.fields if key == name]
        return found[-1] if found else None


class Browser:
    """Somebody before the pages of an engine in memory."""

    def __init__(self) -> None:
        self.runtime = VirtualRuntime(
            registry=TASKS,
            settings=Settings(surroundings=Surroundings(url=ADDRESS)),
            secrets={"TOKEN": "s3cr3t-text"},
        )
        self.stores, self.engine = self.runtime.stores, self.runtime.engine
        self.principal = OWNER
        self.audit = MemoryAudit()
        gate = Gate(lambda _: self.principal, self.audit, self.runtime.clock)
        self.site = Site(self.engine, self.runtime.executor, self, gate, wait=self._wait)
        self.cookies: dict[str, str] = {}
        self.is_slow = False
        """Whether messages stay on their way."""
        self.headers: dict[str, str] = {}

    def send(self, execution_id: str, message: bytes) -> None:
        """Pass a message on."""
        self.runtime.world.post(execution_id, decode_message(message))

    def _wait(self, seconds: float) -> None:
        del seconds
        if not self.is_slow:
            self.runtime.settle(None)
        self.runtime.clock.set(self.runtime.clock.now() + _SECOND)

    def become(self, *grants: str) -> None:
        """Ask as somebody with these grants from now on."""
        self.principal = Principal("somebody", Kind.PASSWORD, tuple(map(Grant.parse, grants)))

    def forget(self) -> None:
        """Be another browser."""
        self.cookies.clear()

    def ask(
        self, method: str, target: str, body: bytes = b"", content_type: str = "", **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Ask for one thing; keep the cookie that comes."""
        parts = urlsplit(target)
        given = {"host": "headrace.test", **self.headers, **headers}
        if self.cookies and "cookie" not in headers:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if content_type:
            given["content-type"] = content_type
        answer = self.site(Request(method, parts.path, parse_qs(parts.query, keep_blank_values=True), given, body))
        assert isinstance(answer, Response)
        cookie = re.match(r"([\w-]+)=([^;]*)", answer.headers.get("set-cookie", ""))
        if cookie is not None:
            self.cookies[cookie[1]] = cookie[2]
        return answer.status, answer.headers, answer.body

    def get(self, target: str) -> Page:
        """Look at a page."""
        return self._follow("GET", target)

    def send_form(
        self,
        form: Form,
        values: Mapping[str, str | Sequence[str]] = {},
        *,
        button: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes]] = {},
    ) -> Page:
        """Send a form as it stands, but for *values*; with a button of it that says where else it goes, there."""
        pressed = button or {}
        for name in (*values, *files):
            assert name in form.names, f"there is no field {name} among {form.names}"
        pairs = [pair for pair in form.fields if pair[0] not in values]
        for name, given in values.items():
            pairs += [(name, each) for each in ([given] if isinstance(given, str) else given)]
        if pressed.get("name"):
            pairs.append((pressed["name"], pressed.get("value", "")))
        action = pressed.get("formaction", form.action)
        if form.method == "get":
            return self._follow("GET", f"{action}?{urlencode(pairs)}")
        if form.enctype != "multipart/form-data":
            return self._follow(
                "POST", action, urlencode(pairs).encode(), "application/x-www-form-urlencoded; charset=utf-8"
            )
        chunks = [
            f'--edge\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in pairs
        ]
        for name, (filename, content) in files.items():
            head = f'--edge\r\ncontent-disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
            chunks.append(head.encode() + content + b"\r\n")
        return self._follow("POST", action, b"".join([*chunks, b"--edge--\r\n"]), "multipart/form-data; boundary=edge")

    def press(self, page: Page, text: str, values: Mapping[str, str | Sequence[str]] = {}, **more: Any) -> Page:
        """Press the button with this text."""
        for form in page.forms:
            for button in form.buttons:
                if button["text"] == text:
                    return self.send_form(form, values, button=button, **more)
        raise AssertionError(f"there is no button {text!r} among {[each.buttons for each in page.forms]}")

    def _follow(self, method: str, target: str, body: bytes = b"", content_type: str = "") -> Page:
        status, headers, content = self.ask(method, target, body, content_type)
        while status == 303:
            target = headers["location"]
            status, headers, content = self.ask("GET", target)
        return read(status, headers, content.decode(), target)

    def records(self, action: str) -> list[AuditRecord]:
        """Return what the audit says of an action, the newest first; each record as it was written last."""
        now = self.runtime.clock.now()
        found = self.audit.read(start=now - timedelta(days=1), end=now + timedelta(days=1))
        return [each for each in found if each.action == action]

    # -- What is behind the pages -----------------------------------------------------------------------

    def save(self, *sources: str) -> None:
        """Store flows."""
        for source in sources:
            self.runtime.save_flow(source)

    def start(self, namespace: str, flow_id: str, **inputs: Any) -> str:
        """Start an execution and have it go on as far as it goes by itself."""
        execution_id = self.runtime.create(namespace, flow_id, inputs)
        self.runtime.settle(None)
        return execution_id

    def execution(self, page: Page) -> dict[str, Any]:
        """Return the execution whose page this is, once it has gone as far as it goes."""
        found = re.fullmatch(r"/executions/(\w+)", urlsplit(page.path).path)
        assert found is not None, page.text
        self.runtime.settle(None)
        return self.engine.view(self.runtime.state(found[1]))


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser before empty stores."""
    made = Browser()
    with made.runtime:
        yield made


def read(status: int, headers: Mapping[str, str], text: str, path: str) -> Page:
    """Take a page apart; whatever is not well-formed is an error."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert not parser.open, f"{parser.open} stay open"
    words = " ".join("".join(parser.words).split())
    return Page(status, headers, text, path, parser.forms, parser.elements, words)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self._form: Form | None = None
        self._select: dict[str, str] | None = None
        self._area: tuple[str, list[str]] | None = None
        self._button: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "form":
            assert self._form is None, "a form in a form"
            self._form = Form(attributes["action"], attributes["method"], attributes.get("enctype", ""))
            self.forms.append(self._form)
        if tag in ("dt", "dd", "td", "th", "li", "p"):
            self.words.append(" ")
        name = attributes.get("name", "")
        if self._form is not None and tag in ("input", "select", "textarea"):
            self._form.names.append(name)
        if tag == "input":
            self._input(name, attributes)
        elif tag == "select":
            self._select = {"name": name}
        elif tag == "option" and self._select is not None:
            value = attributes.get("value")
            if "selected" in attributes or "value" not in self._select:
                self._select["value"] = value if value is not None else "?"
        elif tag == "textarea":
            self._area = (name, [])
        elif tag == "button":
            self._button = {**attributes, "text": ""}

    def _input(self, name: str, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "text")
        if self._form is None or kind == "file" or (kind == "checkbox" and "checked" not in attributes):
            return
        self._form.fields.append((name, attributes.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open[-1] == tag, f"</{tag}> ends <{self.open[-1]}>"
        self.open.pop()
        if tag == "form":
            self._form = None
        elif tag == "select" and self._select is not None:
            if self._form is not None:
                self._form.fields.append((self._select["name"], self._select.get("value", "")))
            self._select = None
        elif tag == "textarea" and self._area is not None:
            if self._form is not None:
                self._form.fields.append((self._area[0], "".join(self._area[1]).removeprefix("\n")))
            self._area = None
        elif tag == "button" and self._button is not None:
            if self._form is not None:
                self._form.buttons.append({**self._button, "text": " ".join(self._button["text"].split())})
            self._button = None

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._area[1].append(data)
        if self._button is not None:
            self._button["text"] += data
        self.words.append(data)
