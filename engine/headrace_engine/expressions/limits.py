"""How much one render may do.

Every bound is counted inside the evaluator while it works, so that a template is stopped before it has taken the
memory or the time, not after. All work of nested `render()` calls counts against the outermost render.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import ExpressionError


@dataclass(frozen=True)
class Limits:
    """The bounds of one render; each error names the bound it met."""

    output_chars: int = 8 * 1024 * 1024
    """Characters in the result, and in any text a filter or operator makes on the way."""
    loop_iterations: int = 100_000
    """Rounds of all `for` loops together."""
    range_items: int = 100_000
    """Items of one range, and of any list a filter or operator makes."""
    repeat_chars: int = 1024 * 1024
    """Characters that padding and indenting may add to a text."""
    steps: int = 1_000_000
    """Look-ups, operators, filters, functions, loop rounds and visited values together."""
    value_depth: int = 200
    """How deep maps and lists may be nested in a value that is printed, compared or converted."""
    expression_depth: int = 80
    """How deep one expression may be nested in its text."""
    tag_depth: int = 15
    """How deep `if` and `for` may be nested (CPython refuses twenty nested loops)."""
    template_chars: int = 4 * 1024 * 1024
    """Characters of one template."""
    macro_depth: int = 40
    """Macro and block calls inside one another."""
    render_depth: int = 20
    """`render()` calls inside one another."""
    render_rounds: int = 100
    """Rounds of recursive rendering before "Too many rendering attempts"."""
    integer_bits: int = 8_192
    """Size of a big integer."""
    regex_chars: int = 10_000
    """Length of a regular expression."""
    jq_seconds: float = 2.0
    """Time one jq program may take."""
    jq_memory_bytes: int = 512 * 1024 * 1024
    """Address space of the jq process."""
    jq_results: int = 100_000
    """Results of one jq program."""


@dataclass
class Budget:
    """What is left of `Limits` during one outermost render."""

    limits: Limits
    steps: int = field(init=False)
    rounds: int = field(init=False)

    def __post_init__(self) -> None:
        self.steps = self.limits.steps
        self.rounds = self.limits.loop_iterations

    def step(self, count: int = 1) -> None:
        """Account for *count* units of work."""
        self.steps -= count
        if self.steps < 0:
            raise ExpressionError(f"The expression takes more than {self.limits.steps} steps")

    def round(self) -> None:
        """Account for one round of a loop."""
        self.steps -= 1
        self.rounds -= 1
        if self.rounds < 0:
            raise ExpressionError(f"The expression loops more than {self.limits.loop_iterations} times")
        if self.steps < 0:
            self.step(0)

    def items(self, count: int) -> None:
        """Refuse a list of *count* items that is too long; what is allowed is paid for in steps."""
        if count > self.limits.range_items:
            raise ExpressionError(f"A list of {count} items is longer than the {self.limits.range_items} allowed")
        self.step(count)

    def chars(self, count: int) -> None:
        """Refuse a text of *count* characters that is too long.

        A text pays by its length, or copying megabytes in each of a million allowed steps would take hours.
        """
        if count > self.limits.output_chars:
            raise ExpressionError(f"The result is longer than the {self.limits.output_chars} characters allowed")
        if count > 1024:
            self.step(count >> 10)

    def integer(self, bits: int) -> None:
        """Refuse an integer of *bits* bits that is too large."""
        if bits > self.limits.integer_bits:
            raise ExpressionError(f"A number of {bits} bits is larger than the {self.limits.integer_bits} allowed")
