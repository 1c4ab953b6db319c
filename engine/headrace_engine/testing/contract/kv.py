"""What a key-value store promises."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from headrace_engine.ports import KV, KeyExistsError, KVEntry
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract, at

MINUTE = timedelta(minutes=1)


class KVContract(Contract):
    """Needs the fixture ``kv: KV``, empty."""

    def test_an_entry_is_read_back_as_written(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "Grüße 👋", now=START, ttl=MINUTE)
        assert kv.get("ns", "key") == KVEntry(
            "ns", "key", "STRING", "Grüße 👋", created=START, updated=START, expires=START + MINUTE
        )

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("STRING", ""),
            ("NUMBER", 0),
            ("NUMBER", 2**53 + 1),
            ("NUMBER", -1.5e-7),
            ("BOOLEAN", False),
            ("DATETIME", "2024-05-17T08:30:15.123456Z"),
            ("DATE", "2024-05-17"),
            ("DURATION", "PT1M"),
            ("JSON", None),
            ("JSON", {"a": [1, 2.5, None, True, "x", {}], "ü": []}),
            ("STRING", "large " * 100_000),
        ],
    )
    def test_every_kind_of_value_keeps_its_type(self, kv: KV, kind: str, value: Any) -> None:
        kv.put("ns", "key", kind, value, now=START)
        entry = kv.get("ns", "key")
        assert entry is not None
        assert (entry.kind, entry.value, type(entry.value)) == (kind, value, type(value))

    def test_what_was_put_in_or_got_out_is_no_handle_on_what_is_stored(self, kv: KV) -> None:
        value = {"list": [1]}
        kv.put("ns", "key", "JSON", value, now=START)
        value["list"].append(2)
        entry = kv.get("ns", "key")
        assert entry is not None
        entry.value["list"].append(3)
        assert [each.value for each in kv.list("ns")] == [{"list": [1]}]

    def test_get_returns_none_for_what_is_not_there(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "v", now=START)
        assert kv.get("ns", "other") is None
        assert kv.get("ns.sub", "key") is None

    def test_put_replaces_all_but_the_first_creation_date(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "one", now=START, ttl=MINUTE)
        kv.put("ns", "key", "NUMBER", 2, now=at(1))
        assert kv.get("ns", "key") == KVEntry("ns", "key", "NUMBER", 2, created=START, updated=at(1), expires=None)

    def test_what_nobody_waits_for_is_seen_at_once(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "one", now=START)
        for number in range(20):
            kv.put("ns", "key", "NUMBER", number, now=at(1), durable=False)
            entry = kv.get("ns", "key")
            assert entry is not None
            assert (entry.value, entry.created) == (number, START)
        kv.put("ns", "key", "NUMBER", 20, now=at(1), durable=False)
        assert [entry.value for entry in kv.list("ns")] == [20]
        kv.put("ns", "key", "NUMBER", 21, now=at(1), durable=False)
        with pytest.raises(KeyExistsError):
            kv.put("ns", "key", "NUMBER", 22, now=at(2), overwrite=False, durable=False)
        kv.put("ns", "key", "NUMBER", 23, now=at(3), durable=False)
        assert kv.delete("ns", "key") is True
        assert kv.get("ns", "key") is None

    def test_large_and_small_values_replace_each_other(self, kv: KV) -> None:
        for number, value in enumerate(["a" * 500_000, "b" * 500_000, "c", "d" * 500_000]):
            kv.put("ns", "key", "STRING", value, now=at(number))
            assert [entry.value for entry in kv.list("ns")] == [value]
        with pytest.raises(KeyExistsError):
            kv.put("ns", "key", "STRING", "e" * 500_000, now=at(9), overwrite=False)
        entry = kv.get("ns", "key")
        assert entry is not None
        assert (entry.value, entry.created, entry.updated) == ("d" * 500_000, START, at(3))

    def test_put_without_overwrite_refuses_a_key_that_exists(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "one", now=START, overwrite=False)
        with pytest.raises(KeyExistsError):
            kv.put("ns", "key", "STRING", "two", now=at(1), overwrite=False)
        entry = kv.get("ns", "key")
        assert entry is not None
        assert (entry.value, entry.updated) == ("one", START)
        kv.put("ns", "other", "STRING", "two", now=at(1), overwrite=False)

    def test_put_without_overwrite_refuses_until_the_key_has_expired(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "one", now=START, ttl=MINUTE)
        with pytest.raises(KeyExistsError):
            kv.put("ns", "key", "STRING", "two", now=at(59.999999), overwrite=False)
        kv.put("ns", "key", "STRING", "two", now=at(60), overwrite=False)
        assert kv.get("ns", "key") == KVEntry("ns", "key", "STRING", "two", created=at(60), updated=at(60))

    def test_a_value_over_an_expired_one_is_created_then(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "one", now=START, ttl=MINUTE)
        kv.put("ns", "key", "STRING", "two", now=at(61))
        entry = kv.get("ns", "key")
        assert entry is not None
        assert entry.created == at(61)

    def test_an_expired_entry_is_still_returned(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "v", now=START - timedelta(days=9000), ttl=MINUTE)
        assert kv.get("ns", "key") is not None
        assert [entry.key for entry in kv.list("ns")] == ["key"]

    def test_delete_says_whether_the_key_was_there(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "v", now=START)
        assert kv.delete("ns", "key") is True
        assert kv.delete("ns", "key") is False
        assert kv.get("ns", "key") is None

    def test_after_a_delete_the_key_is_created_anew(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "one", now=START)
        kv.delete("ns", "key")
        kv.put("ns", "key", "STRING", "two", now=at(5), overwrite=False)
        entry = kv.get("ns", "key")
        assert entry is not None
        assert entry.created == at(5)

    def test_list_gives_this_namespace_only_by_key(self, kv: KV) -> None:
        for namespace, key in (("ns", "b"), ("ns", "a_1"), ("ns", "a.1"), ("ns.sub", "c"), ("n", "d")):
            kv.put(namespace, key, "STRING", "v", now=START)
        assert [entry.key for entry in kv.list("ns")] == ["a.1", "a_1", "b"]
        assert list(kv.list("nobody")) == []

    def test_list_by_prefix_takes_it_literally(self, kv: KV) -> None:
        for key in ("a_1", "a.1", "ab1", "A_1", "xa_1"):
            kv.put("ns", key, "STRING", "v", now=START)
        assert [entry.key for entry in kv.list("ns", "a_")] == ["a_1"]
        assert list(kv.list("ns", "%")) == []

    def test_what_has_expired_is_forgotten_in_this_namespace_only(self, kv: KV) -> None:
        for n in range(5):
            kv.put("ns", f"old{n}", "STRING", "v", now=START, ttl=MINUTE)
        kv.put("ns", "later", "STRING", "v", now=START, ttl=2 * MINUTE)
        kv.put("ns", "kept", "STRING", "v", now=START)
        kv.put("other", "old", "STRING", "v", now=START, ttl=MINUTE)
        assert kv.forget("ns", at(59), at_most=9) == 0
        counts = [kv.forget("ns", at(60), at_most=3) for _ in range(3)]
        left = [entry.key for entry in kv.list("ns")]
        if any(counts):  # whoever does so by itself need not do it here
            assert counts == [3, 2, 0]
            assert left == ["kept", "later"]
        else:
            assert {"kept", "later"} <= set(left)
        assert [entry.key for entry in kv.list("other")] == ["old"]

    def test_one_of_many_creates_a_key(self, kv: KV) -> None:
        for n in range(20):
            outcomes = self.race(
                [
                    partial(kv.put, "ns", f"key{n}", "NUMBER", value, now=START, overwrite=False)
                    for value in range(CONTENDERS)
                ]
            )
            winners = [value for value, outcome in enumerate(outcomes) if outcome is None]
            assert len(winners) == 1
            assert sum(isinstance(outcome, KeyExistsError) for outcome in outcomes) == CONTENDERS - 1
            entry = kv.get("ns", f"key{n}")
            assert entry is not None
            assert entry.value == winners[0]

    def test_keys_written_at_once_are_all_kept(self, kv: KV) -> None:
        outcomes = self.race([partial(kv.put, "ns", f"key{n:02}", "NUMBER", n, now=START) for n in range(CONTENDERS)])
        assert outcomes == [None] * CONTENDERS
        assert [entry.value for entry in kv.list("ns")] == list(range(CONTENDERS))

    def test_one_of_many_deletes_a_key(self, kv: KV) -> None:
        kv.put("ns", "key", "STRING", "v", now=START)
        outcomes = self.race([partial(kv.delete, "ns", "key") for _ in range(CONTENDERS)])
        assert sorted(map(bool, outcomes)) == [False] * (CONTENDERS - 1) + [True]
