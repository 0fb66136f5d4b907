"""As many inputs as one likes: `python -m tests.fuzz.run N [--seed S]`, on every core.

Ends with one line, `N inputs, 0 crashes`; otherwise exit code 1, and the shortest input of each
kind of crash is in `.local/fuzz/` with its seed, its bytes in base64.
"""

import json
import multiprocessing
import os
import sys
from argparse import ArgumentParser
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.fuzz import mutate
from tests.fuzz.readers import READERS, Outcome, attempt

CHUNK = 5_000
MOST_KINDS = 20
CRASHES = Path(".local") / "fuzz"


@dataclass
class Tally:
    """How one reader fared."""

    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    slowest_s: float = 0.0
    slowest_bytes: int = 0
    longest_words: int = 0

    def note(self, outcome: Outcome, size: int) -> None:
        self.accepted += outcome.accepted and not outcome.broken
        self.refused += not outcome.accepted and not outcome.broken
        self.crashes += bool(outcome.broken)
        self.longest_words = max(self.longest_words, outcome.words)
        if outcome.took_s > self.slowest_s:
            self.slowest_s, self.slowest_bytes = outcome.took_s, size

    def __add__(self, other: "Tally") -> "Tally":
        slower = max(self, other, key=lambda tally: tally.slowest_s)
        return Tally(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.crashes + other.crashes,
            slower.slowest_s,
            slower.slowest_bytes,
            max(self.longest_words, other.longest_words),
        )


@dataclass(frozen=True, slots=True)
class Crash:
    """A broken promise: which, by what bytes, from which seed."""

    reader: str
    broken: str
    seed: str
    body: bytes


@dataclass
class Found:
    """The tallies by reader, and the shortest crash of each kind."""

    tallies: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in READERS})
    crashes: dict[tuple[str, str], Crash] = field(default_factory=dict)

    def keep(self, crash: Crash) -> None:
        kind = crash.reader, crash.broken
        known = self.crashes.get(kind)
        if known is None and len(self.crashes) >= MOST_KINDS:
            return
        if known is None or len(crash.body) < len(known.body):
            self.crashes[kind] = crash

    def __add__(self, other: "Found") -> "Found":
        both = Found({name: self.tallies[name] + other.tallies[name] for name in READERS})
        for crash in (*self.crashes.values(), *other.crashes.values()):
            both.keep(crash)
        return both


def chunk(seed: str, count: int) -> Found:
    """Some inputs in this process; the seed alone brings them back."""
    found = Found()
    dice = Random(seed)
    for _ in range(count):
        reader, body = mutate.body(dice)
        outcome = attempt(READERS[reader], body)
        found.tallies[reader].note(outcome, len(body))
        if outcome.broken:
            found.keep(Crash(reader, outcome.broken, seed, body))
    return found


def fuzz(count: int, seed: int) -> Iterator[tuple[int, Found]]:
    """Inputs on every core; yields how many a chunk had, and what it found."""
    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    seeds = [f"{seed}/{number}" for number in range(len(sizes))]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=context) as pool:
        yield from zip(sizes, pool.map(chunk, seeds, sizes), strict=True)


def saved(crashes: list[Crash]) -> Path:
    """The file with the crashes."""
    CRASHES.mkdir(parents=True, exist_ok=True)
    path = CRASHES / "crashes.jsonl"
    lines = [
        json.dumps(
            {
                "reader": crash.reader,
                "broken": crash.broken,
                "seed": crash.seed,
                "body": b64encode(crash.body).decode(),
            }
        )
        for crash in crashes
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def shown(found: Found) -> Table:
    """The figures, reader by reader."""
    table = Table("reader", "accepted", "refused", "crashes", "slowest", "longest refusal")
    for name, tally in found.tallies.items():
        slowest = f"{tally.slowest_s * 1000:.1f} ms ({tally.slowest_bytes} bytes)"
        counts = (tally.accepted, tally.refused, tally.crashes)
        table.add_row(name, *map(str, counts), slowest, f"{tally.longest_words} characters")
    return table


def watched(count: int, seed: int) -> Found:
    """Everything found, with a line that says how far it is."""
    columns = (
        TextColumn("inputs"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    began_s = monotonic()
    total = Found()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=count, rate="")
        for size, found in fuzz(count, seed):
            total += found
            done = progress.tasks[task].completed + size
            pace = done / (monotonic() - began_s)
            rate = f"{pace:,.0f} a second, {len(total.crashes)} kinds of crash"
            progress.update(task, advance=size, rate=rate)
    return total


def main(arguments: list[str]) -> int:
    """The command."""
    parser = ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("count", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args(arguments)
    began_s = monotonic()
    found = watched(said.count, said.seed)
    console = Console()
    console.print(shown(found))
    for crash in found.crashes.values():
        console.print(f"{crash.reader}: {crash.broken}: {crash.body[:200]!r}", markup=False)
    if found.crashes:
        console.print(f"seeds and bytes are in {saved(list(found.crashes.values()))}")
    crashes = sum(tally.crashes for tally in found.tallies.values())
    took_s = monotonic() - began_s
    console.print(f"{said.count} inputs, {crashes} crashes ({took_s:.0f} s)", highlight=False)
    return 1 if crashes else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
