"""The one error an expression can end in, and the one kind of it that `??` recovers from."""

from __future__ import annotations


class ExpressionError(ValueError):
    """A template that does not parse, or a value it asks for that cannot be had.

    It is always the flow author's to mend (or the data's), never a bug of ours: the message stands in the
    task run's log as it is. `line` and `column` count from 1 within the template and are None where the
    place is not known.
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class Missing(ExpressionError):  # noqa: N818 - it says what is the matter
    """A variable, key or index that is not there: what `??`, `???`, `default` and `is defined` catch.

    The text is Kestra's (reference §10.1): ``Unable to find `x` used in the expression `{{...}}` at line n``.
    """

    def __init__(self, name: object, expression: str, line: int | None) -> None:
        super().__init__(f"Unable to find `{name}` used in the expression `{expression}` at line {line or 1}", line)
        self.name = name
