"""What a store of executions' summaries promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from headrace_engine.model.state import State
from headrace_engine.ports import Executions, ExecutionSummary
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
        )
        executions.put(full)
        assert executions.get("x") == full

    def test_get_returns_none_for_what_is_not_there(self, executions: Executions) -> None:
        assert executions.get("x") is None

    def test_put_replaces_an_older_summary_whole(self, executions: Executions) -> None:
        executions.put(replace(summary(seq=1, wake_by=at(1)), labels={"a": "1"}, parent_id="p", trigger_id="t"))
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
        page, total = executions.search(limit=2)
        assert (ids(page), total) == (["x4", "x3"], 5)
        page, total = executions.search(limit=2, offset=4)
        assert (ids(page), total) == (["x0"], 5)
        page, total = executions.search(limit=2, offset=6)
        assert (ids(page), total) == ([], 5)
        page, total = executions.search(limit=0)
        assert (ids(page), total) == ([], 5)

    def test_pages_of_executions_that_started_together_do_not_overlap(self, executions: Executions) -> None:
        for n in range(10):
            executions.put(summary(f"x{n}"))
        found = [each for offset in (0, 3, 6, 9) for each in ids(executions.search(limit=3, offset=offset)[0])]
        assert sorted(found) == [f"x{n}" for n in range(10)]

    def test_search_by_namespace_matches_it_and_everything_below(self, executions: Executions) -> None:
        for n, namespace in enumerate(("a", "a.b", "a.b.c", "a.bc", "a-b", "a_b", "ab")):
            executions.put(summary(namespace, namespace=namespace, start=at(-n)))
        page, total = executions.search(namespace="a.b")
        assert (ids(page), total) == (["a.b", "a.b.c"], 2)
        assert ids(executions.search(namespace="a")[0]) == ["a", "a.b", "a.b.c", "a.bc"]
        assert ids(executions.search(namespace="a%")[0]) == []

    def test_a_flow_is_found_in_its_namespace_and_below_not_beside(self, executions: Executions) -> None:
        for name in ("a/f", "a.b/f", "a/f1", "a.b/g", "ab/f"):
            namespace, flow_id = name.split("/")
            executions.put(summary(name, namespace=namespace, flow_id=flow_id))
        page, total = executions.search(namespace="a", flow_id="f")
        assert (set(ids(page)), total) == ({"a/f", "a.b/f"}, 2)

    def test_search_follows_the_newest_summary(self, executions: Executions) -> None:
        executions.put(summary(seq=0, state=State.RUNNING))
        executions.put(summary(seq=1, state=State.FAILED, end=at(1)))
        assert executions.search(states=[State.RUNNING]) == ([], 0)
        assert ids(executions.search(states=[State.FAILED])[0]) == ["x"]

    def test_search_by_flow_and_states(self, executions: Executions) -> None:
        executions.put(summary("a", flow_id="f", state=State.FAILED, end=START))
        executions.put(summary("b", flow_id="g", state=State.FAILED, end=START))
        executions.put(summary("c", flow_id="f", state=State.RUNNING))
        executions.put(summary("d", flow_id="f", state=State.SUCCESS, end=START, namespace="other"))
        assert set(ids(executions.search(flow_id="f")[0])) == {"a", "c", "d"}
        assert set(ids(executions.search(states=[State.FAILED, State.RUNNING])[0])) == {"a", "b", "c"}
        page, total = executions.search(namespace="ns", flow_id="f", states=[State.FAILED, State.SUCCESS])
        assert (ids(page), total) == (["a"], 1)

    def test_delete_removes_a_summary_and_is_idempotent(self, executions: Executions) -> None:
        executions.put(summary("x"))
        executions.put(summary("y"))
        executions.delete("x")
        executions.delete("x")
        assert executions.get("x") is None
        assert ids(executions.open()) == ["y"]
        assert executions.search()[1] == 1
