"""Just enough reading of SQL to find the ends of statements and the named parameters (``:name``) in them.

Texts, quoted names, comments and dollar quotes are passed over; ``::type`` is a cast, ``a[1:n]`` a slice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

_TOKEN = re.compile(
    r"""
      (?P<text>\b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`)
    | (?P<comment>--[^\n]* | /\*.*?\*/)
    | (?P<dollar>\$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?P=tag)\$ | \$\$.*?\$\$)
    | (?P<cast>::)
    | (?P<parameter>(?<![\w\])]):[A-Za-z_]\w*)
    | (?P<end>;)
    | (?P<other>[^'"`\-/$:;eE\w]+ | \w+ | .)
    """,
    re.VERBOSE | re.DOTALL,
)


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(sql):
        yield match.lastgroup if match.lastgroup != "tag" else "dollar", match[0]  # type: ignore[misc] # every branch is named


def split(sql: str, is_complete: Callable[[str], bool] = lambda _statement: True) -> list[str]:
    """Return the statements of *sql*, without those that are only comments.

    is_complete tells whether a statement, semicolon included, really ends there (a trigger has semicolons inside).
    """
    statements = []
    statement, has_content = "", False
    for kind, token in _tokens(sql):
        if kind == "end" and is_complete(statement + token):
            if has_content:
                statements.append(statement.strip())
            statement, has_content = "", False
            continue
        statement += token
        has_content = has_content or (kind != "comment" and not token.isspace())
    if has_content:
        statements.append(statement.strip())
    return statements


def words(sql: str) -> Iterator[str]:
    """Yield the words of *sql* in lower case, what is quoted or commented left out."""
    return (token.lower() for kind, token in _tokens(sql) if kind == "other" and token[0].isalpha())


def bind(sql: str, names: Collection[str], placeholder: Callable[[str], str]) -> tuple[str, list[str]]:
    """Return *sql* with placeholders for each ``:name`` of *names*, and those names in order of first use."""
    used: dict[str, None] = {}
    pieces = []
    for kind, token in _tokens(sql):
        if kind == "parameter" and token[1:] in names:
            used[token[1:]] = None
            pieces.append(placeholder(token[1:]))
        else:
            pieces.append(token)
    return "".join(pieces), list(used)
