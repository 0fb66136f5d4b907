"""The judge's guarantees hold in simulated rollouts, and each planted fault breaks one of them.

A few seeded rollouts a world. The chances are large on purpose (the guarantee holds for any), since
then few rollouts show a breach.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.core import bad_rows, evidence, exposures, judge, stats
from shared.core.bad_rows import BadWeight, BadWeights
from shared.core.judge import Counts, Evidence, Kind, Risk
from shared.core.telemetry import ArmBin, BinSeen
from tests.simulated import World, holds

ALL_BINS = 2**62


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
# Every other request of both versions is kept whole, the rest one in ten, and the canary is just as
# bad as it may be: what its own few bad rows weigh is no measure of its exposure.
HALVED = World(
    Kind.PASS,
    0.05,
    (1.5,),
    looks=60,
    bins_a_look=3,
    requests=600,
    share=0.1,
    next_share=1.0,
    clusters=12,
    size=1.0,
    kept=(0.1, 0.1),
    halved=(True, True),
)
# Stable is kept whole, and of the canary only every other request, the rest one in a hundred: most
# of its few bad rows are light, as if sampling thinned none of them.
FEW_HEAVY = replace(HALVED, kept=(1.0, 0.01), halved=(False, True))
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
    "nor harm where sampling is uneven within a block": HALVED,
    "nor where a few rows of the canary stand for most": FEW_HEAVY,
    "where a good release stays": replace(
        HALVED, event=Kind.FAIL, chance=0.01, thetas=(1.0,), next_share=None, looks=30
    ),
}


# What is kept of the arms' rows, and whether at rates that change from bin to bin.
SAMPLED = {
    "unsampled": ((1.0, 1.0), False),
    "the canary 1 in 10": ((1.0, 0.1), False),
    "stable 1 in 10": ((0.1, 1.0), False),
    "both 1 in 10": ((0.1, 0.1), False),
    "both as load has it": ((0.1, 0.1), True),
}


@pytest.mark.parametrize("exempt", [True, False], ids=["but failures", "and failures"])
@pytest.mark.parametrize(("kept", "varied"), SAMPLED.values(), ids=SAMPLED)
def test_lone_failures_are_weighed_alike_however_the_arms_are_sampled(
    kept: tuple[float, float], *, varied: bool, exempt: bool
) -> None:
    """Good releases stay, those five times worse go; sampled failures only take more bins."""
    more = 8 if exempt else 20
    for world in (LONE, LONE_HARM):
        sampled = replace(world, kept=kept, varied=varied, exempt=exempt, bins_a_look=more)
        assert holds(replace(sampled, runs=8))


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


def rows_where_none_is_bad(arm: ArmBin, rule: int, *known: Any) -> tuple[float, float]:
    """A bin without a failure counts as its rows, as if failures were sampled like the rest."""
    return EXPOSURE(arm, rule, *known) if arm.bad_rows[rule] else (arm.rows, 0.0)


def bins_of_their_own(arm: ArmBin, rule: int, *_: BadWeight) -> tuple[float, float]:
    """Each bin's own few bad rows say what its exposure is."""
    rows = arm.bad_rows[rule]
    return (arm.items * rows / arm.bad[rule], rows) if rows else (arm.rows, 0.0)


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


COUNTED, EXPOSURE = exposures.counted, exposures.exposure
FOLD, MIXED = evidence.fold, judge._mixed
FAULTS: dict[str, tuple[Any, str, Any, World]] = {
    "exposures swapped": (exposures, "counted", arms_swapped, HARM),
    "item counts as events": (exposures, "exposure", item_counts_as_events, SILENT),
    "rows as exposure": (exposures, "exposure", rows_as_exposure, EXEMPT),
    "rows where no failure is": (exposures, "exposure", rows_where_none_is_bad, LONE),
    "rows taken for alike": (bad_rows.Rows, "variance", 0.0, FEW_HEAVY),
    "bins of their own": (exposures, "exposure", bins_of_their_own, HALVED),
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
    evidence.table_of.cache_clear()
    yield
    evidence.table_of.cache_clear()


@pytest.mark.usefixtures("_tables_anew")
@pytest.mark.parametrize(("place", "name", "fault", "world"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_breaks_a_promise(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, fault: Any, world: World
) -> None:
    """The same simulation notices it."""
    monkeypatch.setattr(place, name, fault)
    assert not holds(world)
