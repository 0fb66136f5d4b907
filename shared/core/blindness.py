"""Why the evidence cannot be seen now. Blind blocks a pass, never a fail, and blames nobody.

An empty window is ABSENT for one look and LATE for the rollout: both are told by the age of the
newest row, so that a quiet minute of a quiet service is no blindness. Telemetry that looks well
may still hide a version: rows without a label, and an arm of which nothing comes at all.
"""

from shared.core import clients, watermark
from shared.core.attendance import Missed
from shared.core.learning import share_in_force
from shared.core.model import Plan, Rollout
from shared.core.telemetry import Answer, Sight

MOST_UNLABELLED = 0.1
# Fewer expected requests may fail to come by chance.
_LEAST_EXPECTED = 10


def blindness(plan: Plan, rollout: Rollout, answer: Answer | None, at_s: float) -> str:
    """Why the evidence cannot be seen now; empty when it can."""
    if answer is None:
        return "telemetry was not asked"
    if answer.sight is Sight.FAILED:
        return f"telemetry could not be asked: {answer.reason}"
    return (
        _late(plan, rollout, at_s)
        or clients.untold(plan, rollout, answer)
        or _behind(plan, rollout, answer, at_s)
        or watermark.outrun(plan, rollout, answer, at_s)
        or _unlabelled(plan, answer)
        or clients.keyless(plan.source, answer)
        or silence(plan, rollout, at_s)
    )


def silence(plan: Plan, rollout: Rollout, at_s: float) -> str:
    """Which arm should have had requests and shows none for longer than the patience."""
    attendance, since_s = rollout.attendance, rollout.bake_since_s
    if attendance is None or since_s is None:
        return ""
    share = share_in_force(rollout)
    patience_s = watermark.patience_s(plan, rollout)
    for arm, missed, expected, newest_s in (
        ("canary", attendance.missed[1], _for_each(share), rollout.newest_of[1]),
        ("stable version", attendance.missed[0], _for_each(1 - share), rollout.newest_of[0]),
    ):
        quiet_s = at_s - max(newest_s or 0.0, since_s)
        if quiet_s > patience_s and missed.rows * expected >= _LEAST_EXPECTED:
            return _nothing_of(arm, quiet_s, missed, expected)
    return ""


def _for_each(share: float) -> float:
    """How many requests an arm with this share should have for each of the other's.

    One with all the traffic has at least as many as still reach the other by old DNS answers.
    """
    return share / (1 - share) if share < 1 else 1.0


def _nothing_of(arm: str, quiet_s: float, missed: Missed, expected: float) -> str:
    were = f"{missed.requests * expected:.0f} were expected"
    return f"no request of the {arm} for {quiet_s:.0f} s, where {were}"


def _late(plan: Plan, rollout: Rollout, at_s: float) -> str:
    age_s = at_s - (rollout.last_row_s or rollout.phase_since_s)
    patience_s = watermark.patience_s(plan, rollout)
    if age_s <= patience_s:
        return ""
    if rollout.last_row_s is None:
        arms = f"{plan.source.arms.stable!r} or {plan.source.arms.canary!r}"
        neither = f"no row with {plan.source.where(arms)} since the start ({age_s:.0f} s)"
        return f"telemetry is absent: {neither}"
    newest = f"the newest row is {age_s:.0f} s old"
    return f"telemetry is late: {newest}, {patience_s:.0f} s are allowed"


def _behind(plan: Plan, rollout: Rollout, answer: Answer, at_s: float) -> str:
    behind = watermark.sealed_before(plan, rollout, at_s) - answer.to_bin
    catching_up = answer.sight is Sight.SEEN and behind > 0
    return f"telemetry is still read {behind} bins behind" if catching_up else ""


def _unlabelled(plan: Plan, answer: Answer) -> str:
    if answer.unlabelled <= MOST_UNLABELLED:
        return ""
    share = f"{100 * answer.unlabelled:.0f} % of the requests carry no version"
    return f"{share} ({plan.source.arms.column}): they may be of either"
