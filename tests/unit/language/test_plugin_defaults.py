"""pluginDefaults: what they match, what wins (reference §2.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from headrace_engine.language import FlowError, Registry, check, parse_flow
from headrace_engine.model.definition import TaskDefinition

LOG = "io.kestra.plugin.core.log.Log"
REQUEST = "io.kestra.plugin.core.http.Request"


def task(body: str, defaults: str, registry: Registry, configured: Sequence[Mapping[str, Any]] = ()) -> TaskDefinition:
    source = f"id: a\nnamespace: demo\npluginDefaults: {defaults}\ntasks: [{{id: t, {body}}}]\n"
    return parse_flow(source, registry=registry, plugin_defaults=configured).tasks[0]


@pytest.mark.parametrize(
    "matched", [LOG, "io.kestra.core.tasks.log.Log", "io.kestra.plugin.core", "io.kestra.plugin.core.log."]
)
def test_a_default_matches_a_type_its_old_name_or_a_package(matched: str, registry: Registry) -> None:
    found = task(f"type: {LOG}, message: hi", f"[{{type: {matched}, values: {{level: WARN}}}}]", registry)
    assert found.properties["level"] == "WARN"


def test_a_default_matches_a_task_written_by_its_old_name(registry: Registry) -> None:
    found = task(
        "type: io.kestra.core.tasks.log.Log, message: hi", f"[{{type: {LOG}, values: {{level: WARN}}}}]", registry
    )
    assert found.properties["level"] == "WARN"


@pytest.mark.parametrize("other", ["io.kestra.plugin.core.lo", "io.kestra.plugin.core.log.L", REQUEST])
def test_a_default_matches_no_part_of_a_name(other: str, registry: Registry) -> None:
    found = task(f"type: {LOG}, message: hi", f"[{{type: {other}, values: {{level: WARN}}}}]", registry)
    assert "level" not in found.properties


def test_the_task_wins_and_maps_merge_while_lists_replace(registry: Registry) -> None:
    defaults = f"[{{type: {REQUEST}, values: {{uri: x, method: PUT, headers: {{A: 1, B: 1}}, options: {{allowFailed: true}}}}}}]"
    found = task(f"type: {REQUEST}, method: POST, headers: {{B: 2}}, options: {{retries: 1}}", defaults, registry)
    assert found.properties == {
        "uri": "x",
        "method": "POST",
        "headers": {"B": "2", "A": "1"},
        "options": {"retries": 1, "allowFailed": True},
    }
    listed = task(f"type: {LOG}, message: [a]", f"[{{type: {LOG}, values: {{message: [b, c]}}}}]", registry)
    assert listed.properties["message"] == ["a"]


def test_forced_wins_over_the_task(registry: Registry) -> None:
    defaults = f"[{{type: {LOG}, forced: true, values: {{level: WARN}}}}]"
    assert task(f"type: {LOG}, message: hi, level: DEBUG", defaults, registry).properties["level"] == "WARN"


def test_the_flow_wins_over_the_configuration_and_the_exact_type_over_the_package(registry: Registry) -> None:
    configured = [{"type": LOG, "values": {"level": "DEBUG", "message": "from configuration"}}]
    flow = f"[{{type: io.kestra.plugin.core, values: {{level: INFO}}}}, {{type: {LOG}, values: {{level: WARN}}}}]"
    found = task(f"type: {LOG}", flow, registry, configured)
    assert found.properties == {"level": "WARN", "message": "from configuration"}
    only_package = "[{type: io.kestra.plugin.core, values: {level: INFO}}]"
    assert task(f"type: {LOG}", only_package, registry, configured).properties["level"] == "INFO"


def test_among_forced_ones_the_configuration_wins_over_the_flow(registry: Registry) -> None:
    configured = [
        {"type": LOG, "forced": True, "values": {"level": "DEBUG"}},
        {"type": LOG, "forced": True, "values": {"level": "INFO"}},
    ]
    flow = f"[{{type: {LOG}, forced: true, values: {{level: WARN}}}}]"
    assert task(f"type: {LOG}, message: hi", flow, registry, configured).properties["level"] == "INFO"


def test_common_properties_have_defaults_too_under_any_of_their_names(registry: Registry) -> None:
    defaults = f"[{{type: {LOG}, values: {{timeout: PT1M, allowFailure: true, when: 'false', retry: {{type: constant, interval: PT1S}}}}}}]"
    found = task(f"type: {LOG}, message: hi, runIf: 'true', retry: {{maxAttempts: 2}}", defaults, registry)
    assert (found.timeout, found.allow_failure, found.run_if) == ("PT1M", True, "true")
    assert found.retry is not None
    assert found.retry.max_attempts == 2


def test_a_map_of_another_type_replaces_instead_of_merging(registry: Registry) -> None:
    docker = "{type: io.kestra.plugin.scripts.runner.docker.Docker, pullPolicy: ALWAYS}"
    script = "type: io.kestra.plugin.scripts.python.Script, script: x"
    defaults = f"[{{type: io.kestra.plugin.scripts, values: {{taskRunner: {docker}}}}}]"
    assert task(script, defaults, registry).properties["taskRunner"]["pullPolicy"] == "ALWAYS"
    found = task(f"{script}, taskRunner: {{type: io.kestra.plugin.core.runner.Process}}", defaults, registry)
    assert found.properties["taskRunner"] == {"type": "io.kestra.plugin.core.runner.Process"}


def test_task_runners_triggers_and_conditions_take_defaults(registry: Registry) -> None:
    docker = "io.kestra.plugin.scripts.runner.docker.Docker"
    found = task(
        f"type: io.kestra.plugin.scripts.python.Script, script: x, taskRunner: {{type: {docker}}}",
        f"[{{type: {docker}, values: {{pullPolicy: ALWAYS}}}}]",
        registry,
    )
    assert found.properties["taskRunner"] == {"type": docker, "pullPolicy": "ALWAYS"}
    source = f"""
id: a
namespace: demo
pluginDefaults:
  - {{type: io.kestra.plugin.core.trigger.Schedule, values: {{cron: "@daily"}}}}
  - {{type: io.kestra.plugin.core.condition.DayWeek, values: {{dayOfWeek: MONDAY}}}}
triggers:
  - id: s
    type: io.kestra.plugin.core.trigger.Schedule
    conditions: [{{type: io.kestra.plugin.core.condition.DayWeek}}]
tasks: [{{id: t, type: {LOG}, message: hi}}]
"""
    assert check(source, registry=registry).errors == ()


def test_a_package_default_goes_only_where_its_properties_are_known(registry: Registry) -> None:
    source = f"""
id: a
namespace: demo
pluginDefaults:
  - {{type: io.kestra.plugin.core, values: {{level: WARN, levl: INFO}}}}
  - {{type: com.example, values: {{a: 1}}}}
tasks:
  - {{id: t, type: {LOG}, message: hi}}
  - {{id: u, type: {REQUEST}, uri: x}}
"""
    found = check(source, registry=registry)
    assert found.errors == ()
    assert [dict(each.properties) for each in found.flows[0].tasks] == [
        {"message": "hi", "level": "WARN"},
        {"uri": "x"},
    ]
    assert [problem.message for problem in found.warnings] == [
        "Nothing that this default matches has a property `levl`.",
        "Nothing in this flow is of the type `com.example`.",
    ]


def test_an_error_in_a_default_points_to_the_default(registry: Registry) -> None:
    with pytest.raises(FlowError) as caught:
        task(f"type: {LOG}, message: hi", f"[{{type: {LOG}, values: {{level: LOUD}}}}]", registry)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("pluginDefaults[0].values.level", 3)


def test_an_error_in_a_configured_default_points_to_the_flow_and_says_so(registry: Registry) -> None:
    with pytest.raises(FlowError, match=r"got `LOUD`\. \(The value comes from the configured plugin defaults\.\)"):
        task(f"type: {LOG}, message: hi", "[]", registry, [{"type": LOG, "values": {"level": "LOUD"}}])


def test_a_required_property_may_come_from_a_default(registry: Registry) -> None:
    assert task(f"type: {LOG}", f"[{{type: {LOG}, values: {{message: hi}}}}]", registry).properties["message"] == "hi"
