"""The verdict over rules: reference decisions, sealed bins, late data, and what people read."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import judge
from shared.core.judge import Counts, Evidence, Kind, Risk, Step, Verdict, Weighing

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "judge-vectors.json").read_text(encoding="utf-8")
)
RISK = Risk()
ALL = 10**6
QUIET = Counts(3000, 30, 3000, 30)
HARM = Counts(5400, 54, 600, 30)
DEAD = Counts(5400, 54, 600, 400)


def step(**changes: Any) -> Step:
    return replace(Step(next_share=1.0, steps=5, sealed_before=ALL), **changes)


def seen(bins: Iterable[Counts], start: int = 0) -> Evidence:
    return judge.gather(judge.begin(0), enumerate(bins, start))


def one(evidence: Evidence, at: Step | None = None, **more: Any) -> tuple[Verdict, Weighing]:
    verdict = judge.weigh({"errors": evidence}, at or step(), RISK, **more)
    return verdict, verdict.weighings[0]


def from_json(text: str) -> Evidence:
    raw = json.loads(text)
    for name in ("rollout_table", "step_table"):
        raw[name] = tuple(raw[name])
    for name in ("rollout", "step"):
        raw[name] = Counts(**raw[name])
    raw["open_bins"] = tuple((index, Counts(**counts)) for index, counts in raw["open_bins"])
    return Evidence(**raw)


# --- the reference values --------------------------------------------------------------------


@pytest.mark.parametrize("case", VECTORS["decisions"], ids=lambda case: str(case["name"]))
def test_a_reference_rollout_gives_its_decisions(case: dict[str, Any]) -> None:
    """Look by look: put the minute's block, weigh, fold whole blocks older than five minutes.

    A block is two minutes unless said otherwise, and the latest count of a minute replaces the
    earlier. The reference knows neither sealing nor a least number of bins.
    """
    evidence, block = judge.begin(0), case["settings"].get("block", 2)
    minutes: dict[int, Counts] = {}
    for (minute, counts, share), expected in zip(case["feed"], case["log"], strict=True):
        minutes[minute] = Counts(*counts)
        mine = (seen for at, seen in minutes.items() if at // block == minute // block)
        evidence = judge.gather(evidence, [(minute // block, sum(mine, Counts()))])
        verdict, shown = one(evidence, step(next_share=share, min_bins=1))
        assert [shown.worse, shown.ok, shown.absolute, shown.margin] == pytest.approx(
            [expected["worse"], expected["ok"], expected["absolute"], expected["margin"]], abs=1e-9
        )
        assert [shown.ratio_low, shown.ratio_high] == expected["theta"]
        decisions = {Kind.PASS: "pass", Kind.FAIL: "rollback", Kind.UNSURE: "continue"}
        assert decisions[verdict.kind] == expected["decision"]
        evidence = judge.fold(evidence, (minute - 5) // block)


@pytest.mark.parametrize("case", VECTORS["combine"], ids=str)
def test_the_rules_share_one_error_budget(case: dict[str, Any]) -> None:
    """The mean of the e-values against 1/alpha."""
    together = judge.combine(case["worse"], len(case["worse"]))
    assert (together >= math.log(1 / 0.01)) == (case["decision"] == "rollback")


def test_a_rule_with_two_bad_events_counts_as_nothing_but_counts_in_the_mean() -> None:
    """Below three bad events of the canary a rule's e-value is 0 in the mean over all rules."""
    few = seen([Counts(100_000, 0, 10, 1)] * 2)
    alone = one(few)[0]
    assert alone.worse == judge.NO_EVIDENCE
    assert alone.weighings[0].worse > 0
    harm, shown = one(seen([HARM] * 4))
    both = judge.weigh({"few": few, "errors": seen([HARM] * 4)}, step(), RISK)
    assert harm.worse == shown.worse
    assert both.worse == pytest.approx(harm.worse - math.log(2))


def test_many_rules_cannot_push_the_evidence_out_of_json() -> None:
    """However strongly the data speak for the canary, the number stays one that JSON can hold."""
    assert judge.combine([-5000.0, -6000.0], 2) == judge.NO_EVIDENCE


# --- pass, fail, unsure, blind ---------------------------------------------------------------


def test_a_good_release_passes_and_says_why() -> None:
    """Seven bins at 50 % show a ratio below 1.5."""
    verdict, shown = one(seen([QUIET] * 8))
    assert verdict.kind is Kind.PASS
    assert shown.passed
    assert verdict.sentence.startswith("errors: no worse than 1.5 times stable: evidence ")
    assert "over 8 bins (canary 240 of 24000 bad (1.0 %), stable 240 of 24000 bad" in (
        verdict.sentence
    )


def test_a_silent_service_passes_by_its_absolute_rate() -> None:
    """Without any failure a ratio says nothing; the rate does."""
    verdict, shown = one(seen([Counts(3000, 0, 600, 0)] * 3), step(next_share=0.25))
    assert verdict.kind is Kind.PASS
    assert shown.ok == 0
    assert "errors: bad in less than 0.4 %" in verdict.sentence


def test_a_step_younger_than_three_bins_never_passes() -> None:
    """Even when the evidence is there, and the sentence says what is missing."""
    rich = [Counts(300_000, 0, 60_000, 0)] * 2
    verdict, shown = one(seen(rich), step(next_share=0.25))
    assert shown.absolute > 100
    assert verdict.kind is Kind.UNSURE
    assert verdict.sentence == "errors: 2 of at least 3 complete bins seen at this weight"


def test_bins_without_one_arm_do_not_make_a_step_older() -> None:
    """A pass needs bins in which both arms served."""
    lone = [Counts(0, 0, 60_000, 0), Counts(60_000, 0, 0, 0)]
    assert one(seen([*lone, *lone, Counts(3000, 0, 600, 0)]))[1].step_bins == 1


def test_harm_fails_and_says_why() -> None:
    """A fivefold rate at 10 % is found, with both counts in the sentence."""
    verdict, shown = one(seen([HARM] * 6))
    assert verdict.kind is Kind.FAIL
    assert verdict.worse >= verdict.needed == math.log(100)
    assert "canary 180 of 3600 bad (5.0 %), stable 324 of 32400 bad (1.0 %)" in verdict.sentence
    assert "of 4.6 needed" in verdict.sentence
    assert "together" not in verdict.sentence
    assert shown.ratio_low > 1
    assert not shown.passed


def test_the_loudest_rule_is_named_when_several_fail_together() -> None:
    """The evidence is that of all rules, and the sentence says so."""
    rules = {"slow": seen([QUIET] * 6), "errors": seen([HARM] * 8)}
    sentence = judge.weigh(rules, step(), RISK).sentence
    assert sentence.startswith("errors: ")
    assert sentence.endswith("all 2 rules together")


def test_every_rule_must_pass_and_the_one_that_lacks_most_is_named() -> None:
    """One undecided rule keeps the verdict unsure."""
    rules = {"errors": seen([QUIET] * 10), "slow": seen([QUIET] * 4)}
    verdict = judge.weigh(rules, step(), RISK)
    assert verdict.kind is Kind.UNSURE
    assert verdict.sentence.startswith("slow: not yet shown to be no worse than 1.5 times stable")
    rules["slow"] = seen([QUIET] * 9)
    passed = judge.weigh(rules, step(), RISK)
    assert passed.kind is Kind.PASS
    assert passed.sentence.startswith("slow: ")
    assert passed.sentence.endswith("1 more passed more clearly")


def test_fail_beats_blind_and_blind_beats_pass() -> None:
    """Harm already seen is not forgotten; what cannot be seen is never passed."""
    assert one(seen([HARM] * 6), blind="telemetry is late")[0].kind is Kind.FAIL
    verdict = one(seen([QUIET] * 9), blind="telemetry is late")[0]
    assert verdict.kind is Kind.BLIND
    assert verdict.sentence == "blind, neither good nor bad: telemetry is late"


def test_without_rules_the_judge_is_blind() -> None:
    """Nothing to judge by never passes."""
    verdict = judge.weigh({}, step(), RISK)
    assert (verdict.kind, verdict.worse) == (Kind.BLIND, judge.NO_EVIDENCE)


def test_no_pass_is_drawn_while_none_can_be() -> None:
    """While shifting or retreating good evidence is only watched, harm still fails."""
    verdict, shown = one(seen([QUIET] * 9), step(next_share=None))
    assert verdict.kind is Kind.UNSURE
    assert shown.margin is None
    assert verdict.sentence.startswith("errors: only watching, canary 270 of 27000 bad")
    assert one(seen([HARM] * 6), step(next_share=None))[0].kind is Kind.FAIL


# --- sealed and open bins --------------------------------------------------------------------


COUNTS = st.builds(
    lambda n, k, m, j: Counts(n, min(k, n), m, min(j, m)),
    st.integers(0, 5000),
    st.integers(0, 60),
    st.integers(0, 5000),
    st.integers(0, 60),
)
BINS = st.lists(COUNTS, min_size=1, max_size=7)


@given(BINS, BINS, BINS)
@settings(max_examples=25, deadline=None)
def test_bins_that_still_grow_never_change_what_a_pass_rests_on(
    sealed: list[Counts], growing: list[Counts], others: list[Counts]
) -> None:
    """Evidence of no harm, margin and counts of the step come from sealed bins alone."""
    at, before = step(sealed_before=len(sealed)), seen(sealed)
    rest = [
        one(judge.gather(before, enumerate(bins, len(sealed))), at)[1] for bins in (growing, others)
    ]
    for name in ("ok", "absolute", "margin", "step_counts", "step_bins", "passed"):
        assert getattr(rest[0], name) == getattr(rest[1], name)


def test_a_fail_may_rest_on_bins_that_still_grow() -> None:
    """Nothing is sealed, and harm is seen all the same."""
    verdict, shown = one(seen([HARM] * 6), step(sealed_before=0))
    assert verdict.kind is Kind.FAIL
    assert shown.step_counts == Counts()
    assert shown.counts == Counts(32400, 324, 3600, 180)


@given(BINS, st.randoms(use_true_random=False), st.integers(0, 8))
@settings(max_examples=25, deadline=None)
def test_arrival_repetition_folding_and_json_change_nothing(
    bins: list[Counts], random: Random, before: int
) -> None:
    """In any order, twice, partly grown first, folded early, through JSON: the same verdict."""
    plain = seen(bins)
    shuffled = list(enumerate(bins))
    random.shuffle(shuffled)
    other = judge.begin(0)
    for index, counts in shuffled:
        partial = replace(counts, canary_bad=counts.canary_bad // 2)
        for answer in (partial, counts, counts):
            other = judge.gather(other, [(index, answer)])
        other = from_json(json.dumps(asdict(other)))
    assert other == plain
    folded = from_json(json.dumps(asdict(judge.fold(other, before))))
    assert one(folded) == one(plain)


@given(BINS, BINS)
@settings(max_examples=25, deadline=None)
def test_a_folded_bin_ignores_later_growth(bins: list[Counts], late: list[Counts]) -> None:
    """What is frozen stays as it was, and folding twice is folding once."""
    folded = judge.fold(seen(bins), len(bins))
    assert folded.open_bins == ()
    assert judge.gather(folded, enumerate(late[: len(bins)])) == folded
    assert judge.fold(folded, 0) == judge.fold(folded, len(bins)) == folded


def test_the_newest_bins_are_dropped_when_too_many_are_open() -> None:
    """The state stays bounded; old bins go first so that folding can catch up."""
    evidence = judge.gather(judge.begin(5), ((index, QUIET) for index in range(1000, 0, -1)))
    assert len(evidence.open_bins) == judge.MAX_OPEN_BINS
    assert [evidence.open_bins[0][0], evidence.open_bins[-1][0]] == [5, 5 + judge.MAX_OPEN_BINS - 1]


# --- steps -----------------------------------------------------------------------------------


def test_a_new_step_starts_its_own_evidence_and_keeps_the_rollouts() -> None:
    """Open bins of the old weight count for the rollout, never for the step."""
    before = judge.fold(seen([HARM] * 3 + [QUIET] * 5), 5)
    after = judge.start_step(before, 8)
    shown = one(after)[1]
    assert shown.counts == one(before)[1].counts
    assert (shown.ratio_low, shown.ratio_high) == (
        one(before)[1].ratio_low,
        one(before)[1].ratio_high,
    )
    assert (shown.step_counts, shown.step_bins, shown.ok) == (Counts(), 0, 0)
    assert one(judge.gather(after, [(8, QUIET)]))[1].step_counts == QUIET


def test_a_release_that_turns_bad_late_is_found_by_its_step() -> None:
    """The step's own evidence fails it earlier than the rollout's, and its counts are shown."""
    late = judge.start_step(judge.fold(seen([Counts(5400, 54, 600, 6)] * 60), 60), 60)
    late = judge.gather(late, ((60 + i, Counts(3000, 30, 3000, 90)) for i in range(9)))
    verdict, _ = one(late)
    assert verdict.kind is Kind.FAIL
    assert "canary 810 of 27000 bad (3.0 %)" in verdict.sentence


def test_a_dead_canary_fails_after_two_bins_in_a_row() -> None:
    """One dead bin is not enough, a healthy bin breaks the row, an empty one does not."""
    silent = Counts(5400, 54, 0, 0)
    fails = [
        "down" in one(seen(bins))[0].sentence
        for bins in ([DEAD], [DEAD, QUIET, DEAD], [DEAD, DEAD], [DEAD, silent, DEAD])
    ]
    assert fails == [False, False, True, True]
    verdict = one(seen([DEAD, DEAD]), step(sealed_before=0), blind="late")[0]
    assert verdict.kind is Kind.FAIL


@pytest.mark.parametrize(
    "counts",
    [Counts(900, 0, 40, 29), Counts(9000, 90, 100, 49), Counts(100, 11, 100, 90)],
    ids=["few", "less than half", "stable bad too"],
)
def test_the_dead_canary_guard_needs_a_dead_canary_and_a_live_stable(counts: Counts) -> None:
    """Each of its three conditions matters."""
    assert judge.fold(seen([counts] * 3), 3).dead_bins == 0


def test_the_dead_canary_guard_remembers_folded_bins() -> None:
    """The row runs across folding, and once tripped it stays tripped."""
    evidence = judge.fold(seen([DEAD]), 1)
    assert evidence.dead_bins == 1
    evidence = judge.gather(evidence, [(1, DEAD), (2, QUIET)])
    assert one(evidence)[0].kind is Kind.FAIL
    assert judge.fold(evidence, 3).dead_bins == 2


# --- at 100 % --------------------------------------------------------------------------------


def final(bins: list[Counts], folded: int = 0, **changes: Any) -> tuple[Verdict, Weighing]:
    evidence = judge.start_step(judge.fold(seen([QUIET] * 9), 9), 9)
    frozen = {"errors": judge.objective(evidence, RISK)}
    evidence = judge.fold(judge.gather(evidence, enumerate(bins, 9)), 9 + folded)
    return one(evidence, step(final=True, **changes), objectives=frozen)


@pytest.mark.parametrize("folded", [0, 2, 3])
def test_at_100_percent_a_canary_within_its_objective_passes(folded: int) -> None:
    """Three bins of the canary alone, folded or not; the sentence claims no proof."""
    verdict, shown = final([Counts(0, 0, 6000, 60)] * 3, folded)
    assert verdict.kind is Kind.PASS
    assert (shown.step_bins, shown.margin, shown.ok, shown.absolute) == (3, None, 0, 0)
    assert verdict.sentence == (
        "errors: nothing seen against it in 3 bins, at 100 % canary 180 of 18000 bad (1.0 %) "
        "where at most 1.7 % was expected; no proof that it is good"
    )


def test_at_100_percent_harm_is_held_against_the_frozen_objective() -> None:
    """Stable is silent, the objective speaks; the sentence names it."""
    verdict, shown = final([Counts(0, 0, 6000, 180)] * 3)
    assert verdict.kind is Kind.FAIL
    assert shown.over > 4.6
    assert "at 100 % canary 540 of 18000 bad (3.0 %) where at most 1.7 %" in verdict.sentence


def test_at_100_percent_a_young_or_doubtful_step_is_unsure() -> None:
    """Too few bins, evidence between the bounds, nothing frozen, nothing asked."""
    assert final([Counts(0, 0, 6000, 60)] * 2)[0].sentence.startswith("errors: 2 of at least 3")
    doubtful, shown = final([Counts(0, 0, 2000, 47)] * 3)
    assert shown.over > 4.6
    assert (doubtful.kind, shown.passed) == (Kind.UNSURE, False)
    assert "not yet clear, at 100 % canary 141 of 6000 bad" in doubtful.sentence
    bare = one(seen([Counts(0, 0, 6000, 60)] * 4), step(final=True))[0]
    assert bare.kind is Kind.UNSURE
    assert "without a frozen objective" in bare.sentence
    assert final([Counts(0, 0, 6000, 60)] * 4, next_share=None)[0].kind is Kind.UNSURE


def test_the_steps_own_objective_serves_rules_without_one() -> None:
    """`Step.objective` is the default of all rules."""
    evidence = seen([Counts(0, 0, 6000, 60)] * 4)
    assert one(evidence, step(final=True, objective=0.02))[0].kind is Kind.PASS


def test_the_objective_is_stables_bound_with_what_may_be_added() -> None:
    """The bound times 1 + max(h, delta / bound), also where stable never failed or never served."""
    upper = (30 + 2 + 2 * math.sqrt(31)) / 3000
    assert judge.objective(seen([QUIET]), RISK) == pytest.approx(1.5 * upper)
    quiet = seen([Counts(100_000, 0, 10, 0)])
    assert judge.objective(quiet, RISK) == pytest.approx(4e-5 + 0.001)
    assert math.isfinite(judge.objective(judge.begin(0), RISK))


# --- stable's own health and rehearsal -------------------------------------------------------


def test_stable_gone_bad_is_noticed_in_this_step_only() -> None:
    """More than twice its own past rate; before the step's first bin nothing counts."""
    baseline = Counts(stable_events=100_000, stable_bad=1000)
    sick = seen([Counts(5400, 270, 600, 30)] * 2)
    assert judge.stable_is_bad(sick, baseline, RISK)
    assert judge.stable_is_bad(judge.fold(sick, 1), baseline, RISK)
    assert not judge.stable_is_bad(seen([QUIET] * 5), baseline, RISK)
    assert not judge.stable_is_bad(judge.start_step(sick, 2), baseline, RISK)
    assert not judge.stable_is_bad(sick, Counts(), RISK)


def test_the_expected_number_of_bins_agrees_with_the_judge() -> None:
    """The rehearsal's number of expected bins passes, one bin less does not."""
    bins = judge.bins_to_pass(6000, 0.01, 0.5, 1.0, RISK)
    assert bins is not None
    assert 4 <= bins <= 8
    expected = [Counts(3000, 30, 3000, 30)] * int(bins)
    assert one(seen(expected))[0].kind is Kind.PASS
    assert one(seen(expected[1:]))[0].kind is Kind.UNSURE


def test_rehearsal_knows_its_limits() -> None:
    """Never under three bins, longer with less traffic, never with hardly any or a lone arm."""
    assert judge.bins_to_pass(1e6, 0.0, 0.1, 0.25, RISK) == 3
    some = judge.bins_to_pass(600, 0.01, 0.05, 0.1, RISK)
    fewer = judge.bins_to_pass(60, 0.01, 0.05, 0.1, RISK)
    assert some is not None
    assert fewer is not None
    assert 3 < some < fewer
    assert judge.bins_to_pass(1e-4, 0.01, 0.01, 0.05, RISK) is None
    assert judge.bins_to_pass(6000, 0.01, 1.0, 1.0, RISK) is None
    assert judge.bins_to_pass(6000, 0.01, 0.0, 0.05, RISK) is None


def test_a_rehearsed_pass_by_either_route_comes_no_later_with_a_laxer_tolerance() -> None:
    """Quiet services are decided by the absolute rate."""
    lax = judge.bins_to_pass(600, 0.0, 0.5, 1.0, replace(RISK, tolerance=0.005))
    strict = judge.bins_to_pass(600, 0.0, 0.5, 1.0, RISK)
    assert lax is not None
    assert strict is not None
    assert lax < strict


# --- simulated rollouts ----------------------------------------------------------------------


def ended(random: Random, ratio: float, jitter: float, bins: int) -> tuple[Kind, int]:
    """The first fail or pass within `bins` at 10 % of 6000 requests, 1 % bad; jitter clusters."""
    evidence, at = judge.begin(0), step(next_share=0.25)
    kind = Kind.UNSURE
    for index in range(bins):
        stable, canary = (0.01 * random.lognormvariate(0, jitter) for _ in range(2))
        bad = random.binomialvariate(5400, stable), random.binomialvariate(600, ratio * canary)
        evidence = judge.gather(evidence, [(index, Counts(5400, bad[0], 600, bad[1]))])
        kind = one(evidence, at)[0].kind
        if kind in (Kind.FAIL, Kind.PASS):
            return kind, index + 1
        evidence = judge.fold(evidence, index + 1)
    return kind, bins


@pytest.mark.parametrize("jitter", [0.0, 0.5], ids=["independent", "clustered"])
def test_good_releases_are_rarely_blamed(jitter: float) -> None:
    """At most 1 % nominal: of 60 seeded A/A rollouts at most two may fail, most pass."""
    random = Random(20)
    kinds = [ended(random, 1.0, jitter, 40)[0] for _ in range(60)]
    assert kinds.count(Kind.FAIL) <= 2
    assert kinds.count(Kind.PASS) >= 45


@pytest.mark.parametrize("jitter", [0.0, 0.5], ids=["independent", "clustered"])
def test_a_fivefold_regression_is_caught_and_never_passed(jitter: float) -> None:
    """All of 30 seeded rollouts fail, half of them within 25 bins."""
    random = Random(21)
    ends = [ended(random, 5.0, jitter, 60) for _ in range(30)]
    assert {kind for kind, _ in ends} == {Kind.FAIL}
    assert sorted(bins for _, bins in ends)[15] <= 25
