"""The judge's formulas: log-likelihoods on a fixed grid, and the e-values drawn from them.

1. Everything is a count: exposures and bad events of the two arms in one bin.
2. A bin is one table of 20 x 17 log-likelihoods; evidence is the sum of such tables.
3. All e-values are logs, and nothing is exponentiated that could come to nothing: where the largest
   term is too small, it is taken out first.
4. An e-value is at most 1 on average while its null holds, at whatever look one stops.

theta is the ratio canary's bad rate / stable's; rho the chance that two bad events of one bin
come from one cluster. Formulas: docs of the judge, section 2 (universal inference with a mixture
numerator: Wasserman, Ramdas & Balakrishnan, PNAS 2020).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import batched, starmap

type Table = tuple[float, ...]

# fmt: off
THETAS: tuple[float, ...] = (
    0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 1.0, 1.1, 1.25, 1.5,
    1.75, 2.0, 2.5, 3.0, 3.5, 4.5, 6.0, 10.0, 20.0, 50.0,
)
RHOS: tuple[float, ...] = (
    0.0, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03,
    0.06, 0.1, 0.16, 0.25, 0.35, 0.5, 0.7, 0.9,
)
_WORSE_WEIGHTS = (
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.04, 0.10, 0.16,
    0.14, 0.14, 0.12, 0.09, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01,
)
# fmt: on
EMPTY_TABLE: Table = (0.0,) * (len(THETAS) * len(RHOS))

_WIDTH = len(RHOS)
_EQUAL = THETAS.index(1.0)
_RHO_WEIGHTS = (1 / 2,) + (1 / 32,) * (_WIDTH - 1)
_SCALES = [(1 - rho) / rho for rho in RHOS[1:]]
_SMALLER_RATES = (1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
_LARGER_RATES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
# Up to here a product is quicker than the gamma function.
_MOST_FACTORS = 4
# A row so far below the best adds less than 1e-9 of it, with any prior weight above 1e-4.
_REACH = 30.0
# From here on a best cell can be exponentiated as it is: log-likelihoods are never positive.
_LEAST_EXPONENT = -600.0


def log_likelihoods(
    stable_events: float, stable_bad: float, canary_events: float, canary_bad: float
) -> Table:
    """One bin's log-likelihood per (theta, rho), theta-major; counts may be fractional.

    A bin without bad events, or in which an arm served nothing, says nothing: all zeros.
    """
    if stable_bad + canary_bad <= 0 or stable_events <= 0 or canary_events <= 0:
        return EMPTY_TABLE
    odds = [theta * canary_events for theta in THETAS]
    ours = [each / (each + stable_events) for each in odds]
    theirs = [stable_events / (each + stable_events) for each in odds]
    rises = _log_rises(ours, canary_bad), _log_rises(theirs, stable_bad)
    both = _log_rises((1.0,), stable_bad + canary_bad) * len(THETAS)
    cells = [a + b - c for a, b, c in zip(*rises, both, strict=True)]
    table: list[float] = []
    for row, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        table.append(canary_bad * math.log(our) + stable_bad * math.log(their))
        table += cells[row * len(_SCALES) : (row + 1) * len(_SCALES)]
    return tuple(table)


def _log_rises(shares: Sequence[float], count: float) -> list[float]:
    """The log of x (x + 1) ... (x + count - 1) for x = each share times each scale, at most 5000.

    A few factors are multiplied, so that one log does; beyond, lgamma is as exact as the sum
    needs (2e-10 at five million requests).
    """
    if count == 0:
        return [0.0] * (len(shares) * len(_SCALES))
    starts = [share * scale for share in shares for scale in _SCALES]
    if count > _MOST_FACTORS or count != int(count):
        lgamma = math.lgamma
        return [lgamma(x + count) - lgamma(x) for x in starts]
    products = starts
    for i in range(1, int(count)):
        products = [product * (x + i) for product, x in zip(products, starts, strict=True)]
    return list(map(math.log, products))


def add(table: Table, *others: Table) -> Table:
    """The evidence of independent bins together, added one by one in this order, to the bit."""
    rest = [other for other in others if other is not EMPTY_TABLE]
    while len(rest) > 2:  # noqa: PLR2004  # three at a time are quicker than one by one
        first, second, third, *rest = rest
        columns = zip(table, first, second, third, strict=True)
        table = tuple([a + b + c + d for a, b, c, d in columns])
    for other in rest:
        table = tuple([a + b for a, b in zip(table, other, strict=True)])
    return table


def log_sum_exp(values: Sequence[float]) -> float:
    """The log of the sum of exponentials, safe for any finite logs; `values` is not empty."""
    largest = max(values)
    return largest + math.log(sum([math.exp(value - largest) for value in values]))


@dataclass(frozen=True, slots=True)
class Profile:
    """A table and its peaks: the best log-likelihood of each ratio, whatever the clusters."""

    table: Table
    peaks: tuple[float, ...]


def profile(table: Table) -> Profile:
    """The table, ready for all questions about it."""
    # max is a quarter quicker with arguments than with one tuple of them.
    return Profile(table, tuple(starmap(max, batched(table, _WIDTH, strict=True))))


def log_e_worse(seen: Profile, theta0: float) -> float:
    """The log e-value against "the canary's bad rate is at most theta0 times stable's"."""
    null = sum([theta <= theta0 for theta in THETAS])
    first = max(null, _EQUAL + 1)
    if null == 0 or first == len(THETAS):
        return 0.0
    return _log_mixture(seen, _worse_weights(first), first, len(THETAS)) - max(seen.peaks[:null])


def log_e_ok(seen: Profile, margin: float) -> float:
    """The log e-value against "at least margin times stable's"; margin is snapped down to the grid.

    Prior: 0.6 on no difference, the rest even on the other ratios below the margin.
    """
    below = sum([theta <= margin for theta in THETAS]) - 1
    if below <= 0:
        return 0.0
    return _log_mixture(seen, _ok_weights(below), 0, below) - max(seen.peaks[below:])


def _log_mixture(seen: Profile, weights: Sequence[float], first: int, stop: int) -> float:
    """The log of the weighted mean likelihood of the ratios first to stop - 1.

    Rows at either end that are too unlikely to add a digit are left out.
    """
    best = max(seen.peaks[first:stop])
    least = best - _REACH
    while seen.peaks[first] < least:
        first += 1
    while seen.peaks[stop - 1] < least:
        stop -= 1
    span, exp = slice(first * _WIDTH, stop * _WIDTH), math.exp
    if best > _LEAST_EXPONENT:
        # One at a time: a quarter quicker than a list, which needs memory for all of them.
        return math.log(math.sumprod(weights[span], map(exp, seen.table[span])))
    likelihoods = [exp(cell - best) for cell in seen.table[span]]
    return best + math.log(math.sumprod(weights[span], likelihoods))


@cache
def _worse_weights(first: int) -> tuple[float, ...]:
    return _over_rhos((0.0,) * first + _WORSE_WEIGHTS[first:])


@cache
def _ok_weights(below: int) -> tuple[float, ...]:
    weights = [1.0] * below
    if below > _EQUAL:
        weights[_EQUAL] = 1.5 * (below - 1)
    return _over_rhos(weights)


def _over_rhos(weights: Sequence[float]) -> tuple[float, ...]:
    """One weight a cell, theta-major; they sum to one."""
    total = sum(weights)
    return tuple([weight / total * part for weight in weights for part in _RHO_WEIGHTS])


_EVEN_WEIGHTS = _over_rhos([0.5 if t == 1 else 0.5 / (len(THETAS) - 1) for t in THETAS])


def log_e_absolute(events: float, bad: float, rate: float) -> float:
    """The log e-value against "bad rate >= rate" for Poisson counts: the route of quiet services.

    Clustered failures make "none seen" likelier than Poisson says: count clients where possible.
    """
    return _log_e_rate(events * rate, bad, _SMALLER_RATES)


def log_e_over(events: float, bad: float, rate: float) -> float:
    """The log e-value against "bad rate <= rate" for Poisson counts; 0 without events."""
    return _log_e_rate(events * rate, bad, _LARGER_RATES) if events else 0.0


def _log_e_rate(expected: float, bad: float, factors: Sequence[float]) -> float:
    terms = [bad * math.log(u) + expected * (1 - u) for u in factors]
    return log_sum_exp(terms) - math.log(len(factors))


def ratio_interval(seen: Profile, level: float) -> tuple[float, float | None]:
    """The ratios not refuted at error `level` (0.05 for 95 %), widened outward to the grid.

    (0.0, None) is open on both sides. Holds at all looks together, like every e-value here.
    """
    least = _log_mixture(seen, _EVEN_WEIGHTS, 0, len(THETAS)) - math.log(1 / level)
    low, high = 0, len(THETAS) - 1
    while seen.peaks[low] <= least:
        low += 1
    while seen.peaks[high] <= least:
        high -= 1
    return (
        THETAS[low - 1] if low > 0 else 0.0,
        THETAS[high + 1] if high + 1 < len(THETAS) else None,
    )


def ratio(
    seen: Profile, stable: tuple[float, float], canary: tuple[float, float], level: float
) -> tuple[float | None, float, float | None]:
    """The ratio to show beside rates, and its interval; the arms are (events, bad) in all.

    It is that of the rates, unless steps and daily cycles have moved it out of the interval: then
    the likeliest one. None where an arm had nothing bad, so that only a bound is known.
    """
    low, high = ratio_interval(seen, level)
    plain = ratio_of_rates(stable, canary)
    if plain is None or (low <= plain and (high is None or plain <= high)):
        return plain, low, high
    return _likeliest(seen), low, high


def ratio_of_rates(stable: tuple[float, float], canary: tuple[float, float]) -> float | None:
    """Canary's bad rate over stable's, of (events, bad); None where an arm had nothing bad."""
    if not (stable[1] and canary[1] and canary[0]):
        return None
    return canary[1] * stable[0] / (stable[1] * canary[0])


def _likeliest(seen: Profile) -> float:
    """The ratio with the best peak, which lies within every interval."""
    return THETAS[seen.peaks.index(max(seen.peaks))]


def rate_upper(bad: float, events: float) -> float:
    """An upper bound (two sigma) of a bad rate; at most 1, and 1 where nothing was served."""
    if not events:
        return 1.0
    return min(1.0, (bad + 2 + 2 * math.sqrt(bad + 1)) / events)
