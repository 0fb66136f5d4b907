"""Sampled telemetry in the product's own hands: what of either version is kept, and what it does.

Requests are independent here, since only the sampling is on trial. One rule; a step at SHARE, the
next at NEXT_SHARE; stable's past first. Blocks of a minute, a look after each, by the default risk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bench.judge.engine import Ints
from bench.judge.tables import Table, percent
from shared.core import exposures, judge, steadiness
from shared.core.bad_rows import UNKNOWN, BadWeights
from shared.core.judge import Evidence, Kind, Risk, Step
from shared.core.telemetry import ArmBin, BinSeen

PAST, MOST, SEED = 60, 300, 7
SHARE, NEXT_SHARE = 0.1, 0.5
STEPS: Final = 6
# Requests a block in all, and stable's rate. What may not pass is twice as bad in the first, where
# half of the traffic follows, and 0.1 points worse in the other, where all of it does.
BUSY, QUIET = (600.0, 0.01), (1200.0, 0.0002)
BUSIER, RARER = (6000.0, 0.01), (600.0, 0.001)
# The block of the step (0..) in which sampling changes, where it does.
TURNS = 20


@dataclass(frozen=True, slots=True)
class Sampler:
    """What is kept of an arm's rows: parts of its requests, each with its chance (0..1).

    `exempt`: of the failures this share is always kept; `varied`: the one chance is drawn anew for
    each block.
    """

    name: str
    parts: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    exempt: float = 0.0
    varied: bool = False


WHOLE = Sampler("whole")
TENTH = Sampler("1 in 10", ((1.0, 0.1),))
HALVED = Sampler("halved", ((0.5, 1.0), (0.5, 0.1)))
HEAVY = Sampler("half whole, half 1 in 100", ((0.5, 1.0), (0.5, 0.01)))
VARIED = Sampler("1, 2, 5, 10 or 20", varied=True)
TENTH_EXEMPT = Sampler("1 in 10 but failures", ((1.0, 0.1),), exempt=1.0)
SPARSE_EXEMPT = Sampler("1 in 100 but failures", ((1.0, 0.01),), exempt=1.0)
HALVED_EXEMPT = Sampler("halved but failures", HALVED.parts, exempt=1.0)
VARIED_EXEMPT = Sampler("1, 2, 5, 10 or 20 but failures", exempt=1.0, varied=True)
TENTH_HALF = Sampler("1 in 10 but half of the failures", ((1.0, 0.1),), exempt=0.5)
HUNDREDTH = Sampler("1 in 100", ((1.0, 0.01),))
TAIL_EXEMPT = Sampler(
    "slow kept, rest 1 in 100 but failures", ((0.02, 1.0), (0.98, 0.01)), exempt=1.0
)
PAIRS: Final = (
    *((each, each) for each in (WHOLE, TENTH, HALVED, HEAVY, VARIED)),
    *((each, each) for each in (TENTH_EXEMPT, SPARSE_EXEMPT, HALVED_EXEMPT, VARIED_EXEMPT)),
    *((each, each) for each in (TAIL_EXEMPT, TENTH_HALF)),
    *((TENTH, WHOLE), (WHOLE, TENTH), (WHOLE, HALVED), (TENTH, HALVED), (WHOLE, HEAVY)),
    *((WHOLE, TENTH_EXEMPT), (TENTH_EXEMPT, WHOLE)),
    *((TENTH, TENTH_EXEMPT), (TENTH_EXEMPT, TENTH)),
)


@dataclass(frozen=True, slots=True)
class Sampled:
    """So many rollouts; `requests` a block in all, `rate` stable's, `worse` times that canary's.

    `before`: how both were sampled in the past and in the step's first blocks, where it changes.
    """

    stable: Sampler
    canary: Sampler
    requests: float
    rate: float
    worse: float
    next_share: float
    runs: int
    before: Sampler | None = None


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
    alone = ((SPARSE_EXEMPT, HUNDREDTH, *BUSIER), (TENTH_EXEMPT, TENTH, *RARER))
    rows += [Sampled(*each, 2.0, NEXT_SHARE, runs) for each in alone]
    turns = ((TENTH, TENTH_EXEMPT), (TENTH_EXEMPT, TENTH))
    rows += [
        Sampled(after, after, *BUSY, worse, NEXT_SHARE, runs, before)
        for before, after in turns
        for worse in (2.0, 1.0)
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
        name = " / ".join(dict.fromkeys((task.stable.name, task.canary.name)))
        name = f"{task.before.name}, then {name}" if task.before else name
        served = f"{task.requests:g} a block, {100 * task.rate:g} %"
        half = f"{np.median(passes):.0f}" if len(passes) else "-"
        shares = (percent(count, task.runs) for count in (len(passes), back))
        rows.append([name, served, f"x{task.worse:g}", *shares, half])
    return Table("Sampled telemetry: passed within 300 blocks, and taken back", head, rows)


def _rollout(task: Sampled, rng: np.random.Generator) -> tuple[Kind, int]:
    """How one rollout's step ends, and in which block (1..)."""
    everyone = task.requests
    at_last = task.stable, task.canary
    at_first = (task.before, task.before) if task.before else at_last
    past = [_arm(at_first[0], everyone, task.rate, rng) for _ in range(PAST)]
    known = exposures.learnt(
        [BinSeen(number, arm, None) for number, arm in enumerate(past)], 0, (UNKNOWN, UNKNOWN)
    )
    evidence = judge.begin(PAST)
    for number in range(PAST, PAST + MOST):
        of_stable, of_canary = at_first if number < PAST + TURNS else at_last
        stable = _arm(of_stable, everyone * (1 - SHARE), task.rate, rng)
        canary = _arm(of_canary, everyone * SHARE, task.rate * task.worse, rng)
        seen = [BinSeen(number, stable, canary)]
        evidence = judge.gather(evidence, exposures.counted(seen, 0, known))
        known = exposures.learnt(seen, 0, known)
        evidence = replace(judge.fold(evidence, number + 1), turned=known[0].turned)
        step = Step(task.next_share, STEPS, number + 1)
        kind = judge.weigh({"errors": evidence}, step, Risk()).kind
        if kind is Kind.FAIL or (kind is Kind.PASS and not _untold(evidence, known)):
            return kind, number + 1 - PAST
    return Kind.UNSURE, MOST


def _untold(evidence: Evidence, known: BadWeights) -> str:
    return steadiness.untold("errors", known, evidence.rollout, judge.pass_bound(Risk()))


def _arm(sampler: Sampler, requests: float, rate: float, rng: np.random.Generator) -> ArmBin | None:
    """What telemetry has of one arm in one block; None without a row."""
    parts: Sequence[tuple[float, float]] = sampler.parts
    if sampler.varied:
        parts = ((1.0, 1 / float(rng.choice((1, 2, 5, 10, 20)))),)
    items = squares = bad_items = 0.0
    rows = bad_rows = 0
    for share, kept in parts:
        bad, spared = (
            int(rng.poisson(requests * share * rate * part))
            for part in (1 - sampler.exempt, sampler.exempt)
        )
        good = int(rng.binomial(rng.poisson(requests * share * (1 - rate)), kept))
        bad = int(rng.binomial(bad, kept))
        rows, bad_rows = rows + good + bad + spared, bad_rows + bad + spared
        items += (good + bad) / kept + spared
        squares += (good + bad) / kept**2 + spared
        bad_items += bad / kept + spared
    return ArmBin(items, rows, (bad_items,), (bad_rows,), squares=squares) if rows else None
