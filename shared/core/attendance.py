"""Who was there in the complete bins of one step, which its rules alone do not show.

1. An arm without rows in a bin is absent until the other arm has rows there and the bin is
   complete; then it was silent: zero requests, which is a finding and no gap.
2. A step starts anew, since weights and what may be expected of them have changed.
3. All of it is a few sums and one table, and depends on the bins only, not on the looks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from shared.core import exposures, stats
from shared.core.evidence import Counts, table_of
from shared.core.stats import EMPTY_TABLE, Table
from shared.core.telemetry import ArmBin, BinSeen, Rule


@dataclass(frozen=True, slots=True)
class Missed:
    """What the other arm served in complete bins since this arm's newest one."""

    requests: float = 0.0
    rows: float = 0.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """How the canary's bad events lie in the bins it served: all, and the two fullest bins."""

    bins: int = 0
    bad: float = 0.0
    most: float = 0.0
    second: float = 0.0


@dataclass(frozen=True, slots=True)
class Attendance:
    """One step's complete bins, from `first_bin` on.

    `missed`: of stable and of the canary; `requests`: by arm; `share_table`: likelihoods of the
    canary's share of the requests, relative to the one asked for; `crowds`: by rule;
    `most_clients`, `newest_clients`: where clients are counted, those not bad before, of the bin
    with most of them and of the newest, each with the bin's requests.
    """

    first_bin: int
    missed: tuple[Missed, Missed] = (Missed(), Missed())
    requests: tuple[float, float] = (0.0, 0.0)
    share_table: Table = EMPTY_TABLE
    crowds: Mapping[str, Crowd] | None = None
    most_clients: tuple[int, float] = (0, 0.0)
    newest_clients: tuple[int, float] = (0, 0.0)


def attended(
    known: Attendance, bins: Iterable[BinSeen], share: float, rules: tuple[Rule, ...]
) -> Attendance:
    """With these complete bins added; `share` is the canary's share by the weights in force."""
    for seen in bins:
        if seen.index >= known.first_bin and (_rows(seen.stable) or _rows(seen.canary)):
            known = _with(known, seen, share, rules)
    return known


def _with(known: Attendance, seen: BinSeen, share: float, rules: tuple[Rule, ...]) -> Attendance:
    before, crowds = known.crowds or {}, {}
    for number, rule in enumerate(rules):
        crowds[rule.name] = _crowded(before.get(rule.name, Crowd()), seen.canary, number)
    stable, canary = known.missed
    fresh = _clients(seen), _requests(seen.stable) + _requests(seen.canary)
    return replace(
        known,
        most_clients=max(known.most_clients, fresh),
        newest_clients=fresh,
        missed=(
            _missing(stable, seen.stable, seen.canary),
            _missing(canary, seen.canary, seen.stable),
        ),
        requests=(
            known.requests[0] + _requests(seen.stable),
            known.requests[1] + _requests(seen.canary),
        ),
        share_table=stats.add(known.share_table, _share_likelihoods(seen, share)),
        crowds=crowds,
    )


def _clients(seen: BinSeen) -> int:
    """Of the rule that has the fewest left."""
    arms = [arm.clients for arm in (seen.stable, seen.canary) if arm and arm.clients]
    return min(map(sum, zip(*arms, strict=True)), default=0)


def _missing(known: Missed, own: ArmBin | None, other: ArmBin | None) -> Missed:
    if _rows(own):
        return Missed()
    return Missed(known.requests + _requests(other), known.rows + _rows(other))


def _share_likelihoods(seen: BinSeen, share: float) -> Table:
    """Rows are the events; the weights, by what a row stands for, their exposures.

    An arm without rows tells no such weight and takes the other's.
    """
    weights = [exposures.mean_weight(arm) for arm in (seen.stable, seen.canary) if arm and arm.rows]
    return table_of(
        Counts(
            stable_events=(1 - share) / weights[0],
            stable_bad=_rows(seen.stable),
            canary_events=share / weights[-1],
            canary_bad=_rows(seen.canary),
        )
    )


def _crowded(known: Crowd, canary: ArmBin | None, rule_number: int) -> Crowd:
    if canary is None or not canary.rows:
        return known
    bad = canary.bad_rows[rule_number]
    most, second, _ = sorted((known.most, known.second, bad), reverse=True)
    return Crowd(known.bins + 1, known.bad + bad, most, second)


def _rows(arm: ArmBin | None) -> int:
    return arm.rows if arm else 0


def _requests(arm: ArmBin | None) -> float:
    return arm.items if arm else 0.0
