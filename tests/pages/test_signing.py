"""Signing in with a browser, what the session is good for, and what ends it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from headrace_engine.accounts import Accounts
from headrace_engine.adapters.memory import MemoryIdentity
from headrace_engine.api import Request, Response
from headrace_engine.api.gates import local_gate, login_gate
from headrace_engine.authentication import Authenticator, FirstAdmin, Limits
from headrace_engine.identity import Grant
from headrace_engine.pages import Site
from headrace_engine.passwords import Cost
from headrace_engine.ports import KVEntry, PortError
from headrace_engine.sessions import LASTS, NAMESPACE, StoredKey, forget_expired
from pages.browser import Browser, Page, browser

CHEAP = Cost(1, r=1)
LOOKS = {"accept": "text/html,application/xhtml+xml", "sec-fetch-site": "none", "sec-fetch-mode": "navigate"}
PHRASE = "correct horse"
FLOW = """
id: hello
namespace: company
tasks: [{id: log, type: io.kestra.plugin.core.log.Log, message: hello}]
"""


class Visitor:
    """Somebody with a browser before a server that asks who they are."""

    def __init__(self, made: Browser) -> None:
        self.browser = made
        self.identity = MemoryIdentity()
        self.accounts = Accounts(self.identity, made.runtime.clock, cost=CHEAP)
        self.accounts.add("ann", [Grant.parse("editor@company")], PHRASE)
        made.headers = dict(LOOKS)
        self.open()

    def open(self, **options: Any) -> None:
        """Have the server start again: another process on the same stores."""
        stores, runtime = self.browser.stores, self.browser.runtime
        first = FirstAdmin("me", lambda: "sesame opens")
        knows = Authenticator(
            self.identity, runtime.clock, first=first, cost=CHEAP, limits=Limits(of_name_and_address=3)
        )
        gate = login_gate(
            self.identity,
            self.browser.audit,
            runtime.clock,
            first=first,
            authenticator=knows,
            **{"session_key": StoredKey(stores.kv, stores.cipher, runtime.clock), **options},
        )
        self.browser.site = Site(runtime.engine, runtime.executor, self.browser, gate, wait=self.browser._wait)

    def sign_in(self, name: str = "ann", phrase: str = PHRASE, to: str = "/flows") -> Page:
        page = self.browser.get(f"/login?to={to}")
        return self.browser.send_form(page.form("/login"), {"name": name, "password": phrase})

    @property
    def session(self) -> str:
        return next((value for name, value in self.browser.cookies.items() if name.endswith("-session")), "")

    def is_in(self) -> bool:
        """Return whether the API knows the session."""
        return self.me()[0] == 200

    def me(self, **headers: str) -> tuple[int, Any]:
        status, _, body = self.browser.ask("GET", "/api/v1/main/me", **headers)
        return status, json.loads(body)


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    with browser() as made:
        yield Visitor(made)


def test_who_wants_a_page_signs_in_and_gets_it(visitor: Visitor) -> None:
    visitor.browser.save(FLOW)
    page = visitor.browser.get("/forms/company/hello")
    assert page.path == "/login?to=%2Fforms%2Fcompany%2Fhello"
    page = visitor.browser.send_form(page.form("/login"), {"name": "ann", "password": PHRASE})
    assert (page.status, page.path) == (200, "/forms/company/hello")
    assert "ann" in page.words
    assert "/logout" in page.links()
    # Its forms work, its scripts may ask the API; and nothing more than Ann may.
    assert visitor.browser.execution(visitor.browser.press(page, "Execute"))["state"]["current"] == "SUCCESS"
    assert visitor.me()[1] == {"name": "ann", "kind": "session", "grants": ["editor@company"]}
    assert visitor.browser.ask("GET", "/api/v1/main/flows/other")[0] == 403
    records = {(each.who, each.kind) for each in visitor.browser.records("POST /forms/{namespace}/{flow_id}")}
    assert records == {("ann", "session")}


def test_the_cookie_is_for_this_site_alone_and_no_script_reads_it(visitor: Visitor) -> None:
    form = visitor.browser.get("/login").form("/login")
    for proto, name, more in (("http", "headrace-session", ""), ("https", "__Host-headrace-session", "; Secure")):
        visitor.browser.headers["x-forwarded-proto"] = proto
        form = visitor.browser.get("/login").form("/login")
        body = f"_proof={dict(form.fields)['_proof']}&name=ann&password={PHRASE}".encode()
        _, headers, _ = visitor.browser.ask("POST", "/login", body, "application/x-www-form-urlencoded")
        expected = rf"{name}=[\w-]+\.[\w-]{{43}}; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax{more}"
        assert re.fullmatch(expected, headers["set-cookie"])
        assert headers["cache-control"] == "no-store"


def test_who_is_not_known_is_told_no_more_than_that(visitor: Visitor) -> None:
    told = set()
    for name, phrase in (("ann", "wrong"), ("nobody", PHRASE), ("", ""), ("ann", "x" * 5000)):
        page = visitor.sign_in(name, phrase)
        assert (page.status, visitor.session) == (401, "")
        assert "www-authenticate" not in page.headers, "a browser would ask again, by a window of its own"
        told.add(re.sub(r"[0-9a-f]{64}", "", page.text))
    assert len(told) == 1
    records = visitor.browser.records("log in")
    assert {(each.who, each.status) for each in records} == {("ann", 401), ("", 401)}


def test_guessing_ends_as_it_does_everywhere(visitor: Visitor) -> None:
    assert [visitor.sign_in(phrase=f"guess {n}").status for n in range(4)] == [401, 401, 401, 429]
    page = visitor.sign_in()
    assert (page.status, int(page.headers["retry-after"]) > 0) == (429, True)
    assert "Too many attempts" in page.words
    shown = base64.b64encode(f"ann:{PHRASE}".encode()).decode()
    assert visitor.me(authorization=f"Basic {shown}")[0] == 429


def test_a_session_outlives_the_process_and_not_its_time(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.open()
    assert visitor.is_in()
    clock = visitor.browser.runtime.clock
    clock.set(clock.now() + LASTS - timedelta(minutes=1))
    assert visitor.is_in()
    clock.set(clock.now() + timedelta(minutes=1))
    assert not visitor.is_in()
    assert len(visitor.identity.tokens()) == 1
    forget_expired(visitor.identity, clock.now())
    assert visitor.identity.tokens() == []


def test_who_signs_out_is_out_wherever_the_cookie_went(visitor: Visitor) -> None:
    visitor.sign_in()
    stolen = f"headrace-session={visitor.session}"
    page = visitor.browser.press(visitor.browser.get("/logout"), "Sign out")
    assert page.path == "/login"
    assert visitor.session == ""
    assert visitor.me(cookie=stolen)[0] == 401
    assert [each.who for each in visitor.browser.records("log out")] == ["ann"]


def change_password(visitor: Visitor) -> None:
    visitor.accounts.change("ann", password="another phrase")


def disable(visitor: Visitor) -> None:
    visitor.accounts.change("ann", disabled=True)


def make_anew(visitor: Visitor) -> None:
    visitor.accounts.delete("ann")
    visitor.accounts.add("ann", [Grant.parse("admin")], PHRASE)


def delete_session(visitor: Visitor) -> None:
    (session,) = visitor.accounts.tokens("ann")
    assert session.about.startswith("Signed in from")
    visitor.accounts.delete_token("ann", session.id)


def forget_key(visitor: Visitor) -> None:
    (entry,) = visitor.browser.stores.kv.list(NAMESPACE)
    visitor.browser.stores.kv.delete(NAMESPACE, entry.key)
    visitor.open()


@pytest.mark.parametrize("end", [change_password, disable, make_anew, delete_session, forget_key])
def test_what_ends_a_session(visitor: Visitor, end: Any) -> None:
    visitor.sign_in()
    assert visitor.is_in()
    end(visitor)
    assert not visitor.is_in()
    assert visitor.browser.get("/flows").path == "/login?to=%2Fflows"


def test_what_somebody_may_is_what_they_may_now(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.accounts.change("ann", grants=[Grant.parse("viewer@company")])
    assert visitor.me()[1]["grants"] == ["viewer@company"]
    visitor.accounts.change("ann", grants=[])
    assert visitor.me()[0] == 403


def test_a_token_signs_in_and_ends_what_it_began(visitor: Visitor) -> None:
    made = visitor.accounts.add_token("ann", grants=[Grant.parse("viewer@company")], lifetime=timedelta(hours=1))
    assert visitor.sign_in("", made.shown).status == 200
    assert visitor.me()[1]["grants"] == ["viewer@company"]
    visitor.accounts.change("ann", password="another phrase")
    assert visitor.is_in(), "it is not the password that opened"
    visitor.accounts.delete_token("ann", made.token.id)
    assert not visitor.is_in()
    late = visitor.accounts.add_token("ann", lifetime=timedelta(minutes=10))
    visitor.sign_in("", late.shown)
    clock = visitor.browser.runtime.clock
    clock.set(clock.now() + timedelta(minutes=10))
    assert not visitor.is_in()


def test_the_admin_of_the_command_line_signs_in(visitor: Visitor) -> None:
    visitor.sign_in("me", "sesame opens")
    assert visitor.me()[1] == {"name": "me", "kind": "session", "grants": ["admin"]}
    visitor.open()
    assert visitor.is_in()
    # Somebody stored takes the name, and the place.
    visitor.accounts.add("me", [], "my own phrase")
    assert not visitor.is_in()


def test_a_session_is_nothing_else(visitor: Visitor) -> None:
    """Not a token, not a reason to make one, not somebody else's, and nothing that can be made up."""
    visitor.sign_in()
    good = visitor.session
    said, mac = good.split(".")
    record = next(iter(visitor.identity.tokens()))
    assert visitor.me(cookie="", authorization=f"Bearer {good}")[0] == 401
    assert visitor.me(cookie="", authorization=f"Bearer hr_{record.id}_{'session'.ljust(43, 'x')}")[0] == 401
    assert visitor.browser.ask("POST", "/api/v1/main/me/tokens", b"{}")[0] == 409
    parts = json.loads(base64.urlsafe_b64decode(said + "=="))
    other = json.dumps([parts[0], "me", *parts[2:]]).encode()
    forged = [
        base64.urlsafe_b64encode(other).rstrip(b"=").decode() + "." + mac,
        f"{said}.{mac[:-2]}AA",
        f"{said}.",
        said,
        f".{mac}",
        "x" * 4000,
        "é.é",
        f"{said}.{mac}.{mac}",
    ]
    for text in forged:
        assert visitor.me(cookie=f"headrace-session={text}")[0] == 401, text
    assert visitor.me(cookie=f"headrace-session={good}")[0] == 200
    assert visitor.me(cookie=f"headrace={good}; x={good}")[0] == 401


def test_another_site_does_nothing_with_a_session(visitor: Visitor) -> None:
    visitor.sign_in()
    form = "application/x-www-form-urlencoded"
    for header in ({"origin": "https://evil.test"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        assert visitor.browser.ask("POST", "/api/v1/main/flows", FLOW.encode(), **header)[0] == 403
        assert visitor.browser.ask("POST", "/logout", b"", form, **header)[0] == 403
        assert visitor.browser.ask("POST", "/login", b"name=eve&password=x", form, **header)[0] == 403
    # Not even with the token of the page.
    pages = {target: visitor.browser.get(target) for target in ("/login", "/logout")}
    visitor.browser.headers["sec-fetch-site"] = "cross-site"
    for target, page in pages.items():
        assert visitor.browser.send_form(page.form(target)).status == 403
    visitor.browser.headers["sec-fetch-site"] = "none"
    assert visitor.browser.ask("POST", "/logout", b"", form)[0] == 403, "without the token of its page"
    assert visitor.browser.ask("POST", "/login", f"name=ann&password={PHRASE}".encode(), form)[0] == 403
    assert visitor.is_in()


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "/%5Cevil",
        "javascript:alert(1)",
        "/login?to=/x",
        "/logout",
        "/a\r\nb",
        "",
        "x",
    ],
)
def test_one_comes_back_to_this_site_alone(visitor: Visitor, to: str) -> None:
    form = visitor.browser.get("/login").form("/login")
    pairs = {"name": "ann", "password": PHRASE, "to": to, "_proof": dict(form.fields)["_proof"]}
    status, headers, _ = visitor.browser.ask(
        "POST", "/login", urlencode(pairs).encode(), "application/x-www-form-urlencoded"
    )
    assert (status, headers["location"]) in ((303, "/"), (303, "/%5Cevil"))


def test_programs_are_asked_as_before(visitor: Visitor) -> None:
    """Who does not look at pages gets 401 and how to answer it; a script of a page gets no window of the browser."""
    made = visitor.browser
    made.headers = {}
    status, headers, _ = made.ask("GET", "/flows")
    assert (status, headers["www-authenticate"][:5]) == (401, "Basic")
    status, headers, _ = made.ask("GET", "/flows", **{"sec-fetch-mode": "cors"})
    assert (status, "www-authenticate" in headers) == (401, False)
    status, headers, body = made.ask("POST", "/forms/company/hello", b"", accept="text/html")
    assert (status, "www-authenticate" in headers, b'href="/login"' in body) == (401, False, True)
    shown = base64.b64encode(f"ann:{PHRASE}".encode()).decode()
    assert made.ask("GET", "/flows", authorization=f"Basic {shown}")[0] == 200


def test_the_key_of_sessions_is_sealed_and_no_text_of_a_flow_is_taken_for_it(visitor: Visitor) -> None:
    stores, clock = visitor.browser.stores, visitor.browser.runtime.clock
    key = StoredKey(stores.kv, stores.cipher, clock)()
    assert (len(key), StoredKey(stores.kv, stores.cipher, clock)()) == (32, key)
    (entry,) = stores.kv.list(NAMESPACE)
    assert key not in str(entry).encode()
    length = len(stores.cipher.open(str(entry.value)))
    for text in ("\xffsessions\0", "sessions\0"):
        chosen = text.encode() + b"k" * (length - len(text.encode()))
        stores.kv.put(NAMESPACE, entry.key, "STRING", stores.cipher.seal(chosen), now=clock.now())
        with pytest.raises(PortError):
            StoredKey(stores.kv, stores.cipher, clock)()


def test_two_processes_that_begin_at_once_have_one_key(visitor: Visitor) -> None:
    stores, clock = visitor.browser.stores, visitor.browser.runtime.clock

    class Late:
        """A store that does not show what somebody else has just written, once."""

        def __init__(self) -> None:
            self.looks = 0

        def get(self, namespace: str, key: str) -> KVEntry | None:
            self.looks += 1
            return None if self.looks == 1 else stores.kv.get(namespace, key)

        def __getattr__(self, name: str) -> Any:
            return getattr(stores.kv, name)

    first = StoredKey(stores.kv, stores.cipher, clock)()
    assert StoredKey(Late(), stores.cipher, clock)() == first  # type: ignore[arg-type]  # it has what is needed


def test_a_server_that_is_open_asks_as_soon_as_there_is_a_user() -> None:
    with browser() as made:
        identity = MemoryIdentity()
        runtime = made.runtime
        gate = local_gate(identity, made.audit, runtime.clock, listens_on="127.0.0.1")
        site = Site(runtime.engine, runtime.executor, made, gate, wait=made._wait)

        def ask(method: str, target: str, body: Any = None, **headers: str) -> Response:
            given = {"host": "localhost", **headers}
            answer = site(Request(method, target, headers=given, body=json.dumps(body).encode() if body else b""))
            assert isinstance(answer, Response)
            return answer

        users = "/api/v1/main/users"
        assert ask("GET", "/login").headers["location"] == "/", "nobody is asked"
        for wish in (
            {"name": "ann", "grants": ["viewer"], "password": PHRASE},
            {"name": "ann", "grants": ["admin@company"], "password": PHRASE},
            {"name": "ann", "grants": ["admin"]},
        ):
            refused = ask("POST", users, wish)
            assert (refused.status, b"first user" in refused.body) == (422, True)
        assert ask("GET", users, host="evil.test").status == 403
        assert ask("POST", users, {"name": "ann", "grants": ["admin"], "password": PHRASE}).status == 201
        assert ask("GET", users).status == 401
        assert ask("GET", "/login").status == 200
        shown = base64.b64encode(f"ann:{PHRASE}".encode()).decode()
        asked = ask("POST", users, {"name": "ci", "grants": []}, authorization=f"Basic {shown}", host="proxy.test")
        assert asked.status == 201
