"""What every adapter must pass: one suite per port, for ours and for anybody else's.

A suite is a class of pytest tests over a fixture that yields the port. To try an adapter, derive from it in a
module of tests and give the fixture:

    class TestMyJournal(JournalContract):
        @pytest.fixture
        def journal(self) -> Journal:
            return MyJournal(...)

A store that is emulated without concurrency sets ``concurrent = False``; the races are skipped then, and only
then. Nothing sleeps: time is a parameter.
"""

from __future__ import annotations

import pytest

# Before the suites are imported, so that their assertions say what they compared.
for _module in (
    "channels",
    "claims",
    "clock",
    "executions",
    "flows",
    "identity",
    "journal",
    "kv",
    "logs",
    "secrets",
    "slots",
    "storage",
    "triggers",
):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from headrace_engine.testing.contract.channels import (  # noqa: E402  # see above
    BusContract,
    MailboxContract,
    TimersContract,
)
from headrace_engine.testing.contract.claims import ClaimsContract  # noqa: E402  # see above
from headrace_engine.testing.contract.clock import ClockContract  # noqa: E402
from headrace_engine.testing.contract.executions import ExecutionsContract  # noqa: E402
from headrace_engine.testing.contract.flows import FlowsContract, TemplatesContract  # noqa: E402
from headrace_engine.testing.contract.identity import AuditContract, IdentityContract  # noqa: E402
from headrace_engine.testing.contract.journal import JournalContract  # noqa: E402
from headrace_engine.testing.contract.kv import KVContract  # noqa: E402
from headrace_engine.testing.contract.logs import LogsContract, MetricsContract  # noqa: E402
from headrace_engine.testing.contract.secrets import CipherContract, SecretsContract  # noqa: E402
from headrace_engine.testing.contract.slots import SlotsContract  # noqa: E402
from headrace_engine.testing.contract.storage import StorageContract  # noqa: E402
from headrace_engine.testing.contract.triggers import TriggersContract  # noqa: E402

__all__ = [
    "AuditContract",
    "BusContract",
    "CipherContract",
    "ClaimsContract",
    "ClockContract",
    "ExecutionsContract",
    "FlowsContract",
    "IdentityContract",
    "JournalContract",
    "KVContract",
    "LogsContract",
    "MailboxContract",
    "MetricsContract",
    "SecretsContract",
    "SlotsContract",
    "StorageContract",
    "TemplatesContract",
    "TimersContract",
    "TriggersContract",
]
