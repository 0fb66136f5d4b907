"""Advice: what people should know, in words with numbers, and no decision rests on it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.core import advice
from shared.core.model import Phase
from shared.core.telemetry import Advice, Answer, ArmBin, BinSeen, Gauge, Levels, Sight
from shared.record import rollout_from_json, rollout_to_json
from tests.given import step
from tests.told import Told, minutes, minutes_plan, quarters, sampled

GAUGES = (Gauge("cpu", "AppPerformanceCounters", "% Processor Time"),)
LONG = (step(10, min_s=360_000, max_s=720_000), step(100))


def walked(**changes: object) -> Told:
    """A walk that stays at 10 %, its first step baking."""
    return minutes(plan=minutes_plan(steps=LONG), **changes).bake()


def reshared(share: float) -> Callable[[Answer], Answer]:
    """Of six thousand requests a minute the canary gets this share."""

    def bent(answer: Answer) -> Answer:
        arms = [
            ArmBin(n, n, (0.0,), (0,)) for n in (round(6000 * (1 - share)), round(6000 * share))
        ]
        canary = arms[1] if arms[1].rows else None
        return replace(answer, bins=tuple(BinSeen(s.index, arms[0], canary) for s in answer.bins))

    return bent


# --- the share of the requests --------------------------------------------------------------------


def test_the_share_asked_for_is_said_and_is_no_trouble() -> None:
    """Both numbers are there, and nothing is called off."""
    walk = walked()
    walk.looks(30)
    assert walk.advice()["share"] == (
        False,
        "the canary gets 10.0 % of the requests where 10 % was asked for",
    )


def test_a_canary_that_gets_far_less_than_asked_for_is_told_of() -> None:
    """A fifth of its share, as where clients keep old DNS answers; it goes on baking."""
    walk = walked(bend=reshared(0.021))
    walk.looks(30)
    off, sentence = walk.advice()["share"]
    assert off
    assert sentence == (
        "the canary gets 2.1 % of the requests where 10 % was asked for (0.1 to 0.4 times what its "
        "weight would bring): clients keep old DNS answers, or requests of the canary reach no log"
    )
    assert walk.phase is Phase.BAKING


def test_a_canary_that_gets_far_more_than_asked_for_is_told_of() -> None:
    """Three times its share, and what may be behind it."""
    walk = walked(bend=reshared(0.3))
    walk.looks(30)
    off, sentence = walk.advice()["share"]
    assert off
    assert "gets 30.0 % of the requests where 10 % was asked for (3 to 6 times what" in sentence
    assert "have drawn it, or requests of stable reach no log" in sentence


def test_a_silent_canary_counts_as_no_request_at_all() -> None:
    """Survivors alone would say nothing: bins that are complete and empty of it are zeros."""
    walk = walked(bend=reshared(0))
    walk.looks(120)
    off, sentence = walk.advice()["share"]
    assert off
    assert "gets 0.0 % of the requests" in sentence


@pytest.mark.parametrize("weights", [(1, 1), (1, 20), (20, 1), (20, 20)])
def test_sampling_is_no_other_share(weights: tuple[float, float]) -> None:
    """However coarsely either version is sampled, its requests are what its rows stand for."""

    def bent(answer: Answer) -> Answer:
        return replace(answer, bins=tuple(sampled(each, *weights) for each in answer.bins))

    walk = walked(bend=bent)
    walk.looks(30)
    assert not walk.advice()["share"][0]


def test_a_step_counts_its_own_share() -> None:
    """What was asked for at 10 % says nothing at 50 %."""
    walk = minutes(plan=minutes_plan(steps=(step(10, max_s=36_000), step(50), step(100))))
    walk.bake()
    walk.looks(3)
    walk.bake(2)
    assert "share" not in walk.advice()
    walk.looks(8)
    assert walk.advice()["share"][1].startswith("the canary gets 50.0 %")


# --- gauges ---------------------------------------------------------------------------------------


def gauged(canary: float | None) -> Told:
    """A walk with a gauge at 40 for stable, looked at for four hours and a half."""
    source = replace(minutes_plan().source, gauges=GAUGES)
    walk = minutes(plan=minutes_plan(steps=LONG, source=source)).bake()
    walk.levels = lambda: quarters(walk, 40.0, canary)
    walk.looks(270)
    return walk


def test_a_higher_level_is_advice_with_its_evidence() -> None:
    """Over in every quarter; and the rollout goes on all the same."""
    walk = gauged(45.0)
    off, sentence = walk.advice()["cpu"]
    assert off
    assert sentence == (
        "cpu: the canary's level was more than 10 % over stable's in 16 of 16 quarters of an "
        "hour; evidence 5.1 of 4.6 needed; advice only"
    )
    assert walk.phase is Phase.BAKING


def test_a_level_within_the_allowance_is_none() -> None:
    """43 is less than 10 % over 40, and a quarter counts once however often it is looked at."""
    off, sentence = gauged(43.0).advice()["cpu"]
    assert not off
    assert "in 0 of 16 quarters" in sentence


def test_a_quarter_in_which_one_version_reports_nothing_does_not_count() -> None:
    """Nothing is no low level."""
    assert gauged(None).advice()["cpu"] == (
        False,
        "cpu: no quarter of an hour with % Processor Time of both versions so far; advice only",
    )


def test_levels_that_could_not_be_asked_change_nothing_else() -> None:
    """The advice says so; what was counted before stays."""
    walk = gauged(45.0)
    tilts, verdict = walk.rollout.tilts, walk.rollout.verdict
    assert verdict is not None
    walk.levels = lambda: Levels(Sight.FAILED, "403 from the workspace")
    walk.look()
    assert walk.advice()["cpu"] == (
        False,
        "cpu: the levels could not be asked: 403 from the workspace; advice only",
    )
    assert walk.rollout.tilts == tilts
    assert walk.rollout.verdict is not None
    assert walk.rollout.verdict.kind is verdict.kind

    walk.levels = lambda: Levels(Sight.SEEN)
    walk.look()
    assert "in 16 of 16 quarters" in walk.advice()["cpu"][1]


# --- bad events of few bins -----------------------------------------------------------------------


def crowded(bad: int, bins: int, client: str | None = None) -> Told:
    """A walk in which the canary's bad events of each twelve bins lie in so many."""
    walk = walked()
    walk.plan = replace(walk.plan, source=replace(walk.plan.source, client=client))

    def bent(answer: Answer) -> Answer:
        def arm(seen: BinSeen) -> ArmBin:
            count = bad if seen.index % 12 < bins else 0
            found = ArmBin(600, 600, (float(count),), (count,))
            return replace(found, clients=(300,), bad_clients=(count,)) if client else found

        return replace(answer, bins=tuple(replace(s, canary=arm(s)) for s in answer.bins))

    walk.bend = bent
    walk.rates = (0.01, 0.0)
    walk.looks(18)
    return walk


def test_bad_events_of_two_bins_may_be_few_clients() -> None:
    """All of them in one minute of twelve."""
    off, sentence = crowded(40, 1).advice()["errors crowd"]
    assert off
    assert sentence.startswith("errors: 40 of the canary's 40 bad lie in two of 12 bins: a few")


@pytest.mark.parametrize(("bad", "bins"), [(5, 1), (4, 12)], ids=["few", "spread"])
def test_few_bad_events_or_spread_ones_are_no_crowd(bad: int, bins: int) -> None:
    """Five may fall together by chance, and four a minute are no burst."""
    assert "errors crowd" not in crowded(bad, bins).advice()


def test_a_plan_that_counts_clients_is_not_told_to() -> None:
    """Each of them is bad once, so that many in one bin are many."""
    assert "errors crowd" not in crowded(40, 1, "UserId").advice()


# --- all of it ------------------------------------------------------------------------------------


def test_some_rows_without_a_version_are_advice_until_an_answer_says_otherwise() -> None:
    """A look that failed forgets nothing; one that shows better does."""
    walk = walked(bend=lambda answer: replace(answer, unlabelled=0.034))
    walk.look()
    said = (True, "3 % of the requests carry no version and are not counted")
    assert walk.advice()["unlabelled"] == said
    walk.look(answer=Answer(Sight.FAILED, "429"))
    assert walk.advice()["unlabelled"] == said
    walk.bend = lambda answer: replace(answer, unlabelled=0.01)
    walk.look()
    assert "unlabelled" not in walk.advice()


def test_nothing_is_advised_where_only_one_version_has_traffic() -> None:
    """At 100 % there is nothing to compare with."""
    plan = minutes_plan(steps=(step(50), step(100, min_s=3600, max_s=36_000)))
    walk = minutes(plan=plan, bend=lambda answer: replace(answer, unlabelled=0.034)).bake(2)
    walk.looks(10)
    assert walk.rollout.advice == ()


def test_advice_is_bounded() -> None:
    """A dozen gauges are cut; what is said of the traffic stays."""
    gauges = tuple(replace(GAUGES[0], name=f"gauge {n}") for n in range(12))
    source = replace(minutes_plan().source, gauges=gauges)
    walk = minutes(plan=minutes_plan(steps=LONG, source=source)).bake()
    walk.looks(12)
    assert len(walk.rollout.advice) == advice.MOST_ADVICE
    assert walk.rollout.advice[0].name == "share"


def test_new_advice_alone_is_no_change_of_the_record() -> None:
    """Held, and nothing new but a level that cannot be asked: no history row is written."""
    walk = gauged(45.0)
    failed = Answer(Sight.FAILED, "429")
    walk.look(answer=failed)
    walk.rollout = replace(walk.rollout, looked_at_s=9e12)
    before = walk.rollout
    walk.levels = lambda: Levels(Sight.FAILED, "429")
    walk.look(answer=failed)
    assert walk.rollout == before


def test_no_verdict_and_no_phase_depends_on_advice() -> None:
    """With the same answers but other levels and advice, the same life."""
    lives = []
    for canary in (43.0, 90.0):
        walk = gauged(canary)
        walk.rollout = replace(walk.rollout, advice=(Advice("x", off=True, sentence="y"),))
        walk.look()
        lives.append([(d.rollout.phase, d.rollout.verdict, d.sentence) for d in walk.told])
    assert lives[0] == lives[1]


def test_what_is_learnt_for_advice_survives_being_written_down() -> None:
    """The stored record read back is the record."""
    walk = gauged(45.0)
    assert rollout_from_json(rollout_to_json(walk.rollout)) == walk.rollout
