"""Templates: read by themselves, and in the places of the tasks that name them."""

from __future__ import annotations

import pytest

from headrace_engine.language import FlowError, parse_flow, parse_template
from headrace_engine.model.definition import FlowDefinition, Kind

SAY = "{id: say, type: io.kestra.plugin.core.debug.Return, format: x}"
USING = """
id: using
namespace: demo
tasks:
  - {id: used, type: io.kestra.plugin.core.flow.Template, namespace: demo, templateId: plain}
"""


def template(template_id: str = "plain", tasks: str = f"[{SAY}]", more: str = "") -> str:
    return f"id: {template_id}\nnamespace: demo\ntasks: {tasks}\n{more}"


def taken(source: str, **templates: str) -> FlowDefinition:
    """Return the flow with these templates in it."""

    def find(namespace: str, template_id: str) -> str:
        if template_id not in templates:
            raise ValueError(f"There is no {namespace}.{template_id}.")
        return templates[template_id]

    return parse_flow(source, templates=find)


def told(source: str, **templates: str) -> list[str]:
    with pytest.raises(FlowError) as raised:
        taken(source, **templates)
    return [str(problem) for problem in raised.value.problems]


def test_a_template_is_its_tasks() -> None:
    found = parse_template(template(more=f"errors: [{SAY.replace('say', 'caught')}]\ndescription: What it is for\n"))
    assert (found.namespace, found.id, found.description) == ("demo", "plain", "What it is for")
    assert [task.id for task in (*found.tasks, *found.errors)] == ["say", "caught"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "A template is one map with `id`, `namespace` and `tasks`; this"),
        ("- a", "A template is one map with `id`, `namespace` and `tasks`; this is a list"),
        (f"{template()}---\n{template()}", "this holds 2 documents"),
        (template(tasks="[]"), "at least one task"),
        (template(more="inputs: []"), "Unknown property `inputs` of a template."),
        (template(tasks=f"[{SAY}, {SAY}]"), "The id `say` is already used on line 3, column 14."),
        (template("a b"), "id"),
        (template(tasks="[{id: x, type: io.kestra.plugin.core.debug.Retrun}]"), "Did you mean"),
    ],
)
def test_what_is_wrong_with_a_template_is_told(source: str, why: str) -> None:
    with pytest.raises(FlowError) as raised:
        parse_template(source, file="plain.template.yaml")
    assert why in str(raised.value)
    assert str(raised.value).startswith("plain.template.yaml:")


def test_without_templates_the_task_has_none() -> None:
    (task,) = parse_flow(USING).tasks
    assert (task.kind, task.branches) == (Kind.SEQUENTIAL, {})


def test_the_tasks_stand_in_the_place_of_the_task_that_names_the_template() -> None:
    (task,) = taken(USING, plain=template()).tasks
    assert [child.id for child in task.branch("tasks")] == ["say"]


def test_a_template_that_is_switched_off_is_not_looked_for() -> None:
    (task,) = taken(USING.replace("templateId: plain", "templateId: missing, disabled: true")).tasks
    assert task.branches == {}


def test_one_that_is_not_there_is_told_of_where_it_is_named() -> None:
    assert told(USING) == ["<flow>:5:76: tasks[0].templateId: There is no demo.plain."]


def test_ids_are_those_of_one_flow() -> None:
    twice = USING + f"  - {SAY}\n"
    (found,) = told(twice, plain=template())
    assert "The id `say` is already used on line 3, column 14 of the template demo.plain." in found
    first = USING.replace("tasks:\n", f"tasks:\n  - {SAY}\n")
    (found,) = told(first, plain=template())
    assert found.startswith("template demo.plain:3:14: ")
    assert "The id `say` is already used on line 5, column 10 of the flow." in found


def test_what_is_wrong_in_the_template_is_told_of_there() -> None:
    (found,) = told(USING, plain=template(tasks="[{id: say, type: nothing.Known}]"))
    assert found.startswith("template demo.plain:3:")


def test_templates_that_contain_each_other_are_told_of() -> None:
    def naming(other: str) -> str:
        return f"[{{id: to-{other}, type: io.kestra.plugin.core.flow.Template, namespace: demo, templateId: {other}}}]"

    (found,) = told(USING, plain=template(tasks=naming("b")), b=template("b", naming("plain")))
    assert "These templates contain each other: `demo.plain` → `demo.b` → `demo.plain`." in found
