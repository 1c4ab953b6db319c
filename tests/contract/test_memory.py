"""The adapters in memory keep every port's promise."""

from __future__ import annotations

import pytest

from headrace_engine.adapters.memory import (
    ManualClock,
    MemoryCipher,
    MemoryClaims,
    MemoryExecutions,
    MemoryFlows,
    MemoryJournal,
    MemoryKV,
    MemoryLogs,
    MemoryMetrics,
    MemorySecrets,
    MemorySlots,
    MemoryStorage,
    MemoryTriggers,
)
from headrace_engine.ports import (
    KV,
    Cipher,
    Claims,
    Clock,
    Executions,
    Flows,
    Journal,
    Logs,
    Metrics,
    Secrets,
    Slots,
    Storage,
    Triggers,
)
from headrace_engine.testing.contract import (
    CipherContract,
    ClaimsContract,
    ClockContract,
    ExecutionsContract,
    FlowsContract,
    JournalContract,
    KVContract,
    LogsContract,
    MetricsContract,
    SecretsContract,
    SlotsContract,
    StorageContract,
    TriggersContract,
)
from headrace_engine.testing.contract.secrets import SECRETS


class TestJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> Journal:
        return MemoryJournal()


class TestFlows(FlowsContract):
    @pytest.fixture
    def flows(self) -> Flows:
        return MemoryFlows()


class TestExecutions(ExecutionsContract):
    @pytest.fixture
    def executions(self) -> Executions:
        return MemoryExecutions()


class TestSlots(SlotsContract):
    @pytest.fixture
    def slots(self) -> Slots:
        return MemorySlots()


class TestTriggers(TriggersContract):
    @pytest.fixture
    def triggers(self) -> Triggers:
        return MemoryTriggers()


class TestKV(KVContract):
    @pytest.fixture
    def kv(self) -> KV:
        return MemoryKV()


class TestClaims(ClaimsContract):
    @pytest.fixture
    def claims(self) -> Claims:
        return MemoryClaims()


class TestLogs(LogsContract):
    @pytest.fixture
    def executions(self) -> Executions:
        return MemoryExecutions()

    @pytest.fixture
    def logs(self) -> Logs:
        return MemoryLogs()


class TestMetrics(MetricsContract):
    @pytest.fixture
    def executions(self) -> Executions:
        return MemoryExecutions()

    @pytest.fixture
    def metrics(self) -> Metrics:
        return MemoryMetrics()


class TestStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage(ManualClock())


class TestSecrets(SecretsContract):
    @pytest.fixture
    def secrets(self) -> Secrets:
        return MemorySecrets(SECRETS)


class TestCipher(CipherContract):
    @pytest.fixture
    def cipher(self) -> Cipher:
        return MemoryCipher("mine")

    @pytest.fixture
    def stranger(self) -> Cipher:
        return MemoryCipher("another")


class TestClock(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return ManualClock()
