"""How what sampling left of the requests becomes exposures and bad events of one rule.

1. One kept bad row is one event, whatever its item count; the exposure shrinks to match.
2. By how much is a trait of a version, not of a bin: divided by what a bin's own few bad rows
   weigh, the exposures of the arm with fewer of them would come out too large (a mean of inverses
   is more than the inverse of the mean), and harm would pass for health.
3. Failures may be sampled like all rows, or escape the sampling, or anything between and beyond.
   All bad rows of the version up to this bin tell, and while they are few, those of both versions.
4. A bin learns from none after it, so looks may cut the time up in any way.
5. Affected clients, where they are counted, need no such care: they are counted alike.
6. Where strata are known, a request or a client counts for as many as its stratum weighs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from math import exp

from shared.core.evidence import Counts
from shared.core.telemetry import ArmBin, BinSeen, Rule

# So many requests lost to sampling are lent to what is known, as if failures were sampled like the
# rest. More, and a version whose failures escape the sampling looks guilty before it is found out;
# less, and a few rows that happen to be light are taken for exempt.
_LENT = 2.0
# How much the versions' thinning is taken to vary from one to the other; the more unevenly rows
# weigh, the more bad ones it takes to believe that they are unlike.
_UNLIKE = 0.1
# So many rows of earlier bins are counted to a bin's own, which may hold no more than a bad one.
_NEAR = 3.0
# Whose rows stand for fewer requests is as good as whole.
_THINNED = 2.0
# Where stable's failures escape the sampling a canary's may have begun not to: so far it is doubted
# before its own tell, and the less the coarser the sampling is. More, and good canaries of such
# services pass late, or are taken back at their first failure.
_DOUBT, _COARSE = 0.15, 10.0


@dataclass(frozen=True, slots=True)
class Rows:
    """So many rows, the requests they stand for, and the sum of these squared."""

    rows: float = 0.0
    items: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Rows") -> "Rows":
        return Rows(self.rows + other.rows, self.items + other.items, self.squares + other.squares)

    def cut(self, most: float) -> "Rows":
        """At most so many of them, alike."""
        share = min(1.0, most / self.rows) if self.rows > 0 else 0.0
        return Rows(share * self.rows, share * self.items, share * self.squares)

    @property
    def mean(self) -> float:
        """How many requests a row stands for."""
        return self.items / self.rows if self.rows > 0 else 0.0

    @property
    def variance(self) -> float:
        """How unevenly, in requests squared; 0 where nobody squared them."""
        return max(0.0, self.squares / self.rows - self.mean**2) if self.rows > 0 else 0.0


@dataclass(frozen=True, slots=True)
class BadWeight:
    """What one arm's bad rows so far stood for: `items` in all.

    `usual` is what as many average rows of the same bins stood for; `spread` the variance of that,
    in squared requests, were they drawn like the bins' other rows; `others` are these.
    """

    rows: float = 0.0
    items: float = 0.0
    usual: float = 0.0
    spread: float = 0.0
    others: Rows = Rows()


# Of stable and of the canary.
type BadWeights = tuple[BadWeight, BadWeight]

UNKNOWN = BadWeight()


def counted(
    bins: Iterable[BinSeen], rule_number: int, known: BadWeights
) -> Iterator[tuple[int, Counts]]:
    """The bins as one rule's counts, in order; `known` is from the bins before the first."""
    for seen in _ordered(bins):
        known = _after(known, seen, rule_number)
        stable, canary = known
        yield (
            seen.index,
            Counts(
                *exposure(seen.stable, rule_number, stable, canary),
                *exposure(seen.canary, rule_number, canary, stable, _doubted(seen.canary)),
                requests=_requests(seen, rule_number),
            ),
        )


def learnt(bins: Iterable[BinSeen], rule_number: int, known: BadWeights) -> BadWeights:
    """What is known of the bad rows' weights after these bins."""
    return reduce(lambda sofar, seen: _after(sofar, seen, rule_number), _ordered(bins), known)


def exposure(
    arm: ArmBin | None, rule_number: int, own: BadWeight, other: BadWeight, doubt: float = 0.0
) -> tuple[float, float]:
    """Events and bad ones of one arm in one bin; `own` and `other` arm's bad rows up to it.

    `doubt` is the chance (0..1) that sampling thins this arm's bad rows although not the other's.
    """
    if arm is None:
        return 0.0, 0.0
    exposed = arm.exposed[rule_number] if arm.exposed else None
    if arm.clients:
        active = arm.clients[rule_number] if exposed is None else exposed
        return active, arm.bad_clients[rule_number]
    items = arm.items if exposed is None else exposed
    bad = arm.bad_rows[rule_number]
    weight = 1.0 + _thinning(own, other, doubt) * (mean_weight(arm) - 1.0)
    if bad:  # what is known may be of another time: never more bad events than events
        weight = min(weight, max(1.0, arm.items / bad))
    return items / weight, bad


def _doubted(arm: ArmBin | None) -> float:
    coarse = mean_weight(arm) - 1 if arm else 0.0
    return _DOUBT * min(1.0, (_COARSE - 1) / coarse) if coarse > 0 else 0.0


def _requests(seen: BinSeen, rule_number: int) -> tuple[float, float, float, float] | None:
    """Plain requests and bad ones of both arms, where something else is counted."""
    if not any(arm and (arm.clients or arm.exposed) for arm in (seen.stable, seen.canary)):
        return None
    return (*_plain(seen.stable, rule_number), *_plain(seen.canary, rule_number))


def _plain(arm: ArmBin | None, rule_number: int) -> tuple[float, float]:
    """By what this bin alone shows, since half of it being bad needs no finer measure."""
    if arm is None:
        return 0.0, 0.0
    bad_rows, bad = arm.bad_rows[rule_number], arm.bad[rule_number]
    return (arm.items * bad_rows / bad, bad_rows) if bad else (arm.rows, 0.0)


def mean_weight(arm: ArmBin) -> float:
    """How many requests one row of this arm stands for; at least one."""
    return max(1.0, arm.items / arm.rows) if arm.rows else 1.0


def of_lookback(rules: tuple[Rule, ...], bins: Iterable[BinSeen]) -> Mapping[str, BadWeights]:
    """What stable's own past says of its bad rows, per rule."""
    mine = tuple(BinSeen(seen.index, seen.stable, None) for seen in bins)
    unknown = (UNKNOWN, UNKNOWN)
    return {rule.name: learnt(mine, number, unknown) for number, rule in enumerate(rules)}


def baseline(rules: tuple[Rule, ...], bins: tuple[BinSeen, ...]) -> Mapping[str, Counts]:
    """Stable's own counts before the start, per rule; the whole look says what bad rows weigh."""
    weights = of_lookback(rules, bins)
    return {
        rule.name: sum(
            (
                Counts(*exposure(seen.stable, number, weights[rule.name][0], UNKNOWN))
                for seen in bins
            ),
            Counts(),
        )
        for number, rule in enumerate(rules)
    }


def spared(known: BadWeight) -> bool:
    """Whether sampling is known to thin this arm's rows, and its bad ones by less than half."""
    coarse = known.others.mean >= _THINNED
    return coarse and _share(known, _strength(known, known), 1.0) < 1 / 2


def _ordered(bins: Iterable[BinSeen]) -> list[BinSeen]:
    return sorted(bins, key=lambda seen: seen.index)


def _after(known: BadWeights, seen: BinSeen, rule_number: int) -> BadWeights:
    stable, canary = known
    return _added(stable, seen.stable, rule_number), _added(canary, seen.canary, rule_number)


def _added(known: BadWeight, arm: ArmBin | None, rule_number: int) -> BadWeight:
    if arm is None:
        return known
    bad_rows, bad = arm.bad_rows[rule_number], arm.bad[rule_number]
    bad_squares = bad * bad / bad_rows if bad_rows else 0.0
    others = Rows(arm.rows - bad_rows, arm.items - bad, max(0.0, arm.squares - bad_squares))
    near = others + known.others.cut(_NEAR)
    usual = bad_rows * (near + Rows(bad_rows, bad)).mean
    return BadWeight(
        rows=known.rows + bad_rows,
        items=known.items + bad,
        usual=known.usual + max(bad_rows, usual),
        spread=known.spread + bad_rows * near.variance,
        others=known.others + others,
    )


def _thinning(own: BadWeight, other: BadWeight, doubt: float) -> float:
    """How far sampling thins this arm's bad rows: 1 like all its rows, 0 not at all.

    What the rows of both arms say together is where it starts from, and the arm's own rows move it.
    """
    both = BadWeight(
        own.rows + other.rows,
        own.items + other.items,
        own.usual + other.usual,
        own.spread + other.spread,
    )
    alike = _share(both, _strength(both, both), 1.0)
    strength = _strength(own, both)
    doubted = doubt * _chance(own) * (_LENT / strength) ** 0.5
    return _share(own, strength, alike + doubted * max(0.0, 1.0 - alike))


def _strength(own: BadWeight, both: BadWeight) -> float:
    """What is lent, and more the more unevenly rows weigh: requests lost to sampling.

    Only as far as this arm's bad rows may be as light as they are by chance: where they are not,
    however unevenly others weigh, they are spared.
    """
    lost = both.usual - both.rows
    return _LENT + (_chance(own) * both.spread / lost / _UNLIKE if lost > 0 else 0.0)


def _chance(seen: BadWeight) -> float:
    """How likely bad rows are so light (0..1), were they drawn like the others: a normal tail."""
    light = max(0.0, seen.usual - seen.items)
    return exp(-light * light / seen.spread / 2) if seen.spread > 0 else 1.0


def _share(seen: BadWeight, strength: float, expected: float) -> float:
    """Requests that bad rows stood for besides themselves, of those that average rows did."""
    stood, usual = max(0.0, seen.items - seen.rows), seen.usual - seen.rows
    return (stood + strength * expected) / (usual + strength)
