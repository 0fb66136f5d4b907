"""Gauges as advice: in how many quarters of an hour the canary's level was over stable's.

A quarter is one event, because levels are nearly the same from minute to minute: judged each
minute, chance alone would speak against the canary half of the time. Nothing is decided by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.core import stats, words
from shared.core.risk import Risk, fail_bound
from shared.core.stats import Table
from shared.core.telemetry import Advice, Gauge, Level, Levels, Sight

# Of several instances one may well be the busier: only clearly more than half the quarters speak.
_WORSE_THAN = 1.5


@dataclass(frozen=True, slots=True)
class Tilt:
    """The quarters of one gauge so far: how many, in how many the canary was over; the next bin.

    No more is needed: one quarter's likelihoods are like another's of the same outcome.
    """

    next_bin: int
    bins: int = 0
    over: int = 0


def learnt(
    gauges: tuple[Gauge, ...],
    known: Mapping[str, Tilt],
    seen: Levels | None,
    bins: tuple[int, int],
) -> Mapping[str, Tilt]:
    """With the complete quarters of this look; `bins`: the first that counts, and the end."""
    first, end = bins
    before = {gauge.name: known.get(gauge.name, Tilt(first)) for gauge in gauges}
    if seen is None or seen.sight is Sight.FAILED:
        return before
    shown = seen.by_gauge or {}
    return {
        gauge.name: _with(before[gauge.name], shown.get(gauge.name, ()), gauge.above, end)
        for gauge in gauges
    }


def advice(gauge: Gauge, tilt: Tilt, seen: Levels | None, risk: Risk) -> Advice:
    """What this gauge has shown so far, in words."""
    if seen is not None and seen.sight is Sight.FAILED:
        unseen = f"{gauge.name}: the levels could not be asked: {seen.reason}; advice only"
        return Advice(gauge.name, off=False, sentence=unseen)
    if not tilt.bins:
        unseen = f"{gauge.name}: no quarter of an hour with {gauge.metric} of both versions so far"
        return Advice(gauge.name, off=False, sentence=f"{unseen}; advice only")
    needed = fail_bound(risk)
    evidence = stats.log_e_worse(stats.profile(_likelihoods(tilt)), _WORSE_THAN)
    sentence = (
        f"{gauge.name}: the canary's level was more than {100 * gauge.above:g} % over stable's in "
        f"{tilt.over} of {tilt.bins} quarters of an hour; "
        f"evidence {words.of_needed(evidence, needed)}; advice only"
    )
    return Advice(gauge.name, off=evidence >= needed, sentence=sentence)


def _with(known: Tilt, levels: tuple[Level, ...], above: float, end: int) -> Tilt:
    higher = [
        level.canary > (1 + above) * level.stable
        for level in levels
        if known.next_bin <= level.index < end
        and level.canary is not None
        and level.stable is not None
    ]
    bins, over = known.bins + len(higher), known.over + sum(higher)
    return Tilt(max(known.next_bin, end), bins, over)


def _likelihoods(tilt: Tilt) -> Table:
    """Of all quarters together."""
    over, under = stats.log_likelihoods(1, 0, 1, 1), stats.log_likelihoods(1, 1, 1, 0)
    rest = tilt.bins - tilt.over
    return tuple(tilt.over * a + rest * b for a, b in zip(over, under, strict=True))
