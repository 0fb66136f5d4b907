"""The evidence state of one rule: small, constant, and the same for the same answers.

1. An answer REPLACES an open bin; asking again changes nothing.
2. Folding freezes bins for good; what grows afterwards is dropped.
3. Bins are added in the order of their index, whenever they came, so sums are equal to the bit.
4. The rollout's evidence outlives a change of weights, the step's does not.
5. At 100 % there is no stable arm: bins count for that step alone, each beside as many events of
   which just the objective is bad. Failures that cluster are then told from worse by the engine
   that tells them everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

from shared.core import stats
from shared.core.stats import EMPTY_TABLE, Table

MAX_OPEN_BINS = 512
DEAD_BINS = 2
_DEAD_BAD = 30
# Open bins of many rules at once: what did not change since the last look is not computed again.
_KEPT_TABLES = 512


@dataclass(frozen=True, slots=True)
class Counts:
    """Exposures and bad events of both arms.

    `requests`: the same four of plain requests, where clients are counted or strata weigh; of one
    bin only.
    """

    stable_events: float = 0
    stable_bad: float = 0
    canary_events: float = 0
    canary_bad: float = 0
    requests: tuple[float, float, float, float] | None = None

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.stable_events + other.stable_events,
            self.stable_bad + other.stable_bad,
            self.canary_events + other.canary_events,
            self.canary_bad + other.canary_bad,
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one rule has seen. A bin's index is floor(epoch seconds / bin length).

    `rollout_table`, `step_table`: folded log-likelihoods of the rollout and of the present step;
    `rollout`, `step`: totals folded so far; `step_bins`: folded bins of this step in which both
    arms served; `floor`: first bin not folded; `step_floor`: first bin wholly in this step;
    `open_bins`: sorted by index; `dead_bins`: dead bins in a row at the folded end, where 2 stays
    2 (the guard has tripped), and `dead`: the requests in them; `lone_bins`: folded bins of this
    step in which only the canary served, which is all there is at 100 %; `served_bins`: those in
    which any arm served; `rollout_bins`: folded bins in which both arms served; `objective`: the
    bad rate frozen for 100 %, 0 below that; `turned`: not 1 once stable's bad rows stand for so
    many times the requests that its counts rest on.
    """

    rollout_table: Table
    step_table: Table
    rollout: Counts
    step: Counts
    step_bins: int
    floor: int
    step_floor: int
    open_bins: tuple[tuple[int, Counts], ...]
    dead_bins: int
    lone_bins: int = 0
    rollout_bins: int = 0
    served_bins: int = 0
    objective: float = 0.0
    dead: Counts = Counts()
    turned: float = 1.0


def begin(floor: int) -> Evidence:
    """Nothing seen yet; bins before `floor` will never count."""
    none = Counts()
    return Evidence(EMPTY_TABLE, EMPTY_TABLE, none, none, 0, floor, floor, (), 0)


def gather(evidence: Evidence, bins: Iterable[tuple[int, Counts]]) -> Evidence:
    """Put bins (index, counts): each REPLACES the open bin of its index; folded ones ignore it.

    At most MAX_OPEN_BINS stay open; beyond that the newest are dropped, to be asked for again
    once older ones have been folded.
    """
    known = dict(evidence.open_bins)
    known.update((index, counts) for index, counts in bins if index >= evidence.floor)
    kept = sorted(known)[:MAX_OPEN_BINS]
    return replace(evidence, open_bins=tuple((index, known[index]) for index in kept))


def fold(evidence: Evidence, before_bin: int) -> Evidence:
    """Freeze the bins with an index below `before_bin`; later growth of them is ignored."""
    folded = [each for each in evidence.open_bins if each[0] < before_bin]
    if not folded:
        return replace(evidence, floor=max(evidence.floor, before_bin))
    of_step = [counts for index, counts in folded if index >= evidence.step_floor]
    held = [_held_against(evidence.objective, counts) for counts in of_step]
    shared = [counts for index, counts in folded if _is_shared(evidence, index)]
    served = [counts.stable_events > 0 for counts in of_step if counts.canary_events > 0]
    both_served = sum(served)
    dead_bins, dead = reduce(
        _dead_in_a_row, (each for _, each in folded), (evidence.dead_bins, evidence.dead)
    )
    return Evidence(
        rollout_table=stats.add(evidence.rollout_table, *(table_of(each) for each in shared)),
        step_table=stats.add(evidence.step_table, *(table_of(each) for each in held)),
        rollout=sum(shared, evidence.rollout),
        step=sum(of_step, evidence.step),
        step_bins=evidence.step_bins + both_served,
        floor=max(evidence.floor, before_bin),
        step_floor=evidence.step_floor,
        open_bins=evidence.open_bins[len(folded) :],
        dead_bins=dead_bins,
        lone_bins=evidence.lone_bins + len(served) - both_served,
        rollout_bins=evidence.rollout_bins + sum([_both_served(counts) for counts in shared]),
        served_bins=evidence.served_bins + sum([_any_served(counts) for counts in of_step]),
        objective=evidence.objective,
        dead=dead,
        turned=evidence.turned,
    )


def pass_by(evidence: Evidence, before_bin: int) -> Evidence:
    """Fold bins that were never read when they were complete: for the rollout, not for the step.

    What was seen of them may speak of harm; a pass rests on complete bins only.
    """
    folded = fold(replace(evidence, step_floor=max(evidence.step_floor, before_bin)), before_bin)
    return replace(folded, step_floor=evidence.step_floor)


def start_step(evidence: Evidence, from_bin: int, objective: float = 0.0) -> Evidence:
    """The weight changed: the step's evidence starts again, with bins from `from_bin` on.

    Open bins stay open and still count for the rollout; those before `from_bin` never count for
    the step. At 100 % the step's bins are held against the `objective`.
    """
    return replace(
        evidence,
        step_table=EMPTY_TABLE,
        step=Counts(),
        step_bins=0,
        lone_bins=0,
        served_bins=0,
        step_floor=from_bin,
        objective=objective,
    )


def _held_against(objective: float, counts: Counts) -> Counts:
    """The counts beside as many events of which just the objective is bad; as they are without."""
    if not objective:
        return counts
    events = counts.canary_events
    return Counts(events, events * objective, events, counts.canary_bad)


def total(evidence: Evidence, *, of_step: bool = False) -> Counts:
    """The counts so far, open bins included."""
    counted = evidence.step if of_step else evidence.rollout
    bins = (
        counts
        for index, counts in evidence.open_bins
        if (index >= evidence.step_floor if of_step else _is_shared(evidence, index))
    )
    return sum(bins, counted)


def _is_shared(evidence: Evidence, index: int) -> bool:
    """Whether a bin counts for the rollout: all do but those of 100 %."""
    return index < evidence.step_floor or not evidence.objective


def _both_served(counts: Counts) -> bool:
    return counts.stable_events > 0 and counts.canary_events > 0


def _any_served(counts: Counts) -> bool:
    return counts.stable_events > 0 or counts.canary_events > 0


@lru_cache(_KEPT_TABLES)
def table_of(counts: Counts) -> Table:
    """The log-likelihoods of one bin's counts."""
    return stats.log_likelihoods(
        counts.stable_events, counts.stable_bad, counts.canary_events, counts.canary_bad
    )


def _dead_in_a_row(before: tuple[int, Counts], counts: Counts) -> tuple[int, Counts]:
    """Dead bins in a row after this one, and their sum; one without canary traffic breaks no row.

    Requests tell, also where clients are counted: of clients that were bad before none is left to
    say that the canary is down. What strata weigh makes none of them alive either.
    """
    served = Counts(*counts.requests) if counts.requests else counts
    if before[0] >= DEAD_BINS or served.canary_events <= 0:
        return before
    dead = (
        served.canary_bad >= _DEAD_BAD
        and served.canary_bad >= served.canary_events / 2
        and served.stable_bad <= served.stable_events / 10
    )
    return (before[0] + 1, served + before[1]) if dead else (0, Counts())
