"""Standardised exposure: a mix of users is not taken for a bad version.

Whoever asks for something that often fails, or from where it often fails, weighs more: a request
counts for so many as its stratum (say a city and an operation) fails beside the whole, measured on
stable before the start and frozen then. In epidemiology this is indirect standardisation. A
client in a bin counts for the mean of the strata it was in, each once, however often it asked.

1. Weights never depend on what the canary did, so the judge's guarantee is that of any exposures.
2. What is not foretold is not used: rates of the older half of the past must foretell the newer
   half; how far they are drawn towards the mean is chosen by that, and "not at all" is a choice.
3. Weights have mean one over the past, so counts still read as requests or clients: of a client in
   several strata each has its even share.
"""

import math
from collections.abc import Sequence

from shared.core.telemetry import Rule, Standard, Stratum

type Exposed = tuple[float, float]
"""Events and bad ones of one stratum."""

MOST_STRATA = 64
# Bad events that a stratum is lent at the mean rate: the more, the less its own rate counts.
_LENT = (3.0, 10.0, 30.0, 100.0, 300.0)
# Nats that the newer half must be foretold better by; less is luck.
_LEAST_GAIN = 2.0
_LEAST, _MOST = 1 / 20, 20.0
# Each halves the logarithm of an error.
_HALVINGS = 60


def standard_of(rules: Sequence[Rule], seen: Sequence[Stratum]) -> Standard:
    """The weights of all rules whose failures the strata foretell; the last stratum is the rest."""
    weights = {}
    for number, rule in enumerate(rules):
        halves = [[(each.events[h], each.bad[number][h]) for each in seen] for h in (0, 1)]
        fitted = fit(halves[0], halves[1])
        if fitted is not None:
            weights[rule.name] = fitted
    return Standard(tuple([each.key for each in seen if each.key is not None]), weights)


def fit(older: Sequence[Exposed], newer: Sequence[Exposed]) -> tuple[float, ...] | None:
    """One weight a stratum from two halves of the past; None where strata foretell nothing.

    The halves name the same strata in the same order; the last may be all that is in no other.
    """
    even = foretold(newer, (1.0,) * len(newer))
    gains = {lent: foretold(newer, shrunk(older, lent)) - even for lent in _LENT}
    best = max(gains, key=lambda lent: gains[lent])
    if gains[best] < _LEAST_GAIN:
        return None
    both = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(older, newer, strict=True)]
    return shrunk(both, best)


def shrunk(seen: Sequence[Exposed], lent: float) -> tuple[float, ...]:
    """Each stratum's rate over the whole's, drawn towards 1 by `lent` bad events, bounded."""
    events, bad = sum(each[0] for each in seen), sum(each[1] for each in seen)
    if not bad or not events:
        return (1.0,) * len(seen)
    rate = bad / events
    drawn = [(k + lent) / (n * rate + lent) for n, k in seen]
    return _bounded([n / events for n, _ in seen], drawn)


def _bounded(shares: Sequence[float], drawn: Sequence[float]) -> tuple[float, ...]:
    """The weights within bounds, the others larger or smaller for it, so that the mean stays one.

    A mean of a half would make all rates look doubled beside those from before the start.
    """
    low, high = _LEAST / max(drawn), _MOST / min(drawn)
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        over = math.sumprod(shares, _within(drawn, middle)) > 1
        low, high = (low, middle) if over else (middle, high)
    return _within(drawn, low)


def _within(drawn: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple([min(_MOST, max(_LEAST, factor * weight)) for weight in drawn])


def foretold(seen: Sequence[Exposed], weights: Sequence[float]) -> float:
    """The log-likelihood of where the bad events fell, given how many there were (multinomial)."""
    shares = [n * weight for (n, _), weight in zip(seen, weights, strict=True)]
    total = sum(shares)
    return math.fsum(
        [
            k * (math.log(share) - math.log(total))
            for (_, k), share in zip(seen, shares, strict=True)
            if k > 0 and share > 0
        ]
    )
