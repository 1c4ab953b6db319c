"""Runs test cases: each in an engine of its own, in memory, where time passes at once."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from headrace_engine.adapters.local.secrets import EnvironmentSecrets
from headrace_engine.context import Surroundings
from headrace_engine.core.messages import Create, Resume
from headrace_engine.core.state import ExecutionState
from headrace_engine.engine import Engine
from headrace_engine.expressions import ExpressionError, values
from headrace_engine.expressions.limits import Budget, Limits
from headrace_engine.host import StepHost
from headrace_engine.inputs import InputError
from headrace_engine.language import FlowError, Registry
from headrace_engine.model.attempt import Inline
from headrace_engine.model.definition import FlowDefinition
from headrace_engine.model.ids import new_id
from headrace_engine.model.state import State
from headrace_engine.plugin import CodePolicy
from headrace_engine.run_stores import SCHEME, namespace_folder
from headrace_engine.services import Settings
from headrace_engine.testing.flow_tests.fixtures import FixtureAnswerer, FixtureError, refuse_in_a_test
from headrace_engine.testing.flow_tests.flows import FlowFiles, FlowsOfFiles, Holds
from headrace_engine.testing.flow_tests.operators import OPERATORS, OperandError
from headrace_engine.testing.flow_tests.rendering import render
from headrace_engine.testing.flow_tests.results import AssertionResult, CaseResult, ResultState, SuiteResult
from headrace_engine.testing.flow_tests.suite import Assertion, Case, Suite
from headrace_engine.testing.runtime import VirtualRuntime, World

LONGEST = timedelta(days=366)
"""An execution that has not ended after so much (virtual) time is given up."""
MOST_TIMERS = 20_000
"""And one that waits for so many timers: a loop whose condition never holds."""
_MASKED = "********"


@dataclass(frozen=True, slots=True)
class Machine:
    """What tests see of the machine they run on."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Gives `envs` and secrets."""
    dotenv: Path | None = None
    """A file with more secrets."""
    now: datetime | None = None
    """When each execution begins; the real time when None."""
    code: CodePolicy = field(default_factory=CodePolicy)
    """Where people's code may run."""


def run_cases(suite: Suite, files: FlowFiles, registry: Registry, machine: Machine) -> SuiteResult:
    """Run the cases of *suite* one after another; the flow and those it calls are taken from *files*."""
    started, begun = datetime.now(UTC), time.perf_counter()
    cases = [_timed(suite, case, files, registry, machine) for case in suite.cases]
    seconds = time.perf_counter() - begun
    return SuiteResult(suite.file, suite.id, suite.namespace, suite.flow_id, cases, started, seconds)


def _timed(suite: Suite, case: Case, files: FlowFiles, registry: Registry, machine: Machine) -> CaseResult:
    if suite.disabled or case.disabled:
        return CaseResult(case.id, ResultState.SKIPPED, description=case.description, line=case.line)
    begun = time.perf_counter()
    try:
        with _Run(suite, case, files, registry, machine) as run:
            result = run.result()
    except FlowError as error:  # of a flow that is called
        result = _broken(case, str(error))
    except Exception as problem:  # noqa: BLE001 - one case that breaks the engine must not end the others
        result = _broken(case, "".join(traceback.format_exception(problem)).rstrip())
    return replace(result, seconds=time.perf_counter() - begun)


def _broken(case: Case, *errors: str) -> CaseResult:
    return CaseResult(case.id, ResultState.ERROR, description=case.description, errors=errors, line=case.line)


class _NotEndedError(Exception):
    """The execution does not come to an end."""


class _Run:
    """One test case in its engine."""

    def __init__(self, suite: Suite, case: Case, files: FlowFiles, registry: Registry, machine: Machine) -> None:
        self.suite = suite
        self.case = case
        self.first = new_id()
        now = machine.now or datetime.now(UTC)
        folder = f"{SCHEME}{namespace_folder(suite.namespace)}/_files"
        self.files = {name: f"{folder}/{name}" for name in case.files}
        surroundings = replace(Surroundings.of(machine.environment), files=self.files)
        world = World(now)
        world.stores = replace(
            world.stores,
            flows=FlowsOfFiles(files, now),
            templates=FlowsOfFiles(files, now, Holds.TEMPLATE),
            secrets=EnvironmentSecrets(machine.environment, machine.dotenv),
        )
        self.runtime = VirtualRuntime(
            world=world,
            settings=Settings(surroundings=surroundings, code=machine.code),
            registry=registry,
            make_engine=partial(Engine, answerer=self._answerer, refuse=refuse_in_a_test),
        )
        self.engine = self.runtime.engine

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.close()

    def _answerer(self, engine: Engine) -> FixtureAnswerer:
        self.answerer = FixtureAnswerer(engine, self.case.tasks, self.first)
        return self.answerer

    def result(self) -> CaseResult:
        """Run the execution and look at the assertions."""
        try:
            self._create()
        except (ValueError, ExpressionError) as error:  # inputs, a flow that is refused
            return _broken(self.case, str(error))
        errors: list[str] = []
        try:
            self._settle()
        except (FixtureError, _NotEndedError) as error:
            errors.append(str(error))
        execution_id = next(reversed(self.answerer.executions), self.first)
        state = self.runtime.executor.load(execution_id)
        if state is None:  # a fixture of its first step cannot be used
            return _broken(self.case, *errors)
        outcome = self.runtime.outcome(execution_id)
        assertions = [] if errors else [result for each in self.case.assertions for result in self._check(each, state)]
        verdict = _state(errors, assertions)
        if not errors and not self.case.assertions and state.state not in (State.SUCCESS, State.WARNING):
            errors.append("The case has no assertions, so the execution must end in SUCCESS or WARNING")
            verdict = ResultState.FAILED
        return CaseResult(
            self.case.id,
            verdict,
            description=self.case.description,
            assertions=assertions,
            errors=errors,
            execution=outcome.view,
            logs=outcome.logs,
            line=self.case.line,
        )

    # -- The execution ------------------------------------------------------------------------------

    def _create(self) -> None:
        """Raises ValueErrors for what cannot be run."""
        definition = self.engine.flow_of(self.suite.namespace, self.suite.flow_id).definition
        for name, uri in self.files.items():
            self.engine.stores.storage.put(uri, self.case.files[name].encode())
        host = self.engine.preparer.host_of(definition, self.first, self.engine.stores.clock.now())
        given = partial(self._render_fixture, definition, host)
        trigger = given(self.case.trigger) if self.case.trigger is not None else None
        inputs = {name: self._input(definition, name, given(value)) for name, value in self.case.inputs.items()}
        execution_id, created = self.engine.new_execution(
            self.suite.namespace, self.suite.flow_id, inputs, execution_id=self.first
        )
        self.runtime.world.post(execution_id, Create(replace(created, trigger=trigger)))

    def _render_fixture(self, definition: FlowDefinition, host: StepHost, value: Any) -> Any:
        surroundings = self.engine.settings.surroundings
        flow = {"id": definition.id, "namespace": definition.namespace, "revision": definition.revision}
        variables: dict[str, Any] = {"flow": flow, "envs": surroundings.envs, "globals": surroundings.variables}
        if definition.variables:
            variables["vars"] = definition.variables
        if self.files:
            variables["files"] = self.files
        return render(self.engine.expressions, value, variables, host)

    def _input(self, definition: FlowDefinition, name: str, value: Any) -> Any:
        """Return the value; for a FILE that is no URI, a file by its path from the suite's folder."""
        is_file = any(known.id == name and known.type == "FILE" for known in definition.inputs)
        if is_file and isinstance(value, str) and "://" not in value:
            return Path(self.suite.file).parent / value
        return value

    def _settle(self) -> None:
        """Go on until nothing is left to do: time jumps to the next timer, a Pause for a person is resumed at once.

        Raises FixtureError, _NotEndedError.
        """
        limit = self.runtime.clock.now() + LONGEST
        timers = 0
        while True:
            while self.runtime.step():
                pass
            if self.answerer.waiting:
                self._resume()
            elif timers >= MOST_TIMERS or not self.runtime.ring(limit):
                break
            timers += 1
        for execution_id in self.answerer.executions or (self.first,):
            state = self.runtime.state(execution_id)
            if not state.closed:
                after = self.runtime.clock.now() - state.histories[0][1]
                raise _NotEndedError(
                    f"The execution did not end: it is {state.state} after {timers} timers and {after} of its own time"
                )

    def _resume(self) -> None:
        """Go on with the Pauses that wait for a person, as one would who takes the defaults of its inputs."""
        waiting, self.answerer.waiting = self.answerer.waiting, []
        for execution_id, task_run_id in waiting:
            state = self.runtime.state(execution_id)
            if task_run_id not in state.paused:
                continue
            task_run = state.task_runs[task_run_id]
            task = state.flow.tasks[task_run.task_id]
            try:
                read = self.engine.read_task_inputs(state, task_run, task.inputs, {})
            except InputError as error:
                raise FixtureError(
                    f"The Pause `{task.id}` cannot be resumed without inputs; give it a fixture with "
                    f"`outputs: {{onResume: {{…}}}}`:\n{error}"
                ) from None
            now = self.runtime.clock.now().isoformat().replace("+00:00", "Z")
            outputs = {"onResume": read, "resumed": {"by": None, "on": now, "to": State.RUNNING.value}}
            self.runtime.world.post(execution_id, Resume(task_run_id, outputs=Inline(outputs)))

    # -- Assertions ---------------------------------------------------------------------------------

    def _check(self, assertion: Assertion, state: ExecutionState) -> Iterator[AssertionResult]:
        """Yield what came of each operator. The task that is named is there for the expressions, if it has run."""
        preparer, expressions = self.engine.preparer, self.engine.expressions
        host = preparer.host(state, self.runtime.clock.now())
        runs = [run for run in state.in_order() if run.task_id == assertion.task_id]
        variables = preparer.variables(state, runs[-1] if runs else None, host)

        def rendered(value: Any) -> Any:
            return values.plain(render(expressions, value, variables, host), Budget(Limits()))

        def result(operator: str, expected: Any, actual: Any, *, success: bool, error: str | None) -> AssertionResult:
            message = None if success else _message(assertion, lambda text: expressions.render(text, variables, host))
            mask = partial(_masked, secrets=host.secrets_used)
            return AssertionResult(
                operator,
                mask(_json(expected)),
                mask(_json(actual)),
                success,
                assertion.value,
                assertion.line,
                assertion.task_id,
                assertion.description,
                mask(message),
                mask(error),
            )

        try:
            actual = rendered(assertion.value.strip())  # of a block of YAML the line end is no part
        except ExpressionError as error:
            operator, expected = assertion.checks[0]
            yield result(operator, expected, None, success=False, error=f"The value cannot be rendered: {error}")
            return
        for operator, operand in assertion.checks:
            expected = operand
            try:
                expected = rendered(operand)
                success = OPERATORS[operator](actual, expected)
            except (ExpressionError, OperandError) as error:
                yield result(operator, expected, actual, success=False, error=f"{operator}: {error}")
            else:
                yield result(operator, expected, actual, success=success, error=None)


def _state(errors: Sequence[str], assertions: Sequence[AssertionResult]) -> ResultState:
    if errors or any(result.error is not None for result in assertions):
        return ResultState.ERROR
    return ResultState.SUCCESS if all(result.is_success for result in assertions) else ResultState.FAILED


def _message(assertion: Assertion, render: Any) -> str | None:
    if assertion.error_message is None:
        return None
    try:
        return str(render(assertion.error_message))
    except ExpressionError:
        return assertion.error_message


def _json(value: Any) -> Any:
    """Return *value* as JSON has it: dates and the like as texts."""
    if values.is_map(value):
        return {key: _json(item) for key, item in value.items()}
    if values.is_list(value):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int | float) else values.to_text(value)


def _masked(value: Any, secrets: set[str]) -> Any:
    if isinstance(value, str):
        for secret in sorted(secrets, key=len, reverse=True):
            value = value.replace(secret, _MASKED)
        return value
    if isinstance(value, dict):
        return {_masked(key, secrets): _masked(item, secrets) for key, item in value.items()}
    return [_masked(item, secrets) for item in value] if isinstance(value, list) else value
