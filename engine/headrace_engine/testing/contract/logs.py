"""What stores of log lines and metrics promise."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from headrace_engine.ports import Level, LogLine, Logs, MetricPoint, Metrics
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


class LogsContract(Contract):
    """Needs the fixture ``logs: Logs``, empty."""

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


class MetricsContract(Contract):
    """Needs the fixture ``metrics: Metrics``, empty."""

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
