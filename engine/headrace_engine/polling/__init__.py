"""Triggers that ask somebody again and again: an HTTP API, an SQS queue (reference §8.5)."""

from headrace_engine.polling.polls import Look, Polls

__all__ = ["Look", "Polls"]
