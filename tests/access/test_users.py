"""Users, tokens and the audit over the API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from access.house import House, house
from headrace_engine.api import Response

ANN = {"name": "ann", "grants": ["editor@company.team", "viewer"], "password": "correct horse"}


@pytest.fixture
def home() -> Iterator[House]:
    with house() as made:
        made.ok("POST", "/users", json.dumps(ANN))
        yield made


def as_ann(home: House, method: str, target: str, body: Any = None, phrase: str = "correct horse") -> Response:
    shown = base64.b64encode(f"ann:{phrase}".encode()).decode()
    return home.ask(method, target, json.dumps(body or {}), headers={"authorization": f"Basic {shown}"})


def said(answer: Response) -> Any:
    return json.loads(answer.body)


def refusal(answer: Response, status: int) -> str:
    assert answer.status == status, (answer.status, answer.body)
    return str(said(answer)["message"])


def admin(home: House, method: str, target: str, body: Any) -> Response:
    return home.ask(method, target, json.dumps(body), grants=("admin",))


def test_users_are_made_seen_changed_and_deleted(home: House) -> None:
    seen = home.ok("GET", "/users/ann")
    assert seen | {"created": ""} == {
        "name": "ann",
        "grants": ["editor@company.team", "viewer"],
        "disabled": False,
        "hasPassword": True,
        "created": "",
    }
    assert "ann" in [user["name"] for user in home.ok("GET", "/users")]
    changed = home.ok("PUT", "/users/ann", '{"grants": [], "password": ""}')
    assert (changed["grants"], changed["hasPassword"], changed["disabled"]) == ([], False, False)
    assert home.ok("PUT", "/users/ann", '{"disabled": true}')["disabled"]
    home.ok("DELETE", "/users/ann")
    refusal(home.ask("GET", "/users/ann", grants=("admin",)), 404)
    refusal(home.ask("DELETE", "/users/ann", grants=("admin",)), 404)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"name": "a b", "grants": []}, "no name"),
        ({"name": "ann", "grants": []}, "already"),
        ({"name": "ben", "grants": ["root"]}, "`root` is no role"),
        ({"name": "ben", "grants": ["open"]}, "`open` is no role"),
        ({"name": "ben", "grants": [], "password": "short"}, "10 characters"),
        ({"name": "ben"}, "grants"),
        ({"name": "ben", "grants": [], "admin": True}, "admin"),
        ([], "object"),
    ],
)
def test_a_user_who_cannot_be_is_refused(home: House, body: Any, word: str) -> None:
    assert word in refusal(admin(home, "POST", "/users", body), 422)


def test_an_admin_takes_nothing_from_themselves(home: House) -> None:
    """So there is always one left."""
    name = home.ok("GET", "/me")["name"]
    for body in ({"grants": ["viewer"]}, {"disabled": True}):
        assert "another admin" in refusal(admin(home, "PUT", f"/users/{name}", body), 422)
    assert "another admin" in refusal(home.ask("DELETE", f"/users/{name}", grants=("admin",)), 422)


def test_a_person_sees_who_they_are(home: House) -> None:
    me = said(as_ann(home, "GET", "/me"))
    assert me == {"name": "ann", "kind": "password", "grants": ["editor@company.team", "viewer"]}


def test_a_person_changes_their_password(home: House) -> None:
    wish = {"password": "wrong", "newPassword": "battery staple"}
    refusal(as_ann(home, "PUT", "/me/password", wish), 422)
    assert as_ann(home, "PUT", "/me/password", wish | {"password": "correct horse"}).status == 204
    assert as_ann(home, "GET", "/me").status == 401
    assert as_ann(home, "GET", "/me", phrase="battery staple").status == 200


def test_a_person_makes_tokens_of_what_they_may(home: House) -> None:
    answer = as_ann(home, "POST", "/me/tokens", {"about": "ci", "days": 1, "grants": ["admin@company.team"]})
    assert answer.status == 201
    made = said(answer)
    bearer = {"authorization": f"Bearer {made['token']}"}
    me = said(home.ask("GET", "/me", headers=bearer))
    assert (me["kind"], me["grants"]) == ("token", ["editor@company.team", "viewer@company.team"])
    (listed,) = said(as_ann(home, "GET", "/me/tokens"))
    assert listed == {key: value for key, value in made.items() if key != "token"}
    assert home.ok("GET", "/users/ann/tokens") == [listed]
    # A token makes no tokens, and changes no password: it would outlive itself.
    for method, target in (("POST", "/me/tokens"), ("PUT", "/me/password"), ("DELETE", f"/me/tokens/{made['id']}")):
        assert home.ask(method, target, "{}", headers=bearer).status == 409
    assert as_ann(home, "DELETE", f"/me/tokens/{made['id']}").status == 204
    assert home.ask("GET", "/me", headers=bearer).status == 401
    refusal(as_ann(home, "DELETE", f"/me/tokens/{made['id']}"), 404)


def test_an_admin_makes_and_deletes_tokens_of_others(home: House) -> None:
    made = home.ok("POST", "/users/ann/tokens", '{"about": "deploys"}')
    bearer = {"authorization": f"Bearer {made['token']}"}
    assert home.ask("GET", "/me", headers=bearer).status == 200
    refusal(home.ask("DELETE", f"/users/ben/tokens/{made['id']}", grants=("admin",)), 404)
    home.ok("DELETE", f"/users/ann/tokens/{made['id']}")
    assert home.ask("GET", "/me", headers=bearer).status == 401
    for wish in ({"days": 0}, {"days": -1}, {"days": 1e300}, {"grants": ["x"]}, {"about": "x" * 201}, {"days": "1"}):
        refusal(admin(home, "POST", "/users/ann/tokens", wish), 422)
    refusal(admin(home, "POST", "/users/nobody/tokens", {}), 404)


def test_no_answer_and_no_record_holds_a_secret(home: House) -> None:
    made = home.ok("POST", "/users/ann/tokens", "{}")
    home.ok("PUT", "/users/ann", '{"password": "battery staple"}')
    home.ask("POST", "/users", '{"name": "ben", "grants": [], "password": "tiny pw"}', grants=("admin",))
    stored = home.identity.user("ann")
    assert stored is not None
    token = home.identity.token(made["id"])
    assert token is not None
    answers = [home.ok("GET", target) for target in ("/users", "/users/ann", "/users/ann/tokens", "/audit/search")]
    text = json.dumps(answers)
    for secret in ("battery staple", "correct horse", "tiny pw", made["token"], stored.password, token.secret):
        assert secret not in text
    assert len(answers[-1]["results"]) >= 4


def test_the_audit_is_searched(home: House) -> None:
    home.furnish()
    home.ok("DELETE", "/flows/company.mine/shown")
    home.ask("DELETE", "/flows/company.theirs/concealed", grants=("viewer",))
    name = home.ok("GET", "/me")["name"]
    found = home.ok("GET", "/audit/search?namespace=company.mine&q=delete")["results"]
    assert [(each["who"], each["action"], each["target"], each["status"]) for each in found] == [
        (name, "DELETE /flows/{namespace}/{flow_id}", "/flows/company.mine/shown", None)
    ]
    (refused,) = home.ok("GET", "/audit/search?q=concealed&namespace=company.theirs&who=user1")["results"]
    assert (refused["status"], refused["client"], refused["kind"]) == (403, "2001:db8::1", "token")
    created = home.ok("GET", "/audit/search?q=company.mine.shown")["results"]
    assert [each["action"] for each in created] == ["POST /flows"], "the body names the flow, and the record says it"


def test_the_audit_is_read_by_pages(home: House) -> None:
    for number in range(7):
        home.ok("PUT", f"/namespaces/company/kv/key{number}", "1")
    targets: list[str] = []
    then = ""
    while True:
        page = home.ok("GET", f"/audit/search?size=3&q=kv{then}")
        assert len(page["results"]) <= 3
        targets += [each["target"] for each in page["results"]]
        if page["next"] is None:
            break
        then = f"&after={page['next']}"
    assert sorted(targets) == [f"/namespaces/company/kv/key{number}" for number in range(7)]


@pytest.mark.parametrize(
    "query", ["startDate=yesterday", "after=x", "after=x~y", "size=0", "size=100000", "endDate=9999-13-01"]
)
def test_a_search_that_cannot_be_is_refused(home: House, query: str) -> None:
    refusal(home.ask("GET", f"/audit/search?{query}", grants=("admin",)), 400)
