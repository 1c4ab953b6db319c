"""Logs as JSON lines with the execution's id, and metrics as CloudWatch reads them from the log (EMF)."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics

logger = Logger(level=None)
"""Level, service and format are Powertools' environment variables; the CDK app sets WARN."""
metrics = Metrics()
