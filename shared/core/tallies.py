"""How the tally of a dark launch becomes evidence, and why it may show nothing.

The record holds what was learnt: where stable differs from itself. Samples are judged by that, so
a change of it counts from the next sample on and never backwards.
"""

from dataclasses import replace

from shared.core import judge, tally
from shared.core.model import Phase, Plan, Rollout
from shared.core.questions import QUIET_BINS, bin_at
from shared.core.shadow import SHADOW_RULES, Shadow
from shared.core.tally import Tally

# A batch is judged, and written down, within this time of the bin it counts in.
SEALED_AFTER_S = 60.0
# Where stable differs from itself in this share of its samples, nothing is held against a canary.
NOISY_SHARE = 0.01

REPLAYED = frozenset({Phase.BAKING, Phase.HELD})


def wanted(plan: Plan, rollout: Rollout) -> Shadow | None:
    """What samples are replayed for, if this rollout wants any now."""
    baking = rollout.phase in REPLAYED and rollout.bake_since_s is not None
    return plan.steps[rollout.step].shadow if baking else None


def learning(shadow: Shadow, rollout: Rollout) -> bool:
    """Whether samples still only teach what is noise."""
    return rollout.noise_samples < shadow.learn


def learn(shadow: Shadow, rollout: Rollout, seen: Tally | None, at_s: float) -> Rollout:
    """The rollout with the tally's bins put in place, and the noise known so far."""
    if seen is None or not rollout.evidence:
        return rollout
    sealed = bin_at(at_s - sealed_after_s(shadow, rollout), rollout.bin_s)
    known = {
        name: judge.fold(
            judge.gather(rollout.evidence[name], tally.counts(seen, number)),
            sealed,
        )
        for number, name in enumerate(SHADOW_RULES)
    }
    return replace(
        rollout,
        evidence=known,
        samples=seen.samples,
        noise_samples=seen.noise_samples,
        noisy=tuple(sorted(tally.noisy(seen, NOISY_SHARE))),
    )


def sealed_after_s(shadow: Shadow, rollout: Rollout) -> float:
    """How long a bin may still grow: while its last batch is replayed and written."""
    return min(SEALED_AFTER_S, 2 * shadow.timeout_s + rollout.bin_s)


def blindness(shadow: Shadow, rollout: Rollout, seen: Tally | None, at_s: float) -> str:
    """Why the samples show nothing now; empty when they do."""
    if seen is None:
        return "the samples were not counted"
    newest_s = max(seen.newest_s, rollout.bake_since_s or rollout.phase_since_s)
    quiet_s = at_s - newest_s
    patience_s = sealed_after_s(shadow, rollout) + QUIET_BINS * rollout.bin_s
    if quiet_s <= patience_s:
        return ""
    return f"{_silence(shadow, seen)} for {quiet_s:.0f} s, {patience_s:.0f} s are allowed"


def _silence(shadow: Shadow, seen: Tally) -> str:
    if seen.samples >= shadow.most_samples:
        return f"all {shadow.most_samples} samples that the plan allows were replayed: none is new"
    if seen.samples:
        return "no further sample was replayed"
    if seen.skipped:
        return f"{seen.skipped} samples came and were skipped: none was replayed"
    return "no sample has come"


def too_few(shadow: Shadow, rollout: Rollout) -> str:
    """Why more samples are needed, whatever those so far show; empty when they are enough."""
    if learning(shadow, rollout):
        return (
            "what is noise is still learnt: "
            f"stable answered {rollout.noise_samples} of {shadow.learn} samples again"
        )
    if rollout.samples < shadow.samples:
        return f"only {rollout.samples} of {shadow.samples} samples were compared"
    return ""
