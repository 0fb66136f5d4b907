"""When a bin is complete: what the source shows of its own delay goes before what the plan says.

The delay may change from look to look, and so the watermark may move back: bins that were folded
stay folded. Within one turn all who ask are told the same, since they ask the rollout.
"""

from math import ceil

from shared.core.model import Plan, Rollout
from shared.core.questions import QUIET_BINS, bin_at
from shared.core.telemetry import Answer, Sight

# One row in a hundred is slower than the lag: so much more is waited for.
_SAFETY = 2
_MOST_S = 3600


def learnt(plan: Plan, rollout: Rollout, answer: Answer) -> float:
    """How long bins may still grow, after this answer; one without rows shows nothing new.

    Slower than the plan says, as far as an hour; quicker, down to half of it.
    """
    usual_s = plan.source.ingestion_delay_s
    if answer.sight is not Sight.SEEN:
        return delay_s(plan, rollout)
    if answer.lag_s is None:
        return usual_s
    return max(usual_s / 2, ceil(min(_MOST_S, _SAFETY * answer.lag_s)))


def delay_s(plan: Plan, rollout: Rollout) -> float:
    """How long after its end a bin may still grow."""
    return plan.source.ingestion_delay_s if rollout.delay_s is None else rollout.delay_s


def sealed_before(plan: Plan, rollout: Rollout, at_s: float) -> int:
    """Bins with a lower index are complete: the delay has passed since they ended."""
    return bin_at(at_s - delay_s(plan, rollout), rollout.bin_s)


def patience_s(plan: Plan, rollout: Rollout) -> float:
    """How old the newest row may be before the source counts as late."""
    return delay_s(plan, rollout) + QUIET_BINS * rollout.bin_s
