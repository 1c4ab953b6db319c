"""The task library: one module a plugin family. Third parties add theirs by the entry point ``headrace.tasks``."""

from collections.abc import Mapping, Sequence

HEADRACE_TYPES: Mapping[str, Sequence[str]] = {
    "headrace_tasks.debug": (
        "io.kestra.core.tasks.debugs.Echo",
        "io.kestra.core.tasks.debugs.Return",
        "io.kestra.plugin.core.debug.Echo",
        "io.kestra.plugin.core.debug.Return",
    ),
    "headrace_tasks.execution": (
        "io.kestra.core.tasks.executions.Fail",
        "io.kestra.core.tasks.executions.Labels",
        "io.kestra.plugin.core.execution.Assert",
        "io.kestra.plugin.core.execution.Exit",
        "io.kestra.plugin.core.execution.Fail",
        "io.kestra.plugin.core.execution.Labels",
        "io.kestra.plugin.core.execution.SetVariables",
        "io.kestra.plugin.core.execution.UnsetVariables",
    ),
    "headrace_tasks.executions": (
        "io.kestra.core.tasks.executions.Counts",
        "io.kestra.core.tasks.executions.Resume",
        "io.kestra.core.tasks.storages.Purge",
        "io.kestra.plugin.core.execution.Count",
        "io.kestra.plugin.core.execution.Kill",
        "io.kestra.plugin.core.execution.PurgeExecutions",
        "io.kestra.plugin.core.execution.Resume",
        "io.kestra.plugin.core.storage.Purge",
    ),
    "headrace_tasks.flow": ("io.kestra.plugin.core.flow.Sleep",),
    "headrace_tasks.for_each_item": (
        "io.headrace.foreachitem.Merge",
        "io.headrace.foreachitem.Split",
    ),
    "headrace_tasks.http": (
        "io.kestra.plugin.core.http.Download",
        "io.kestra.plugin.core.http.Request",
        "io.kestra.plugin.fs.http.Download",
        "io.kestra.plugin.fs.http.Request",
    ),
    "headrace_tasks.jdbc.duckdb": (
        "io.kestra.plugin.jdbc.duckdb.Queries",
        "io.kestra.plugin.jdbc.duckdb.Query",
    ),
    "headrace_tasks.jdbc.postgresql": (
        "io.kestra.plugin.jdbc.postgresql.Queries",
        "io.kestra.plugin.jdbc.postgresql.Query",
    ),
    "headrace_tasks.jdbc.sqlite": (
        "io.kestra.plugin.jdbc.sqlite.Queries",
        "io.kestra.plugin.jdbc.sqlite.Query",
    ),
    "headrace_tasks.kv": (
        "io.kestra.plugin.core.kv.Delete",
        "io.kestra.plugin.core.kv.Get",
        "io.kestra.plugin.core.kv.GetKeys",
        "io.kestra.plugin.core.kv.Set",
    ),
    "headrace_tasks.log": (
        "io.kestra.core.tasks.debugs.Log",
        "io.kestra.core.tasks.log.Log",
        "io.kestra.plugin.core.log.Log",
    ),
    "headrace_tasks.logs": (
        "io.kestra.core.tasks.log.Fetch",
        "io.kestra.plugin.core.log.Fetch",
        "io.kestra.plugin.core.log.PurgeLogs",
    ),
    "headrace_tasks.namespace": (
        "io.kestra.plugin.core.namespace.DeleteFiles",
        "io.kestra.plugin.core.namespace.DownloadFiles",
        "io.kestra.plugin.core.namespace.UploadFiles",
    ),
    "headrace_tasks.output": ("io.kestra.plugin.core.output.OutputValues",),
    "headrace_tasks.scripts": (
        "io.kestra.plugin.scripts.node.Commands",
        "io.kestra.plugin.scripts.node.Script",
        "io.kestra.plugin.scripts.python.Commands",
        "io.kestra.plugin.scripts.python.Script",
        "io.kestra.plugin.scripts.shell.Commands",
        "io.kestra.plugin.scripts.shell.Script",
    ),
    "headrace_tasks.state": (
        "io.kestra.core.tasks.states.Delete",
        "io.kestra.core.tasks.states.Get",
        "io.kestra.core.tasks.states.Set",
        "io.kestra.plugin.core.state.Delete",
        "io.kestra.plugin.core.state.Get",
        "io.kestra.plugin.core.state.Set",
    ),
    "headrace_tasks.storage": (
        "io.kestra.core.tasks.storages.Concat",
        "io.kestra.core.tasks.storages.Delete",
        "io.kestra.core.tasks.storages.LocalFiles",
        "io.kestra.core.tasks.storages.PurgeExecution",
        "io.kestra.core.tasks.storages.Reverse",
        "io.kestra.core.tasks.storages.Size",
        "io.kestra.core.tasks.storages.Split",
        "io.kestra.plugin.core.flow.LocalFiles",
        "io.kestra.plugin.core.storage.Concat",
        "io.kestra.plugin.core.storage.Delete",
        "io.kestra.plugin.core.storage.LocalFiles",
        "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles",
        "io.kestra.plugin.core.storage.PurgeExecution",
        "io.kestra.plugin.core.storage.PurgeExecutionFiles",
        "io.kestra.plugin.core.storage.Reverse",
        "io.kestra.plugin.core.storage.Size",
        "io.kestra.plugin.core.storage.Split",
        "io.kestra.plugin.core.storage.Write",
    ),
    "headrace_tasks.storage_items": (
        "io.kestra.core.tasks.storages.DeduplicateItems",
        "io.kestra.core.tasks.storages.FilterItems",
        "io.kestra.plugin.core.storage.DeduplicateItems",
        "io.kestra.plugin.core.storage.FilterItems",
    ),
    "headrace_tasks.templating": (
        "io.kestra.core.tasks.templating.TemplatedTask",
        "io.kestra.plugin.core.templating.TemplatedTask",
    ),
    "headrace_tasks.trigger": (
        "io.kestra.core.tasks.trigger.Toggle",
        "io.kestra.plugin.core.trigger.Toggle",
    ),
    "headrace_tasks.working_directory": (
        "io.headrace.workingdirectory.Collect",
        "io.headrace.workingdirectory.Prepare",
    ),
    "headrace_runners.process": (
        "io.kestra.core.models.tasks.runners.types.ProcessTaskRunner",
        "io.kestra.plugin.core.runner.Process",
    ),
    "headrace_runners.unavailable": (
        "io.kestra.plugin.aws.runner.Batch",
        "io.kestra.plugin.ee.aws.runner.Batch",
        "io.kestra.plugin.ee.aws.runner.EcsFargate",
        "io.kestra.plugin.ee.kubernetes.runner.Kubernetes",
        "io.kestra.plugin.kubernetes.runner.Kubernetes",
        "io.kestra.plugin.scripts.runner.docker.Docker",
        "io.kestra.plugin.scripts.runner.docker.DockerTaskRunner",
    ),
}
"""Which modules have which types of tasks and task runners, by all their names: a module is imported when one of its
types is first asked for (`headrace_engine.plugin`)."""
