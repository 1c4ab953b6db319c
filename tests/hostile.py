"""What is sent to see that nobody obeys it: templates, paths that lead out, ends of headers, and too much."""

from __future__ import annotations

PRODUCT = "9460507"
"""What the expressions below give when somebody evaluates them; it stands nowhere else."""
PAYLOADS = (
    "{{ 97 * 97531 }}",
    "${97*97531}<%= 97*97531 %>#{97*97531}",
    "{% set x = 97 * 97531 %}{{ x }}{{ ''.__class__.__mro__ }}",
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd\\..\\..",
    "kestra:///../../../etc/passwd",
    "x\r\nset-cookie: own=1\r\n\r\n<script>alert(1)</script>",
    "\0\x1b[31m\u202e\ud7ff\U0010ffff",
    "' OR 1=1; DROP TABLE flows; --",
    "a" * 20_000,
    "-1",
    "9" * 400,
    "[" * 2_000,
    "filters[x][EQUALS]",
)
