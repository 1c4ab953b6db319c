"""Flow unit tests: Kestra's test suites, run offline.

    from headrace_engine.testing.flow_tests import run_suite

    def test_my_flow() -> None:
        result = run_suite("flows/tests/my-flow.yaml")
        assert result.is_success, result.report()

A suite names a flow and its test cases. A case says what the execution is given (inputs, files, a trigger), which
tasks do not run and what stands in for them, and what must hold when it has ended. Everything else really runs, in
an engine in memory whose time is virtual (headrace_engine.testing.runtime).
"""

from headrace_engine.testing.flow_tests.flows import UnreadableFileError
from headrace_engine.testing.flow_tests.junit import junit_xml
from headrace_engine.testing.flow_tests.loading import LoadedSuite, NoSuiteError, load, run_suite
from headrace_engine.testing.flow_tests.results import AssertionResult, CaseResult, ResultState, SuiteResult
from headrace_engine.testing.flow_tests.running import Machine

__all__ = [
    "AssertionResult",
    "CaseResult",
    "LoadedSuite",
    "Machine",
    "NoSuiteError",
    "ResultState",
    "SuiteResult",
    "UnreadableFileError",
    "junit_xml",
    "load",
    "run_suite",
]
