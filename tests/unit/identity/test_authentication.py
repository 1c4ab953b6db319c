"""Passwords and tokens: who is let in, and how often somebody may fail."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from headrace_engine.accounts import AccountError, Accounts
from headrace_engine.adapters.memory import ManualClock, MemoryIdentity
from headrace_engine.authentication import (
    Authenticator,
    FirstAdmin,
    Limits,
    NotAuthenticatedError,
    TooManyFailuresError,
)
from headrace_engine.identity import EVERYWHERE, Grant, Role
from headrace_engine.passwords import Cost, Successes, is_right, make_hash
from headrace_engine.ports import NotFoundError

CHEAP = Cost(1, r=1)
HERE, THERE = "2001:db8::1", "2001:db8:1::1"
PASSWORD = "correct horse"
EDITOR = Grant.parse("editor@company")


class House:
    """Users, and the door."""

    def __init__(self, first: FirstAdmin | None = None, limits: Limits | None = None) -> None:
        self.clock = ManualClock()
        self.identity = MemoryIdentity()
        self.accounts = Accounts(self.identity, self.clock, first=first.name if first else "", cost=CHEAP)
        self.door = Authenticator(self.identity, self.clock, first=first, limits=limits or Limits(), cost=CHEAP)

    def basic(self, name: str, password: str, client: str = HERE) -> str:
        """Return what came of it, in a word."""
        shown = base64.b64encode(f"{name}:{password}".encode()).decode()
        return self.shows(f"Basic {shown}", client)

    def shows(self, authorization: str, client: str = HERE) -> str:
        try:
            principal = self.door.principal(authorization, client)
        except NotAuthenticatedError:
            return "refused"
        except TooManyFailuresError:
            return "throttled"
        return " ".join([principal.name, principal.kind, *map(str, principal.grants)])


@pytest.fixture
def house() -> House:
    house = House()
    house.accounts.add("ann", [EDITOR], PASSWORD)
    return house


# -- Hashes -------------------------------------------------------------------------------------------


def test_a_hash_is_another_one_each_time_and_right_for_its_secret_alone() -> None:
    first, second = make_hash("secret", CHEAP), make_hash("secret", CHEAP)
    assert first != second
    assert is_right("secret", first)
    assert is_right("secret", second)
    assert not is_right("Secret", first)
    assert "secret" not in first


@pytest.mark.parametrize(
    "stored",
    ["", "secret", "scrypt$1$1$1$c2FsdA$", "scrypt$x$1$1$c2FsdA$a2V5", "scrypt$99$8$1$c2FsdA$a2V5", "md5$1$2$3$4$5"],
)
def test_nothing_is_right_for_what_is_no_hash(stored: str) -> None:
    assert not is_right("", stored)
    assert not is_right("secret", stored)


def test_a_success_is_known_for_a_while_and_for_that_hash() -> None:
    clock = ManualClock()
    known = Successes(clock.now, timedelta(minutes=1), most=2)
    known.keep("secret", "hash")
    assert known.know("secret", "hash")
    assert not known.know("secret", "another hash")
    assert not known.know("another secret", "hash")
    clock.advance(timedelta(minutes=1))
    assert not known.know("secret", "hash")
    for name in ("a", "b", "c"):
        known.keep(name, "hash")
    assert [known.know(name, "hash") for name in ("a", "b", "c")] == [False, True, True]


# -- Passwords ----------------------------------------------------------------------------------------


def test_a_user_is_let_in_by_their_password(house: House) -> None:
    assert house.basic("ann", PASSWORD) == "ann password editor@company"
    for name, password in (("ann", "wrong"), ("ann", ""), ("ben", PASSWORD), ("Ann", PASSWORD), ("", PASSWORD)):
        assert house.basic(name, password) == "refused", (name, password)


@pytest.mark.parametrize(
    "shown", ["", "Basic", "Basic !", "Basic YW5u", "Basic /w==", "Digest x", "Bearer", "Bearer x", "hr_x"]
)
def test_what_is_no_proof_is_refused(house: House, shown: str) -> None:
    assert house.shows(shown) == "refused"


def test_a_password_with_colons_and_letters_of_all_kinds_is_one(house: House) -> None:
    house.accounts.change("ann", password="pä:ss:wörd ☃")
    assert house.basic("ann", "pä:ss:wörd ☃") == "ann password editor@company"


def test_a_change_counts_at_once(house: House) -> None:
    assert house.basic("ann", PASSWORD).startswith("ann")
    house.accounts.change("ann", grants=[Grant.parse("viewer")])
    assert house.basic("ann", PASSWORD) == "ann password viewer"
    house.accounts.change("ann", password="another password")
    assert house.basic("ann", PASSWORD) == "refused"
    assert house.basic("ann", "another password") == "ann password viewer"
    house.accounts.change("ann", disabled=True)
    assert house.basic("ann", "another password") == "refused"
    house.accounts.change("ann", disabled=False, password="")
    assert house.basic("ann", "") == "refused"
    house.accounts.delete("ann")
    assert house.basic("ann", "another password") == "refused"


def test_the_first_admin_is_let_in_until_a_user_of_the_name_is_stored() -> None:
    house = House(FirstAdmin("admin", lambda: "given at deploy"))
    assert house.basic("admin", "given at deploy") == "admin password admin"
    assert house.basic("admin", "something else") == "refused"
    house.accounts.add("admin", [Grant.parse("viewer")], "my own password")
    assert house.basic("admin", "given at deploy") == "refused"
    assert house.basic("admin", "my own password") == "admin password viewer"
    with pytest.raises(AccountError, match="disable the user instead"):
        house.accounts.delete("admin")
    house.accounts.change("admin", disabled=True)
    assert house.basic("admin", "given at deploy") == "refused"


def test_credentials_of_the_command_line_count_whoever_is_stored() -> None:
    house = House(FirstAdmin("admin", lambda: "of the command line", always=True))
    house.accounts.add("admin", [], "my own password")
    assert house.basic("admin", "of the command line") == "admin password admin"
    assert house.basic("admin", "my own password") == "refused"


def test_an_empty_first_password_lets_nobody_in() -> None:
    house = House(FirstAdmin("admin", lambda: ""))
    assert house.basic("admin", "") == "refused"


def test_a_first_password_that_was_replaced_counts_at_once() -> None:
    passwords = ["the first one"]
    house = House(FirstAdmin("admin", lambda: passwords[-1]))
    assert house.basic("admin", "the first one") == "admin password admin"
    passwords.append("the second one")
    assert house.basic("admin", "the first one") == "refused"
    assert house.basic("admin", "the second one") == "admin password admin"


# -- Tokens -------------------------------------------------------------------------------------------


def test_a_token_lets_in_as_its_user(house: House) -> None:
    made = house.accounts.add_token("ann", about="ci")
    assert house.shows(f"Bearer {made.shown}") == "ann token editor@company"
    assert house.shows(f"bearer  {made.shown} ") == "ann token editor@company"
    assert house.basic("anybody", made.shown) == "ann token editor@company"
    assert made.shown not in str(house.identity.tokens())
    assert house.door.principal(f"Bearer {made.shown}", HERE).token == made.token.id


def test_a_token_may_be_narrower_than_its_user_and_never_wider(house: House) -> None:
    narrow = house.accounts.add_token("ann", grants=[Grant.parse("viewer@company.a"), Grant.parse("admin@company.b")])
    assert house.shows(f"Bearer {narrow.shown}") == "ann token viewer@company.a editor@company.b"
    house.accounts.change("ann", grants=[Grant.parse("viewer@company.b")])
    assert house.shows(f"Bearer {narrow.shown}") == "ann token viewer@company.b"


def test_a_token_ends_with_its_time_its_user_or_when_it_is_deleted(house: House) -> None:
    short = house.accounts.add_token("ann", lifetime=timedelta(days=1))
    long = house.accounts.add_token("ann")
    assert house.shows(f"Bearer {short.shown}").startswith("ann")
    house.clock.advance(timedelta(days=1))
    assert house.shows(f"Bearer {short.shown}") == "refused"
    assert house.shows(f"Bearer {long.shown}").startswith("ann")
    house.accounts.change("ann", disabled=True)
    assert house.shows(f"Bearer {long.shown}") == "refused"
    house.accounts.change("ann", disabled=False)
    assert house.shows(f"Bearer {long.shown}").startswith("ann")
    house.accounts.delete_token("ann", long.token.id)
    assert house.shows(f"Bearer {long.shown}") == "refused"
    with pytest.raises(NotFoundError):
        house.accounts.delete_token("ann", long.token.id)


def test_a_token_is_not_that_of_a_later_user_of_the_name(house: House) -> None:
    made = house.accounts.add_token("ann")
    house.accounts.delete("ann")
    house.accounts.add("ann", [Grant(EVERYWHERE, Role.ADMIN)], PASSWORD)
    assert house.shows(f"Bearer {made.shown}") == "refused"
    house.identity.put_token(made.token)  # as one that was made while the user was deleted
    assert house.shows(f"Bearer {made.shown}") == "refused"
    assert list(house.accounts.tokens("ann")) == []


def test_a_changed_token_is_refused(house: House) -> None:
    made = house.accounts.add_token("ann")
    other = house.accounts.add_token("ann")
    changed = made.shown[:-1] + ("A" if made.shown[-1] != "A" else "B")
    crossed = made.shown.rpartition("_")[0][: len("hr_") + 22] + other.shown[len("hr_") + 22 :]
    for shown in (changed, crossed, made.shown + "A", made.shown[:-1], made.token.secret):
        assert house.shows(f"Bearer {shown}") == "refused"


# -- How often somebody may fail ----------------------------------------------------------------------


def test_who_fails_too_often_under_a_name_waits_and_others_do_not(house: House) -> None:
    house = House(limits=Limits(of_name_and_address=3))
    house.accounts.add("ann", [EDITOR], PASSWORD)
    assert [house.basic("ann", "wrong") for _ in range(4)] == ["refused"] * 3 + ["throttled"]
    assert house.basic("ann", PASSWORD) == "throttled", "not even the right one tells anything now"
    assert house.basic("ann", PASSWORD, THERE) == "ann password editor@company"
    house.clock.advance(timedelta(minutes=15))
    assert house.basic("ann", PASSWORD) == "ann password editor@company"


def test_a_name_that_is_not_there_is_throttled_alike() -> None:
    house = House(limits=Limits(of_name_and_address=2))
    assert [house.basic("nobody", "x") for _ in range(3)] == ["refused", "refused", "throttled"]


def test_an_address_may_not_try_many_names() -> None:
    house = House(limits=Limits(of_address=5))
    house.accounts.add("ann", [EDITOR], PASSWORD)
    assert [house.basic(f"user{n}", "x") for n in range(6)] == ["refused"] * 5 + ["throttled"]
    assert house.basic("ann", PASSWORD) == "throttled"
    assert house.shows("Bearer hr_" + "a" * 22 + "_" + "b" * 43) == "throttled"


def test_a_name_may_not_be_tried_from_many_addresses_and_its_tokens_go_on() -> None:
    house = House(limits=Limits(of_name=3))
    house.accounts.add("ann", [EDITOR], PASSWORD)
    token = house.accounts.add_token("ann").shown
    outcomes = [house.basic("ann", "wrong", f"2001:db8:{n}::1") for n in range(4)]
    assert outcomes == ["refused"] * 3 + ["throttled"]
    assert house.basic("ann", PASSWORD, "2001:db8:99::1") == "throttled"
    assert house.shows(f"Bearer {token}", "2001:db8:99::1") == "ann token editor@company"


def test_the_addresses_of_one_network_are_one_in_ipv6() -> None:
    house = House(limits=Limits(of_address=2))
    outcomes = [house.basic(f"u{n}", "x", f"2001:db8::{n}") for n in range(3)]
    assert outcomes == ["refused", "refused", "throttled"]
    assert house.basic("u", "x", "2001:db8:1::1") == "refused"
    outcomes = [
        house.basic(f"u{n}", "x", client) for n, client in enumerate(["127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"])
    ]
    assert outcomes == ["refused", "refused", "throttled"]


def test_who_succeeds_is_not_counted(house: House) -> None:
    house.door = Authenticator(house.identity, house.clock, limits=Limits(of_name_and_address=2), cost=CHEAP)
    for _ in range(20):
        assert house.basic("ann", PASSWORD) == "ann password editor@company"
        house.clock.advance(timedelta(minutes=2))  # beyond what is known as right
    assert house.basic("ann", "wrong") == "refused"
    assert house.basic("ann", PASSWORD) == "ann password editor@company"
    assert house.basic("ann", "wrong") == "refused"
    assert house.basic("ann", "wrong") == "throttled"


def test_guesses_at_the_same_time_are_all_counted(house: House) -> None:
    """Each is counted before it is looked at: as many pass as may fail, however slow looking is."""
    identity = house.identity
    limits = Limits(of_name_and_address=3)
    doors = [Authenticator(identity, house.clock, limits=limits, cost=CHEAP) for _ in range(8)]
    outcomes = []
    for door in doors:
        house.door = door
        outcomes.append(house.basic("ann", "wrong"))
    assert outcomes == ["refused"] * 3 + ["throttled"] * 5


def test_what_is_counted_is_kept_without_the_name(house: House) -> None:
    kept: list[str] = []

    class Watched(MemoryIdentity):
        def tally(self, key: str, *rest: object) -> int:
            kept.append(key)
            return super().tally(key, *rest)  # type: ignore[arg-type]

    door = Authenticator(Watched(), house.clock, cost=CHEAP)
    shown = base64.b64encode(b"my password in the wrong field:x").decode()
    with pytest.raises(NotAuthenticatedError):
        door.principal(f"Basic {shown}", HERE)
    assert len(kept) == 3
    assert not [key for key in kept if "password" in key or HERE in key]


def test_only_a_name_that_is_there_is_told_to_the_audit(house: House) -> None:
    found = []
    for name in ("ann", "nobody"):
        shown = base64.b64encode(f"{name}:wrong".encode()).decode()
        with pytest.raises(NotAuthenticatedError) as refusal:
            house.door.principal(f"Basic {shown}", HERE)
        found.append((refusal.value.name, refusal.value.counted))
    assert found == [("ann", True), ("", True)]
    with pytest.raises(NotAuthenticatedError) as refusal:
        house.door.principal("", HERE)
    assert not refusal.value.counted


# -- Users --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 129, "a:b", "ä", "a/b", "a\n"])
def test_what_is_no_name_is_refused(house: House, name: str) -> None:
    with pytest.raises(AccountError, match="no name for a user"):
        house.accounts.add(name, [])


def test_a_user_is_made_once(house: House) -> None:
    with pytest.raises(AccountError, match="There is a user ann already"):
        house.accounts.add("ann", [])


@pytest.mark.parametrize("password", ["short", "x" * 9, "x" * 1025, "ü" * 600])
def test_a_password_is_neither_short_nor_endless(house: House, password: str) -> None:
    with pytest.raises(AccountError, match="A password has 10 characters at least"):
        house.accounts.change("ann", password=password)


def test_who_changes_their_own_password_knows_the_one_before(house: House) -> None:
    with pytest.raises(AccountError):
        house.accounts.change_own_password("ann", "wrong", "a better password")
    with pytest.raises(AccountError):
        house.accounts.change_own_password("ann", PASSWORD, "")
    house.accounts.change_own_password("ann", PASSWORD, "a better password")
    assert house.basic("ann", "a better password").startswith("ann")


def test_a_token_that_could_never_be_used_is_not_made(house: House) -> None:
    with pytest.raises(NotFoundError):
        house.accounts.add_token("nobody")
    for lifetime in (timedelta(), timedelta(days=-1), timedelta.max):
        with pytest.raises(AccountError):
            house.accounts.add_token("ann", lifetime=lifetime)


def test_how_somebody_stands_who_showed_something_before(house: House) -> None:
    """As they would be let in now: by the password's hash and the token's, never for somebody else's token."""
    knows, token = house.door, house.accounts.add_token("ann").token
    by_password, by_token = knows.standing("ann", ""), knows.standing("ann", token.id)
    assert by_password is not None
    assert by_token is not None
    assert by_password.grants == by_token.grants == house.accounts.get("ann").grants
    assert by_password.secret != by_token.secret
    house.accounts.add("eve", [Grant.parse("admin")], "a password of hers")
    for name, token_id in (("eve", token.id), ("ann", "none"), ("nobody", ""), ("a b", ""), ("nobody", token.id)):
        assert knows.standing(name, token_id) is None
    house.accounts.change("ann", password="another one of hers")
    changed = knows.standing("ann", "")
    assert changed is not None
    assert changed.secret != by_password.secret
    house.accounts.change("ann", password="")
    assert knows.standing("ann", "") is None, "there is no password that could have been right"
    house.accounts.change("ann", disabled=True)
    assert knows.standing("ann", token.id) is None
