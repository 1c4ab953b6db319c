"""compatibility.md: what of Kestra's flow language works, each name with the test that shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby

from compatibility_rows import Row, rows
from compatibility_scan import WORD, Fact, Place, facts_of_tests
from page_parts import anchor, code, generated_by, table

INTRODUCTION = """\
# Compatibility

What a flow of Kestra 1.x may say, and what becomes of it here. *Works* means: as in Kestra 1.x. *Differs* says how.
*Refused* gives the sentence with which a flow is refused when it is checked or, where it is only known by name, when it
is run; `headrace validate` tells both. Nothing is passed over in silence: an unknown name is an error.

The names come from the code and from a list of what Kestra has, the sentences from the code; the last column links to a
test that uses the name.
"""

ENDING = """\
## Not of the flow language

Kestra's server has its web interface, its REST API, its users and its hundreds of plugins besides; see
[the comparison](comparison.md).
"""


class Untested(Exception):  # noqa: N818 - it names what is wrong
    """There are rows without a test."""


def page() -> str:
    """Return the text of compatibility.md. Raises Untested, and NotRefused."""
    return page_of(rows())


def page_of(found: Sequence[Row]) -> str:
    """Return the page with the rows *found*. Raises Untested."""
    missing = [f"{row.section}: {row.name}" for row in found if proof(row) is None]
    if missing:
        raise Untested("No test uses " + "; ".join(missing))
    parts = [generated_by("make_compatibility.py"), INTRODUCTION]
    sections = {name: list(members) for name, members in groupby(found, key=lambda row: row.section)}
    parts.append(
        "\n".join(f"- [{name}](#{anchor(name)}): {_sum(members)}" for name, members in sections.items()) + "\n"
    )
    for name, members in sections.items():
        parts.append(f"## {name}\n")
        parts.append(table(("name", "here", "test"), ([code(row.name), row.says, link(row)] for row in members)))
    parts.append(ENDING)
    return "\n".join(parts)


def _sum(members: list[Row]) -> str:
    refused = sum(row.is_refused for row in members)
    return f"{len(members) - refused} of {len(members)}" if refused else f"all {len(members)}"


def link(row: Row) -> str:
    """Return the link to the test of a row."""
    place = proof(row)
    if place is None:
        return ""
    title = place.function or re.sub(r"^tests/(flows/)?|\.(yaml|py)$", "", place.path)
    return f"[{title}](../{place.path})"


@lru_cache(maxsize=1)
def _places() -> Mapping[Fact, list[Place]]:
    """Return where each fact stands."""
    places: dict[Fact, list[Place]] = {}
    for place, facts in facts_of_tests().items():
        for fact in facts:
            places.setdefault(fact, []).append(place)
    return places


@lru_cache(maxsize=4096)
def proof(row: Row) -> Place | None:
    """Return the test that shows a row best; None when there is none."""
    exact = {place for fact in row.facts for place in _places().get(fact, ())}
    found = set(exact)
    if row.owner is not None:
        modules = {place.path for place in _places().get(row.owner, ())}
        found |= {place for place in _places().get((WORD, row.key), ()) if place.path in modules}
    return min(found, key=lambda place: _rank(row, place, is_exact=place in exact)) if found else None


def _rank(row: Row, place: Place, *, is_exact: bool) -> tuple[object, ...]:
    """Order places: what is run before what is only read, what is about the name, what has little else in it."""
    about = _words(f"{place.path.removeprefix('tests/flows').removesuffix('.yaml')} {place.function}")
    area = place.path.split("/")[2]
    shows_a_refusal = "refus" in place.path + place.function
    return (
        shows_a_refusal is not row.is_refused,
        "/invalid/" in place.path,
        place.path.startswith("tests/unit/language/"),
        not is_exact,
        any(f" {word} " in _words(place.function) for word in POOR),
        _words(area) not in _words(f"{row.section} {row.name}"),
        not _words(row.key).strip() or _words(row.key) not in about,
        not place.path.startswith("tests/flows/"),
        not place.function and place.path.endswith(".py"),
        len(facts_of_tests()[place]),
        place,
    )


POOR = ("bounds", "cannot", "error", "errors", "fuzz", "hang", "invalid", "make no sense", "wrong")
"""Words of tests of what goes wrong: they show less than one of what goes well."""


def _words(text: str) -> str:
    """Return the words of a name, of whatever spelling, each between spaces."""
    return f" {' '.join(re.findall(r'[A-Z]?[a-z0-9]+|[A-Z]+', text)).lower()} "
