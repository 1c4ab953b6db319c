"""The REST API (reference §14): functions from Request to Response, and one table of routes. Hosts are elsewhere."""

from headrace_engine.api.http import ApiError, Request, Response
from headrace_engine.api.routes import Api

__all__ = ["Api", "ApiError", "Request", "Response"]
