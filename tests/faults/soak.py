"""As many schedules as one likes: `python -m tests.faults.soak N [FIRST]`, on every core.

Shows how far it is, counts the faults by kind, tells the story of the first failing seeds, and
ends with one line:
`N schedules, B promises broken`, and exit code 1 with the seeds if B is not 0.
"""

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from time import monotonic

from tests.faults import schedule
from tests.faults.calls import quietly

CHUNK = 200
MOST_STORIES = 3
MOST_SEEDS = 50


type Broken = list[tuple[int, str]]


def chunk(first: int, count: int) -> tuple[Broken, Counter[str]]:
    """Some schedules in this process: the seeds that broke a promise, and the faults by kind."""
    quietly()
    # What is imported stays; what a schedule leaves is collected between chunks.
    gc.collect()
    gc.freeze()
    gc.disable()
    faults: Counter[str] = Counter()
    ends = [(seed, schedule.run(seed, faults)) for seed in range(first, first + count)]
    return [(seed, broken) for seed, broken in ends if broken], faults


def soak(count: int, first: int = 0) -> Iterator[tuple[int, Broken, Counter[str]]]:
    """Schedules from seed `first` on; yields how many are done, what broke and was done so far."""
    broken: Broken = []
    faults: Counter[str] = Counter()
    starts = range(first, first + count, CHUNK)
    sizes = [min(CHUNK, first + count - start) for start in starts]
    done = 0
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for size, (found, more) in zip(sizes, pool.map(chunk, starts, sizes), strict=True):
            done += size
            broken += found
            faults.update(more)
            yield done, broken, faults


def main(arguments: list[str]) -> int:
    """The command."""
    count, first = (*map(int, arguments), 0)[:2] if arguments else (20_000, 0)
    quietly()
    began_s = monotonic()
    broken: Broken = []
    faults: Counter[str] = Counter()
    for done, broken, faults in soak(count, first):
        rate = done / (monotonic() - began_s)
        line = f"{done} of {count} schedules, {rate:.0f} a second, {faults.total()} faults"
        line = f"{line}, {len(broken)} broken"
        sys.stderr.write(f"\r{line}" if sys.stderr.isatty() else "")
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    for kind, times in faults.most_common():
        print(f"{times:9,} {kind}")  # noqa: T201  # a command
    for seed, words in broken[:MOST_STORIES]:
        print(f"\nseed {seed}: {words}\n{schedule.story(seed)}")  # noqa: T201  # a command
    for seed, words in broken[:MOST_SEEDS]:
        print(f"seed {seed}: {words}")  # noqa: T201  # a command
    took_s = monotonic() - began_s
    print(f"{count} schedules, {len(broken)} promises broken ({took_s:.0f} s)")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
