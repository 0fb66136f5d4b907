"""Microseconds per bin, verdict, look and stored record of the judge; ours and the plain formulas.

The plain judge is `bench.plain_judge`. Both must come to the same numbers (to 1e-9) before anything
is timed; then they take turns within each round of one run, and medians are shown. Counts differ
from call to call, so that nothing is remembered that a running controller would not remember: only
a look finds open bins that did not change since the look before. Pure Python on both sides, as in
production. The record's other side is the json module, without the core's own values.

Run it as `python -m bench.judge_speed`; the last line is the smallest ratio.
"""

import gc
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import chain, cycle
from random import Random

from rich.console import Console
from rich.table import Table

from bench.plain_judge import (
    RISK,
    SHARE,
    STEPS,
    plain_absolute,
    plain_bin,
    plain_ok,
    plain_rule,
    plain_verdict,
    plain_worse,
)
from shared import record
from shared.core import judge, stats
from shared.core.judge import Counts, Evidence, Step, Verdict
from shared.core.model import Phase, Rollout
from shared.core.risk import margin, routes
from shared.record import ROLLOUTS

SEED = 20_240_229
ROUNDS = 9
LEAST_TURN_S = 0.03
NEAR = 1e-9
REQUESTS = 6_000.0
FIRST_BIN, BINS, OPEN, GROWING = 29_000_000, 30, 6, 2

# --- what is timed --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to time, both ways; both return numbers that must agree."""

    name: str
    ours: Callable[[], Sequence[float]]
    plain: Callable[[], Sequence[float]]


def drawn(dice: Random, requests: float, rate: float) -> Counts:
    """A bin of about so many requests, a tenth of them the canary's, with at least one bad."""

    def arm(share: float) -> tuple[int, int]:
        served = round(dice.gauss(requests * share, math.sqrt(requests * share)))
        return served, round(abs(dice.gauss(served * rate, math.sqrt(served * rate))))

    stable, canary = arm(0.9), arm(0.1)
    return Counts(stable[0], max(1, stable[1]), *canary)


def bin_task(name: str, requests: float, rate: float) -> Task:
    """A bin's table of log-likelihoods; another bin at each call, the same for both."""
    dice = Random(SEED)  # noqa: S311  # the same bins at every run, no secret
    bins = [drawn(dice, requests, rate) for _ in range(64)]
    ours, plain = cycle(bins), cycle(bins)
    return Task(
        name,
        lambda: stats.log_likelihoods(*astuple(next(ours))[:4]),
        lambda: list(plain_bin(next(plain)).values()),
    )


def rules_of(
    number: int, requests: float = REQUESTS, *, still_open: int = 0
) -> dict[str, Evidence]:
    """So many rules after 30 bins, all but the last few of them folded."""
    dice = Random(SEED)  # noqa: S311  # the same bins at every run, no secret
    rules = {}
    for rule in range(number):
        bins = enumerate([drawn(dice, requests, 0.01) for _ in range(BINS)], FIRST_BIN)
        folded = judge.fold(
            judge.gather(judge.begin(FIRST_BIN), bins), FIRST_BIN + BINS - still_open
        )
        rules[f"rule{rule}"] = folded
    return rules


def numbers(verdict: Verdict) -> list[float]:
    """Every number of a verdict that the plain judge has, too."""
    each = [(w.ok, w.absolute, w.ratio_low, w.ratio_high or 0) for w in verdict.weighings]
    return [verdict.worse, *chain.from_iterable(each)]


def decision_task(name: str, requests: float) -> Task:
    """The four e-values of one rule, which is all that the verdict's kind depends on."""
    rule = rules_of(1, requests)["rule0"]
    plain = plain_rule(rule)
    served, bad = rule.step.canary_events, rule.step.canary_bad

    def ours() -> Sequence[float]:
        least, shown = margin(rule.rollout, SHARE, RISK), stats.profile(rule.step_table)
        return (
            stats.log_e_worse(stats.profile(rule.rollout_table), RISK.worse_than),
            stats.log_e_worse(shown, RISK.worse_than),
            *routes(shown, (served, bad), least, RISK.tolerance / SHARE),
        )

    def theirs() -> Sequence[float]:
        harm = plain_worse(plain.rollout), plain_worse(plain.step)
        least = margin(plain.totals, SHARE, RISK)
        return *harm, plain_ok(plain.step, least), plain_absolute(served, bad)

    return Task(name, ours, theirs)


def verdict_task(name: str, number: int) -> Task:
    """The whole verdict: e-values, interval, counts and sentence."""
    rules, at = rules_of(number), Step(SHARE, STEPS, FIRST_BIN + BINS)
    plain = [plain_rule(rule) for rule in rules.values()]
    return Task(name, lambda: numbers(judge.weigh(rules, at, RISK)), lambda: plain_verdict(plain))


def look_task(name: str) -> Task:
    """The answer's six open bins put in place, of which two grew, and the verdict on them."""
    before = rules_of(1, still_open=OPEN)["rule0"]
    at, dice = Step(SHARE, STEPS, FIRST_BIN + BINS - OPEN), Random(SEED)  # noqa: S311  # no secret
    steady = list(before.open_bins[:-GROWING])
    answers = [
        [*steady, *((i, drawn(dice, REQUESTS, 0.01)) for i, _ in before.open_bins[-GROWING:])]
        for _ in range(4096)
    ]
    ours, theirs, plain = cycle(answers), cycle(answers), plain_rule(before)

    def look() -> Sequence[float]:
        return numbers(judge.weigh({"rule0": judge.gather(before, next(ours))}, at, RISK))

    return Task(name, look, lambda: plain_verdict([plain], [counts for _, counts in next(theirs)]))


def stored(rules: dict[str, Evidence]) -> Rollout:
    """A record that holds nothing but evidence."""
    return Rollout("it", Phase.BAKING, 0.0, 0.0, "", "", evidence=rules)


def stored_task(name: str) -> Task:
    """A record with one rule, read and written again; plainly, by the json module."""
    rollout = stored(rules_of(1, still_open=OPEN))
    text, lists = record.rollout_to_json(rollout), ROLLOUTS.dump_json(rollout).decode()

    def ours() -> Sequence[float]:
        again = record.rollout_from_json(text)
        return again.evidence["rule0"].rollout_table if again.evidence else ()

    def theirs() -> Sequence[float]:
        found: Sequence[float] = json.loads(lists)["evidence"]["rule0"]["rollout_table"]
        return found

    def both(read: Callable[[], Sequence[float]], write: Callable[[], str]) -> Sequence[float]:
        write()
        return read()

    plainly = json.loads(lists)
    return Task(
        name,
        lambda: both(ours, lambda: record.rollout_to_json(rollout)),
        lambda: both(theirs, lambda: json.dumps(plainly, separators=(",", ":"))),
    )


def stored_bytes() -> list[tuple[str, int]]:
    """How large one rule's evidence is in the record, and as lists of numbers."""
    rules, nothing = rules_of(1, still_open=OPEN), stored({})
    new_step = {name: judge.start_step(rule, FIRST_BIN + BINS) for name, rule in rules.items()}

    def size(write: Callable[[Rollout], str | bytes], found: dict[str, Evidence]) -> int:
        return len(write(stored(found))) - len(write(nothing))

    return [
        ("as lists of numbers", size(ROLLOUTS.dump_json, rules)),
        ("as stored", size(record.rollout_to_json, rules)),
        ("as stored, at the start of a step", size(record.rollout_to_json, new_step)),
    ]


def tasks() -> Iterator[Task]:
    """Everything that is timed."""
    yield bin_task("a bin: 6,000 requests, 2 bad", REQUESTS, 0.0003)
    yield bin_task("a bin: 6,000 requests, 60 bad", REQUESTS, 0.01)
    yield bin_task("a bin: 5 million requests, 50,000 bad", 5e6, 0.01)
    yield decision_task("a decision: 1 rule, after 30 poor bins", 300)
    yield decision_task("a decision: 1 rule, after 30 rich bins", REQUESTS)
    for number in (1, 3, 10):
        yield verdict_task(f"a verdict: {number} rule(s), after 30 rich bins", number)
    yield look_task("a look: 6 open bins, 2 of them grew, verdict")
    yield stored_task("the record: 1 rule, read and written")


def _turn(work: Callable[[], Sequence[float]], times: int) -> float:
    """Seconds for each of so many calls in a row."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


def medians_us(task: Task) -> tuple[float, float]:
    """The median time of either, which take turns within each round."""
    both = (task.ours, task.plain)
    times = [max(1, round(LEAST_TURN_S / _turn(work, 3))) for work in both]
    turns = [
        [_turn(work, number) for work, number in zip(both, times, strict=True)]
        for _ in range(ROUNDS)
    ]
    ours, plain = (1e6 * statistics.median(each) for each in zip(*turns, strict=True))
    return ours, plain


def agree(task: Task) -> bool:
    """Whether both come to the same numbers."""
    found = zip(task.ours(), task.plain(), strict=True)
    return all(math.isclose(a, b, rel_tol=NEAR, abs_tol=NEAR) for a, b in found)


def main() -> int:
    """Print the tables and the smallest ratio; fails where the numbers are not the same."""
    table = Table("what", "numbers", title="Microseconds")
    for name in ("ours", "plain", "ratio"):
        table.add_column(name, justify="right")
    ratios, equal = [], True
    for task in tasks():
        same = agree(task)
        equal &= same
        ours, plain = medians_us(task)
        ratios.append(plain / ours)
        told = "equal" if same else "[red]not equal"
        table.add_row(task.name, told, f"{ours:,.1f}", f"{plain:,.1f}", f"{plain / ours:,.1f}")
    console = Console(width=100)
    console.print(table)
    for how, size in stored_bytes():
        console.print(f"one rule in the record, {how}: {size:,} bytes")
    print(f"smallest ratio to the plain judge: {min(ratios):.1f}")  # noqa: T201  # what it is for
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
