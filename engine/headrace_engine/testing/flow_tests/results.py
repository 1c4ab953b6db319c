"""What came of test cases, for people, programs and assertions of pytest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from headrace_engine.ports import LogLine
from headrace_engine.testing.flow_tests.operators import shown
from headrace_engine.testing.flow_tests.suite import UNIT_TEST


class ResultState(StrEnum):
    """How a case, or a suite, ended, by Kestra's names."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    """An assertion does not hold."""
    ERROR = "ERROR"
    """The flow could not be run to its end, or an assertion could not be looked at."""
    SKIPPED = "SKIPPED"


_LONGEST = 1000
_WORST = (ResultState.ERROR, ResultState.FAILED, ResultState.SUCCESS, ResultState.SKIPPED)


@dataclass(frozen=True, slots=True)
class AssertionResult:
    """What came of one operator of an assertion."""

    operator: str
    expected: Any
    actual: Any
    is_success: bool
    value: str
    """The expression of the actual value."""
    line: int
    task_id: str | None = None
    description: str | None = None
    error_message: str | None = None
    error: str | None = None
    """Why it could not be looked at."""

    def lines(self, file: str) -> Iterator[str]:
        """Yield what is wrong, in words; *file* is where the assertion stands."""
        about = f" (task `{self.task_id}`)" if self.task_id is not None else ""
        yield f"{file}:{self.line}: {self.description or 'assertion'}{about}"
        yield f"  value:    {self.value}"
        if self.error is not None:
            yield f"  {self.error}"
        else:
            yield f"  expected: {self.operator} {_clipped(self.expected)}"
            yield f"  actual:   {_clipped(self.actual)}"
        if self.error_message is not None:
            yield f"  {self.error_message}"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a test case."""

    id: str
    state: ResultState
    seconds: float = 0.0
    description: str | None = None
    assertions: Sequence[AssertionResult] = ()
    errors: Sequence[str] = ()
    """Why the flow could not be run, or did not end as it must."""
    execution: Mapping[str, Any] | None = None
    """In the shape of Kestra's API; None when there is none."""
    logs: Sequence[LogLine] = ()
    line: int = 0

    @property
    def execution_state(self) -> str | None:
        """The state the execution ended in."""
        return None if self.execution is None else str(self.execution["state"]["current"])

    def lines(self, file: str) -> list[str]:
        """Return all that is wrong, in words: errors, assertions, and what failed in the execution."""
        if self.state not in (ResultState.FAILED, ResultState.ERROR):
            return []
        told = [line for error in self.errors for line in error.splitlines()]
        for assertion in self.assertions:
            if not assertion.is_success:
                told += assertion.lines(file)
        return [*told, *self._failures()]

    def _failures(self) -> Iterator[str]:
        if self.execution is None or self.execution_state in ("SUCCESS", "WARNING"):
            return
        error = (self.execution["error"] or {}).get("message")
        yield f"the execution ended {self.execution_state}" + (f": {error}" if error else "")
        for run in self.execution["taskRunList"]:
            if run["state"]["current"] == "FAILED" and run["error"]:
                value = f" ({run['value']})" if run["value"] is not None else ""
                yield from f"task `{run['taskId']}`{value} FAILED: {run['error']}".splitlines()


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What came of a test suite."""

    file: str
    id: str
    namespace: str
    flow_id: str
    cases: Sequence[CaseResult]
    started: datetime
    seconds: float = 0.0

    @property
    def state(self) -> ResultState:
        """The worst of its cases'."""
        return min((case.state for case in self.cases), key=_WORST.index)

    @property
    def is_success(self) -> bool:
        """True when no case failed."""
        return self.state in (ResultState.SUCCESS, ResultState.SKIPPED)

    def count(self, state: ResultState) -> int:
        """Return how many cases ended so."""
        return sum(case.state is state for case in self.cases)

    def report(self) -> str:
        """Return all that is wrong, in words; nothing when nothing is."""
        rows = []
        for case in self.cases:
            told = case.lines(self.file)
            if told:
                rows += [f"{self.id} > {case.id}: {case.state}", *(f"  {line}" for line in told)]
        return "\n".join(rows)

    def as_json(self) -> dict[str, Any]:
        """Return it in the shape of Kestra's TestSuiteRunResult, with the file and the state of each execution."""
        return {
            "file": self.file,
            "testSuiteId": self.id,
            "namespace": self.namespace,
            "flowId": self.flow_id,
            "state": self.state.value,
            "startDate": self.started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": round(self.seconds, 3),
            "results": [_case_json(case) for case in self.cases],
        }


def _clipped(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more characters)"


def _case_json(case: CaseResult) -> dict[str, Any]:
    return {
        "testId": case.id,
        "testType": UNIT_TEST,
        "description": case.description,
        "state": case.state.value,
        "duration": round(case.seconds, 3),
        "executionId": case.execution["id"] if case.execution is not None else None,
        "executionState": case.execution_state,
        "assertionResults": [
            {
                "operator": result.operator,
                "expected": result.expected,
                "actual": result.actual,
                "isSuccess": result.is_success,
                "value": result.value,
                "line": result.line,
                "taskId": result.task_id,
                "description": result.description,
                "errorMessage": result.error_message,
                "error": result.error,
            }
            for result in case.assertions
        ],
        "errors": [{"message": error} for error in case.errors],
    }
