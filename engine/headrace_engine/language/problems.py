"""What is wrong with a flow, said so that its author can mend it: where, what, and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from headrace_engine.model.frozen import dataclass

Path = tuple[str | int, ...]
"""The way from a document's root to a value: keys and list indexes."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where it is written (line and column count from 1)."""

    path: str
    message: str
    line: int
    column: int
    file: str | None = None

    def __str__(self) -> str:
        place = f"{self.file or '<flow>'}:{self.line}:{self.column}: "
        return f"{place}{self.path}: {self.message}" if self.path else place + self.message


class FlowError(Exception):
    """The source is no valid flow. problems holds everything that was found, in the order of the source."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PropertyError(ValueError):
    """Raised by a validator of a whole map to say which property of it is at fault."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def format_path(path: Path) -> str:
    """Return *path* as people write it: ``tasks[1].then[0].message``, ``cases["a b"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def nearest(word: str, candidates: Iterable[str], *, limit: int = 1) -> list[str]:
    """Return the names among *candidates* that *word* was probably meant to be, the likeliest first.

    Case, and for dotted names the package, count little: people misremember those first.
    """
    scored = []
    folded = word.casefold()
    for candidate in candidates:
        ratio = _likeness(folded, candidate.casefold())
        if "." in candidate:
            last = _likeness(folded.rpartition(".")[2], candidate.casefold().rpartition(".")[2])
            ratio = max(ratio, last * 0.95) if last >= _LIKE else ratio * 0.6
        if ratio >= _LIKE:
            scored.append((-ratio, candidate))
    return [candidate for _, candidate in sorted(scored)[:limit]]


_LIKE = 0.7
_PREFIX_LIKENESS = 0.8
_SWAPPED_LIKENESS = 0.9
_LEAST_PREFIX = 3


def _likeness(left: str, right: str) -> float:
    if left == right:
        return 1.0
    if min(len(left), len(right)) >= _LEAST_PREFIX and (left.startswith(right) or right.startswith(left)):
        return _PREFIX_LIKENESS
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    if _are_swapped(left, right):
        return max(matcher.ratio(), _SWAPPED_LIKENESS)
    if matcher.real_quick_ratio() < _LIKE or matcher.quick_ratio() < _LIKE:
        return 0.0
    return matcher.ratio()


def _are_swapped(left: str, right: str) -> bool:
    """True when the words differ by two neighbouring letters that changed places, the commonest slip of fingers."""
    if len(left) != len(right):
        return False
    apart = [place for place, (one, other) in enumerate(zip(left, right, strict=True)) if one != other]
    match apart:
        case [first, second]:
            return second == first + 1 and left[first] == right[second] and left[second] == right[first]
        case _:
            return False


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `` Did you mean `x`?``, or nothing when no name comes near."""
    found = nearest(word[:200], candidates)
    return f" Did you mean `{found[0]}`?" if found else ""


def listed(names: Sequence[str], conjunction: str = "or") -> str:
    """Return the names as a phrase: ``a``, ``a or b``, ``a, b or c``."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"
