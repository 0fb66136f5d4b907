"""What a look asks for: the limits, the clients' window, and the gauges."""

from dataclasses import replace

import pytest

from shared import record
from shared.core import judge, questions
from shared.core.events import HoldAsked
from shared.core.judge import Counts
from shared.core.levels import Tilt
from shared.core.model import Phase, Plan, Rollout, newborn
from shared.core.redact import Redaction
from shared.core.rules import Rules
from shared.core.shadow import SHADOW_RULES, Shadow
from shared.core.telemetry import Answer, Gauge, Levels, Rule, Sight
from tests.given import START_S, Walk, plan, step
from tests.told import minutes, minutes_plan

P95 = Rule("p95", slower_than_quantile=0.95)
GAUGES = (Gauge("cpu", "AppPerformanceCounters", "% Processor Time"),)
QUARTER_S = 900


def planned(**changes: object) -> Plan:
    """The usual plan with another source."""
    usual = plan()
    return replace(usual, source=replace(usual.source, **changes))  # type: ignore[arg-type]  # as in plan()


def asked(rollout: Rollout, of: Plan, at_s: float = START_S) -> questions.Question:
    question = questions.needed(of, rollout, at_s)
    assert question is not None
    return question


def test_before_the_start_limits_are_asked_for() -> None:
    """And clients are followed from the beginning of the window."""
    of = planned(rules=(P95,), client="UserId")
    question = asked(newborn(of, START_S, "ci", dry_run=False), of)

    assert (question.thresholds_ms, question.step_bin) == (None, None)
    assert question.rules == (P95,)


def test_after_the_start_limits_are_the_frozen_ones() -> None:
    """The same limit for both arms and for all of the rollout."""
    of = planned(rules=(Rule("errors"), P95))
    rollout = replace(Walk().reach(Phase.BAKING, 2).rollout, thresholds_ms={"p95": 250.0})
    question = asked(rollout, of)

    assert question.rules == (Rule("errors"), Rule("p95", slower_than_ms=250))
    assert question.step_bin is None


def test_limits_that_were_lost_are_not_asked_for_again() -> None:
    """A question without them is refused where it is written, since these are frozen and none."""
    of = planned(rules=(P95,))
    question = asked(replace(Walk().reach(Phase.BAKING).rollout, thresholds_ms=None), of)

    assert question.thresholds_ms == {}


class Timed(Walk):
    """A walk whose telemetry knows stable's p95, which is another one at every look."""

    limits: list[float | None]

    def answer(self) -> Answer | None:
        question = questions.needed(self.plan, self.rollout, self.now_s)
        answer = super().answer()
        if question is None or answer is None:
            return answer
        self.limits.append((question.thresholds_ms or {}).get("p95"))
        return replace(answer, quantiles_ms={"p95": self.now_s})


def test_a_whole_rollout_is_held_against_one_limit() -> None:
    """It is what stable's p95 was before the start, whatever it became."""
    walk = Timed(planned(rules=(P95,)), rates=(0.05, 0.05))
    walk.limits = []
    walk.reach(Phase.PROMOTED)

    frozen = (walk.rollout.thresholds_ms or {})["p95"]
    assert walk.limits[0] is None
    assert set(walk.limits[1:]) == {frozen}
    assert record.rollout_from_json(record.rollout_to_json(walk.rollout)) == walk.rollout


def test_clients_are_followed_from_the_beginning_of_the_step() -> None:
    """However long ago: who was bad once in this step is no news."""
    walk = Walk(planned(client="UserId")).reach(Phase.BAKING, 2)
    for _ in range(8):
        walk.tick()
    step_floor = (walk.rollout.evidence or {})["errors"].step_floor
    question = asked(walk.rollout, walk.plan, walk.now_s)

    assert question.step_bin == step_floor
    assert question.from_bin > step_floor


def test_nothing_before_the_step_is_asked_of_clients() -> None:
    """The last step's bins would need the last step's window."""
    walk = Walk(planned(client="UserId")).reach(Phase.BAKING, 2)
    evidence = (walk.rollout.evidence or {})["errors"]
    question = asked(walk.rollout, walk.plan, walk.now_s)

    assert evidence.floor < evidence.step_floor
    assert question.from_bin == question.step_bin == evidence.step_floor
    assert question.to_bin >= question.from_bin


def test_of_a_long_step_a_day_is_read() -> None:
    """A look stays bounded, however long a step bakes."""
    of = planned(client="UserId")
    rollout = Walk(of).reach(Phase.BAKING, 2).rollout
    old = replace((rollout.evidence or {})["errors"], step_floor=10, floor=500_000)
    question = asked(replace(rollout, evidence={"errors": old}), of, at_s=500_010)

    assert (question.step_bin, question.from_bin) == (500_000 - 86_400, 500_000)


def test_the_slowest_rule_says_where_clients_are_followed_from() -> None:
    """Rules are read in one window, so the least of their beginnings counts."""
    of = planned(client="UserId")
    rollout = Walk(of).reach(Phase.BAKING, 2).rollout
    one = replace((rollout.evidence or {})["errors"], step_floor=100, floor=200)
    both = {"a": one, "b": replace(one, step_floor=50, floor=150)}
    question = asked(replace(rollout, evidence=both), of, at_s=300)

    assert (question.step_bin, question.from_bin) == (50, 150)


def baking(since_s: float, **changes: object) -> Rollout:
    """A rollout whose step bakes since a moment."""
    at_ten = Walk().reach(Phase.BAKING, 2).rollout
    at_ten = replace(at_ten, bake_since_s=since_s, looked_at_s=since_s)
    return replace(at_ten, **changes)  # type: ignore[arg-type]  # as in plan()


@pytest.mark.parametrize(
    ("since_s", "at_s", "bins"),
    [
        (0, 2 * QUARTER_S + 300, (0, 2)),
        (1, 2 * QUARTER_S + 300, (1, 2)),
        (1, 2 * QUARTER_S + 299, None),
        (0, 299 + QUARTER_S, None),
        (0, 300 + QUARTER_S, (0, 1)),
        (0, 300 + 96 * QUARTER_S, (0, 96)),
        (0, 300 + 97 * QUARTER_S, (1, 97)),
    ],
)
def test_gauges_are_asked_for_whole_quarters_that_are_complete(
    since_s: float, at_s: float, bins: tuple[int, int] | None
) -> None:
    """From the first one wholly in the bake to the last whose rows have come; a day at most."""
    of = planned(gauges=GAUGES, ingestion_delay_s=300)
    found = questions.levels_needed(of, baking(since_s), at_s)

    assert (found and (found.from_bin, found.to_bin)) == bins
    assert found is None or (found.bin_s, found.source) == (QUARTER_S, of.source)


def test_gauges_are_asked_for_once_a_quarter() -> None:
    """Each look is kept with what it saw, so nothing is looked at again until there is more."""
    of = planned(gauges=GAUGES, ingestion_delay_s=300)
    complete_s = 300 + 4 * QUARTER_S
    before, after = (baking(0, tilts={"cpu": Tilt(next_bin)}) for next_bin in (3, 4))

    assert questions.levels_needed(of, before, complete_s + 10) is not None
    assert questions.levels_needed(of, after, complete_s + 10) is None
    assert questions.levels_needed(of, after, complete_s + QUARTER_S) is not None
    slow = replace(after, delay_s=1200.0)
    assert questions.levels_needed(of, slow, complete_s + QUARTER_S) is None


@pytest.mark.parametrize("sight", [Sight.SEEN, Sight.ABSENT])
def test_a_hold_of_hours_asks_no_oftener(sight: Sight) -> None:
    """Every look is a row of history with a day of gauges in it."""
    asked = []
    walk = minutes(plan=minutes_plan(source=replace(minutes_plan().source, gauges=GAUGES))).bake()
    walk.tell(HoldAsked(walk.now_s, "ada"))
    for _ in range(180):
        question = questions.levels_needed(walk.plan, walk.rollout, walk.now_s + walk.tick_s)
        asked.append(question is not None)
        walk.look(levels=Levels(sight, by_gauge={}) if question else None)
    assert walk.phase is Phase.HELD
    assert 10 <= sum(asked) <= 12


def test_gauges_are_looked_at_while_a_person_is_waited_for() -> None:
    """A hold with traffic on the canary goes on showing what it does."""
    held = baking(0, phase=Phase.HELD)

    assert questions.levels_needed(planned(gauges=GAUGES), held, 1e4) is not None


@pytest.mark.parametrize(
    "rollout",
    [
        baking(0, phase=Phase.SHIFTING),
        baking(0, phase=Phase.RETREATING),
        baking(0, wanted_percent=0.0),
        baking(0, phase=Phase.HELD, bake_since_s=None),
    ],
    ids=["shifting", "retreating", "no traffic", "held before a bake"],
)
def test_gauges_are_not_asked_where_there_is_nothing_to_compare(rollout: Rollout) -> None:
    """Advice is about the canary under its users, in a step that bakes."""
    assert questions.levels_needed(planned(gauges=GAUGES), rollout, 1e4) is None


def test_what_samples_showed_is_no_evidence_of_requests_whatever_the_rules_are_called() -> None:
    """A plan may name its rules as the judge names those of samples."""
    of = replace(
        planned(rules=tuple(Rule(name) for name in SHADOW_RULES)),
        steps=(replace(step(0), shadow=Shadow(Rules(), Redaction())), step(10), step(100)),
    )
    seen = judge.gather(judge.begin(0), [(0, Counts(100, 1, 100, 9))])
    dark = replace(
        newborn(of, START_S, "ci", dry_run=False), evidence=dict.fromkeys(SHADOW_RULES, seen)
    )
    assert questions.for_step(of, dark, 0, START_S) == dark.evidence
    fresh = questions.for_step(of, dark, 1, START_S) or {}
    assert [each.open_bins for each in fresh.values()] == [()] * 3
    assert questions.for_step(of, replace(dark, step=1), 2, START_S) == dark.evidence


def test_without_gauges_none_are_asked_for() -> None:
    """Most plans have none."""
    assert questions.levels_needed(plan(), baking(0), 1e4) is None
