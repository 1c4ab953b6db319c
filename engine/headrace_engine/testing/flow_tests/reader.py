"""From the text of a test suite to what is run, with everything wrong told at its line and column."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from headrace_engine.language.checking import Checker
from headrace_engine.language.fields import branches, fields_of, names_of
from headrace_engine.language.nodes import Entries, Items, Node, Scalar, plain
from headrace_engine.language.problems import FlowError, did_you_mean
from headrace_engine.language.report import EnoughError, Report
from headrace_engine.language.wording import show
from headrace_engine.language.yaml_reader import read_documents
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.state import State
from headrace_engine.testing.flow_tests.suite import (
    OPERATORS,
    Assertion,
    AssertionProperties,
    Case,
    CaseProperties,
    FixturesProperties,
    Suite,
    SuiteProperties,
    TaskFixture,
)


class SuiteReader:
    """Reads one suite: first for itself, then beside the flow it tests."""

    def __init__(self, source: str, file: str) -> None:
        self._report = Report(source, file)
        self._file = file
        self._source = source
        self._node: Entries | None = None

    def read(self) -> Suite:
        """Return the suite. Raises FlowError with all that is wrong with it."""
        document = read_documents(self._source, self._file)[0]
        if not isinstance(document, Entries):
            self._report.problem(
                document,
                f"A test suite is a map with `id`, `namespace`, `flowId` and `testCases`, not {show(document)}.",
            )
            raise FlowError(self._report.problems)
        suite: SuiteProperties | None = None
        with suppress(EnoughError):
            checked = Checker(self._report, lambda node, _classes: plain(node)).check(document, SuiteProperties)
            self._node, suite = checked.node, checked.model
            self._check_ids()
            self._check_operators()
        self._raise()
        assert suite is not None, "a suite without problems is a model"  # noqa: S101 - for the type checker
        return self._suite(suite)

    def check_flow(self, flow: FlowDefinition) -> None:
        """Raise FlowError when the suite names tasks or inputs that *flow* does not have."""
        tasks = [task.id for task in flow.walk()]
        inputs = [known.id for known in flow.inputs]
        with suppress(EnoughError):
            for case in self._cases():
                fixtures = case.entries.get("fixtures")
                for fixture in _maps(_below(fixtures, "tasks")):
                    self._check_name(fixture.entries.get("id"), tasks, "task", flow)
                given = _below(fixtures, "inputs")
                if isinstance(given, Entries):
                    self._check_inputs(given, inputs, flow)
                for assertion in _maps(case.entries.get("assertions")):
                    self._check_name(assertion.entries.get("taskId"), tasks, "task", flow)
        self._raise()

    def no_flow(self, message: str) -> FlowError:
        """Return the error of a suite whose flow cannot be found, told at its `flowId`."""
        assert self._node is not None, "read first"  # noqa: S101 - for the type checker
        self._report.problem(self._node.entries["flowId"], message)
        return FlowError(self._report.problems)

    def _raise(self) -> None:
        if self._report.problems:
            raise FlowError(sorted(self._report.problems, key=lambda problem: (problem.line, problem.column)))

    def _cases(self) -> list[Entries]:
        return _maps(self._node.entries.get("testCases")) if self._node is not None else []

    def _check_ids(self) -> None:
        """Tell of a second case of one id, and of a second fixture for one task (and value)."""
        cases: dict[str, Node] = {}
        for case in self._cases():
            node = case.entries.get("id")
            self._once(node, _text(node), cases, f"The id `{_text(node)}` is already used")
            fixtures: dict[str, Node] = {}
            for fixture in _maps(_below(case.entries.get("fixtures"), "tasks")):
                node, value = fixture.entries.get("id"), fixture.entries.get("value")
                said, key = f"The task `{_text(node)}` has a fixture", _text(node)
                if value is not None and plain(value) is not None:
                    of_value = _value_text(plain(value))
                    said, key = f"{said} for the value `{of_value}`", f"{key}\0{of_value}"
                self._once(node, key, fixtures, f"{said} already")

    def _check_operators(self) -> None:
        """Tell of assertions that assert nothing; one with a property that is none has perhaps a misspelt operator."""
        for case in self._cases():
            for assertion in _maps(case.entries.get("assertions")):
                names = names_of(AssertionProperties)
                given = {names.get(key) for key, node in assertion.entries.items() if not _says_nothing(key, node)}
                if None not in given and given.isdisjoint(OPERATORS.values()):
                    needed = ", ".join(OPERATORS.values())
                    self._report.problem(assertion, f"An assertion needs an operator: {needed}.")

    def _once(self, node: Node | None, key: str, seen: dict[str, Node], said: str) -> None:
        first = seen.setdefault(key, node) if node is not None else None
        if node is not None and first is not None and first is not node:
            self._report.problem(node, f"{said}, on line {first.line}, column {first.column}.")

    def _check_name(self, node: Node | None, known: list[str], what: str, flow: FlowDefinition) -> None:
        if isinstance(node, Scalar) and node.value is not None and node.text not in known:
            message = f"The flow `{flow.namespace}.{flow.id}` has no {what} `{node.text}`."
            self._report.problem(node, message + did_you_mean(node.text, known))

    def _check_inputs(self, given: Entries, known: list[str], flow: FlowDefinition) -> None:
        for name in given.entries:
            if name not in known and not any(other.startswith(f"{name}.") for other in known):
                message = f"The flow `{flow.namespace}.{flow.id}` has no input `{name}`."
                self._report.problem_at_key(given, name, message + did_you_mean(name, known))

    # -- compiling

    def _suite(self, suite: SuiteProperties) -> Suite:
        cases = zip(suite.test_cases, self._cases(), strict=True)
        return Suite(
            file=self._file,
            id=suite.id,
            namespace=suite.namespace,
            flow_id=suite.flow_id,
            cases=tuple(_case(case, node) for case, node in cases),
            description=suite.description,
            disabled=suite.disabled,
        )


def _case(case: CaseProperties, node: Entries) -> Case:
    fixtures = case.fixtures or FixturesProperties()
    places = _maps(node.entries.get("assertions"))
    trigger = fixtures.trigger
    return Case(
        id=case.id,
        description=case.description,
        disabled=case.disabled,
        inputs=fixtures.inputs or {},
        files=fixtures.files or {},
        tasks=tuple(
            TaskFixture(
                fixture.id,
                None if fixture.value is None else _value_text(fixture.value),
                fixture.outputs,
                State(fixture.state),
            )
            for fixture in fixtures.tasks or ()
        ),
        trigger=None
        if trigger is None
        else {"id": trigger.id, "type": trigger.type, "variables": trigger.variables or {}},
        assertions=tuple(
            _assertion(assertion, place) for assertion, place in zip(case.assertions or (), places, strict=True)
        ),
        line=node.line,
    )


def _assertion(assertion: AssertionProperties, node: Entries) -> Assertion:
    checks = {
        name: getattr(assertion, field) for field, name in OPERATORS.items() if field in assertion.model_fields_set
    }
    written = [names_of(AssertionProperties)[key] for key in node.entries]
    return Assertion(
        value=assertion.value,
        checks=tuple((name, checks[name]) for name in written if name in checks),
        task_id=assertion.task_id,
        description=assertion.description,
        error_message=assertion.error_message,
        line=node.line,
    )


def _says_nothing(key: str, node: Node) -> bool:
    """True for an operator without an operand, where null is none."""
    shape = fields_of(AssertionProperties).get(key)
    is_null = isinstance(node, Scalar) and node.value is None
    return is_null and shape is not None and Any not in branches(shape.annotation)


def _value_text(value: Any) -> str:
    """Return the value of a loop as its task runs have it: text, or compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _below(node: Node | None, key: str) -> Node | None:
    return node.entries.get(key) if isinstance(node, Entries) else None


def _maps(node: Node | None) -> list[Entries]:
    items: Iterable[Node] = node.items if isinstance(node, Items) else ()
    return [item for item in items if isinstance(item, Entries)]
