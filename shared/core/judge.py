"""The judge: from the evidence of all rules to one verdict, with its numbers and one sentence.

1. FAIL rests on all bins, also those that still grow; PASS on sealed bins of this step only.
2. Fail beats blind, blind beats pass.
3. One error budget: the mean of the rules' e-values, each a fixed mixture of the rollout's and
   the steps' (0.8 and 0.2 / steps), so alpha holds over all looks, steps and rules together.
4. A pass needs every rule; the guarantee beta is split over two routes (ratio, absolute rate).
5. At 100 % there is no stable arm: the canary is held against a frozen objective. FAIL needs what
   clustered failures cannot explain; more than chance alone explains is enough to block a pass,
   which is no proof there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.core import reasons, stats, words
from shared.core.evidence import (
    DEAD_BINS,
    MAX_OPEN_BINS,
    Counts,
    Evidence,
    begin,
    fold,
    gather,
    pass_by,
    start_step,
)
from shared.core.reasons import Look
from shared.core.risk import (
    Risk,
    bins_to_pass,
    fail_bound,
    margin,
    objective,
    pass_bound,
    routes,
    stable_is_bad,
)
from shared.core.stats import Table
from shared.core.verdict import Kind, Step, Verdict, Weighing

__all__ = [
    "MAX_OPEN_BINS",
    "NO_EVIDENCE",
    "Counts",
    "Evidence",
    "Kind",
    "Risk",
    "Step",
    "Verdict",
    "Weighing",
    "begin",
    "bins_to_pass",
    "combine",
    "fold",
    "gather",
    "objective",
    "pass_bound",
    "pass_by",
    "stable_is_bad",
    "start_step",
    "weigh",
]

NO_EVIDENCE = -1000.0
_LEAST_BAD = 3
_ROLLOUT_WEIGHT, _STEPS_WEIGHT = 0.8, 0.2
_AFTER_ALL_BINS = 2**62


def weigh(
    evidences: Mapping[str, Evidence],
    step: Step,
    risk: Risk,
    *,
    blind: str = "",
    margins: Mapping[str, float] | None = None,
) -> Verdict:
    """The verdict over all rules; `blind` is the caller's reason why it cannot see.

    `margins` are the excess bad rates that rules of their own kind allow: they take the place of
    the risk's tolerance, and below them evidence of harm is not heard. Changes nothing: the same
    evidence gives the same verdict.
    """
    allowed = margins or {}
    looks = [
        _look(rule, evidence, step, _with(risk, allowed.get(rule)))
        for rule, evidence in evidences.items()
    ]
    heard = [look for look in looks if _heard(look, allowed.get(look.weighing.rule))]
    worse = combine([look.weighing.worse for look in heard], len(looks))
    needed = fail_bound(risk)
    if dead := next((look for look in looks if look.every.dead_bins >= DEAD_BINS), None):
        kind, sentence = Kind.FAIL, reasons.dead(dead, step)
    elif worse >= needed:
        loudest = max(heard, key=lambda look: look.weighing.worse)
        kind, sentence = Kind.FAIL, reasons.worse(loudest, step, worse, len(looks))
    elif blinded := blind or _unsteady(looks):
        kind, sentence = Kind.BLIND, words.blind(blinded)
    elif all(look.weighing.passed for look in looks):
        kind, sentence = Kind.PASS, reasons.passes(looks, step)
    else:
        kind, sentence = Kind.UNSURE, reasons.unsure(looks, step)
    return Verdict(
        kind=kind,
        sentence=sentence,
        weighings=tuple(look.weighing for look in looks),
        worse=worse,
        needed=needed,
        pass_needed=pass_bound(risk),
        unit=step.unit,
        unit_before=step.unit_before,
    )


def combine(worses: Sequence[float], rules: int) -> float:
    """The log of the mean e-value over all rules, those not listed counting as 0.

    Valid under any dependence between rules. Never below NO_EVIDENCE, so that JSON can hold it.
    """
    if not worses:
        return NO_EVIDENCE
    return max(NO_EVIDENCE, stats.log_sum_exp(worses) - math.log(rules))


def _look(rule: str, evidence: Evidence, step: Step, risk: Risk) -> Look:
    """Weigh one rule: folding what is sealed and then the rest computes each bin just once."""
    sealed = fold(evidence, step.sealed_before)
    every = fold(sealed, _AFTER_ALL_BINS)
    frozen = evidence.objective
    least = None
    over = ok = absolute = 0.0
    if frozen > 0:
        over = stats.log_e_over(every.step.canary_events, every.step.canary_bad, frozen)
    elif step.next_share and not step.final:
        least = margin(sealed.rollout, step.next_share, risk)
        canary = sealed.step.canary_events, sealed.step.canary_bad
        ok, absolute = routes(
            stats.profile(sealed.step_table), canary, least, risk.tolerance / step.next_share
        )
    good = frozen > 0 and over < fail_bound(risk) if step.final else _shown(ok, absolute, risk)
    bins = sealed.step_bins + (sealed.lone_bins if step.final else 0)
    seen = stats.profile(every.rollout_table)
    rollout = stats.log_e_worse(seen, risk.worse_than)
    recent = _worse(every.step_table, risk)
    ratio, low, high = reasons.ratio(every.rollout, seen)
    weighing = Weighing(
        rule=rule,
        counts=every.rollout,
        step_counts=sealed.step,
        step_bins=bins,
        worse=_mixed(rollout, recent, step.steps),
        ok=ok,
        absolute=absolute,
        over=over,
        margin=least,
        ratio_low=low,
        ratio_high=high,
        passed=good and bins >= step.min_bins and step.next_share is not None,
        ratio=ratio,
        rollout_bins=every.rollout_bins,
    )
    return Look(weighing, risk, sealed, every, recent > rollout)


def _worse(table: Table, risk: Risk) -> float:
    return stats.log_e_worse(stats.profile(table), risk.worse_than)


def _with(risk: Risk, tolerance: float | None) -> Risk:
    return risk if tolerance is None else replace(risk, tolerance=tolerance)


def _unsteady(looks: Sequence[Look]) -> str:
    """Why the evidence itself tells nothing; empty where it does."""
    if not looks:
        return "there is no rule to judge by"
    turned = ((look.weighing.rule, look.every.turned) for look in looks if look.every.turned != 1)
    return next((words.unsteady(*each) for each in turned), "")


def _heard(look: Look, least_excess: float | None) -> bool:
    """Whether a rule's evidence of harm counts; what is left out counts as an e-value of 0.

    Where stable's bad rows have become heavier it looks better than it is, and the canary worse.
    """
    counts = look.weighing.counts
    if look.every.turned > 1:
        return False
    if max(counts.canary_bad, look.every.step.canary_bad) < _LEAST_BAD:
        return False
    if least_excess is None:
        return True
    stable = counts.stable_bad / max(1, counts.stable_events)
    return counts.canary_bad / max(1, counts.canary_events) - stable > least_excess


def _shown(ok: float, absolute: float, risk: Risk) -> bool:
    return max(ok, absolute) >= pass_bound(risk)


def _mixed(rollout: float, recent: float, steps: int) -> float:
    """All steps' weights and the rollout's sum to one: alpha holds over the whole rollout."""
    weights = math.log(_ROLLOUT_WEIGHT), math.log(_STEPS_WEIGHT / steps)
    return stats.log_sum_exp([weights[0] + rollout, weights[1] + recent])
