"""Simulated rollouts: from telemetry's rows to the verdict, so and so many alike, by seed.

How often the wrong thing happened is held against the promised chance: beyond what a count of that
chance reaches once in a thousand, the promise is broken.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from shared.core import evidence, exposures, judge
from shared.core.bad_rows import UNKNOWN, BadWeights
from shared.core.judge import Evidence, Kind, Risk, Step
from shared.core.telemetry import ArmBin, BinSeen

SEED = 20_240_229
SURPRISE = 1e-3


@dataclass(frozen=True, slots=True)
class World:
    """So many rollouts alike, of which `event` may (or must, `at_least`) happen to `chance`.

    `thetas`: the truth of each step; `looks` a step, each with so many new bins; `requests` a
    bin, the canary's `share` of them; bad events a bin: `clusters` of `size` on average, each in
    one arm; `kept`: what sampling leaves of an arm's rows, of failures only unless `exempt`,
    `varied` from bin to bin by a sampler that adapts, in `halved` arms only of every other
    request, the rest being kept whole (two instances, a burst); `late`: the canary's failures
    show so many bins after all else. Events count from step `counted_from` on; a rollout ends
    with a fail or with its last step.
    """

    event: Kind
    chance: float
    thetas: tuple[float, ...]
    at_least: bool = False
    counted_from: int = 0
    runs: int = 40
    rules: int = 1
    looks: int = 40
    bins_a_look: int = 1
    requests: int = 2_000
    share: float = 0.5
    next_share: float | None = None
    clusters: int = 4
    size: float = 8.0
    kept: tuple[float, float] = (1.0, 1.0)
    exempt: bool = False
    varied: bool = False
    halved: tuple[bool, bool] = (False, False)
    late: int = 0
    risk: Risk = field(default_factory=Risk)


def rollouts_with_the_event(world: World) -> int:
    """How many of the rollouts it happened to."""
    return sum(happens(world, Random(f"{SEED} {run}")) for run in range(world.runs))


def holds(world: World) -> bool:
    """Whether the promise was kept, as far as a count can tell."""
    seen = rollouts_with_the_event(world)
    if world.at_least:
        return chance_of_at_most(seen, world) >= SURPRISE
    return 1 - chance_of_at_most(seen - 1, world) >= SURPRISE


def chance_of_at_most(seen: int, world: World) -> float:
    """The binomial distribution."""
    p, n = world.chance, world.runs
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(seen + 1))


def happens(world: World, dice: Random) -> bool:
    """One rollout: whether a look of the steps that count ends in the event."""
    rules = {f"rule {at}": judge.begin(0) for at in range(world.rules)}
    bins: dict[str, list[BinSeen]] = {rule: [] for rule in rules}
    weights = dict.fromkeys(rules, (UNKNOWN, UNKNOWN))
    for step, theta in enumerate(world.thetas):
        rules = {name: judge.start_step(rule, at_bin(bins)) for name, rule in rules.items()}
        for _ in range(world.looks):
            for name in rules:
                bins[name] += drawn(world, theta, at_bin({name: bins[name]}), dice)
                known = rules[name], weights[name]
                rules[name], weights[name] = learn(world, known, bins[name])
            kind = verdict(world, rules)
            if kind is world.event and step >= world.counted_from:
                return True
            if kind is Kind.FAIL:
                return False
    return False


def at_bin(bins: dict[str, list[BinSeen]]) -> int:
    """The next bin's index."""
    return len(next(iter(bins.values())))


def verdict(world: World, rules: dict[str, Evidence]) -> Kind:
    """What the judge says, told as a turn tells it."""
    sealed = min(rule.floor for rule in rules.values())
    return judge.weigh(rules, Step(world.next_share, len(world.thetas), sealed), world.risk).kind


def learn(
    world: World, known: tuple[Evidence, BadWeights], bins: Sequence[BinSeen]
) -> tuple[Evidence, BadWeights]:
    """One rule's evidence after one more answer; the canary's newest bins lack their failures."""
    before, weights = known
    sealed = len(bins) - world.late
    asked = [as_seen(each, complete=each.index < sealed) for each in bins[before.floor :]]
    complete = [each for each in asked if each.index < sealed]
    gathered = judge.gather(before, exposures.counted(asked, 0, weights))
    return evidence.fold(gathered, sealed), exposures.learnt(complete, 0, weights)


def as_seen(each: BinSeen, *, complete: bool) -> BinSeen:
    """The bin as telemetry shows it now."""
    if complete or each.canary is None:
        return each
    return replace(each, canary=replace(each.canary, bad=(0.0,), bad_rows=(0,)))


def drawn(world: World, theta: float, first: int, dice: Random) -> Iterator[BinSeen]:
    """One look's new bins; every bad event or cluster of them falls into one arm."""
    canary, stable = theta * world.share, 1 - world.share
    clusters = world.clusters
    if clusters > 1:
        clusters = round(clusters * (canary + stable))
    for index in range(first, first + world.bins_a_look):
        bad = [0, 0]
        for _ in range(clusters):
            bad[dice.random() < canary / (canary + stable)] += size_of_one(world, dice)
        yield BinSeen(
            index,
            arm(world, round(world.requests * stable), bad[0], 0, dice),
            arm(world, round(world.requests * world.share), bad[1], 1, dice),
        )


def size_of_one(world: World, dice: Random) -> int:
    """How many requests one cluster spoils."""
    return 1 if world.size == 1 else max(1, round(dice.expovariate(1 / world.size)))


def arm(world: World, served: int, bad: int, number: int, dice: Random) -> ArmBin:
    """The rows of an arm: each stands for 1 / kept items, but for exempt failures."""
    kept, halved = world.kept[number], world.halved[number]
    if world.varied and kept < 1:
        kept = 1 / dice.choice((1, 2, 5, 10, 20))
    if world.exempt:
        rows, squares = bad + round(kept * (served - bad)), bad + (served - bad) / kept
        return ArmBin(served, rows, (float(bad),), (bad,), squares=squares)
    whole = dice.binomialvariate(bad, 0.5) if halved else 0
    bad_rows = dice.binomialvariate(bad - whole, kept)
    halves = (1.0, kept) if halved else (kept, kept)
    rows, squares = round(sum(halves) * served / 2), sum(served / 2 / each for each in halves)
    told = (whole + bad_rows / kept,), (whole + bad_rows,)
    return ArmBin(served, rows, *told, squares=squares)
