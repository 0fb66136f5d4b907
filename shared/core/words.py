"""The judge's sentences: plain words with the numbers, for a tired person.

1. One sentence names one rule: the one that decides, or the one that lacks most.
2. Evidence is a log e-value, always shown with what is needed. Rates are per cent.
3. The unit (requests, client visits, samples) is the caller's word.
"""

from shared.core.evidence import Counts

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_TENTHS_BELOW = 10
# The smallest ratio that is told apart says nothing as a lower bound.
_NO_BOUND = 0.02


def percent(rate: float) -> str:
    """A rate as per cent, with two figures where it is small."""
    shown = 100 * rate
    return f"{shown:.1f} %" if shown >= 1 or shown == 0 else f"{shown:.2g} %"


def duration(seconds: float) -> str:
    """A length of time in its own unit: "45 s", "12 min", "4.2 h", "3 days"."""
    units = ((2 * _DAY_S, _DAY_S, "days"), (_HOUR_S, _HOUR_S, "h"), (_MINUTE_S, _MINUTE_S, "min"))
    size, unit = next(((size, unit) for least, size, unit in units if seconds >= least), (1, "s"))
    shown = seconds / size
    return f"{shown:.2g} {unit}" if shown < _TENTHS_BELOW else f"{shown:.0f} {unit}"


def share(bad: float, events: float, unit: str = "") -> str:
    """A count with its rate: "12 of 600 requests bad (2.0 %)"."""
    if not events:
        return "no traffic"
    counted = f"{bad:.0f} of {events:.0f} {unit}".strip()
    return f"{counted} bad ({percent(bad / events)})"


def arms(counts: Counts, unit: str) -> str:
    """Both arms' counts side by side."""
    canary = share(counts.canary_bad, counts.canary_events, unit)
    return f"canary {canary}, stable {share(counts.stable_bad, counts.stable_events)}"


def alone(counts: Counts, objective: float, unit: str) -> str:
    """The canary's counts at 100 % beside the objective frozen before."""
    canary = share(counts.canary_bad, counts.canary_events, unit)
    return f"at 100 % canary {canary} where at most {percent(objective)} was expected"


def times(
    ratio: float | None, low: float, high: float | None, often: str = " times as often"
) -> str:
    """The ratio with its interval: "2.1 times as often (1.3 to 3.5)"; empty if unknown.

    Where there is no ratio, since an arm had nothing bad, a bound alone is said.
    """
    if high is None:
        bounds = f"at least {low:g}" if low > _NO_BOUND else ""
    else:
        bounds = f"{low:g} to {high:g}" if low > _NO_BOUND else f"at most {high:g}"
    if ratio is None:
        return f"{bounds}{often}" if bounds else ""
    shown = f"{ratio:.0f}" if ratio >= _TENTHS_BELOW else f"{ratio:.1f}"
    return f"{shown}{often}{f' ({bounds})' if bounds else ''}"


def block_by_block(often: str) -> str:
    """A ratio that is not that of the rates in all: steps and days have mixed these."""
    return f"block by block {often}"


def compared(counts: Counts, often: str, unit: str) -> str:
    """Both arms' rates, and how much the canary's is larger."""
    if not counts.canary_events or not counts.stable_events:
        return arms(counts, unit)
    canary = _counted(counts.canary_bad, counts.canary_events, f" of the canary's {unit}")
    stable = _counted(counts.stable_bad, counts.stable_events, " of stable's")
    return f"bad are {canary} and {stable}{f': {often}' if often else ''}"


def of_needed(evidence: float | None, needed: float) -> str:
    """Evidence against its bound: "4.9 of 4.6 needed"; "none of 4.6 needed" where none counts."""
    shown = "none" if evidence is None else f"{evidence:.1f}"
    return f"{shown} of {needed:.1f} needed"


def no_worse(margin: float) -> str:
    """The claim of the first route: the ratio lies below the margin."""
    return f"it is no worse than {margin:.3g} times stable"


def rare(tolerance: float, next_share: float, unit: str) -> str:
    """The claim of the second route: bad events are rare, whatever stable's are."""
    added = f"it adds less than {100 * tolerance:g} points of bad {unit}"
    return added if next_share >= 1 else f"{added} at {100 * next_share:g} %"


def blind(reason: str) -> str:
    """What is needed cannot be seen."""
    return f"neither good nor bad can be said now: {reason}"


def unsteady(rule: str, turned: float) -> str:
    """Stable's bad rows stand for more requests than its counts rest on (1), or for fewer."""
    most = "more" if turned > 1 else "fewer"
    return (
        f"{rule}: sampling has changed, and bad requests of stable that were kept stand for {most} "
        "requests than they did before; what was counted until then and since cannot be put "
        "together: start again when sampling is steady"
    )


def dead(rule: str, counts: Counts, unit: str) -> str:
    """The dead-canary guard has tripped."""
    broken = "the canary is down or all wrong, half or more bad in two blocks in a row"
    return f"{rule}: {broken} ({arms(counts, unit)})"


def worse(rule: str, seen: str, evidence: str, rules: int) -> str:
    """The canary is worse; with several rules the evidence is that of all."""
    together = f", all {rules} rules together" if rules > 1 else ""
    return f"{rule}: {seen}; evidence that it is worse {evidence}{together}"


def shown(rule: str, claim: str, evidence: str, seen: str, others: int) -> str:
    """The rule that passed most narrowly, with its claim."""
    besides = f"; {others} more passed more clearly" if others else ""
    return f"{rule}: {claim}, with evidence {evidence} {seen}{besides}"


def not_shown(rule: str, claim: str, evidence: str, seen: str) -> str:
    """The rule that lacks most."""
    return f"{rule}: not yet shown that {claim}, with evidence {evidence} {seen}"


def over_blocks(blocks: int, counted: str, often: str = "") -> str:
    """How long and on what the evidence of a step rests."""
    return f"over {blocks} blocks: {f'{often}, ' if often else ''}{counted}"


def too_slow(takes_s: float | None, longest_s: float) -> str:
    """The step cannot be decided by its longest bake, and what would help."""
    if takes_s is None:
        return "at this traffic no bake is long enough: raise the percentage or the tolerance"
    takes, longest = duration(takes_s), duration(longest_s)
    return (
        f"at this traffic a pass takes about {takes}, bake.max is {longest}: "
        "raise the percentage, the tolerance or bake.max"
    )


def quiet(rule: str, seen: str, bins: int, against: str = "") -> str:
    """At 100 % nothing, or too little, speaks against the canary, which proves nothing."""
    found = f"too little ({against})" if against else "nothing"
    return f"{rule}: {found} seen against it in {bins} blocks, {seen}"


def too_few(rule: str, bins: int, needed: int) -> str:
    """The step is too young for any pass."""
    return f"{rule}: {bins} of at least {needed} complete blocks seen at this weight"


def watching(rule: str, seen: str, evidence: str) -> str:
    """No pass can be drawn now; harm is watched all the same."""
    return f"{rule}: only watching, {seen}; evidence that it is worse {evidence}"


def unclear(rule: str, seen: str) -> str:
    """At 100 % something speaks against the canary, but not enough yet."""
    return f"{rule}: not yet clear, {seen}"


def no_objective(rule: str) -> str:
    """At 100 % there is neither a stable arm nor an objective."""
    return f"{rule}: at 100 % without a frozen objective there is nothing to compare with"


def _counted(bad: float, events: float, of_whose: str) -> str:
    return f"{percent(bad / events)}{of_whose} ({bad:.0f} of {events:.0f})"
