"""Webhooks (reference §8.3): who may call, what counts once, and what a call starts."""

from headrace_engine.webhooks.calls import (
    Call,
    NoSuchWebhookError,
    Nothing,
    Taken,
    TriggerError,
    WebhookDisabledError,
    Webhooks,
)
from headrace_engine.webhooks.jwt import KeysUnavailableError
from headrace_engine.webhooks.proof import UnauthorizedError

__all__ = [
    "Call",
    "KeysUnavailableError",
    "NoSuchWebhookError",
    "Nothing",
    "Taken",
    "TriggerError",
    "UnauthorizedError",
    "WebhookDisabledError",
    "Webhooks",
]
