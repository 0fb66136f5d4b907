"""Kayenta's NetflixACAJudge on one critical metric: too much of it is bad.

1. After the published sources (spinnaker/kayenta, `MannWhitneyClassifier` and what it calls):
   98 % two-sided Mann-Whitney interval of the shift, found by a root search on the z value with tie
   and continuity correction; High iff its lower end exceeds 25 % of the estimated shift and the
   mean did not fall.
2. The root search is Brent's, tolerance 1e-4 and in their order of steps: on sparse, tied data the
   verdict hangs on where the search happens to stop.
3. A minute without requests has no value and is removed.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from statistics import NormalDist, fmean
from typing import Final

_TOLERANCE: Final = 0.25
_Z: Final = -NormalDist().inv_cdf((1 - 0.98) / 2)
_ROOT_TOLERANCE, _EPSILON, _MOST_STEPS = 1e-4, 2.220446049250313e-16, 1001


class Label(StrEnum):
    """What the metric is called; all but PASS fail a critical one."""

    PASS = "Pass"  # noqa: S105  # a verdict, no secret
    HIGH = "High"
    NODATA = "Nodata"
    ERROR = "Error"


class _TiedError(Exception):
    """All observations are tied, so that no interval exists."""


def classify(control: Sequence[float], experiment: Sequence[float]) -> Label:
    """The label of one step's values, one a minute and arm, where an increase is bad."""
    if not control or not experiment:
        return Label.NODATA
    if sorted(control) == sorted(experiment) or len({*control, *experiment}) == 1:
        return Label.PASS
    try:
        low = _root(experiment, control, _Z)
        estimate = _root(experiment, control, 0.0, ends=False)
    except _TiedError:
        return Label.ERROR
    if low <= _TOLERANCE * abs(estimate):
        return Label.PASS
    before, after = fmean(control), fmean(experiment)
    fell = before != 0 and after != 0 and after / before < 1
    return Label.PASS if fell else Label.HIGH


def _root(x: Sequence[float], y: Sequence[float], quantile: float, *, ends: bool = True) -> float:
    """The shift at which z reaches the quantile; with `ends` a root outside is an end."""
    shortest, longest = min(x) - max(y), max(x) - min(y)
    x = sorted(x)

    def excess(shift: float) -> float:
        return _z(shift, x, y) - quantile

    at_shortest, at_longest = excess(shortest), excess(longest)
    if ends and at_shortest <= 0:
        return shortest
    if ends and at_longest >= 0:
        return longest
    return brent((shortest, longest), (at_shortest, at_longest), excess)


def _z(shift: float, x: Sequence[float], y: Sequence[float]) -> float:
    moved = [value - shift for value in x]
    counts = Counter(moved)
    both = Counter(y)
    both.update(counts)
    below, ranks, ties = 0, 0.0, 0
    for value in sorted(both):
        many = both[value]
        ranks += counts.get(value, 0) * (below + (many + 1) / 2)
        ties += many**3 - many
        below += many
    m, n = len(x), len(y)
    centred = ranks - m * (m + 1) / 2 - m * n / 2
    variance = m * n / 12 * ((m + n + 1) - ties / ((m + n) * (m + n - 1)))
    if variance <= 0:
        raise _TiedError
    correction = math.copysign(0.5, centred) if centred else 0.0
    return (centred - correction) / math.sqrt(variance)


def brent(
    ends: tuple[float, float], values: tuple[float, float], excess: Callable[[float], float]
) -> float:
    """Brent's root search; without a change of sign it still ends somewhere, as theirs does."""
    (a, b), (at_a, at_b) = ends, values
    if at_a == 0:
        return a
    c, at_c = a, at_a
    for _ in range(_MOST_STEPS):
        last = b - a
        if abs(at_c) < abs(at_b):
            a, b, c = b, c, b
            at_a, at_b, at_c = at_b, at_c, at_b
        least = 2 * _EPSILON * abs(b) + _ROOT_TOLERANCE / 2
        half = (c - b) / 2
        if abs(half) <= least or at_b == 0:
            return b
        move = half
        if abs(last) >= least and abs(at_a) > abs(at_b):
            move = _interpolated((a, b, c), (at_a, at_b, at_c), least, last)
        if abs(move) < least:
            move = math.copysign(least, move) if move else -least
        a, at_a = b, at_b
        b += move
        at_b = excess(b)
        if at_b * at_c > 0:
            c, at_c = a, at_a
    return b


def _interpolated(
    points: tuple[float, float, float],
    values: tuple[float, float, float],
    least: float,
    last: float,
) -> float:
    """A secant or inverse quadratic step where it stays well inside, else half the way."""
    (a, b, c), (at_a, at_b, at_c) = points, values
    span, slope = c - b, at_b / at_a
    if a == c:
        p, q = span * slope, 1.0 - slope
    else:
        q, inner = at_a / at_c, at_b / at_c
        p = slope * (span * q * (q - inner) - (b - a) * (inner - 1.0))
        q = (q - 1.0) * (inner - 1.0) * (slope - 1.0)
    p, q = (p, -q) if p > 0 else (-p, q)
    if p < 0.75 * span * q - abs(least * q) / 2 and p < abs(last * q / 2):
        return p / q
    return span / 2
