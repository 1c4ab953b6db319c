"""Java's numbers on Python's.

An `int` is an Integer or a Long by its size, a `float` a Double, a `Decimal` a BigDecimal. Three marked kinds exist
because Kestra's `number` filter can make them and `className`, `toIon` and division show them.
Two Longs whose result leaves 64 bits are an error here; Java wraps around in silence, which no flow can want.
"""

from __future__ import annotations

import math
import struct
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, localcontext
from typing import Any

from .errors import ExpressionError
from .limits import Budget

Number = int | float | Decimal

# java.math.MathContext.DECIMAL128, what BigDecimal division uses in Pebble.
DECIMAL128 = Context(prec=34)
# BigDecimal's other operations are exact; this bounds them.
EXACT = Context(prec=1000, Emax=10_000, Emin=-10_000)


class Long(int):
    """A Java Long, also when it would fit an Integer."""


class BigInteger(int):
    """A java.math.BigInteger; the only integer that may leave 64 bits."""


class Float(float):
    """A Java Float: 32 bits."""

    def __new__(cls, value: float | str) -> Float:
        """Round to the nearest float of 32 bits."""
        try:
            return super().__new__(cls, struct.unpack("f", struct.pack("f", float(value)))[0])
        except OverflowError:
            return super().__new__(cls, float("inf") if float(value) > 0 else float("-inf"))


def is_number(value: object) -> bool:
    """Return whether *value* is a number; a boolean is none."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def float_text(value: float) -> str:
    """Return Java's Double.toString (Float.toString for a `Float`): shortest digits, exponent from 1.0E7 on."""
    if value != value:  # noqa: PLR0124 - NaN is the number that is not itself
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if str(float(value)).startswith("-") else "0.0"
    sign, digits, exponent = Decimal(_shortest(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    assert isinstance(exponent, int)  # noqa: S101 - finite by now
    point = len(text) + exponent
    minus = "-" if sign else ""
    if 1e-3 <= abs(value) < 1e7:
        if point <= 0:
            return f"{minus}0.{'0' * -point}{text}"
        whole = text[:point].ljust(point, "0")
        return f"{minus}{whole}.{text[point:] or '0'}"
    return f"{minus}{text[0]}.{text[1:] or '0'}E{point - 1}"


def _shortest(value: float) -> str:
    if not isinstance(value, Float):
        return repr(value)
    for precision in range(1, 10):
        text = f"{float(value):.{precision}g}"
        if Float(text) == value:
            return text
    return repr(float(value))


def decimal_text(value: Decimal) -> str:
    """Return BigDecimal's plain text, or its scientific one where the plain one would be very long."""
    if not value.is_finite() or abs(value.adjusted()) > 1000:
        return str(value)
    return format(value, "f")


def number_text(value: Number) -> str:
    """Return the text Java prints for a number."""
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    return int.__repr__(value)


def class_name(value: Number) -> str:
    """Return the Java class of a number."""
    match value:
        case BigInteger():
            return "java.math.BigInteger"
        case Long():
            return "java.lang.Long"
        case Float():
            return "java.lang.Float"
        case float():
            return "java.lang.Double"
        case Decimal():
            return "java.math.BigDecimal"
        case _ if -(2**31) <= value < 2**31:
            return "java.lang.Integer"
        case _ if -(2**63) <= value < 2**63:
            return "java.lang.Long"
        case _:
            return "java.math.BigInteger"


def arithmetic(budget: Budget, operator: str, left: Any, right: Any) -> Number:
    """Return *left operator right* for `+ - * / %` in Java's arithmetic.

    Integers divide to integers, towards zero; a remainder has the sign of the dividend; a Double wins over an
    integer, a BigDecimal over both.
    """
    if not is_number(left) or not is_number(right):
        raise ExpressionError(
            f"The operator {operator} needs numbers, not {_kind(left)} and {_kind(right)}; `~` joins texts"
        )
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return _decimals(operator, left, right)
    if isinstance(left, float) or isinstance(right, float):
        return _doubles(operator, left, right)
    return _integers(budget, operator, left, right)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, bool):
        return "a boolean"
    return "a number" if is_number(value) else "an object"


def _integers(budget: Budget, operator: str, left: int, right: int) -> int:
    big = isinstance(left, BigInteger) or isinstance(right, BigInteger) or max(_bits(left), _bits(right)) > 63
    a, b = int(left), int(right)
    if operator in "/%":
        if b == 0:
            raise ExpressionError("/ by zero")
        quotient = abs(a) // abs(b)
        if (a < 0) != (b < 0):
            quotient = -quotient
        result = quotient if operator == "/" else a - b * quotient
    else:
        if operator == "*":
            budget.integer(a.bit_length() + b.bit_length())
        result = {"+": a.__add__, "-": a.__sub__, "*": a.__mul__}[operator](b)
    budget.integer(result.bit_length())
    if big:
        return BigInteger(result)
    if _bits(result) > 63:
        raise ExpressionError(f"{a} {operator} {b} leaves the range of a 64-bit integer")
    return result


def _bits(value: int) -> int:
    return value.bit_length() if value >= 0 else (value + 1).bit_length()


def _doubles(operator: str, left: Number, right: Number) -> float:
    a, b = float(left), float(right)
    if operator == "+":
        return a + b
    if operator == "-":
        return a - b
    if operator == "*":
        return a * b
    if operator == "/":
        if b:
            return a / b
        return float("nan") if a == 0 or a != a else float("inf") * a  # noqa: PLR0124 - NaN
    if not b or a in (float("inf"), float("-inf")):
        return float("nan")
    return math.fmod(a, b)  # Java's `%`; Python's takes the sign of the divisor


def _decimals(operator: str, left: Number, right: Number) -> Decimal:
    a, b = to_decimal(left), to_decimal(right)
    try:
        with localcontext(EXACT):
            if operator == "+":
                return a + b
            if operator == "-":
                return a - b
            if operator == "*":
                return a * b
            return DECIMAL128.divide(a, b) if operator == "/" else a % b
    except (DivisionByZero, InvalidOperation, ArithmeticError):
        raise ExpressionError(f"Cannot compute {decimal_text(a)} {operator} {decimal_text(b)}") from None


def to_decimal(value: Number) -> Decimal:
    """Return *value* as a Decimal with the digits Java would print."""
    if isinstance(value, float):
        return Decimal(_shortest(value))
    return Decimal(value)


def compare(left: Number, right: Number) -> int:
    """Return -1, 0 or 1; exact also between a Decimal, an integer and a Double. NaN is above all, as in Java."""
    odd = (_is_nan(left), _is_nan(right))
    if any(odd):
        return odd[0] - odd[1]
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        a, b = to_decimal(left), to_decimal(right)
        return (a > b) - (a < b)
    return (left > right) - (left < right)


def _is_nan(value: Number) -> bool:
    return value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and math.isnan(value)


def parse(text: str, kind: str | None) -> Number:
    """Return the number *text* writes: of *kind*, or the smallest of Integer, Long, BigInteger, Float, Double.

    Source: reference §10.5, `number`.
    """
    text = text.strip()
    if len(text) > 1000:
        raise ExpressionError("A number of more than 1000 characters is too long")
    try:
        return _parse(text, kind.upper() if kind else None)
    except ExpressionError:
        raise
    except (ValueError, ArithmeticError):
        raise ExpressionError(f"`{text}` is not a number{f' of type {kind}' if kind else ''}") from None


def _parse(text: str, kind: str | None) -> Number:
    if "_" in text:
        raise ValueError(text)
    match kind:
        case "INT" | "INTEGER":
            return _ranged(int(text), 31)
        case "LONG":
            return Long(_ranged(int(text), 63))
        case "BIGINTEGER":
            return BigInteger(text)
        case "FLOAT":
            return Float(text)
        case "DOUBLE":
            return float(text)
        case "BIGDECIMAL":
            return _finite(EXACT.create_decimal(text))
        case None:
            return _guess(text)
        case _:
            raise ExpressionError(f"Unknown number type `{kind}`: use INT, LONG, FLOAT, DOUBLE, BIGINTEGER, BIGDECIMAL")


def _ranged(value: int, bits: int) -> int:
    if _bits(value) > bits:
        raise ValueError(value)
    return value


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError(value)
    return value


def _guess(text: str) -> Number:
    if text.lstrip("+-").isdigit():
        value = int(text)
        return value if _bits(value) <= 63 else BigInteger(value)
    # Java's parser takes the smallest floating type that keeps the digits.
    if not any(character.isdigit() for character in text):
        raise ValueError(text)
    single = Float(text)
    return single if Decimal(_shortest(single)) == Decimal(text) else float(text)
