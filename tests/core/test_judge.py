"""The verdict over rules: reference decisions, pass, fail, unsure, blind, and 100 %."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from shared.core import judge
from shared.core.evidence import total
from shared.core.judge import Counts, Kind, Verdict, Weighing
from tests.weighed import HARM, QUIET, RISK, one, seen, step

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "judge-vectors.json").read_text(encoding="utf-8")
)


# --- the reference values -------------------------------------------------------------------------


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


# --- pass, fail, unsure, blind --------------------------------------------------------------------


def test_a_good_release_passes_and_says_why() -> None:
    """Seven bins at 50 % show a ratio below 1.5."""
    verdict, shown = one(seen([QUIET] * 8))
    assert verdict.kind is Kind.PASS
    assert shown.passed
    assert verdict.sentence == (
        "errors: it is no worse than 1.5 times stable, with evidence 6.9 of 3.7 needed "
        "over 8 blocks: 1.0 times as often (0.6 to 1.5), "
        "canary 240 of 24000 requests bad (1.0 %), stable 240 of 24000 bad (1.0 %)"
    )


def test_a_silent_service_passes_by_its_absolute_rate() -> None:
    """Without any failure a ratio says nothing; the rate does."""
    verdict, shown = one(seen([Counts(3000, 0, 600, 0)] * 3), step(next_share=0.25))
    assert verdict.kind is Kind.PASS
    assert shown.ok == 0
    assert (
        "errors: it adds less than 0.1 points of bad requests at 25 %, with evidence"
        in verdict.sentence
    )


def test_a_step_younger_than_three_bins_never_passes() -> None:
    """Even when the evidence is there, and the sentence says what is missing."""
    rich = [Counts(300_000, 0, 60_000, 0)] * 2
    verdict, shown = one(seen(rich), step(next_share=0.25))
    assert shown.absolute > 100
    assert verdict.kind is Kind.UNSURE
    assert verdict.sentence == "errors: 2 of at least 3 complete blocks seen at this weight"


def test_bins_without_one_arm_do_not_make_a_step_older() -> None:
    """A pass needs bins in which both arms served."""
    lone = [Counts(0, 0, 60_000, 0), Counts(60_000, 0, 0, 0)]
    assert one(seen([*lone, *lone, Counts(3000, 0, 600, 0)]))[1].step_bins == 1


def test_harm_fails_and_says_why() -> None:
    """A fivefold rate at 10 % is found, with both counts in the sentence."""
    verdict, shown = one(seen([HARM] * 6))
    assert verdict.kind is Kind.FAIL
    assert verdict.worse >= verdict.needed == math.log(100)
    assert verdict.sentence == (
        "errors: bad are 5.0 % of the canary's requests (180 of 3600) and 1.0 % of stable's "
        "(324 of 32400): "
        "5.0 times as often (3 to 10); evidence that it is worse 12.7 of 4.6 needed"
    )
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
    assert verdict.sentence.startswith(
        "slow: not yet shown that it is no worse than 1.5 times stable"
    )
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
    assert verdict.sentence == "neither good nor bad can be said now: telemetry is late"


def test_without_rules_the_judge_is_blind() -> None:
    """Nothing to judge by never passes."""
    verdict = judge.weigh({}, step(), RISK)
    assert (verdict.kind, verdict.worse) == (Kind.BLIND, judge.NO_EVIDENCE)


def test_no_pass_is_drawn_while_none_can_be() -> None:
    """While shifting or retreating good evidence is only watched, harm still fails."""
    verdict, shown = one(seen([QUIET] * 9), step(next_share=None))
    assert verdict.kind is Kind.UNSURE
    assert shown.margin is None
    assert verdict.sentence.startswith(
        "errors: only watching, bad are 1.0 % of the canary's requests (270 of 27000) and "
    )
    assert one(seen([HARM] * 6), step(next_share=None))[0].kind is Kind.FAIL


# --- at 100 % -------------------------------------------------------------------------------------


def final(bins: list[Counts], folded: int = 0, **changes: Any) -> tuple[Verdict, Weighing]:
    before = judge.fold(seen([QUIET] * 9), 9)
    evidence = judge.start_step(before, 9, judge.objective(total(before), RISK))
    evidence = judge.fold(judge.gather(evidence, enumerate(bins, 9)), 9 + folded)
    assert total(evidence) == total(before), "nothing at 100 % is part of the comparison"
    return one(evidence, step(final=True, **changes))


@pytest.mark.parametrize("folded", [0, 2, 3])
def test_at_100_percent_a_canary_within_its_objective_passes(folded: int) -> None:
    """Three bins of the canary alone, folded or not; the sentence claims no more than that."""
    verdict, shown = final([Counts(0, 0, 6000, 60)] * 3, folded)
    assert verdict.kind is Kind.PASS
    assert (shown.step_bins, shown.margin, shown.ok, shown.absolute) == (3, None, 0, 0)
    assert verdict.sentence == (
        "errors: nothing seen against it in 3 blocks, at 100 % canary 180 of 18000 requests bad "
        "(1.0 %) where at most 1.7 % was expected"
    )


def test_at_100_percent_harm_is_held_against_the_frozen_objective() -> None:
    """Stable is silent, the objective speaks; the sentence names it."""
    verdict, shown = final([Counts(0, 0, 6000, 600)] * 5)
    assert verdict.kind is Kind.FAIL
    assert shown.over > 4.6
    assert (
        "at 100 % canary 3000 of 30000 requests bad (10.0 %) where at most 1.7 %"
        in verdict.sentence
    )


@pytest.mark.parametrize("folded", [0, 6])
def test_at_100_percent_a_burst_blocks_the_pass_and_takes_nobody_back(folded: int) -> None:
    """Chance alone does not explain it, failures that cluster do: a person decides in the end."""
    verdict, shown = final([*[Counts(0, 0, 6000, 60)] * 5, Counts(0, 0, 6000, 2500)], folded)
    assert shown.over > 100
    assert verdict.kind is Kind.UNSURE
    assert "not yet clear, at 100 % canary 2800 of 36000" in verdict.sentence


def test_at_100_percent_a_pass_says_when_something_spoke_against_it() -> None:
    """Five times the objective in a few requests is chance, but not nothing."""
    verdict, _ = final([Counts(0, 0, 20, 1)] * 3)
    assert verdict.kind is Kind.PASS
    assert verdict.sentence.startswith("errors: too little (0.7 of 4.6 needed) seen against it in")


def test_at_100_percent_the_comparison_before_may_still_fail_the_canary() -> None:
    """Then its numbers are shown, by what was counted then, and not the objective."""
    before = judge.fold(seen([HARM] * 6), 6)
    evidence = judge.gather(judge.start_step(before, 6, 0.5), [(6, Counts(0, 0, 6000, 60))])
    verdict, _ = one(evidence, step(final=True, unit_before="client visits"))
    assert verdict.kind is Kind.FAIL
    assert (
        "bad are 5.0 % of the canary's client visits (180 of 3600) and 1.0 % of stable's"
        in verdict.sentence
    )


def test_at_100_percent_a_young_or_doubtful_step_is_unsure() -> None:
    """Too few bins, evidence between the bounds, nothing frozen, nothing asked."""
    assert final([Counts(0, 0, 6000, 60)] * 2)[0].sentence.startswith("errors: 2 of at least 3")
    doubtful, shown = final([Counts(0, 0, 2000, 47)] * 3)
    assert shown.over > 4.6
    assert (doubtful.kind, shown.passed) == (Kind.UNSURE, False)
    assert "not yet clear, at 100 % canary 141 of 6000 requests bad" in doubtful.sentence
    bare = one(seen([Counts(0, 0, 6000, 60)] * 4), step(final=True))[0]
    assert bare.kind is Kind.UNSURE
    assert "without a frozen objective" in bare.sentence
    assert final([Counts(0, 0, 6000, 60)] * 4, next_share=None)[0].kind is Kind.UNSURE
