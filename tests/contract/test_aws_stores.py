"""The stores on DynamoDB and S3 keep every port's promise: in this process, and in an emulator under threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aws.ministack import Emulator, running
from aws.moto_table import moto_aws
from aws.resources import Aws, make
from headrace_engine.adapters.aws.audit import DynamoAudit
from headrace_engine.adapters.aws.claims import DynamoClaims
from headrace_engine.adapters.aws.executions import DynamoExecutions
from headrace_engine.adapters.aws.flows import DynamoFlows, DynamoTemplates
from headrace_engine.adapters.aws.identity import DynamoIdentity
from headrace_engine.adapters.aws.journal import DynamoJournal
from headrace_engine.adapters.aws.kv import DynamoKV
from headrace_engine.adapters.aws.logs import DynamoLogs, DynamoMetrics
from headrace_engine.adapters.aws.slots import DynamoSlots
from headrace_engine.adapters.aws.triggers import DynamoTriggers
from headrace_engine.adapters.local.clock import SystemClock
from headrace_engine.ports import (
    KV,
    Audit,
    Claims,
    Executions,
    Flows,
    Identity,
    Journal,
    Logs,
    Metrics,
    Slots,
    Storage,
    Triggers,
)
from headrace_engine.testing.contract import (
    AuditContract,
    ClaimsContract,
    ExecutionsContract,
    FlowsContract,
    IdentityContract,
    JournalContract,
    KVContract,
    LogsContract,
    MetricsContract,
    SlotsContract,
    StorageContract,
    TemplatesContract,
    TriggersContract,
)


class InMoto:
    """A table and a bucket in this process; moto loses updates under threads."""

    concurrent = False

    @pytest.fixture
    def aws(self) -> Iterator[Aws]:
        with moto_aws() as aws:
            yield aws


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("ministack")) as emulator:
        yield emulator


@pytest.mark.emulator
class InMinistack:
    """A table and a bucket of an account of its own."""

    @pytest.fixture
    def aws(self, emulator: Emulator) -> Aws:
        account = emulator.account()
        return make(account.client("dynamodb"), account.client("s3"), f"headrace-{account.id}")


class JournalSuite(JournalContract):
    @pytest.fixture
    def journal(self, aws: Aws) -> Journal:
        return DynamoJournal(aws.table, aws.overflow, SystemClock())


class FlowsSuite(FlowsContract):
    @pytest.fixture
    def flows(self, aws: Aws) -> Flows:
        return DynamoFlows(aws.table, aws.overflow)


class TemplatesSuite(TemplatesContract):
    @pytest.fixture
    def flows(self, aws: Aws) -> Flows:
        return DynamoTemplates(aws.table, aws.overflow)

    @pytest.fixture
    def beside(self, aws: Aws) -> Flows:
        return DynamoFlows(aws.table, aws.overflow)


class ExecutionsSuite(ExecutionsContract):
    @pytest.fixture
    def executions(self, aws: Aws) -> Executions:
        return DynamoExecutions(aws.table, aws.overflow)


class SlotsSuite(SlotsContract):
    @pytest.fixture
    def slots(self, aws: Aws) -> Slots:
        return DynamoSlots(aws.table)


class TriggersSuite(TriggersContract):
    @pytest.fixture
    def triggers(self, aws: Aws) -> Triggers:
        return DynamoTriggers(aws.table, aws.overflow)


class KVSuite(KVContract):
    @pytest.fixture
    def kv(self, aws: Aws) -> KV:
        return DynamoKV(aws.table, aws.overflow)


class ClaimsSuite(ClaimsContract):
    @pytest.fixture
    def claims(self, aws: Aws) -> Claims:
        return DynamoClaims(aws.table)


class LogsSuite(LogsContract):
    @pytest.fixture
    def executions(self, aws: Aws) -> Executions:
        return DynamoExecutions(aws.table, aws.overflow)

    @pytest.fixture
    def logs(self, aws: Aws) -> Logs:
        return DynamoLogs(aws.table, aws.overflow, SystemClock(), DynamoExecutions(aws.table, aws.overflow))


class MetricsSuite(MetricsContract):
    @pytest.fixture
    def executions(self, aws: Aws) -> Executions:
        return DynamoExecutions(aws.table, aws.overflow)

    @pytest.fixture
    def metrics(self, aws: Aws) -> Metrics:
        return DynamoMetrics(aws.table, aws.overflow, SystemClock(), DynamoExecutions(aws.table, aws.overflow))


class StorageSuite(StorageContract):
    @pytest.fixture
    def storage(self, aws: Aws) -> Storage:
        return aws.storage


class IdentitySuite(IdentityContract):
    @pytest.fixture
    def identity(self, aws: Aws) -> Identity:
        return DynamoIdentity(aws.table)


class AuditSuite(AuditContract):
    many = 30

    @pytest.fixture
    def audit(self, aws: Aws) -> Audit:
        return DynamoAudit(aws.table, page=5)


class TestIdentity(InMoto, IdentitySuite): ...


class TestAudit(InMoto, AuditSuite): ...


class TestJournal(InMoto, JournalSuite): ...


class TestFlows(InMoto, FlowsSuite): ...


class TestTemplates(InMoto, TemplatesSuite): ...


class TestExecutions(InMoto, ExecutionsSuite): ...


class TestSlots(InMoto, SlotsSuite): ...


class TestTriggers(InMoto, TriggersSuite): ...


class TestKV(InMoto, KVSuite): ...


class TestClaims(InMoto, ClaimsSuite): ...


class TestLogs(InMoto, LogsSuite): ...


class TestMetrics(InMoto, MetricsSuite): ...


class TestStorage(InMoto, StorageSuite): ...


class TestIdentityUnderThreads(InMinistack, IdentitySuite): ...


class TestAuditUnderThreads(InMinistack, AuditSuite): ...


class TestJournalUnderThreads(InMinistack, JournalSuite): ...


class TestFlowsUnderThreads(InMinistack, FlowsSuite): ...


class TestTemplatesUnderThreads(InMinistack, TemplatesSuite): ...


class TestExecutionsUnderThreads(InMinistack, ExecutionsSuite): ...


class TestSlotsUnderThreads(InMinistack, SlotsSuite): ...


class TestTriggersUnderThreads(InMinistack, TriggersSuite): ...


class TestKVUnderThreads(InMinistack, KVSuite): ...


class TestClaimsUnderThreads(InMinistack, ClaimsSuite): ...


class TestLogsUnderThreads(InMinistack, LogsSuite): ...


class TestMetricsUnderThreads(InMinistack, MetricsSuite): ...


class TestStorageUnderThreads(InMinistack, StorageSuite): ...
