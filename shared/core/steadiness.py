"""Whether sampling does to failures what counts rest on: in stable as before, in the canary too.

What was counted by what bad rows used to weigh is wrong from the moment on at which they weigh
otherwise, by as much, in every block, and no later block mends it: a change is never forgotten.
Each way to part the bad rows in older and newer ones is tried. Spans double in length with their
age, which bounds their number (the exponential histogram of Bifet & Gavalda's ADWIN, SDM 2007).
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from shared.core.bad_rows import BadRows, BadWeight, BadWeights, Span, divergence, spared
from shared.core.evidence import Counts

# However many bad rows a bin has, so many count: failures come in bursts of a kind.
_OF_A_BIN = 2.0
# Below so many requests a row the error that sampling can hide is small.
_LEAST_MEAN = 1.2
_SPARED = "sampling spares stable's bad requests"
# Spans of equal length that are kept apart.
_ALIKE = 2
# Rows that stand for hardly more than one request each tell nothing of what is lost.
_LEAST_EXCESS = 0.01
# Weights differ if by this factor, and if chance has it as rarely as e to minus half of the other.
_DIFFERS, _SURELY = 1.5, 22.0


def watched(known: BadWeight, bad: BadRows) -> BadWeight:
    """What is known, with a bin's bad rows held beside all before them."""
    if bad.lost <= _LEAST_EXCESS * bad.rows:
        return known
    excess = bad.lost / bad.rows
    count = min(_OF_A_BIN, bad.rows)
    weight = count * excess / (1 + excess)
    uneven = count * bad.spread / bad.lost**2
    span = Span(1, weight, weight * bad.thinned, weight * uneven, weight * excess)
    spans = _merged((*known.spans, span))
    turned = known.turned if known.turned != 1 else _turned(spans)
    return replace(known, spans=spans, turned=turned)


def untold(rule: str, weights: BadWeights, seen: Counts, needed: float) -> str:
    """Why the canary's bad requests may be lost to sampling unseen; empty where they are not.

    Where sampling spares stable's, the canary's exposure rests on its being so there too, from the
    first bin on. That shows by its own bad rows; where it has none, by as many other rows that at
    stable's rate, of what was `seen` in the rollout, `needed` bad ones would have been expected.
    """
    stable, canary = weights
    if not spared(stable, _LEAST_MEAN) or canary.others.mean < _LEAST_MEAN:
        return ""
    if canary.telling < 1:
        rate = seen.stable_bad / max(1, seen.stable_events)
        enough = not canary.rows and canary.others.rows * rate >= needed
        return "" if enough else f"{rule}: {_SPARED}, and the canary has kept too few to tell"
    excess = canary.lost / canary.rows
    own, as_stable = 1 + canary.thinned * excess, 1 + stable.thinned * excess
    if own < _DIFFERS * as_stable:
        return ""
    return (
        f"{rule}: {_SPARED}, but a kept one of the canary stands for {own:.2g} requests and not "
        f"{as_stable:.2g}: sample both versions alike"
    )


def heavier(newer: Span, older: Span) -> float:
    """By what factor the newer bad rows weigh more than by the older was to be expected.

    1 where it is little, or where chance has it too often: by the likelihood ratio of two binomial
    shares, of the requests that sampling lost, from as many bins as tell.
    """
    thinned = [each.thinned / each.weight for each in (newer, older)]
    excess = newer.excess / newer.weight
    factor = (1 + thinned[0] * excess) / (1 + thinned[1] * excess)
    if 1 / _DIFFERS < factor < _DIFFERS:
        return 1.0
    most = max(1.0, *thinned)
    both = (newer.thinned + older.thinned) / (newer.weight + older.weight) / most
    evidence = sum(
        _telling(each, both) * divergence(share / most, both)
        for each, share in zip((newer, older), thinned, strict=True)
    )
    return factor if 2 * evidence >= _SURELY else 1.0


def _telling(span: Span, share: float) -> float:
    """How many bins, all of whose rows weigh alike, would tell as much."""
    return span.weight * (1 - share) / (1 - share + span.uneven / span.weight)


def _turned(spans: tuple[Span, ...]) -> float:
    """At the first parting, from the oldest on, that shows a change; 1 where none does."""
    return next((each for each in _partings(spans) if each != 1), 1.0)


def _partings(spans: tuple[Span, ...]) -> Iterator[float]:
    older = list(accumulate(spans))
    newer = list(accumulate(reversed(spans)))[::-1]
    for number in range(1, len(spans)):
        yield heavier(newer[number], older[number - 1])


def _merged(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """At most so many of each length, the oldest of too many being joined."""
    for bins in sorted({span.bins for span in spans}):
        of_it = [number for number, span in enumerate(spans) if span.bins == bins]
        if len(of_it) > _ALIKE:
            first = of_it[0]
            one, two = spans[first], spans[first + 1]
            return _merged((*spans[:first], one + two, *spans[first + 2 :]))
    return spans
