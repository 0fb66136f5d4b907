"""The judge's sentences: plain words with the numbers, for a tired person.

1. One sentence names one rule: the one that decides, or the one that lacks most.
2. Evidence is a log e-value, always shown with what is needed. Rates are per cent.
3. What was counted (requests or clients) the judge does not know; it says "bad" only.
"""

from shared.core.evidence import Counts


def percent(rate: float) -> str:
    """A rate as per cent, with two figures where it is small."""
    shown = 100 * rate
    return f"{shown:.1f} %" if shown >= 1 or shown == 0 else f"{shown:.2g} %"


def share(bad: float, events: float) -> str:
    """A count with its rate: "12 of 600 bad (2.0 %)"."""
    return f"{bad:.0f} of {events:.0f} bad ({percent(bad / events)})" if events else "no traffic"


def arms(counts: Counts) -> str:
    """Both arms' counts side by side."""
    canary = share(counts.canary_bad, counts.canary_events)
    return f"canary {canary}, stable {share(counts.stable_bad, counts.stable_events)}"


def alone(counts: Counts, objective: float) -> str:
    """The canary's counts at 100 % beside the objective frozen before."""
    canary = share(counts.canary_bad, counts.canary_events)
    return f"at 100 % canary {canary} where at most {percent(objective)} was expected"


def of_needed(evidence: float, needed: float) -> str:
    """Evidence against its bound: "4.9 of 4.6 needed"."""
    return f"{evidence:.1f} of {needed:.1f} needed"


def no_worse(margin: float) -> str:
    """The claim of the first route: the ratio lies below the margin."""
    return f"it is no worse than {margin:.3g} times stable"


def rare(tolerance: float, next_share: float) -> str:
    """The claim of the second route: bad events are rare, whatever stable's are."""
    added = f"it adds less than {100 * tolerance:g} points of bad"
    return added if next_share >= 1 else f"at {100 * next_share:g} % {added}"


def blind(reason: str) -> str:
    """What is needed cannot be seen."""
    return f"blind, neither good nor bad: {reason}"


def dead(rule: str, counts: Counts) -> str:
    """The dead-canary guard has tripped."""
    broken = "the canary is down or all wrong, half or more bad in two bins in a row"
    return f"{rule}: {broken} ({arms(counts)})"


def worse(rule: str, seen: str, evidence: str, rules: int) -> str:
    """The canary is worse; with several rules the evidence is that of all."""
    together = f", all {rules} rules together" if rules > 1 else ""
    return f"{rule}: {seen}; evidence that it is worse {evidence}{together}"


def shown(rule: str, claim: str, evidence: str, seen: str, others: int) -> str:
    """The rule that passed most narrowly, with its claim."""
    besides = f"; {others} more passed more clearly" if others else ""
    return f"{rule}: {claim}: evidence {evidence} {seen}{besides}"


def not_shown(rule: str, claim: str, evidence: str, seen: str) -> str:
    """The rule that lacks most."""
    return f"{rule}: not yet shown that {claim}: evidence {evidence} {seen}"


def over_bins(bins: int, counts: Counts) -> str:
    """How long and on what the evidence of a step rests."""
    return f"over {bins} bins ({arms(counts)})"


def quiet(rule: str, seen: str, bins: int) -> str:
    """At 100 % nothing speaks against the canary, which proves nothing."""
    return f"{rule}: nothing seen against it in {bins} bins, {seen}"


def too_few(rule: str, bins: int, needed: int) -> str:
    """The step is too young for any pass."""
    return f"{rule}: {bins} of at least {needed} complete bins seen at this weight"


def watching(rule: str, seen: str, evidence: str) -> str:
    """No pass can be drawn now; harm is watched all the same."""
    return f"{rule}: only watching, {seen}; evidence that it is worse {evidence}"


def unclear(rule: str, seen: str) -> str:
    """At 100 % something speaks against the canary, but not enough yet."""
    return f"{rule}: not yet clear, {seen}"


def no_objective(rule: str) -> str:
    """At 100 % there is neither a stable arm nor an objective."""
    return f"{rule}: at 100 % without a frozen objective there is nothing to compare with"
