"""What the bad rows of a version weigh beside its others: how far sampling spares failures.

1. By how much is a trait of a version, not of a bin: divided by what a bin's own few bad rows
   weigh, the exposures of the arm with fewer of them would come out too large (a mean of inverses
   is more than the inverse of the mean), and harm would pass for health.
2. Failures may be sampled like all rows, or escape the sampling, or anything between and beyond.
   All bad rows of the version up to a bin tell, and while they are few, those of both versions.
3. What is learnt of a bin is learnt from none after it.
"""

from dataclasses import dataclass, replace
from math import exp, log

from shared.core.telemetry import ArmBin

# So many requests lost to sampling are lent to what is known, as if failures were sampled like the
# rest. More, and a version whose failures escape the sampling looks guilty before it is found out;
# less, and a few rows that happen to be light are taken for exempt.
_LENT = 2.0
# How much the versions' thinning is taken to vary from one to the other; the more unevenly rows
# weigh, the more bad ones it takes to believe that they are unlike.
_UNLIKE = 0.1
# How much it varies where sampling spares some failures only, as long as the versions' rows agree.
_ALIKE = 0.004
# So many rows of earlier bins are counted to a bin's own, which may hold no more than a bad one.
_NEAR = 3.0
# Whose rows stand for fewer requests is as good as whole.
_THINNED = 2.0


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
class BadRows:
    """So many bad rows, and what they stood for: `items` in all.

    `usual` is what as many average rows of the same bins stood for; `spread` the variance of that,
    in squared requests, were they drawn like the bins' other rows.
    """

    rows: float = 0.0
    items: float = 0.0
    usual: float = 0.0
    spread: float = 0.0

    def __add__(self, other: "BadRows") -> "BadRows":
        return BadRows(
            self.rows + other.rows,
            self.items + other.items,
            self.usual + other.usual,
            self.spread + other.spread,
        )

    @property
    def lost(self) -> float:
        """Requests that sampling lost besides as many average rows."""
        return self.usual - self.rows

    @property
    def stood(self) -> float:
        """Requests that they stood for besides themselves."""
        return max(0.0, self.items - self.rows)

    @property
    def telling(self) -> float:
        """How many rows would tell as much of the thinning if all rows weighed alike."""
        return self.rows / (1 + self.spread * self.rows / self.lost**2) if self.lost > 0 else 0.0

    @property
    def thinned(self) -> float:
        """How far sampling thins them: 0 not at all, 1 as it does average rows."""
        return self.stood / self.lost if self.lost > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Span:
    """Bins in a row, of those in which there were bad rows: how many, and sums over them.

    `weight`: how many bad rows tell; by it `thinned`, how far sampling thins the bad rows,
    `uneven`, the variance which that has by chance, and `excess`, what average rows stand for
    besides themselves.
    """

    bins: int
    weight: float
    thinned: float
    uneven: float
    excess: float

    def __add__(self, other: "Span") -> "Span":
        return Span(
            self.bins + other.bins,
            self.weight + other.weight,
            self.thinned + other.thinned,
            self.uneven + other.uneven,
            self.excess + other.excess,
        )


@dataclass(frozen=True, slots=True)
class BadWeight(BadRows):
    """What one arm's bad rows so far stood for; `others` are the rows beside them.

    `spans`: the oldest first; `turned`: by how much more the newer weighed than by the older was to
    be expected, once that was sure, and 1 until then.
    """

    others: Rows = Rows()
    spans: tuple[Span, ...] = ()
    turned: float = 1.0


# Of stable and of the canary.
type BadWeights = tuple[BadWeight, BadWeight]

UNKNOWN = BadWeight()


def spared(known: BadWeight, coarse: float = _THINNED) -> bool:
    """Whether sampling is known to thin this arm's rows, and its bad ones by less than half.

    `coarse`: for so many requests a row must stand at least.
    """
    thinned = _share(known, _strength(known, known), 1.0)
    return known.others.mean >= coarse and thinned < 1 / 2


def of_bin(known: BadWeight, arm: ArmBin, rule_number: int) -> tuple[BadRows, Rows]:
    """The bad rows of one more bin, beside what average ones weigh, and its other rows."""
    rows, items = arm.bad_rows[rule_number], arm.bad[rule_number]
    squares = items * items / rows if rows else 0.0
    others = Rows(arm.rows - rows, arm.items - items, max(0.0, arm.squares - squares))
    near = others + known.others.cut(_NEAR)
    usual = rows * (near + Rows(rows, items)).mean
    return BadRows(rows, items, max(rows, usual), rows * near.variance), others


def added(known: BadWeight, bad: BadRows, others: Rows) -> BadWeight:
    """What is known with these rows."""
    both = known + bad
    return replace(
        known,
        rows=both.rows,
        items=both.items,
        usual=both.usual,
        spread=both.spread,
        others=known.others + others,
    )


def thinning(own: BadRows, other: BadRows) -> float:
    """How far sampling thins this arm's bad rows: 1 like all its rows, 0 not at all.

    What the rows of both arms say together is where it starts from, and the arm's own rows move it:
    the less the more they vary, and as long as the arms may be alike.
    """
    both = own + other
    mixed = _alike(own, other) * _mixed(both) / _ALIKE
    return _share(own, _strength(own, both) + mixed, _share(both, _strength(both, both), 1.0))


def _strength(own: BadRows, both: BadRows) -> float:
    """What is lent, and more the more unevenly rows weigh: requests lost to sampling.

    Only as far as this arm's bad rows may be as light as they are by chance: where they are not,
    however unevenly others weigh, they are spared.
    """
    lost = both.lost
    return _LENT + (_chance(own) * both.spread / lost / _UNLIKE if lost > 0 else 0.0)


def _mixed(both: BadRows) -> float:
    """How much a row varies where sampling spares some bad rows: requests lost, by share."""
    part = min(1.0, both.thinned)
    return part * (1 - part) * both.lost / both.rows if both.rows else 0.0


def _alike(one: BadRows, other: BadRows) -> float:
    """How likely sampling thins both alike (0..1): a likelihood ratio of binomial shares."""
    told = one.telling, other.telling
    if not all(told):
        return 1.0
    shares = min(1.0, one.thinned), min(1.0, other.thinned)
    both = (told[0] * shares[0] + told[1] * shares[1]) / sum(told)
    return exp(-told[0] * divergence(shares[0], both) - told[1] * divergence(shares[1], both))


def divergence(share: float, expected: float) -> float:
    """Kullback and Leibler's, of two Bernoulli trials; `share` is a part of the mean `expected`."""
    return sum(
        one * log(one / other)
        for one, other in ((share, expected), (1 - share, 1 - expected))
        if one > 0 and other > 0
    )


def _chance(seen: BadRows) -> float:
    """How likely bad rows are so light (0..1), were they drawn like the others: a normal tail."""
    light = max(0.0, seen.usual - seen.items)
    return exp(-light * light / seen.spread / 2) if seen.spread > 0 else 1.0


def _share(seen: BadRows, strength: float, expected: float) -> float:
    """Requests that bad rows stood for besides themselves, of those that average rows did."""
    return (seen.stood + strength * expected) / (seen.lost + strength)
