"""The risk a plan accepts, and what follows from it: margins, bounds, and how long a pass takes.

1. The margin is a budget of harm: a step to share w may not raise the service's own bad rate by
   more than the inflation allowed, w (theta - 1) < h; tiny absolute excess never matters.
2. Stable's rate enters as an upper bound, so that ignorance narrows no margin by luck.
3. No guarantee covers that bound: it is a plug-in of two sigma.
"""

import math
from dataclasses import dataclass

from shared.core import stats
from shared.core.evidence import Counts, Evidence, total
from shared.core.stats import Profile

MIN_BINS = 3
MOST_BINS = 100_000


@dataclass(frozen=True, slots=True)
class Risk:
    """The error budget: alpha, beta, h, delta and theta0 of the judge's document."""

    false_rollback: float = 0.01
    false_promotion: float = 0.05
    inflation: float = 0.5
    tolerance: float = 0.001
    worse_than: float = 1.1


def fail_bound(risk: Risk) -> float:
    """The log e-value at which the canary is held to be worse."""
    return math.log(1 / risk.false_rollback)


def alone(needed: float, rules: int) -> float:
    """What one rule's evidence of harm must reach while all others' is nought, of `needed` for all.

    All rules share one budget, whose evidence is the mean of theirs.
    """
    return needed + math.log(rules)


def pass_bound(risk: Risk) -> float:
    """The log e-value either route to a pass must reach; they share the error."""
    return math.log(2 / risk.false_promotion)


def margin(seen: Counts, next_share: float, risk: Risk) -> float:
    """The ratio canary/stable that must be refuted before the canary gets `next_share`."""
    return 1 + _allowed(stats.rate_upper(seen.stable_bad, seen.stable_events), risk) / next_share


def routes(
    shown: Profile, canary: tuple[float, float], least_ratio: float, least_rate: float
) -> tuple[float, float]:
    """Log e-values of both routes: below the ratio, below the rate; `canary` is (events, bad)."""
    return stats.log_e_ok(shown, least_ratio), stats.log_e_absolute(*canary, least_rate)


def objective(seen: Counts, risk: Risk) -> float:
    """The bad rate frozen when going to 100 %: stable's upper bound and what may be added.

    At most 1: by a rule that calls everything bad, nothing can be worse.
    """
    upper = stats.rate_upper(seen.stable_bad, seen.stable_events)
    return min(1.0, upper * (1 + _allowed(upper, risk)))


def stable_is_bad(evidence: Evidence, baseline: Counts, risk: Risk, *, once: bool = False) -> bool:
    """Whether stable is in this step clearly worse than twice its own rate before the start.

    Then hold and do not blame: no comparison is fair. Open bins count. Events that are bad `once`
    a step come early in it: those who always fail all turn bad in its first bins, as they did in
    those of the time before. So all of that time's may be here already, however young the step is.
    """
    seen = total(evidence, of_step=True)
    upper = stats.rate_upper(baseline.stable_bad, baseline.stable_events)
    rate = max(2 * upper, upper + risk.tolerance)
    events = max(seen.stable_events, baseline.stable_events if once else 0.0)
    return stats.log_e_over(events, seen.stable_bad, rate) >= fail_bound(risk)


def bins_to_pass(
    events_per_bin: float,
    bad_rate: float,
    share: float,
    next_share: float,
    risk: Risk,
    at_least: int = MIN_BINS,
) -> float | None:
    """How many bins a canary as good as stable needs for a pass, if every bin is as expected.

    `events_per_bin` is all traffic: what stable serves before the start. Chance and clustered
    failures make it longer. Fewer than `at_least` are not looked for. None: not within 100 000.
    """
    stable, canary = events_per_bin * (1 - share), events_per_bin * share
    if stable <= 0 or canary <= 0:
        return None
    table = stats.log_likelihoods(stable, stable * bad_rate, canary, canary * bad_rate)

    def passes(bins: int) -> bool:
        seen = Counts(stable * bins, stable * bins * bad_rate)
        evidence = routes(
            stats.profile(tuple([bins * cell for cell in table])),
            (canary * bins, canary * bins * bad_rate),
            margin(seen, next_share, risk),
            risk.tolerance / next_share,
        )
        return max(evidence) >= pass_bound(risk)

    high = max(MIN_BINS, min(at_least, MOST_BINS))
    low = high - 1
    while not passes(high):
        if high == MOST_BINS:
            return None
        low, high = high, min(2 * high, MOST_BINS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return float(high)


def _allowed(upper: float, risk: Risk) -> float:
    """The relative excess a step may cause: max(h, delta / rate)."""
    return max(risk.inflation, risk.tolerance / upper)
