"""Types of Kestra's core, and of its scripts, that Headrace knows by name but does not have.

A flow that names one is told that this version does not support it, rather than that it does not exist.
Where a class for a type is registered, its entry here plays no part.
"""

from __future__ import annotations

_CORE = "io.kestra.plugin.core."
_OLD = "io.kestra.core.tasks."

_CORE_TASKS = frozenset(
    _CORE + name
    for name in [
        "debug.Return",
        "debug.Echo",
        "execution.Assert",
        "execution.Count",
        "execution.Exit",
        "execution.Fail",
        "execution.Kill",
        "execution.Labels",
        "execution.PurgeExecutions",
        "execution.Resume",
        "execution.SetVariables",
        "execution.UnsetVariables",
        "flow.Sleep",
        "flow.PurgeFlows",
        "http.Download",
        "http.Request",
        "http.SseRequest",
        "kv.Delete",
        "kv.Get",
        "kv.GetKeys",
        "kv.PurgeKV",
        "kv.Set",
        "kv.Version",
        "log.Fetch",
        "log.Log",
        "log.PurgeLogs",
        "metric.Publish",
        "namespace.DeleteFiles",
        "namespace.DownloadFiles",
        "namespace.PurgeFiles",
        "namespace.UploadFiles",
        "namespace.Version",
        "output.OutputValues",
        "state.Delete",
        "state.Get",
        "state.Set",
        "storage.Concat",
        "storage.DeduplicateItems",
        "storage.Delete",
        "storage.FilterItems",
        "storage.LocalFiles",
        "storage.PurgeCurrentExecutionFiles",
        "storage.Reverse",
        "storage.Size",
        "storage.Split",
        "storage.Write",
        "templating.TemplatedTask",
        "trigger.Toggle",
    ]
)

_LANGUAGES = "bun deno go groovy julia jvm lua node perl php powershell python r ruby shell"
_SCRIPTS = {
    f"io.kestra.plugin.scripts.{language}.{form}" for language in _LANGUAGES.split() for form in ("Commands", "Script")
}
TASKS: frozenset[str] = _CORE_TASKS | _SCRIPTS

REASONS: dict[str, str] = {
    _CORE + name: why
    for name, why in {
        "flow.PurgeFlows": "flows and their revisions are kept",
        "http.SseRequest": "an answer is read once and whole; use http.Request",
        "kv.PurgeKV": "an expired key counts as absent and goes by itself; use kv.Delete for others",
        "kv.Version": "a key has one version",
        "metric.Publish": "a script reports its metrics on its standard output",
        "namespace.PurgeFiles": "of a namespace file twenty earlier revisions are kept, the oldest go by themselves",
        "namespace.Version": "revisions of a namespace file are read over the API",
    }.items()
}
"""Why one is not there, and what is to be used instead."""


def reason(name: str) -> str:
    """Return why there is no task type *name*, which is one of TASKS."""
    return REASONS.get(name, "Kestra has this type of task, Headrace has not yet")


OLD_TASKS: dict[str, str] = {
    _OLD + old: _CORE + new
    for old, new in (
        line.split()
        for line in """
        debugs.Return debug.Return
        debugs.Echo debug.Echo
        executions.Counts execution.Count
        executions.Fail execution.Fail
        executions.Labels execution.Labels
        executions.PurgeExecution execution.PurgeExecutions
        executions.Resume execution.Resume
        flows.Sleep flow.Sleep
        log.Fetch log.Fetch
        log.Log log.Log
        states.Delete state.Delete
        states.Get state.Get
        states.Set state.Set
        storages.Concat storage.Concat
        storages.DeduplicateItems storage.DeduplicateItems
        storages.Delete storage.Delete
        storages.FilterItems storage.FilterItems
        storages.LocalFiles storage.LocalFiles
        storages.Purge execution.PurgeExecutions
        storages.PurgeExecution storage.PurgeCurrentExecutionFiles
        storages.Reverse storage.Reverse
        storages.Size storage.Size
        storages.Split storage.Split
        templating.TemplatedTask templating.TemplatedTask
        trigger.Toggle trigger.Toggle
        """.strip().splitlines()
    )
} | {
    "io.kestra.plugin.fs.http.Request": _CORE + "http.Request",
    "io.kestra.plugin.fs.http.Download": _CORE + "http.Download",
}
"""Names of 0.x and what they are called since. A class may list them as its ALIASES too."""

RUNNERS: frozenset[str] = frozenset(
    [
        "io.kestra.plugin.core.runner.Process",
        "io.kestra.plugin.scripts.runner.docker.Docker",
        "io.kestra.plugin.ee.aws.runner.Batch",
        "io.kestra.plugin.ee.azure.runner.Batch",
        "io.kestra.plugin.ee.gcp.runner.Batch",
        "io.kestra.plugin.ee.gcp.runner.CloudRun",
        "io.kestra.plugin.ee.kubernetes.runner.Kubernetes",
        "io.kestra.plugin.aws.runner.Batch",
        "io.kestra.plugin.azure.runner.Batch",
        "io.kestra.plugin.gcp.runner.Batch",
        "io.kestra.plugin.gcp.runner.CloudRun",
        "io.kestra.plugin.kubernetes.runner.KubernetesTaskRunner",
    ]
)

TRIGGERS: frozenset[str] = frozenset()
