"""Answers that are pages: templates with what they show, escaped, under a policy that runs no script but our own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from headrace_engine.api.http import ApiError, Response
from headrace_engine.inputs.problems import MASKED
from headrace_engine.pages.assets import address
from headrace_engine.sealing import is_sealed

HTML = "text/html; charset=utf-8"
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-type": HTML,
    "content-security-policy": _POLICY,
    # Not `no-referrer`: a browser would then not say from which site a form comes, and the gate asks.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
}


def connecting(origin: str) -> Mapping[str, str]:
    """Return the policy of a page whose script may also ask another site, which is ours."""
    return {"content-security-policy": _POLICY.replace("connect-src 'self'", f"connect-src 'self' {origin}")}


PRIVATE = {"referrer-policy": "no-referrer"}
"""For a page whose address is a secret."""
_LONGEST_VALUE = 100_000
_TITLES = {
    400: "Not understood",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Not found",
    409: "Not now",
    413: "Too large",
    422: "Not possible",
    429: "Too many attempts",
    503: "Not just now",
}


def page(template: str, status: int = 200, headers: Mapping[str, str] | None = None, **shown: Any) -> Response:
    """Return a page."""
    body = _ENVIRONMENT.get_template(template).render(**shown)
    return Response(status, body.encode("utf-8", "replace"), {**_HEADERS, **(headers or {})})


def moved(path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Send the browser to another page of this site."""
    return Response(303, headers={"location": path, **(headers or {})})


def failure(error: ApiError) -> Response:
    """Return a page that tells what went wrong."""
    message = error.message.partition(": ")[2] or error.message
    headers = {key: value for key, value in error.headers.items() if value}
    return page(
        "failure.html",
        error.status,
        headers,
        title=_TITLES.get(error.status, "Something went wrong"),
        message=message,
        sign_in=error.status == 401,
        principal=None,
    )


def path(*segments: object, **query: object) -> str:
    """Return a path of this site: each segment is one, whatever is in it."""
    found = "/" + "/".join(quote(str(segment), safe="") for segment in segments)
    given = {name: value for name, value in query.items() if value not in (None, "", [], ())}
    return f"{found}?{urlencode(given, doseq=True)}" if given else found


def masked(value: Any) -> Any:
    """Return a value with all that is sealed in it masked."""
    if is_sealed(value):
        return MASKED
    if isinstance(value, Mapping):
        return {str(key): masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def as_text(value: Any) -> str:
    """Return a value as people read it: texts as they are, the rest as JSON, nothing sealed, not without end."""
    value = masked(value)
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def files_in(value: Any) -> list[str]:
    """Return the URIs of stored files in a value, at any depth."""
    if isinstance(value, str):
        return [value] if value.startswith("kestra:///") and len(value) < 2000 else []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(uri for item in value for uri in files_in(item)))
    return []


def instant(date: datetime | None) -> str:
    """Return an instant to the second, in UTC."""
    return date.strftime("%Y-%m-%d %H:%M:%S") if date is not None else ""


def span(seconds: float) -> str:
    """Return a length of time in words as short as it needs."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"path": path, "asset": address}
    environment.filters |= {"as_text": as_text, "instant": instant, "span": span, "files_in": files_in}
    return environment


_ENVIRONMENT = _environment()
