"""What cannot be read from the code: what Kestra has, and where we do otherwise."""

from __future__ import annotations

from collections.abc import Mapping

_CORE = "io.kestra.plugin.core."

_TASKS = """
debug.Echo debug.Return execution.Assert execution.Count execution.Exit execution.Fail execution.Kill
execution.Labels execution.PurgeExecutions execution.Resume execution.SetVariables execution.UnsetVariables
flow.AllowFailure flow.Approval flow.Dag flow.EachParallel flow.EachSequential flow.ForEach flow.ForEachItem flow.If
flow.Loop flow.LoopUntil flow.Parallel flow.Pause flow.PurgeFlows flow.Sequential flow.Sleep flow.Subflow
flow.Switch flow.Template flow.WorkingDirectory http.Download http.Request http.SseRequest kv.Delete kv.Get
kv.GetKeys kv.PurgeKV kv.Set kv.Version log.Fetch log.Log log.PurgeLogs namespace.DeleteFiles
namespace.DownloadFiles namespace.PurgeFiles namespace.UploadFiles namespace.Version output.OutputValues
state.Delete state.Get state.Set storage.Concat storage.DeduplicateItems storage.Delete storage.FilterItems
storage.LocalFiles storage.PurgeCurrentExecutionFiles storage.Reverse storage.Size storage.Split storage.Write
templating.TemplatedTask trigger.Toggle
"""
_FILTERS = """
abbreviate abs base64decode base64encode capitalize chunk className condenseString date dateAdd default distinct
endsWith escapeChar first flatten indent join jq json keys last length lower md5 merge nindent number numberFormat
regexExtract regexMatch regexReplace replace reverse rsort sha1 sha256 sha512 slice slugify sort split startsWith
string substringAfter substringAfterLast substringBefore substringBeforeLast timestamp timestampMicro timestampMilli
timestampNano title toIon toJson trim upper urldecode urlencode values yaml
"""
_FUNCTIONS = """
appLink assets block credential currentEachOutput dayOfMonth dayOfWeek decrypt encrypt env errorLogs fetchContext
fileExists fileSize fileURI fromIon fromJson hourOfDay http i18n id isDateBetween isDayWeekInMonth isFileEmpty
isLastWorkingDay isPublicHoliday isWeekend iterationOutput json ksuid kv loopOutputs max min monthOfYear nanoId now
parent printContext randomInt randomPort range read render renderOnce secret subflow tasksWithState uuid yaml
"""

KESTRA: Mapping[str, tuple[str, ...]] = {
    "task": tuple(_CORE + name for name in _TASKS.split()),
    "filter": tuple(_FILTERS.split()),
    "function": tuple(_FUNCTIONS.split()),
    "test": ("defined", "empty", "equalTo", "even", "isIn", "iterable", "json", "map", "null", "odd"),
    "operator": (
        "+", "-", "*", "/", "%", "~", "..", "==", "!=", "equals", "<", ">", "<=", ">=", "and", "or", "not", "contains",
        "isIn", "matches", "is", "? :", "??", "???", "|", ".", "[ ]", "{ }",
    ),
    "tag": ("if", "elseif", "else", "for", "set", "macro", "block", "filter", "raw", "verbatim"),
    "no tag": ("autoescape", "cache", "embed", "extends", "flush", "from", "import", "include", "parallel"),
}  # fmt: skip
"""Names of Kestra 1.x by kind; "no tag" are those of Pebble that Kestra took out."""

_QUEUES = ("SqsTrigger", "SqsRealtimeTrigger")
_LOOKS = ("waitTime", "maxNumberOfMessage", "clientRetryMaxAttempts")
_QUEUE: Mapping[str, str] = {
    "stsRoleArn": "refused: what runs Headrace has a role of its own, or the trigger names an access key.",
    **dict.fromkeys(
        ("stsRoleExternalId", "stsRoleSessionName", "stsRoleSessionDuration", "stsEndpointOverride"),
        "has no effect: no role is taken.",
    ),
    **dict.fromkeys(
        ("compatibilityMode", "forcePathStyle", "maxConcurrency", "connectionAcquisitionTimeout"),
        "has no effect: a setting of Kestra's client.",
    ),
}

DIFFERENCES: Mapping[str, str] = {
    "FlowProperties.tenantId": "there is one tenant, `main`; the property is checked and has no effect.",
    "FlowProperties.revision": "given by the store, as in Kestra; what the source says has no effect.",
    "FlowProperties.deleted": "given by the store, as in Kestra; what the source says has no effect.",
    "FlowProperties.pluginDefaults": "`forced` values of a flow work, which late 1.x versions pass over.",
    "FlowProperties.concurrency": "a RETRYING execution holds no slot while all of it waits, and needs one again "
    "before its next attempt (QUEUED, where none is free); 0.20 let it go on without.",
    "TaskProperties.retry": "an attempt whose machine was lost is not counted.",
    "TaskProperties.resubmit": "ours: Kestra has no such property.",
    "Trigger.allowConcurrent": "Flow triggers start one execution for each change, whatever still runs.",
    "Trigger.logLevel": "triggers write no log of their own.",
    "Trigger.idempotencyKey": "ours: Kestra has no such property.",
    "Webhook.auth": "ours: Kestra has no such property.",
    "Webhook.returnOutputs": "as `text/plain`, one output is its text, as documented; 1.x wraps it in JSON.",
    "io.headrace.aws.eventbridge.Trigger": "ours: Kestra has no such trigger.",
    "io.kestra.plugin.aws.s3.Trigger": "one execution for each file, when it comes; Kestra polls, and starts "
    "one for all it finds.",
    _CORE + "http.Trigger": "a request takes 10 seconds at most; whatever the status, `responseCondition` decides.",
    "io.kestra.plugin.aws.sqs.Trigger": "a message starts one execution, however often it is received; a look takes "
    "20 seconds and 1,000 messages at most.",
    "io.kestra.plugin.aws.sqs.RealtimeTrigger": "a message starts one execution, however often it is received; on AWS "
    "messages are looked for every minute. `trigger.messageId` is ours.",
    **{f"{trigger}.{name}": why for trigger in _QUEUES for name, why in _QUEUE.items()},
    **{f"SqsRealtimeTrigger.{name}": "has no effect: messages are taken as they come." for name in _LOOKS},
    "S3Trigger.bucket": "one that the stack watches (`watchedBuckets`); it is no expression.",
    "S3Trigger.interval": "has no effect: nothing polls.",
    "S3Trigger.maxKeys": "has no effect: nothing polls.",
    "S3Trigger.accessKeyId": "has no effect: the stack's own role reads the bucket.",
    "S3Trigger.secretKeyId": "has no effect: the stack's own role reads the bucket.",
    "S3Trigger.sessionToken": "has no effect: the stack's own role reads the bucket.",
    "S3Trigger.region": "has no effect: the stack's own role reads the bucket.",
    "Schedule.backfill": "what a flow says of one has no effect: a backfill is started by the API.",
    "Schedule.timezone": "UTC when not given, wherever the server is.",
    "ScheduleOnDates.timezone": "UTC when not given, wherever the server is.",
    "InputProperties.prefill": "checked; there are no forms that would show it.",
    "SelectInput.isRadio": "checked; there are no forms that would show it.",
    "retry.exponential": "waits grow as the documentation says (interval, then times `delayFactor`), not as in 0.20.",
    "RetryProperties.warningOnRetry": "from the second attempt on; 0.20 began with the third.",
    _CORE + "flow.Parallel": "a failure waits for the siblings that run, as in newer versions; 0.20 did not.",
    _CORE + "flow.Dag": "a dependency on a disabled task counts as done, as in newer versions; in 0.20 it never did.",
    _CORE + "flow.ForEach": "first tasks are created in the order of the values; tasks of one value never overlap.",
    _CORE + "flow.ForEachItem": "`taskrun.iteration` counts from 0, as from 1.1 on; a hundred executions at once.",
    _CORE + "flow.Loop": "2.0's, where it is a ForEach: its rounds are task runs of the same execution.",
    _CORE + "flow.LoopUntil": "the interval is PT1M and there are no maximums, as from 0.23 on.",
    _CORE + "flow.Template": "always enabled; a flow takes a template once, for its tasks keep their ids.",
    _CORE + "flow.WorkingDirectory": "`runIf` of its tasks is looked at, which 0.20 did not.",
    _CORE + "flow.Sleep": "holds a timer and no worker.",
    _CORE + "namespace.DeleteFiles": "`deleteParentFolder` has no effect: a folder exists as long as it has files.",
    "io.headrace.runner.ecs.Fargate": "ours, with the names of Kestra's Batch; on AWS only.",
    "io.kestra.plugin.ee.aws.runner.Batch": "on AWS only, in the stack's region and with its role: properties that "
    "name others are refused, and so are `bucket`, and `computeEnvironmentArn` without `jobQueueArn`. The queue is the "
    "stack's unless one is named.",
    _CORE + "runner.Process": "the script sees the worker's environment without the platform's own variables.",
    "input.BOOLEAN": "deprecated, as in Kestra: any text but `true` is false.",
    "filter.timestampMicro": "microseconds, as newer versions; 0.20 mixed nanoseconds in.",
    "filter.toJson": "a map's entries that are null stay, as printed ones do; 1.x leaves them out.",
    "filter.jq": "always a list, and bounded in time and size; a whole number that was written `1.0` becomes `1`.",
    "function.http": "bounded: 10 s and 1 MiB.",
    "function.kv": "a missing key is an error, as from 0.22 on.",
    "function.secret": "a missing secret is an error, as from 0.21 on.",
    "operator.matches": "regular expressions run on RE2: no back references, no look-around.",
    "filter.regexMatch": "on RE2: no back references, no look-around.",
    "filter.regexExtract": "on RE2: no back references, no look-around.",
    "filter.regexReplace": "on RE2: no back references, no look-around.",
}
"""By type, or class and property, or kind and name: what is otherwise than in some version of Kestra."""
