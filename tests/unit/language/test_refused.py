"""What Kestra has and this version has not is refused by name, with the reason; old names stand for new ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace_engine.expressions import ExpressionError, Expressions
from headrace_engine.language import Registry, Validation, check
from headrace_engine.model.definition import Kind

CORE = "io.kestra.plugin.core."


def task(properties: dict[str, Any]) -> Validation:
    return check(f"id: a\nnamespace: b\ntasks: [{json.dumps({'id': 't', **properties})}]\n", registry=Registry.load())


def trigger(properties: dict[str, Any]) -> Validation:
    log = {"id": "log", "type": CORE + "log.Log", "message": "x"}
    flow = {"id": "a", "namespace": "b", "tasks": [log], "triggers": [{"id": "t", **properties}]}
    return check(json.dumps(flow), registry=Registry.load())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("io.kestra.plugin.core.flow.PurgeFlows", "flows and their revisions are kept"),
        ("io.kestra.plugin.core.http.SseRequest", "an answer is read once and whole; use http.Request"),
        (
            "io.kestra.plugin.core.kv.PurgeKV",
            "an expired key counts as absent and goes by itself; use kv.Delete for others",
        ),
        ("io.kestra.plugin.core.kv.Version", "a key has one version"),
        ("io.kestra.plugin.core.metric.Publish", "a script reports its metrics on its standard output"),
        (
            "io.kestra.plugin.core.namespace.PurgeFiles",
            "of a namespace file twenty earlier revisions are kept, the oldest go by themselves",
        ),
        ("io.kestra.plugin.core.namespace.Version", "revisions of a namespace file are read over the API"),
        ("io.kestra.plugin.scripts.groovy.Commands", "Kestra has this type of task, Headrace has not yet"),
        ("io.kestra.plugin.scripts.groovy.Script", "Kestra has this type of task, Headrace has not yet"),
        ("io.kestra.plugin.scripts.jvm.Commands", "Kestra has this type of task, Headrace has not yet"),
        ("io.kestra.plugin.scripts.jvm.Script", "Kestra has this type of task, Headrace has not yet"),
    ],
)
def test_a_type_known_by_name_is_refused_with_the_reason(name: str, why: str) -> None:
    found = task({"type": name, "anything": "goes"})
    (read,) = found.flows[0].tasks
    assert read.kind is Kind.UNSUPPORTED
    assert read.unsupported == f"`{name}` is not supported by this version of Headrace: {why}."
    assert [(each.path, each.message) for each in found.warnings] == [("tasks[0].type", read.unsupported)]


@pytest.mark.parametrize(
    "name",
    [
        "io.kestra.plugin.ee.kubernetes.runner.Kubernetes",
        "io.kestra.plugin.azure.runner.Batch",
        "io.kestra.plugin.ee.azure.runner.Batch",
        "io.kestra.plugin.ee.gcp.runner.Batch",
        "io.kestra.plugin.ee.gcp.runner.CloudRun",
        "io.kestra.plugin.gcp.runner.Batch",
        "io.kestra.plugin.gcp.runner.CloudRun",
        "io.kestra.plugin.kubernetes.runner.KubernetesTaskRunner",
    ],
)
def test_a_task_runner_that_is_not_there_is_refused(name: str) -> None:
    found = task({"type": "io.kestra.plugin.scripts.shell.Commands", "commands": ["x"], "taskRunner": {"type": name}})
    assert "is not supported by this version of Headrace: " in str(found.flows[0].tasks[0].unsupported)
    assert found.warnings


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ appLink() }}", "Apps are a feature of Kestra's Enterprise Edition"),
        ("{{ assets() }}", "Assets are a feature of Kestra's Enterprise Edition"),
        ("{{ credential('x') }}", "managed credentials are a feature of Kestra's Enterprise Edition"),
        ("{{ i18n('x') }}", "there are no resource bundles"),
        ("{{ parent() }}", "template inheritance is not part of Kestra's expressions"),
        ("{{ subflow('x') }}", "start the other flow with a Subflow task"),
        ("{% autoescape false %}", "The tag `autoescape` is not part of Kestra's expressions"),
        ("{% cache 'x' %}", "The tag `cache` is not part of Kestra's expressions"),
        ("{% embed 'x' %}", "The tag `embed` is not part of Kestra's expressions"),
        ("{% extends 'x' %}", "The tag `extends` is not part of Kestra's expressions"),
        ("{% flush %}", "The tag `flush` is not part of Kestra's expressions"),
        ("{% from 'x' %}", "The tag `from` is not part of Kestra's expressions"),
        ("{% import 'x' %}", "The tag `import` is not part of Kestra's expressions"),
        ("{% include 'x' %}", "The tag `include` is not part of Kestra's expressions"),
        ("{% parallel %}", "The tag `parallel` is not part of Kestra's expressions"),
    ],
)
def test_an_expression_that_cannot_be_is_refused_with_the_reason(template: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expressions().check(template)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"logToFile": True}, "logs are kept in the log store"),
        ({"workerGroup": {"key": "big"}}, "there are no worker groups"),
        ({"workerSelector": {"tags": ["big"]}}, "there are no worker groups"),
        ({"version": "1.0.0"}, "the installed version of a plugin is the one that runs"),
        ({"assets": {"inputs": []}}, "lineage is not recorded"),
    ],
)
def test_what_a_flow_trigger_cannot_do_is_refused(properties: dict[str, Any], why: str) -> None:
    found = trigger({"type": "io.kestra.plugin.core.trigger.Flow", **properties})
    (name,) = properties
    assert [(each.path, each.message) for each in found.errors] == [
        (f"triggers[0].{name}", f"The trigger `t` cannot fire: `{name}` is not supported: {why}.")
    ]


def test_what_is_switched_off_needs_no_support() -> None:
    listening = {"type": "io.kestra.plugin.core.trigger.Flow", "logToFile": False}
    for more in ({}, {"workerGroup": {"key": "big"}, "disabled": True}):
        found = trigger({**listening, **more})
        assert not found.errors
        assert not found.warnings


@pytest.mark.parametrize(
    "properties",
    [
        {
            "type": "io.kestra.plugin.core.http.Trigger", "uri": "http://127.0.0.1/x", "interval": "PT5M",
            "method": "POST", "headers": {"a": "b"}, "params": {"q": "x"}, "body": "{}", "formData": {"a": "b"},
            "contentType": "application/json", "options": {"allowFailed": True}, "sslOptions": {"insecureTrustAllCertificates": True},
            "responseCondition": "{{ response.statusCode == 200 }}", "encryptBody": True,
        },
        {
            "type": "io.kestra.plugin.aws.sqs.Trigger", "queueUrl": "http://127.0.0.1/q", "interval": "PT5M",
            "maxRecords": 5, "maxDuration": "PT10S", "serdeType": "JSON", "visibilityTimeout": 60, "autoDelete": False,
            "region": "eu-west-1", "accessKeyId": "a", "secretKeyId": "b", "sessionToken": "c",
            "endpointOverride": "http://127.0.0.1",
        },
        {"type": "io.kestra.plugin.aws.sqs.RealtimeTrigger", "queueUrl": "http://127.0.0.1/q", "serdeType": "JSON"},
        {
            "type": "io.kestra.plugin.core.trigger.McpToolTrigger", "toolName": "count", "title": "Count",
            "toolDescription": "Counts", "mcpServer": "default", "annotations": {"readOnlyHint": True},
        },
    ],
    ids=lambda properties: properties["type"].rpartition(".plugin.")[2],
)  # fmt: skip
def test_a_trigger_is_read_and_checked(properties: dict[str, Any]) -> None:
    found = trigger(properties)
    assert not found.errors
    assert found.flows[0].triggers[0].properties == {key: value for key, value in properties.items() if key != "type"}
    will_not = ["The trigger `t` will not fire: triggers of its type start nothing in this version."]
    assert [each.message for each in found.warnings] == (will_not if "Mcp" in properties["type"] else [])
    broken = trigger({**properties, "intervall": "PT1S"})
    assert [each.path for each in broken.errors] == ["triggers[0].intervall"]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Trigger", {"maxRecords": 5}),
        ("RealtimeTrigger", {"waitTime": "PT20S", "maxNumberOfMessage": 5, "clientRetryMaxAttempts": 3}),
    ],
)
def test_settings_of_kestras_client_are_taken_and_told_of(kind: str, more: dict[str, Any]) -> None:
    settings = {
        "compatibilityMode": False, "forcePathStyle": False, "maxConcurrency": 50,
        "connectionAcquisitionTimeout": "PT5S",
    }  # fmt: skip
    found = trigger({"type": f"io.kestra.plugin.aws.sqs.{kind}", "queueUrl": "http://127.0.0.1/q", **settings, **more})
    assert not found.errors
    told = [name for name in (*settings, *more) if name != "maxRecords"]
    assert sorted(each.message.split("`")[1] for each in found.warnings) == sorted(told)


def test_a_role_cannot_be_taken_for_a_queue() -> None:
    role = {
        "stsRoleArn": "arn:aws:iam::1:role/x", "stsRoleExternalId": "x", "stsRoleSessionName": "x",
        "stsRoleSessionDuration": "PT15M", "stsEndpointOverride": "http://127.0.0.1",
    }  # fmt: skip
    for kind in ("Trigger", "RealtimeTrigger"):
        found = trigger(
            {"type": f"io.kestra.plugin.aws.sqs.{kind}", "queueUrl": "x", "maxRecords": 1, **role}
            if kind == "Trigger"
            else {"type": f"io.kestra.plugin.aws.sqs.{kind}", "queueUrl": "x", **role}
        )
        assert [each.path for each in found.errors] == ["triggers[0].stsRoleArn"]


def test_a_backfill_is_not_a_property_of_a_flow() -> None:
    found = trigger(
        {
            "type": "io.kestra.plugin.core.trigger.Schedule",
            "cron": "@daily",
            "disabled": True,
            "backfill": {"start": "x"},
        }
    )
    assert [each.message for each in found.warnings] == ["`backfill` is deprecated: a backfill is started by the API."]


OLD = "io.kestra.core.tasks."
CONDITIONS = "io.kestra.core.models.conditions.types."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD + "debugs.Return", "debug.Return"),
        (OLD + "debugs.Echo", "debug.Echo"),
        (OLD + "executions.Counts", "execution.Count"),
        (OLD + "executions.Fail", "execution.Fail"),
        (OLD + "executions.Labels", "execution.Labels"),
        (OLD + "executions.PurgeExecution", "execution.PurgeExecutions"),
        (OLD + "executions.Resume", "execution.Resume"),
        (OLD + "flows.AllowFailure", "flow.AllowFailure"),
        (OLD + "flows.Dag", "flow.Dag"),
        (OLD + "flows.EachParallel", "flow.EachParallel"),
        (OLD + "flows.EachSequential", "flow.EachSequential"),
        (OLD + "flows.Flow", "flow.Subflow"),
        (OLD + "flows.ForEachItem", "flow.ForEachItem"),
        (OLD + "flows.If", "flow.If"),
        (OLD + "flows.Parallel", "flow.Parallel"),
        (OLD + "flows.Pause", "flow.Pause"),
        (OLD + "flows.Sequential", "flow.Sequential"),
        (OLD + "flows.Subflow", "flow.Subflow"),
        (OLD + "flows.Switch", "flow.Switch"),
        (OLD + "flows.Template", "flow.Template"),
        (OLD + "flows.WaitFor", "flow.LoopUntil"),
        (OLD + "flows.Worker", "flow.WorkingDirectory"),
        (OLD + "flows.WorkingDirectory", "flow.WorkingDirectory"),
        (CORE + "flow.WaitFor", "flow.LoopUntil"),
        (OLD + "log.Fetch", "log.Fetch"),
        (OLD + "log.Log", "log.Log"),
        (OLD + "states.Get", "state.Get"),
        (OLD + "storages.Concat", "storage.Concat"),
        (OLD + "storages.LocalFiles", "storage.LocalFiles"),
        (OLD + "storages.Purge", "execution.PurgeExecutions"),
        (OLD + "storages.PurgeExecution", "storage.PurgeCurrentExecutionFiles"),
        (OLD + "templating.TemplatedTask", "templating.TemplatedTask"),
        (OLD + "trigger.Toggle", "trigger.Toggle"),
        ("io.kestra.plugin.fs.http.Request", "http.Request"),
        ("io.kestra.core.models.triggers.types.Schedule", "trigger.Schedule"),
        ("io.kestra.core.models.triggers.types.Flow", "trigger.Flow"),
        ("io.kestra.core.models.triggers.types.Webhook", "trigger.Webhook"),
        (CONDITIONS + "DateTimeBetweenCondition", "condition.DateTimeBetween"),
        (CONDITIONS + "DayWeekCondition", "condition.DayWeek"),
        (CONDITIONS + "DayWeekInMonthCondition", "condition.DayWeekInMonth"),
        (CONDITIONS + "ExecutionFlowCondition", "condition.ExecutionFlow"),
        (CONDITIONS + "ExecutionNamespaceCondition", "condition.ExecutionNamespace"),
        (CONDITIONS + "ExecutionStatusCondition", "condition.ExecutionStatus"),
        (CONDITIONS + "ExpressionCondition", "condition.Expression"),
        (CONDITIONS + "VariableCondition", "condition.Expression"),
        (CONDITIONS + "FlowCondition", "condition.FlowCondition"),
        (CONDITIONS + "FlowNamespaceCondition", "condition.FlowNamespaceCondition"),
        (CONDITIONS + "HasRetryAttemptCondition", "condition.HasRetryAttempt"),
        (CONDITIONS + "MultipleCondition", "condition.MultipleCondition"),
        (CONDITIONS + "NotCondition", "condition.Not"),
        (CONDITIONS + "OrCondition", "condition.Or"),
        (CONDITIONS + "PublicHolidayCondition", "condition.PublicHoliday"),
        (CONDITIONS + "TimeBetweenCondition", "condition.TimeBetween"),
        (CONDITIONS + "WeekendCondition", "condition.Weekend"),
        (CORE + "condition.ExpressionCondition", "condition.Expression"),
        (CORE + "condition.ExecutionFlowCondition", "condition.ExecutionFlow"),
    ],
)
def test_a_name_of_0_x_stands_for_the_one_of_today(old: str, new: str) -> None:
    assert Registry.load().canonical(old) == CORE + new


@pytest.mark.parametrize(
    ("name", "plugin"),
    [
        ("io.kestra.plugin.notifications.slack.SlackIncomingWebhook", "notifications"),
        ("io.kestra.plugin.gcp.bigquery.Query", "gcp"),
        ("io.kestra.plugin.dbt.cli.DbtCLI", "dbt"),
    ],
)
def test_a_type_of_a_plugin_that_is_not_there_says_so_and_names_no_other(name: str, plugin: str) -> None:
    (error,) = task({"type": name}).errors
    assert error.message == (
        f"Unknown type `{name}`: Kestra's plugin `{plugin}` is not there. `headrace tasks` lists what is;"
        " HTTP requests and scripts do the rest."
    )


def test_a_plugin_that_is_misspelt_is_found() -> None:
    (error,) = task({"type": "io.kestra.plugin.scirpts.python.Script"}).errors
    assert error.message.endswith("Did you mean `io.kestra.plugin.scripts.python.Script`?")


@pytest.mark.parametrize("name", ["Count", "Resume", "Kill"])
def test_a_type_that_2_0_moved_out_of_the_core_names_the_nearest(name: str) -> None:
    (error,) = task({"type": f"io.kestra.plugin.kestra.executions.{name}"}).errors
    assert error.message == (
        f"Unknown type `io.kestra.plugin.kestra.executions.{name}`. Did you mean `{CORE}execution.{name}`?"
    )
