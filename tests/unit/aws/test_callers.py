"""Whom API Gateway vouches for, and what they may."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from headrace_engine.identity import Kind, Principal, Role
from headrace_functions.callers import Callers

CLAIMS = json.dumps(
    {"name": "email", "roles": "groups", "grants": {"ops": ["admin"], "team a": ["editor@company.a", "viewer"]}}
)
ISSUER = "https://issuer.example.com"


def token(**claims: Any) -> str:
    """Return a token with these claims; API Gateway has looked at its signature."""
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims, "signature")]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def event(authorization: str, **verified: str) -> dict[str, Any]:
    """Return what of an event says who calls."""
    return {
        "headers": {"authorization": authorization},
        "requestContext": {"authorizer": {"jwt": {"claims": {"iss": ISSUER, "sub": "4711", **verified}}}},
    }


def caller(groups: Any, claims: str = CLAIMS, **more: Any) -> Principal | None:
    shown = token(iss=ISSUER, sub="4711", groups=groups, **more)
    # API Gateway writes a list as one text.
    return Callers(claims).principal(event(f"Bearer {shown}", groups=f"[{' '.join(map(str, groups))}]"))


def test_a_person_is_named_and_may_what_their_groups_may() -> None:
    person = caller(["team a", "others"], email="ann@example.com")
    assert person is not None
    assert (person.name, person.kind) == ("ann@example.com", Kind.JWT)
    assert [str(grant) for grant in person.grants] == ["editor@company.a", "viewer"]


def test_without_a_name_the_subject_is_the_name() -> None:
    person = caller([])
    assert person is not None
    assert (person.name, person.best) == ("4711", Role.OPEN)


def test_groups_in_one_text_are_parted_by_spaces() -> None:
    person = caller("ops x")
    assert person is not None
    assert person.role_in("anywhere") is Role.ADMIN


@pytest.mark.parametrize("groups", [["x ops"], ["ops,x"], ["[ops]"], [["ops"]], [{"ops": 1}], "[ops]", []])
def test_a_group_whose_name_looks_like_anothers_is_not_it(groups: Any) -> None:
    person = caller(groups)
    assert person is not None
    assert person.grants == ()


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        f"Bearer {token(iss=ISSUER, sub='another', groups=['ops'])}",
        f"Bearer {token(iss='https://another.example.com', sub='4711', groups=['ops'])}",
        f"Bearer {token(groups=['ops'])}",
        f"Bearer {token(iss=ISSUER, sub='4711', groups=[])},Bearer {token(iss=ISSUER, sub='4711', groups=['ops'])}",
        f"Bearer {token(iss=ISSUER, sub='4711', groups=['ops'])} {token(iss=ISSUER, sub='4711', groups=['ops'])}",
        f"Basic {token(iss=ISSUER, sub='4711', groups=['ops'])}",
    ],
)
def test_a_token_that_is_not_the_verified_one_vouches_for_nobody(shown: str) -> None:
    assert Callers(CLAIMS).principal(event(shown)) is None


def test_claims_count_only_where_they_were_chosen() -> None:
    shown = token(iss=ISSUER, sub="4711", groups=["ops"])
    assert Callers("").principal(event(f"Bearer {shown}")) is None


def test_what_is_sent_along_vouches_for_nobody() -> None:
    shown = token(iss=ISSUER, sub="4711", groups=["ops"])
    for context in ({}, {"authorizer": None}, {"authorizer": {}}, {"authorizer": {"lambda": {}}}):
        sent = {"headers": {"authorization": f"Bearer {shown}"}, "requestContext": context}
        assert Callers(CLAIMS).principal(sent) is None


def test_whom_aws_lets_call_is_an_admin() -> None:
    arn = "arn:aws:iam::111122223333:user/ann"
    person = Callers("").principal({"requestContext": {"authorizer": {"iam": {"userArn": arn}}}})
    assert person is not None
    assert (person.name, person.kind, person.role_in("anywhere")) == (arn, Kind.IAM, Role.ADMIN)
