"""Two simulated services, in which rollouts are judged: one kind, one hostile.

1. *iid*: Poisson requests, each failing on its own.
2. *dns*: 150 clusters of clients behind resolvers, Zipf(0.8) in size, each sent to one arm as a
   whole and drawn again every minute; a tenth of them stays for two hours. A cluster's failures
   are log-normal(1) around the mean; 30 % of failures come as retry storms of one client (12 on
   average, geometric, over two minutes, on its cluster's arm of each minute, and requests of their
   own). Bursts multiply both arms' failures by 8 for five minutes, starting at random, every two
   hours on average. Traffic and failure rate have daily cycles of 50 % and 30 %.
3. The rate of a cell is the stable arm's mean outside bursts; no cluster fails more than always.
4. Given the arms, everything is Poisson, so sums over clusters are drawn as sums.

Both worlds are harsher or kinder than any real service; what they prove is about the judges only.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.judge.engine import Bins, Floats, Ints

MINUTES: Final = 24 * 60
_CLUSTERS, _ZIPF, _STUCK, _STUCK_MINUTES = 150, 0.8, 15, 120
_STORM_SHARE, _STORM_SIZE = 0.3, 12
_BURST, _BURST_MINUTES, _BURST_EVERY = 8.0, 5, 120
_TRAFFIC_CYCLE, _RATE_CYCLE = 0.5, 0.3


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the tables: `rate` is stable's failure rate, `ratio` the canary's over it."""

    world: str
    rps: float
    rate: float
    ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of R rollouts; `harm`: the canary's failures beyond stable's rate, in requests.

    In `by_client` a retry storm counts once, as one bad event of one exposure.
    """

    by_request: Bins
    by_client: Bins
    harm: Floats


class World(Protocol):
    """What a rollout can see of a service."""

    def minute(self, at: int, runs: Ints, shares: Floats) -> Minute:
        """The minute `at` (0..) of `runs`, whose canary has `shares` of the traffic."""
        ...

    def harm_ahead(self, runs: Ints, start: int, end: int) -> Floats:
        """Expected excess failures if the canary has all traffic in minutes [start, end)."""
        ...


def build(cell: Cell, runs: int, rng: Generator) -> World:
    """The world of a cell for so many independent rollouts."""
    if cell.world == "iid":
        return _Independent(cell, rng)
    return _Clustered(cell, runs, rng)


class _Independent:
    def __init__(self, cell: Cell, rng: Generator) -> None:
        self._cell, self._rng, self._load = cell, rng, 60 * cell.rps

    def minute(self, at: int, runs: Ints, shares: Floats) -> Minute:
        del at, runs  # no minute differs from another
        cell = self._cell
        stable = self._rng.poisson(self._load * (1 - shares))
        canary = self._rng.poisson(self._load * shares)
        stable_bad = self._rng.binomial(stable, cell.rate)
        canary_bad = self._rng.binomial(canary, min(1.0, cell.rate * cell.ratio))
        bins = _bins(stable, stable_bad, canary, canary_bad)
        return Minute(bins, bins, bins.canary_bad * (1 - 1 / cell.ratio))

    def harm_ahead(self, runs: Ints, start: int, end: int) -> Floats:
        excess = self._load * self._cell.rate * (self._cell.ratio - 1)
        return np.full(runs.size, excess * max(0, end - start))


def _bins(*counts: NDArray[np.int64]) -> Bins:
    return Bins(*(side.astype(np.float64) for side in counts))


class _Clustered:
    def __init__(self, cell: Cell, runs: int, rng: Generator) -> None:
        self._cell, self._rng = cell, rng
        sizes = np.arange(1, _CLUSTERS + 1) ** -_ZIPF
        self._sizes: Floats = sizes / sizes.sum()
        propensity = rng.lognormal(0.0, 1.0, (runs, _CLUSTERS))
        self._rates = cell.rate * propensity / (propensity @ self._sizes)[:, None]
        self._traffic = 60 * cell.rps * _cycle(rng, runs, _TRAFFIC_CYCLE)
        self._pace = _cycle(rng, runs, _RATE_CYCLE) * _bursts(rng, runs)
        order = rng.permuted(np.tile(np.arange(_CLUSTERS), (runs, 1)), axis=1)
        self._stuck = order[:, :_STUCK]
        self._phase = rng.integers(0, _STUCK_MINUTES, (runs, _STUCK))
        self._stuck_on_canary = np.zeros((runs, _STUCK), dtype=bool)
        self._left_over = np.zeros((runs, _CLUSTERS), dtype=np.int64)

    def minute(self, at: int, runs: Ints, shares: Floats) -> Minute:
        on_canary = self._arms(at, runs, shares)
        load = self._traffic[runs, at][:, None] * self._sizes
        rates = self._rates[runs] * self._pace[runs, at][:, None]
        rates = np.minimum(1.0, np.where(on_canary, rates * self._cell.ratio, rates))
        failing = load * rates
        storms = self._rng.poisson(failing * (_STORM_SHARE / _STORM_SIZE))
        retries = self._retries(runs, storms)
        arms = tuple(
            self._arm(arm, load, failing, storms, retries) for arm in (~on_canary, on_canary)
        )
        by_request, by_client = (_bins(*arms[0][unit], *arms[1][unit]) for unit in (0, 1))
        return Minute(by_request, by_client, by_request.canary_bad * (1 - 1 / self._cell.ratio))

    def harm_ahead(self, runs: Ints, start: int, end: int) -> Floats:
        pace = (self._traffic[runs, start:end] * self._pace[runs, start:end]).sum(axis=1)
        expected: Floats = pace * self._cell.rate * (self._cell.ratio - 1)
        return expected

    def _arms(self, at: int, runs: Ints, shares: Floats) -> NDArray[np.bool_]:
        """Which clusters are on the canary: most are drawn anew, the stuck ones rarely."""
        drawn = self._rng.random((runs.size, _CLUSTERS), dtype=np.float32) < shares[:, None]
        stuck = self._stuck[runs]
        again = ((at + self._phase[runs]) % _STUCK_MINUTES == 0) | (at == 0)
        kept = self._stuck_on_canary[runs]
        kept = np.where(again, np.take_along_axis(drawn, stuck, axis=1), kept)
        self._stuck_on_canary[runs] = kept
        np.put_along_axis(drawn, stuck, kept, axis=1)
        return drawn

    def _retries(self, runs: Ints, storms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The storms' failing requests of this minute, per cluster; the rest comes in the next."""
        rows, clusters = np.nonzero(storms)
        begun = storms[rows, clusters]
        all_of = begun + self._rng.negative_binomial(begun, 1 / _STORM_SIZE)
        now = self._rng.binomial(all_of, 0.5)
        retries = self._left_over[runs]
        retries[rows, clusters] += now
        self._left_over[runs] = 0
        self._left_over[runs[rows], clusters] = all_of - now
        return retries

    def _arm(
        self,
        arm: NDArray[np.bool_],
        load: Floats,
        failing: Floats,
        storms: NDArray[np.int64],
        retries: NDArray[np.int64],
    ) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray[np.int64], ...]]:
        """One arm's (events, bad) counted by request and by client."""
        lone = (failing * arm).sum(axis=1) * (1 - _STORM_SHARE)
        bad = self._rng.poisson(lone)
        good = self._rng.poisson(np.maximum((load * arm).sum(axis=1) - lone, 0.0))
        of_storms = (retries * arm).sum(axis=1)
        once = bad + (storms * arm).sum(axis=1)
        return (good + bad + of_storms, bad + of_storms), (good + once, once)


def _cycle(rng: Generator, runs: int, depth: float) -> Floats:
    """A day of factors around 1, shape (runs, MINUTES), each run with a phase of its own."""
    turns = np.arange(MINUTES) / MINUTES + rng.random((runs, 1))
    cycle: Floats = 1 + depth * np.sin(2 * np.pi * turns)
    return cycle


def _bursts(rng: Generator, runs: int) -> Floats:
    """8 in the five minutes from a burst's start, else 1; overlapping bursts do not add."""
    starts = rng.random((runs, MINUTES + _BURST_MINUTES)) < 1 / _BURST_EVERY
    shaken = np.zeros((runs, MINUTES), dtype=bool)
    for age in range(_BURST_MINUTES):
        shaken |= starts[:, age : age + MINUTES]
    return np.where(shaken, _BURST, 1.0)
