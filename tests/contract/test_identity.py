"""In memory and on SQLite, every store of users, tokens and the audit keeps its port's promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_engine.adapters.local.audit import SqliteAudit
from headrace_engine.adapters.local.database import Database
from headrace_engine.adapters.local.identity import SqliteIdentity
from headrace_engine.adapters.memory import MemoryAudit, MemoryIdentity
from headrace_engine.ports import Audit, Identity
from headrace_engine.testing.contract import AuditContract, IdentityContract


class TestIdentityInMemory(IdentityContract):
    @pytest.fixture
    def identity(self) -> Identity:
        return MemoryIdentity()


class TestAuditInMemory(AuditContract):
    @pytest.fixture
    def audit(self) -> Audit:
        return MemoryAudit()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "headrace.db") as database:
        yield database


class TestIdentityInSqlite(IdentityContract):
    @pytest.fixture
    def identity(self, database: Database) -> Identity:
        return SqliteIdentity(database)


class TestAuditInSqlite(AuditContract):
    @pytest.fixture
    def audit(self, database: Database) -> Audit:
        return SqliteAudit(database)
