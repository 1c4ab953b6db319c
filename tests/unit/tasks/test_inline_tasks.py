"""Tasks that run inside the executor: what they return, log and change."""

from __future__ import annotations

import inspect
import re

import pytest
import yaml

import headrace_tasks
from headrace_engine.model.attempt import ExecutionChange
from headrace_engine.model.definition import Kind
from headrace_engine.model.state import State
from headrace_engine.plugin import RunnableTask, Task, iterate_plugins
from headrace_tasks.debug import Echo, Return
from headrace_tasks.execution import Assert, Exit, Fail, Labels, SetVariables, UnsetVariables
from headrace_tasks.log import Log
from headrace_tasks.output import OutputValues
from unit.tasks.harness import START, inline, inline_context, outputs_of


def lines(context) -> list[tuple[str, str]]:
    return [(line.level.value, line.message) for line in context.lines]


def test_only_tasks_without_effect_outside_are_inline() -> None:
    tasks = [cls for cls in iterate_plugins(headrace_tasks) if issubclass(cls, Task)]
    inline_types = {cls.TYPE for cls in tasks if cls.KIND is Kind.INLINE}
    assert inline_types == {
        "io.kestra.plugin.core.log.Log",
        "io.kestra.plugin.core.debug.Return",
        "io.kestra.plugin.core.debug.Echo",
        "io.kestra.plugin.core.execution.Fail",
        "io.kestra.plugin.core.execution.Assert",
        "io.kestra.plugin.core.execution.Labels",
        "io.kestra.plugin.core.execution.SetVariables",
        "io.kestra.plugin.core.execution.UnsetVariables",
        "io.kestra.plugin.core.execution.Exit",
        "io.kestra.plugin.core.output.OutputValues",
    }
    assert not [name for name in ("files", "kv", "working_dir", "network") if hasattr(inline_context(), name)]


def test_every_type_and_alias_is_unique() -> None:
    names = [name for cls in iterate_plugins(headrace_tasks) for name in (cls.TYPE, *cls.ALIASES)]
    assert sorted(names) == sorted(set(names))


def test_every_task_and_property_is_documented() -> None:
    for cls in iterate_plugins(headrace_tasks):
        assert cls.__doc__, cls
        assert cls.__doc__ is not Task.__doc__, cls
        for name, info in cls.model_fields.items():
            assert info.description or name in ("type", "options"), (cls.TYPE, name)


def test_every_example_in_a_docstring_is_valid_for_its_class() -> None:
    checked = 0
    for cls in iterate_plugins(headrace_tasks):
        _, _, example = re.sub(r"\n\n *(?=id: )", "\0", inspect.getdoc(cls)).partition("\0")
        if issubclass(cls, RunnableTask) and example:
            properties = yaml.safe_load(inspect.cleandoc(example))
            assert properties.pop("id")
            assert properties.pop("type") == cls.TYPE
            names = {name for field, info in cls.model_fields.items() for name in (info.alias or field,)}
            assert set(properties) <= names, cls.TYPE
            checked += 1
    assert checked > 30


def test_log_writes_one_message_or_several() -> None:
    result, context = inline(Log, {"message": "hello"})
    assert result.state is State.SUCCESS
    assert result.outputs is None
    assert (result.started, result.ended) == (START, START)
    assert lines(context) == [("INFO", "hello")]
    line = context.lines[0]
    assert (line.execution_id, line.task_id, line.task_run_id, line.attempt) == ("exec1", "my_task", "run1", 0)
    _, context = inline(Log, {"message": ["a", {"b": 1}, 2], "level": "WARN"})
    assert lines(context) == [("WARN", "a"), ("WARN", '{"b":1}'), ("WARN", "2")]


def test_log_below_the_tasks_log_level_is_dropped() -> None:
    _, context = inline(Log, {"message": "x", "level": "DEBUG"}, inline_context(log_level="INFO"))
    assert lines(context) == []


def test_secrets_are_masked_in_the_log_the_longest_first() -> None:
    context = inline_context(secrets=["abc", "abcdef", "first\nsecond line"])
    inline(Log, {"message": ["is abcdef", "is abc", "has second line"]}, context)
    assert [message for _, message in lines(context)] == ["is ********", "is ********", "has ********"]


def test_return_gives_its_value_and_metrics() -> None:
    result, context = inline(Return, {"format": "hello"})
    assert outputs_of(result) == {"value": "hello"}
    assert [(point.kind, point.name) for point in context.points] == [("counter", "length"), ("timer", "duration")]
    assert context.points[0].value == 5
    assert inline(Return)[0].outputs is None


def test_echo_logs() -> None:
    assert lines(inline(Echo, {"format": "x", "level": "DEBUG"})[1]) == [("DEBUG", "x")]


def test_output_values_keep_their_types() -> None:
    values = {"a": "1", "b": 1, "c": [True, None], "d": {"e": 1.5}}
    assert outputs_of(inline(OutputValues, {"values": values})[0]) == {"values": values}


@pytest.mark.parametrize("condition", ["", "false", "0", "-0", " 0 "])
def test_fail_with_a_false_condition_succeeds(condition: str) -> None:
    assert inline(Fail, {"condition": condition})[0].state is State.SUCCESS


@pytest.mark.parametrize("properties", [{}, {"condition": "true"}, {"condition": "no"}, {"condition": "0.0"}])
def test_fail_fails(properties: dict[str, str]) -> None:
    result, context = inline(Fail, properties)
    assert (result.state, result.error) == (State.FAILED, "Task failure")
    assert lines(context) == [("ERROR", "Task failure")]
    assert inline(Fail, {**properties, "errorMessage": "Oh"})[0].error == "Oh"


def test_assert_names_the_conditions_that_do_not_hold() -> None:
    result, context = inline(Assert, {"conditions": ["true", "false", "0"]})
    assert result.error == "2 of 3 conditions do not hold: 2, 3"
    assert lines(context)[0] == ("ERROR", "Condition 2 of 3 does not hold")
    assert inline(Assert, {"conditions": ["0"], "errorMessage": "no"})[0].error == "no"
    assert inline(Assert, {"conditions": ["1", "true"]})[0].state is State.SUCCESS


@pytest.mark.parametrize(
    "labels",
    [
        {"a": "x", "b": 1, "c": True},
        [{"key": "a", "value": "x"}, {"key": "b", "value": 1}, {"key": "c", "value": True}],
    ],
)
def test_labels_take_a_map_or_a_list(labels: object) -> None:
    assert inline(Labels, {"labels": labels})[0].change == ExecutionChange(labels={"a": "x", "b": "1", "c": "true"})


def test_labels_may_be_null_but_not_of_the_system() -> None:
    assert inline(Labels, {"labels": None})[0].change == ExecutionChange()
    error = inline(Labels, {"labels": {"system.x": "y"}})[0].error
    assert error == "System labels can only be set by the system itself, offending label: system.x=y"


def test_set_variables_merges_maps_and_may_refuse_to_overwrite() -> None:
    context = inline_context(variables={"m": {"a": 1, "b": 2}, "n": 1})
    result, _ = inline(SetVariables, {"variables": {"m": {"b": 3}, "o": "x"}}, context)
    assert result.change == ExecutionChange(variables={"m": {"a": 1, "b": 3}, "o": "x"})
    context = inline_context(variables={"n": 1})
    error = inline(SetVariables, {"variables": {"n": 2}, "overwrite": False}, context)[0].error
    assert error == "The variables `n` exist already and overwrite is false"


def test_unset_variables() -> None:
    context = inline_context(variables={"n": 1})
    assert inline(UnsetVariables, {"variables": ["n"]}, context)[0].change == ExecutionChange(unset=("n",))
    error = inline(UnsetVariables, {"variables": ["m"]})[0].error
    assert error == "The variables `m` do not exist and ignoreMissing is false"
    assert inline(UnsetVariables, {"variables": ["m"], "ignoreMissing": True})[0].state is State.SUCCESS


@pytest.mark.parametrize(("written", "state"), [("FAILED", State.FAILED), ("CANCELED", State.CANCELLED)])
def test_exit_asks_for_a_state(written: str, state: State) -> None:
    assert inline(Exit, {"state": written})[0].change == ExecutionChange(exit=state)
    assert inline(Exit)[0].change == ExecutionChange(exit=State.SUCCESS)


def test_an_invalid_property_fails_with_a_sentence() -> None:
    result, _ = inline(Log, {"message": "x", "level": "LOUD"})
    assert (
        result.error
        == "Invalid property `level`: Input should be 'TRACE', 'DEBUG', 'INFO', 'WARN' or 'ERROR', but received `LOUD`"
    )
