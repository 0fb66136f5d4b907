"""Two simulated services, in which rollouts are judged: one kind, one hostile.

1. *iid*: Poisson requests, each failing on its own.
2. *dns*: 150 clusters of clients behind resolvers, Zipf(0.8) in size, each sent to one arm as a
   whole and drawn again when its cache runs out; a tenth of them stays for two hours. A cluster's
   failures are log-normal(1) around the mean; 30 % of failures come as retry storms of one client
   (12 on average, geometric, over two minutes, on its cluster's arm of each moment, and requests of
   their own). Bursts multiply both arms' failures by 8 for five minutes, starting at random, every
   two hours on average. Traffic and failure rate have daily cycles of 50 % and 30 %.
3. With a TTL of a minute all caches run out together at the full minute, which is a tick. With a
   shorter one a tick is half a TTL and every cluster has a phase of its own.
4. The rate of a cell is the stable arm's mean outside bursts; no cluster fails more than always.
5. Given the arms, everything is Poisson.
6. Twists: a *heavy group* of 3 % of the traffic (an office, a partner) fails 20 times as often and
   keeps its arm for good, known to the past or new; the strata have *changed* since their past; or
   that past is an *hour's* only, where otherwise it is a day's.

Both worlds are harsher or kinder than any real service; what they prove is about the judges only.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.judge import history
from bench.judge.engine import Bins, Ints
from bench.judge.rises import Floats

type Unit = Literal["by_request", "by_client", "standardised", "standardised_by_client"]

type Twist = Literal["", "heavy group", "new heavy group", "strata changed", "an hour's past"]

HOURS: Final = 24
_MINUTE_S: Final = 60
_CLUSTERS, _ZIPF, _STUCK, _STUCK_MINUTES = 150, 0.8, 15, 120
_STORM_SHARE, _STORM_SIZE, _STORM_MINUTES = 0.3, 12, 2
_BURST, _BURST_MINUTES, _BURST_EVERY = 8.0, 5, 120
_TRAFFIC_CYCLE, _RATE_CYCLE = 0.5, 0.3
_HEAVY_SIZE, _HEAVY_TIMES, _HEAVY_MOST = 0.03, 20, 0.9


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the tables: `rate` is stable's failure rate, `ratio` the canary's over it."""

    world: str
    rps: float
    rate: float
    ratio: float = 1.0
    ttl_s: int = _MINUTE_S
    twist: Twist = ""

    @property
    def tick_s(self) -> float:
        """How long a tick lasts."""
        return _MINUTE_S if self.ttl_s == _MINUTE_S else self.ttl_s / 2

    @property
    def ticks(self) -> int:
        """How many ticks there are before a rollout is given up."""
        return round(HOURS * 3600 / self.tick_s)


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of R rollouts in the unit asked for.

    `harm`: the canary's failures beyond stable's rate, in requests.
    """

    bins: Bins
    harm: Floats


class World(Protocol):
    """What a rollout can see of a service."""

    def tick(self, at: int, runs: Ints, shares: Floats) -> Tick:
        """The tick `at` (0..) of `runs`, whose canary has `shares` of the traffic."""
        ...

    def harm_ahead(self, runs: Ints, start: int, end: int) -> Floats:
        """Expected excess failures if the canary has all traffic in ticks [start, end)."""
        ...


def build(cell: Cell, runs: int, rng: Generator, unit: Unit = "by_request") -> World:
    """The world of a cell for so many independent rollouts.

    By client a retry storm counts once, as one bad event of one exposure. Standardised exposures
    weigh each cluster by what its region's past foretold.
    """
    if cell.world == "iid":
        return _Independent(cell, rng)
    return _Clustered(cell, runs, rng, unit)


class _Independent:
    def __init__(self, cell: Cell, rng: Generator) -> None:
        self._cell, self._rng, self._load = cell, rng, cell.tick_s * cell.rps

    def tick(self, at: int, runs: Ints, shares: Floats) -> Tick:
        del at, runs  # no tick differs from another
        cell = self._cell
        stable = self._rng.poisson(self._load * (1 - shares))
        canary = self._rng.poisson(self._load * shares)
        stable_bad = self._rng.binomial(stable, cell.rate)
        canary_bad = self._rng.binomial(canary, min(1.0, cell.rate * cell.ratio))
        sides = stable, stable_bad, canary, canary_bad
        bins = Bins(*(side.astype(np.float64) for side in sides))
        return Tick(bins, bins.canary_bad * (1 - 1 / cell.ratio))

    def harm_ahead(self, runs: Ints, start: int, end: int) -> Floats:
        excess = self._load * self._cell.rate * (self._cell.ratio - 1)
        return np.full(runs.size, excess * max(0, end - start))


class _Clustered:
    def __init__(self, cell: Cell, runs: int, rng: Generator, unit: Unit) -> None:
        self._cell, self._rng, self._by_client = cell, rng, unit.endswith("by_client")
        self._minutes = cell.tick_s / _MINUTE_S
        sizes = np.arange(1, _CLUSTERS + 1) ** -_ZIPF
        self._sizes: Floats = sizes / sizes.sum()
        propensity = rng.lognormal(0.0, 1.0, (runs, _CLUSTERS))
        self._rates = cell.rate * propensity / (propensity @ self._sizes)[:, None]
        self._traffic = cell.tick_s * cell.rps * self._cycle(runs, _TRAFFIC_CYCLE)
        self._pace = self._cycle(runs, _RATE_CYCLE) * self._bursts(runs)
        order = rng.permuted(np.tile(np.arange(_CLUSTERS), (runs, 1)), axis=1)
        self._stuck = order[:, :_STUCK]
        self._stuck_ticks = round(_STUCK_MINUTES / self._minutes)
        self._stuck_phase = rng.integers(0, self._stuck_ticks, (runs, _STUCK))
        self._ttl_ticks = round(cell.ttl_s / cell.tick_s)
        self._phase = rng.integers(0, self._ttl_ticks, (runs, _CLUSTERS))
        self._on_canary = np.zeros((runs, _CLUSTERS), dtype=bool)
        self._storm_ticks = round(_STORM_MINUTES / self._minutes)
        self._to_come = np.zeros((self._storm_ticks, runs, _CLUSTERS), dtype=np.int64)
        past = self._rates.copy()
        self._heavy = np.flatnonzero(
            (np.arange(_CLUSTERS) == np.abs(self._sizes - _HEAVY_SIZE).argmin())
            & cell.twist.endswith("heavy group")
        )
        self._rates[:, self._heavy] = min(_HEAVY_MOST, _HEAVY_TIMES * cell.rate)
        known = past if cell.twist == "new heavy group" else self._rates
        self._weights = self._learnt(known) if unit.startswith("standardised") else None

    def _learnt(self, rates: Floats) -> Floats:
        """What the past of its region, with these rates, makes of each cluster."""
        of = history.regions(len(rates), _CLUSTERS, self._rng)
        hours = 1.0 if self._cell.twist == "an hour's past" else HOURS
        load = _MINUTE_S * self._cell.rps * self._sizes
        past = history.Past(load, rates, (_STORM_SHARE, _STORM_SIZE), hours)
        found = history.weights(of, past, self._rng)[int(self._by_client)]
        changed = self._cell.twist == "strata changed"
        return self._rng.permuted(found, axis=1) if changed else found

    def tick(self, at: int, runs: Ints, shares: Floats) -> Tick:
        on_canary = self._arms(at, runs, shares)
        load = self._traffic[runs, at][:, None] * self._sizes
        rates = self._rates[runs] * self._pace[runs, at][:, None]
        rates = np.minimum(1.0, np.where(on_canary, rates * self._cell.ratio, rates))
        failing = load * rates
        storms = self._rng.poisson(failing * (_STORM_SHARE / _STORM_SIZE))
        retries = self._retries(at, runs, storms)
        lone = self._rng.poisson(failing * (1 - _STORM_SHARE))
        good = self._rng.poisson(np.maximum(load - failing * (1 - _STORM_SHARE), 0.0))
        again = storms if self._by_client else retries
        events, bad = good + lone + again, lone + again
        exposed = events if self._weights is None else events * self._weights[runs]
        sides = (
            (each * arm).sum(axis=1) for arm in (~on_canary, on_canary) for each in (exposed, bad)
        )
        failed = ((lone + retries) * on_canary).sum(axis=1)
        bins = Bins(*(side.astype(np.float64) for side in sides))
        return Tick(bins, failed * (1 - 1 / self._cell.ratio))

    def harm_ahead(self, runs: Ints, start: int, end: int) -> Floats:
        pace = (self._traffic[runs, start:end] * self._pace[runs, start:end]).sum(axis=1)
        expected: Floats = pace * self._cell.rate * (self._cell.ratio - 1)
        return expected

    def _arms(self, at: int, runs: Ints, shares: Floats) -> NDArray[np.bool_]:
        """Which clusters are on the canary: most are drawn at every TTL, the stuck ones rarely."""
        drawn = self._rng.random((runs.size, _CLUSTERS), dtype=np.float32) < shares[:, None]
        before = self._on_canary[runs]
        again = ((at + self._phase[runs]) % self._ttl_ticks == 0) | (at == 0)
        rarely = ((at + self._stuck_phase[runs]) % self._stuck_ticks == 0) | (at == 0)
        np.put_along_axis(again, self._stuck[runs], rarely, axis=1)
        again[:, self._heavy] = at == 0
        now: NDArray[np.bool_] = np.where(again, drawn, before)
        self._on_canary[runs] = now
        return now

    def _retries(self, at: int, runs: Ints, storms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The storms' failing requests of this tick, per cluster; the rest comes in later ones."""
        rows, clusters = np.nonzero(storms)
        begun = storms[rows, clusters]
        all_of = begun + self._rng.negative_binomial(begun, 1 / _STORM_SIZE)
        even = [1 / self._storm_ticks] * self._storm_ticks
        parts = self._rng.multinomial(all_of, even)
        for later in range(self._storm_ticks):
            slot = self._to_come[(at + later) % self._storm_ticks]
            slot[runs[rows], clusters] += parts[:, later]
        now = self._to_come[at % self._storm_ticks]
        retries: NDArray[np.int64] = now[runs]
        now[runs] = 0
        return retries

    def _cycle(self, runs: int, depth: float) -> Floats:
        """A day of factors around 1, shape (runs, ticks), each run with a phase of its own."""
        turns = np.arange(self._cell.ticks) / self._cell.ticks + self._rng.random((runs, 1))
        cycle: Floats = 1 + depth * np.sin(2 * np.pi * turns)
        return cycle

    def _bursts(self, runs: int) -> Floats:
        """8 in the five minutes from a burst's start, else 1; overlapping bursts do not add."""
        ticks, ages = self._cell.ticks, round(_BURST_MINUTES / self._minutes)
        starts = self._rng.random((runs, ticks + ages)) < self._minutes / _BURST_EVERY
        shaken = np.zeros((runs, ticks), dtype=bool)
        for age in range(ages):
            shaken |= starts[:, age : age + ticks]
        return np.where(shaken, _BURST, 1.0)
