"""The judge's formulas: log-likelihoods on a fixed grid, and the e-values drawn from them.

1. Everything is a count: exposures and bad events of the two arms in one bin.
2. A bin is one table of 20 x 17 log-likelihoods; evidence is the sum of such tables.
3. All e-values are logs, and nothing is exponentiated before the largest term is taken out.
4. An e-value is at most 1 on average while its null holds, at whatever look one stops.

theta is the ratio canary's bad rate / stable's; rho the chance that two bad events of one bin
come from one cluster. Formulas: docs of the judge, section 2 (universal inference with a mixture
numerator: Wasserman, Ramdas & Balakrishnan, PNAS 2020).
"""

import math
from collections.abc import Callable, Iterable, Sequence

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

_EQUAL = THETAS.index(1.0)
_LOG_RHO_WEIGHTS = (math.log(0.5),) + (math.log(1 / 32),) * (len(RHOS) - 1)
_SCALES = tuple((1 - rho) / rho for rho in RHOS[1:])
_SMALLER_RATES = (1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
_LARGER_RATES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_MOST_FACTORS = 32


def log_likelihoods(
    stable_events: float, stable_bad: float, canary_events: float, canary_bad: float
) -> Table:
    """One bin's log-likelihood per (theta, rho), theta-major; counts may be fractional.

    A bin without bad events, or in which an arm served nothing, says nothing: all zeros.
    """
    if stable_bad + canary_bad <= 0 or stable_events <= 0 or canary_events <= 0:
        return EMPTY_TABLE
    rise_canary, rise_stable = _rising(canary_bad), _rising(stable_bad)
    rise_both = _rising(stable_bad + canary_bad)
    scales = [(scale, rise_both(scale)) for scale in _SCALES]
    table: list[float] = []
    for theta in THETAS:
        odds = theta * canary_events
        ours, theirs = odds / (odds + stable_events), stable_events / (odds + stable_events)
        table.append(canary_bad * math.log(ours) + stable_bad * math.log(theirs))
        table += [rise_canary(ours * s) + rise_stable(theirs * s) - both for s, both in scales]
    return tuple(table)


def _rising(count: float) -> Callable[[float], float]:
    """The log of x (x + 1) ... (x + count - 1) as a function of x, which is at most 5000.

    Up to 32 factors their product stays below 1e119, so one log does; beyond, lgamma is as exact
    as the sum needs (2e-10 at five million requests). The factors are taken in pairs from both
    ends: (x + i)(x + n - 1 - i) = x (x + n - 1) + i (n - 1 - i).
    """
    if count == 0:
        return lambda _: 0.0
    if count > _MOST_FACTORS or count != int(count):
        return lambda x: math.lgamma(x + count) - math.lgamma(x)
    if count == 1:
        return math.log
    last = int(count) - 1
    offsets = [float(i * (last - i)) for i in range(1, (last + 1) // 2)]

    def rise(x: float) -> float:
        ends = x * (x + last)
        pairs = math.prod([ends + offset for offset in offsets], start=ends)
        return math.log(pairs if last % 2 else pairs * (x + last / 2))

    return rise


def add(left: Table, right: Table) -> Table:
    """The evidence of two independent bins together."""
    if right is EMPTY_TABLE:
        return left
    return tuple([a + b for a, b in zip(left, right, strict=True)])


def log_sum_exp(values: Sequence[float]) -> float:
    """The log of the sum of exponentials, safe for any finite logs; `values` is not empty."""
    largest = max(values)
    return largest + math.log(sum([math.exp(value - largest) for value in values]))


def log_e_worse(table: Table, theta0: float) -> float:
    """The log e-value against "the canary's bad rate is at most theta0 times stable's"."""
    null = sum(theta <= theta0 for theta in THETAS)
    weights = [0.0] * null + list(_WORSE_WEIGHTS[null:])
    return _log_e(table, weights, range(null))


def log_e_ok(table: Table, margin: float) -> float:
    """The log e-value against "at least margin times stable's"; margin is snapped down to the grid.

    Prior: 0.6 on no difference, the rest even on the other ratios below the margin.
    """
    below = max(sum(theta <= margin for theta in THETAS) - 1, 0)
    weights = [1.0] * below
    if below > _EQUAL:
        weights[_EQUAL] = 1.5 * (below - 1)
    return _log_e(table, weights, range(below, len(THETAS)))


def _log_e(table: Table, weights: Sequence[float], null: range) -> float:
    """Mixture over the weighted ratios against the best fit of the null; 0 if nothing is weighed.

    The null's cells and the weighted ones are disjoint. Both are profiled or mixed over rho.
    """
    total = sum(weights)
    if total == 0 or not null:
        return 0.0
    mixed = _mixture(table, [weight / total for weight in weights])
    return mixed - max(table[null.start * len(RHOS) : null.stop * len(RHOS)])


def _mixture(table: Table, weights: Iterable[float]) -> float:
    terms: list[float] = []
    for row, weight in enumerate(weights):
        if weight:
            log_weight = math.log(weight)
            cells = table[row * len(RHOS) : (row + 1) * len(RHOS)]
            terms += [
                cell + log_weight + prior
                for cell, prior in zip(cells, _LOG_RHO_WEIGHTS, strict=True)
            ]
    return log_sum_exp(terms)


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


def ratio_interval(table: Table, level: float) -> tuple[float, float | None]:
    """The ratios not refuted at error `level` (0.05 for 95 %), widened outward to the grid.

    (0.0, None) is open on both sides. Holds at all looks together, like every e-value here.
    """
    others = 0.5 / (len(THETAS) - 1)
    prior = [0.5 if theta == 1 else others for theta in THETAS]
    least = _mixture(table, prior) - math.log(1 / level)
    width = len(RHOS)
    inside = [i for i in range(len(THETAS)) if max(table[i * width : (i + 1) * width]) > least]
    low, high = inside[0] - 1, inside[-1] + 1
    return (
        THETAS[low] if low >= 0 else 0.0,
        THETAS[high] if high < len(THETAS) else None,
    )


def effective(bad_rows: float, bad_items: float, rows: float, items: float) -> tuple[float, float]:
    """Exposure and bad events (n, k) of sampled rows: rows are what was seen, items what they mean.

    One sampled failure is one event, whatever its item count; the exposure shrinks to match.
    """
    if not bad_rows or not bad_items:
        return rows, 0
    return items * bad_rows / bad_items, bad_rows


def rate_upper(bad: float, events: float) -> float:
    """An upper bound (two sigma) of a bad rate; at most 1, and 1 where nothing was served."""
    if not events:
        return 1.0
    return min(1.0, (bad + 2 + 2 * math.sqrt(bad + 1)) / events)
