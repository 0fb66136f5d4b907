"""Absent is not zero: an arm of which nothing comes blocks a pass, blames nobody, and is named."""

from dataclasses import replace

import pytest

from shared.core import blindness, questions
from shared.core.model import Outcome, Phase, Plan
from shared.core.telemetry import Answer, ArmBin, BinSeen, Sight
from tests.given import pair, step
from tests.told import MINUTE_S, Told, minutes, minutes_plan, sampled, without

LONG = minutes_plan(
    steps=(step(10, min_s=3600, max_s=36_000), step(50, min_s=3600, max_s=36_000), step(100))
)


def dies(walk: Told, arm: str) -> None:
    """From the next bin on nothing of this arm reaches the log."""
    first = questions.bin_at(walk.now_s, MINUTE_S) + 1
    walk.bend = lambda answer: without(answer, arm, first)


def dead_after_merit(plan: Plan = LONG) -> Told:
    """A canary that has shown all that a pass needs, and then crashes before its shortest bake."""
    walk = minutes(plan=plan).bake()
    walk.looks(30)
    assert "The shortest bake is not over" in walk.rollout.sentence
    dies(walk, "canary")
    return walk


def test_a_canary_that_crashed_before_it_could_report_is_not_promoted_on_old_merit() -> None:
    """Its good half hour would pass at the end of the bake; its silence is blindness instead."""
    walk = dead_after_merit()
    walk.looks(60)

    assert (walk.phase, walk.rollout.step) == (Phase.BAKING, 0)
    assert walk.rollout.sentence == (
        "neither good nor bad can be said now: no request of the canary for 3540 s, "
        "where 32400 were expected"
    )


def test_without_that_look_it_would_have_been(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would notice if silence were taken for a gap."""
    monkeypatch.setattr(blindness, "silence", lambda *_: "")
    walk = dead_after_merit()
    walk.looks(60)
    assert walk.rollout.step == 1


def test_a_canary_that_never_shows_at_its_step_is_silent_too() -> None:
    """It served at 10 % and dies as its weights rise: nothing of it comes at 50 %."""
    walk = minutes(plan=LONG).bake()
    while walk.phase is Phase.BAKING:
        walk.look()
    dies(walk, "canary")
    walk.bake(2)
    walk.looks(20)
    assert "no request of the canary for 1200 s" in walk.rollout.sentence


def test_a_silent_stable_blinds_as_well() -> None:
    """Without it there is nothing to compare with."""
    walk = minutes(plan=LONG).bake()
    walk.looks(20)
    dies(walk, "stable")
    walk.looks(20)
    assert "no request of the stable version for 1140 s, where 75600 were" in walk.rollout.sentence


def test_an_arm_that_comes_back_is_seen_again() -> None:
    """One row is enough to end the silence, and what was missed before is forgotten."""
    walk = dead_after_merit(minutes_plan(steps=(step(10, min_s=36_000, max_s=72_000), step(100))))
    walk.looks(20)
    assert "no request" in walk.rollout.sentence
    walk.bend = lambda answer: answer
    walk.look()
    assert "no request" not in walk.rollout.sentence
    first = questions.bin_at(walk.now_s, MINUTE_S) + 1
    walk.looks(10)
    walk.bend = lambda answer: without(answer, "canary", first + 10)
    walk.looks(12)
    assert "no request of the canary for 660 s, where 3600 were" in walk.rollout.sentence


def test_a_silence_shorter_than_the_patience_is_none() -> None:
    """Rows may still be on their way: five minutes of delay and five bins."""
    walk = dead_after_merit()
    said = walk.looks(13)
    silent = ["no request" in each for each in said]
    assert silent == [False] * 11 + [True] * 2


@pytest.mark.parametrize(("requests", "blind"), [(6, False), (12, True)])
def test_few_expected_requests_may_fail_to_come(requests: int, *, blind: bool) -> None:
    """Stable serves so many a bin: at 10 % the canary would have had less than ten, or more."""
    walk = minutes(plan=LONG).bake()

    def quiet(answer: Answer) -> Answer:
        arm = ArmBin(requests, requests, (0.0,), (0,))
        bins = tuple(BinSeen(seen.index, arm, None) for seen in answer.bins)
        return replace(answer, bins=bins)

    walk.bend = quiet
    walk.looks(14)
    assert ("no request of the canary" in walk.rollout.sentence) == blind


def test_of_a_coarse_sample_more_requests_may_fail_to_come() -> None:
    """Ten requests of which one row in a hundred is kept are no silence: rows are what is seen."""
    walk = dead_after_merit()
    bend = walk.bend

    def coarse(answer: Answer) -> Answer:
        seen = bend(answer)
        bins = tuple(sampled(each, stable=4000, canary=4000) for each in seen.bins)
        return replace(seen, bins=bins)

    walk.bend = coarse
    walk.looks(30)
    assert "no request" not in walk.rollout.sentence


def test_harm_is_not_blinded_by_silence() -> None:
    """Blind blocks a pass only: a canary that comes back broken goes."""
    walk = dead_after_merit()
    walk.looks(20)
    walk.bend, walk.rates = lambda answer: answer, (0.0, 0.9)
    while walk.phase is Phase.BAKING:
        walk.look()
    assert walk.phase is Phase.RETREATING


def test_at_100_per_cent_stable_is_not_missed() -> None:
    """There it gets nothing, and a silent canary is one whose telemetry is late."""
    plan = minutes_plan(steps=(step(50), step(100, min_s=3600, max_s=36_000)))
    walk = minutes(plan=plan).bake(2)
    said = walk.looks(30)
    assert not any("no request" in each for each in said)


def test_at_100_per_cent_a_canary_behind_the_last_requests_of_stable_is_silent() -> None:
    """Clients with old DNS answers still reach stable, and nothing of the canary comes."""
    plan = minutes_plan(steps=(step(50), step(100, min_s=3600, max_s=36_000)))
    walk = minutes(plan=plan).bake(2)

    def swapped(answer: Answer) -> Answer:
        bins = tuple(BinSeen(seen.index, seen.canary, None) for seen in answer.bins)
        return replace(answer, bins=bins)

    walk.bend = swapped
    walk.looks(20)
    assert "no request of the canary for 1200 s" in walk.rollout.sentence


def test_at_100_per_cent_the_last_requests_of_stable_hold_nothing() -> None:
    """It may be taken down by then: whoever still reaches it fails, and nothing is compared."""
    plan = minutes_plan(steps=(step(50), step(100, min_s=3600, max_s=36_000)))
    walk = minutes(plan=plan).bake(2)
    left = ArmBin(60, 60, (60.0,), (60,))
    walk.bend = lambda answer: replace(
        answer, bins=tuple(replace(seen, stable=left) for seen in answer.bins)
    )
    walk.looks(20)
    assert (walk.phase, walk.rollout.step) == (Phase.BAKING, 1)


def test_where_no_row_came_ever_it_is_said_what_was_looked_for() -> None:
    """A misspelt role is seen in the sentence."""
    plan = minutes_plan(source=replace(LONG.source, role="shopp"))
    walk = minutes(plan=plan).bake()
    walk.rollout = replace(walk.rollout, last_row_s=None)
    walk.bend = empty
    walk.looks(30)
    told = "no row with AppVersion = '2.3.9' or '2.4.0' and AppRoleName = 'shopp' since the start"
    assert told in walk.rollout.sentence


def test_a_canary_that_a_person_took_off_is_not_missed() -> None:
    """Held, and somebody gave all traffic back to stable: nothing of the canary is expected."""
    walk = minutes(plan=LONG).bake()
    walk.looks(10)
    walk.weights = pair(100, 0)
    walk.looks(30)
    assert walk.phase is Phase.HELD
    assert walk.rollout.verdict is not None
    assert "no request" not in walk.rollout.verdict.sentence


# --- looks without a row --------------------------------------------------------------------------

NO_ROW = "; this look shows no row, and nothing rises on it."


def empty(answer: Answer, sight: Sight = Sight.ABSENT) -> Answer:
    """The same window without a row."""
    return Answer(sight, "nothing", to_bin=answer.to_bin)


@pytest.mark.parametrize("sight", [Sight.ABSENT, Sight.LATE])
@pytest.mark.parametrize("manual", [False, True])
def test_no_step_rises_and_no_gate_is_reached_on_a_look_without_a_row(
    sight: Sight, *, manual: bool
) -> None:
    """What was shown before the rows ended would pass at the end of the bake; the next row does."""
    first = step(10, min_s=1200, max_s=36_000, manual=manual)
    walk = minutes(plan=minutes_plan(steps=(first, step(100)))).bake()
    walk.looks(18)
    walk.bend = lambda answer: empty(answer, sight)
    said = walk.looks(4)
    assert [each.endswith(NO_ROW) for each in said] == [True] * 4
    assert "The shortest bake" not in said[-1]
    assert (walk.phase, walk.rollout.step) == (Phase.BAKING, 0)

    walk.bend = lambda answer: answer
    walk.look()
    assert walk.phase is (Phase.HELD if manual else Phase.SHIFTING)


def test_a_quiet_service_passes_although_its_looks_are_often_empty() -> None:
    """Requests each ten minutes: two minutes of blindness would be the end, and there is none."""
    plan = minutes_plan(
        steps=(step(50, max_s=360_000), step(100)), patience_s=120, when_blind=Outcome.RETREAT
    )
    walk, shown = minutes(plan=plan, per_s=200), []

    def rare(answer: Answer) -> Answer:
        bins = tuple(seen for seen in answer.bins if seen.index % 10 == 0)
        shown.append(bool(bins))
        if not bins:
            return empty(answer)
        newest_s = min(walk.now_s, (bins[-1].index + 1) * MINUTE_S)
        return replace(answer, bins=bins, newest_s=newest_s)

    walk.bend = rare
    walk.bake()
    for _ in range(500):
        if walk.phase is Phase.BAKING:
            assert "neither good nor bad" not in walk.look()
    assert walk.phase is Phase.SHIFTING
    assert (shown[-1], False in shown) == (True, True)


def test_an_empty_look_ends_a_blindness_that_is_over() -> None:
    """Two failed looks with quiet minutes between them are no spell of blindness."""
    walk = minutes(plan=replace(LONG, patience_s=5 * MINUTE_S)).bake()
    walk.looks(21)
    failed = Answer(Sight.FAILED, "429")
    walk.look(answer=failed)
    walk.bend = empty
    assert all(each.endswith(NO_ROW) for each in walk.looks(6))
    walk.look(answer=failed)
    assert (walk.phase, walk.rollout.blind_since_s) == (Phase.BAKING, walk.now_s)
