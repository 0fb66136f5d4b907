"""When a bin is complete: what the source shows of its own delay goes before what the plan says.

1. What is quicker than planned must be shown by a step that is older than the planned delay, bad
   rows included: of a request that hangs nothing can be seen before it ends.
2. The delay may change from look to look, and so the watermark may move back: bins that were
   folded stay folded, and no pass is drawn until it has caught up with them.
3. Within one turn all who ask are told the same, since they ask the rollout.
"""

from math import ceil

from shared.core.model import Plan, Rollout
from shared.core.questions import QUIET_BINS, bin_at, read_up_to
from shared.core.telemetry import Answer, Sight

# One row in a hundred is slower than the lag: so much more is waited for.
_SAFETY = 2
# Bins that may still grow are asked for at every look and kept in the record.
MOST_OPEN_BINS = 120
_MOST_S = 3600


def learnt(plan: Plan, rollout: Rollout, answer: Answer, at_s: float) -> float:
    """How long bins may still grow, after this answer; one without rows shows nothing new.

    Slower than the plan says, as far as an hour or 120 bins; quicker, down to half of it.
    """
    usual_s = plan.source.ingestion_delay_s
    if answer.sight is not Sight.SEEN:
        return delay_s(plan, rollout)
    if answer.lag_s is None:
        return usual_s
    shown = at_s - _step_floor(rollout) * rollout.bin_s > usual_s
    most_s = min(_MOST_S, MOST_OPEN_BINS * rollout.bin_s)
    return max(usual_s / 2 if shown else usual_s, ceil(min(most_s, _SAFETY * answer.lag_s)))


def outrun(plan: Plan, rollout: Rollout, answer: Answer, at_s: float) -> str:
    """Why bins that count as complete may not be; empty when they are."""
    delay = delay_s(plan, rollout)
    if answer.lag_s is not None and _SAFETY * answer.lag_s > delay:
        return (
            f"telemetry is too slow: one row in a hundred came {answer.lag_s:.0f} s after its "
            f"request or later, and no more than {delay:.0f} s are waited"
        )
    if read_up_to(rollout) <= max(_step_floor(rollout), sealed_before(plan, rollout, at_s) + 1):
        return ""
    return f"telemetry became slower: what was read as complete has to age {delay:.0f} s first"


def delay_s(plan: Plan, rollout: Rollout) -> float:
    """How long after its end a bin may still grow."""
    return plan.source.ingestion_delay_s if rollout.delay_s is None else rollout.delay_s


def sealed_before(plan: Plan, rollout: Rollout, at_s: float) -> int:
    """Bins with a lower index are complete: the delay has passed since they ended."""
    return bin_at(at_s - delay_s(plan, rollout), rollout.bin_s)


def patience_s(plan: Plan, rollout: Rollout) -> float:
    """How old the newest row may be before the source counts as late."""
    return delay_s(plan, rollout) + QUIET_BINS * rollout.bin_s


def _step_floor(rollout: Rollout) -> int:
    return max((each.step_floor for each in (rollout.evidence or {}).values()), default=0)
