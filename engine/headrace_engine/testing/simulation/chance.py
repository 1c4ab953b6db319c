"""Where a seed's course departs from the plain one: every departure is a numbered, named fault that can be left out.

Without faults a simulation takes one fixed course: everything at once, in the order it was sent. What a seed adds are
faults, each drawn by the place it strikes at and nothing else, so that leaving one out moves the others as little
as can be. That is what makes shrinking work.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What may go wrong, or happen in between."""

    KILL_BEFORE = "killed before the call"
    KILL_AFTER = "killed after the call, its answer lost"
    THROTTLE = "refused, nothing happened"
    TIME_OUT = "done, but the caller saw a time-out"
    ECHO = "sent again by the client, whose first answer was lost"
    SWITCH = "others went on in between"
    STALL = "stood still for a while"
    DOUBLE = "came twice"
    DELAY = "came late"
    EARLY = "came early"
    DROP = "never came"
    OVERLAP = "two at a time on one execution"
    UNDELETED = "handled, and delivered again"
    COLD = "began in a new container"
    FORGET = "a snapshot was dropped"
    BURY = "put with the dead letters at once"
    REPEAT = "called again by the platform after it failed"
    POISON = "what nobody can handle"


AT_CALLS = (
    FaultKind.KILL_BEFORE,
    FaultKind.KILL_AFTER,
    FaultKind.THROTTLE,
    FaultKind.TIME_OUT,
    FaultKind.ECHO,
    FaultKind.SWITCH,
    FaultKind.STALL,
)
"""What may strike at a port call."""


@dataclass(frozen=True)
class Fault:
    """One departure from the plain course."""

    id: str
    kind: FaultKind
    place: str
    measure: float
    """0 to 1: how much, how long, which."""

    def seconds(self, least: float, most: float) -> float:
        """Return a time between two bounds; short ones are as likely as long ones."""
        return float(least * (most / least) ** self.measure)


@dataclass(frozen=True)
class Profile:
    """How often each kind of fault strikes in a seed."""

    name: str
    rates: Mapping[FaultKind, float]


_ALL = {
    FaultKind.KILL_BEFORE: 0.006,
    FaultKind.KILL_AFTER: 0.006,
    FaultKind.THROTTLE: 0.008,
    FaultKind.TIME_OUT: 0.008,
    FaultKind.ECHO: 0.01,
    FaultKind.SWITCH: 0.06,
    FaultKind.STALL: 0.006,
    FaultKind.DOUBLE: 0.06,
    FaultKind.DELAY: 0.1,
    FaultKind.EARLY: 0.1,
    FaultKind.DROP: 0.05,
    FaultKind.OVERLAP: 0.3,
    FaultKind.UNDELETED: 0.06,
    FaultKind.COLD: 0.05,
    FaultKind.FORGET: 0.05,
    FaultKind.REPEAT: 0.2,
    FaultKind.BURY: 0.01,
    FaultKind.POISON: 0.2,
}


def _only(name: str, *kinds: FaultKind, times: float = 2.0) -> Profile:
    return Profile(name, {kind: min(0.6, _ALL[kind] * times) for kind in kinds})


PLAIN = Profile("plain", {})
PROFILES = (
    Profile("everything", _ALL),
    Profile("everything, often", {kind: min(0.5, 2.5 * rate) for kind, rate in _ALL.items()}),
    _only("kills", FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER, FaultKind.COLD, FaultKind.REPEAT, times=3),
    _only("duplicates", FaultKind.DOUBLE, FaultKind.UNDELETED, FaultKind.ECHO, FaultKind.EARLY, times=4),
    _only("disorder", FaultKind.DELAY, FaultKind.DOUBLE, FaultKind.DROP, times=3),
    _only("races", FaultKind.SWITCH, FaultKind.STALL, FaultKind.OVERLAP, FaultKind.DOUBLE, times=4),
    _only("errors", FaultKind.THROTTLE, FaultKind.TIME_OUT, FaultKind.ECHO, times=4),
    _only(
        "losses",
        FaultKind.KILL_AFTER,
        FaultKind.KILL_BEFORE,
        FaultKind.DROP,
        FaultKind.DELAY,
        FaultKind.REPEAT,
        FaultKind.BURY,
        times=4,
    ),
)


def profile_of(seed: int) -> Profile:
    """Return what strikes in *seed*: each has a bent of its own."""
    return PROFILES[random.Random(f"profile {seed}").choices(range(len(PROFILES)), (6, 2, 2, 2, 2, 3, 2, 2))[0]]  # noqa: S311 - seeded


class Chance:
    """Draws the faults of a seed; *kept*, when given, are the only ones that strike."""

    def __init__(self, seed: int, profile: Profile, kept: Collection[str] | None = None) -> None:
        self.seed = seed
        self.profile = profile
        self.kept = kept
        self.struck: list[Fault] = []
        self.is_calm = False
        """Nothing strikes any more."""
        self._counts: Counter[str] = Counter()
        self._rates = dict(profile.rates)
        self._key = f"{seed}".encode()

    def draw(self, place: str, kinds: Collection[FaultKind]) -> Fault | None:
        """Return what strikes at *place* this time, if anything does; book it with `strike` when it is let."""
        if self.is_calm or not self._rates:
            return None
        self._counts[place] += 1
        text = f"{place}\x1f{self._counts[place]}".encode()
        digest = hashlib.blake2b(text, digest_size=16, key=self._key).digest()
        drawn = int.from_bytes(digest[:6], "big") / 2**48
        for kind in kinds:
            rate = self._rates.get(kind, 0.0)
            if drawn < rate:
                name = digest[12:].hex()[:6]
                if self.kept is not None and name not in self.kept:
                    return None
                return Fault(name, kind, f"{place} #{self._counts[place]}", int.from_bytes(digest[6:12], "big") / 2**48)
            drawn -= rate
        return None

    def strike(self, place: str, *kinds: FaultKind) -> Fault | None:
        """Return what strikes at *place* this time, booked."""
        fault = self.draw(place, kinds)
        if fault is not None:
            self.struck.append(fault)
        return fault
