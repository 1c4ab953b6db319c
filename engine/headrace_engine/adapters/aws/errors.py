"""What AWS answered instead of what was asked, as PortError.

An error names the service, the operation and the error's code. It holds nothing of the request: validation messages
repeat what was sent, and what was sent may be anybody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from headrace_engine.ports import PortError

# These speak of principals, actions and resources, which is what somebody needs who must put it right.
_TELLING = ("AccessDenied", "Unauthorized", "NotFound", "NonExistent", "DoesNotExist", "NoSuch")


class AwsError(PortError):
    """A call to AWS failed; *code* is its error code, or the kind of failure when no answer came."""

    def __init__(self, service: str, operation: str, code: str, detail: str = "") -> None:
        super().__init__(f"{service} {operation} failed: {code}" + (f" ({detail})" if detail else ""))
        self.service = service
        self.operation = operation
        self.code = code


@contextmanager
def calling(service: str, operation: str) -> Iterator[None]:
    """Let errors of botocore leave the block as AwsError; one that the block expects, it catches itself."""
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        detail = error.response.get("Error", {}).get("Message", "") if any(word in code for word in _TELLING) else ""
        # Not chained: the original's text, and the frames it holds, may show the request.
        raise AwsError(service, operation, code, detail) from None
    except BotoCoreError as error:
        # What went wrong on the wire names the address, and nothing that was sent.
        detail = str(error) if isinstance(error, HTTPClientError) else ""
        raise AwsError(service, operation, type(error).__name__, detail) from None


def error_code(error: ClientError) -> str:
    """Return the code of an error that AWS answered with."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))
