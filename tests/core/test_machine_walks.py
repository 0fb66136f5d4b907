"""Whole rollouts through `decide`: what a user would see happen."""

from dataclasses import replace

import pytest

from shared.core import gates, preflight, questions
from shared.core.events import (
    AbortAsked,
    AlertFired,
    HoldAsked,
    PromoteAsked,
    ResumeAsked,
    StartAsked,
    Ticked,
    TurnFailed,
)
from shared.core.judge import Kind
from shared.core.model import Arm, Outcome, Pair, Phase, ProbeSeen, TrafficSeen
from shared.core.telemetry import Answer, Sight
from tests.given import Walk, pair, plan, profile, saw, step

FAILED_LOOK = TrafficSeen(Sight.FAILED, "503 from ARM")
FAILED_ANSWER = Answer(Sight.FAILED, "429, too many requests")


def alert(walk: Walk) -> AlertFired:
    return AlertFired(walk.now_s, "a-1", "shop-5xx", 1, (), "2026-11-22T10:00:00Z")


def test_a_good_canary_is_promoted_step_by_step() -> None:
    walk = Walk().reach(Phase.PROMOTED)

    shifts = [d.sentence for d in walk.told if d.effects and "going to" in d.sentence]
    assert [s[s.index("going to") :] for s in shifts] == [
        "going to step 1 of 4 (1 %).",
        "going to step 2 of 4 (10 %).",
        "going to step 3 of 4 (50 %).",
        "going to step 4 of 4 (100 %).",
    ]
    assert walk.share == 1
    assert not walk.weights.stable.enabled


def test_a_canary_that_fails_more_is_taken_back_to_what_was_there_before() -> None:
    walk = Walk().reach(Phase.BAKING, 2)
    walk.rates = (0.0, 0.3)
    walk.reach(Phase.RETREATING)

    assert walk.weights == pair(100, 0)
    assert "worse" in walk.rollout.sentence
    walk.reach(Phase.REVERTED)


def test_harm_that_shows_while_shifting_does_not_wait_for_the_bake() -> None:
    walk = Walk(plan=plan(name_servers_s=60)).reach(Phase.SHIFTING)
    walk.until(lambda w: w.share == 0.01)
    walk.rates = (0.0, 1.0)

    walk.until(lambda w: w.phase is Phase.RETREATING, most=55)


def test_after_everything_a_worse_canary_is_still_taken_back() -> None:
    walk = Walk().reach(Phase.BAKING, 4)
    walk.rates = (0.0, 0.5)

    walk.reach(Phase.REVERTED)

    assert walk.weights == pair(100, 0)


def test_preflight_refuses_with_every_reason_at_once() -> None:
    walk = Walk(weights=Pair(Arm(1, enabled=True), Arm(1, enabled=True)), per_s=0)

    walk.tick(probe=ProbeSeen(healthy=False, reason="connection refused"))

    assert walk.phase is Phase.REFUSED
    for part in ("must start disabled", "cannot express 1 %", "connection refused", "no request"):
        assert part in walk.rollout.sentence
    assert len(walk.rollout.reasons) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"traffic": TrafficSeen(Sight.ABSENT, "404")}, "does not exist"),
        ({"traffic": saw(replace(profile(pair(100, 0)), enabled=False))}, "disabled"),
        ({"traffic": saw(replace(profile(pair(100, 0)), routing="Priority"))}, "Priority"),
        ({"traffic": saw(replace(profile(pair(100, 0)), endpoints=()))}, "no endpoint blue"),
        ({"traffic": saw(profile(pair(100, 0), stable_health="Degraded"))}, "is Degraded"),
        ({"traffic": saw(profile(pair(0, 0)))}, "blue is disabled"),
        ({"traffic": saw(profile(pair(100, 0), ttl_s=30))}, "TTL"),
        ({"probe": None}, "not probed"),
        ({"holder": "other"}, "claimed by other"),
    ],
)
def test_preflight_names_what_is_wrong(changes: dict[str, object], words: str) -> None:
    walk = Walk()

    walk.tick(**changes)

    assert walk.phase is Phase.REFUSED
    assert words in walk.rollout.sentence


def test_a_weight_too_small_is_scaled_only_when_the_plan_allows_it() -> None:
    walk = Walk(plan=plan(rescale=True), weights=pair(1, 0)).reach(Phase.BAKING)

    assert walk.weights == Pair(Arm(990, enabled=True), Arm(10, enabled=True))
    walk.tell(AbortAsked(walk.now_s, "ada"))
    assert walk.weights == pair(1, 0)


def test_a_pair_that_is_not_alone_is_not_scaled() -> None:
    walk = Walk(plan=plan(rescale=True), weights=pair(1, 0))
    seen = profile(walk.weights)
    third = replace(seen.endpoints[0], name="red")

    walk.tick(traffic=saw(replace(seen, endpoints=(*seen.endpoints, third))))

    assert walk.phase is Phase.REFUSED
    assert "multiply all weights of the profile by 100" in walk.rollout.sentence


def test_a_percentage_no_weight_can_express_is_refused() -> None:
    walk = Walk(plan=plan(rescale=True, steps=(step(0.1), step(99.95), step(100))))

    walk.tick()

    assert "nor can any weight" in walk.rollout.sentence


def test_a_plan_this_traffic_cannot_decide_is_refused_before_it_starts() -> None:
    walk = Walk(plan=plan(steps=(step(1, max_s=5), step(100))), per_s=5)

    walk.tick()

    assert walk.phase is Phase.REFUSED
    assert "step 1 (1 %) cannot be decided" in walk.rollout.sentence


def test_preflight_waits_for_what_cannot_be_seen_and_then_gives_up() -> None:
    walk = Walk()
    walk.tick(traffic=FAILED_LOOK)
    assert (walk.phase, "503 from ARM" in walk.rollout.sentence) == (Phase.PENDING, True)
    walk.tick(answer=FAILED_ANSWER)
    assert (walk.phase, "429" in walk.rollout.sentence) == (Phase.PENDING, True)
    walk.tick(answer=None)
    assert walk.phase is Phase.PENDING

    walk.until(lambda w: w.phase is Phase.REFUSED, most=40, answer=FAILED_ANSWER)

    assert walk.weights == pair(100, 0)


def test_a_dry_run_ends_before_any_traffic_moves() -> None:
    walk = Walk()
    walk.rollout = replace(walk.rollout, dry_run=True)

    walk.tick()

    assert (walk.phase, walk.share) == (Phase.REFUSED, 0)
    assert "nothing was changed" in walk.rollout.sentence


def test_blindness_neither_advances_nor_blames_and_ends_in_a_hold() -> None:
    walk = Walk().reach(Phase.BAKING, 2)

    walk.tick(answer=FAILED_ANSWER)
    assert (walk.phase, walk.rollout.verdict and walk.rollout.verdict.kind) == (
        Phase.BAKING,
        Kind.BLIND,
    )
    walk.until(lambda w: w.phase is Phase.HELD, most=35, answer=FAILED_ANSWER)

    assert "429" in walk.rollout.sentence
    assert walk.share == 0.1


def test_a_plan_may_want_blindness_to_lead_back() -> None:
    walk = Walk(plan=plan(when_blind=Outcome.RETREAT)).reach(Phase.BAKING, 2)

    walk.until(lambda w: w.phase is Phase.RETREATING, most=35, answer=FAILED_ANSWER)


def test_rows_that_stop_coming_are_late_not_good() -> None:
    walk = Walk().reach(Phase.BAKING, 2)
    silent = Answer(Sight.SEEN, newest_s=walk.now_s, to_bin=2**40)

    walk.until(lambda w: w.rollout.blind_since_s is not None, most=20, answer=silent)

    assert "late" in walk.rollout.sentence


def test_sight_regained_forgets_the_blindness() -> None:
    walk = Walk(plan=plan(steps=(step(1, min_s=300), step(100)))).reach(Phase.BAKING)
    walk.tick(answer=FAILED_ANSWER)
    walk.tick()

    assert walk.rollout.blind_since_s is None


def test_an_arm_nobody_measures_is_absent() -> None:
    walk = Walk(plan=plan(patience_s=90)).reach(Phase.SHIFTING)
    walk.rollout = replace(walk.rollout, last_row_s=None)
    empty = Answer(Sight.SEEN, newest_s=None, to_bin=2**40)

    walk.until(lambda w: w.rollout.blind_since_s is not None, most=40, answer=empty)

    assert "absent" in walk.rollout.sentence


def test_unseen_weights_are_blindness_too() -> None:
    walk = Walk().reach(Phase.BAKING)

    walk.until(lambda w: w.phase is Phase.HELD, most=40, traffic=FAILED_LOOK)

    assert "Traffic Manager could not be read" in walk.rollout.sentence


def test_undecided_evidence_ends_in_what_the_plan_declared() -> None:
    for outcome, phase in ((Outcome.HOLD, Phase.HELD), (Outcome.RETREAT, Phase.RETREATING)):
        walk = Walk(plan=plan(when_unsure=outcome, steps=(step(10, max_s=60), step(100))))
        walk.reach(Phase.BAKING)
        walk.rates = (0.02, 0.0)
        walk.per_s = 1

        walk.until(lambda w, phase=phase: w.phase is phase, most=100)  # type: ignore[misc]

        assert "Undecided after 60 s" in walk.rollout.sentence


def test_the_shortest_bake_is_waited_out() -> None:
    walk = Walk(plan=plan(steps=(step(10, min_s=100), step(100)))).reach(Phase.BAKING)
    began_s = walk.now_s

    walk.until(lambda w: w.phase is not Phase.BAKING)

    assert walk.now_s - began_s >= 100


def test_a_manual_gate_waits_for_a_promote_and_watches_meanwhile() -> None:
    gated = plan(steps=(step(10, manual=True), step(100)))
    walk = Walk(plan=gated).reach(Phase.HELD)
    assert "gate of step 1 of 2 (10 %) is manual" in walk.rollout.sentence

    refused = walk.tell(ResumeAsked(walk.now_s, "ada"))
    assert refused.refused
    assert "promote with from_step 1" in refused.sentence
    walk.tell(PromoteAsked(walk.now_s, "ada", 1, "looks fine"))

    assert walk.phase is Phase.SHIFTING
    assert "Promoted by ada (looks fine)" in walk.rollout.sentence


def test_harm_at_a_gate_leads_back() -> None:
    walk = Walk(plan=plan(steps=(step(10, manual=True), step(100)))).reach(Phase.HELD)
    walk.rates = (0.0, 0.4)

    walk.reach(Phase.RETREATING)


def test_a_promote_that_names_a_passed_step_is_refused_with_words() -> None:
    walk = Walk().reach(Phase.BAKING, 2)

    decision = walk.tell(PromoteAsked(walk.now_s, "ada", 1))

    assert decision.refused
    assert decision.sentence == (
        "promote names step 1, the rollout is at step 2 of 4 (10 %): look again"
    )
    assert walk.rollout.step == 1


def test_a_promote_of_the_last_step_ends_the_bake() -> None:
    walk = Walk(plan=plan(steps=(step(10), step(100, min_s=300)))).reach(Phase.BAKING, 2)

    walk.tell(PromoteAsked(walk.now_s, "ada", 2))

    assert walk.phase is Phase.PROMOTED


def test_a_person_may_hold_and_resume_and_the_bake_goes_on() -> None:
    walk = Walk().reach(Phase.BAKING, 2)
    walk.tell(HoldAsked(walk.now_s, "ada", "lunch"))
    walk.tick()
    assert "Held by ada (lunch)" in walk.rollout.sentence
    walk.tell(HoldAsked(walk.now_s, "bob"))
    assert walk.rollout.hold is not None
    assert (walk.rollout.hold.by, walk.rollout.hold.back_to) == ("bob", Phase.BAKING)

    walk.tell(ResumeAsked(walk.now_s, "ada"))

    assert walk.reach(Phase.PROMOTED).share == 1


def test_a_hold_before_the_start_leads_back_to_preflight() -> None:
    walk = Walk()
    walk.tell(HoldAsked(walk.now_s, "ada"))
    walk.tick()
    assert walk.tell(PromoteAsked(walk.now_s, "ada", 1)).refused
    walk.tell(alert(walk))
    assert walk.phase is Phase.HELD

    resumed = walk.tell(ResumeAsked(walk.now_s, "ada"))

    assert resumed.rollout.phase is Phase.PENDING
    walk.tell(HoldAsked(walk.now_s, "ada"))
    aborted = walk.tell(AbortAsked(walk.now_s, "ada"))
    assert aborted.rollout.phase is Phase.REFUSED


def test_an_alert_takes_the_canary_off_at_once() -> None:
    walk = Walk().reach(Phase.BAKING, 3)

    walk.tell(alert(walk))

    assert (walk.phase, walk.share) == (Phase.RETREATING, 0)
    assert "Alert shop-5xx (Sev1)" in walk.rollout.sentence
    assert walk.tell(replace(alert(walk), severity=None)).refused


def test_an_alert_before_the_start_changes_nothing() -> None:
    walk = Walk()

    walk.tell(alert(walk))

    assert walk.reach(Phase.SHIFTING)


def test_going_back_after_a_promotion_is_one_command() -> None:
    walk = Walk().reach(Phase.PROMOTED)

    walk.tell(AbortAsked(walk.now_s, "ada", "wrong colour"))

    assert walk.weights == pair(100, 0)
    walk.reach(Phase.REVERTED)


def test_a_retreat_insists_until_zero_is_verified() -> None:
    walk = Walk().reach(Phase.BAKING, 3)
    walk.obeys = False
    walk.tell(AbortAsked(walk.now_s, "ada"))
    for _ in range(5):
        assert walk.tick().effects
    walk.tick(traffic=FAILED_LOOK)
    assert (walk.phase, "503" in walk.rollout.sentence) == (Phase.RETREATING, True)
    walk.obeys = True

    walk.reach(Phase.REVERTED)

    assert walk.share == 0


def test_a_retreat_ends_when_the_canary_or_the_profile_is_gone() -> None:
    walk = Walk().reach(Phase.BAKING)
    walk.obeys = False
    walk.tell(AbortAsked(walk.now_s, "ada"))
    alone = replace(profile(walk.weights), endpoints=profile(walk.weights).endpoints[:1])

    walk.tick(traffic=saw(alone))
    walk.until(lambda w: w.phase is Phase.REVERTED, traffic=TrafficSeen(Sight.ABSENT, "404"))


def test_a_late_write_after_a_revert_is_undone_while_the_guard_stands() -> None:
    walk = Walk().reach(Phase.BAKING)
    walk.tell(AbortAsked(walk.now_s, "ada"))
    walk.reach(Phase.REVERTED)
    walk.weights = pair(99, 1)

    walk.tick()

    assert walk.weights == pair(100, 0)
    assert not walk.tick(holder="next").effects
    walk.now_s += 10
    assert "ReleaseClaim" in str(walk.tick().effects)


def test_the_claim_of_a_promoted_rollout_is_kept_for_the_guard_time() -> None:
    walk = Walk().reach(Phase.PROMOTED)
    assert not walk.tick().effects

    walk.now_s += 10

    assert "ReleaseClaim" in str(walk.tick().effects)


def test_a_hand_on_the_weights_is_respected() -> None:
    walk = Walk().reach(Phase.BAKING, 3)
    walk.weights = pair(80, 20)
    walk.tick()
    assert walk.phase is Phase.HELD
    assert "someone changed the weights: blue 80, green 20 is in force" in walk.rollout.sentence

    walk.tick()
    assert walk.weights == pair(80, 20)
    walk.tell(ResumeAsked(walk.now_s, "ada"))

    walk.reach(Phase.BAKING, 3)
    assert walk.share == 0.5


def test_a_hand_while_shifting_is_seen_too() -> None:
    walk = Walk(plan=plan(name_servers_s=20)).reach(Phase.SHIFTING)
    walk.tick()
    walk.weights = pair(50, 50)

    walk.tick()

    assert walk.phase is Phase.HELD


def test_a_sick_stable_holds_and_blames_nobody() -> None:
    walk = Walk().reach(Phase.BAKING, 2)
    walk.tick(traffic=saw(profile(walk.weights, stable_health="Degraded")))
    assert walk.phase is Phase.HELD

    other = Walk().reach(Phase.BAKING, 2)
    other.rates = (0.3, 0.3)
    other.until(lambda w: w.phase is not Phase.BAKING)
    assert other.phase is Phase.HELD
    assert "stable itself has gone bad" in other.rollout.sentence


def test_a_degraded_canary_is_a_failure_although_nobody_complains() -> None:
    walk = Walk().reach(Phase.BAKING, 2)

    walk.tick(traffic=saw(profile(walk.weights, canary_health="Degraded")))

    assert walk.phase is Phase.RETREATING
    assert "gets no traffic" in walk.rollout.sentence


def test_weights_that_never_come_into_force_call_a_person() -> None:
    walk = Walk().reach(Phase.SHIFTING)
    walk.weights = pair(100, 0)
    walk.obeys = False
    assert walk.tick().effects
    assert walk.tick(traffic=FAILED_LOOK).effects

    walk.until(lambda w: w.phase is Phase.HELD, most=40)

    assert "Still shifting after 32 s" in walk.rollout.sentence


def test_errors_of_ours_are_counted_and_at_last_a_person_is_called() -> None:
    for phase in (Phase.PENDING, Phase.BAKING):
        walk = Walk().reach(phase)
        for _ in range(5):
            walk.tell(TurnFailed(walk.now_s, "KeyError: 'x'"))
        assert walk.phase is Phase.HELD
        assert "KeyError" in walk.rollout.sentence


def test_errors_with_good_turns_between_do_not_add_up() -> None:
    walk = Walk(plan=plan(steps=(step(10, min_s=300), step(100)))).reach(Phase.BAKING)
    for _ in range(20):
        walk.tick()
        walk.tick()
        walk.tell(TurnFailed(walk.now_s, "KeyError: 'x'"))

    assert walk.phase is Phase.BAKING


def test_a_second_start_of_the_same_name_is_refused() -> None:
    walk = Walk()

    assert walk.tell(StartAsked(walk.now_s, "bob")).refused
    assert walk.reach(Phase.BAKING).tell(StartAsked(walk.now_s, "bob")).refused


def test_bins_follow_the_ttl_when_the_plan_does_not_say() -> None:
    source = replace(plan().source, bin_s=None, lookback_s=3600)
    walk = Walk(plan=plan(source=source, steps=(step(10, max_s=9999), step(100))))

    walk.tick(traffic=saw(profile(walk.weights, ttl_s=47)))

    assert walk.rollout.bin_s == 96
    assert walk.phase is Phase.SHIFTING


def test_a_look_without_an_answer_is_blind() -> None:
    walk = Walk().reach(Phase.BAKING)

    walk.tick(answer=None)

    assert "telemetry was not asked" in walk.rollout.sentence


def test_nothing_is_worked_out_from_a_look_that_was_not_there() -> None:
    """Bugs of ours are loud: a rollout that has not begun has no weights to return to."""
    walk = Walk()

    with pytest.raises(ValueError, match="has not begun"):
        gates.wanted_pair(walk.rollout)
    with pytest.raises(ValueError, match="saw profile and telemetry"):
        preflight.prepare(walk.plan, walk.rollout, Ticked(walk.now_s, FAILED_LOOK))


def test_a_gap_is_read_up_before_anything_may_rise() -> None:
    """The controller was away for long: old bins that look good do not speak for the new ones."""
    walk = Walk().reach(Phase.BAKING, 2)
    walk.now_s += 1000
    for _ in range(4):
        walk.tick()
        assert walk.phase is Phase.BAKING
        assert "bins behind" in walk.rollout.sentence

    walk.reach(Phase.PROMOTED)


def test_hours_without_any_row_are_passed_by_and_harm_is_seen_again() -> None:
    """A night without traffic longer than a look may ask for."""
    walk = Walk().reach(Phase.BAKING, 2)
    for _ in range(400):
        question = questions.needed(walk.plan, walk.rollout, walk.now_s + 1)
        assert question is not None
        walk.tick(answer=Answer(Sight.ABSENT, "nothing", to_bin=question.to_bin))
    walk.now_s += 1000
    for _ in range(10):
        question = questions.needed(walk.plan, walk.rollout, walk.now_s + 1)
        assert question is not None
        walk.tick(answer=Answer(Sight.ABSENT, "nothing", to_bin=question.to_bin))
    assert walk.phase is Phase.HELD
    walk.rates = (0.0, 0.9)

    walk.reach(Phase.RETREATING)


def test_an_empty_look_makes_no_pass_of_bins_that_still_grew() -> None:
    walk = Walk(plan=plan(steps=(step(10, min_s=0), step(100)))).reach(Phase.BAKING)
    walk.tick()
    bins_before = walk.rollout.evidence
    later = Answer(Sight.ABSENT, "204", to_bin=2**40)
    for _ in range(6):
        walk.tick(answer=later)

    assert walk.phase is Phase.BAKING
    assert walk.rollout.evidence == bins_before


def test_weights_changed_by_hand_during_a_hold_are_verified_again_before_evidence_counts() -> None:
    walk = Walk().reach(Phase.BAKING, 2)
    walk.tell(HoldAsked(walk.now_s, "ada"))
    walk.weights = pair(50, 50)
    walk.tick()
    walk.weights = pair(90, 10)
    walk.tick()

    walk.tell(ResumeAsked(walk.now_s, "ada"))

    assert walk.phase is Phase.SHIFTING


def test_a_promote_before_the_weights_are_verified_again_is_refused() -> None:
    walk = Walk().reach(Phase.BAKING, 4)
    walk.weights = pair(50, 50)
    walk.tick()
    assert walk.phase is Phase.HELD

    decision = walk.tell(PromoteAsked(walk.now_s, "ada", 4))

    assert decision.refused
    assert "resume it first" in decision.sentence


def test_stable_switched_off_late_is_switched_on_again_while_the_guard_stands() -> None:
    walk = Walk().reach(Phase.BAKING)
    walk.tell(AbortAsked(walk.now_s, "ada"))
    walk.reach(Phase.REVERTED)
    walk.weights = pair(0, 0)

    walk.tick()

    assert walk.weights == pair(100, 0)


def test_a_long_look_back_is_asked_in_coarse_bins() -> None:
    source = replace(plan().source, lookback_s=7 * 86_400)
    walk = Walk(plan=plan(source=source))

    question = questions.needed(walk.plan, walk.rollout, walk.now_s)

    assert question is not None
    assert question.to_bin - question.from_bin <= questions.MAX_BINS
    assert (question.to_bin - question.from_bin) * question.bin_s == 7 * 86_400


def test_a_profile_that_answers_nobody_is_put_back() -> None:
    """Never are both endpoints left disabled, whoever disabled them."""
    for phase in (Phase.BAKING, Phase.HELD):
        walk = Walk().reach(Phase.BAKING, 2)
        if phase is Phase.HELD:
            walk.tell(HoldAsked(walk.now_s, "ada"))
        walk.weights = pair(0, 0)
        walk.tick()

        assert walk.phase is Phase.RETREATING
        assert walk.weights == pair(100, 0)


def test_a_held_start_that_lost_its_profile_ends() -> None:
    walk = Walk()
    walk.tell(HoldAsked(walk.now_s, "ada"))

    walk.tick(holder="shop-2.5")

    assert walk.phase is Phase.REFUSED
    assert "claimed by shop-2.5" in walk.rollout.sentence
