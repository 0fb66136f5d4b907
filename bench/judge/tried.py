"""What was tried beside the main tables: block lengths, another prior, groups that never move.

One line is one kind of rollout under one judge: how often it was rolled back or promoted, and when.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from bench.judge.engine import PASS, ROLLBACK
from bench.judge.rollouts import LIKELY_CLUSTERS, Outcome, Task
from bench.judge.tables import Table, minutes, named, share
from bench.judge.worlds import Cell, Twist

_RICH: Final = Cell("dns", 1000, 0.05)
_LEVELS: Final = ((10, 0.01), (100, 0.01), (1000, 0.01))
_HOUR: Final = Cell("dns", 1000, 0.01, twist="an hour's past")
_TWISTS: Final[dict[Twist, tuple[str, ...]]] = {
    "heavy group": ("client unit", "strata", "client unit, strata"),
    "new heavy group": ("client unit", "client unit, strata"),
    "strata changed": ("strata", "client unit, strata"),
}
_BLOCKS_S: Final = (15, 30, 60, 120)


def tasks(runs: int) -> list[Task]:
    """All lines, in their order."""
    return [Task(cell, judge, runs, block_s) for cell, judge, block_s in _lines()]


def _lines() -> Iterator[tuple[Cell, str, int]]:
    for cell in (replace(_RICH, ttl_s=30), Cell("dns", 1000, 0.01, 2, 30)):
        for judge in ("ours", "client unit, strata"):
            yield from ((cell, judge, block_s) for block_s in _BLOCKS_S)
    usual = [Cell(world, 100, 0.01, ratio) for world in ("iid", "dns") for ratio in (1, 2, 5)]
    hour = [replace(_HOUR, rps=rps, ratio=ratio) for rps in (100, 1000) for ratio in (1, 2)]
    yield from ((cell, judge, 0) for cell in usual for judge in ("ours", LIKELY_CLUSTERS))
    yield from ((cell, judge, 0) for cell in hour for judge in ("strata", "client unit, strata"))
    for twist, judges in _TWISTS.items():
        cells = [Cell("dns", rps, rate, twist=twist) for rps, rate in _LEVELS]
        yield from ((cell, judge, 0) for cell in cells for judge in judges)


def table(outcomes: Mapping[Task, Outcome]) -> Table:
    """One line a task."""
    rows = [
        (
            named(task.cell),
            task.judge,
            f"{task.block * task.cell.tick_s:g} s",
            share(found, ROLLBACK),
            minutes(found, ROLLBACK),
            share(found, PASS),
            minutes(found, PASS),
        )
        for task, found in outcomes.items()
    ]
    head = (
        *("world, rps, rate", "judge", "block", "rolled back", "minutes"),
        *("promoted", "minutes to promotion"),
    )
    return Table("Tried: blocks, a prior, groups that never move, strata that changed", head, rows)
