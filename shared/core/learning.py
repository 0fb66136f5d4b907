"""How an answer becomes evidence: the same for late data, repeated looks and looks after a gap.

1. Only what was SEEN is counted, and only complete bins are frozen, so a question that failed is
   asked again in full.
2. An answer that shows nothing leaves the evidence as it is; if all its bins are complete, nothing
   better can come of them and they are passed by: what was seen of them is no evidence for a pass.
3. Clients that cannot be compared, or are used up, are passed by too, but their requests speak of
   harm: a canary that is down must be found however it is sampled, and whoever it hurt before.
4. A row's time is no later than now: a clock that is ahead must not hide that telemetry stopped.
"""

from collections.abc import Callable
from dataclasses import replace

from shared.core import clients, exposures, judge, levels, questions, watermark, weights
from shared.core.attendance import Attendance, attended
from shared.core.bad_rows import UNKNOWN
from shared.core.judge import Counts, Evidence
from shared.core.model import Plan, Rollout
from shared.core.questions import LEVEL_BIN_S, bin_at, level_bins_before, read_up_to
from shared.core.telemetry import Answer, BinSeen, Levels, Sight

_NOTHING = (UNKNOWN, UNKNOWN)

type Newest = float | None
type Fold = Callable[[Evidence, int], Evidence]


def learn(plan: Plan, rollout: Rollout, answer: Answer | None, at_s: float) -> Rollout:
    """The rollout with the answer's bins put in place and what is old enough folded."""
    if answer is None or answer.sight is Sight.FAILED or not rollout.evidence:
        return rollout
    rollout = _noted(plan, rollout, answer, at_s)
    sealed = watermark.sealed_before(plan, rollout, at_s)
    empty = answer.sight is not Sight.SEEN
    if empty and answer.to_bin > sealed:
        return rollout
    floor, before = read_up_to(rollout), min(sealed, answer.to_bin)
    bins = () if empty else tuple(seen for seen in answer.bins if seen.index >= floor)
    complete = tuple(seen for seen in bins if seen.index < before)
    rollout = replace(rollout, attendance=_attended(plan, rollout, complete))
    final = questions.is_final(rollout)
    if plan.source.client and not final:
        rollout = _served(plan, rollout, clients.as_requests(bins), before)
    if clients.untold(plan, rollout, answer):
        return _counted(plan, rollout, clients.as_requests(bins), before, judge.pass_by)
    if final:
        bins = clients.as_requests(bins)
    return _counted(plan, rollout, bins, before, judge.pass_by if empty else judge.fold)


def _served(plan: Plan, rollout: Rollout, bins: tuple[BinSeen, ...], before: int) -> Rollout:
    """The requests of complete bins, besides the clients: the objective at 100 % rests on them.

    Who always fails is bad once a step, and so early in it: no rate of one step is another's.
    """
    complete, served = [seen for seen in bins if seen.index < before], dict(rollout.requests or {})
    for number, rule in enumerate(plan.source.rules):
        known = (rollout.bad_weights or {}).get(rule.name, _NOTHING)
        counts = (each for _, each in exposures.counted(complete, number, known))
        served[rule.name] = sum(counts, served.get(rule.name, Counts()))
    return replace(rollout, requests=served)


def _counted(
    plan: Plan, rollout: Rollout, bins: tuple[BinSeen, ...], before: int, fold: Fold
) -> Rollout:
    """The open bins counted by every rule, and those below `before` folded, or passed by."""
    complete = tuple(seen for seen in bins if seen.index < before)
    still_open = tuple(seen for seen in bins if seen.index >= before)
    by_request = plan.source.client is None or questions.is_final(rollout)
    evidence, known = dict(rollout.evidence or {}), dict(rollout.bad_weights or {})
    for number, rule in enumerate(plan.source.rules):
        weights_before = known.get(rule.name, _NOTHING)
        counts = exposures.counted(bins, number, weights_before)
        counted = fold(judge.gather(evidence[rule.name], counts), before)
        known[rule.name] = exposures.learnt(complete, number, weights_before)
        newest, _ = exposures.learnt(still_open, number, known[rule.name])
        turned = newest.turned if by_request else 1.0
        evidence[rule.name] = replace(counted, turned=turned)
    return replace(rollout, evidence=evidence, bad_weights=known)


def learn_levels(plan: Plan, rollout: Rollout, seen: Levels | None, at_s: float) -> Rollout:
    """The rollout with the gauges' complete bins counted, from the first whole one of the phase."""
    if not plan.source.gauges:
        return rollout
    first = bin_at(rollout.phase_since_s, LEVEL_BIN_S) + 1
    end = level_bins_before(plan, rollout, at_s)
    known = levels.learnt(plan.source.gauges, rollout.tilts or {}, seen, (first, end))
    return replace(rollout, tilts=known)


def share_in_force(rollout: Rollout) -> float:
    """The canary's share by the weights that were last verified."""
    return float(weights.share(rollout.last_pair)) if rollout.last_pair else 0.0


def _attended(plan: Plan, rollout: Rollout, complete: tuple[BinSeen, ...]) -> Attendance | None:
    """Of the present step, from its first whole bin on; of none while its weights settle."""
    if rollout.bake_since_s is None or not rollout.evidence:
        return None
    first = max(evidence.step_floor for evidence in rollout.evidence.values())
    known = rollout.attendance
    if known is None or known.first_bin != first:
        known = Attendance(first)
    ordered = sorted(complete, key=lambda seen: seen.index)
    return attended(known, ordered, share_in_force(rollout), plan.source.rules)


def _noted(plan: Plan, rollout: Rollout, answer: Answer, at_s: float) -> Rollout:
    """What the answer says of the source itself: its delay, and how new its rows are."""
    arms = (
        _newest(answer.newest_of[0], [s.index for s in answer.bins if s.stable], rollout, at_s),
        _newest(answer.newest_of[1], [s.index for s in answer.bins if s.canary], rollout, at_s),
    )
    served = [seen.index for seen in answer.bins if seen.stable or seen.canary]
    every = _newest(answer.newest_s, served, rollout, at_s)
    stable, canary = rollout.newest_of
    return replace(
        rollout,
        delay_s=watermark.learnt(plan, rollout, answer, at_s),
        last_row_s=_later(rollout.last_row_s, every, at_s),
        newest_of=(_later(stable, arms[0], at_s), _later(canary, arms[1], at_s)),
    )


def _newest(told_s: Newest, bins: list[int], rollout: Rollout, at_s: float) -> Newest:
    """The newest row's time. One that is yet to come says nothing, and the bins must tell."""
    if told_s is not None and told_s <= at_s:
        return told_s
    ends = [(index + 1) * rollout.bin_s for index in bins if index * rollout.bin_s <= at_s]
    return min(at_s, max(ends)) if ends else None


def _later(known_s: Newest, new_s: Newest, at_s: float) -> Newest:
    """The later of two times; one from the look before the start may be yet to come as well."""
    past = [each for each in (known_s, new_s) if each is not None and each <= at_s]
    return max(past, default=None)
