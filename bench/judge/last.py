"""The last step in the clustered world: what an objective at 100 % finds, and whom it takes back.

All other steps compare versions; this one holds the canary against what stable was before, so that
whatever strikes everybody speaks against it. Judged by the product itself, block by block, after
a hundred minutes at 50 %. `worse`: how many times as often the canary fails from 100 % on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.judge import worlds
from bench.judge.engine import Ints
from bench.judge.rises import Floats
from bench.judge.tables import Table, median, percent
from bench.judge.worlds import Cell
from shared.core import judge
from shared.core.judge import Counts, Evidence, Kind, Risk, Step

BEFORE, AT_FULL, TICKS_A_BLOCK = 50, 30, 2
STEPS: Final = 6
SEED: Final = 5
CELLS: Final = (Cell("dns", 10, 0.01), Cell("dns", 100, 0.01), Cell("dns", 1000, 0.001))
WORSE: Final = (1.0, 2.0, 5.0, 20.0)


@dataclass(frozen=True, slots=True)
class Last:
    """So many rollouts of a cell."""

    cell: Cell
    worse: float
    runs: int


def run(task: Last) -> Ints:
    """The block (1..) in which each rollout was taken back; 0 where it was not."""
    rng = np.random.default_rng(SEED)
    world = worlds.build(task.cell, task.runs, rng)
    evidences = [judge.begin(0) for _ in range(task.runs)]
    for number in range(BEFORE):
        evidences = _with(evidences, number, _block(world, number, task.runs, 0.5))
    evidences = [
        judge.start_step(each, BEFORE, judge.objective(each.rollout, Risk())) for each in evidences
    ]
    back = np.zeros(task.runs, np.int64)
    for number in range(BEFORE, BEFORE + AT_FULL):
        counts = _block(world, number, task.runs, 1.0)
        counts[3] = np.minimum(counts[2], np.round(counts[3] * task.worse))
        evidences = _with(evidences, number, counts)
        for one in np.flatnonzero(back == 0):
            if _kind(evidences[one], number + 1) is Kind.FAIL:
                back[one] = number + 1 - BEFORE
    return back


def table(found: Mapping[Last, Ints]) -> Table:
    """A row a cell: how many were taken back within an hour, and after how many minutes."""
    head = ["rps, stable's rate", "canary", "taken back within the hour", "minutes"]
    rows = []
    for task, back in found.items():
        hits = back[back > 0]
        minutes = f"{TICKS_A_BLOCK * median(hits.astype(np.float64))[0]:.0f}" if len(hits) else "-"
        served = f"{task.cell.rps:g}, {100 * task.cell.rate:g} %"
        rows.append([served, f"x{task.worse:g}", percent(len(hits), task.runs), minutes])
    return Table("The last step: held against an objective", head, rows)


def tasks(runs: int) -> list[Last]:
    """All cells."""
    return [Last(cell, worse, runs) for cell in CELLS for worse in WORSE]


def _block(world: worlds.World, number: int, runs: int, share: float) -> list[Floats]:
    at, everyone = number * TICKS_A_BLOCK, np.arange(runs)
    ticks = [
        world.tick(at + tick, everyone, np.full(runs, share)).bins for tick in range(TICKS_A_BLOCK)
    ]
    names = ("stable_events", "stable_bad", "canary_events", "canary_bad")
    return [np.sum([getattr(bins, name) for bins in ticks], axis=0) for name in names]


def _with(before: list[Evidence], number: int, counts: list[Floats]) -> list[Evidence]:
    each = zip(before, *counts, strict=True)
    return [
        judge.fold(judge.gather(one, [(number, _counts(*four))]), number + 1) for one, *four in each
    ]


def _counts(stable: float, stable_bad: float, canary: float, canary_bad: float) -> Counts:
    return Counts(float(stable), float(stable_bad), float(canary), float(canary_bad))


def _kind(evidence: Evidence, sealed: int) -> Kind:
    at = Step(1.0, STEPS, sealed, final=True)
    return judge.weigh({"errors": evidence}, at, Risk()).kind
