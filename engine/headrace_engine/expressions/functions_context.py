"""Functions on values and on the variables of the execution (reference §10.2, §10.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import operators, values
from .context import Evaluation
from .errors import ExpressionError
from .limits import Budget
from .registry import expression_function, integer, text


@expression_function("render", "toRender recursive")
def render(context: Evaluation, value: Any, recursive: Any = True) -> Any:
    """Return a text, list or map with the expressions in it rendered; other scalars as text, null as ""."""
    return _rendered(context, value, recursive=values.boolean(recursive))


@expression_function("renderOnce", "toRender")
def render_once(context: Evaluation, value: Any) -> Any:
    """Return `render(value, recursive=false)`."""
    return _rendered(context, value, recursive=False)


def _rendered(context: Evaluation, value: Any, *, recursive: bool) -> Any:
    engine = context.engine
    way = engine.render_stable if recursive else engine.render_once
    variables = context.visible()

    def one(template: str) -> str:
        context.budget.step()
        return way(template, variables, context.host, context.budget, depth=context.depth + 1)

    if value is None or isinstance(value, str) or not (isinstance(value, Mapping) or values.is_list(value)):
        return one(values.text_of(value, context.budget))
    return engine.deep(value, one, 0)


@expression_function("printContext", aliases="fetchContext")
def print_context(context: Evaluation) -> str:
    """Return all variables as JSON."""
    return values.json_text(context.visible(), context.budget)


@expression_function("max")
def largest(context: Evaluation, *numbers: Any) -> Any:
    """Return the largest argument."""
    return _extreme(context.budget, numbers, "max", 1)


@expression_function("min")
def smallest(context: Evaluation, *numbers: Any) -> Any:
    """Return the smallest argument."""
    return _extreme(context.budget, numbers, "min", -1)


def _extreme(budget: Budget, numbers: tuple[Any, ...], name: str, sign: int) -> Any:
    if not numbers:
        raise ExpressionError(f"The function '{name}' needs at least one argument")
    best = numbers[0]
    for number in numbers[1:]:
        budget.step()
        if values.compare(number, best) == sign:
            best = number
    return best


@expression_function("range", "start end increment")
def range_(context: Evaluation, start: Any, end: Any, increment: Any = 1) -> list[Any]:
    """Return the list from *start* to *end*, both included."""
    return operators.items_between(context, start, end, increment)


@expression_function("env", "name default")
def env(context: Evaluation, name: Any, default: Any = None) -> Any:
    """Return an environment variable, by its name in lower case without the prefix; *default* if it is not set."""
    variables = context.visible().get("envs") or {}
    key = text(name, "function 'env'")
    found = variables.get(key, variables.get(key.lower()))
    return default if found is None or found == "" else found


@expression_function("tasksWithState", "state")
def tasks_with_state(context: Evaluation, state: Any) -> list[dict[str, Any]]:
    """Return state, id (and value) of the tasks that are in a state, which may be written in any case."""
    wanted = text(state, "function 'tasksWithState'").upper()
    tasks = context.visible().get("tasks") or {}
    found: list[dict[str, Any]] = []
    for task_id in tasks:
        for value, each in _states(context, tasks[task_id], None, 0):
            if each == wanted:
                found.append({"state": each, "taskId": task_id} | ({} if value is None else {"value": value}))
    return found


def _states(context: Evaluation, entry: Any, value: str | None, depth: int) -> Iterator[tuple[str | None, str]]:
    """Yield the states in the entry of a task, each with the value of its iteration."""
    context.budget.step()
    if not isinstance(entry, Mapping):
        return
    state = entry.get("state")
    if isinstance(state, str):
        yield value, state
        return
    deeper = values.nest(depth, context.budget)
    for key in entry:
        yield from _states(context, entry[key], key, deeper)


@expression_function("currentEachOutput", "outputs")
def current_each_output(context: Evaluation, outputs: Any) -> Any:
    """Return from a task's outputs the entry for this iteration: by its parents' values, then its own."""
    return _own(context, _of_parents(context, outputs))


def _of_parents(context: Evaluation, outputs: Any) -> Any:
    parents = context.visible().get("parents") or []
    for parent in reversed(list(parents)):
        value = _taskrun(parent).get("value")
        if value is not None:
            outputs = operators.member(context, outputs, values.key_text(value), 1)
    return outputs


def _own(context: Evaluation, outputs: Any) -> Any:
    value = _taskrun(context.visible()).get("value")
    return outputs if value is None else operators.member(context, outputs, values.key_text(value), 1)


def _taskrun(holder: Any) -> Mapping[str, Any]:
    taskrun = holder.get("taskrun") if isinstance(holder, Mapping) else None
    return taskrun if isinstance(taskrun, Mapping) else {}


@expression_function("iterationOutput", "outputs iteration")
def iteration_output(context: Evaluation, outputs: Any = None, iteration: Any = None) -> Any:
    """Return a task's outputs in another iteration of the same loop: the previous one, or the one given, from 0.

    *outputs* are the task's (`outputs.myTask`), its id, or left out for the current task.
    """
    visible = context.visible()
    if outputs is None:
        outputs = operators.member(context, visible.get("task"), "id", 1)
    if isinstance(outputs, str):
        outputs = operators.member(context, visible.get("outputs"), outputs, 1)
    entries = _of_parents(context, outputs)
    if not isinstance(entries, Mapping):
        raise ExpressionError("The function 'iterationOutput' needs the outputs of a task in a loop")
    if iteration is None:
        current = _taskrun(visible).get("iteration")
        if current is None:
            raise ExpressionError("The function 'iterationOutput' without an iteration only works in a loop")
        number = integer(current, "function 'iterationOutput'") - 1
    else:
        number = integer(iteration, "function 'iterationOutput'")
    names = list(entries)
    if not 0 <= number < len(names):
        raise ExpressionError(f"There is no output of the iteration {number}")
    return entries[names[number]]


@expression_function("loopOutputs", "outputs name")
def loop_outputs(context: Evaluation, outputs: Any, name: Any) -> list[Any]:
    """Return one named output of every iteration of a Loop, in order; null where an iteration has none."""
    if not values.is_list(outputs):
        raise ExpressionError(f"The function 'loopOutputs' needs a list, not {values.class_name(outputs)}")
    key = text(name, "function 'loopOutputs'")
    context.budget.items(len(outputs))
    found = []
    for each in outputs:
        own = each.get("outputs") if isinstance(each, Mapping) else None
        found.append(own.get(key) if isinstance(own, Mapping) else None)
    return found
