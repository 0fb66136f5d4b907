"""From outcomes to tables, each figure with its 95 % interval, for the terminal and as Markdown.

1. Shares have Wilson's interval, medians that of their order statistics, means 1.96 standard
   errors. They speak of chance in the simulation only.
2. A rollback of a release as good as stable is false; a promotion of a worse one is missed, by
   design or not: a ratio below the margin may pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.table import Table as Shown

from bench.judge.engine import CONTINUE, PASS, ROLLBACK
from bench.judge.rises import Floats
from bench.judge.rollouts import JUDGES, Outcome, Task
from bench.judge.wald import Bound, Distance
from bench.judge.worlds import Cell

_Z: Final = 1.96
_WORSE: Final = 2.0
type Outcomes = Mapping[Task, Outcome]


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a head and rows of words."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """A heading and a pipe table."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return f"### {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def shown(self) -> Shown:
        """The same for a terminal."""
        table = Shown(*self.head, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        return table


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, _Z * _Z / of
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / of + square / (4 * of)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def median(values: Floats) -> tuple[float, float, float]:
    """The median and the 95 % interval its order statistics give; `values` is not empty."""
    ranked, half = np.sort(values), _Z * math.sqrt(len(values)) / 2
    low = max(0, math.floor(len(values) / 2 - half) - 1)
    high = min(len(values) - 1, math.ceil(len(values) / 2 + half))
    return float(np.median(ranked)), float(ranked[low]), float(ranked[high])


def of_rollouts(outcomes: Outcomes) -> list[Table]:
    """All tables of the rollouts; a section that was not run has none."""
    even = {task: found for task, found in outcomes.items() if task.cell.ratio == 1}
    worse = {task: found for task, found in outcomes.items() if task.cell.ratio > 1}
    tables = [_headline(even, worse)]
    if even:
        tables += [
            _grid("A/A: false rollback", even, lambda found: share(found, ROLLBACK)),
            _grid("A/A: minutes to promotion", even, lambda found: minutes(found, PASS)),
            _grid("A/A: undecided after 24 hours", even, lambda found: share(found, CONTINUE)),
        ]
    if worse:
        tables += [
            _grid("Worse: promoted (missed)", worse, lambda found: share(found, PASS)),
            _grid("Worse: minutes to rollback", worse, lambda found: minutes(found, ROLLBACK)),
            _grid("Worse: excess bad requests within 4 hours", worse, _harm),
            _grid("Worse: undecided after 24 hours", worse, lambda found: share(found, CONTINUE)),
        ]
    return tables


def of_bounds(distances: Mapping[Bound, Distance]) -> Table:
    """How many times Wald's number of events each e-process needs."""
    head = ("weight, truth", "against", "judge", "bad events a bin", "Wald", "times", "bins")
    rows = []
    for bound, found in distances.items():
        ratio = found.events / found.wald
        spread = _Z * ratio.std() / math.sqrt(len(ratio))
        against = "x1 (rollback)" if bound.margin is None else f"x{bound.margin:g} (pass)"
        rows.append((
            f"{bound.share:g}, x{bound.ratio:g}", against, bound.judge, f"{bound.events:g}",
            f"{found.wald:.0f}", f"{ratio.mean():.2f} ± {spread:.2f}", f"{found.bins.mean():.1f}",
        ))  # fmt: skip
    return Table("Distance from Wald's bound", head, rows)


def _grid(title: str, outcomes: Outcomes, told: Callable[[Outcome], str]) -> Table:
    judges = [judge for judge in JUDGES if any(task.judge == judge for task in outcomes)]
    cells = list(dict.fromkeys(task.cell for task in outcomes))
    by_place = {(task.cell, task.judge): found for task, found in outcomes.items()}
    rows = [
        [
            named(cell),
            *(told(by_place[cell, judge]) if (cell, judge) in by_place else "" for judge in judges),
        ]
        for cell in cells
    ]
    return Table(title, ["world, rps, rate", *judges], rows)


def named(cell: Cell) -> str:
    """A cell as the tables call it."""
    ratio = "" if cell.ratio == 1 else f", x{cell.ratio:g}"
    ttl = "" if cell.ttl_s == 60 else f" TTL {cell.ttl_s} s"  # noqa: PLR2004  # the usual minute
    twist = f", {cell.twist}" if cell.twist else ""
    return f"{cell.world}{ttl}{twist}, {cell.rps:g}, {cell.rate:.1%}{ratio}"


def percent(hits: int, of: int) -> str:
    """A share with its interval; `of` is not 0."""
    low, high = wilson(hits, of)
    return f"{100 * hits / of:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def share(found: Outcome, verdict: int) -> str:
    """How many ended so, with its interval."""
    return percent(int((found.verdict == verdict).sum()), len(found.verdict))


def minutes(found: Outcome, verdict: int) -> str:
    """The median minutes to such an end, with its interval; a dash where there was none."""
    decided = found.minutes[found.verdict == verdict]
    if not decided.size:
        return "-"
    middle, low, high = median(decided)
    share = decided.size / len(found.verdict)
    shown = f"{middle:.0f} [{low:.0f}, {high:.0f}]"
    return shown + (f" ({share:.0%})" if share < 1 else "")


def _harm(found: Outcome) -> str:
    spread = _Z * found.harm.std() / math.sqrt(len(found.harm))
    return f"{found.harm.mean():,.0f} ± {spread:,.0f}"


def _headline(even: Outcomes, worse: Outcomes) -> Table:
    """Pooled over the cells of a world; in brackets the interval, then the worst cell."""
    much = {task: found for task, found in worse.items() if task.cell.ratio >= _WORSE}
    head = ["judge"]
    columns: list[tuple[Outcomes, str, int]] = []
    for outcomes, verdict, words in (
        (even, ROLLBACK, "false rollback"),
        (much, PASS, "promoted although >= 2x worse"),
        (much, CONTINUE, ">= 2x worse, undecided"),
    ):
        for world in dict.fromkeys(task.cell.world for task in outcomes):
            head.append(f"{words}, {world}")
            columns.append((outcomes, world, verdict))
    judged = [each for each in JUDGES if any(task.judge == each for task in (*even, *worse))]
    rows = [[judge, *(_pooled(*column, judge) for column in columns)] for judge in judged]
    return Table("Headline: all cells of a world, and the worst", head, rows)


def _pooled(outcomes: Outcomes, world: str, verdict: int, judge: str) -> str:
    hits: list[Floats] = [
        (found.verdict == verdict).astype(np.float64)
        for task, found in outcomes.items()
        if task.judge == judge and task.cell.world == world
    ]
    if not hits:
        return ""
    worst = max(cell.mean() for cell in hits)
    every = np.concatenate(hits)
    return f"{percent(int(every.sum()), every.size)}, worst {100 * worst:.1f}"
