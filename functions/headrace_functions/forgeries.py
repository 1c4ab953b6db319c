"""Messages of who may not send them: the log, a metric and the audit tell of each."""

from __future__ import annotations

from headrace_engine.adapters.aws.signing import ForgedError
from headrace_functions.observability import FORGED, count, logger
from headrace_functions.wiring import Wiring

_LONGEST = 200
"""Characters of what a forger chose."""


def refuse(wired: Wiring, forged: ForgedError, message_id: str) -> None:
    """Write down that a message was refused; it is not to come again. Raises PortError: then it is."""
    from headrace_engine.adapters.aws.audit import DynamoAudit  # noqa: PLC0415 - a stack may never see one
    from headrace_engine.identity import Kind  # noqa: PLC0415 - as above
    from headrace_engine.ports import AuditRecord  # noqa: PLC0415 - as above

    execution_id = forged.execution_id[:_LONGEST]
    logger.error("A forged message was refused", extra={"execution": execution_id, "why": str(forged)[: 4 * _LONGEST]})
    count(FORGED)
    record = AuditRecord(
        at=wired.clock.now(),
        id=message_id,
        who=forged.claimed[:_LONGEST],
        kind=Kind.NONE,
        client="",
        action="MESSAGE",
        target=f"/executions/{execution_id}",
        status=403,
        notes=(forged.reason[:_LONGEST],),
    )
    DynamoAudit(wired.table).write(record)
