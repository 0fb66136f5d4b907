"""What people should know besides the verdict. Nothing is decided by it, and no phase hangs on it.

1. Made anew at each look, of complete bins, so that the same bins give the same sentences.
2. At most MOST_ADVICE of them: what is said of the traffic goes before the gauges.
"""

from shared.core import levels, stats, words
from shared.core.attendance import Attendance, Crowd
from shared.core.learning import share_in_force
from shared.core.levels import Tilt
from shared.core.model import Plan, Rollout
from shared.core.telemetry import Advice, Answer, Levels, Sight
from shared.core.weights import FULL

MOST_ADVICE = 10
UNLABELLED = "unlabelled"

_NOTED_UNLABELLED = 0.01
# The share may be off by half either way before it says anything: DNS is no load balancer.
_LEAST_RATIO, _MOST_RATIO, _RATIO_LEVEL = 2 / 3, 3 / 2, 0.01
_LEAST_CROWDED_BINS, _LEAST_CROWDED_BAD = 8, 10


def given(
    plan: Plan, rollout: Rollout, answer: Answer | None, seen: Levels | None
) -> tuple[Advice, ...]:
    """All there is to say at a step at which both versions have traffic; nothing at others."""
    if not 0 < rollout.wanted_percent < FULL or plan.steps[rollout.step].shadow:
        return ()
    tilts, risk = rollout.tilts or {}, plan.source.risk
    gauges = plan.source.gauges
    said = (
        *_unlabelled(rollout, answer),
        *_of_step(plan, rollout),
        *(levels.advice(each, tilts.get(each.name, Tilt(0)), seen, risk) for each in gauges),
    )
    return said[:MOST_ADVICE]


def _of_step(plan: Plan, rollout: Rollout) -> tuple[Advice, ...]:
    """Where clients are counted each is bad once, so that none of them can crowd a bin."""
    attendance = rollout.attendance
    if attendance is None or not any(attendance.requests):
        return ()
    crowds = attendance.crowds or {} if plan.source.client is None else {}
    crowded = [_crowd(rule, crowd) for rule, crowd in crowds.items()]
    return (_share(attendance, share_in_force(rollout)), *(each for each in crowded if each))


def _unlabelled(rollout: Rollout, answer: Answer | None) -> tuple[Advice, ...]:
    """What the last answer with rows said."""
    if answer is None or answer.sight is not Sight.SEEN:
        return tuple(each for each in rollout.advice if each.name == UNLABELLED)
    if answer.unlabelled <= _NOTED_UNLABELLED:
        return ()
    sentence = f"{100 * answer.unlabelled:.0f} % of the requests carry no version"
    return (Advice(UNLABELLED, off=True, sentence=f"{sentence} and are not counted"),)


def _share(attendance: Attendance, asked: float) -> Advice:
    low, high = stats.ratio_interval(stats.profile(attendance.share_table), _RATIO_LEVEL)
    stable, canary = attendance.requests
    gets = f"the canary gets {words.percent(canary / (stable + canary))} of the requests"
    where = f"{gets} where {100 * asked:.3g} % was asked for"
    if low < _MOST_RATIO and (high is None or high > _LEAST_RATIO):
        return Advice("share", off=False, sentence=where)
    span = words.times(None, low, high, " times what its weight would bring")
    why = (
        "clients keep old DNS answers, or requests of the canary reach no log"
        if low < 1
        else "a few large clients or name servers have drawn it, or requests of stable reach no log"
    )
    return Advice("share", off=True, sentence=f"{where} ({span}): {why}")


def _crowd(rule: str, crowd: Crowd) -> Advice | None:
    fullest = crowd.most + crowd.second
    few = crowd.bins >= _LEAST_CROWDED_BINS and crowd.bad >= _LEAST_CROWDED_BAD
    if not few or fullest <= crowd.bad / 2:
        return None
    sentence = (
        f"{rule}: {fullest:.0f} of the canary's {crowd.bad:.0f} bad lie in two of {crowd.bins} "
        "bins: a few clients may be behind them; a client key in the telemetry would tell"
    )
    return Advice(f"{rule} crowd", off=True, sentence=sentence)
