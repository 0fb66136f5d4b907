"""What must hold before any user meets the canary: all of it looked at, every fault told at once.

Three ends: ready, refused (with every reason), or waiting because something could not be seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from shared.core import (
    bad_rows,
    clients,
    exposures,
    gates,
    judge,
    questions,
    strata,
    weights,
    words,
)
from shared.core.bad_rows import BadWeights
from shared.core.events import Ticked
from shared.core.judge import Counts
from shared.core.model import Pair, Plan, Rollout
from shared.core.telemetry import Answer, Sight

# By simulation: with fewer rows good releases are taken back oftener than promised.
# Where bad rows are few beside the others, blocks without any of these hardly have a bad one.
_LEAST_ROWS, _MANY_BAD = 3, 1 / 4


@dataclass(frozen=True, slots=True)
class Preflight:
    """The outcome: `problems` refuse, `waiting` waits; neither means ready."""

    problems: tuple[str, ...] = ()
    waiting: str = ""


def check(plan: Plan, rollout: Rollout, ticked: Ticked) -> Preflight:
    """Everything that can be said about this plan from this look."""
    if ticked.traffic.sight is Sight.FAILED:
        return Preflight(waiting=f"Traffic Manager could not be read: {ticked.traffic.reason}")
    profile_problems = tuple(_profile_problems(plan, ticked))
    problems = (*profile_problems, *_evidence_problems(plan, ticked))
    if not problems and ticked.answer and ticked.answer.sight is not Sight.FAILED:
        ready = prepare(plan, rollout, ticked)
        problems = (*_power_problems(plan, ready), *_sampling_problems(plan, ready))
    waiting = ""
    if ticked.answer is None or ticked.answer.sight is Sight.FAILED:
        why = ticked.answer.reason if ticked.answer else "it was not asked"
        waiting = f"telemetry could not be asked: {why}"
    elif plan.source.strata and (ticked.strata is None or ticked.strata.sight is Sight.FAILED):
        why = ticked.strata.reason if ticked.strata else "they were not asked"
        waiting = f"the strata could not be asked: {why}"
    return Preflight(problems, "" if problems else waiting)


def prepare(plan: Plan, rollout: Rollout, ticked: Ticked) -> Rollout:
    """The rollout with all that must be remembered from before the first write."""
    profile = ticked.traffic.profile
    pair = gates.pair_of(plan, profile)
    if profile is None or pair is None or ticked.answer is None:
        raise ValueError("a rollout is prepared only from a look that saw profile and telemetry")
    past = ticked.strata.seen if ticked.strata else ()
    standard = strata.standard_of(plan.source.rules, past) if plan.source.strata else None
    bin_s = questions.block_s(plan.source, profile.ttl_s, standard)
    bad_weights = exposures.of_lookback(plan.source.rules, ticked.answer.bins)
    return replace(
        rollout,
        before=pair,
        last_pair=pair,
        places=gates.places(plan, profile),
        kinds=gates.kinds(plan, profile),
        scale=scale_for(plan, pair),
        ttl_s=profile.ttl_s,
        bin_s=bin_s,
        baseline=_baseline(plan, ticked.answer, bad_weights),
        thresholds_ms=ticked.answer.quantiles_ms or {},
        standard=standard,
        last_row_s=ticked.answer.newest_s,
        moved_at_s=ticked.at_s,
        bad_weights=bad_weights,
    )


def scale_for(plan: Plan, pair: Pair) -> int:
    """The sum the pair's weights will keep: stable's own weight, or 1000 where that is allowed."""
    own = pair.stable.weight
    if plan.rescale and not _fits(plan, own):
        return weights.MAX_WEIGHT
    return own


def _fits(plan: Plan, scale: int) -> bool:
    return all(weights.expresses(scale, step.percent) for step in plan.steps)


def _profile_problems(plan: Plan, ticked: Ticked) -> list[str]:
    traffic = ticked.traffic
    trouble = gates.trouble(plan, traffic)
    pair = gates.pair_of(plan, traffic.profile)
    problems = [trouble] if trouble else []
    if pair is not None:
        problems += _pair_problems(plan, ticked, pair)
    if traffic.profile and plan.source.bin_s and plan.source.bin_s < traffic.profile.ttl_s:
        problems.append(
            f"evidence.bin is {plan.source.bin_s} s, the profile's TTL {traffic.profile.ttl_s} s: "
            "bins shorter than client caches live are not independent; lower the TTL"
        )
    if ticked.probe is None:
        problems.append("the canary was not probed")
    elif not ticked.probe.healthy:
        problems.append(f"the canary does not answer its monitor path: {ticked.probe.reason}")
    return problems


def _pair_problems(plan: Plan, ticked: Ticked, pair: Pair) -> list[str]:
    problems = []
    if pair.canary.enabled:
        problems.append(f"canary endpoint {plan.canary} must start disabled (0 %), it is enabled")
    if not pair.stable.enabled:
        problems.append(f"stable endpoint {plan.stable} is disabled")
    others = [
        e.name
        for e in (ticked.traffic.profile.endpoints if ticked.traffic.profile else ())
        if e.enabled and e.name.casefold() not in {plan.stable.casefold(), plan.canary.casefold()}
    ]
    if not _fits(plan, pair.stable.weight):
        problems += _scaling_problems(plan, pair.stable.weight, others)
    return problems


def _scaling_problems(plan: Plan, own: int, others: list[str]) -> list[str]:
    smallest = min(step.percent for step in plan.steps if step.percent)
    lacking = f"stable's weight {own} cannot express {smallest:g} %"
    if not _fits(plan, weights.MAX_WEIGHT):
        return [f"{lacking}, nor can any weight up to {weights.MAX_WEIGHT}"]
    if others:
        factor = ceil(100 / smallest / own)
        remedy = (
            f"{lacking}; multiply all weights of the profile by {factor} first "
            f"(Linnet rescales only a pair that is alone, here is also {', '.join(others)})"
        )
        return [remedy]
    return [] if plan.rescale else [f"{lacking}; allow `rescale: true` or raise the weight"]


def _evidence_problems(plan: Plan, ticked: Ticked) -> list[str]:
    answer = ticked.answer
    if answer is None or answer.sight is Sight.FAILED:
        return []
    if not any(seen.stable for seen in answer.bins):
        arms = plan.source.arms
        nothing = (
            f"telemetry shows no request with {plan.source.where(repr(arms.stable))} "
            f"in the last {plan.source.lookback_s:.0f} s: there is nothing to compare with"
        )
        bare = f"; {100 * answer.unlabelled:.0f} % of the rows carry no {arms.column}"
        return [nothing + (bare if answer.unlabelled else "")]
    unknown = clients.keyless(plan.source, answer)
    return [*_unknown_limits(plan, answer), *([unknown] if unknown else [])]


def _unknown_limits(plan: Plan, answer: Answer) -> list[str]:
    known = answer.quantiles_ms or {}
    return [
        f"rule {rule.name}: stable's p{100 * rule.slower_than_quantile:g} could not be had from "
        "the requests before the start; give slower_than as a duration"
        for rule in plan.source.rules
        if rule.slower_than_quantile is not None and rule.name not in known
    ]


def _baseline(plan: Plan, answer: Answer, known: Mapping[str, BadWeights]) -> Mapping[str, Counts]:
    """Stable's own counts; those of a quantile follow from what it is, and need no counting."""
    before = dict(exposures.baseline(plan.source.rules, answer.bins, known))
    for number, rule in enumerate(plan.source.rules):
        if rule.slower_than_quantile is not None:
            tries = _requests_per_event(answer, number)
            events = before[rule.name].stable_events
            bad = events * (1 - rule.slower_than_quantile**tries)
            before[rule.name] = Counts(events, bad)
    return before


def _requests_per_event(answer: Answer, number: int) -> float:
    """How many requests may turn an event bad: one, or those of an active client in a bin.

    Counted among rows, since a client is seen only in what sampling kept.
    """
    seen = [each.stable for each in answer.bins if each.stable]
    clients = sum(arm.clients[number] for arm in seen if arm.clients)
    return sum(arm.rows for arm in seen) / clients if clients else 1.0


def _power_problems(plan: Plan, rollout: Rollout) -> list[str]:
    """Steps that this traffic cannot decide within their longest bake."""
    problems = []
    for number, step in enumerate(plan.steps[:-1]):
        if step.shadow:
            continue
        share, following = step.percent / 100, plan.steps[number + 1].percent / 100
        slowest_s = max(
            _time_to_pass_s(plan, rollout, rule.name, share, following)
            for rule in plan.source.rules
        )
        if slowest_s > step.bake_max_s:
            takes = "no bake is long enough" if slowest_s == float("inf") else f"{slowest_s:.0f} s"
            problems.append(
                f"step {number + 1} ({step.percent:g} %) cannot be decided with this traffic: "
                f"a pass takes about {takes}, bake.max is {step.bake_max_s:.0f} s; "
                "raise bake.max, the tolerance or the percentage"
            )
    return problems


def _sampling_problems(plan: Plan, rollout: Rollout) -> list[str]:
    """Sampling that has changed, or keeps failures and so few others that counts are a guess."""
    if plan.source.client is not None:
        return []
    percent = min(step.percent for step in plan.steps if step.percent)
    known = rollout.bad_weights or {}
    turned = ((rule, stable.turned) for rule, (stable, _) in known.items() if stable.turned != 1)
    problems = [words.unsteady(*each) for each in turned]
    for rule, (stable, _) in known.items():
        a_block = stable.others.rows * _share_of_a_bin(plan, rollout) * percent / 100
        few = a_block < _LEAST_ROWS and stable.rows > _MANY_BAD * stable.others.rows
        if few and bad_rows.spared(stable):
            problems.append(
                f"rule {rule}: sampling spares bad requests, and of the canary's other requests it "
                f"would keep {a_block:.2g} a block at {percent:g} %, at least {_LEAST_ROWS} are "
                "needed to know how many there were; keep more, begin with a larger step, or set "
                "a longer evidence.bin"
            )
    return problems


def _time_to_pass_s(
    plan: Plan, rollout: Rollout, rule: str, share: float, following: float
) -> float:
    before = (rollout.baseline or {})[rule]
    if before.stable_events <= 0:
        return float("inf")
    per_bin = before.stable_events * _share_of_a_bin(plan, rollout)
    rate = before.stable_bad / before.stable_events
    least = questions.least_bins(plan, rollout)
    bins = judge.bins_to_pass(per_bin, rate, share, following, plan.source.risk, least)
    return float("inf") if bins is None else bins * rollout.bin_s


def _share_of_a_bin(plan: Plan, rollout: Rollout) -> float:
    """The share of the events before the start that one bin can expect.

    A longer bin has more requests, but hardly more clients: they are the same ones again.
    """
    bin_s = rollout.bin_s
    if plan.source.client is not None:
        bin_s = min(bin_s, questions.lookback_bin_s(plan.source))
    return bin_s / questions.lookback_s(plan.source)
