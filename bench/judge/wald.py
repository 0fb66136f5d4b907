"""How far one e-process is from Wald's bound, in bad events, at a constant weight.

1. No test with these errors decides on fewer events on average (Wald 1947): for a rollback at
   alpha 1 % and beta 5 % 4.18 nats, for a pass at 5 % and 1 % 2.91 nats, each divided by the
   Kullback-Leibler information of one bad event.
2. Without clusters, the same number of bad events in every bin and exact exposures; the ratio is
   the mean number of events at the decision over Wald's. One e-process and one route: no split of
   the error between rollout and step, but the pass has its product's bound of log(2 / beta).
"""

import math
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.judge.engine import BINOMIAL, Bins, log_e_ok, log_e_worse, log_likelihoods, summed
from bench.judge.rises import Floats
from shared.core.judge import Risk
from shared.core.risk import fail_bound, pass_bound
from shared.core.stats import RHOS

_EXPOSURE: Final = 1e6
_MOST_BINS: Final = 20_000
_ALPHA, _BETA = Risk().false_rollback, Risk().false_promotion


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure of the table: `margin` is None for a rollback; `events` bad events a bin."""

    share: float
    ratio: float
    margin: float | None
    events: float
    judge: str
    runs: int


@dataclass(frozen=True, slots=True)
class Distance:
    """Wald's number of bad events, and each run's events and bins until its decision."""

    wald: float
    events: Floats
    bins: Floats


def bounds(runs: int) -> list[Bound]:
    """The table of section 6; the smallest shift is left out where a bin holds one event."""
    harms = [(share, ratio) for share in (0.05, 0.5) for ratio in (1.25, 1.5, 2.0, 5.0)]
    found = [
        Bound(share, ratio, None, events, judge, runs)
        for share, ratio in harms
        for judge in ("ours", "binomial")
        for events in (1.0, 10.0, 100.0)
        if (share, ratio, events) != (0.05, 1.25, 1.0)
    ]
    passes = [(margin, events) for margin in (1.25, 1.5, 2.0) for events in (10.0, 100.0)]
    return found + [Bound(0.5, 1.0, margin, events, "ours", runs) for margin, events in passes]


def run(bound: Bound) -> Distance:
    """Simulate until every run has decided (or 20,000 bins have passed)."""
    rng = np.random.default_rng(zlib.crc32(repr(bound).encode()))
    rhos = BINOMIAL if bound.judge == "binomial" else RHOS
    table = np.zeros((bound.runs, *log_likelihoods(_bins(bound, np.zeros((1, 2))), rhos).shape[1:]))
    events, bins = np.zeros(bound.runs), np.zeros(bound.runs)
    active = np.arange(bound.runs)
    for _ in range(_MOST_BINS):
        bad = np.full(active.size, int(bound.events))
        ours = rng.binomial(bad, _share_of_bad(bound.share, bound.ratio))
        counts = np.stack((bad - ours, ours), axis=1).astype(np.float64)
        table[active] += log_likelihoods(_bins(bound, counts), rhos)
        events[active] += bad
        bins[active] += 1
        active = active[~_decided(bound, table[active])]
        if not active.size:
            break
    return Distance(wald_events(bound), events, bins)


def wald_events(bound: Bound) -> float:
    """The least mean number of bad events, `bound.ratio` being the truth."""
    null = 1.0 if bound.margin is None else bound.margin
    truth, other = (_share_of_bad(bound.share, ratio) for ratio in (bound.ratio, null))
    nats = truth * math.log(truth / other) + (1 - truth) * math.log((1 - truth) / (1 - other))
    errors = (_ALPHA, _BETA) if bound.margin is None else (_BETA, _ALPHA)
    return _wald_nats(*errors) / nats


def _wald_nats(wrong: float, missed: float) -> float:
    found = (1 - missed) * math.log((1 - missed) / wrong)
    return found + missed * math.log(missed / (1 - wrong))


def _share_of_bad(share: float, ratio: float) -> float:
    return ratio * share / (ratio * share + 1 - share)


def _bins(bound: Bound, bad: Floats) -> Bins:
    whole = np.full(len(bad), _EXPOSURE)
    return Bins(whole * (1 - bound.share), bad[:, 0], whole * bound.share, bad[:, 1])


def _decided(bound: Bound, table: Floats) -> np.ndarray:
    mixed, best = summed(table)
    if bound.margin is None:
        return log_e_worse(mixed, best, 1.0) >= fail_bound(Risk())
    return log_e_ok(mixed, best, np.full(len(table), bound.margin)) >= pass_bound(Risk())
