"""What verdicts say: the unit, numbers that fit each other, briefly, and what would help."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import judge, questions, sights, words
from shared.core.judge import Counts, Kind
from shared.core.model import Phase, Rollout
from shared.core.telemetry import Answer, Sight
from tests.given import step as given_step
from tests.told import MINUTE_S, minutes, minutes_plan
from tests.weighed import HARM, QUIET, RISK, one, seen, step

LONGEST = 300


# --- numbers beside the sentence ------------------------------------------------------------------


def test_a_verdict_carries_what_its_sentence_rests_on() -> None:
    """The likeliest ratio within its interval, the blocks of both arms, bounds and the unit."""
    lone = Counts(6000, 60, 0, 0)
    verdict, shown = one(seen([HARM, lone, HARM, HARM]), step(sealed_before=2, unit="clients"))
    assert shown.ratio == pytest.approx(5, rel=0.1)
    assert shown.ratio_low < (shown.ratio or 0) < (shown.ratio_high or math.inf)
    assert (shown.rollout_bins, shown.step_bins) == (3, 1)
    assert (verdict.unit, verdict.needed) == ("clients", math.log(100))
    assert verdict.pass_needed == math.log(40)


def test_a_dead_canary_is_told_by_the_two_blocks_in_which_it_was() -> None:
    """Two hundred good blocks before them say nothing of it."""
    dead = Counts(9000, 90, 60, 40)
    sentence = one(seen([Counts(9000, 90, 1000, 10)] * 200 + [dead] * 2))[0].sentence
    assert sentence == (
        "errors: the canary is down or all wrong, half or more bad in two blocks in a row "
        "(canary 80 of 120 requests bad (66.7 %), stable 180 of 18000 bad (1.0 %))"
    )


def test_a_ratio_that_is_not_that_of_the_rates_does_not_look_like_it() -> None:
    """Most of the canary's requests came when everything failed less."""
    bins = [Counts(9900, 297, 100, 3)] * 60 + [Counts(5000, 25, 5000, 45)] * 60
    sentence = one(seen(bins))[0].sentence
    assert (
        "bad are 0.94 % of the canary's requests (2880 of 306000) and 2.2 % of stable's "
        in sentence
    )
    assert ": block by block 1.5 times as often (" in sentence


def test_a_rule_among_others_needs_more_than_one_alone() -> None:
    """The others' silence counts, too; no number is shown beside a bound that is not its own."""
    rules = {"errors": seen([HARM] * 3), "a": seen([QUIET] * 3), "b": seen([QUIET] * 3)}
    verdict = judge.weigh(rules, step(next_share=None), RISK)
    assert verdict.kind is Kind.UNSURE
    assert "evidence that it is worse 4.9 of 5.7 needed" in verdict.sentence


def test_blocks_of_the_rollout_outlive_a_new_step() -> None:
    """Those before it still count for harm; those of one arm never did."""
    before = judge.fold(seen([QUIET, Counts(10, 0, 0, 0), QUIET, Counts(0, 0, 9, 0)]), 4)
    after = judge.gather(judge.start_step(before, 4), [(4, QUIET)])
    shown = one(after)[1]
    assert (shown.rollout_bins, shown.step_bins) == (3, 1)


@pytest.mark.parametrize(
    ("bins", "share", "route"),
    [([QUIET] * 8, 1.0, "ratio"), ([Counts(3000, 0, 600, 0)] * 3, 0.25, "rate")],
)
def test_the_evidence_of_no_harm_names_its_route(
    bins: list[Counts], share: float, route: str
) -> None:
    """The stronger of both, which is what the sentence claims, too."""
    verdict, shown = one(seen(bins), step(next_share=share))
    assert shown.route == route
    assert shown.no_harm == max(shown.ok, shown.absolute)
    assert ("times stable" in verdict.sentence) == (route == "ratio")


@pytest.mark.parametrize(
    ("at_s", "lag_s"), [(599.0, None), (600.0, 0.0), (661.5, 61.5)], ids=["before", "at once", "on"]
)
def test_the_lag_is_the_age_of_the_newest_complete_bin(at_s: float, lag_s: float | None) -> None:
    """Of the rule that is furthest behind; None until the first bin has begun, or without rules."""
    rules = {"errors": judge.fold(judge.begin(10), 12), "slow": judge.begin(10)}
    rollout = Rollout("shop", Phase.BAKING, 0.0, 0.0, "ada", "", bin_s=60, evidence=rules)
    assert sights.lag_s(rollout, at_s) == lag_s
    assert sights.lag_s(replace(rollout, evidence=None), at_s) is None


@pytest.mark.parametrize("unit", ["requests", "clients", "samples"])
def test_what_is_counted_is_said_as_it_was_passed_in(unit: str) -> None:
    """In a fail and in a pass; nowhere is another unit named."""
    for bins in ([HARM] * 6, [QUIET] * 8):
        sentence = one(seen(bins), step(unit=unit))[0].sentence
        assert {word for word in ("requests", "clients", "samples") if word in sentence} == {unit}


def test_a_late_regression_is_told_with_the_numbers_of_its_step() -> None:
    """Rates and ratio are this step's: those of the rollout would contradict the verdict."""
    late = judge.start_step(judge.fold(seen([Counts(5400, 54, 600, 6)] * 60), 60), 60)
    late = judge.gather(late, ((60 + i, Counts(3000, 30, 3000, 90)) for i in range(9)))
    verdict, shown = one(late)
    assert verdict.sentence.startswith(
        "errors: bad are 3.0 % of the canary's requests in this step (810 of 27000) and "
        "1.0 % of stable's (270 of 27000): 3.0 times as often (2 to 4.5); "
    )
    assert (shown.ratio or 0) < 3


def test_before_the_canary_served_the_counts_stand_without_a_ratio() -> None:
    """Nothing is divided by nothing."""
    sentence = one(seen([Counts(900, 9, 0, 0)] * 4), step(next_share=None))[0].sentence
    assert sentence.startswith("errors: only watching, canary no traffic, stable 36 of 3600 bad")


@pytest.mark.parametrize(
    ("ratio", "low", "high", "said"),
    [
        (2.12, 1.25, 3.5, "2.1 times as often (1.25 to 3.5)"),
        (12.2, 6.0, None, "12 times as often (at least 6)"),
        (0.9, 0.0, 1.5, "0.9 times as often (at most 1.5)"),
        (1.0, 0.0, None, "1.0 times as often"),
        (None, 1.75, None, "at least 1.75 times as often"),
        (None, 0.0, 1.5, "at most 1.5 times as often"),
        (None, 0.0, None, ""),
    ],
)
def test_a_ratio_is_said_with_what_is_known_of_it(
    ratio: float | None, low: float, high: float | None, said: str
) -> None:
    """With both bounds, with one, and nothing at all where nothing is known."""
    assert words.times(ratio, low, high) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(45, "45 s"), (90, "1.5 min"), (720, "12 min"), (15_000, "4.2 h"), (259_200, "3 days")],
)
def test_a_time_is_said_in_its_own_unit(seconds: float, said: str) -> None:
    """So that nobody has to divide by 3600."""
    assert words.duration(seconds) == said


ARM = st.tuples(st.integers(0, 5_000_000), st.integers(0, 5_000_000))


@given(st.lists(st.builds(lambda s, c: Counts(*s, *c), ARM, ARM), max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_sentence_is_longer_than_a_person_reads(bins: list[Counts], watched: bool) -> None:
    """About 300 characters with a usual name, whatever the numbers; always one line."""
    at = step(next_share=None if watched else 0.25, bake_max_s=600.0, sealed_before=len(bins))
    for rules in ({"slow": seen(bins)}, {"slow": seen(bins), "errors": judge.begin(0)}):
        sentence = judge.weigh(rules, at, RISK).sentence
        assert len(sentence) <= LONGEST
        assert "\n" not in sentence


# --- low traffic ----------------------------------------------------------------------------------


def low(per_bin: float, bins: int, **changes: Any) -> str:
    """The sentence at 10 % after so many sealed bins of so much traffic, 1 % of it bad."""
    count = Counts(0.9 * per_bin, 0.009 * per_bin, 0.1 * per_bin, 0.001 * per_bin)
    usual: dict[str, Any] = {"next_share": 0.25, "sealed_before": bins, "bake_max_s": 14_400.0}
    return one(seen([count] * bins), step(**(usual | changes)))[0].sentence


def test_a_step_that_its_traffic_cannot_decide_is_said_to_be_so_early() -> None:
    """With how long it would take, what the plan allows and what would help."""
    expected = judge.bins_to_pass(8, 0.01, 0.1, 0.25, RISK)
    assert expected is not None
    assert expected > 240
    sentence = low(8, 3)
    assert sentence.startswith("errors: not yet shown that ")
    assert sentence.endswith(
        f"; at this traffic a pass takes about {words.duration(60 * expected)}, bake.max is 4 h: "
        "raise the percentage, the tolerance or bake.max"
    )


def test_traffic_too_low_for_any_bake_is_said_to_be_so() -> None:
    """A longer bake is not offered where none would help."""
    assert low(1e-3, 9).endswith(
        "; at this traffic no bake is long enough: raise the percentage or the tolerance"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"per_bin": 6000},
        {"bins": 2},
        {"bake_max_s": 10**7},
        {"bake_max_s": 0.0},
        {"next_share": None},
        {"final": True},
    ],
    ids=["enough traffic", "too young", "long bake", "not asked", "no pass possible", "at 100 %"],
)
def test_nothing_is_said_of_the_traffic_where_it_is_not_what_lacks(changes: dict[str, Any]) -> None:
    """Enough of it, too early to say, time enough, and where no pass is drawn from a comparison."""
    assert "at this traffic" not in low(**({"per_bin": 8, "bins": 3} | changes))


def test_a_canary_that_is_mostly_silent_is_low_traffic_and_not_a_young_step() -> None:
    """Bins without a request of the canary are counted as time that passed."""
    silent, lone = Counts(9, 0.09, 0, 0), Counts(9, 0.09, 1, 0)
    bins = [silent] * 20 + [lone]
    at = step(next_share=0.25, sealed_before=21, bake_max_s=14_400.0)
    sentence = one(seen(bins), at)[0].sentence
    assert sentence.startswith("errors: 1 of at least 3 complete blocks seen at this weight; ")
    assert "at this traffic a pass takes about " in sentence


SOME = Counts(300, 3, 300, 3)


@pytest.mark.parametrize("passed_by", [False, True])
def test_blocks_without_any_row_are_not_held_against_the_traffic(*, passed_by: bool) -> None:
    """Three hours without telemetry, whether or not its empty blocks were read afterwards."""
    before = judge.fold(seen([SOME] * 20), 20)
    before = judge.pass_by(before, 200) if passed_by else before
    after = judge.gather(before, [(200, SOME), (201, SOME)])
    at = step(sealed_before=202, bake_max_s=7200.0)
    assert "not yet shown" in one(after, at)[0].sentence
    assert "at this traffic" not in one(after, at)[0].sentence


def test_an_hour_without_telemetry_is_no_traffic_that_is_too_low() -> None:
    """A pass takes forty minutes of the two hours there are; an hour of rows is lost for good."""
    source = replace(minutes_plan().source, risk=RISK)
    walk = minutes(
        plan=minutes_plan(source=source, steps=(given_step(50, max_s=7200), given_step(100))),
        per_s=600,
        rates=(0.01, 0.01),
    ).bake()
    walk.looks(25)
    gone = questions.bin_at(walk.now_s, MINUTE_S)
    walk.bend = lambda answer: Answer(Sight.ABSENT, "nothing", to_bin=answer.to_bin)
    walk.looks(60)
    assert "telemetry is late" in walk.rollout.sentence

    def lost(answer: Answer) -> Answer:
        bins = tuple(each for each in answer.bins if not gone <= each.index < gone + 60)
        return replace(answer, bins=bins)

    walk.bend = lost
    said = walk.looks(8)
    assert all(each.startswith("errors: not yet shown that ") for each in said)
    assert not any("at this traffic" in each for each in said)


def test_a_new_step_reckons_with_its_own_traffic_only() -> None:
    """What many requests an hour did for the step before does nothing for this one."""
    before = judge.fold(seen([Counts(30, 0.3, 30, 0.3)] * 3), 3)
    new = judge.fold(judge.start_step(judge.fold(seen([SOME] * 500), 500), 500), 500)
    few = judge.gather(new, ((500 + i, Counts(30, 0.3, 30, 0.3)) for i in range(3)))
    at = step(sealed_before=503, bake_max_s=7200.0)
    assert new.served_bins == 0
    assert before.served_bins == judge.fold(few, 503).served_bins == 3
    assert "at this traffic a pass takes about " in one(few, at)[0].sentence


def test_a_step_nobody_has_used_yet_says_nothing_of_its_traffic() -> None:
    """Without a single request there is no traffic to reckon with."""
    at = step(next_share=0.25, sealed_before=5, bake_max_s=14_400.0)
    assert "at this traffic" not in one(judge.begin(0), at)[0].sentence


def test_the_search_for_a_pass_may_begin_where_the_bake_ends() -> None:
    """What passes within it is not looked for more closely, what does not is found as ever."""
    args = (600.0, 0.01, 0.05, 0.1, RISK)
    exact = judge.bins_to_pass(*args)
    assert exact is not None
    assert judge.bins_to_pass(*args, int(exact) + 50) == exact + 50
    assert judge.bins_to_pass(*args, int(exact) // 2) == exact


def test_the_interval_shown_is_the_one_of_the_verdict() -> None:
    """The sentence and the numbers beside it are the same."""
    verdict, shown = one(seen([HARM] * 6))
    assert verdict.kind is Kind.FAIL
    assert words.times(shown.ratio, shown.ratio_low, shown.ratio_high) in verdict.sentence
