"""What a turn must ask telemetry, in which bins, and by which rules a step is judged.

A question begins where evidence was last complete, so one that failed is asked again in full; and
no later than the planned delay ago, so that rows slower than what is waited for now are seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, floor

from shared.core import judge
from shared.core.judge import Evidence
from shared.core.model import Phase, Plan, ProfileSeen, Rollout
from shared.core.risk import MIN_BINS
from shared.core.shadow import SHADOW_RULES
from shared.core.telemetry import Rule, Source, Standard
from shared.core.weights import FULL

# A look never asks for more than this; after an outage the rest comes with the next looks.
MAX_BINS = 240
# A source that shows no new row for this many bins beyond its ingestion delay is late.
QUIET_BINS = 5
# Judge.md's block rule: a bin at least twice the TTL, and never under a minute.
SHORTEST_BLOCK_S, SHORTEST_STANDARD_BLOCK_S = 60, 30
SHORTEST_BAKE_S = 180
SAMPLES_BIN_S = 10
# Judge.md, section 5: gauges are compared every 15 minutes; a day of them is looked back at.
LEVEL_BIN_S, MAX_LEVEL_BINS = 900, 96
DAY_S = 86_400

WATCHED = frozenset({Phase.SHIFTING, Phase.BAKING, Phase.HELD})


@dataclass(frozen=True, slots=True)
class Question:
    """One window of one rollout: bins from_bin (inclusive) to to_bin (exclusive), by arm.

    `thresholds_ms` are the frozen limits of rules that name a quantile; None asks for the
    quantiles. `step_bin` is the first bin of the step, from which affected clients are followed.
    `standard` is how requests count by their strata.
    """

    source: Source
    bin_s: int
    from_bin: int
    to_bin: int
    thresholds_ms: Mapping[str, float] | None = None
    step_bin: int | None = None
    standard: Standard | None = None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules whose bad requests are counted, in order, with their limits filled in."""
        known = self.thresholds_ms or {}
        return tuple(
            replace(rule, slower_than_ms=known[rule.name], slower_than_quantile=None)
            if rule.name in known
            else rule
            for rule in self.source.rules
        )


@dataclass(frozen=True, slots=True)
class LevelQuestion:
    """The gauges of a source in bins from_bin (inclusive) to to_bin (exclusive), by arm."""

    source: Source
    bin_s: int
    from_bin: int
    to_bin: int


def needed(plan: Plan, rollout: Rollout, at_s: float) -> Question | None:
    """What this rollout must know now: its open bins, or before the start stable's recent past.

    Limits that name a quantile are asked for before the start, and frozen afterwards.
    """
    if rollout.phase is Phase.PENDING:
        bin_s = lookback_bin_s(plan.source)
        now = bin_at(at_s, bin_s)
        return Question(plan.source, bin_s, now - lookback_s(plan.source) // bin_s, now)
    if rollout.phase not in WATCHED or not rollout.evidence or plan.steps[rollout.step].shadow:
        return None
    step_bin = _followed_from(plan, rollout)
    last = bin_at(at_s, rollout.bin_s) + 1
    planned = bin_at(at_s - plan.source.ingestion_delay_s, rollout.bin_s)
    first = max(min(read_up_to(rollout), max(planned, last - MAX_BINS)), step_bin or 0)
    return Question(
        plan.source,
        rollout.bin_s,
        first,
        min(last, first + MAX_BINS),
        thresholds_ms=rollout.thresholds_ms or {},
        step_bin=step_bin,
        standard=rollout.standard,
    )


def _followed_from(plan: Plan, rollout: Rollout) -> int | None:
    """The first bin in which clients of this step are followed: at most a day of them is read.

    Of earlier steps nothing is asked any more: who was bad when would need their windows too.
    """
    if plan.source.client is None:
        return None
    floors = [evidence.step_floor for evidence in (rollout.evidence or {}).values()]
    return max(min(floors), read_up_to(rollout) - DAY_S // rollout.bin_s)


def strata_needed(
    plan: Plan, rollout: Rollout, at_s: float, profile: ProfileSeen | None
) -> Question | None:
    """The strata to look at before the start, over the same past as all else; None without any.

    The longer a bin, the more strata a client is in: where clients are counted, the past is read in
    bins as long as the rollout's will be if every rule is foretold, once the TTL is known.
    """
    source = plan.source
    if rollout.phase is not Phase.PENDING or not source.strata:
        return None
    if source.client is None:
        return needed(plan, rollout, at_s)
    if profile is None:
        return None
    bin_s = _block_s(source, profile.ttl_s, SHORTEST_STANDARD_BLOCK_S)
    now = bin_at(at_s, bin_s)
    return Question(source, bin_s, now - max(1, lookback_s(source) // bin_s), now)


def levels_needed(plan: Plan, rollout: Rollout, at_s: float) -> LevelQuestion | None:
    """The gauges to look at now: bins of this step's bake that are over and, by now, complete.

    They are asked for once a bin, since every look is kept with all that it saw.
    """
    baking = rollout.phase in {Phase.BAKING, Phase.HELD} and rollout.wanted_percent > 0
    if not (baking and plan.source.gauges and rollout.bake_since_s is not None):
        return None
    last = level_bins_before(plan, rollout, at_s)
    first = max(ceil(rollout.bake_since_s / LEVEL_BIN_S), last - MAX_LEVEL_BINS)
    known = min([tilt.next_bin for tilt in (rollout.tilts or {}).values()], default=0)
    new = first < last and known < last
    return LevelQuestion(plan.source, LEVEL_BIN_S, first, last) if new else None


def level_bins_before(plan: Plan, rollout: Rollout, at_s: float) -> int:
    """Bins of gauges with a lower index were complete at this moment."""
    delay_s = max(rollout.delay_s or 0.0, plan.source.ingestion_delay_s)
    return bin_at(at_s - delay_s, LEVEL_BIN_S)


def bin_at(at_s: float, bin_s: int) -> int:
    """The index of the bin that holds this moment."""
    return floor(at_s / bin_s)


def lookback_s(source: Source) -> int:
    """How much of stable's recent past is read before the start: whole bins, at least one."""
    bin_s = lookback_bin_s(source)
    return max(1, floor(source.lookback_s / bin_s)) * bin_s


def lookback_bin_s(source: Source) -> int:
    """The bins of that look: only their sum counts, so they are as coarse as MAX_BINS asks."""
    return max(source.bin_s or SHORTEST_BLOCK_S, ceil(source.lookback_s / MAX_BINS))


def block_s(source: Source, ttl_s: int, standard: Standard | None = None) -> int:
    """The bin length: the plan's, or twice the TTL but not too short, as a divisor of a day.

    Blocks shorter than client caches live are not independent (judge.md, sections 3 and 9). Where
    every rule's exposures are standardised, what blocks share is small, and half as long will do.
    """
    known = standard.weights if standard else {}
    alike = all(rule.name in known for rule in source.rules)
    return _block_s(source, ttl_s, SHORTEST_STANDARD_BLOCK_S if alike else SHORTEST_BLOCK_S)


def _block_s(source: Source, ttl_s: int, shortest_s: int) -> int:
    if source.bin_s is not None:
        return source.bin_s
    least = max(shortest_s, 2 * ttl_s)
    return next((s for s in range(least, DAY_S) if DAY_S % s == 0), DAY_S)


def least_bins(plan: Plan, rollout: Rollout) -> int:
    """How many bins a step has at least before it passes: three, and three minutes of them.

    Where the plan says how long a bin is, and where samples are replayed, three are enough.
    """
    if plan.source.bin_s or plan.steps[rollout.step].shadow:
        return MIN_BINS
    return max(MIN_BINS, ceil(SHORTEST_BAKE_S / rollout.bin_s))


def read_up_to(rollout: Rollout) -> int:
    """Bins with a lower index were sealed when they were last read: a pass may rest on them."""
    return min((evidence.floor for evidence in (rollout.evidence or {}).values()), default=0)


def step_bin_s(plan: Plan, rollout: Rollout, index: int) -> int:
    """The bin length of a step. Replayed samples hang on no cache, so theirs may be short."""
    usual = block_s(plan.source, rollout.ttl_s, rollout.standard)
    return min(usual, SAMPLES_BIN_S) if plan.steps[index].shadow else usual


def rules_of(plan: Plan, index: int) -> tuple[str, ...]:
    """The rules a step is judged by: those of its samples at 0 %, those of telemetry above."""
    if plan.steps[index].shadow:
        return SHADOW_RULES
    return tuple(rule.name for rule in plan.source.rules)


def for_step(
    plan: Plan, rollout: Rollout, index: int, at_s: float
) -> Mapping[str, Evidence] | None:
    """The evidence to go to a step with: none of it, when samples no longer are what is judged."""
    by_samples = [plan.steps[at].shadow is not None for at in (rollout.step, index)]
    if rollout.evidence and by_samples[0] == by_samples[1]:
        return rollout.evidence
    first = bin_at(at_s, rollout.bin_s) + 1
    return {name: judge.begin(first) for name in rules_of(plan, index)}


def new_step(plan: Plan, rollout: Rollout, at_s: float) -> Mapping[str, Evidence]:
    """The weights of a step are in force from now: its evidence starts with the next whole bin."""
    first = bin_at(at_s, rollout.bin_s) + 1
    before = for_step(plan, rollout, rollout.step, at_s) or {}
    frozen = (rollout.objectives or {}) if rollout.wanted_percent == FULL else {}
    return {
        name: judge.start_step(evidence, first, frozen.get(name, 0.0))
        for name, evidence in before.items()
    }


def is_final(rollout: Rollout) -> bool:
    """Whether the weights of 100 % are in force: bins from this step's first on are the canary's.

    Before that, bins are still of the step below, and count as they did there.
    """
    return rollout.wanted_percent == FULL and rollout.bake_since_s is not None
