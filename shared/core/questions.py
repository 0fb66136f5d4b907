"""What a turn must ask telemetry, and how an answer becomes evidence.

Four ends are kept apart: SEEN, ABSENT (the source has nothing), LATE (it has nothing new) and
FAILED (it could not be asked). Only SEEN bins are folded, and only up to the watermark, so a
question that failed is asked again in full.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, floor

from shared.core import judge, stats
from shared.core.judge import Counts, Evidence
from shared.core.model import Phase, Plan, Rollout
from shared.core.shadow import SHADOW_RULES
from shared.core.telemetry import Answer, ArmBin, Rule, Sight, Source, Standard

# A look never asks for more than this; after an outage the rest comes with the next looks.
MAX_BINS = 240
# A source that shows no new row for this many bins beyond its ingestion delay is late.
QUIET_BINS = 5
# Judge.md's block rule: a bin at least twice the TTL, and never under a minute.
SHORTEST_BLOCK_S = 60
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
    first = max(read_up_to(rollout), step_bin or 0)
    last = bin_at(at_s, rollout.bin_s) + 1
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


def strata_needed(plan: Plan, rollout: Rollout, at_s: float) -> Question | None:
    """The strata to look at before the start, over the same past as all else; None without any."""
    if rollout.phase is not Phase.PENDING or not plan.source.strata:
        return None
    return needed(plan, rollout, at_s)


def levels_needed(plan: Plan, rollout: Rollout, at_s: float) -> LevelQuestion | None:
    """The gauges to look at now: bins of this step's bake that are over and, by now, complete.

    They are asked for once a bin, since every look is kept with all that it saw.
    """
    baking = rollout.phase in {Phase.BAKING, Phase.HELD} and rollout.wanted_percent > 0
    if not (baking and plan.source.gauges and rollout.bake_since_s is not None):
        return None
    last = _level_bins_before(plan, at_s)
    first = max(ceil(rollout.bake_since_s / LEVEL_BIN_S), last - MAX_LEVEL_BINS)
    known = _level_bins_before(plan, rollout.looked_at_s or 0.0)
    new = first < last and known < last
    return LevelQuestion(plan.source, LEVEL_BIN_S, first, last) if new else None


def _level_bins_before(plan: Plan, at_s: float) -> int:
    """Bins of gauges with a lower index were complete at this moment."""
    return bin_at(at_s - plan.source.ingestion_delay_s, LEVEL_BIN_S)


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


def block_s(source: Source, ttl_s: int) -> int:
    """The bin length: the plan's, or max(1 minute, 2 x TTL) rounded up to a divisor of a day.

    Blocks shorter than client caches live are not independent (judge.md, sections 3 and 9).
    """
    if source.bin_s is not None:
        return source.bin_s
    least = max(SHORTEST_BLOCK_S, 2 * ttl_s)
    return next((s for s in range(least, DAY_S) if DAY_S % s == 0), DAY_S)


def sealed_before(plan: Plan, rollout: Rollout, at_s: float) -> int:
    """Bins with a lower index are complete: the ingestion delay has passed since they ended."""
    return bin_at(at_s - plan.source.ingestion_delay_s, rollout.bin_s)


def read_up_to(rollout: Rollout) -> int:
    """Bins with a lower index were sealed when they were last read: a pass may rest on them."""
    return min((evidence.floor for evidence in (rollout.evidence or {}).values()), default=0)


def learn(plan: Plan, rollout: Rollout, answer: Answer | None, at_s: float) -> Rollout:
    """The rollout with the answer's bins put in place and what is old enough folded.

    An empty answer about bins that are all sealed says that nothing was there: it is passed by.
    """
    if answer is None or answer.sight is Sight.FAILED or not rollout.evidence:
        return rollout
    sealed = sealed_before(plan, rollout, at_s)
    if answer.sight is not Sight.SEEN and answer.to_bin > sealed:
        return rollout
    before = min(sealed, answer.to_bin)
    known = {
        rule.name: judge.fold(
            judge.gather(rollout.evidence[rule.name], counted(answer, number)), before
        )
        for number, rule in enumerate(plan.source.rules)
    }
    newest = max(answer.newest_s or 0.0, rollout.last_row_s or 0.0) or None
    return replace(rollout, evidence=known, last_row_s=newest)


def counted(answer: Answer, rule_number: int) -> Iterator[tuple[int, Counts]]:
    """The answer's bins as one rule's counts; sampled rows stand for their effective size."""
    for seen in answer.bins:
        stable_events, stable_bad = exposure(seen.stable, rule_number)
        canary_events, canary_bad = exposure(seen.canary, rule_number)
        yield seen.index, Counts(stable_events, stable_bad, canary_events, canary_bad)


def exposure(arm: ArmBin | None, rule_number: int) -> tuple[float, float]:
    """Events and bad ones of one arm in one bin (judge.md, section 5: rows, never itemCount)."""
    if arm is None:
        return 0.0, 0.0
    return stats.effective(arm.bad_rows[rule_number], arm.bad[rule_number], arm.rows, arm.items)


def blindness(plan: Plan, rollout: Rollout, answer: Answer | None, at_s: float) -> str:
    """Why the evidence cannot be seen now; empty when it can.

    An empty window is ABSENT for one look and LATE for the rollout: both are told by the age
    of the newest row, so that a quiet minute of a quiet service is no blindness.
    """
    if answer is None:
        return "telemetry was not asked"
    if answer.sight is Sight.FAILED:
        return f"telemetry could not be asked: {answer.reason}"
    last = rollout.last_row_s or rollout.phase_since_s
    age = at_s - last
    patience = plan.source.ingestion_delay_s + QUIET_BINS * rollout.bin_s
    if age <= patience:
        behind = sealed_before(plan, rollout, at_s) - answer.to_bin
        catching_up = answer.sight is Sight.SEEN and behind > 0
        return f"telemetry is still read {behind} bins behind" if catching_up else ""
    if rollout.last_row_s is None:
        return f"telemetry is absent: no row of either version since the start ({age:.0f} s)"
    return f"telemetry is late: the newest row is {age:.0f} s old, {patience:.0f} s are allowed"


def baseline(plan: Plan, answer: Answer) -> Mapping[str, Counts]:
    """Stable's own counts before the start, per rule."""
    return {
        rule.name: sum((Counts(*exposure(seen.stable, number)) for seen in answer.bins), Counts())
        for number, rule in enumerate(plan.source.rules)
    }


def step_bin_s(plan: Plan, rollout: Rollout, index: int) -> int:
    """The bin length of a step. Replayed samples hang on no cache, so theirs may be short."""
    usual = block_s(plan.source, rollout.ttl_s)
    return min(usual, SAMPLES_BIN_S) if plan.steps[index].shadow else usual


def rules_of(plan: Plan, index: int) -> tuple[str, ...]:
    """The rules a step is judged by: those of its samples at 0 %, those of telemetry above."""
    if plan.steps[index].shadow:
        return SHADOW_RULES
    return tuple(rule.name for rule in plan.source.rules)


def for_step(
    plan: Plan, rollout: Rollout, index: int, at_s: float
) -> Mapping[str, Evidence] | None:
    """The evidence to go to a step with: none of it, when the step is judged by other rules."""
    rules, first = rules_of(plan, index), bin_at(at_s, rollout.bin_s) + 1
    if tuple(rollout.evidence or ()) == rules:
        return rollout.evidence
    return {name: judge.begin(first) for name in rules}


def new_step(plan: Plan, rollout: Rollout, at_s: float) -> Mapping[str, Evidence]:
    """The weights of a step are in force from now: its evidence starts with the next whole bin."""
    first = bin_at(at_s, rollout.bin_s) + 1
    before = for_step(plan, rollout, rollout.step, at_s) or {}
    return {name: judge.start_step(evidence, first) for name, evidence in before.items()}
