"""A test suite: what its YAML may say, and what is made of it.

The format is Kestra's (its documentation, "Unit Tests"); both spellings of the two operators it writes in two ways
are taken. The classes say what is valid, and give the checker names, types and markers, as those of a flow do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from headrace_engine.language import identifiers
from headrace_engine.language.common import LanguageProperties
from headrace_engine.language.markers import Flag, Text, Verbatim
from headrace_engine.language.problems import PropertyError
from headrace_engine.model.state import State
from headrace_engine.plugin import Rendering

UNIT_TEST: Final = "io.kestra.core.tests.flow.UnitTest"

FixtureState = Literal["SUCCESS", "WARNING", "FAILED", "SKIPPED", "KILLED"]

Name = Annotated[str, Rendering.STATIC]


# -- As it is written -------------------------------------------------------------------------------


class TaskFixtureProperties(LanguageProperties):
    """Stands in for the task runs of a task."""

    id: Name = Field(min_length=1, description="The task.")
    description: Text | None = Field(default=None, description="Why it is not to run.")
    value: Annotated[Any, Rendering.STATIC] = Field(
        default=None, description="Only for the run with this value of the loop around it; without it, for all runs."
    )
    outputs: dict[str, Any] | None = Field(default=None, description="The outputs of the task run, rendered.")
    state: Annotated[FixtureState, Rendering.STATIC] = Field(
        default="SUCCESS", description="The state the task run ends in."
    )

    @model_validator(mode="after")
    def _skipped_without_outputs(self) -> Self:
        if self.state == "SKIPPED" and self.outputs:
            raise PropertyError("outputs", "A task run that is SKIPPED has no outputs.")
        return self


class TriggerFixtureProperties(LanguageProperties):
    """The trigger that started the execution, as expressions see it."""

    id: Name = Field(min_length=1, description="The trigger's id.")
    type: Name = Field(min_length=1, description="The trigger's type.")
    variables: dict[str, Any] | None = Field(default=None, description="What `trigger` holds.")


def _file_names(files: dict[str, str]) -> dict[str, str]:
    for name in files:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise PropertyError(name, f"`{name}` is no path of a namespace file: it must not hold `..`, `.` or `//`.")
    return files


class FixturesProperties(LanguageProperties):
    """What a test case gives the execution, and what it keeps from happening."""

    inputs: dict[str, Any] | None = Field(default=None, description="The inputs of the execution.")
    files: Annotated[dict[str, str], AfterValidator(_file_names), Verbatim.VERBATIM] | None = Field(
        default=None, description="Files by name: `{{ files['name'] }}` is the URI, and they are namespace files."
    )
    tasks: list[TaskFixtureProperties] | None = Field(default=None, description="The tasks that do not run.")
    trigger: TriggerFixtureProperties | None = Field(default=None, description="The trigger of the execution.")


class AssertionProperties(LanguageProperties):
    """What must hold when the execution has ended; each operator is a check of its own."""

    value: str = Field(description="The actual value: an expression, rendered as the execution's own are.")
    task_id: Name | None = Field(default=None, description="The task that the assertion is about.")
    description: Text | None = Field(default=None, description="What is asserted, for people.")
    error_message: str | None = Field(default=None, description="What to tell when it does not hold, rendered.")

    equal_to: Any = Field(
        default=None, validation_alias=AliasChoices("equalTo", "equalsTo"), description="The value is this."
    )
    not_equal_to: Any = Field(
        default=None, validation_alias=AliasChoices("notEqualTo", "notEqualsTo"), description="The value is not this."
    )
    greater_than: Any = Field(default=None, description="The value is greater.")
    greater_than_or_equal_to: Any = Field(default=None, description="The value is greater, or this.")
    less_than: Any = Field(default=None, description="The value is less.")
    less_than_or_equal_to: Any = Field(default=None, description="The value is less, or this.")
    in_: list[Any] | str = Field(
        default_factory=list, alias="in", description="The value is one of these: a list, or an expression for one."
    )
    not_in: list[Any] | str = Field(default_factory=list, description="The value is none of these.")
    contains: Any = Field(
        default=None, description="The value is a text with this in it, a list with this item, or a map with this key."
    )
    starts_with: str = Field(default="", description="The value's text begins so.")
    ends_with: str = Field(default="", description="The value's text ends so.")
    is_null: Flag = Field(default=True, description="true: the value is null; false: it is not.")
    is_not_null: Flag = Field(default=True, description="true: the value is not null; false: it is.")


OPERATORS: Mapping[str, str] = {
    "equal_to": "equalTo",
    "not_equal_to": "notEqualTo",
    "greater_than": "greaterThan",
    "greater_than_or_equal_to": "greaterThanOrEqualTo",
    "less_than": "lessThan",
    "less_than_or_equal_to": "lessThanOrEqualTo",
    "in_": "in",
    "not_in": "notIn",
    "contains": "contains",
    "starts_with": "startsWith",
    "ends_with": "endsWith",
    "is_null": "isNull",
    "is_not_null": "isNotNull",
}
"""The fields that are operators, by the name they are told by."""


class CaseProperties(LanguageProperties):
    """One execution of the flow, and what must come of it."""

    id: Name = Field(min_length=1, description="The case's id, unique in its suite.")
    type: Literal["io.kestra.core.tests.flow.UnitTest"] = Field(default=UNIT_TEST, description="The kind of test.")
    description: Text | None = Field(default=None, description="What is tested.")
    disabled: Flag = Field(default=False, description="A disabled case is skipped.")
    fixtures: FixturesProperties | None = Field(default=None, description="What the execution is given.")
    assertions: list[AssertionProperties] | None = Field(
        default=None, description="What must hold; without any, the execution must end in SUCCESS or WARNING."
    )


class SuiteProperties(LanguageProperties):
    """The test cases of a flow."""

    id: Name = Field(min_length=1, description="The suite's id.")
    namespace: Annotated[str, AfterValidator(identifiers.namespace), Rendering.STATIC] = Field(
        description="The namespace of the flow."
    )
    flow_id: Name = Field(min_length=1, description="The flow that is tested.")
    description: Text | None = Field(default=None, description="What is tested.")
    disabled: Flag = Field(default=False, description="All cases of a disabled suite are skipped.")
    test_cases: list[CaseProperties] = Field(min_length=1, description="The test cases.")


# -- As it is run -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskFixture:
    """Stands in for task runs of *task_id*: for those with *value* in the loop around them, or for all (None)."""

    task_id: str
    value: str | None = None
    outputs: Mapping[str, Any] | None = None
    state: State = State.SUCCESS


@dataclass(frozen=True, slots=True)
class Assertion:
    """A value that is looked at, and what each operator asks of it."""

    value: str
    checks: tuple[tuple[str, Any], ...]
    """Operator and operand."""
    task_id: str | None = None
    description: str | None = None
    error_message: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """A test case."""

    id: str
    description: str | None = None
    disabled: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    tasks: tuple[TaskFixture, ...] = ()
    trigger: Mapping[str, Any] | None = None
    assertions: tuple[Assertion, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Suite:
    """The test cases of a flow, as a file holds them."""

    file: str
    id: str
    namespace: str
    flow_id: str
    cases: tuple[Case, ...]
    description: str | None = None
    disabled: bool = False
