"""From YAML to the definitions the engine runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace_engine.language import Registry, check, parse_flow
from headrace_engine.model.definition import (
    Concurrency,
    FlowDefinition,
    InputDefinition,
    Kind,
    LimitBehavior,
    OutputDefinition,
    Retry,
    RetryBehavior,
    RetryKind,
    TaskCache,
    TaskDefinition,
)

FLOW = "io.kestra.plugin.core.flow."
LOG = "{id: %s, type: io.kestra.plugin.core.log.Log, message: hi}"


def flow(body: str, registry: Registry, **options: Any) -> FlowDefinition:
    return parse_flow(f"id: demo\nnamespace: company.team\n{body}", registry=registry, **options)


def task(body: str, registry: Registry, **options: Any) -> TaskDefinition:
    indented = body.replace("\n", "\n    ")
    (found,) = flow(f"tasks:\n  - id: t\n    {indented}\n", registry, **options).tasks
    return found


def flowable(kind: str, body: str, registry: Registry) -> TaskDefinition:
    return task(f"type: {FLOW}{kind}\n{body}", registry)


def ids(tasks: tuple[TaskDefinition, ...]) -> list[str]:
    return [each.id for each in tasks]


def test_hello(registry: Registry) -> None:
    source = """
id: hello
namespace: demo
inputs:
  - id: message
    type: STRING
    defaults: Hello
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "{{ inputs.message }}"
"""
    assert parse_flow(source, registry=registry, revision=3) == FlowDefinition(
        namespace="demo",
        id="hello",
        revision=3,
        inputs=(InputDefinition(id="message", type="STRING", defaults="Hello", has_defaults=True),),
        tasks=(
            TaskDefinition(
                id="log",
                type="io.kestra.plugin.core.log.Log",
                kind=Kind.INLINE,
                properties={"message": "{{ inputs.message }}"},
            ),
        ),
    )


def test_everything_of_a_flow(registry: Registry) -> None:
    found = flow(
        f"""
revision: 7
description: "Braces {{{{ as they are }}}}"
labels: {{team: data, version: 1.10, hot: true, system.readOnly: "true"}}
variables:
  table: orders
  nested: {{raw: "{{{{ not yet }}}}", n: 1.50}}
tasks: [{LOG % "a"}]
errors: [{LOG % "b"}]
finally: [{LOG % "c"}]
afterExecution: [{LOG % "d"}]
outputs:
  - id: uri
    type: STRING
    value: "{{{{ outputs.a.uri }}}}"
  - {{id: rows, type: ARRAY, itemType: INT, value: [1], required: false}}
retry: {{type: constant, interval: PT1M, behavior: CREATE_NEW_EXECUTION}}
disabled: true
triggers:
  - {{id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: "@daily"}}
""",
        registry,
    )
    assert found.revision == 1
    assert found.labels == (("team", "data"), ("version", "1.10"), ("hot", "true"), ("system.readOnly", "true"))
    assert found.variables == {"table": "orders", "nested": {"raw": "{{ not yet }}", "n": 1.5}}
    assert [ids(tasks) for tasks in (found.tasks, found.errors, found.finally_, found.after_execution)] == [
        ["a"],
        ["b"],
        ["c"],
        ["d"],
    ]
    assert found.outputs == (
        OutputDefinition(id="uri", type="STRING", value="{{ outputs.a.uri }}"),
        OutputDefinition(id="rows", type="ARRAY", value=[1], required=False, options={"itemType": "INT"}),
    )
    assert found.retry == Retry(
        RetryKind.CONSTANT, interval=timedelta(minutes=1), behavior=RetryBehavior.CREATE_NEW_EXECUTION
    )
    assert found.disabled
    assert found.unsupported == ()


def test_numbers_in_quotes_are_numbers_where_numbers_are_meant(registry: Registry) -> None:
    body = f"concurrent: '3'\ntasks: [{LOG % 'a'}]"
    assert flowable("Parallel", body, registry).concurrency == 3
    found = flow(f"concurrency: {{limit: '2'}}\ntasks: [{LOG % 'a'}]", registry)
    assert found.concurrency == Concurrency(2, LimitBehavior.QUEUE)


def test_checks_and_slas_of_wrong_shapes_are_told_and_nothing_else(registry: Registry) -> None:
    for body in (
        "checks: [{when: x, message: m, behavior: [a]}]",
        "checks: [5]",
        "concurrency: {limit: 1, behavior: [a]}",
        "sla: [{id: a, type: MAX_DURATION, duration: PT1H, behavior: [a]}]",
    ):
        assert check(f"id: a\nnamespace: b\n{body}\ntasks: [{LOG % 't'}]\n", registry=registry).errors


def test_labels_as_a_list(registry: Registry) -> None:
    found = flow(f"labels: [{{key: team, value: 5}}, {{key: b, value: x}}]\ntasks: [{LOG % 'a'}]", registry)
    assert found.labels == (("team", "5"), ("b", "x"))


def test_common_properties_have_fields_of_their_own(registry: Registry) -> None:
    found = task(
        """type: io.kestra.plugin.core.log.Log
message: 007
level: WARN
description: says hi
disabled: true
runIf: true
allowFailure: true
allowWarning: true
timeout: PT5S
logLevel: ERROR
resubmit: NEVER
retry: {type: random, minInterval: PT1S, maxInterval: PT9S, maxAttempts: 3, maxDuration: PT1H, warningOnRetry: true}""",
        registry,
    )
    assert found == TaskDefinition(
        id="t",
        type="io.kestra.plugin.core.log.Log",
        kind=Kind.INLINE,
        properties={"message": "007", "level": "WARN"},
        disabled=True,
        run_if="true",
        allow_failure=True,
        allow_warning=True,
        timeout="PT5S",
        log_level="ERROR",
        resubmits=0,
        retry=Retry(
            RetryKind.RANDOM,
            interval=timedelta(seconds=1),
            max_interval=timedelta(seconds=9),
            max_attempts=3,
            max_duration=timedelta(hours=1),
            warning_on_retry=True,
        ),
    )


def test_an_exponential_retry_doubles_unless_told_otherwise(registry: Registry) -> None:
    retry = "retry: {type: exponential, interval: PT1S, maxInterval: PT1M%s}"
    log = "type: io.kestra.plugin.core.log.Log\nmessage: hi\n"
    plain = task(log + retry % "", registry).retry
    faster = task(log + retry % ", delayFactor: 3.5", registry).retry
    assert plain == Retry(RetryKind.EXPONENTIAL, interval=timedelta(seconds=1), max_interval=timedelta(minutes=1))
    assert plain is not None
    assert plain.delay_factor == 2.0
    assert faster is not None
    assert faster.delay_factor == 3.5


def test_numbers_and_flags_meant_as_text_stay_as_written(registry: Registry) -> None:
    found = task(
        "type: io.kestra.plugin.core.http.Request\nuri: 1.10\nheaders: {X-Version: 1.0, X-On: true, X-Day: 2024-01-01}",
        registry,
    )
    assert found.properties == {"uri": "1.10", "headers": {"X-Version": "1.0", "X-On": "true", "X-Day": "2024-01-01"}}


def test_the_kind_comes_from_the_properties(registry: Registry) -> None:
    request = "type: io.kestra.plugin.core.http.Request\nuri: x\n"
    assert task(request, registry).kind is Kind.LIGHT
    assert task(request + "port: 80", registry).kind is Kind.DISPATCHED


def test_a_value_that_an_expression_decides_is_not_checked(registry: Registry) -> None:
    found = task(
        """type: io.kestra.plugin.core.http.Request
uri: "{{ inputs.uri }}"
method: "{{ inputs.method }}"
port: "{{ inputs.port }}"
headers: "{{ inputs.headers }}"
perItem: "{{ taskrun.value }}"
timeout: "{{ inputs.timeout }}"
options:
  connectTimeout: "{{ inputs.wait }}"
  allowFailed: "{{ inputs.lenient }}" """,
        registry,
    )
    assert found.properties["port"] == "{{ inputs.port }}"
    assert found.timeout == "{{ inputs.timeout }}"
    assert found.kind is Kind.DISPATCHED


def test_sequential_parallel_and_allow_failure(registry: Registry) -> None:
    body = f"tasks: [{LOG % 'a'}, {LOG % 'b'}]\nerrors: [{LOG % 'c'}]\nfinally: [{LOG % 'd'}]"
    for kind, expected in (
        ("Sequential", Kind.SEQUENTIAL),
        ("Parallel", Kind.PARALLEL),
        ("AllowFailure", Kind.ALLOW_FAILURE),
    ):
        found = flowable(kind, body, registry)
        assert found.kind is expected
        assert {name: ids(tasks) for name, tasks in found.branches.items()} == {
            "tasks": ["a", "b"],
            "errors": ["c"],
            "finally": ["d"],
        }
        assert (found.concurrency, found.properties, found.unsupported) == (0, {}, None)
    assert flowable("Parallel", f"concurrent: 3\n{body}", registry).concurrency == 3


def test_if(registry: Registry) -> None:
    found = flowable("If", f"condition: true\nthen: [{LOG % 'a'}]\nelse: [{LOG % 'b'}]", registry)
    assert (found.kind, found.expression, list(found.branches)) == (Kind.IF, "true", ["then", "else"])
    assert found.properties == {}


def test_switch(registry: Registry) -> None:
    found = flowable(
        "Switch",
        f'value: "{{{{ inputs.x }}}}"\ncases:\n  1: [{LOG % "a"}]\n  true: [{LOG % "b"}]\n  a b: [{LOG % "c"}]\ndefaults: [{LOG % "d"}]',
        registry,
    )
    assert (found.kind, found.expression) == (Kind.SWITCH, "{{ inputs.x }}")
    assert {name: ids(tasks) for name, tasks in found.branches.items()} == {
        "cases.1": ["a"],
        "cases.true": ["b"],
        "cases.a b": ["c"],
        "defaults": ["d"],
    }


def test_the_loops(registry: Registry) -> None:
    tasks = f"tasks: [{LOG % 'a'}]"
    each = flowable("ForEach", f'values: "{{{{ inputs.list }}}}"\n{tasks}', registry)
    assert (each.kind, each.values, each.concurrency) == (Kind.FOR_EACH, "{{ inputs.list }}", 1)
    wide = flowable("ForEach", f"values: [1, a, {{b: 2}}]\nconcurrencyLimit: 0\n{tasks}", registry)
    assert (wide.values, wide.concurrency, wide.properties) == ([1, "a", {"b": 2}], 0, {})
    old = flowable("EachSequential", f"value: [x]\n{tasks}", registry)
    assert (old.kind, old.values, old.concurrency, old.expression) == (Kind.FOR_EACH, ["x"], 1, None)
    parallel = flowable("EachParallel", f"value: [x]\nconcurrent: 2\n{tasks}", registry)
    assert (parallel.kind, parallel.values, parallel.concurrency) == (Kind.EACH_PARALLEL, ["x"], 2)


def test_dag(registry: Registry) -> None:
    found = flowable(
        "Dag",
        f"concurrent: 2\ntasks:\n  - task: {LOG % 'a'}\n  - task: {LOG % 'b'}\n    dependsOn: [a]\n  - task: {LOG % 'c'}\n    dependsOn: [a, b]",
        registry,
    )
    assert (found.kind, found.concurrency, ids(found.branches["tasks"])) == (Kind.DAG, 2, ["a", "b", "c"])
    assert found.depends_on == {"b": ("a",), "c": ("a", "b")}


def test_working_directory_keeps_its_own_properties(registry: Registry) -> None:
    found = flowable(
        "WorkingDirectory",
        f"inputFiles: {{a.txt: 1}}\noutputFiles: ['*.csv']\nnamespaceFiles: {{enabled: true}}\ncache: {{patterns: [x]}}\ntasks: [{LOG % 'a'}]",
        registry,
    )
    assert found.kind is Kind.WORKING_DIRECTORY
    assert found.properties == {
        "inputFiles": {"a.txt": "1"},
        "outputFiles": ["*.csv"],
        "namespaceFiles": {"enabled": True},
        "cache": {"patterns": ["x"]},
    }


def test_a_key_with_nothing_after_it_is_as_if_it_were_not_there(registry: Registry) -> None:
    found = flow(f"inputs:\nerrors:\nvariables:\nlabels:\ntriggers:\ntasks: [{LOG % 'a'}]", registry)
    assert (found.inputs, found.errors, found.variables, found.labels) == ((), (), {}, ())


def test_inputs_carry_the_checked_properties_of_their_type(registry: Registry) -> None:
    found = flow(
        f"""
inputs:
  - {{id: a.b, type: INT, min: "1", max: 5, required: false, displayName: A, description: "{{{{ x }}}}"}}
  - {{id: day, type: DATE, after: 2024-01-01}}
  - {{id: wait, type: DURATION, max: PT1H}}
  - {{id: size, type: SELECT, values: [S, 1.0, true], dependsOn: {{inputs: [day], condition: "{{{{ true }}}}"}}}}
  - {{name: old, type: STRING, validator: "[a-z]+"}}
  - {{id: rows, type: ARRAY, itemType: INT}}
  - {{id: empty, type: STRING, defaults: ""}}
tasks: [{LOG % "t"}]
""",
        registry,
    )
    by_id = {each.id: each for each in found.inputs}
    assert by_id["a.b"] == InputDefinition(
        id="a.b",
        type="INT",
        required=False,
        display_name="A",
        description="{{ x }}",
        options={"min": 1, "max": 5},
    )
    assert by_id["day"].options == {"after": "2024-01-01"}
    assert by_id["wait"].options == {"max": "PT1H"}
    assert by_id["size"].options["values"] == ["S", "1.0", "true"]
    assert (by_id["size"].depends_on, by_id["size"].condition) == (("day",), "{{ true }}")
    assert by_id["old"].options == {"validator": "[a-z]+"}
    assert by_id["rows"].options == {"itemType": "INT"}
    assert by_id["empty"].has_defaults


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("listeners: [{tasks: [{id: l, type: io.kestra.plugin.core.log.Log, message: hi}]}]", "`listeners` is not"),
        ("workerGroup: {key: gpu}", "`workerGroup` is not supported by this version of Headrace"),
        ("policyRefs: [a]", "`policyRefs` is not supported"),
    ],
)
def test_what_a_flow_cannot_have_yet_is_said_and_not_ignored(body: str, sentence: str, registry: Registry) -> None:
    (found,) = flow(f"{body}\ntasks: [{LOG % 't'}]", registry).unsupported
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("logToFile: true", "`logToFile` is not supported"),
        ("workerGroup: {key: gpu}", "`workerGroup` is not supported"),
        ("version: 1.0.0", "`version` is not supported"),
        ("assets: {inputs: []}", "`assets` is not supported"),
    ],
)
def test_what_a_task_cannot_have_yet_is_said_and_not_ignored(body: str, sentence: str, registry: Registry) -> None:
    found = task(f"type: io.kestra.plugin.core.log.Log\nmessage: hi\n{body}", registry)
    assert found.unsupported is not None
    assert found.unsupported.startswith(sentence)
    assert found.kind is Kind.INLINE


def test_what_is_switched_off_needs_no_support(registry: Registry) -> None:
    body = "type: io.kestra.plugin.core.log.Log\nmessage: hi\ntaskCache: {enabled: false}\nlogToFile: false"
    assert task(body, registry).unsupported is None


@pytest.mark.parametrize(
    "body",
    [
        f"type: {FLOW}Approval\ninputs: [{{id: ok, type: BOOL}}]",
        "type: io.kestra.plugin.core.namespace.PurgeFiles\nnamespace: a",
        "type: io.kestra.plugin.scripts.groovy.Script\nscript: print(1)",
    ],
)
def test_a_type_that_comes_later_is_read_and_refused_at_run_time(body: str, registry: Registry) -> None:
    found = task(body, registry)
    assert found.kind is Kind.UNSUPPORTED
    assert found.unsupported is not None
    assert found.unsupported.startswith(f"`{found.type}` is not supported by this version of Headrace: ")


def test_the_tasks_inside_a_type_that_comes_later_are_read(registry: Registry) -> None:
    found = flowable("Approval", f"onApprove: [{LOG % 'a'}]", registry)
    assert ids(found.branches["onApprove"]) == ["a"]


def test_a_task_cache(registry: Registry) -> None:
    body = "type: io.kestra.plugin.core.log.Log\nmessage: hi\ntaskCache: "
    assert task(body + "{enabled: true, ttl: PT1H}", registry).cache == TaskCache(timedelta(hours=1))
    assert task(body + "{enabled: true}", registry).cache == TaskCache()
    assert task(body + "{enabled: false, ttl: PT1H}", registry).cache is None


def test_a_loop_is_a_for_each_without_a_limit(registry: Registry) -> None:
    found = flowable("Loop", f"values: [1]\ntasks: [{LOG % 'a'}]", registry)
    assert (found.kind, found.concurrency, found.values, found.unsupported) == (Kind.FOR_EACH, 0, [1], None)
    assert flowable("Loop", f"values: [1]\nconcurrencyLimit: 3\ntasks: [{LOG % 'a'}]", registry).concurrency == 3


def test_for_each_item_is_three_tasks(registry: Registry) -> None:
    found = flowable(
        "ForEachItem",
        "items: x\nbatch: {rows: 5}\nnamespace: a\nflowId: b\nwait: false\ninputs: {f: y}\n"
        f"allowFailure: true\nerrors: [{LOG % 'e'}]",
        registry,
    )
    assert (found.kind, found.allow_failure, found.properties, found.unsupported) == (Kind.SEQUENTIAL, True, {}, None)
    assert ids(found.branches["errors"]) == ["e"]
    split, items, merge = found.branches["tasks"]
    assert (split.id, split.kind, split.properties) == ("t_split", Kind.DISPATCHED, {"items": "x", "rows": 5})
    calling = {"namespace": "a", "flowId": "b", "inputs": {"f": "y"}, "wait": False, "split": "t_split"}
    assert (items.id, items.kind, items.properties) == ("t_items", Kind.ITEMS, calling)
    assert (merge.id, merge.kind, merge.properties) == ("t_merge", Kind.DISPATCHED, {"items": "t_items"})


def test_pause(registry: Registry) -> None:
    found = flowable(
        "Pause",
        f"delay: PT1S\nonResume: [{{id: ok, type: BOOL}}]\nonPause: {LOG % 'p'}\ntasks: [{LOG % 'a'}]",
        registry,
    )
    assert (found.kind, found.properties, found.unsupported) == (Kind.PAUSE, {"pauseDuration": "PT1S"}, None)
    assert {name: ids(tasks) for name, tasks in found.branches.items()} == {"onPause": ["p"], "tasks": ["a"]}
    assert found.inputs == (InputDefinition(id="ok", type="BOOL"),)


@pytest.mark.parametrize("name", ["LoopUntil", "WaitFor"])
def test_loop_until(name: str, registry: Registry) -> None:
    found = flowable(name, f"condition: 'true'\ncheckFrequency: {{interval: PT1S}}\ntasks: [{LOG % 'a'}]", registry)
    assert (found.type, found.kind, found.expression) == (f"{FLOW}LoopUntil", Kind.LOOP_UNTIL, "true")
    assert found.properties == {"checkFrequency": {"interval": "PT1S"}}


def test_subflow(registry: Registry) -> None:
    found = flowable("Subflow", "namespace: a\nflowId: b\ninputs: {x: 1}\nwait: false", registry)
    assert found.kind is Kind.SUBFLOW
    assert found.properties == {"namespace": "a", "flowId": "b", "inputs": {"x": 1}, "wait": False}


def test_concurrency(registry: Registry) -> None:
    found = flow(f"concurrency: {{limit: 3, behavior: CANCEL}}\ntasks: [{LOG % 'a'}]", registry)
    assert found.concurrency == Concurrency(3, LimitBehavior.CANCEL)
    assert found.unsupported == ()


def test_fail_fast_is_refused_only_when_it_is_on(registry: Registry) -> None:
    body = f"failFast: %s\ntasks: [{LOG % 'a'}]"
    assert flowable("Parallel", body % "false", registry).unsupported is None
    refused = flowable("Parallel", body % "true", registry)
    assert refused.unsupported is not None
    assert refused.unsupported.startswith("`failFast: true` is not supported")
    assert refused.kind is Kind.PARALLEL


def test_a_task_runner_that_comes_later_is_refused_at_run_time(registry: Registry) -> None:
    script = "type: io.kestra.plugin.scripts.python.Script\nscript: print(1)\ntaskRunner: {type: %s}"
    docker = "io.kestra.plugin.scripts.runner.docker.Docker"
    fine = task(script % "io.kestra.plugin.core.runner.Process", registry)
    assert fine.unsupported is None
    assert fine.properties["taskRunner"] == {"type": "io.kestra.plugin.core.runner.Process"}
    refused = task(script % docker, registry).unsupported
    assert refused == f"The task runner `{docker}` is not supported by this version of Headrace: containers do not run."
    known = task(script % "io.kestra.plugin.ee.gcp.runner.Batch", registry).unsupported
    assert known is not None
    assert "it is known to Kestra only" in known


def test_triggers_are_read_and_let_the_flow_run_by_hand(registry: Registry) -> None:
    source = f"""
triggers:
  - id: monthly
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "0 9 1 * MON-FRI"
    timezone: Europe/Paris
    lateMaximumDelay: PT1H
    recoverMissedSchedules: NONE
    inputs: {{x: "{{{{ trigger.date }}}}"}}
    stopAfter: [FAILED]
    conditions:
      - type: io.kestra.plugin.core.condition.Not
        conditions:
          - type: io.kestra.plugin.core.condition.Weekend
  - {{id: dates, type: io.kestra.plugin.core.trigger.ScheduleOnDates, dates: ["2025-01-01T00:00:00Z"]}}
  - {{id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: "{{{{ secret('KEY') }}}}", wait: true}}
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    preconditions:
      id: both
      timeWindow: {{type: DAILY_TIME_DEADLINE, deadline: "09:00:00Z"}}
      flows: [{{namespace: a, flowId: b, states: [SUCCESS]}}]
      where: [{{id: w, filters: [{{field: NAMESPACE, type: STARTS_WITH, value: a}}]}}]
  - {{id: poll, type: io.kestra.plugin.core.http.Trigger, uri: "https://example.com", interval: PT30S}}
  - {{id: new, type: io.kestra.plugin.core.trigger.Flow, dependsOn: [{{flowId: a, namespace: b}}], mode: ALL}}
tasks: [{LOG % "t"}]
"""
    assert flow(source, registry).unsupported == ()


def test_a_flow_of_two_hundred_lines_with_an_error_in_each_task_tells_them_all(registry: Registry) -> None:
    body = "".join(f"  - id: t{n}\n    type: io.kestra.plugin.core.log.Log\n    mesage: hi\n" for n in range(60))
    found = check(f"id: a\nnamespace: b\ntasks:\n{body}", registry=registry)
    assert [problem.line for problem in found.errors] == [6 + 3 * n for n in range(60)]


def test_the_same_task_by_alias_twice_has_its_id_twice(registry: Registry) -> None:
    source = "id: a\nnamespace: b\ntasks:\n  - &t {id: x, type: io.kestra.plugin.core.log.Log, message: hi}\n  - *t\n"
    assert [problem.message for problem in check(source, registry=registry).errors] == [
        "The id `x` is already used on line 4, column 13."
    ]


def test_a_rule_of_a_whole_map_holds_beside_expressions(registry: Registry) -> None:
    source = f"""
id: a
namespace: b
triggers:
  - {{id: s, type: io.kestra.plugin.core.trigger.Schedule, cron: "99 * * * *", inputs: {{x: "{{{{ now() }}}}"}}}}
tasks: [{LOG % "t"}]
"""
    (problem,) = check(source, registry=registry).errors
    assert problem.path == "triggers[0].cron"


def test_a_duration_beyond_counting_is_an_error_like_any_other(registry: Registry) -> None:
    source = "id: a\nnamespace: b\ntasks: [{id: x, type: io.kestra.plugin.core.log.Log, message: hi, timeout: P999999999999D}]\n"
    (problem,) = check(source, registry=registry).errors
    assert problem.message == "The duration `P999999999999D` is longer than a thousand years."
