"""Whole rollouts of 1-5-10-25-50-100 %: which judge decides what, when, and at what harm.

1. All rollouts of a task walk in step, a minute at a time, for at most 24 hours.
2. A pass at 50 % promotes; what is left after 24 hours is undecided.
3. Harm is counted over the first four hours: after a wrong promotion it goes on at 100 %, after a
   rollback it ends.
4. The binomial e-process is the engine without clusters, against "no worse at all".
5. Every task is seeded by its own name, so a part of the tables equals the same part of the whole.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.judge import peers, worlds
from bench.judge.engine import BINOMIAL, CONTINUE, PASS, Engine, Floats, Ints
from bench.judge.peers import Judge
from bench.judge.worlds import MINUTES, Cell
from shared.core.judge import Risk
from shared.core.stats import RHOS

SHARES: Final = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
STEPS: Final = len(SHARES) - 1
HARM_MINUTES: Final = 240
CLIENT: Final = "ours, client unit"
_STRICT: Final = Risk(inflation=0.25)
_PLAIN: Final = Risk(inflation=0.25, worse_than=1.0)
_SEED: Final = 7

OURS: Final[dict[str, tuple[Risk, tuple[float, ...]]]] = {
    "ours": (Risk(), RHOS),
    CLIENT: (Risk(), RHOS),
    "strict (h .25)": (_STRICT, RHOS),
    "binomial e-process": (_PLAIN, BINOMIAL),
}
PEERS: Final[dict[str, Callable[[int, float], Judge]]] = {
    "Kayenta": peers.Kayenta,
    "Argo": peers.Argo,
    "Flagger": peers.Flagger,
    "fixed bake": peers.FixedBake,
    "z each minute": peers.RepeatedZ,
}
JUDGES: Final = (*OURS, *PEERS)

_LEVELS = [(1, 0.001), (1, 0.01)] + [
    (rps, rate) for rps in (10, 100, 1000) for rate in (0.001, 0.01, 0.05)
]
_RATIOS: tuple[tuple[float, float, tuple[float, ...]], ...] = (
    (10, 0.01, (1.5, 2, 5)),
    (100, 0.001, (2, 5)),
    (100, 0.01, (1.25, 1.5, 2, 5)),
    (1000, 0.01, (1.5, 2, 5)),
    (100, 0.05, (1.57, 2.55)),
)
_CLIENT_LEVELS = {(100, 0.001), (100, 0.01), (1000, 0.001), (1000, 0.01)}


@dataclass(frozen=True, slots=True)
class Task:
    """One cell of the tables before it is run."""

    cell: Cell
    judge: str
    runs: int
    block: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task's rollouts: PASS, ROLLBACK or CONTINUE (undecided), minute, harm."""

    verdict: Ints
    minutes: Ints
    harm: Floats


def tasks(worlds_: tuple[str, ...], section: str, runs: int, block: int) -> list[Task]:
    """The cells of a section ("aa" or "worse") in the order of the tables."""
    cells = [
        Cell(world, rps, rate, ratio)
        for world in worlds_
        for rps, rate, ratios in (
            [(rps, rate, (1.0,)) for rps, rate in _LEVELS] if section == "aa" else _RATIOS
        )
        for ratio in ratios
    ]
    return [
        Task(cell, judge, runs, block) for cell in cells for judge in JUDGES if _judged(cell, judge)
    ]


def _judged(cell: Cell, judge: str) -> bool:
    """The client unit differs in the clustered world only, and is shown where failures abound."""
    return judge != CLIENT or (cell.world == "dns" and (cell.rps, cell.rate) in _CLIENT_LEVELS)


def _judge(task: Task) -> Judge:
    if task.judge in PEERS:
        return PEERS[task.judge](task.runs, task.cell.rate)
    risk, rhos = OURS[task.judge]
    return Engine(task.runs, risk=risk, steps=STEPS, rhos=rhos, block=task.block)


def run(task: Task) -> Outcome:
    """Walk a task's rollouts to their ends."""
    rng = np.random.default_rng([_SEED, zlib.crc32(repr((task.cell, task.judge)).encode())])
    world = worlds.build(task.cell, task.runs, rng)
    judge = _judge(task)
    step = np.zeros(task.runs, dtype=np.int64)
    verdict, minutes = np.zeros_like(step), np.full_like(step, MINUTES)
    harm, active = np.zeros(task.runs), np.arange(task.runs)
    for at in range(MINUTES):
        now = world.minute(at, active, SHARES[step[active]])
        if at < HARM_MINUTES:
            harm[active] += now.harm
        bins = now.by_client if task.judge == CLIENT else now.by_request
        found = judge.look(active, bins, SHARES[step[active] + 1])
        passed = active[found == PASS]
        step[passed] += 1
        ended = (found != CONTINUE) & ((found != PASS) | (step[active] == STEPS))
        judge.advance(active[(found == PASS) & ~ended])
        out = active[ended]
        verdict[out], minutes[out] = found[ended], at + 1
        promoted = active[ended & (found == PASS)]
        harm[promoted] += world.harm_ahead(promoted, at + 1, HARM_MINUTES)
        active = active[~ended]
        if not active.size:
            break
    return Outcome(verdict, minutes, harm)
