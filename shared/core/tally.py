"""What many comparisons add up to: counts by bin, and by the place where answers differ.

1. Merging is addition: associative and commutative, so rows may be written by anyone, in any
   order, and added up whenever they are needed.
2. Space is bounded: of the places, those are kept whose hash is lowest. Whoever is among the
   lowest of all is among the lowest of every part, so what is kept is exact, and the sum of what
   is not kept follows from the total.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from shared.core import words
from shared.core.judge import Counts
from shared.core.shadow import SHADOW_RULES, Judged

MOST_PLACES = 500
BRIEF_PLACES = 20


@dataclass(frozen=True, slots=True)
class Place:
    """How often answers differed at one place: canary's and stable's from what users got.

    `example` is the lowest of the examples that were seen: one that no order of merging changes.
    """

    canary: int = 0
    stable: int = 0
    kinds: str = ""
    example: str = ""

    def __add__(self, other: "Place") -> "Place":
        kinds = {*self.kinds.split(), *other.kinds.split()}
        examples = [each for each in (self.example, other.example) if each]
        return Place(
            self.canary + other.canary,
            self.stable + other.stable,
            " ".join(sorted(kinds)),
            min(examples, default=""),
        )


@dataclass(frozen=True, slots=True)
class Bin:
    """The samples of one bin: for each rule events and bad ones, canary first, then stable."""

    counts: tuple[int, ...] = (0, 0, 0, 0) * len(SHADOW_RULES)

    def __add__(self, other: "Bin") -> "Bin":
        return Bin(tuple(map(int.__add__, self.counts, other.counts)))


@dataclass(frozen=True, slots=True)
class Tally:
    """Samples replayed, how many of them to stable too, how many differed anywhere, and where."""

    samples: int = 0
    noise_samples: int = 0
    different: int = 0
    unreachable: int = 0
    skipped: int = 0
    differences: int = 0
    newest_s: float = 0.0
    bins: Mapping[int, Bin] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.samples + other.samples,
            self.noise_samples + other.noise_samples,
            self.different + other.different,
            self.unreachable + other.unreachable,
            self.skipped + other.skipped,
            self.differences + other.differences,
            max(self.newest_s, other.newest_s),
            _added(self.bins, other.bins, Bin()),
            _kept(_added(self.places, other.places, Place())),
        )

    @property
    def elsewhere(self) -> int:
        """Differences at places that are not kept."""
        return self.differences - sum(each.canary for each in self.places.values())


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    return sum(tallies, start=Tally())


def counted(judged: Judged, *, learning: bool) -> Bin:
    """One sample in its bin; while noise is still learnt it counts for nothing."""
    if learning:
        return Bin()
    pairs = (
        (judged.mismatch, judged.stable_mismatch, True),
        (judged.slower, judged.stable_slower, judged.slower is not None),
        (judged.unreachable, judged.stable_unreachable, True),
    )
    counts: list[int] = []
    for canary, stable, canary_counts in pairs:
        counts += [int(canary_counts), int(bool(canary))]
        counts += [int(stable is not None), int(bool(stable))]
    return Bin(tuple(counts))


def counts(tally: Tally, rule_number: int) -> Iterator[tuple[int, Counts]]:
    """The bins as evidence of one rule; rules differ in how many samples they could look at."""
    for index, each in sorted(tally.bins.items()):
        canary, canary_bad, stable, stable_bad = each.counts[4 * rule_number : 4 * rule_number + 4]
        yield index, Counts(stable, stable_bad, canary, canary_bad)


def brief(tally: Tally, from_bin: int) -> Tally:
    """What a decision may still rest on: open bins, places that are noise or differ most."""
    names = {name for name, _ in top(tally, BRIEF_PLACES)}
    names |= {name for name, place in tally.places.items() if place.stable}
    return replace(
        tally,
        bins={index: each for index, each in tally.bins.items() if index >= from_bin},
        places={name: replace(tally.places[name], example="") for name in sorted(names)},
    )


def noisy(tally: Tally, least_share: float) -> frozenset[str]:
    """The places at which stable differs from itself in at least this share of the samples."""
    if not tally.noise_samples:
        return frozenset()
    least = max(2.0, least_share * tally.noise_samples)
    return frozenset(name for name, place in tally.places.items() if place.stable >= least)


def top(tally: Tally, most: int) -> list[tuple[str, Place]]:
    """The places at which the canary differs most beyond stable, the worst first."""

    def excess(entry: tuple[str, Place]) -> tuple[float, str]:
        name, place = entry
        canary, stable = shares(tally, place)
        return stable - canary, name

    return sorted(tally.places.items(), key=excess)[:most]


def shares(tally: Tally, place: Place) -> tuple[float, float]:
    """At which share (0..1) of the samples canary and stable differ at a place."""
    return place.canary / max(1, tally.samples), place.stable / max(1, tally.noise_samples)


def spoken(tally: Tally, name: str, place: Place) -> str:
    """A place as people say it: how often which answers differ there."""
    canary, stable = (words.percent(share) for share in shares(tally, place))
    return f"{name} ({place.kinds}: canary in {canary}, stable in {stable} of its answers)"


def _added[K, V: (Bin, Place)](one: Mapping[K, V], other: Mapping[K, V], zero: V) -> dict[K, V]:
    both = dict(one)
    for key, value in other.items():
        both[key] = both.get(key, zero) + value
    return both


def _kept(places: dict[str, Place]) -> dict[str, Place]:
    if len(places) <= MOST_PLACES:
        return places
    return {name: places[name] for name in sorted(places, key=_rank)[:MOST_PLACES]}


@lru_cache(10_000)
def _rank(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()
