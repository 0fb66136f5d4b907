"""What may stop a rise although the evidence allows it; nothing here ever stops a retreat.

A gate is a person's word; a trouble is the world not being as the rollout needs it; a drift is
somebody else's hand on the weights, which is never fought. Also here: harm that is seen on the
profile itself, because a canary that gets no traffic looks healthy in the telemetry.
"""

from shared.core import weights
from shared.core.model import Arm, EndpointSeen, Gate, Pair, Plan, ProfileSeen, Rollout, TrafficSeen
from shared.core.telemetry import Sight
from shared.core.weights import FULL, MAX_WEIGHT, Write

# Monitor statuses in which Traffic Manager gives an endpoint out (azure.md, section 1).
SERVING = frozenset({"online", "checkingendpoint", "unmonitored"})
# Statuses that take an enabled endpoint out of the answers because it is broken.
BROKEN = frozenset({"degraded", "stopped"})


def waits_for_person(plan: Plan, rollout: Rollout) -> bool:
    """Whether the present step's gate leaves the rise to a person."""
    return plan.steps[rollout.step].gate is Gate.MANUAL


def pair_of(plan: Plan, profile: ProfileSeen | None) -> Pair | None:
    """The two endpoints' weights and statuses; None when one of them is not there."""
    stable, canary = endpoints(plan, profile)
    if stable is None or canary is None:
        return None
    return Pair(Arm(stable.weight, stable.enabled), Arm(canary.weight, canary.enabled))


def endpoints(
    plan: Plan, profile: ProfileSeen | None
) -> tuple[EndpointSeen | None, EndpointSeen | None]:
    """Stable and canary as seen."""
    if profile is None:
        return None, None
    return profile.endpoint(plan.stable), profile.endpoint(plan.canary)


def harm(plan: Plan, traffic: TrafficSeen) -> str:
    """Why the profile itself calls for a retreat; empty when it does not."""
    profile = traffic.profile
    _, canary = endpoints(plan, profile)
    if profile and profile.endpoints and not any(end.enabled for end in profile.endpoints):
        return "every endpoint of the profile is disabled: nobody gets an answer"
    if canary and canary.enabled and canary.health.casefold() in BROKEN:
        return (
            f"Traffic Manager calls the canary endpoint {canary.name} {canary.health}: "
            "it gets no traffic, so its silence is no sign of health"
        )
    return ""


def trouble(plan: Plan, traffic: TrafficSeen) -> str:
    """Why the profile is not fit for a rollout now; empty when it is."""
    profile = traffic.profile
    if traffic.sight is Sight.ABSENT or profile is None:
        return f"the profile {plan.profile} does not exist"
    if not profile.enabled:
        return "the profile is disabled: it gives no answers to anybody"
    if profile.routing.casefold() != "weighted":
        return f"the profile routes by {profile.routing}, weights act only under Weighted"
    stable, canary = endpoints(plan, profile)
    if stable is None or canary is None:
        gone = plan.stable if stable is None else plan.canary
        there = ", ".join(e.name for e in profile.endpoints) or "none"
        return f"the profile has no endpoint {gone} (it has: {there})"
    if stable.enabled and stable.health.casefold() not in SERVING:
        return (
            f"stable endpoint {stable.name} is {stable.health}: its share would fall to the canary"
        )
    return ""


def drift(plan: Plan, rollout: Rollout, pair: Pair) -> str:
    """Why the weights are nobody's of ours; empty when a shift of this rollout explains them."""
    wanted = wanted_pair(rollout)
    if pair == wanted:
        return ""
    known = rollout.last_pair or wanted
    if rollout.verified_at_s is None and pair in weights.path(known, wanted):
        return ""
    return (
        f"someone changed the weights: {spoken(plan, pair)} is in force, "
        f"{spoken(plan, wanted)} was expected"
    )


def replaced(plan: Plan, rollout: Rollout, profile: ProfileSeen | None) -> str:
    """Why an endpoint is not the one that preflight looked at; empty when both are."""
    now = places(plan, profile)
    for name, was, place in zip((plan.stable, plan.canary), rollout.places, now, strict=False):
        if place != was:
            return (
                f"endpoint {name} is {place} now and was {was} at the start: "
                "preflight and evidence are about the old one; put it back or abort"
            )
    return ""


def slower(rollout: Rollout, profile: ProfileSeen | None) -> str:
    """Why the bins are too short by now: answers live longer in caches than at the start."""
    if profile is None or profile.ttl_s <= rollout.ttl_s:
        return ""
    return (
        f"the profile's TTL is {profile.ttl_s} s now and was {rollout.ttl_s} s at the start: "
        "caches outlive the steps' bins; put it back or abort"
    )


def places(plan: Plan, profile: ProfileSeen | None) -> tuple[str, ...]:
    """Where stable and canary point, target and kind, as far as they are there."""
    ends = endpoints(plan, profile)
    return tuple(f"{end.target.casefold()} ({end.kind})" for end in ends if end)


def kinds(plan: Plan, profile: ProfileSeen | None) -> tuple[str, ...]:
    """Of which endpoint type stable and canary are, as far as they are there."""
    return tuple(end.kind for end in endpoints(plan, profile) if end)


def wanted_pair(rollout: Rollout) -> Pair:
    """The pair that the record wants in force. Only for a rollout that has begun."""
    if rollout.before is None:
        raise ValueError(f"{rollout.name} has not begun: nothing was recorded to return to")
    return weights.target(rollout.before, rollout.scale, rollout.wanted_percent)


def at_zero(plan: Plan, traffic: TrafficSeen) -> bool:
    """Whether the look shows that no DNS answer names the canary."""
    if traffic.sight is Sight.ABSENT:
        return True
    if traffic.profile is None:
        return False
    _, canary = endpoints(plan, traffic.profile)
    return canary is None or not canary.enabled or not traffic.profile.enabled


def safe(plan: Plan, traffic: TrafficSeen) -> bool:
    """Whether the canary is off and stable, if it is there, is not off as well."""
    stable, _ = endpoints(plan, traffic.profile)
    return at_zero(plan, traffic) and (stable is None or stable.enabled)


def restored(plan: Plan, rollout: Rollout, traffic: TrafficSeen) -> bool:
    """Whether nothing is left to write for a return: all as before, or nothing there to write."""
    pair = pair_of(plan, traffic.profile)
    if pair is None:
        return left_over(plan, rollout, traffic.profile) is None
    return pair == wanted_pair(rollout)


def left_over(plan: Plan, rollout: Rollout, profile: ProfileSeen | None) -> Write | None:
    """What a return still owes when one of the two endpoints is gone; None when nothing.

    Stable serves as before. The canary goes off only where somebody else answers.
    """
    stable, canary = endpoints(plan, profile)
    if profile is None or rollout.wanted_percent > 0:
        return None
    wanted = wanted_pair(rollout)
    if stable and not canary and Arm(stable.weight, stable.enabled) != wanted.stable:
        return Write("stable", wanted.stable)
    if canary and canary.enabled and not stable and _others_serve(profile, canary):
        return Write("canary", wanted.canary)
    return None


def unseen_writes(
    plan: Plan, rollout: Rollout, traffic: TrafficSeen
) -> tuple[tuple[EndpointSeen, Write], ...]:
    """What takes the canary off without a look at the weights; empty when it may not.

    Azure throttles reads and writes apart, and a retreat waits for neither. Stable comes first,
    at the largest weight there is: whatever is in force, that only lowers the canary's share and
    leaves somebody serving. Its own weight comes back with the first look that sees.
    """
    if traffic.sight is not Sight.FAILED or rollout.wanted_percent > 0 or not rollout.kinds:
        return ()
    arms = Arm(MAX_WEIGHT, enabled=True), wanted_pair(rollout).canary
    ends = (
        EndpointSeen(name, kind, "", arm.weight, arm.enabled, "")
        for name, kind, arm in zip((plan.stable, plan.canary), rollout.kinds, arms, strict=True)
    )
    writes = Write("stable", arms[0]), Write("canary", arms[1])
    return tuple(zip(ends, writes, strict=True))


def stable_first(plan: Plan, rollout: Rollout, pair: Pair) -> tuple[Write, ...]:
    """What a retreat from 100 % begins with, whatever the look shows.

    A look that lags behind may show stable enabled that our own last write has disabled. Its
    weight is not lowered before the canary is off.
    """
    full = plan.steps[rollout.step].percent == FULL
    if rollout.wanted_percent > 0 or not full or not pair.canary.enabled:
        return ()
    weight = max(rollout.scale, wanted_pair(rollout).stable.weight, pair.stable.weight)
    return (Write("stable", Arm(weight, enabled=True)),)


def _others_serve(profile: ProfileSeen, canary: EndpointSeen) -> bool:
    return any(
        end.enabled and end.health.casefold() in SERVING
        for end in profile.endpoints
        if end is not canary
    )


def spoken(plan: Plan, pair: Pair) -> str:
    """A pair as people say it: names, weights, and who is disabled."""
    return f"{_arm(plan.stable, pair.stable)}, {_arm(plan.canary, pair.canary)}"


def _arm(name: str, arm: Arm) -> str:
    return f"{name} {arm.weight}" if arm.enabled else f"{name} {arm.weight} disabled"
