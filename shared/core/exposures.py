"""How what sampling left of the requests becomes exposures and bad events of one rule.

1. One kept bad row is one event, whatever its item count; the exposure shrinks to match.
2. A bin with a bad row shows what such rows weigh. In a bin without one they would have weighed
   what those before it did: where failures escape the sampling, none was lost, and the bin stands
   for all its requests. Taking its rows instead would make the other arm look guilty.
3. A bin learns only from the bins before it, so looks may cut the time up in any way.
4. Affected clients, where they are counted, need no such care: they are counted alike.
5. Where strata are known, a request or a client counts for as many as its stratum weighs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from shared.core import stats
from shared.core.evidence import Counts
from shared.core.telemetry import ArmBin, BinSeen, Rule


@dataclass(frozen=True, slots=True)
class BadWeight:
    """What one arm's bad rows so far stood for: `items` in all.

    `usual` is what as many average rows of the same bins stood for.
    """

    rows: float = 0.0
    items: float = 0.0
    usual: float = 0.0


# Of stable and of the canary.
type BadWeights = tuple[BadWeight, BadWeight]

UNKNOWN = BadWeight()


def counted(
    bins: Iterable[BinSeen], rule_number: int, known: BadWeights
) -> Iterator[tuple[int, Counts]]:
    """The bins as one rule's counts, in order; `known` is from the bins before the first."""
    for seen in _ordered(bins):
        stable, canary = known
        events, bad = exposure(seen.stable, rule_number, stable, canary)
        yield (
            seen.index,
            Counts(
                events,
                bad,
                *exposure(seen.canary, rule_number, canary, stable),
                requests=_requests(seen, rule_number),
            ),
        )
        known = _after(known, seen, rule_number)


def learnt(bins: Iterable[BinSeen], rule_number: int, known: BadWeights) -> BadWeights:
    """What is known of the bad rows' weights after these bins."""
    return reduce(lambda sofar, seen: _after(sofar, seen, rule_number), _ordered(bins), known)


def exposure(
    arm: ArmBin | None, rule_number: int, own: BadWeight, other: BadWeight
) -> tuple[float, float]:
    """Events and bad ones of one arm in one bin; `own` and `other` arm's bad rows before it."""
    if arm is None:
        return 0.0, 0.0
    exposed = arm.exposed[rule_number] if arm.exposed else None
    if arm.clients:
        active = arm.clients[rule_number] if exposed is None else exposed
        return active, arm.bad_clients[rule_number]
    items = arm.items if exposed is None else exposed
    bad_rows, bad = arm.bad_rows[rule_number], arm.bad[rule_number]
    if bad_rows and bad:
        return stats.effective(bad_rows, bad, arm.rows, items)
    return items / _expected_weight(mean_weight(arm), own, other), 0.0


def _requests(seen: BinSeen, rule_number: int) -> tuple[float, float, float, float] | None:
    """Plain requests and bad ones of both arms, where something else is counted."""
    if not any(arm and (arm.clients or arm.exposed) for arm in (seen.stable, seen.canary)):
        return None
    return (*_plain(seen.stable, rule_number), *_plain(seen.canary, rule_number))


def _plain(arm: ArmBin | None, rule_number: int) -> tuple[float, float]:
    if arm is None:
        return 0.0, 0.0
    bad_rows, bad = arm.bad_rows[rule_number], arm.bad[rule_number]
    return stats.effective(bad_rows, bad, arm.rows, arm.items)


def mean_weight(arm: ArmBin) -> float:
    """How many requests one row of this arm stands for; at least one."""
    return max(1.0, arm.items / arm.rows) if arm.rows else 1.0


def of_lookback(rules: tuple[Rule, ...], bins: Iterable[BinSeen]) -> Mapping[str, BadWeights]:
    """What stable's own past says of its bad rows, per rule."""
    mine = tuple(BinSeen(seen.index, seen.stable, None) for seen in bins)
    unknown = (UNKNOWN, UNKNOWN)
    return {rule.name: learnt(mine, number, unknown) for number, rule in enumerate(rules)}


def baseline(rules: tuple[Rule, ...], bins: tuple[BinSeen, ...]) -> Mapping[str, Counts]:
    """Stable's own counts before the start, per rule; the whole look says what bad rows weigh."""
    weights = of_lookback(rules, bins)
    return {
        rule.name: sum(
            (
                Counts(*exposure(seen.stable, number, weights[rule.name][0], UNKNOWN))
                for seen in bins
            ),
            Counts(),
        )
        for number, rule in enumerate(rules)
    }


def _ordered(bins: Iterable[BinSeen]) -> list[BinSeen]:
    return sorted(bins, key=lambda seen: seen.index)


def _after(known: BadWeights, seen: BinSeen, rule_number: int) -> BadWeights:
    stable, canary = known
    return _added(stable, seen.stable, rule_number), _added(canary, seen.canary, rule_number)


def _added(known: BadWeight, arm: ArmBin | None, rule_number: int) -> BadWeight:
    if arm is None or not arm.bad_rows[rule_number]:
        return known
    rows = arm.bad_rows[rule_number]
    return BadWeight(
        known.rows + rows,
        known.items + arm.bad[rule_number],
        known.usual + rows * mean_weight(arm),
    )


def _expected_weight(usual: float, own: BadWeight, other: BadWeight) -> float:
    """What a bad row would weigh in a bin where a row weighs `usual`."""
    told = own if own.rows else other
    if told.rows == told.items < told.usual:
        return 1.0  # each stood for itself in bins that were sampled: bad rows escape it
    ratio = told.items / told.usual if told.items else 1.0
    return max(1.0, usual * ratio)
