"""The ports in memory: nothing survives the process, nothing touches the disk. For tests and the simulator."""

from __future__ import annotations

from headrace_engine.adapters.memory.claims import MemoryClaims
from headrace_engine.adapters.memory.clock import ManualClock
from headrace_engine.adapters.memory.executions import MemoryExecutions
from headrace_engine.adapters.memory.flows import MemoryFlows
from headrace_engine.adapters.memory.identity import MemoryAudit, MemoryIdentity
from headrace_engine.adapters.memory.journal import MemoryJournal
from headrace_engine.adapters.memory.kv import MemoryKV
from headrace_engine.adapters.memory.logs import MemoryLogs, MemoryMetrics
from headrace_engine.adapters.memory.queues import MemoryQueues
from headrace_engine.adapters.memory.secrets import MemoryCipher, MemorySecrets
from headrace_engine.adapters.memory.slots import MemorySlots
from headrace_engine.adapters.memory.storage import MemoryStorage
from headrace_engine.adapters.memory.triggers import MemoryTriggers

__all__ = [
    "ManualClock",
    "MemoryAudit",
    "MemoryCipher",
    "MemoryClaims",
    "MemoryExecutions",
    "MemoryFlows",
    "MemoryIdentity",
    "MemoryJournal",
    "MemoryKV",
    "MemoryLogs",
    "MemoryMetrics",
    "MemoryQueues",
    "MemorySecrets",
    "MemorySlots",
    "MemoryStorage",
    "MemoryTriggers",
]
