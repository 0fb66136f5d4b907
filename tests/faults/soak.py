"""As many schedules as one likes: `python -m tests.faults.soak N [FIRST]`, on every core.

Shows how far it is, tells the story of the first failing seeds, and ends with one line:
`N schedules, B promises broken`, and exit code 1 with the seeds if B is not 0.
"""

import gc
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from time import monotonic

from tests.faults import schedule
from tests.faults.calls import quietly

CHUNK = 200
MOST_STORIES = 3
MOST_SEEDS = 50


def chunk(first: int, count: int) -> list[tuple[int, str]]:
    """Some schedules in this process: the seeds that broke a promise, and which."""
    quietly()
    # What is imported stays; what a schedule leaves is collected between chunks.
    gc.collect()
    gc.freeze()
    gc.disable()
    return [
        (seed, broken) for seed in range(first, first + count) if (broken := schedule.run(seed))
    ]


def soak(count: int, first: int = 0) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Schedules from seed `first` on; yields how many are done, and what broke so far."""
    broken: list[tuple[int, str]] = []
    starts = range(first, first + count, CHUNK)
    sizes = [min(CHUNK, first + count - start) for start in starts]
    done = 0
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for size, found in zip(sizes, pool.map(chunk, starts, sizes), strict=True):
            done += size
            broken += found
            yield done, broken


def main(arguments: list[str]) -> int:
    """The command."""
    count, first = (*map(int, arguments), 0)[:2] if arguments else (20_000, 0)
    quietly()
    began_s = monotonic()
    broken: list[tuple[int, str]] = []
    for done, broken in soak(count, first):
        rate = done / (monotonic() - began_s)
        line = f"{done} of {count} schedules, {rate:.0f} a second, {len(broken)} broken"
        sys.stderr.write(f"\r{line}" if sys.stderr.isatty() else "")
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    for seed, words in broken[:MOST_STORIES]:
        print(f"\nseed {seed}: {words}\n{schedule.story(seed)}")  # noqa: T201  # a command
    for seed, words in broken[:MOST_SEEDS]:
        print(f"seed {seed}: {words}")  # noqa: T201  # a command
    took_s = monotonic() - began_s
    print(f"{count} schedules, {len(broken)} promises broken ({took_s:.0f} s)")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
