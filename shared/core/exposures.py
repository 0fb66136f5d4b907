"""How what sampling left of the requests becomes exposures and bad events of one rule.

1. One kept bad row is one event, whatever its item count; the exposure shrinks to match, by what
   is known of the version's bad rows (`bad_rows`).
2. A bin learns from none after it, so looks may cut the time up in any way.
3. Affected clients, where they are counted, need no such care: they are counted alike.
4. Where strata are known, a request or a client counts for as many as its stratum weighs.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce

from shared.core import bad_rows, steadiness
from shared.core.bad_rows import UNKNOWN, BadWeight, BadWeights
from shared.core.evidence import Counts
from shared.core.telemetry import ArmBin, BinSeen, Rule


def counted(
    bins: Iterable[BinSeen], rule_number: int, known: BadWeights
) -> Iterator[tuple[int, Counts]]:
    """The bins as one rule's counts, in order; `known` is from the bins before the first."""
    for seen in _ordered(bins):
        known = _after(known, seen, rule_number)
        stable, canary = known
        yield (
            seen.index,
            Counts(
                *exposure(seen.stable, rule_number, stable, canary),
                *exposure(seen.canary, rule_number, canary, stable),
                requests=_requests(seen, rule_number),
            ),
        )


def learnt(bins: Iterable[BinSeen], rule_number: int, known: BadWeights) -> BadWeights:
    """What is known of the bad rows' weights after these bins."""
    return reduce(
        lambda sofar, seen: _after(sofar, seen, rule_number, watch=True), _ordered(bins), known
    )


def exposure(
    arm: ArmBin | None, rule_number: int, own: BadWeight, other: BadWeight
) -> tuple[float, float]:
    """Events and bad ones of one arm in one bin; `own` and `other` arm's bad rows up to it."""
    if arm is None:
        return 0.0, 0.0
    exposed = arm.exposed[rule_number] if arm.exposed else None
    if arm.clients:
        active = arm.clients[rule_number] if exposed is None else exposed
        return active, arm.bad_clients[rule_number]
    items = arm.items if exposed is None else exposed
    bad = arm.bad_rows[rule_number]
    weight = 1.0 + bad_rows.thinning(own, other) * (mean_weight(arm) - 1.0)
    if bad:  # what is known may be of another time: never more bad events than events
        weight = min(weight, max(1.0, arm.items / bad))
    return items / weight, bad


def _requests(seen: BinSeen, rule_number: int) -> tuple[float, float, float, float] | None:
    """Plain requests and bad ones of both arms, where something else is counted."""
    if not any(arm and (arm.clients or arm.exposed) for arm in (seen.stable, seen.canary)):
        return None
    return (*_plain(seen.stable, rule_number), *_plain(seen.canary, rule_number))


def _plain(arm: ArmBin | None, rule_number: int) -> tuple[float, float]:
    """By what this bin alone shows, since half of it being bad needs no finer measure."""
    if arm is None:
        return 0.0, 0.0
    rows, bad = arm.bad_rows[rule_number], arm.bad[rule_number]
    return (arm.items * rows / bad, rows) if bad else (arm.rows, 0.0)


def mean_weight(arm: ArmBin) -> float:
    """How many requests one row of this arm stands for; at least one."""
    return max(1.0, arm.items / arm.rows) if arm.rows else 1.0


def of_lookback(rules: tuple[Rule, ...], bins: Iterable[BinSeen]) -> Mapping[str, BadWeights]:
    """What stable's own past says of its bad rows, per rule."""
    mine = tuple(BinSeen(seen.index, seen.stable, None) for seen in bins)
    unknown = (UNKNOWN, UNKNOWN)
    return {rule.name: learnt(mine, number, unknown) for number, rule in enumerate(rules)}


def baseline(
    rules: tuple[Rule, ...], bins: tuple[BinSeen, ...], weights: Mapping[str, BadWeights]
) -> Mapping[str, Counts]:
    """Stable's own counts before the start, per rule; the whole look says what bad rows weigh."""
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


def _after(
    known: BadWeights, seen: BinSeen, rule_number: int, *, watch: bool = False
) -> BadWeights:
    """What stable's bad rows weigh should last, for its counts of long ago count on.

    To count a bin needs no watch of that, which costs more than all else.
    """
    stable, canary = known
    if seen.stable:
        bad, others = bad_rows.of_bin(stable, seen.stable, rule_number)
        stable = bad_rows.added(stable, bad, others)
        stable = steadiness.watched(stable, bad) if watch else stable
    if seen.canary:
        canary = bad_rows.added(canary, *bad_rows.of_bin(canary, seen.canary, rule_number))
    return stable, canary
