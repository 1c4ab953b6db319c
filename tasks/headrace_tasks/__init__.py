"""The task library: one module a plugin family. Third parties add theirs by the entry point ``headrace.tasks``.

This package re-exports every task type and task runner for that entry point.
"""

from headrace_runners.process import Process
from headrace_runners.unavailable import AwsBatch, Docker, EcsFargate, Kubernetes
from headrace_tasks.debug import Echo, Return
from headrace_tasks.execution import Assert, Exit, Fail, Labels, SetVariables, UnsetVariables
from headrace_tasks.executions import Count, Kill, PurgeExecutions, Resume
from headrace_tasks.flow import Sleep
from headrace_tasks.for_each_item import MergeItems, SplitItems
from headrace_tasks.http import Download, Request
from headrace_tasks.jdbc import (
    DuckDBQueries,
    DuckDBQuery,
    PostgreSQLQueries,
    PostgreSQLQuery,
    SQLiteQueries,
    SQLiteQuery,
)
from headrace_tasks.kv import Delete as KVDelete
from headrace_tasks.kv import Get as KVGet
from headrace_tasks.kv import GetKeys as KVGetKeys
from headrace_tasks.kv import Set as KVSet
from headrace_tasks.log import Log
from headrace_tasks.logs import Fetch, PurgeLogs
from headrace_tasks.namespace import DeleteFiles, DownloadFiles, UploadFiles
from headrace_tasks.output import OutputValues
from headrace_tasks.scripts import (
    NodeCommands,
    NodeScript,
    PythonCommands,
    PythonScript,
    ShellCommands,
    ShellScript,
)
from headrace_tasks.state import Delete as StateDelete
from headrace_tasks.state import Get as StateGet
from headrace_tasks.state import Set as StateSet
from headrace_tasks.storage import (
    Concat,
    LocalFiles,
    PurgeCurrentExecutionFiles,
    Reverse,
    Size,
    Split,
    Write,
)
from headrace_tasks.storage import Delete as StorageDelete
from headrace_tasks.storage_items import DeduplicateItems, FilterItems
from headrace_tasks.templating import TemplatedTask
from headrace_tasks.trigger import Toggle
from headrace_tasks.working_directory import CollectWorkingDirectory, PrepareWorkingDirectory

__all__ = [
    "Assert",
    "AwsBatch",
    "CollectWorkingDirectory",
    "Concat",
    "Count",
    "DeduplicateItems",
    "DeleteFiles",
    "Docker",
    "Download",
    "DownloadFiles",
    "DuckDBQueries",
    "DuckDBQuery",
    "Echo",
    "EcsFargate",
    "Exit",
    "Fail",
    "Fetch",
    "FilterItems",
    "KVDelete",
    "KVGet",
    "KVGetKeys",
    "KVSet",
    "Kill",
    "Kubernetes",
    "Labels",
    "LocalFiles",
    "Log",
    "MergeItems",
    "NodeCommands",
    "NodeScript",
    "OutputValues",
    "PostgreSQLQueries",
    "PostgreSQLQuery",
    "PrepareWorkingDirectory",
    "Process",
    "PurgeCurrentExecutionFiles",
    "PurgeExecutions",
    "PurgeLogs",
    "PythonCommands",
    "PythonScript",
    "Request",
    "Resume",
    "Return",
    "Reverse",
    "SQLiteQueries",
    "SQLiteQuery",
    "SetVariables",
    "ShellCommands",
    "ShellScript",
    "Size",
    "Sleep",
    "Split",
    "SplitItems",
    "StateDelete",
    "StateGet",
    "StateSet",
    "StorageDelete",
    "TemplatedTask",
    "Toggle",
    "UnsetVariables",
    "UploadFiles",
    "Write",
]
