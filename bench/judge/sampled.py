"""Sampled telemetry in the product's own hands: what of either version is kept, and what it does.

Requests are independent here, since only the sampling is on trial. One rule; a step at SHARE, the
next at NEXT_SHARE; stable's past first. Blocks of a minute, a look after each, by the default risk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.judge.engine import Ints
from bench.judge.tables import Table, percent
from shared.core import exposures, judge
from shared.core.exposures import UNKNOWN
from shared.core.judge import Kind, Risk, Step
from shared.core.telemetry import ArmBin, BinSeen

PAST, MOST, SEED = 60, 300, 7
SHARE, NEXT_SHARE = 0.1, 0.5
STEPS: Final = 6
# Requests a block in all, and stable's rate. What may not pass is twice as bad in the first, where
# half of the traffic follows, and 0.1 points worse in the other, where all of it does.
BUSY, QUIET = (600.0, 0.01), (1200.0, 0.0002)


@dataclass(frozen=True, slots=True)
class Sampler:
    """What is kept of an arm's rows: parts of its requests, each with its chance (0..1).

    `exempt`: failures are always kept; `varied`: the one chance is drawn anew for each block.
    """

    name: str
    parts: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    exempt: bool = False
    varied: bool = False


WHOLE = Sampler("whole")
TENTH = Sampler("1 in 10", ((1.0, 0.1),))
HALVED = Sampler("halved", ((0.5, 1.0), (0.5, 0.1)))
HEAVY = Sampler("half whole, half 1 in 100", ((0.5, 1.0), (0.5, 0.01)))
VARIED = Sampler("1, 2, 5, 10 or 20", varied=True)
TENTH_EXEMPT = Sampler("1 in 10 but failures", ((1.0, 0.1),), exempt=True)
SPARSE_EXEMPT = Sampler("1 in 100 but failures", ((1.0, 0.01),), exempt=True)
HALVED_EXEMPT = Sampler("halved but failures", HALVED.parts, exempt=True)
VARIED_EXEMPT = Sampler("1, 2, 5, 10 or 20 but failures", exempt=True, varied=True)
TAIL_EXEMPT = Sampler(
    "slow kept, rest 1 in 100 but failures", ((0.02, 1.0), (0.98, 0.01)), exempt=True
)
PAIRS: Final = (
    *((each, each) for each in (WHOLE, TENTH, HALVED, HEAVY, VARIED)),
    *((each, each) for each in (TENTH_EXEMPT, SPARSE_EXEMPT, HALVED_EXEMPT, VARIED_EXEMPT)),
    (TAIL_EXEMPT, TAIL_EXEMPT),
    *((TENTH, WHOLE), (WHOLE, TENTH), (WHOLE, HALVED), (TENTH, HALVED), (WHOLE, HEAVY)),
    *((WHOLE, TENTH_EXEMPT), (TENTH_EXEMPT, WHOLE)),
    *((TENTH, TENTH_EXEMPT), (TENTH_EXEMPT, TENTH)),
)


@dataclass(frozen=True, slots=True)
class Sampled:
    """So many rollouts; `requests` a block in all, `rate` stable's, `worse` times that canary's."""

    stable: Sampler
    canary: Sampler
    requests: float
    rate: float
    worse: float
    next_share: float
    runs: int


def run(task: Sampled) -> tuple[Ints, int]:
    """After how many blocks each that passed did so, and how many were taken back."""
    ends = [_rollout(task, np.random.default_rng([SEED, number])) for number in range(task.runs)]
    passes = np.array([blocks for kind, blocks in ends if kind is Kind.PASS], np.int64)
    return passes, sum(kind is Kind.FAIL for kind, _ in ends)


def tasks(runs: int) -> list[Sampled]:
    """Each pair of samplers at the margin and with a good canary; a nearly silent service too."""
    rows = [
        Sampled(*pair, *BUSY, worse, NEXT_SHARE, runs) for pair in PAIRS for worse in (2.0, 1.0)
    ]
    alike = ((each, each) for each in (WHOLE, TENTH, HALVED, HEAVY))
    return rows + [Sampled(*pair, *QUIET, 6.0, 1.0, runs) for pair in alike]


def table(found: Mapping[Sampled, tuple[Ints, int]]) -> Table:
    """A row a cell: passed, taken back, and after how many blocks half of those that passed had."""
    head = [
        "stable / canary",
        "requests, stable's rate",
        "canary",
        "passed",
        "taken back",
        "blocks",
    ]
    rows = []
    for task, (passes, back) in found.items():
        names = dict.fromkeys((task.stable.name, task.canary.name))
        served = f"{task.requests:g} a block, {100 * task.rate:g} %"
        half = f"{np.median(passes):.0f}" if len(passes) else "-"
        shares = (percent(count, task.runs) for count in (len(passes), back))
        rows.append([" / ".join(names), served, f"x{task.worse:g}", *shares, half])
    return Table("Sampled telemetry: passed within 300 blocks, and taken back", head, rows)


def _rollout(task: Sampled, rng: np.random.Generator) -> tuple[Kind, int]:
    """How one rollout's step ends, and in which block (1..)."""
    everyone = task.requests
    past = [_arm(task.stable, everyone, task.rate, rng) for _ in range(PAST)]
    known = exposures.learnt(
        [BinSeen(number, arm, None) for number, arm in enumerate(past)], 0, (UNKNOWN, UNKNOWN)
    )
    evidence = judge.begin(PAST)
    for number in range(PAST, PAST + MOST):
        stable = _arm(task.stable, everyone * (1 - SHARE), task.rate, rng)
        canary = _arm(task.canary, everyone * SHARE, task.rate * task.worse, rng)
        seen = [BinSeen(number, stable, canary)]
        evidence = judge.gather(evidence, exposures.counted(seen, 0, known))
        evidence = judge.fold(evidence, number + 1)
        known = exposures.learnt(seen, 0, known)
        step = Step(task.next_share, STEPS, number + 1)
        kind = judge.weigh({"errors": evidence}, step, Risk()).kind
        if kind in {Kind.PASS, Kind.FAIL}:
            return kind, number + 1 - PAST
    return Kind.UNSURE, MOST


def _arm(sampler: Sampler, requests: float, rate: float, rng: np.random.Generator) -> ArmBin | None:
    """What telemetry has of one arm in one block; None without a row."""
    parts: Sequence[tuple[float, float]] = sampler.parts
    if sampler.varied:
        parts = ((1.0, 1 / float(rng.choice((1, 2, 5, 10, 20)))),)
    items = squares = bad_items = 0.0
    rows = bad_rows = 0
    for share, kept in parts:
        bad = int(rng.poisson(requests * share * rate))
        good = int(rng.binomial(rng.poisson(requests * share * (1 - rate)), kept))
        bad, weight = (bad, 1.0) if sampler.exempt else (int(rng.binomial(bad, kept)), 1 / kept)
        rows, bad_rows = rows + good + bad, bad_rows + bad
        items += good / kept + bad * weight
        squares += good / kept**2 + bad * weight**2
        bad_items += bad * weight
    return ArmBin(items, rows, (bad_items,), (bad_rows,), squares=squares) if rows else None
