"""Roles, and the namespaces they are granted for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_engine.authentication import narrowed
from headrace_engine.identity import EVERYWHERE, GIVEN, OWNER, Grant, Kind, Principal, Role, is_within


def principal(*grants: str) -> Principal:
    return Principal("ann", Kind.PASSWORD, tuple(map(Grant.parse, grants)))


def test_a_role_covers_those_before_it() -> None:
    order = [Role.OPEN, Role.VIEWER, Role.EDITOR, Role.OPERATOR, Role.ADMIN]
    for place, role in enumerate(order):
        assert [role.covers(other) for other in order] == [other <= place for other in range(len(order))]


def test_a_grant_is_read_as_it_is_written() -> None:
    for text in ("viewer", "admin", "editor@company", "operator@company.team-a_b"):
        assert str(Grant.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "open", "root", "editor@", "editor@.a", "editor@a b", "editor@a/b", "@a", "Editor"]
)
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Grant.parse(text)


def test_a_grant_holds_for_a_namespace_and_those_below_it() -> None:
    someone = principal("editor@company.team")
    assert someone.role_in("company.team") is Role.EDITOR
    assert someone.role_in("company.team.sub") is Role.EDITOR
    for namespace in ("company", "company.teams", "company.tea", "other", EVERYWHERE):
        assert someone.role_in(namespace) is Role.OPEN, namespace


def test_the_highest_of_several_grants_counts() -> None:
    someone = principal("viewer", "operator@a", "editor@a.b")
    assert [someone.role_in(each) for each in ("z", "a", "a.b")] == [Role.VIEWER, Role.OPERATOR, Role.OPERATOR]
    assert someone.best is Role.OPERATOR
    assert principal().best is Role.OPEN


def test_the_reach_of_a_role_is_told_by_prefixes() -> None:
    someone = principal("viewer@a", "editor@a.b", "editor@a.b.c", "operator@d")
    assert someone.reach(Role.VIEWER) == ("a", "d")
    assert someone.reach(Role.EDITOR) == ("a.b", "d")
    assert someone.reach(Role.ADMIN) == ()
    assert OWNER.reach(Role.ADMIN) == (EVERYWHERE,)


def test_what_is_asked_for_is_narrowed_to_what_may_be_seen() -> None:
    someone = principal("viewer@a.b", "viewer@a.c", "viewer@d")
    assert someone.narrowed(Role.VIEWER, EVERYWHERE) == ("a.b", "a.c", "d")
    assert someone.narrowed(Role.VIEWER, "a") == ("a.b", "a.c")
    assert someone.narrowed(Role.VIEWER, "a.b.x") == ("a.b.x",)
    assert someone.narrowed(Role.VIEWER, "e") == ()
    assert someone.narrowed(Role.EDITOR, "d") == ()


NAMESPACES = st.sampled_from(["", "a", "a.b", "a.b.c", "ab", "c"])
GRANTS = st.lists(st.builds(Grant, NAMESPACES, st.sampled_from(GIVEN)), max_size=4)


@given(GRANTS, GRANTS, NAMESPACES)
def test_what_is_narrowed_allows_what_both_do(own: list[Grant], to: list[Grant], namespace: str) -> None:
    both = Principal("x", Kind.TOKEN, narrowed(own, to)).role_in(namespace)
    mine, theirs = (Principal("x", Kind.TOKEN, tuple(each)).role_in(namespace) for each in (own, to))
    assert both is (min(mine, theirs, key=lambda role: role.rank) if to else mine)


@given(GRANTS, NAMESPACES, NAMESPACES, st.sampled_from(GIVEN))
def test_a_list_narrowed_holds_what_may_be_seen_of_it(
    grants: list[Grant], asked: str, namespace: str, role: Role
) -> None:
    someone = Principal("x", Kind.PASSWORD, tuple(grants))
    shown = any(is_within(namespace, prefix) for prefix in someone.narrowed(role, asked))
    if namespace:
        assert shown is (is_within(namespace, asked) and someone.may(role, namespace))
