"""What each phase makes of a look at the world: harm before trouble, trouble before a rise."""

from dataclasses import replace

from shared.core import gates, preflight, questions
from shared.core.choices import (
    LINNET,
    Choice,
    advance,
    go,
    retreat,
    shift,
    stay,
    turn_down,
    wait_for_person,
)
from shared.core.effects import ReleaseClaim, SetPercent
from shared.core.events import Ticked
from shared.core.judge import Kind, Verdict
from shared.core.model import Hold, Outcome, Phase, Plan, Rollout, step_name
from shared.core.sights import (
    claimed_by_another,
    empty,
    harm_seen,
    look,
    next_share,
    seen,
    settle_s,
    sick_stable,
    too_little,
    trouble_or_drift,
    unwatched,
)
from shared.core.telemetry import Sight


def admit(plan: Plan, rollout: Rollout, event: Ticked) -> Choice:
    """PENDING: preflight, then the first shift; or a refusal with every reason at once."""
    if taken := claimed_by_another(rollout, event):
        return turn_down(rollout, (taken,))
    found = preflight.check(plan, rollout, event)
    if found.problems:
        return turn_down(rollout, found.problems)
    if found.waiting and event.at_s - rollout.phase_since_s > plan.patience_s:
        return turn_down(rollout, (found.waiting,))
    if waits := found.waiting or unwatched(rollout, event):
        return stay(seen(rollout, event), f"Preflight waits: {waits}.")
    if rollout.dry_run:
        passed = "Dry run: preflight passed, nothing was changed."
        return go(replace(rollout, reasons=(passed,)), Phase.REFUSED, passed)
    prepared = preflight.prepare(plan, rollout, event)
    return shift(plan, prepared, 0, event.at_s, "Preflight passed")


def settle(plan: Plan, rollout: Rollout, event: Ticked) -> Choice:
    """SHIFTING: set the weights, verify them, wait out the caches; then bake."""
    waited = unwatched(rollout, event)
    rollout, verdict = look(plan, seen(rollout, event), event, None)
    if harm := harm_seen(plan, event, verdict):
        return retreat(rollout, harm)
    if event.traffic.sight is Sight.FAILED:
        what = f"cannot see the weights: {event.traffic.reason}"
        return delayed(plan, rollout, event, what, repair=not waited)
    if problem := trouble_or_drift(plan, rollout, event):
        return hold_for(rollout, problem)
    in_force = gates.pair_of(plan, event.traffic.profile) == gates.wanted_pair(rollout)
    if not in_force:
        what = waited or "the weights are not in force yet"
        return delayed(plan, rollout, event, what, repair=not waited)
    verified_at_s = rollout.verified_at_s or event.at_s
    verified = gates.wanted_pair(rollout)
    rollout = replace(rollout, verified_at_s=verified_at_s, last_pair=verified)
    if event.at_s - verified_at_s < settle_s(plan, rollout):
        return stay(rollout, f"Weights verified; {settle_s(plan, rollout):g} s for the caches.")
    return bake(plan, rollout, event)


def weigh(plan: Plan, rollout: Rollout, event: Ticked) -> Choice:
    """BAKING: back on harm, hold on trouble, rise on a pass, never blind or on an empty look."""
    waits = unwatched(rollout, event) or empty(plan, rollout, event)
    rollout, verdict = look(plan, seen(rollout, event), event, next_share(plan, rollout))
    if harm := harm_seen(plan, event, verdict):
        return retreat(rollout, harm)
    visible = event.traffic.sight is not Sight.FAILED
    drifted = visible and trouble_or_drift(plan, rollout, event)
    if problem := drifted or sick_stable(plan, rollout):
        return hold_for(rollout, problem)
    if verdict.kind is Kind.PASS and waits:
        sentence = f"{verdict.sentence.removesuffix('.')}; {waits}."
        return stay(replace(rollout, blind_since_s=None), sentence)
    if verdict.kind is Kind.PASS:
        return passed(plan, rollout, event, verdict)
    if verdict.kind is Kind.BLIND:
        return unseen(plan, rollout, event, verdict)
    return undecided(plan, replace(rollout, blind_since_s=None), event, verdict)


def watch(plan: Plan, rollout: Rollout, event: Ticked) -> Choice:
    """HELD: nothing rises, harm still leads back, and a person's hand on the weights is learnt."""
    if rollout.before is None:
        taken = claimed_by_another(rollout, event)
        return turn_down(rollout, (taken,)) if taken else stay(rollout, rollout.sentence)
    rollout, verdict = look(plan, rollout, event, None)
    if harm := harm_seen(plan, event, verdict):
        return retreat(rollout, harm)
    pair = gates.pair_of(plan, event.traffic.profile)
    hold = rollout.hold
    if hold and pair and pair != gates.wanted_pair(rollout):
        hold = replace(hold, back_to=Phase.SHIFTING, at_gate=False)
    learnt = replace(rollout, last_pair=pair or rollout.last_pair, hold=hold)
    return stay(learnt, rollout.sentence)


def drain(plan: Plan, rollout: Rollout, event: Ticked) -> Choice:
    """RETREATING: zero is enforced until it is verified and the caches have run out."""
    lower = (SetPercent(0.0, rollout.generation),)
    if not gates.at_zero(plan, event.traffic):
        why = event.traffic.reason or gates.trouble(plan, event.traffic)
        sentence = f"Not at zero yet: {why}." if why else "Not at zero yet."
        return stay(replace(rollout, verified_at_s=None), sentence, lower)
    verified_at_s = rollout.verified_at_s or event.at_s
    rollout = replace(rollout, verified_at_s=verified_at_s)
    left = () if gates.restored(plan, rollout, event.traffic) else lower
    profile = event.traffic.profile
    caches_s = max(profile.ttl_s if profile else 0, rollout.ttl_s) + plan.name_servers_s
    if left or event.at_s - verified_at_s < caches_s:
        return stay(rollout, f"At zero; {caches_s:g} s for the caches.", left)
    return go(rollout, Phase.REVERTED, "Reverted: the canary is at zero and its caches are out.")


def guard(plan: Plan, rollout: Rollout, event: Ticked) -> Choice:
    """Final phases: a write that arrives late after a revert is undone; then the claim is free."""
    if event.holder != rollout.name:
        return stay(rollout, rollout.sentence)
    over = event.at_s - rollout.phase_since_s >= plan.guard_s
    if over or rollout.phase is Phase.REFUSED:
        return stay(rollout, rollout.sentence, (ReleaseClaim(plan.profile),))
    seen = event.traffic.sight is not Sight.FAILED
    if rollout.phase is Phase.REVERTED and seen and not gates.safe(plan, event.traffic):
        return stay(rollout, rollout.sentence, (SetPercent(0.0, rollout.generation),))
    return stay(rollout, rollout.sentence)


# --- where a look leads ---------------------------------------------------------------------


def bake(plan: Plan, rollout: Rollout, event: Ticked) -> Choice:
    """The step's weights are in force everywhere: its evidence starts here."""
    ready = replace(
        rollout,
        evidence=questions.new_step(plan, rollout, event.at_s),
        last_pair=gates.wanted_pair(rollout),
        bake_since_s=event.at_s,
    )
    return go(ready, Phase.BAKING, f"Baking at {step_name(plan, rollout.step)}.")


def passed(plan: Plan, rollout: Rollout, event: Ticked, verdict: Verdict) -> Choice:
    """The evidence allows a rise; the shortest bake and the gate have their say."""
    rollout = replace(rollout, blind_since_s=None)
    if baked_s(rollout, event) < plan.steps[rollout.step].bake_min_s:
        shown = verdict.sentence.removesuffix(".")
        return stay(rollout, f"{shown}. The shortest bake is not over.")
    if too_little(plan, rollout):
        return undecided(plan, rollout, event, verdict)
    if gates.waits_for_person(plan, rollout):
        shown = verdict.sentence.removesuffix(".")
        reason = f"{shown}. The gate of {step_name(plan, rollout.step)} is manual"
        return wait_for_person(rollout, Hold(reason, LINNET, Phase.BAKING, at_gate=True))
    return advance(plan, rollout, event.at_s, verdict.sentence.removesuffix("."))


def unseen(plan: Plan, rollout: Rollout, event: Ticked, verdict: Verdict) -> Choice:
    """Blind: wait for sight, and after the plan's patience do what it declared."""
    since_s = rollout.blind_since_s or event.at_s
    rollout = replace(rollout, blind_since_s=since_s)
    if event.at_s - since_s < plan.patience_s:
        return stay(rollout, verdict.sentence)
    return give_up(plan.when_blind, rollout, f"Blind for {plan.patience_s:g} s: {verdict.sentence}")


def undecided(plan: Plan, rollout: Rollout, event: Ticked, verdict: Verdict) -> Choice:
    """Unsure: gather more, and after the longest bake do what the plan declared."""
    longest_s = plan.steps[rollout.step].bake_max_s
    few = too_little(plan, rollout)
    sentence = f"{verdict.sentence}; {few}" if few else verdict.sentence
    if baked_s(rollout, event) < longest_s:
        return stay(rollout, sentence)
    return give_up(
        plan.when_unsure, rollout, f"Undecided after {longest_s:g} s of baking: {sentence}"
    )


def give_up(outcome: Outcome, rollout: Rollout, why: str) -> Choice:
    """A deadline passed: hold or retreat, as declared; never a promotion."""
    why = why.removesuffix(".")
    if outcome is Outcome.RETREAT:
        return retreat(rollout, why)
    return wait_for_person(rollout, Hold(why, LINNET, Phase.BAKING))


def delayed(plan: Plan, rollout: Rollout, event: Ticked, what: str, *, repair: bool) -> Choice:
    """Still shifting: repair what is missing, and after the plan's patience call a person."""
    patience_s = plan.patience_s + settle_s(plan, rollout)
    if event.at_s - rollout.phase_since_s > patience_s:
        return hold_for(rollout, f"Still shifting after {patience_s:g} s: {what}")
    again = (SetPercent(rollout.wanted_percent, rollout.generation),) if repair else ()
    return stay(replace(rollout, verified_at_s=None), f"Shifting: {what}.", again)


def hold_for(rollout: Rollout, why: str) -> Choice:
    """Trouble that is nobody's verdict: wait for a person, then verify the weights again."""
    return wait_for_person(rollout, Hold(why, LINNET, Phase.SHIFTING))


def baked_s(rollout: Rollout, event: Ticked) -> float:
    """How long this step has been baking."""
    return event.at_s - (rollout.bake_since_s or event.at_s)
