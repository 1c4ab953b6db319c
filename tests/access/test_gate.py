"""The gate: pages of other sites, names of other hosts, what is written down, and what every answer says to browsers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headrace_engine.accounts import Accounts
from headrace_engine.adapters.memory import ManualClock, MemoryAudit, MemoryIdentity
from headrace_engine.api.gate import Asked, Gate, safe
from headrace_engine.api.gates import CredentialsNeededError, is_loopback, local_gate, login_gate, owner_gate
from headrace_engine.api.http import Answer, ApiError, Later, Request, Response, Stream, error_response
from headrace_engine.api.route import Route
from headrace_engine.authentication import Authenticator, Limits
from headrace_engine.identity import OWNER, Grant, Kind, Principal, Role
from headrace_engine.passwords import Cost
from headrace_engine.ports import AuditRecord, PortError

CHEAP = Cost(1, r=1)
CLIENT = "2001:db8::1"
ANY = "0.0.0.0"  # noqa: S104 - never contacted
OK = Response(200, b"done")


def route(
    path: str = "/things/{namespace}",
    method: str = "POST",
    role: Role = Role.EDITOR,
    answer: Callable[..., Answer] = lambda *_, **__: OK,
    **more: Any,
) -> Route:
    return Route(method, path, answer, role=role, **more)


def asked(of: Route, headers: dict[str, str] | None = None, principal: Principal | None = None, **names: str) -> Asked:
    names = names or ({"namespace": "company"} if "{namespace}" in of.path else {})
    request = Request(of.method, "/x", headers=headers or {}, client=CLIENT, principal=principal)

    def told(ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except ApiError as error:
            return error_response(error)

    return Asked(of, names, request, told)


class Doors:
    """Gates over the same stores."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.audit = MemoryAudit()
        self.identity = MemoryIdentity()
        self.accounts = Accounts(self.identity, self.clock, cost=CHEAP)

    def owner(self, listens_on: str = "127.0.0.1") -> Gate:
        return owner_gate(self.identity, self.audit, self.clock, listens_on)

    def somebody(self, *grants: str, kind: Kind = Kind.TOKEN, **more: Any) -> Gate:
        principal = Principal("ann", kind, tuple(map(Grant.parse, grants)), "token-1" if kind is Kind.TOKEN else "")
        return Gate(lambda _: principal, self.audit, self.clock, **more)

    def login(self, **limits: Any) -> Gate:
        door = Authenticator(self.identity, self.clock, cost=CHEAP, limits=Limits(**limits))
        return login_gate(self.identity, self.audit, self.clock, authenticator=door)

    def records(self) -> list[AuditRecord]:
        now = self.clock.now()
        return list(self.audit.read(start=now, end=now.replace(year=now.year + 1)))


@pytest.fixture
def doors() -> Doors:
    return Doors()


def status(gate: Gate, what: Asked, namespaces: dict[str, str] | None = None) -> int:
    try:
        answer = gate.answer(what, (namespaces or {}).get)
    except ApiError as error:
        return error.status
    assert isinstance(answer, Response)
    return answer.status


# -- Pages of other sites -----------------------------------------------------------------------------

SITES = [
    ({}, 200),  # no browser
    ({"origin": "http://localhost:8080"}, 200),
    ({"origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}, 200),
    ({"sec-fetch-site": "none"}, 200),
    ({"origin": "http://evil.example"}, 403),
    ({"origin": "http://localhost:9090"}, 403),
    ({"origin": "http://localhost"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": ""}, 403),
    ({"sec-fetch-site": "cross-site"}, 403),
    ({"sec-fetch-site": "same-site"}, 403),
    ({"origin": "http://localhost:8080", "sec-fetch-site": "cross-site"}, 403),
]


@pytest.mark.parametrize(("headers", "expected"), SITES)
def test_a_page_of_another_site_changes_nothing_in_the_name_of_who_looks_at_it(
    doors: Doors, headers: dict[str, str], expected: int
) -> None:
    host = {"host": "localhost:8080"}
    for gate in (doors.owner(), doors.somebody("admin", kind=Kind.PASSWORD)):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert status(gate, asked(route(method=method), host | headers)) == expected, method
        assert status(gate, asked(route(method="GET", role=Role.VIEWER), host | headers)) == 200, "CORS hides it"
        assert status(gate, asked(route(role=Role.VIEWER), host | headers)) == expected, "whatever a POST is for"
    assert status(doors.somebody("admin"), asked(route(), host | headers)) == 200, "no browser shows a token by itself"


def test_pages_of_named_sites_may_ask(doors: Doors) -> None:
    gate = doors.somebody("admin", kind=Kind.PASSWORD, origins=frozenset({"https://ui.example"}))
    headers = {"host": "api.example", "sec-fetch-site": "cross-site"}
    assert status(gate, asked(route(), headers | {"origin": "https://ui.example"})) == 200
    assert status(gate, asked(route(), headers | {"origin": "https://evil.example"})) == 403


# -- Names of other hosts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example@localhost:x", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_an_open_server_answers_only_under_the_name_of_this_machine(doors: Doors, host: str, expected: int) -> None:
    for method, role in (("GET", Role.VIEWER), ("POST", Role.ADMIN)):
        assert status(doors.owner(), asked(route(method=method, role=role), {"host": host})) == expected
    assert status(doors.owner(), asked(route(role=Role.OPEN), {"host": host})) == 200, "a webhook proves itself"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        (ANY, False),
        ("::", False),
        ("", False),
        ("fd00::1", False),
        ("myhost", False),
        ("localhost.example", False),
    ],
)
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_local_server_is_open_on_loopback_alone_and_to_nobody_else_once_there_are_users(doors: Doors) -> None:
    stores = (doors.identity, doors.audit, doors.clock)
    local = {"host": "127.0.0.1:8080"}
    assert status(local_gate(*stores, listens_on="127.0.0.1"), asked(route(), local)) == 200
    for host in (ANY, CLIENT, "::", "a-name"):
        with pytest.raises(CredentialsNeededError, match="--auth user:password"):
            local_gate(*stores, listens_on=host)
        with pytest.raises(CredentialsNeededError):
            owner_gate(*stores, host)
    gate = local_gate(*stores, listens_on="127.0.0.1", credentials=("me", "secret"))
    assert status(gate, asked(route(), local)) == 401
    assert status(gate, asked(route(), local | {"authorization": "Basic bWU6c2VjcmV0"})) == 200
    assert status(local_gate(*stores, listens_on=ANY, credentials=("me", "x")), asked(route(), local)) == 401
    doors.accounts.add("ann", [])
    for host in ("127.0.0.1", ANY):
        assert status(local_gate(*stores, listens_on=host), asked(route(), local)) == 401


# -- What is written down -----------------------------------------------------------------------------


def test_a_change_is_written_down_before_it_is_made(doors: Doors) -> None:
    seen: list[list[AuditRecord]] = []

    def change(request: Request, namespace: str) -> Response:
        assert request.principal is not None
        seen.append(doors.records())
        return OK

    assert status(doors.somebody("editor@company"), asked(route(answer=change))) == 200
    (record,) = doors.records()
    assert seen == [[record]]
    assert (record.who, record.kind, record.token, record.client) == ("ann", "token", "token-1", CLIENT)
    assert (record.action, record.target) == ("POST /things/{namespace}", "/things/company")
    assert (record.namespace, record.status, record.notes) == ("company", 0, ())
    assert record.at == doors.clock.now()


def test_what_failed_and_what_it_was_about_is_written_down_afterwards(doors: Doors) -> None:
    def change(request: Request, namespace: str) -> Response:
        request.note("company.hello")
        raise ApiError(409, "not now")

    assert status(doors.somebody("admin"), asked(route(answer=change))) == 409
    assert [(record.status, record.notes) for record in doors.records()] == [(409, ("company.hello",))]


def test_a_record_stays_small_however_much_a_change_is_about(doors: Doors) -> None:
    def change(request: Request, namespace: str) -> Response:
        for number in range(1000):
            request.note(f"{number}".ljust(2000, "x"))
        return OK

    status(doors.somebody("admin"), asked(route(answer=change)))
    (record,) = doors.records()
    assert (len(record.notes), record.notes[-1]) == (201, "and 800 more")
    assert max(map(len, record.notes)) == 500


def test_nothing_changes_that_cannot_be_written_down(doors: Doors) -> None:
    changed = []

    class Full(MemoryAudit):
        def write(self, record: AuditRecord) -> None:
            raise PortError("full")

    gate = Gate(lambda _: OWNER, Full(), doors.clock)
    with pytest.raises(PortError):
        gate.answer(asked(route(answer=lambda *_, **__: changed.append(1) or OK)), {}.get)
    assert not changed


def test_what_cannot_be_added_afterwards_does_not_undo_what_was_done(doors: Doors) -> None:
    class Fills(MemoryAudit):
        def write(self, record: AuditRecord) -> None:
            if record.notes or record.kind == Kind.OPEN:
                raise PortError("full")
            super().write(record)

    def change(request: Request, namespace: str) -> Response:
        request.note("execution x")
        return OK

    gate = Gate(lambda _: OWNER, Fills(), doors.clock)
    assert gate.answer(asked(route(answer=change)), {}.get) == OK
    assert gate.answer(asked(route(answer=change, role=Role.OPEN)), {}.get) == OK


def test_who_is_refused_a_change_is_written_down_and_who_only_reads_is_not(doors: Doors) -> None:
    gate = doors.somebody("viewer@company")
    assert status(gate, asked(route())) == 403
    assert status(gate, asked(route(method="GET", role=Role.EDITOR))) == 403
    assert status(gate, asked(route(method="GET", role=Role.VIEWER))) == 200
    assert status(gate, asked(route(role=Role.VIEWER))) == 200
    assert [(record.status, record.namespace) for record in doors.records()] == [(403, "company")]


def test_the_namespace_of_an_execution_is_found_before_it_is_changed(doors: Doors) -> None:
    kill = route("/executions/{execution_id}/kill", "DELETE", Role.OPERATOR)
    gate = doors.somebody("operator@company", "viewer@shown")
    namespaces = {"x": "company.team", "y": "shown", "z": "other"}
    assert [status(gate, asked(kill, execution_id=each), namespaces) for each in "xyz?"] == [200, 403, 404, 404]
    found = {record.target: (record.namespace, record.status) for record in doors.records()}
    assert found["/executions/x/kill"] == ("company.team", 0)
    assert found["/executions/y/kill"] == ("shown", 403)


def test_an_open_route_is_written_down_when_it_changed_something_and_without_what_opened_it(doors: Doors) -> None:
    answers = iter([Response(401), OK, Response(404)])

    def hook(request: Request, **_: str) -> Response:
        assert request.principal is None
        request.note("execution x")
        return next(answers)

    path = "/executions/webhook/{namespace}/{flow_id}/{key}"
    hooked = route(path, "GET", Role.OPEN, hook, changes=True)
    for _ in range(3):
        # Whom a host vouched for counts no more than anybody else here.
        what = asked(hooked, principal=OWNER, namespace="company", flow_id="hello", key="the-secret-key")
        doors.owner().answer(what, {}.get)
    (record,) = doors.records()
    assert (record.who, record.kind, record.namespace, record.notes) == ("", "open", "company", ("execution x",))
    assert record.target == "/executions/webhook/company/hello/…"
    assert "the-secret-key" not in repr(record)


def test_who_did_not_show_who_they_are_is_written_down_and_not_for_ever(doors: Doors) -> None:
    doors.accounts.add("ann", [], "a good password")
    gate = doors.login(of_name_and_address=2)
    shown = {"authorization": "Basic YW5uOndyb25n"}  # ann:wrong
    assert [status(gate, asked(route(), shown)) for _ in range(4)] == [401, 401, 429, 429]
    assert status(gate, asked(route())) == 401
    assert status(gate, asked(route(), {"authorization": "Basic bm9ib2R5Ong="})) == 401  # nobody:x
    records = [(record.action, record.who, record.status, record.client) for record in doors.records()]
    assert sorted(records) == sorted([("log in", "ann", 401, CLIENT)] * 2 + [("log in", "", 401, CLIENT)])


def test_who_tries_too_often_is_told_when_to_come_again(doors: Doors) -> None:
    gate = doors.login(of_name_and_address=1)
    what = asked(route(), {"authorization": "Basic YW5uOndyb25n"})
    status(gate, what)
    with pytest.raises(ApiError) as refusal:
        gate.answer(what, {}.get)
    assert refusal.value.status == 429
    assert 0 < int(refusal.value.headers["retry-after"]) <= 900


def test_whom_the_host_vouches_for_needs_no_credentials(doors: Doors) -> None:
    person = Principal("ann@example.com", Kind.JWT, (Grant.parse("editor@company"),))
    assert status(doors.login(), asked(route(), {"origin": "https://elsewhere.example"}, person)) == 200
    assert [record.who for record in doors.records()] == ["ann@example.com"]


# -- What is said to browsers -------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [OK, Stream(200, [b"x"]), error_response(ApiError(401, "no"))])
def test_every_answer_tells_browsers_to_trust_nobody_with_it(answer: Any) -> None:
    headers = safe(answer).headers  # type: ignore[union-attr]  # none of them is to come
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_an_answer_that_is_still_to_come_says_so_too() -> None:
    found = iter([None, OK])
    later = safe(Later(lambda: next(found), ("x",)))
    assert isinstance(later, Later)
    assert (later.look(), later.watches) == (None, ("x",))
    answer = later.look()
    assert answer is not None
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_a_page_says_itself_stands_but_that_it_may_be_framed() -> None:
    page = {"content-security-policy": "default-src 'self'", "cache-control": "max-age=60"}
    headers = safe(Response(200, b"", page)).headers  # type: ignore[union-attr]  # as above
    assert headers["content-security-policy"] == "default-src 'self'; frame-ancestors 'none'"
    assert headers["cache-control"] == "max-age=60"


def test_a_refusal_says_nothing_of_why(doors: Doors) -> None:
    doors.accounts.add("ann", [], "a good password")
    bodies = set()
    for shown in ("", "Basic YW5uOndyb25n", "Basic bm9ib2R5Ong=", "Bearer hr_" + "a" * 22 + "_" + "b" * 43):
        with pytest.raises(ApiError) as refusal:
            doors.login().answer(asked(route(), {"authorization": shown}), {}.get)
        bodies.add(json.dumps([refusal.value.status, refusal.value.message, dict(refusal.value.headers)]))
    assert len(bodies) == 1
