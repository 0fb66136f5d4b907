"""Whole rollouts of 1-5-10-25-50-100 %: which judge decides what, when, and at what harm.

1. All rollouts of a task walk in step, a tick at a time, for at most 24 hours.
2. A pass at 50 % promotes; what is left after 24 hours is undecided.
3. Harm is counted over the first four hours: after a wrong promotion it goes on at 100 %, after a
   rollback it ends.
4. Ours has the product's blocks: twice the TTL. The binomial e-process is the engine without
   clusters, against "no worse at all". Peers look once a minute and know no TTL.
5. Every task is seeded by its own name, so a part of the tables equals the same part of the whole.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from bench.judge import peers, worlds
from bench.judge.engine import BINOMIAL, CONTINUE, PASS, Engine, Ints
from bench.judge.peers import Judge
from bench.judge.rises import Floats
from bench.judge.worlds import Cell, Unit
from shared.core.judge import Risk
from shared.core.risk import MIN_BINS
from shared.core.stats import RHOS

SHARES: Final = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
STEPS: Final = len(SHARES) - 1
HARM_HOURS: Final = 4
SHORTEST_BLOCK_S, SHORTEST_BAKE_S = 30, 180
_DEFAULT: Final = Risk()
_STRICT: Final = Risk(inflation=0.25)
_PLAIN: Final = Risk(inflation=0.25, worse_than=1.0)
_SEED: Final = 7
# Tried, and not worth its price where there are none; shown in a table of its own.
LIKELY_CLUSTERS: Final = "clusters likely"


@dataclass(frozen=True, slots=True)
class Setup:
    """How the engine is run: what it is given of a tick, and what it may do wrong."""

    unit: Unit = "by_request"
    risk: Risk = _DEFAULT
    rhos: tuple[float, ...] = RHOS
    unclustered: float = 0.5


OURS: Final[dict[str, Setup]] = {
    "ours": Setup(),
    "client unit": Setup("by_client"),
    "strata": Setup("standardised"),
    "client unit, strata": Setup("standardised_by_client"),
    "strict (h .25)": Setup(risk=_STRICT),
    "strict, client unit, strata": Setup("standardised_by_client", _STRICT),
    "binomial e-process": Setup(risk=_PLAIN, rhos=BINOMIAL),
    LIKELY_CLUSTERS: Setup(unclustered=0.1),
}
PEERS: Final[dict[str, Callable[[int, float], Judge]]] = {
    "Kayenta": peers.Kayenta,
    "Argo": peers.Argo,
    "Flagger": peers.Flagger,
    "fixed bake": peers.FixedBake,
    "z each minute": peers.RepeatedZ,
}
JUDGES: Final = (*OURS, *PEERS)
# Judges of short TTLs: where nothing hangs on clusters, or on minutes, there is nothing to show.
_SHORT_TTLS_S: Final = (30, 15)
_OF_SHORT_TTLS: Final = ("ours", "client unit", "strata", "client unit, strata")

_LEVELS = [(1, 0.001), (1, 0.01)] + [
    (rps, rate) for rps in (10, 100, 1000) for rate in (0.001, 0.01, 0.05)
]
_RATIOS: tuple[tuple[float, float, tuple[float, ...]], ...] = (
    (10, 0.01, (1.5, 2, 5)),
    (100, 0.001, (2, 5)),
    (100, 0.01, (1.25, 1.5, 2, 5)),
    (1000, 0.01, (1.25, 1.5, 2, 5)),
    (100, 0.05, (1.57, 2.55)),
)
_SHORT_LEVELS: Final = ((100, 0.001), (100, 0.01), (100, 0.05), (1000, 0.01), (1000, 0.05))
_SHORT_RATIOS: Final = ((100, 0.001), (100, 0.01), (1000, 0.01))


@dataclass(frozen=True, slots=True)
class Task:
    """One cell of the tables before it is run; `block_s` 0 is the product's own."""

    cell: Cell
    judge: str
    runs: int
    block_s: int = 0

    @property
    def block(self) -> int:
        """How many ticks one block of ours has."""
        block_s = self.block_s or max(SHORTEST_BLOCK_S, 2 * self.cell.ttl_s)
        return max(1, round(block_s / self.cell.tick_s))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task's rollouts: PASS, ROLLBACK or CONTINUE (undecided), minute, harm."""

    verdict: Ints
    minutes: Floats
    harm: Floats


def tasks(worlds_: tuple[str, ...], section: str, runs: int, block_s: int) -> list[Task]:
    """The cells of a section ("aa" or "worse") in the order of the tables."""
    cells = [cell for world in worlds_ for cell in _cells(world, section)]
    return [
        Task(cell, judge, runs, block_s)
        for cell in cells
        for judge in JUDGES
        if _judged(cell, judge)
    ]


def _cells(world: str, section: str) -> Iterator[Cell]:
    even = section == "aa"
    ratios = [(*level, (1.0,)) for level in _LEVELS] if even else _RATIOS
    for rps, rate, each in ratios:
        yield from (Cell(world, rps, rate, ratio) for ratio in each)
    if world == "dns":
        for ttl_s in _SHORT_TTLS_S:
            for rps, rate in _SHORT_LEVELS if even else _SHORT_RATIOS:
                yield from (
                    Cell(world, rps, rate, ratio, ttl_s) for ratio in ((1.0,) if even else (2, 5))
                )


def _judged(cell: Cell, judge: str) -> bool:
    """Units and strata differ in the clustered world only; peers know no TTL."""
    if judge == LIKELY_CLUSTERS:
        return False
    if cell.ttl_s in _SHORT_TTLS_S:
        return judge in _OF_SHORT_TTLS
    return cell.world == "dns" or judge not in OURS or OURS[judge].unit == "by_request"


def _judge(task: Task) -> Judge:
    if task.judge in PEERS:
        return PEERS[task.judge](task.runs, task.cell.rate)
    setup = OURS[task.judge]
    least = max(MIN_BINS * task.block, ceil(SHORTEST_BAKE_S / task.cell.tick_s))
    return Engine(
        task.runs,
        risk=setup.risk,
        steps=STEPS,
        rhos=setup.rhos,
        block=task.block,
        least_bins=least,
        unclustered=setup.unclustered,
    )


def run(task: Task) -> Outcome:
    """Walk a task's rollouts to their ends."""
    rng = np.random.default_rng([_SEED, zlib.crc32(repr((task.cell, task.judge)).encode())])
    unit = OURS[task.judge].unit if task.judge in OURS else "by_request"
    world = worlds.build(task.cell, task.runs, rng, unit)
    judge, ticks = _judge(task), task.cell.ticks
    counted = round(ticks * HARM_HOURS / worlds.HOURS)
    step = np.zeros(task.runs, dtype=np.int64)
    verdict, ended_at = np.zeros_like(step), np.full_like(step, ticks)
    harm, active = np.zeros(task.runs), np.arange(task.runs)
    for at in range(ticks):
        now = world.tick(at, active, SHARES[step[active]])
        if at < counted:
            harm[active] += now.harm
        found = judge.look(active, now.bins, SHARES[step[active] + 1])
        passed = active[found == PASS]
        step[passed] += 1
        ended = (found != CONTINUE) & ((found != PASS) | (step[active] == STEPS))
        judge.advance(active[(found == PASS) & ~ended])
        out = active[ended]
        verdict[out], ended_at[out] = found[ended], at + 1
        promoted = active[ended & (found == PASS)]
        harm[promoted] += world.harm_ahead(promoted, at + 1, counted)
        active = active[~ended]
        if not active.size:
            break
    minutes = ended_at.astype(np.float64) * (task.cell.tick_s / 60)
    return Outcome(verdict, minutes, harm)
