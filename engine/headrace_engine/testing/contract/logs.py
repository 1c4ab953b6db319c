"""What stores of log lines and metrics promise."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from headrace_engine.model.state import State
from headrace_engine.ports import Executions, ExecutionSummary, Level, LogLine, LogQuery, Logs, MetricPoint, Metrics
from headrace_engine.testing.contract.support import CONTENDERS, START, Contract, at


def line(
    message: str,
    timestamp: datetime = START,
    *,
    level: Level = Level.INFO,
    execution_id: str = "x",
    task_id: str | None = "task",
    task_run_id: str | None = "task-run",
) -> LogLine:
    """Return a line with what the test is about."""
    return LogLine(execution_id, "ns", "f", timestamp, level, message, task_id, task_run_id, 0)


def point(name: str, timestamp: datetime = START, *, execution_id: str = "x", value: float = 1.0) -> MetricPoint:
    """Return a point with what the test is about."""
    return MetricPoint(execution_id, "ns", "f", "task", "task-run", "counter", name, value, timestamp)


def messages(logs: Logs, execution_id: str = "x") -> list[str]:
    """Return the messages of an execution."""
    return [each.message for each in logs.fetch(execution_id)]


class _LogSearch(Contract):
    """Needs the fixtures ``logs: Logs`` and ``executions: Executions``, empty, of one store."""

    @staticmethod
    def fill(logs: Logs, executions: Executions) -> None:
        """Put lines of four executions."""
        flows = {"x0": ("a.b", "f"), "x1": ("a.b", "g"), "x2": ("ab", "f"), "x3": ("a", "f")}
        for n, (execution_id, (namespace, flow_id)) in enumerate(flows.items()):
            start = at(10 * n)
            executions.put(
                ExecutionSummary(execution_id, namespace, flow_id, 1, State.SUCCESS, 0, start, at(10 * n + 5))
            )
            lines = [
                LogLine(execution_id, namespace, flow_id, at(10 * n + 1), Level.INFO, f"{n} began", "t", f"r{n}", 0),
                LogLine(execution_id, namespace, flow_id, at(10 * n + 2), Level.ERROR, f"{n} went WRONG", "u", "s", 1),
            ]
            logs.append(execution_id, "batch", lines)

    def found(self, logs: Logs, query: LogQuery) -> list[str]:
        """Return the messages that *query* means, newest first."""
        return [each.message for each in logs.search(query, limit=100).found]

    def test_search_gives_pages_newest_first(self, logs: Logs, executions: Executions) -> None:
        self.fill(logs, executions)
        page = logs.search(LogQuery(), limit=3)
        assert [each.message for each in page.found] == ["3 went WRONG", "3 began", "2 went WRONG"]
        assert page.found[0].execution_id == "x3"
        assert [each.message for each in logs.search(LogQuery(), limit=3, offset=6).found] == [
            "0 went WRONG",
            "0 began",
        ]
        oldest = logs.search(LogQuery(), limit=2, descending=False)
        assert [each.message for each in oldest.found] == ["0 began", "0 went WRONG"]
        assert logs.search(LogQuery()).total == 8

    def test_search_by_flow_level_task_and_words(self, logs: Logs, executions: Executions) -> None:
        self.fill(logs, executions)
        assert self.found(logs, LogQuery(("a",), "f", levels=(Level.ERROR,))) == ["3 went WRONG", "0 went WRONG"]
        assert self.found(logs, LogQuery(("a.b", "ab"), task_id="t")) == ["2 began", "1 began", "0 began"]
        assert self.found(logs, LogQuery(words=("wrong", "went"), execution_id="x1")) == ["1 went WRONG"]
        assert self.found(logs, LogQuery(task_run_id="r2")) == ["2 began"]
        assert self.found(logs, LogQuery(("a",), attempt=1, words=("3",))) == ["3 went WRONG"]
        assert self.found(logs, LogQuery(())) == []

    def test_search_between_two_dates(self, logs: Logs, executions: Executions) -> None:
        self.fill(logs, executions)
        assert self.found(logs, LogQuery(since=at(11), until=at(21))) == ["2 began", "1 went WRONG", "1 began"]
        assert self.found(logs, LogQuery(since=at(12), until=at(12))) == ["1 went WRONG"]


class _MetricSearch(Contract):
    """Needs the fixtures ``metrics: Metrics`` and ``executions: Executions``, empty, of one store."""

    def test_the_points_of_a_flow(self, metrics: Metrics, executions: Executions) -> None:
        for n, flow_id in enumerate(("f", "g", "f", "f")):
            execution_id = f"x{n}"
            executions.put(
                ExecutionSummary(execution_id, "ns", flow_id, 1, State.SUCCESS, 0, at(10 * n), at(10 * n + 5))
            )
            points = [
                MetricPoint(execution_id, "ns", flow_id, "t", "r", "counter", name, n, at(10 * n + place))
                for place, name in enumerate(("rows", "bytes"))
            ]
            metrics.append(execution_id, "batch", points)
        found = metrics.of_flow("ns", "f", since=at(1), until=at(30))
        assert [(each.execution_id, each.name) for each in found] == [
            ("x0", "bytes"),
            ("x2", "rows"),
            ("x2", "bytes"),
            ("x3", "rows"),
        ]
        assert list(metrics.of_flow("n", "f", since=START, until=at(100))) == []


class LogsContract(_LogSearch):
    """Needs the fixtures ``logs: Logs`` and ``executions: Executions``, empty, of one store."""

    def test_lines_are_read_back_as_written(self, logs: Logs) -> None:
        full = LogLine("x", "ns", "f", START, Level.WARN, "Ü\n\0two", "task", "task-run", 3)
        of_the_execution = LogLine("x", "ns", "f", at(1), Level.INFO, "")
        logs.append("x", "batch", [full, of_the_execution])
        assert list(logs.fetch("x")) == [full, of_the_execution]

    def test_an_execution_without_lines_has_none(self, logs: Logs) -> None:
        assert list(logs.fetch("nobody")) == []

    def test_text_that_is_no_unicode_does_not_lose_its_batch(self, logs: Logs) -> None:
        logs.append("x", "batch", [line("before"), line("raw \udcff byte"), line("after")])
        found = messages(logs)
        assert (found[0], found[1][:4], found[2]) == ("before", "raw ", "after")

    def test_the_same_batch_again_changes_nothing(self, logs: Logs) -> None:
        logs.append("x", "batch", [line("one"), line("two", at(1))])
        logs.append("x", "batch", [line("one"), line("two", at(1))])
        logs.append("x", "batch", [line("one"), line("two", at(1)), line("three", at(2))])
        assert messages(logs) == ["one", "two"]

    def test_batches_that_come_together_are_those_that_come_alone(self, logs: Logs) -> None:
        """Whoever takes over appends what may be there already, put together as it pleases."""
        lines = {f"#{n}": [line(f"a {n}", at(n)), line(f"b {n}", at(n))] for n in range(12)}
        logs.append_all("x", {name: lines[name] for name in ("#0", "#1", "#2")})
        logs.append("x", "#1", lines["#1"])
        logs.append_all("x", {name: lines[name] for name in ("#1", "#2", "#3", "#4")})
        logs.append_all("x", lines)
        logs.append_all("x", {})
        assert [each.message for each in logs.fetch("x")] == [f"{word} {n}" for n in range(12) for word in "ab"]
        assert logs.purge("x", start=at(2), end=at(3)) == 4
        assert [each.message for each in logs.fetch("x")] == [
            f"{word} {n}" for n in range(12) if n not in (2, 3) for word in "ab"
        ]

    def test_executions_have_batches_of_their_own(self, logs: Logs) -> None:
        logs.append("x", "batch", [line("of x")])
        logs.append("x1", "batch", [line("of x1", execution_id="x1")])
        assert (messages(logs, "x"), messages(logs, "x1")) == (["of x"], ["of x1"])

    def test_lines_come_by_timestamp_over_batches(self, logs: Logs) -> None:
        logs.append("x", "b", [line("2", at(2)), line("4", at(4))])
        logs.append("x", "a", [line("3", at(3)), line("1", at(1))])
        assert messages(logs) == ["1", "2", "3", "4"]

    def test_lines_of_a_batch_with_the_same_timestamp_keep_its_order(self, logs: Logs) -> None:
        expected = [f"line {n}" for n in range(30)]
        logs.append("x", "batch", [line(message) for message in expected])
        assert messages(logs) == expected

    def test_a_batch_may_be_large(self, logs: Logs) -> None:
        lines = [line(f"{n} " + "".join(chr(32 + (n * k) % 90) for k in range(4000)), at(n)) for n in range(400)]
        logs.append("x", "batch", lines)
        logs.append("x", "batch", lines)
        assert list(logs.fetch("x")) == lines
        assert logs.purge("x", start=at(10)) == 390
        assert list(logs.fetch("x")) == lines[:10]
        logs.delete("x")
        assert list(logs.fetch("x")) == []

    def test_batches_are_more_than_a_page(self, logs: Logs) -> None:
        for n in range(120):
            logs.append("x", f"task-run/0/{n}", [line(f"{n}", at(n // 10))])
        assert sorted(messages(logs), key=int) == [f"{n}" for n in range(120)]

    def test_purge_removes_the_lines_of_some_levels_between_two_dates(self, logs: Logs) -> None:
        logs.append("x", "a", [line(level, at(level.rank), level=level) for level in Level])
        logs.append("x1", "a", [line("other", at(1), execution_id="x1")])
        assert logs.purge("x", levels=[Level.DEBUG, Level.INFO, Level.ERROR], start=at(1), end=at(2)) == 2
        assert messages(logs) == ["TRACE", "WARN", "ERROR"]
        assert logs.purge("x", levels=[Level.DEBUG]) == 0
        assert logs.purge("x") == 3
        assert (messages(logs), messages(logs, "x1")) == ([], ["other"])

    def test_purge_of_a_task_run_or_an_attempt(self, logs: Logs) -> None:
        lines = [line("1", at(1), task_run_id="a1"), line("2", at(2), task_run_id="a2"), line("3", at(3), task_id="b")]
        logs.append("x", "a", [*lines, replace(line("4", at(4), task_run_id="a2"), attempt=1)])
        assert logs.purge("x", task_run_id="a2", attempt=0) == 1
        assert messages(logs) == ["1", "3", "4"]
        assert logs.purge("x", task_id="b") == 1
        assert logs.purge("x", task_run_id="a1", levels=[Level.ERROR]) == 0
        assert messages(logs) == ["1", "4"]

    def test_fetch_from_a_level_up(self, logs: Logs) -> None:
        logs.append("x", "batch", [line(level, at(level.rank), level=level) for level in Level])
        assert [each.level for each in logs.fetch("x", min_level=Level.WARN)] == [Level.WARN, Level.ERROR]
        assert [each.level for each in logs.fetch("x", min_level=Level.TRACE)] == list(Level)

    def test_fetch_of_a_task_and_of_a_task_run(self, logs: Logs) -> None:
        logs.append(
            "x",
            "batch",
            [
                line("1", at(1), task_id="a", task_run_id="a1"),
                line("2", at(2), task_id="a", task_run_id="a2"),
                line("3", at(3), task_id="b", task_run_id="b1", level=Level.ERROR),
                line("4", at(4), task_id=None, task_run_id=None),
            ],
        )
        assert [each.message for each in logs.fetch("x", task_id="a")] == ["1", "2"]
        assert [each.message for each in logs.fetch("x", task_run_id="a2")] == ["2"]
        assert [each.message for each in logs.fetch("x", task_id="a", task_run_id="b1")] == []
        assert [each.message for each in logs.fetch("x", task_id="b", min_level=Level.ERROR)] == ["3"]

    def test_batches_appended_at_once_are_kept_once_each(self, logs: Logs) -> None:
        self.race([partial(logs.append, "x", f"batch {n % 4}", [line(f"{n % 4}", at(n % 4))]) for n in range(16)])
        assert messages(logs) == ["0", "1", "2", "3"]

    def test_delete_removes_one_execution_and_is_idempotent(self, logs: Logs) -> None:
        logs.append("x", "batch", [line("of x")])
        logs.append("x1", "batch", [line("of x1", execution_id="x1")])
        logs.delete("x")
        logs.delete("x")
        assert (messages(logs, "x"), messages(logs, "x1")) == ([], ["of x1"])


class MetricsContract(_MetricSearch):
    """Needs the fixtures ``metrics: Metrics`` and ``executions: Executions``, empty, of one store."""

    def test_points_are_read_back_as_written(self, metrics: Metrics) -> None:
        counter = MetricPoint("x", "ns", "f", "task", "task-run", "counter", "rows", 1e15, START, {"table": "größe"})
        timer = MetricPoint("x", "ns", "f", "task", "task-run", "timer", "duration", 0.000125, at(1))
        metrics.append("x", "batch", [counter, timer])
        assert list(metrics.fetch("x")) == [counter, timer]

    def test_an_execution_without_points_has_none(self, metrics: Metrics) -> None:
        assert list(metrics.fetch("nobody")) == []

    def test_the_same_batch_again_changes_nothing(self, metrics: Metrics) -> None:
        metrics.append("x", "batch", [point("one")])
        metrics.append("x", "batch", [point("one"), point("two")])
        metrics.append("x1", "batch", [point("of x1", execution_id="x1")])
        assert [each.name for each in metrics.fetch("x")] == ["one"]
        assert [each.name for each in metrics.fetch("x1")] == ["of x1"]

    def test_points_come_by_timestamp_and_within_a_batch_in_its_order(self, metrics: Metrics) -> None:
        metrics.append("x", "b", [point("3", at(2)), point("4", at(2))])
        metrics.append("x", "a", [point("2", at(1)), point("1")])
        assert [each.name for each in metrics.fetch("x")] == ["1", "2", "3", "4"]

    def test_batches_appended_at_once_are_kept_once_each(self, metrics: Metrics) -> None:
        self.race([partial(metrics.append, "x", f"batch {n % 4}", [point(f"{n % 4}")]) for n in range(CONTENDERS)])
        assert sorted(each.name for each in metrics.fetch("x")) == ["0", "1", "2", "3"]

    def test_delete_removes_one_execution_and_is_idempotent(self, metrics: Metrics) -> None:
        metrics.append("x", "batch", [point("a")])
        metrics.append("x1", "batch", [point("b", execution_id="x1")])
        metrics.delete("x")
        metrics.delete("x")
        assert list(metrics.fetch("x")) == []
        assert len(metrics.fetch("x1")) == 1
