"""What one look at the world shows: what was learnt, the verdict, harm, trouble, and gaps.

Nothing here decides; `looks` does, phase by phase.
"""

from collections.abc import Mapping
from dataclasses import replace

from shared.core import (
    advice,
    clients,
    gates,
    judge,
    learning,
    questions,
    steadiness,
    tallies,
    tally,
)
from shared.core.blindness import blindness
from shared.core.events import Ticked
from shared.core.judge import Counts, Kind, Verdict
from shared.core.model import Plan, Rollout
from shared.core.shadow import MISMATCH
from shared.core.telemetry import Answer, Sight

# After so many bins without a look, and longer than ticks may stay away, the first one only looks.
UNWATCHED_BINS = 5


def unwatched(rollout: Rollout, event: Ticked) -> str:
    """Why this look may not lead to a rise: the controller was away before it; empty otherwise."""
    last_s = max(rollout.looked_at_s or 0.0, rollout.phase_since_s)
    away_s = event.at_s - last_s
    if away_s <= max(UNWATCHED_BINS * rollout.bin_s, event.stale_after_s):
        return ""
    return f"this is the first look in {away_s:.0f} s, and nothing rises on it"


def empty(plan: Plan, rollout: Rollout, event: Ticked) -> str:
    """Why this look may not lead to a rise: no row is in it; empty otherwise.

    It is no blindness by itself: a quiet service has such looks, and the newest row's age tells.
    """
    answer = event.answer
    by_samples = plan.steps[rollout.step].shadow is not None
    if by_samples or answer is None or answer.sight is Sight.SEEN:
        return ""
    return "this look shows no row, and nothing rises on it"


def seen(rollout: Rollout, event: Ticked) -> Rollout:
    """The rollout with this look noted; once a bin is enough, since each note is a history row."""
    last_s = max(rollout.looked_at_s or 0.0, rollout.phase_since_s)
    return (
        replace(rollout, looked_at_s=event.at_s)
        if event.at_s - last_s >= rollout.bin_s
        else rollout
    )


def look(
    plan: Plan, rollout: Rollout, event: Ticked, share: float | None
) -> tuple[Rollout, Verdict]:
    """What was learnt, and the verdict on it; `share` is what a pass would give the canary."""
    before, shadow = rollout, plan.steps[rollout.step].shadow
    if shadow is None:
        rollout = learning.learn(plan, rollout, event.answer, event.at_s)
        rollout = learning.learn_levels(plan, rollout, event.levels, event.at_s)
        blind = blindness(plan, rollout, event.answer, event.at_s)
    else:
        share = None if share is None else 1.0
        rollout = tallies.learn(shadow, rollout, event.tally, event.at_s)
        blind = tallies.blindness(shadow, rollout, event.tally, event.at_s)
    if event.traffic.sight is Sight.FAILED:
        blind = blind or f"Traffic Manager could not be read: {event.traffic.reason}"
    step = judge.Step(
        next_share=share,
        steps=len(plan.steps),
        sealed_before=questions.read_up_to(rollout),
        final=questions.is_final(rollout),
        unit="samples" if shadow else counted_as(plan, rollout, event.answer),
        plain_unit="samples" if shadow else "requests",
        unit_before="" if shadow else _counted_before(plan, rollout),
        bin_s=rollout.bin_s,
        min_bins=questions.least_bins(plan, rollout),
        bake_max_s=0.0 if shadow else plan.steps[rollout.step].bake_max_s,
    )
    verdict = judge.weigh(
        rollout.evidence or {},
        step,
        plan.source.risk,
        blind=blind,
        margins=shadow.margins.by_rule() if shadow else {},
    )
    verdict = replace(verdict, lag_s=lag_s(rollout, event.at_s))
    if same_as_before(before, rollout, verdict):
        return before, verdict
    said = advice.given(plan, rollout, event.answer, event.levels)
    return replace(rollout, verdict=verdict, advice=said), verdict


def counted_as(plan: Plan, rollout: Rollout, answer: Answer | None) -> str:
    """What telemetry's events are: a client counts once in each block in which it was there."""
    if questions.is_final(rollout) and plan.source.client:
        return "requests"
    if plan.source.client is None:
        unit = "requests"
    elif answer and clients.untold(plan, rollout, answer):
        unit = "client visits and requests"
    else:
        unit = "client visits"
    return f"weighed {unit}" if rollout.standard and rollout.standard.weights else unit


def _counted_before(plan: Plan, rollout: Rollout) -> str:
    """What was counted below 100 %, once it is requests instead of the clients of the plan."""
    if not (questions.is_final(rollout) and plan.source.client):
        return ""
    return counted_as(plan, replace(rollout, bake_since_s=None), None)


def same_as_before(before: Rollout, learnt: Rollout, verdict: Verdict) -> bool:
    """Whether a look has shown nothing new: that time passes is worth no history row."""
    old = before.verdict
    return old is not None and before == replace(learnt, verdict=replace(verdict, lag_s=old.lag_s))


def lag_s(rollout: Rollout, at_s: float) -> float | None:
    """How old the newest complete bin is; None before the first one has begun."""
    age_s = at_s - questions.read_up_to(rollout) * rollout.bin_s
    return age_s if rollout.evidence and age_s >= 0 else None


def claimed_by_another(rollout: Rollout, event: Ticked) -> str:
    """Why a rollout that has not begun never will; empty while it holds the profile."""
    if event.holder == rollout.name:
        return ""
    return f"the profile is claimed by {event.holder or 'nobody'}"


def harm_seen(plan: Plan, event: Ticked, verdict: Verdict) -> str:
    """Why the canary must go: the evidence says so, or the profile shows it broken."""
    if verdict.kind is Kind.FAIL:
        return f"{verdict.sentence}{_worst_place(event, verdict)}"
    return gates.harm(plan, event.traffic)


def _worst_place(event: Ticked, verdict: Verdict) -> str:
    """Where most answers differ, if it is differing answers that speak against the canary."""
    loudest = max(verdict.weighings, key=lambda weighing: weighing.worse)
    if event.tally is None or loudest.rule != MISMATCH:
        return ""
    worst = tally.top(event.tally, 1)
    return f"; most at {tally.spoken(event.tally, *worst[0])}" if worst else ""


def trouble_or_drift(plan: Plan, rollout: Rollout, event: Ticked) -> str:
    """Why nothing may rise, as the profile shows it."""
    if trouble := gates.trouble(plan, event.traffic):
        return trouble
    profile = event.traffic.profile
    if changed := gates.replaced(plan, rollout, profile) or gates.slower(rollout, profile):
        return changed
    pair = gates.pair_of(plan, profile)
    return gates.drift(plan, rollout, pair) if pair else ""


def sick_stable(plan: Plan, rollout: Rollout) -> str:
    """Why stable is no yardstick now: it is itself much worse than before the start.

    At 100 % it is none, and the few whom old DNS answers still lead there say nothing of it.
    """
    if questions.is_final(rollout):
        return ""
    before, risk = _past_in_blocks(plan, rollout), plan.source.risk
    once = plan.source.client is not None
    for name, evidence in (rollout.evidence or {}).items():
        steady = evidence.turned == 1
        if (
            steady
            and name in before
            and judge.stable_is_bad(evidence, before[name], risk, once=once)
        ):
            return f"stable itself has gone bad by rule {name}: no fair comparison is possible"
    return ""


def _past_in_blocks(plan: Plan, rollout: Rollout) -> Mapping[str, Counts]:
    """Stable's past, counted as blocks of this length would have counted it.

    In longer ones the same clients turn bad in fewer visits. How many fewer hangs on how long they
    stay, which nobody counted: by the fewest that there can be a healthy stable is not held bad.
    """
    longer = 1.0
    if plan.source.client is not None:
        longer = max(1.0, rollout.bin_s / questions.lookback_bin_s(plan.source))
    return {
        name: replace(counts, stable_events=counts.stable_events / longer)
        for name, counts in (rollout.baseline or {}).items()
    }


def next_share(plan: Plan, rollout: Rollout) -> float:
    """The share the canary gets if this step passes; at the last step it has it already."""
    following = min(rollout.step + 1, len(plan.steps) - 1)
    return plan.steps[following].percent / 100


def settle_s(plan: Plan, rollout: Rollout) -> float:
    """How long old answers may live on: the TTL, and the time name servers take to agree."""
    return rollout.ttl_s + plan.name_servers_s


def too_little(plan: Plan, rollout: Rollout) -> str:
    """Why a step may not end yet although its verdict is a pass; empty when it may."""
    if shadow := plan.steps[rollout.step].shadow:
        return tallies.too_few(shadow, rollout)
    if plan.source.client and not questions.is_final(rollout):
        return ""
    needed, known = judge.pass_bound(plan.source.risk), rollout.bad_weights or {}
    told = (
        steadiness.untold(rule, known[rule], evidence.rollout, needed)
        for rule, evidence in (rollout.evidence or {}).items()
        if rule in known
    )
    return next(filter(None, told), "")
