"""The adapters on SQLite and a folder keep every port's promise."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_engine.adapters.local.cipher import AesCipher
from headrace_engine.adapters.local.claims import SqliteClaims
from headrace_engine.adapters.local.clock import SystemClock
from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.executions import SqliteExecutions
from headrace_engine.adapters.local.flows import SqliteFlows, SqliteTemplates
from headrace_engine.adapters.local.journal import SqliteJournal
from headrace_engine.adapters.local.kv import SqliteKV
from headrace_engine.adapters.local.logs import SqliteLogs, SqliteMetrics
from headrace_engine.adapters.local.secrets import EnvironmentSecrets
from headrace_engine.adapters.local.slots import SqliteSlots
from headrace_engine.adapters.local.storage import FolderStorage
from headrace_engine.adapters.local.triggers import SqliteTriggers
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
    TemplatesContract,
    TriggersContract,
)
from headrace_engine.testing.contract.secrets import SECRETS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "headrace.db") as database:
        yield database


class TestJournal(JournalContract):
    @pytest.fixture
    def journal(self, database: Database) -> Journal:
        return SqliteJournal(database)


class TestFlows(FlowsContract):
    @pytest.fixture
    def flows(self, database: Database) -> Flows:
        return SqliteFlows(database)


class TestTemplates(TemplatesContract):
    @pytest.fixture
    def flows(self, database: Database) -> Flows:
        return SqliteTemplates(database)

    @pytest.fixture
    def beside(self, database: Database) -> Flows:
        return SqliteFlows(database)


class TestExecutions(ExecutionsContract):
    @pytest.fixture
    def executions(self, database: Database) -> Executions:
        return SqliteExecutions(database)


class TestSlots(SlotsContract):
    @pytest.fixture
    def slots(self, database: Database) -> Slots:
        return SqliteSlots(database)


class TestTriggers(TriggersContract):
    @pytest.fixture
    def triggers(self, database: Database) -> Triggers:
        return SqliteTriggers(database)


class TestKV(KVContract):
    @pytest.fixture
    def kv(self, database: Database) -> KV:
        return SqliteKV(database)


class TestClaims(ClaimsContract):
    @pytest.fixture
    def claims(self, database: Database) -> Claims:
        return SqliteClaims(database)


class TestLogs(LogsContract):
    @pytest.fixture
    def executions(self, database: Database) -> Executions:
        return SqliteExecutions(database)

    @pytest.fixture
    def logs(self, database: Database) -> Logs:
        return SqliteLogs(database)


class TestMetrics(MetricsContract):
    @pytest.fixture
    def executions(self, database: Database) -> Executions:
        return SqliteExecutions(database)

    @pytest.fixture
    def metrics(self, database: Database) -> Metrics:
        return SqliteMetrics(database)


class TestStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return FolderStorage(tmp_path / "storage")


class TestSecrets(SecretsContract):
    @pytest.fixture
    def secrets(self) -> Secrets:
        return EnvironmentSecrets(
            {f"SECRET_{key}": base64.b64encode(value.encode()).decode() for key, value in SECRETS.items()}
        )


class TestCipher(CipherContract):
    @pytest.fixture
    def cipher(self) -> Cipher:
        return AesCipher(os.urandom(32))

    @pytest.fixture
    def stranger(self) -> Cipher:
        return AesCipher(os.urandom(32))


class TestClock(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()
