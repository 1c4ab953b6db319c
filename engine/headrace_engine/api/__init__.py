"""The REST API (reference §14): functions from Request to Response, and one table of routes. Hosts are elsewhere."""

from headrace_engine.api.http import Admission, Answer, ApiError, Later, Request, Response, Stream
from headrace_engine.api.routes import Api

__all__ = ["Admission", "Answer", "Api", "ApiError", "Later", "Request", "Response", "Stream"]
