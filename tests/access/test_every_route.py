"""Nobody may ask anything but what the table of what is allowed says: every route, with no credentials and with each role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from access.allowed import ALLOWED
from access.house import MINE, THEIRS, WORD, House, house
from headrace_engine.api import Response
from headrace_engine.api.route import Route
from headrace_engine.identity import GIVEN, Role

ELSEWHERE = "company.elsewhere"
"""Where nothing is."""


@pytest.fixture(scope="module")
def empty() -> Iterator[House]:
    """Return an API on which nothing that is asked finds anything to change."""
    with house() as made:
        yield made


@pytest.fixture(scope="module")
def furnished() -> Iterator[House]:
    with house() as made:
        made.furnish()
        yield made


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def ask(house: House, route: Route, namespace: str, *grants: str) -> int:
    return answer(house, route, namespace, *grants).status


def answer(house: House, route: Route, namespace: str, *grants: str) -> Response:
    return house.ask(route.method, house.path(route, namespace), grants=grants)


def least(route: Route) -> tuple[Role, str]:
    """Return the least role, and where it must be held."""
    role, where = ALLOWED[name(route)]
    return Role(role), where


def test_every_route_stands_in_the_table(empty: House) -> None:
    assert {name(route) for route in empty.api.routes} == set(ALLOWED)


def test_without_credentials_nothing_is_answered(empty: House) -> None:
    for route in empty.api.routes:
        answer = empty.ask(route.method, empty.path(route, ELSEWHERE))
        is_open = least(route)[0] is Role.OPEN
        assert (answer.status != 401) is is_open, name(route)
        assert (answer.headers.get("www-authenticate") is None) is is_open, name(route)


@pytest.mark.parametrize(
    "shown",
    ["Bearer nothing", "Basic bm9ib2R5OnBhc3N3b3Jk", "Bearer hr_" + "a" * 22 + "_" + "b" * 43, "AWS4-HMAC-SHA256 x"],
)
def test_with_wrong_credentials_nothing_is_answered(shown: str) -> None:
    with house() as made:
        for route in made.api.routes:
            path = made.path(route, ELSEWHERE)
            answer = made.ask(route.method, path, headers={"authorization": shown})
            assert (answer.status in (401, 429)) is (least(route)[0] is not Role.OPEN), name(route)


@pytest.mark.parametrize("role", GIVEN)
def test_a_role_in_every_namespace_is_let_through_to_what_it_may(empty: House, role: Role) -> None:
    for route in empty.api.routes:
        status = ask(empty, route, ELSEWHERE, role)
        assert (status not in (401, 403)) is role.covers(least(route)[0]), (name(route), status)
        assert status < 500, (name(route), status)


@pytest.mark.parametrize("role", GIVEN)
def test_a_role_in_a_namespace_counts_there_alone(furnished: House, role: Role) -> None:
    for route in furnished.api.routes:
        needed, where = least(route)
        grant = f"{role}@{MINE}"
        is_theirs = ask(furnished, route, THEIRS, grant)
        if needed is Role.OPEN:
            continue
        if where == "namespace":
            # Whether there is such an execution is not theirs to know.
            hidden = 404 if "{execution_id}" in route.segments and role.covers(needed) else 403
            assert is_theirs == hidden, (name(route), is_theirs)
            if not role.covers(needed):
                assert ask(furnished, route, MINE, grant) == 403, name(route)
            if "{execution_id}" in route.segments:
                there, nowhere = (answer(furnished, route, namespace, grant) for namespace in (THEIRS, ELSEWHERE))
                assert there == nowhere, name(route)
        elif where == "all":
            assert is_theirs == 403, (name(route), is_theirs)
        else:
            assert (is_theirs != 403) is role.covers(needed), (name(route), is_theirs)


def test_no_grant_is_let_through_nowhere(furnished: House) -> None:
    for route in furnished.api.routes:
        if least(route)[0] is not Role.OPEN:
            assert ask(furnished, route, MINE) in (403, 404), name(route)


def test_what_is_answered_about_all_namespaces_is_about_ones_own(furnished: House) -> None:
    """Whatever a viewer may ask that names no namespace: what is another's does not show in it."""
    shown = 0
    for route in furnished.api.routes:
        if route.role is not Role.VIEWER or least(route)[1] != "any":
            continue
        for query in (
            "",
            f"?namespace={THEIRS}",
            f"?namespace=company&q={WORD}",
            f"?flowId={WORD}",
            "?size=100",
            f"?q={WORD}",
        ):
            for body in ("", "{}", "[]", f'[{{"namespace": "{THEIRS}", "id": "{WORD}", "flowId": "{WORD}"}}]'):
                if body and route.method == "GET":
                    continue
                target = furnished.path(route, THEIRS) + query
                answer = furnished.ask(route.method, target, body, grants=(f"viewer@{MINE}",))
                assert answer.status < 500, (target, answer.body)
                echoed = answer.status >= 400  # a refusal may repeat what it refuses
                assert echoed or WORD.encode() not in answer.body, (target, body, answer.body[:2000])
                shown += b"shown" in answer.body
    assert shown > 5, "nothing of one's own showed either"


def test_what_is_changed_in_all_namespaces_is_changed_in_ones_own(furnished: House) -> None:
    """Whatever an operator may ask that names no namespace: what is another's stays as it is, by whatever name it is called."""
    before = _all_of(furnished, THEIRS)
    execution = furnished.executions[THEIRS]
    trigger = f'{{"namespace": "{THEIRS}", "flowId": "{WORD}", "triggerId": "{WORD}-daily", "disabled": true}}'
    flow = (
        f"id: {WORD}\nnamespace: {THEIRS}\ntasks: [{{id: other, type: io.kestra.plugin.core.log.Log, message: other}}]"
    )
    bodies = (
        "",
        f'["{execution}"]',
        f'{{"executionsId": ["{execution}"], "executionLabels": [{{"key": "a", "value": "b"}}]}}',
        '[{"key": "a", "value": "b"}]',
        f'[{{"namespace": "{THEIRS}", "id": "{WORD}"}}]',
        trigger,
        f"[{trigger}]",
        f'{{"triggers": [{trigger}], "disabled": true}}',
        flow,
        flow.replace(f"id: {WORD}", "id: another"),
    )
    asked = 0
    for route in furnished.api.routes:
        if not route.is_change or least(route)[1] != "any":
            continue
        for query in ("", f"&namespace={THEIRS}", f"&flowId={WORD}", f"&q={WORD}", f"&namespace={THEIRS}&delete=true"):
            target = f"{route.path}?{_CHOICES}{query}"
            for body in bodies:
                answer = furnished.ask(route.method, target, body, grants=(f"operator@{MINE}",))
                assert answer.status < 500, (name(route), query, body, answer.body)
                asked += 1
        furnished.runtime.settle(None)
        assert _all_of(furnished, THEIRS) == before, name(route)
    assert asked > 500


_CHOICES = "newStatus=SUCCESS&disabled=true&includeNonTerminated=true"


def _all_of(house: House, namespace: str) -> object:
    """Return all that is stored of a namespace."""
    stores = house.stores
    flows = [(flow.id, flow.revision, flow.source) for flow in stores.flows.list(namespace)]
    execution_id = house.executions[namespace]
    journal = stores.journal.entries(execution_id)
    triggers = [stores.triggers.list(namespace, flow[0]) for flow in flows]
    logs = stores.logs.fetch(execution_id)
    assert flows
    assert journal
    assert logs
    return flows, journal, triggers, logs, stores.executions.get(execution_id), stores.kv.list(namespace)
