"""The rules others release by, each on one metric and looked at once a minute.

1. Argo Rollouts: 10 measurements a step; more than `failureLimit` = 3 failed ones roll back.
2. Flagger: a failed check, or a minute without requests, adds one for good and halts the advance;
   a good check advances; the tick after the fifth failed check rolls back.
3. Fixed bake: after 10 minutes of a step the step's own rate is compared once.
4. Repeated z: the step's counts are compared every minute, one-sided at 1 %, for 10 minutes.
5. Kayenta: every 15 minutes, see `bench.judge.kayenta`.
6. The threshold of 1 to 3 is twice the TRUE rate of stable, which no user knows.

A minute without canary requests measures 0 for Argo, as an expression that guards its division
would; with the error of an unguarded one it would roll back every quiet service.
"""

from statistics import NormalDist
from typing import Final, Protocol

import numpy as np

from bench.judge.engine import CONTINUE, PASS, ROLLBACK, Bins, Ints
from bench.judge.kayenta import Label, classify
from bench.judge.rises import Floats

_BAKE_MINUTES: Final = 10
_FAILURE_LIMIT: Final = 3
_FAILED_CHECKS: Final = 5
_Z: Final = NormalDist().inv_cdf(0.99)
_KAYENTA_MINUTES: Final = 15


class Judge(Protocol):
    """Whoever decides about many rollouts at once."""

    def look(self, runs: Ints, bins: Bins, next_shares: Floats) -> Ints:
        """Take one minute of `runs`; ROLLBACK, CONTINUE or PASS for each."""
        ...

    def advance(self, runs: Ints) -> None:
        """The weight of `runs` changed after a pass."""
        ...


def _rate(bad: Floats, events: Floats) -> Floats:
    return bad / np.maximum(events, 1)


def _verdicts(fails: np.ndarray, passes: np.ndarray) -> Ints:
    return np.where(fails, ROLLBACK, np.where(passes, PASS, CONTINUE))


class Argo:
    """Counts failed measurements; a step ends well after ten."""

    def __init__(self, runs: int, rate: float) -> None:
        self._threshold = 2 * rate
        self._taken, self._failed = np.zeros(runs), np.zeros(runs)

    def look(self, runs: Ints, bins: Bins, next_shares: Floats) -> Ints:  # noqa: ARG002  # shape
        """One measurement."""
        self._taken[runs] += 1
        self._failed[runs] += _rate(bins.canary_bad, bins.canary_events) > self._threshold
        return _verdicts(self._failed[runs] > _FAILURE_LIMIT, self._taken[runs] >= _BAKE_MINUTES)

    def advance(self, runs: Ints) -> None:
        """Each step has its own analysis."""
        self._taken[runs] = self._failed[runs] = 0


class Flagger:
    """Counts failed checks over the whole rollout."""

    def __init__(self, runs: int, rate: float) -> None:
        self._threshold, self._failed = 2 * rate, np.zeros(runs)

    def look(self, runs: Ints, bins: Bins, next_shares: Floats) -> Ints:  # noqa: ARG002  # shape
        """One tick."""
        over = self._failed[runs] >= _FAILED_CHECKS
        bad = _rate(bins.canary_bad, bins.canary_events) > self._threshold
        bad |= bins.canary_events == 0
        self._failed[runs] += bad
        return _verdicts(over, ~bad)

    def advance(self, runs: Ints) -> None:
        """Nothing is forgotten."""


class FixedBake:
    """Looks once, at the end of the bake."""

    def __init__(self, runs: int, rate: float) -> None:
        self._threshold = 2 * rate
        self._minutes, self._seen = np.zeros(runs), np.zeros((runs, 2))

    def look(self, runs: Ints, bins: Bins, next_shares: Floats) -> Ints:  # noqa: ARG002  # shape
        """One minute of the bake."""
        self._minutes[runs] += 1
        self._seen[runs] += np.stack((bins.canary_bad, bins.canary_events), axis=1)
        done = self._minutes[runs] >= _BAKE_MINUTES
        bad = _rate(*self._seen[runs].T) > self._threshold
        return _verdicts(done & bad, done)

    def advance(self, runs: Ints) -> None:
        """Each step is counted afresh."""
        self._minutes[runs] = 0
        self._seen[runs] = 0


class RepeatedZ:
    """A two-proportion test of the step so far, each minute anew."""

    def __init__(self, runs: int, rate: float) -> None:
        del rate  # compares the arms
        self._minutes, self._seen = np.zeros(runs), np.zeros((runs, 4))

    def look(self, runs: Ints, bins: Bins, next_shares: Floats) -> Ints:  # noqa: ARG002  # shape
        """One test."""
        self._minutes[runs] += 1
        sides = bins.stable_events, bins.stable_bad, bins.canary_events, bins.canary_bad
        self._seen[runs] += np.stack(sides, axis=1)
        stable, stable_bad, canary, canary_bad = self._seen[runs].T
        pooled = _rate(stable_bad + canary_bad, stable + canary)
        error = np.sqrt(
            pooled * (1 - pooled) * (1 / np.maximum(stable, 1) + 1 / np.maximum(canary, 1))
        )
        gap = _rate(canary_bad, canary) - _rate(stable_bad, stable)
        return _verdicts((error > 0) & (gap > _Z * error), self._minutes[runs] >= _BAKE_MINUTES)

    def advance(self, runs: Ints) -> None:
        """Each step is counted afresh."""
        self._minutes[runs] = 0
        self._seen[runs] = 0


class Kayenta:
    """A Mann-Whitney test of fifteen per-minute shares, once a step."""

    def __init__(self, runs: int, rate: float) -> None:
        del rate  # compares the arms
        self._minutes = np.zeros(runs, dtype=np.int64)
        self._shares = np.zeros((runs, 2, _KAYENTA_MINUTES))

    def look(self, runs: Ints, bins: Bins, next_shares: Floats) -> Ints:  # noqa: ARG002  # shape
        """One value of both arms, and after the fifteenth the judgement."""
        at = self._minutes[runs]
        sides = (bins.stable_bad, bins.stable_events), (bins.canary_bad, bins.canary_events)
        for arm, (bad, events) in enumerate(sides):
            share = np.where(events > 0, 100 * _rate(bad, events), np.nan)
            self._shares[runs, arm, at] = share
        self._minutes[runs] += 1
        done = self._minutes[runs] == _KAYENTA_MINUTES
        fails = np.array([ends and self._fails(run) for run, ends in zip(runs, done, strict=True)])
        return _verdicts(fails, done)

    def advance(self, runs: Ints) -> None:
        """Each step is judged by its own values."""
        self._minutes[runs] = 0

    def _fails(self, run: int) -> bool:
        control, experiment = (values[~np.isnan(values)].tolist() for values in self._shares[run])
        return classify(control, experiment) is not Label.PASS
