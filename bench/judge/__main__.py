"""`python -m bench.judge [REPLICATES]`: simulate, show the tables, write them as Markdown.

REPLICATES rollouts in each A/A cell (200 unless said), half as many in each cell of a worse release
and for each of Wald's bounds. 200 take four minutes of two cores; time grows in proportion.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from bench.judge import last, rollouts, sampled, tables, tried, wald
from bench.judge.tables import Table

_WORLDS: Final = ("iid", "dns")
_SECTIONS: Final = ("aa", "worse", "wald", "tried", "last", "sampled")


def main() -> None:
    """Run what was asked for."""
    asked = _asked()
    console = Console()
    began = time.monotonic()
    found = list(_tables(asked, console))
    for table in found:
        console.print(table.shown())
    size = f"{asked.replicates} rollouts an A/A cell, {_half(asked)} elsewhere"
    block = f"{asked.block} s" if asked.block else "twice the TTL"
    head = f"{size}; a block is {block}; NumPy simulation, seeded."
    text = "\n\n".join(["## The judge against its peers", head, *(one.markdown() for one in found)])
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text + "\n", encoding="utf-8")
    console.print(f"{size}: {time.monotonic() - began:.0f} s, written to {asked.out}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.judge", description=__doc__)
    parser.add_argument("replicates", nargs="?", type=int, default=200)
    parser.add_argument("--world", choices=_WORLDS, help="only this world")
    parser.add_argument("--section", choices=_SECTIONS, help="only this part")
    parser.add_argument("--block", type=int, default=0, help="seconds of one block of ours")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--out", type=Path, default=Path(".local/bench-judge.md"))
    asked = parser.parse_args()
    if asked.replicates < 1 or asked.block < 0 or asked.jobs < 1:
        parser.error("replicates and jobs are at least 1, a block at least 0 (twice the TTL)")
    return asked


def _half(asked: argparse.Namespace) -> int:
    return max(1, int(asked.replicates) // 2)


def _tables(asked: argparse.Namespace, console: Console) -> list[Table]:
    worlds = (asked.world,) if asked.world else _WORLDS
    sections = (asked.section,) if asked.section else _SECTIONS
    sizes = {"aa": asked.replicates, "worse": _half(asked)}
    tasks = [
        task
        for section in sections
        if section in sizes
        for task in rollouts.tasks(worlds, section, sizes[section], asked.block)
    ]
    bounds = wald.bounds(_half(asked)) if "wald" in sections else []
    found: list[Table] = []
    if tasks:
        found += tables.of_rollouts(_all("rollouts", rollouts.run, tasks, asked.jobs, console))
    if bounds:
        found.append(tables.of_bounds(_all("bounds", wald.run, bounds, asked.jobs, console)))
    if "tried" in sections and not asked.world:
        lines = tried.tasks(asked.replicates)
        found.append(tried.table(_all("tried", rollouts.run, lines, asked.jobs, console)))
    if "last" in sections and asked.world != "iid":
        ends = last.tasks(_half(asked))
        found.append(last.table(_all("last step", last.run, ends, asked.jobs, console)))
    if "sampled" in sections and not asked.world:
        cells = sampled.tasks(_half(asked))
        found.append(sampled.table(_all("sampled", sampled.run, cells, asked.jobs, console)))
    return found


def _all[T, R](
    title: str, run: Callable[[T], R], todo: list[T], jobs: int, console: Console
) -> Mapping[T, R]:
    """Each task's result, in the order of the tasks; processes start clean (no fork)."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
    ):
        bar = progress.add_task(title, total=len(todo))
        futures = {pool.submit(run, task): task for task in todo}
        done: dict[T, R] = {}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            progress.advance(bar)
    return {task: done[task] for task in todo}


if __name__ == "__main__":
    main()
