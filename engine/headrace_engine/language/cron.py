"""The cron expressions that a Schedule accepts (reference §8.1): unix cron, with seconds when asked for."""

from __future__ import annotations

import re

NICKNAMES = frozenset(["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"])
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_PART = re.compile(r"(?P<first>\*|\w{1,9})(?:-(?P<last>\w{1,9}))?(?:/(?P<step>\d{1,4}))?", re.ASCII)


def check_cron(text: str, *, with_seconds: bool = False) -> None:
    """Raise ValueError, with what is wrong, when *text* is no cron expression."""
    if text.strip().startswith("@"):
        if text.strip().lower() not in NICKNAMES:
            raise ValueError(f"`{text}` is no cron nickname: expected one of {', '.join(sorted(NICKNAMES))}.")
        return
    fields = _FIELDS if with_seconds else _FIELDS[1:]
    parts = text.split()
    if len(parts) != len(fields):
        names = ", ".join(name for name, *_ in fields)
        raise ValueError(f"A cron expression has {len(fields)} fields ({names}); `{text}` has {len(parts)}.")
    for part, (name, low, high, names_of_values) in zip(parts, fields, strict=True):
        for item in part.split(","):
            _check_item(item, name, low, high, names_of_values)


def _check_item(item: str, field: str, low: int, high: int, names: dict[str, int]) -> None:
    match = _PART.fullmatch(item)
    if match is None or (match["first"] == "*" and match["last"]):
        raise ValueError(f"`{item}` is no valid {field} of a cron expression.")
    values = []
    for word in (match["first"], match["last"]):
        if word is None or word == "*":
            continue
        value = int(word) if word.isdigit() else names.get(word.lower())
        if value is None or not low <= value <= high:
            raise ValueError(f"`{word}` is no valid {field} of a cron expression: expected {low} to {high}.")
        values.append(value)
    if len(values) == 2 and values[0] > values[1]:
        raise ValueError(f"The range `{item}` of the {field} in a cron expression runs backwards.")
    if match["step"] is not None and int(match["step"]) == 0:
        raise ValueError(f"`{item}` in a cron expression has a step of 0.")
