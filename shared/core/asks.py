"""What a person, an alert or a failure of ours may ask for. Obeyed or refused with words."""

from dataclasses import replace

from shared.core.choices import (
    LINNET,
    Choice,
    advance,
    go,
    refuse,
    retreat,
    stay,
    turn_down,
    wait_for_person,
)
from shared.core.effects import Tell
from shared.core.events import (
    AbortAsked,
    AlertFired,
    HoldAsked,
    PromoteAsked,
    ResumeAsked,
    StartAsked,
    TurnFailed,
)
from shared.core.model import Hold, Phase, Plan, Rollout, step_name

MAX_ERRORS_IN_A_ROW = 5
# Two machines' clocks agree to this.
SAME_MOMENT_S = 5.0
RISING = frozenset({Phase.PENDING, Phase.SHIFTING, Phase.BAKING})


def accept(plan: Plan, rollout: Rollout, event: StartAsked) -> Choice:
    """A plan arrives; a second start of the same name is refused."""
    if rollout.sequence:
        return refuse(rollout, f"a rollout named {plan.name} exists; give this one another name")
    sentence = f"Accepted from {event.by}{because(event.reason)}: {len(plan.steps)} steps."
    return stay(replace(rollout, salt=event.salt), sentence, (Tell(sentence),))


def promote(plan: Plan, rollout: Rollout, event: PromoteAsked) -> Choice:
    """A person vouches for the present step; one that names another step is stale."""
    if rollout.before is None:
        return refuse(rollout, "promote: preflight has not passed, there is nothing to promote")
    if event.from_step != rollout.step + 1:
        here = step_name(plan, rollout.step)
        return refuse(
            rollout, f"promote names step {event.from_step}, the rollout is at {here}: look again"
        )
    if rollout.hold and rollout.hold.back_to is Phase.SHIFTING:
        return refuse(rollout, "promote: this step's weights are not verified; resume it first")
    return advance(plan, rollout, event.at_s, f"Promoted by {event.by}{because(event.reason)}")


def hold(_plan: Plan, rollout: Rollout, event: HoldAsked) -> Choice:
    """A person stops the rise; who held last is who is named."""
    held = rollout.hold
    reason = f"Held by {event.by}{because(event.reason)}"
    back_to, at_gate = (held.back_to, held.at_gate) if held else (rollout.phase, False)
    return wait_for_person(rollout, Hold(reason, event.by, back_to, at_gate))


def resume(plan: Plan, rollout: Rollout, event: ResumeAsked) -> Choice:
    """A person lifts a hold; a manual gate wants a promote instead, which names its step."""
    held = rollout.hold
    if held is None or held.at_gate:
        wanted = f"promote with from_step {rollout.step + 1}"
        return refuse(rollout, f"{step_name(plan, rollout.step)} waits at its gate for a {wanted}")
    if 0 < event.sent_s < rollout.phase_since_s - SAME_MOMENT_S:
        return refuse(rollout, f"resume was sent before this hold ({held.reason}): look again")
    verified_at_s = None if held.back_to is Phase.SHIFTING else rollout.verified_at_s
    again = replace(
        rollout, verified_at_s=verified_at_s, bake_since_s=event.at_s, blind_since_s=None
    )
    return go(again, held.back_to, f"Resumed by {event.by}{because(event.reason)}.")


def abort(_plan: Plan, rollout: Rollout, event: AbortAsked) -> Choice:
    """A person wants the canary gone: to zero from anywhere; the end if no traffic ever moved."""
    reason = f"Aborted by {event.by}{because(event.reason)}"
    if rollout.before is None:
        return turn_down(rollout, (f"{reason}, before any traffic moved",))
    return retreat(rollout, reason)


def alarm(_plan: Plan, rollout: Rollout, event: AlertFired) -> Choice:
    """An alert the plan listens to: to zero, unless it fired before any traffic had moved.

    A hotfix must be possible during an incident, so what was firing then is the baseline.
    """
    severity = "" if event.severity is None else f" (Sev{event.severity})"
    reason = f"Alert {event.rule}{severity} fired at {event.fired_at}"
    if rollout.before is None:
        return stay(rollout, f"{reason}; no traffic has moved, so it changes nothing.")
    since_s = event.at_s if event.since_s is None else event.since_s
    earlier_s = (rollout.moved_at_s or rollout.started_at_s) - since_s
    if earlier_s > 0:
        known = f"it was firing {earlier_s:.0f} s before any traffic moved, so it changes nothing"
        held = f" {rollout.hold.reason}: waiting for a person." if rollout.hold else ""
        return stay(rollout, f"{reason}; {known}.{held}", (Tell(f"{reason}; {known}."),))
    return retreat(rollout, reason)


def stumble(_plan: Plan, rollout: Rollout, event: TurnFailed) -> Choice:
    """An error of ours: counted; after a few in a row the rollout waits for a person.

    In a row means with at most one row between: a turn may be saved and fail in what it does then.
    """
    in_a_row = rollout.sequence - rollout.last_error <= 1
    count = rollout.errors_in_a_row + 1 if in_a_row else 1
    rollout = replace(rollout, errors_in_a_row=count, last_error=rollout.sequence + 1)
    sentence = f"A turn failed ({count} in a row): {event.error}"
    if rollout.phase in RISING and count >= MAX_ERRORS_IN_A_ROW:
        back_to = Phase.PENDING if rollout.before is None else Phase.SHIFTING
        return wait_for_person(rollout, Hold(sentence, LINNET, back_to))
    return stay(rollout, sentence)


def because(reason: str) -> str:
    """A person's reason as the tail of a sentence."""
    return f" ({reason})" if reason else ""
