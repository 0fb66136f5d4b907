"""The judge's formulas written plainly, cell by cell: what one would write first.

Section 2 of the judge's document: six gamma functions a cell, one exponential a term, every open
bin computed anew. `judge_speed` measures the product against it, and holds both to equal numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.core.judge import Counts, Evidence, Risk
from shared.core.risk import margin
from shared.core.stats import RHOS, THETAS

SHARE, STEPS, RISK = 0.25, 6, Risk()
# W+ of the document, from 1.1 on.
WORSE = (0.04, 0.10, 0.16, 0.14, 0.14, 0.12, 0.09, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01)

type Cells = dict[tuple[float, float], float]


def rising(start: float, factors: float) -> float:
    """The log of start (start + 1) ... (start + factors - 1)."""
    return math.lgamma(start + factors) - math.lgamma(start)


def plain_cell(theta: float, rho: float, seen: Counts) -> float:
    """l_t(theta, rho) of one bin."""
    share = theta * seen.canary_events / (theta * seen.canary_events + seen.stable_events)
    if rho == 0:
        return seen.canary_bad * math.log(share) + seen.stable_bad * math.log(1 - share)
    scale = (1 - rho) / rho
    return (
        rising(share * scale, seen.canary_bad)
        + rising((1 - share) * scale, seen.stable_bad)
        - rising(scale, seen.canary_bad + seen.stable_bad)
    )


def plain_bin(seen: Counts) -> Cells:
    """All 340 cells of one bin."""
    return {(theta, rho): plain_cell(theta, rho, seen) for theta in THETAS for rho in RHOS}


def plain_sum(left: Cells, right: Cells) -> Cells:
    """The evidence of both."""
    return {at: left[at] + right[at] for at in left}


def log_sum_exp(terms: Sequence[float]) -> float:
    """The log of the sum of exponentials."""
    largest = max(terms)
    return largest + math.log(sum(math.exp(term - largest) for term in terms))


def log_prior(rho: float) -> float:
    """V(rho): one half on no clusters, the rest even."""
    return math.log(0.5) if rho == 0 else math.log(1 / 32)


def mixture(cells: Cells, weights: Mapping[float, float]) -> float:
    """The weighted mean over the ratios named, and over all rho."""
    total = sum(weights.values())
    return log_sum_exp(
        [
            cell + math.log(weights[theta] / total) + log_prior(rho)
            for (theta, rho), cell in cells.items()
            if weights.get(theta)
        ]
    )


def plain_worse(cells: Cells) -> float:
    """Log E_worse(L; theta0)."""
    weights = {
        theta: weight
        for theta, weight in zip(THETAS[-len(WORSE) :], WORSE, strict=True)
        if theta > RISK.worse_than
    }
    null = max(cell for (theta, _), cell in cells.items() if theta <= RISK.worse_than)
    return mixture(cells, weights) - null


def plain_ok(cells: Cells, least: float) -> float:
    """Log E_ok(L; m), m snapped down to the grid."""
    snapped = max(theta for theta in THETAS if theta <= least)
    below = [theta for theta in THETAS if theta < snapped]
    weights = {theta: 0.6 if theta == 1 else 0.4 / (len(below) - 1) for theta in below}
    return mixture(cells, weights) - max(
        cell for (theta, _), cell in cells.items() if theta >= snapped
    )


def plain_absolute(events: float, bad: float) -> float:
    """Log E_abs(n_c, k_c; q)."""
    rate, rates = RISK.tolerance / SHARE, (1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
    return log_sum_exp(
        [bad * math.log(u) + events * rate * (1 - u) - math.log(len(rates)) for u in rates]
    )


def plain_interval(cells: Cells) -> tuple[float, float | None]:
    """The 95 % interval, snapped outwards to the grid."""
    others = 0.5 / (len(THETAS) - 1)
    least = mixture(cells, {t: 0.5 if t == 1 else others for t in THETAS}) - math.log(20)
    inside = [row for row, t in enumerate(THETAS) if max(cells[t, rho] for rho in RHOS) > least]
    low, high = inside[0] - 1, inside[-1] + 1
    return THETAS[low] if low >= 0 else 0.0, THETAS[high] if high < len(THETAS) else None


@dataclass(frozen=True, slots=True)
class PlainRule:
    """One rule's folded cells and totals; all its bins are of the present step."""

    rollout: Cells
    step: Cells
    totals: Counts


def plain_rule(rule: Evidence) -> PlainRule:
    """The same evidence in the plain judge's form."""
    at = [(theta, rho) for theta in THETAS for rho in RHOS]
    rollout = dict(zip(at, rule.rollout_table, strict=True))
    return PlainRule(rollout, dict(zip(at, rule.step_table, strict=True)), rule.rollout)


def plain_verdict(rules: Sequence[PlainRule], still_open: Sequence[Counts] = ()) -> list[float]:
    """Every number a verdict rests on: harm of all rules together, then each rule's own."""
    shown: list[float] = []
    worses = []
    for rule in rules:
        rollout, step = rule.rollout, rule.step
        for seen in still_open:
            cells = plain_bin(seen)
            rollout, step = plain_sum(rollout, cells), plain_sum(step, cells)
        harm = math.log(0.8) + plain_worse(rollout), math.log(0.2 / STEPS) + plain_worse(step)
        worses.append(log_sum_exp(harm))
        shown.append(plain_ok(rule.step, margin(rule.totals, SHARE, RISK)))
        shown.append(plain_absolute(rule.totals.canary_events, rule.totals.canary_bad))
        low, high = plain_interval(rollout)
        shown += [low, high or 0]
    return [log_sum_exp(worses) - math.log(len(worses)), *shown]
