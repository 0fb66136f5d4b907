"""The product's judge over many rollouts at once: the same formulas, written again in NumPy.

1. What is compared is the judge of `shared.core`; this copy only makes thousands of rollouts
   affordable. A test holds both to the same decisions, and to log e-values within 1e-9.
2. One row is one rollout, one look adds one complete bin (nothing is late here).
3. With `BINOMIAL` alone as grid of rho it is the binomial e-process, which knows no clusters.

Shapes: R rollouts, 20 ratios theta, J values of rho; a table is (R, 20, J).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.judge.rises import Floats, rise
from shared.core.judge import Risk
from shared.core.risk import MIN_BINS, fail_bound, pass_bound
from shared.core.stats import RHOS, THETAS

type Ints = NDArray[np.int64]

ROLLBACK: Final = -1
CONTINUE: Final = 0
PASS: Final = 1
BINOMIAL: Final = (0.0,)

_THETAS = np.array(THETAS)
_EQUAL = THETAS.index(1.0)
# fmt: off
_WORSE = np.array((0.0,) * 7 + (
    0.04, 0.10, 0.16, 0.14, 0.14, 0.12, 0.09, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01,
))
# fmt: on
_SMALLER_RATES = np.array([1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2])
_LEAST_BAD, _DEAD_BAD, _DEAD_BINS = 3, 30, 2


@dataclass(frozen=True, slots=True)
class Bins:
    """One bin of each of R rollouts: exposures and bad events of both arms, shape (R,) each."""

    stable_events: Floats
    stable_bad: Floats
    canary_events: Floats
    canary_bad: Floats


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look showed: log e-values, margins and verdicts, shape (R,) each."""

    worse: Floats
    ok: Floats
    absolute: Floats
    margin: Floats
    verdict: Ints


def log_likelihoods(bins: Bins, rhos: tuple[float, ...] = RHOS) -> Floats:
    """The tables (R, 20, J) of one bin each; `rhos` begins with 0. A silent bin is all zeros."""
    table = np.zeros((bins.stable_bad.size, _THETAS.size, len(rhos)))
    speaks = (bins.stable_bad + bins.canary_bad > 0) & (bins.stable_events > 0)
    rows = np.flatnonzero(speaks & (bins.canary_events > 0))
    if rows.size:
        table[rows] = _spoken(_only(bins, rows), rhos)
    return table


def _sides(bins: Bins) -> tuple[Floats, Floats, Floats, Floats]:
    return bins.stable_events, bins.stable_bad, bins.canary_events, bins.canary_bad


def _only(bins: Bins, rows: Ints) -> Bins:
    return Bins(*(side[rows] for side in _sides(bins)))


def _spoken(bins: Bins, rhos: tuple[float, ...]) -> Floats:
    stable, stable_bad, canary, canary_bad = _sides(bins)
    odds = canary[:, None] * _THETAS
    ours, theirs = odds / (odds + stable[:, None]), stable[:, None] / (odds + stable[:, None])
    table = np.empty((stable.size, _THETAS.size, len(rhos)))
    table[:, :, 0] = canary_bad[:, None] * np.log(ours) + stable_bad[:, None] * np.log(theirs)
    if len(rhos) > 1:
        scales = np.array([(1 - rho) / rho for rho in rhos[1:]])
        both = rise(np.tile(scales, (stable.size, 1)), canary_bad + stable_bad)
        table[:, :, 1:] = -both[:, None, :]
        for share, bad in ((ours, canary_bad), (theirs, stable_bad)):
            some = np.flatnonzero(bad > 0)
            table[some, :, 1:] += rise(share[some, :, None] * scales, bad[some])
    return table


def summed(table: Floats, unclustered: float = 0.5) -> tuple[Floats, Floats]:
    """Per theta, shape (R, 20): the mixture over rho and the best rho, both as logs.

    `unclustered` is the prior weight of rho = 0; the rest is even on the other values.
    """
    others = table.shape[2] - 1
    prior = (
        np.array([unclustered] + [(1 - unclustered) / others] * others) if others else np.ones(1)
    )
    return _log_sum_exp(table + np.log(prior)), table.max(axis=-1)


def _log_sum_exp(values: Floats) -> Floats:
    """Over the last axis; at least one value of each row is finite."""
    top = values.max(axis=-1)
    total: Floats = top + np.log(np.exp(values - top[..., None]).sum(axis=-1))
    return total


def log_e_worse(mixed: Floats, best: Floats, theta0: float) -> Floats:
    """The log e-values against "at most theta0 times stable's"; theta0 is on the grid."""
    null = sum(theta <= theta0 for theta in THETAS)
    weights = _WORSE[null:] / _WORSE[null:].sum()
    worse: Floats = _log_sum_exp(mixed[:, null:] + np.log(weights)) - best[:, :null].max(axis=1)
    return worse


def _ok_weights() -> Floats:
    """Row b: the log weights of the ratios below the b-th, 0.6 of them on no difference."""
    logs = np.full((_THETAS.size, _THETAS.size), -np.inf)
    for below in range(1, _THETAS.size):
        weights = np.ones(below)
        if below > _EQUAL:
            weights[_EQUAL] = 1.5 * (below - 1)
        logs[below, :below] = np.log(weights / weights.sum())
    return logs


_OK = _ok_weights()


def log_e_ok(mixed: Floats, best: Floats, margins: Floats) -> Floats:
    """The log e-values against "at least margin times", the margins snapped down to the grid."""
    below = np.searchsorted(_THETAS, margins, side="right") - 1
    null = np.where(np.arange(_THETAS.size) >= below[:, None], best, -np.inf)
    found = np.zeros(margins.size)
    rows = below > 0
    found[rows] = _log_sum_exp(mixed[rows] + _OK[below[rows]]) - null[rows].max(axis=1)
    return found


def log_e_absolute(events: Floats, bad: Floats, rates: Floats) -> Floats:
    """The log e-values against "bad rate >= rate" for Poisson counts."""
    expected = (events * rates)[:, None]
    terms = bad[:, None] * np.log(_SMALLER_RATES) + expected * (1 - _SMALLER_RATES)
    return _log_sum_exp(terms) - math.log(_SMALLER_RATES.size)


class Engine:
    """The state of R rollouts under one risk; `steps` is how many steps are judged.

    With `block` > 1 so many bins are one block, judged also while it grows; a new weight closes it.
    No pass comes before `least_bins` bins of a step. `unclustered` is the prior weight of rho = 0.
    """

    def __init__(  # noqa: PLR0913  # what a judge is made of
        self,
        runs: int,
        *,
        risk: Risk,
        steps: int,
        rhos: tuple[float, ...] = RHOS,
        block: int = 1,
        least_bins: int = MIN_BINS,
        unclustered: float = 0.5,
    ) -> None:
        self._risk, self._steps, self._rhos, self._block = risk, steps, rhos, block
        self._least_bins, self._unclustered = least_bins, unclustered
        self._rollout = np.zeros((runs, _THETAS.size, len(rhos)))
        self._step = np.zeros_like(self._rollout)
        empty = summed(self._rollout)
        self._rollout_sums = empty[0].copy(), empty[1].copy()
        self._step_sums = empty[0].copy(), empty[1].copy()
        self._seen = np.zeros((runs, 4))
        self._step_seen = np.zeros((runs, 4))
        self._step_bins = np.zeros(runs)
        self._dead = np.zeros(runs)
        self._open = np.zeros((runs, 4))
        self._open_bins = np.zeros(runs, dtype=np.int64)
        self._open_table = np.zeros_like(self._rollout if block > 1 else self._rollout[:0])

    def look(self, runs: Ints, bins: Bins, next_shares: Floats) -> Ints:
        """Add one bin to each of `runs` and judge them."""
        return self.weigh(runs, bins, next_shares).verdict

    def weigh(self, runs: Ints, bins: Bins, next_shares: Floats) -> Looked:
        """As `look`, with the numbers."""
        self._take(runs, bins)
        seen, step_seen = self._seen[runs], self._step_seen[runs]
        allowed = self._risk.tolerance / _rate_upper(seen[:, 1], seen[:, 0])
        margin = 1 + np.maximum(self._risk.inflation, allowed) / next_shares
        ok = log_e_ok(self._step_sums[0][runs], self._step_sums[1][runs], margin)
        rates = self._risk.tolerance / next_shares
        absolute = log_e_absolute(step_seen[:, 2], step_seen[:, 3], rates)
        worse = self._worse(runs)
        fails = (worse >= fail_bound(self._risk)) & (seen[:, 3] >= _LEAST_BAD)
        fails |= self._dead[runs] >= _DEAD_BINS
        passes = np.maximum(ok, absolute) >= pass_bound(self._risk)
        passes &= self._step_bins[runs] >= self._least_bins
        verdict = np.where(fails, ROLLBACK, np.where(passes, PASS, CONTINUE))
        return Looked(worse, ok, absolute, margin, verdict)

    def advance(self, runs: Ints) -> None:
        """The weight of `runs` changed: their step's evidence starts again."""
        self._step[runs] = 0
        fresh = summed(self._step[runs])
        self._step_sums[0][runs], self._step_sums[1][runs] = fresh
        self._step_seen[runs] = 0
        self._step_bins[runs] = 0
        self._close(runs)

    def _take(self, runs: Ints, bins: Bins) -> None:
        counts = np.stack(_sides(bins), axis=1)
        self._seen[runs] += counts
        self._step_seen[runs] += counts
        self._step_bins[runs] += (bins.stable_events > 0) & (bins.canary_events > 0)
        self._dead[runs] = _dead_in_a_row(self._dead[runs], bins)
        self._open[runs] += counts
        self._open_bins[runs] += 1
        loud = runs[self._open[runs, 1] + self._open[runs, 3] > 0]
        if loud.size:
            self._add(loud)
        self._close(runs[self._open_bins[runs] >= self._block])

    def _add(self, loud: Ints) -> None:
        """A block that grows replaces its own table: its share of the sums was there before."""
        tables = log_likelihoods(Bins(*self._open[loud].T), self._rhos)
        if self._block > 1:
            tables, self._open_table[loud] = tables - self._open_table[loud], tables
        both = (self._rollout, self._rollout_sums), (self._step, self._step_sums)
        for kept, sums in both:
            kept[loud] += tables
            sums[0][loud], sums[1][loud] = summed(kept[loud], self._unclustered)

    def _close(self, runs: Ints) -> None:
        self._open[runs] = self._open_bins[runs] = 0
        if self._block > 1:
            self._open_table[runs] = 0

    def _worse(self, runs: Ints) -> Floats:
        rollout, step = (
            log_e_worse(mixed[runs], best[runs], self._risk.worse_than)
            for mixed, best in (self._rollout_sums, self._step_sums)
        )
        return np.logaddexp(math.log(0.8) + rollout, math.log(0.2 / self._steps) + step)


def _rate_upper(bad: Floats, events: Floats) -> Floats:
    upper = np.ones_like(bad)
    np.divide(bad + 2 + 2 * np.sqrt(bad + 1), events, out=upper, where=events > 0)
    return np.minimum(1.0, upper)


def _dead_in_a_row(before: Floats, bins: Bins) -> Floats:
    dead = (
        (bins.canary_bad >= _DEAD_BAD)
        & (bins.canary_bad >= bins.canary_events / 2)
        & (bins.stable_bad <= bins.stable_events / 10)
    )
    kept = (before >= _DEAD_BINS) | (bins.canary_events <= 0)
    return np.where(kept, before, np.where(dead, before + 1, 0.0))
