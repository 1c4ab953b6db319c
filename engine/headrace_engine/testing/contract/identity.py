"""What the stores of users, tokens and the audit promise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import ClassVar

import pytest

from headrace_engine.identity import Grant
from headrace_engine.ports import Audit, AuditRecord, Identity, Token, User, UserChangedError
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract, at

ANN = User(
    "ann",
    "id-of-ann",
    (Grant.parse("viewer"), Grant.parse("editor@company.team")),
    password="scrypt$1$8$1$salt$hash",  # noqa: S106 - no password
    created=START,
)
TOKEN = Token("token-1", "ann", "id-of-ann", "scrypt$1$8$1$salt$hash", START)
LATER = at(900)
RECORD = AuditRecord(
    at=START,
    id="record-1",
    who="ann",
    kind="password",
    client="192.0.2.7",
    action="DELETE /flows/{namespace}/{flow_id}",
    target="/flows/company.team/hello",
    namespace="company.team",
)


class IdentityContract(Contract):
    """Needs the fixture ``identity: Identity``, empty."""

    def test_nobody_is_known_at_first(self, identity: Identity) -> None:
        assert identity.user("ann") is None
        assert identity.token("token-1") is None
        assert (list(identity.users()), list(identity.tokens())) == ([], [])
        assert not identity.delete_user("ann")
        assert not identity.delete_token("token-1")

    def test_a_user_who_is_put_is_got(self, identity: Identity) -> None:
        assert identity.put_user(ANN) == replace(ANN, version=1)
        assert identity.user("ann") == replace(ANN, version=1)
        machine = User("ci", "id-of-ci", (), disabled=True)
        identity.put_user(machine)
        assert list(identity.users()) == [replace(ANN, version=1), replace(machine, version=1)]

    def test_a_user_is_changed_by_who_read_them_last(self, identity: Identity) -> None:
        first = identity.put_user(ANN)
        second = identity.put_user(replace(first, disabled=True))
        for stale in (ANN, first):
            with pytest.raises(UserChangedError):
                identity.put_user(replace(stale, password=""))
        assert identity.user("ann") == second

    def test_a_deleted_user_is_not_written_by_who_read_them_before(self, identity: Identity) -> None:
        user = identity.put_user(ANN)
        assert identity.delete_user("ann")
        with pytest.raises(UserChangedError):
            identity.put_user(user)
        assert identity.user("ann") is None
        assert identity.put_user(ANN).version == 1

    def test_of_many_who_make_the_same_user_one_does(self, identity: Identity) -> None:
        users = [replace(ANN, id=f"id-{n}") for n in range(CONTENDERS)]
        outcomes = self.race([partial(identity.put_user, user) for user in users])
        made = [outcome for outcome in outcomes if isinstance(outcome, User)]
        assert [type(each) for each in outcomes if each not in made] == [UserChangedError] * (CONTENDERS - 1)
        assert [identity.user("ann")] == made

    def test_tokens_are_kept_by_user(self, identity: Identity) -> None:
        narrow = Token("token-2", "ann", "id-of-ann", "hash", at(1), "backup", LATER, (Grant.parse("viewer@a"),))
        other = Token("token-0", "ben", "id-of-ben", "hash", at(2))
        for token in (narrow, other, TOKEN):
            identity.put_token(token)
        assert list(identity.tokens()) == [TOKEN, narrow, other]
        assert list(identity.tokens("ann")) == [TOKEN, narrow]
        assert identity.token("token-2") == narrow
        assert identity.delete_token("token-2")
        assert identity.token("token-2") is None
        assert list(identity.tokens("ann")) == [TOKEN]

    def test_a_tally_counts_up_and_down(self, identity: Identity) -> None:
        assert [identity.tally("a", 1, START, LATER) for _ in range(3)] == [1, 2, 3]
        assert identity.tally("b", 1, START, LATER) == 1
        assert identity.tally("a", -2, at(1), LATER) == 1

    def test_a_tally_is_forgotten_when_it_was_to_be_at_first(self, identity: Identity) -> None:
        identity.tally("a", 5, START, at(10))
        assert identity.tally("a", 1, at(10), at(20)) == 6
        assert identity.tally("a", 1, at(10.5), at(20)) == 1

    def test_no_count_of_a_tally_is_lost(self, identity: Identity) -> None:
        counts = self.race([partial(identity.tally, "a", 1, START, LATER)] * CONTENDERS)
        assert sorted(count for count in counts if isinstance(count, int)) == list(range(1, CONTENDERS + 1))


class AuditContract(Contract):
    """Needs the fixture ``audit: Audit``, empty. *many* is more than an adapter reads at a time."""

    many: ClassVar[int] = 250

    def test_records_are_read_newest_first(self, audit: Audit) -> None:
        records = [replace(RECORD, at=at(n // 2), id=f"record-{n}") for n in range(6)]
        for record in (*records[3:], *records[:3]):
            audit.write(record)
        assert list(audit.read(start=START, end=at(10))) == records[::-1]

    def test_a_record_has_all_that_was_written(self, audit: Audit) -> None:
        full = replace(RECORD, token="token-1", status=409, notes=("an execution", "ünïcode"))  # noqa: S106 - an id
        audit.write(full)
        assert list(audit.read(start=START, end=at(1))) == [full]

    def test_a_record_replaces_the_one_in_its_place(self, audit: Audit) -> None:
        audit.write(RECORD)
        audit.write(replace(RECORD, status=500))
        assert [record.status for record in audit.read(start=START, end=at(1))] == [500]

    def test_records_are_read_from_start_to_before_the_end(self, audit: Audit) -> None:
        records = [replace(RECORD, at=at(n), id=f"record-{n}") for n in range(5)]
        for record in records:
            audit.write(record)
        assert list(audit.read(start=at(1), end=at(3))) == [records[2], records[1]]
        assert list(audit.read(start=at(3), end=at(1))) == []
        assert list(audit.read(start=at(3), end=at(3))) == []

    def test_reading_goes_on_where_it_was_left(self, audit: Audit) -> None:
        records = [replace(RECORD, at=at(n // 3), id=f"record-{n % 3}") for n in range(9)]
        for record in records:
            audit.write(record)
        read: list[AuditRecord] = []
        while page := list(islice(audit.read(start=START, end=at(100), before=read[-1].place if read else None), 2)):
            read += page
        assert read == records[::-1]

    def test_months_are_read_one_after_the_other(self, audit: Audit) -> None:
        instants = [datetime(2024, 2, 29, 23, 59, 59, 999999, UTC), datetime(2024, 3, 1, tzinfo=UTC)]
        instants += [datetime(2024, 12, 31, 23, 59, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)]
        records = [replace(RECORD, at=instant, id=f"record-{n}") for n, instant in enumerate(instants)]
        for record in records:
            audit.write(record)
        start, end = datetime(2024, 1, 31, tzinfo=UTC), datetime(2025, 1, 31, tzinfo=UTC)
        assert list(audit.read(start=start, end=end)) == records[::-1]
        assert list(audit.read(start=start, end=end, before=records[2].place)) == records[1::-1]

    def test_many_records_are_all_read(self, audit: Audit) -> None:
        records = [replace(RECORD, at=START + timedelta(milliseconds=n), id=f"record-{n:03}") for n in range(self.many)]
        for record in records:
            audit.write(record)
        assert list(audit.read(start=START, end=at(10))) == records[::-1]

    def test_what_is_forgotten_is_old(self, audit: Audit) -> None:
        audit.write(RECORD)
        audit.write(replace(RECORD, at=at(5)))
        audit.forget(at(5))
        assert at(5) in [record.at for record in audit.read(start=START, end=at(10))]
