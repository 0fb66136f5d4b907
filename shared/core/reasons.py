"""Which rule a verdict speaks of, and what it says: from the weighings to one sentence.

A fail names the loudest rule, all else the one that lacks most. A sentence shows the numbers it
rests on: those of this step where the step decides, those of the rollout otherwise. A step that
its traffic cannot decide is said to be so as soon as that shows, with what would help.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.core import stats, words
from shared.core.evidence import Counts, Evidence
from shared.core.risk import Risk, alone, bins_to_pass, fail_bound, pass_bound
from shared.core.stats import Profile, Table
from shared.core.verdict import Route, Step, Weighing

_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Look:
    """One rule's weighing with what its sentence needs.

    `sealed` and `every`: its evidence, with all sealed and with all bins folded; `recent`: this
    step speaks louder against the canary than the rollout.
    """

    weighing: Weighing
    risk: Risk
    sealed: Evidence
    every: Evidence
    recent: bool


def worse(look: Look, step: Step, evidence: float, rules: int) -> str:
    """Why the canary fails, by the rule that is loudest."""
    of_needed = words.of_needed(evidence, fail_bound(look.risk))
    return words.worse(look.weighing.rule, _against(look, step), of_needed, rules)


def dead(look: Look, step: Step) -> str:
    """Why the dead-canary guard has tripped."""
    return words.dead(look.weighing.rule, look.every.dead, step.plain_unit)


def passes(looks: Sequence[Look], step: Step) -> str:
    """Why all rules pass, by the narrowest."""
    least = _weakest(looks, step)
    shown = least.weighing
    if step.final:
        against = words.of_needed(shown.over, fail_bound(least.risk)) if shown.over > 0 else ""
        return words.quiet(shown.rule, _alone(least, step), shown.step_bins, against)
    often = _often(least.sealed.step, least.sealed.step_table)
    rests = words.over_blocks(shown.step_bins, words.arms(shown.step_counts, step.unit), often)
    return words.shown(shown.rule, *_claim(least, step), rests, len(looks) - 1)


def unsure(looks: Sequence[Look], step: Step) -> str:
    """What is lacking, by the rule that lacks most."""
    least = _weakest(looks, step)
    shown = least.weighing
    if step.next_share is None:
        evidence = words.of_needed(shown.worse, alone(fail_bound(least.risk), len(looks)))
        return words.watching(shown.rule, _against(least, step), evidence)
    if step.final and not least.every.objective:
        return words.no_objective(shown.rule)
    slow = _too_slow(least, step, step.next_share)
    if shown.step_bins < step.min_bins:
        return words.too_few(shown.rule, shown.step_bins, step.min_bins) + slow
    if step.final:
        return words.unclear(shown.rule, _alone(least, step))
    rests = words.over_blocks(shown.step_bins, words.arms(shown.step_counts, step.unit))
    return words.not_shown(shown.rule, *_claim(least, step), rests) + slow


def _against(look: Look, step: Step) -> str:
    """The numbers that speak loudest against the canary."""
    if look.recent and look.every.objective:
        return _alone(look, step)
    if look.recent and look.every.step.canary_events:
        often = _often(look.every.step, look.every.step_table)
        return words.compared(look.every.step, often, f"{step.unit} in this step")
    shown = look.weighing
    often = _told(shown.counts, shown.ratio, shown.ratio_low, shown.ratio_high)
    return words.compared(shown.counts, often, step.unit_before or step.unit)


def _alone(look: Look, step: Step) -> str:
    """The canary's numbers at 100 %."""
    return words.alone(look.every.step, look.every.objective, step.unit)


def ratio(counts: Counts, seen: Profile) -> tuple[float | None, float, float | None]:
    """How much oftener the canary is bad, and the 95 % interval of that."""
    return stats.ratio(seen, *_arms(counts), _LEVEL)


def _often(counts: Counts, table: Table) -> str:
    return _told(counts, *ratio(counts, stats.profile(table)))


def _told(counts: Counts, often: float | None, low: float, high: float | None) -> str:
    """The ratio in words; one that is not that of the rates beside it must not look like it."""
    plain = stats.ratio_of_rates(*_arms(counts))
    told = words.times(often, low, high)
    return words.block_by_block(told) if often is not None and often != plain else told


def _arms(counts: Counts) -> tuple[tuple[float, float], tuple[float, float]]:
    return (counts.stable_events, counts.stable_bad), (counts.canary_events, counts.canary_bad)


def _weakest(looks: Sequence[Look], step: Step) -> Look:
    """The rule that lacks most: no pass before a narrow one, too few bins before enough."""

    def standing(look: Look) -> tuple[bool, bool, float]:
        shown = look.weighing
        against = step.final or step.next_share is None
        strength = -max(shown.over, shown.worse) if against else shown.no_harm
        return shown.passed, shown.step_bins >= step.min_bins, strength

    return min(looks, key=standing)


def _claim(look: Look, step: Step) -> tuple[str, str]:
    """The claim of the stronger route, and its evidence."""
    shown = look.weighing
    claim = words.no_worse(shown.margin or 1.0)
    if shown.route is Route.RATE:
        claim = words.rare(look.risk.tolerance, step.next_share or 1.0, step.unit)
    return claim, words.of_needed(shown.no_harm, pass_bound(look.risk))


def _too_slow(look: Look, step: Step, next_share: float) -> str:
    """That a canary as good as stable would not pass in time, at what this step has served.

    Told once so many bins showed a request of any arm as a pass needs of both. Bins without one do
    not count: telemetry may have been away, and where all others hold few it changes nothing.
    """
    served, bins_served = look.sealed.step, look.sealed.served_bins
    if step.final or bins_served < step.min_bins or step.bake_max_s < step.bin_s:
        return ""
    both = served.stable_events + served.canary_events
    before = look.sealed.rollout
    rate, longest = before.stable_bad / max(1, before.stable_events), step.bake_max_s / step.bin_s
    share = served.canary_events / both
    bins = bins_to_pass(both / bins_served, rate, share, next_share, look.risk, int(longest))
    if bins is not None and bins <= longest:
        return ""
    takes_s = None if bins is None else bins * step.bin_s
    return f"; {words.too_slow(takes_s, step.bake_max_s)}"
