"""The judge's guarantees hold in simulated rollouts, and each planted fault breaks one of them.

A few seeded rollouts a world, from telemetry's rows to the verdict. How often the wrong thing
happened is held against the promised chance: beyond what a count of that chance reaches once in a
thousand, the promise is broken. The chances are large on purpose (the guarantee holds for any),
since then few rollouts show a breach.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random
from typing import Any

import pytest

from shared.core import evidence, exposures, judge, stats
from shared.core.exposures import UNKNOWN, BadWeight, BadWeights
from shared.core.judge import Counts, Evidence, Kind, Risk, Step
from shared.core.telemetry import ArmBin, BinSeen

SEED = 20_240_229
SURPRISE = 1e-3
ALL_BINS = 2**62


@dataclass(frozen=True, slots=True)
class World:
    """So many rollouts alike, of which `event` may (or must, `at_least`) happen to `chance`.

    `thetas`: the truth of each step; `looks` a step, each with so many new bins; `requests` a
    bin, the canary's `share` of them; bad events a bin: `clusters` of `size` on average, each in
    one arm; `kept`: what sampling leaves of an arm's rows, of failures only unless `exempt`;
    `late`: the canary's failures show so many bins after all else. Events count from step
    `counted_from` on; a rollout ends with a fail or with its last step.
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
    late: int = 0
    risk: Risk = field(default_factory=Risk)


# Bad events of a few users, and rows sampled differently in the arms: good releases.
CROWDED = World(Kind.FAIL, 0.05, (1.0,), share=0.2, kept=(0.5, 1.0), risk=Risk(false_rollback=0.05))
# Failures are never sampled away, the canary's other rows are.
EXEMPT = replace(CROWDED, share=0.5, kept=(1.0, 0.1), exempt=True, clusters=10, size=4.0, looks=15)
# One bad event a bin and a canary just as bad as it may be: here the e-values are sharp.
EDGE = World(
    Kind.FAIL, 0.2, (1.1,), bins_a_look=4, clusters=1, size=1.0, risk=Risk(false_rollback=0.2)
)
MANY_STEPS = replace(
    EDGE,
    chance=0.3,
    risk=Risk(false_rollback=0.3),
    thetas=(1.1,) * 40,
    looks=6,
    bins_a_look=6,
    runs=30,
)
MANY_RULES = replace(EDGE, rules=10, looks=12, bins_a_look=10)
# One failure a bin, none of them sampled away, nine in ten of the other rows: good releases.
LONE = replace(EDGE, chance=0.05, thetas=(1.0,), share=0.1, kept=(0.1, 0.1), exempt=True)
LONE = replace(LONE, bins_a_look=10, risk=Risk(false_rollback=0.05))
# The same service with a canary five times worse.
LONE_HARM = replace(LONE, thetas=(5.0,), at_least=True, chance=0.95, runs=20)
# Five times worse: at once, or from the second step on, with failures that show late (time-outs).
HARM = replace(CROWDED, thetas=(5.0,), at_least=True, chance=0.95, runs=20)
LATE_HARM = replace(
    CROWDED,
    event=Kind.PASS,
    thetas=(1.0, 5.0),
    counted_from=1,
    next_share=0.5,
    late=8,
    looks=16,
    bins_a_look=2,
    clusters=10,
    size=2.0,
)
# Nearly silent and as bad as the absolute route may not let pass; one row in ten is kept.
SILENT = World(
    Kind.PASS,
    0.05,
    (1.0,),
    looks=20,
    kept=(0.1, 0.1),
    next_share=1.0,
    clusters=4,
    size=1.0,
    risk=Risk(tolerance=0.002),
)
WORLDS = {
    "a good release with clustered failures is not rolled back": CROWDED,
    "nor one whose failures alone escape the sampling": EXEMPT,
    "nor one with one such failure a bin": LONE,
    "nor one at the edge of what is worse, look after look": EDGE,
    "nor one there, step after step": MANY_STEPS,
    "nor one there, by one of many rules": MANY_RULES,
    "a canary five times worse is rolled back": HARM,
    "one that turns bad late is not passed on its old merit": LATE_HARM,
    "a sampled service that is all but silent is not passed for that": SILENT,
}


KEPT = list(product((1.0, 0.1), repeat=2))


@pytest.mark.parametrize("exempt", [True, False], ids=["exempt", "sampled too"])
@pytest.mark.parametrize("kept", KEPT, ids=[f"{1 / s:g} to {1 / c:g}" for s, c in KEPT])
def test_lone_failures_are_weighed_alike_however_the_arms_are_sampled(
    kept: tuple[float, float], *, exempt: bool
) -> None:
    """Good releases stay, those five times worse go; sampled failures only take more bins."""
    for world in (LONE, LONE_HARM):
        more = 10 if exempt else 20
        assert holds(replace(world, kept=kept, exempt=exempt, bins_a_look=more))


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_promise_is_kept_in_its_world(world: World) -> None:
    """The wrong end (or too few right ones) comes no oftener than promised."""
    assert holds(world)


# --- planted faults -------------------------------------------------------------------------------


def arms_swapped(
    bins: Iterable[BinSeen], rule: int, known: BadWeights
) -> Iterator[tuple[int, Counts]]:
    """The exposures of the arms are mixed up."""
    for index, seen in COUNTED(bins, rule, known):
        events = seen.canary_events, seen.stable_events
        yield index, replace(seen, stable_events=events[0], canary_events=events[1])


def item_counts_as_events(arm: ArmBin, rule: int, *_: BadWeight) -> tuple[float, float]:
    """Each row counts as often as its item count says."""
    return arm.items, arm.bad[rule]


def rows_as_exposure(arm: ArmBin, rule: int, *_: BadWeight) -> tuple[float, float]:
    """Rows are taken for requests although failures are kept more often."""
    return arm.rows, arm.bad_rows[rule]


def rows_where_none_is_bad(usual: float, *_: BadWeight) -> float:
    """A bin without a failure counts as its rows, as if failures were sampled like the rest."""
    return usual


def evidence_forgotten(known: Evidence, bins: Iterable[tuple[int, Counts]]) -> Evidence:
    """Each look starts from nothing."""
    blank = replace(judge.begin(known.floor), step_floor=known.step_floor)
    return evidence.gather(blank, bins)


def step_never_reset(known: Evidence, from_bin: int) -> Evidence:
    """The step's evidence goes on from the step before."""
    return replace(known, step_floor=from_bin)


def folded_again(known: Evidence, before_bin: int) -> Evidence:
    """Folded bins stay open, so the next look folds them once more."""
    folded = FOLD(known, before_bin)
    return replace(folded, open_bins=known.open_bins[-6:], floor=max(0, folded.floor - 6))


def all_taken_for_sealed(known: Evidence, _: int) -> Evidence:
    """What still grows counts as complete."""
    return FOLD(known, ALL_BINS)


def loudest_rule(worses: Sequence[float], _: int) -> float:
    """The greatest e-value instead of the mean."""
    return max(worses, default=judge.NO_EVIDENCE)


def budget_each_step(rollout: float, recent: float, _: int) -> float:
    """Every step gets the steps' whole share of the budget."""
    return MIXED(rollout, recent, 1)


COUNTED, FOLD, MIXED = exposures.counted, evidence.fold, judge._mixed
FAULTS: dict[str, tuple[Any, str, Any, World]] = {
    "exposures swapped": (exposures, "counted", arms_swapped, HARM),
    "item counts as events": (exposures, "exposure", item_counts_as_events, SILENT),
    "rows as exposure": (exposures, "exposure", rows_as_exposure, EXEMPT),
    "rows where no failure is": (exposures, "_expected_weight", rows_where_none_is_bad, LONE),
    "evidence reset at each look": (judge, "gather", evidence_forgotten, HARM),
    "step never reset": (judge, "start_step", step_never_reset, LATE_HARM),
    "clusters unheard of": (stats, "_SCALES", [1e9] * len(stats.RHOS[1:]), CROWDED),
    "pass from bins that grow": (judge, "fold", all_taken_for_sealed, LATE_HARM),
    "greatest instead of mean": (judge, "combine", loudest_rule, MANY_RULES),
    "budget not divided by steps": (judge, "_mixed", budget_each_step, MANY_STEPS),
    "a bin folded twice": (evidence, "fold", folded_again, EDGE),
}


@pytest.fixture
def _tables_anew() -> Iterator[None]:
    """No table is remembered from before the fault, and none after it."""
    evidence._table.cache_clear()
    yield
    evidence._table.cache_clear()


@pytest.mark.usefixtures("_tables_anew")
@pytest.mark.parametrize(("place", "name", "fault", "world"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_breaks_a_promise(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, fault: Any, world: World
) -> None:
    """The same simulation notices it."""
    monkeypatch.setattr(place, name, fault)
    assert not holds(world)


# --- the simulation -------------------------------------------------------------------------------


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
            arm(world, round(world.requests * stable), bad[0], world.kept[0], dice),
            arm(world, round(world.requests * world.share), bad[1], world.kept[1], dice),
        )


def size_of_one(world: World, dice: Random) -> int:
    """How many requests one cluster spoils."""
    return 1 if world.size == 1 else max(1, round(dice.expovariate(1 / world.size)))


def arm(world: World, served: int, bad: int, kept: float, dice: Random) -> ArmBin:
    """One arm's rows: each stands for 1 / kept items, but for exempt failures."""
    if world.exempt:
        return ArmBin(served, bad + round(kept * (served - bad)), (float(bad),), (bad,))
    rows = dice.binomialvariate(bad, kept)
    return ArmBin(served, round(kept * served), (rows / kept,), (rows,))
