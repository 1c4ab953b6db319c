"""What a store of executions' summaries promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

import pytest

from headrace_engine.model.search import Condition, ExecutionQuery, Operation, Order
from headrace_engine.model.state import State
from headrace_engine.ports import DayTally, ExecutionPage, Executions, ExecutionSummary
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract, at


def summary(
    execution_id: str = "x",
    *,
    seq: int = 0,
    state: State = State.RUNNING,
    start: datetime = START,
    end: datetime | None = None,
    wake_by: datetime | None = None,
    namespace: str = "ns",
    flow_id: str = "f",
) -> ExecutionSummary:
    """Return a summary with what the test is about."""
    return ExecutionSummary(execution_id, namespace, flow_id, 1, state, seq, start, end, wake_by)


def ids(summaries: object) -> list[str]:
    """Return the ids of *summaries*, in their order."""
    return [each.id for each in summaries]  # type: ignore[attr-defined]  # a sequence or an iterator of summaries


def seen(page: ExecutionPage) -> tuple[list[str], int]:
    """Return the ids of a page and the total."""
    return ids(page.found), page.total


class ExecutionsContract(Contract):
    """Needs the fixture ``executions: Executions``, empty."""

    def test_a_summary_is_read_back_as_written(self, executions: Executions) -> None:
        full = ExecutionSummary(
            id="x",
            namespace="company.team",
            flow_id="f",
            flow_revision=7,
            state=State.WARNING,
            seq=12,
            start=START,
            end=at(1.000001),
            wake_by=None,
            labels={"größe": "L", "system.from": "cli"},
            parent_id="parent",
            trigger_id="daily",
            caller_id="caller",
            original_id="first",
        )
        executions.put(full)
        assert executions.get("x") == full

    def test_get_returns_none_for_what_is_not_there(self, executions: Executions) -> None:
        assert executions.get("x") is None

    def test_put_replaces_an_older_summary_whole(self, executions: Executions) -> None:
        of_others = replace(summary(seq=1, wake_by=at(1)), parent_id="p", trigger_id="t", caller_id="c")
        executions.put(replace(of_others, labels={"a": "1"}, original_id="o"))
        newer = summary(seq=2, state=State.SUCCESS, end=at(2))
        executions.put(newer)
        assert executions.get("x") == newer

    def test_labels_may_be_large(self, executions: Executions) -> None:
        executions.put(replace(summary(seq=0), labels={"a": "x" * 300_000}))
        large = replace(summary(seq=1), labels={"b": "y" * 300_000})
        executions.put(large)
        executions.put(replace(summary(seq=1), labels={"c": "z" * 300_000}))
        assert executions.get("x") == large
        assert list(executions.open()) == [large]

    def test_put_leaves_a_summary_that_reflects_the_same_or_more(self, executions: Executions) -> None:
        stored = summary(seq=10, state=State.SUCCESS, end=at(1))
        executions.put(stored)
        executions.put(summary(seq=9))
        executions.put(summary(seq=10))
        assert executions.get("x") == stored

    def test_of_many_summaries_at_once_the_highest_stays(self, executions: Executions) -> None:
        outcomes = self.race([partial(executions.put, summary(seq=n, start=at(n))) for n in range(CONTENDERS)])
        assert outcomes == [None] * CONTENDERS
        assert executions.get("x") == summary(seq=CONTENDERS - 1, start=at(CONTENDERS - 1))

    def test_open_yields_what_has_not_ended_oldest_first(self, executions: Executions) -> None:
        executions.put(summary("c", start=at(3), state=State.PAUSED))
        executions.put(summary("a", start=at(1), state=State.SUCCESS, end=at(2)))
        executions.put(summary("d", start=at(4), state=State.KILLING))
        executions.put(summary("b", start=at(2), wake_by=at(9)))
        assert ids(executions.open()) == ["b", "c", "d"]

    def test_open_includes_what_still_waits_to_be_woken_after_its_end(self, executions: Executions) -> None:
        executions.put(summary(state=State.SUCCESS, end=at(2), wake_by=at(9)))
        assert ids(executions.open()) == ["x"]

    def test_open_leaves_out_what_ends_later(self, executions: Executions) -> None:
        executions.put(summary(seq=0))
        executions.put(summary(seq=1, state=State.FAILED, end=at(1)))
        assert ids(executions.open()) == []

    def test_open_and_due_yield_thousands(self, executions: Executions) -> None:
        for n in range(1201):
            executions.put(summary(f"x{n:04}", start=at(n // 7), wake_by=at(n // 7)))
        expected = [f"x{n:04}" for n in range(1201)]
        assert ids(executions.open()) == expected
        assert ids(executions.due(at(10_000))) == expected

    def test_the_store_may_change_while_open_is_read(self, executions: Executions) -> None:
        for n in range(10):
            executions.put(summary(f"x{n}", start=at(n)))
        seen = []
        for each in executions.open():
            seen.append(each.id)
            executions.put(replace(each, seq=each.seq + 1, state=State.SUCCESS, end=at(100)))
        assert seen == [f"x{n}" for n in range(10)]
        assert ids(executions.open()) == []

    def test_due_yields_what_was_to_be_woken_by_now(self, executions: Executions) -> None:
        executions.put(summary("later", wake_by=at(10.000001)))
        executions.put(summary("now", wake_by=at(10)))
        executions.put(summary("past", wake_by=at(-3600)))
        executions.put(summary("never"))
        assert ids(executions.due(at(10))) == ["past", "now"]

    def test_due_follows_the_newest_summary(self, executions: Executions) -> None:
        executions.put(summary(seq=0, wake_by=at(1)))
        executions.put(summary(seq=1, wake_by=at(100)))
        assert ids(executions.due(at(10))) == []

    def test_search_gives_pages_newest_start_first_and_the_total(self, executions: Executions) -> None:
        for n in (3, 0, 4, 1, 2):
            executions.put(summary(f"x{n}", start=at(n)))
        assert seen(executions.search(limit=2)) == (["x4", "x3"], 5)
        assert seen(executions.search(limit=2, offset=4)) == (["x0"], 5)
        assert seen(executions.search(limit=2, offset=6)) == ([], 5)
        assert seen(executions.search(limit=0)) == ([], 5)
        assert executions.search(limit=2).is_exact

    def test_pages_of_executions_that_started_together_do_not_overlap(self, executions: Executions) -> None:
        for n in range(10):
            executions.put(summary(f"x{n}"))
        found = [each for offset in (0, 3, 6, 9) for each in ids(executions.search(limit=3, offset=offset).found)]
        assert sorted(found) == [f"x{n}" for n in range(10)]

    def test_a_page_says_where_the_next_one_begins(self, executions: Executions) -> None:
        for n in range(10):
            executions.put(summary(f"x{n}", start=at(n // 2), flow_id="f" if n % 4 else "g"))
        wanted = ids(executions.search(ExecutionQuery(flow_id="f"), limit=100).found)
        found, after = [], ""
        for _ in range(20):
            page = executions.search(ExecutionQuery(flow_id="f"), limit=2, after=after)
            found += ids(page.found)
            after = page.after
            if not after:
                break
        assert found == wanted
        assert len(wanted) == 7

    def test_what_begins_meanwhile_does_not_move_the_next_page(self, executions: Executions) -> None:
        for n in range(4):
            executions.put(summary(f"x{n}", start=at(n)))
        first = executions.search(limit=2)
        executions.put(summary("x4", start=at(4)))
        assert ids(executions.search(limit=2, after=first.after).found) == ["x1", "x0"]

    @pytest.mark.parametrize("after", ["nonsense", "~", "x~y~z", "9" * 40 + "~x"])
    def test_a_place_that_no_page_said_is_refused(self, executions: Executions, after: str) -> None:
        executions.put(summary())
        with pytest.raises(ValueError, match=r"\w"):
            executions.search(after=after)

    def test_search_by_namespace_matches_it_and_everything_below(self, executions: Executions) -> None:
        for n, namespace in enumerate(("a", "a.b", "a.b.c", "a.bc", "a-b", "a_b", "ab")):
            executions.put(summary(namespace, namespace=namespace, start=at(-n)))
        assert seen(executions.search(ExecutionQuery(("a.b",)))) == (["a.b", "a.b.c"], 2)
        assert ids(executions.search(ExecutionQuery(("a",))).found) == ["a", "a.b", "a.b.c", "a.bc"]
        assert ids(executions.search(ExecutionQuery(("a%",))).found) == []
        assert ids(executions.search(ExecutionQuery(("ab", "a.b"))).found) == ["a.b", "a.b.c", "ab"]
        assert ids(executions.search(ExecutionQuery(("a.b", "a"))).found) == ["a", "a.b", "a.b.c", "a.bc"]
        assert seen(executions.search(ExecutionQuery(()))) == ([], 0)

    def test_a_flow_is_found_in_its_namespace_and_below_not_beside(self, executions: Executions) -> None:
        for name in ("a/f", "a.b/f", "a/f1", "a.b/g", "ab/f"):
            namespace, flow_id = name.split("/")
            executions.put(summary(name, namespace=namespace, flow_id=flow_id))
        page = executions.search(ExecutionQuery(("a",), "f"))
        assert (set(ids(page.found)), page.total) == ({"a/f", "a.b/f"}, 2)

    def test_the_executions_of_exactly_one_flow(self, executions: Executions) -> None:
        for n, name in enumerate(("a/f", "a.b/f", "a/f1", "a/f", "a.b/g", "ab/f")):
            namespace, flow_id = name.split("/")
            executions.put(summary(f"x{n}", namespace=namespace, flow_id=flow_id, start=at(n)))
        exactly = (Condition("namespace", Operation.EQUALS, ("a",)),)
        assert seen(executions.search(ExecutionQuery(("a",), "f", conditions=exactly))) == (["x3", "x0"], 2)

    def test_search_follows_the_newest_summary(self, executions: Executions) -> None:
        executions.put(summary(seq=0, state=State.RUNNING))
        executions.put(summary(seq=1, state=State.FAILED, end=at(1)))
        assert seen(executions.search(ExecutionQuery(states=(State.RUNNING,)))) == ([], 0)
        assert ids(executions.search(ExecutionQuery(states=(State.FAILED,))).found) == ["x"]
        executions.put(summary(seq=2, state=State.RESTARTED))
        assert seen(executions.search(ExecutionQuery(states=(State.FAILED,)))) == ([], 0)
        assert ids(executions.search(ExecutionQuery(states=(State.RESTARTED,))).found) == ["x"]

    def test_search_by_flow_and_states(self, executions: Executions) -> None:
        executions.put(summary("a", flow_id="f", state=State.FAILED, end=START))
        executions.put(summary("b", flow_id="g", state=State.FAILED, end=START))
        executions.put(summary("c", flow_id="f", state=State.RUNNING))
        executions.put(summary("d", flow_id="f", state=State.SUCCESS, end=START, namespace="other"))

        def found(*states: State, flow_id: str | None = None, namespace: str = "") -> set[str]:
            page = executions.search(ExecutionQuery((namespace,), flow_id, states))
            assert len(page.found) == page.total
            return set(ids(page.found))

        assert found(flow_id="f") == {"a", "c", "d"}
        assert found(State.FAILED, State.RUNNING) == {"a", "b", "c"}
        assert found(State.FAILED, State.SUCCESS, flow_id="f", namespace="ns") == {"a"}
        assert found(State.RUNNING, State.PAUSED) == {"c"}
        assert found(State.RUNNING, flow_id="f", namespace="ns") == {"c"}

    def test_search_between_two_dates(self, executions: Executions) -> None:
        for n in range(5):
            executions.put(summary(f"x{n}", start=at(n)))
        assert ids(executions.search(ExecutionQuery(since=at(1), until=at(3))).found) == ["x3", "x2", "x1"]
        assert ids(executions.search(ExecutionQuery(("ns",), "f", since=at(3))).found) == ["x4", "x3"]
        assert ids(executions.search(ExecutionQuery(until=at(0.5))).found) == ["x0"]

    def test_search_by_labels(self, executions: Executions) -> None:
        executions.put(replace(summary("both", start=at(2)), labels={"team": "a", "stage": "b"}))
        executions.put(replace(summary("one", start=at(1)), labels={"team": "a"}))
        executions.put(replace(summary("other"), labels={"team": "ab", "k": "v"}))
        executions.put(replace(summary("none", start=at(-1))))
        assert seen(executions.search(ExecutionQuery(labels=(("team", "a"),)))) == (["both", "one"], 2)
        assert ids(executions.search(ExecutionQuery(labels=(("team", "a"), ("stage", "b")))).found) == ["both"]
        assert ids(executions.search(ExecutionQuery(labels=(("k", "v"),))).found) == ["other"]
        assert seen(executions.search(ExecutionQuery(without_labels=(("team", "a"),)))) == (["other", "none"], 2)
        assert ids(executions.search(ExecutionQuery(labels=(('te"am', "a*"),))).found) == []

    def test_labels_that_changed_are_found_as_they_are(self, executions: Executions) -> None:
        executions.put(replace(summary(seq=0), labels={"team": "red"}))
        executions.put(replace(summary(seq=1), labels={"team": "blue"}))
        assert executions.search(ExecutionQuery(labels=(("team", "red"),))).total == 0
        assert executions.search(ExecutionQuery(words=("team:red",))).total == 0
        assert executions.search(ExecutionQuery(words=("team:blue",))).total == 1

    def test_search_by_words(self, executions: Executions) -> None:
        executions.put(replace(summary("abc", flow_id="Nightly-Load", start=at(1)), labels={"team": "größe"}))
        executions.put(summary("xyz", namespace="company.load"))
        assert ids(executions.search(ExecutionQuery(words=("LOAD",))).found) == ["abc", "xyz"]
        assert ids(executions.search(ExecutionQuery(words=("load", "night"))).found) == ["abc"]
        assert ids(executions.search(ExecutionQuery(words=("y-l",))).found) == ["abc"]
        assert ids(executions.search(ExecutionQuery(words=("z",))).found) == ["xyz"]
        assert ids(executions.search(ExecutionQuery(words=("öße",))).found) == ["abc"]
        for nothing in ('"', "*", "a OR b", "-", "\0abc", "^abc", "NEAR("):
            assert executions.search(ExecutionQuery(words=(nothing, "not there"))).total == 0

    def test_search_of_children_and_of_what_a_trigger_started(self, executions: Executions) -> None:
        executions.put(replace(summary("replay", start=at(3)), parent_id="main", trigger_id="daily"))
        executions.put(replace(summary("again", start=at(2)), parent_id="child", trigger_id="daily", caller_id="main"))
        executions.put(summary("main", start=at(1)))
        executions.put(replace(summary("child"), trigger_id="daily", caller_id="main"))
        assert seen(executions.search(ExecutionQuery(is_child=True))) == (["again", "child"], 2)
        assert seen(executions.search(ExecutionQuery(is_child=False))) == (["replay", "main"], 2)
        of_main = (Condition("callerId", Operation.EQUALS, ("main",)),)
        assert seen(executions.search(ExecutionQuery(conditions=of_main))) == (["again", "child"], 2)
        of_another = (Condition("callerId", Operation.EQUALS, ("main",), negated=True),)
        assert seen(executions.search(ExecutionQuery(conditions=of_another))) == (["replay", "main"], 2)
        not_daily = (Condition("triggerId", Operation.EQUALS, ("daily", "hourly"), negated=True),)
        assert ids(executions.search(ExecutionQuery(conditions=not_daily)).found) == ["main"]

    def test_search_by_conditions_on_texts(self, executions: Executions) -> None:
        for n, flow_id in enumerate(("load", "load-all", "unload", "other")):
            executions.put(summary(f"x{n}", flow_id=flow_id, start=at(-n)))

        def found(operation: Operation, *values: str, negated: bool = False) -> list[str]:
            condition = Condition("flowId", operation, values, negated)
            page = executions.search(ExecutionQuery(conditions=(condition,)))
            assert page.total == len(page.found)
            return [each.flow_id for each in page.found]

        assert found(Operation.EQUALS, "load", "other") == ["load", "other"]
        assert found(Operation.EQUALS, "load", negated=True) == ["load-all", "unload", "other"]
        assert found(Operation.STARTS_WITH, "load") == ["load", "load-all"]
        assert found(Operation.STARTS_WITH, "lo%") == []
        assert found(Operation.ENDS_WITH, "load") == ["load", "unload"]
        assert found(Operation.ENDS_WITH, "a long end that none has") == []
        assert found(Operation.CONTAINS, "LOAD") == ["load", "load-all", "unload"]
        assert found(Operation.REGEX, "^un|her$") == ["unload", "other"]
        assert found(Operation.REGEX, "load", negated=True) == ["other"]
        assert found(Operation.EQUALS) == []
        with pytest.raises(ValueError, match="is not a regular expression"):
            found(Operation.REGEX, "(")

    def test_a_regular_expression_looks_at_every_flow_of_every_namespace(self, executions: Executions) -> None:
        names = [("a", "x"), ("a", "y"), ("a.b", "x"), ("b", "xy"), ("c", "y")]
        for n, (namespace, flow_id) in enumerate([*names, *names]):
            executions.put(summary(f"x{n}", namespace=namespace, flow_id=flow_id, start=at(-n)))

        def found(field: str, pattern: str) -> list[str]:
            condition = Condition(field, Operation.REGEX, (pattern,))
            page = executions.search(ExecutionQuery(conditions=(condition,)), limit=4)
            assert page.total == 4
            return [f"{each.namespace}.{each.flow_id}" for each in page.found]

        assert found("flowId", "^x$") == ["a.x", "a.b.x", "a.x", "a.b.x"]
        assert found("namespace", "b$") == ["a.b.x", "b.xy", "a.b.x", "b.xy"]

    def test_other_orders(self, executions: Executions) -> None:
        executions.put(summary("a", start=at(0), end=at(9), state=State.SUCCESS, flow_id="y"))
        executions.put(summary("b", start=at(1), state=State.RUNNING, flow_id="x"))
        executions.put(summary("c", start=at(2), end=at(3), state=State.FAILED, flow_id="y"))

        def found(*order: Order) -> list[str]:
            return ids(executions.search(order=order).found)

        assert found(Order("start", descending=False)) == ["a", "b", "c"]
        assert found(Order("end")) == ["a", "c", "b"]
        assert found(Order("end", descending=False)) == ["b", "c", "a"]
        assert found(Order("duration")) == ["a", "c", "b"]
        assert found(Order("flowId", descending=False), Order("start")) == ["b", "c", "a"]
        assert found(Order("state", descending=False)) == ["c", "b", "a"]

    def test_days_are_tallied_by_flow_and_state(self, executions: Executions) -> None:
        day = 86_400
        executions.put(summary("a", start=at(0), end=at(2), state=State.SUCCESS))
        executions.put(summary("b", start=at(1), end=at(5), state=State.SUCCESS))
        executions.put(summary("c", start=at(2), state=State.RUNNING))
        executions.put(summary("d", start=at(day), end=at(day + 1), state=State.FAILED, flow_id="g"))
        executions.put(summary("e", start=at(3 * day), end=at(3 * day + 1), state=State.FAILED, namespace="other"))
        today, tomorrow = START.date(), at(day).date()
        tallies = list(executions.daily(ExecutionQuery(("ns",), until=at(2 * day))))
        assert tallies == [
            DayTally(today, "ns", "f", State.RUNNING, 1, 0.0, 0.0, 0.0),
            DayTally(today, "ns", "f", State.SUCCESS, 2, 6.0, 2.0, 4.0),
            DayTally(tomorrow, "ns", "g", State.FAILED, 1, 1.0, 1.0, 1.0),
        ]
        assert [each.namespace for each in executions.daily(ExecutionQuery(since=at(2 * day)))] == ["other"]

    def test_delete_removes_a_summary_and_is_idempotent(self, executions: Executions) -> None:
        executions.put(summary("x"))
        executions.put(summary("y"))
        executions.delete("x")
        executions.delete("x")
        assert executions.get("x") is None
        assert ids(executions.open()) == ["y"]
        assert executions.search().total == 1
        assert ids(executions.search(ExecutionQuery(words=("ns",))).found) == ["y"]
