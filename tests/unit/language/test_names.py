"""Older and newer names of types and properties: they mean the same, and old ones give a warning."""

from __future__ import annotations

import pytest

from headrace_engine.language import DuplicateType, Registry, check, parse_flow
from headrace_engine.model.definition import Kind, TaskDefinition
from headrace_engine.plugin import RunnableTask


def warnings(body: str, registry: Registry) -> list[str]:
    found = check(f"id: a\nnamespace: demo\n{body}", registry=registry)
    assert found.errors == ()
    return [f"{problem.path}: {problem.message}" for problem in found.warnings]


def task(body: str, registry: Registry) -> TaskDefinition:
    indented = body.replace("\n", "\n    ")
    return parse_flow(f"id: a\nnamespace: demo\ntasks:\n  - id: t\n    {indented}\n", registry=registry).tasks[0]


TASKS = "tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi}]\n"


def test_an_old_type_name_is_the_new_type_with_a_warning(registry: Registry) -> None:
    body = "tasks: [{id: t, type: io.kestra.core.tasks.log.Log, message: hi}]"
    assert warnings(body, registry) == [
        "tasks[0].type: `io.kestra.core.tasks.log.Log` is the old name of `io.kestra.plugin.core.log.Log`."
    ]
    assert task("type: io.kestra.core.tasks.log.Log\nmessage: hi", registry).type == "io.kestra.plugin.core.log.Log"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("io.kestra.core.tasks.flows.Sequential", "io.kestra.plugin.core.flow.Sequential"),
        ("io.kestra.core.tasks.flows.EachParallel", "io.kestra.plugin.core.flow.EachParallel"),
        ("io.kestra.core.tasks.flows.Worker", "io.kestra.plugin.core.flow.WorkingDirectory"),
        ("io.kestra.core.tasks.flows.WaitFor", "io.kestra.plugin.core.flow.LoopUntil"),
        ("io.kestra.plugin.core.flow.WaitFor", "io.kestra.plugin.core.flow.LoopUntil"),
        ("io.kestra.core.tasks.flows.Flow", "io.kestra.plugin.core.flow.Subflow"),
        ("io.kestra.core.models.triggers.types.Schedule", "io.kestra.plugin.core.trigger.Schedule"),
        ("io.kestra.plugin.fs.http.Trigger", "io.kestra.plugin.core.http.Trigger"),
        ("io.kestra.core.models.conditions.types.VariableCondition", "io.kestra.plugin.core.condition.Expression"),
        ("io.kestra.plugin.core.condition.WeekendCondition", "io.kestra.plugin.core.condition.Weekend"),
        ("io.kestra.core.models.conditions.types.OrCondition", "io.kestra.plugin.core.condition.Or"),
        ("io.kestra.core.tasks.executions.Counts", "io.kestra.plugin.core.execution.Count"),
    ],
)
def test_old_type_names_resolve(old: str, new: str, registry: Registry) -> None:
    assert registry.canonical(old) == new


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        (f"taskDefaults: []\n{TASKS}", "taskDefaults: `taskDefaults` is the old name of `pluginDefaults`."),
        (
            f"inputs: [{{name: x, type: STRING}}]\n{TASKS}",
            "inputs[0].name: `name` is the old name of `id`.",
        ),
        (f"inputs: [{{id: x, type: BOOLEAN}}]\n{TASKS}", "inputs[0].type: `BOOLEAN` is deprecated: use `BOOL`."),
        (
            "tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi, retry: {type: constant, interval: PT1S, maxAttempt: 2}}]",
            "tasks[0].retry.maxAttempt: `maxAttempt` is the old name of `maxAttempts`.",
        ),
        (
            "tasks: [{id: t, type: io.kestra.plugin.core.flow.Pause, delay: PT1S}]",
            "tasks[0].delay: `delay` is the old name of `pauseDuration`.",
        ),
        (
            f"triggers: [{{id: s, type: io.kestra.plugin.core.trigger.Schedule, cron: '@daily', disabled: true, minLogLevel: WARN}}]\n{TASKS}",
            "triggers[0].minLogLevel: `minLogLevel` is the old name of `logLevel`.",
        ),
    ],
)
def test_an_old_property_name_means_the_new_one_with_a_warning(body: str, warning: str, registry: Registry) -> None:
    assert warnings(body, registry) == [warning]


def test_the_names_of_2_0_need_no_warning(registry: Registry) -> None:
    body = "tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi, when: '{{ true }}'}]"
    assert warnings(body, registry) == []
    assert task("type: io.kestra.plugin.core.log.Log\nmessage: hi\nwhen: '{{ true }}'", registry).run_if == "{{ true }}"


def test_properties_have_their_first_names_in_the_definition(registry: Registry) -> None:
    assert task("type: io.kestra.plugin.core.flow.Pause\ndelay: PT1S", registry).properties == {"pauseDuration": "PT1S"}


def test_deprecated_types_and_properties_are_warned_of(registry: Registry) -> None:
    body = "tasks: [{id: t, type: io.kestra.plugin.core.flow.EachSequential, value: [1], tasks: [{id: u, type: io.kestra.plugin.core.log.Log, message: hi}]}]"
    assert warnings(body, registry) == [
        "tasks[0].type: `io.kestra.plugin.core.flow.EachSequential` is deprecated: use `io.kestra.plugin.core.flow.ForEach`."
    ]
    listeners = "listeners: [{tasks: [{id: u, type: io.kestra.plugin.core.log.Log, message: hi}]}]\n"
    assert warnings(listeners + TASKS, registry) == [
        "listeners: `listeners` is deprecated: write `afterExecution` tasks with `runIf` instead.",
        "listeners: `listeners` is not supported by this version of Headrace: write `afterExecution` tasks instead.",
    ]


def test_two_classes_cannot_have_one_name(registry: Registry) -> None:
    class Log(RunnableTask):
        """Another one."""

        TYPE = "com.example.Log"
        ALIASES = ("io.kestra.core.tasks.log.Log",)
        KIND = Kind.INLINE

    known = registry.task("io.kestra.plugin.core.log.Log")
    assert known is not None
    with pytest.raises(DuplicateType, match=r"`io\.kestra\.core\.tasks\.log\.Log` is claimed by"):
        Registry([known, Log])


def test_a_type_of_the_platform_itself_cannot_be_named_by_a_flow() -> None:
    class Prepare(RunnableTask):
        """Ours."""

        TYPE = "io.headrace.Prepare"
        KIND = Kind.DISPATCHED
        INTERNAL = True

    registry = Registry([Prepare])
    assert registry.task("io.headrace.Prepare") is Prepare
    assert "io.headrace.Prepare" not in registry.names()
    found = check("id: a\nnamespace: b\ntasks: [{id: t, type: io.headrace.Prepare}]\n", registry=registry)
    assert [problem.message for problem in found.errors] == ["Unknown type `io.headrace.Prepare`."]


def test_names_of_all_kinds_and_the_nearest(registry: Registry) -> None:
    names = registry.names()
    assert names == sorted(set(names))
    for name in (
        "io.kestra.plugin.core.flow.Dag",
        "io.kestra.plugin.core.trigger.Flow",
        "io.kestra.plugin.core.condition.Or",
        "io.kestra.plugin.core.runner.Process",
    ):
        assert name in names
    assert registry.nearest("io.kestra.plugin.core.flow.Foreach") == ["io.kestra.plugin.core.flow.ForEach"]
    assert registry.nearest("Schedule", kind="trigger") == ["io.kestra.plugin.core.trigger.Schedule"]
    assert registry.nearest("Schedule", kind="runner") == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("core.log.Lgo", "io.kestra.plugin.core.log.Log"),
        ("io.kestra.plugin.core.flow.Swicth", "io.kestra.plugin.core.flow.Switch"),
        ("io.kestra.plugin.core.flow.fI", "io.kestra.plugin.core.flow.If"),
    ],
)
def test_letters_that_changed_places_are_seen_through(written: str, meant: str, registry: Registry) -> None:
    assert registry.nearest(written, kind="task") == [meant]
