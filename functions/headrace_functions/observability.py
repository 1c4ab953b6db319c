"""Logs as JSON lines with the execution's id, and metrics as CloudWatch reads them from the log (EMF)."""

from __future__ import annotations

import os

from aws_lambda_powertools import Logger

logger = Logger(level=None)
"""Level, service and format are Powertools' environment variables; the CDK app sets WARN."""

FORGED = "ForgedMessages"
"""Messages that were refused: nobody signed them who may send them."""
LOST = "LostInvocations"
"""Asynchronous invocations that failed or were dropped, other than to give a sandbox to another namespace."""
DEAD = "DeadLetters"
"""Messages to executions that nobody could handle, and that were tried once more."""


def count(what: str) -> None:
    """Add one to a metric. Each is of something rare: a stack where it does not happen has, and pays, none."""
    from aws_lambda_powertools.metrics import MetricUnit, single_metric  # noqa: PLC0415 - as rare

    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Headrace")
    with single_metric(name=what, unit=MetricUnit.Count, value=1, namespace=namespace) as metric:
        metric.add_dimension("service", os.environ.get("POWERTOOLS_SERVICE_NAME", "headrace"))
