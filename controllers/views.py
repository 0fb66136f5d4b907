"""How things are shown: rollouts, verdicts, history, alerts and rejected messages as plain JSON.

Nothing here asks the world; what a dark launch found is shown as it was kept, redacted.
"""

import base64
from datetime import UTC, datetime
from typing import Any

from shared.core import tally, weights
from shared.core.alerts import Spell
from shared.core.judge import NO_EVIDENCE, Counts, Verdict, Weighing
from shared.core.model import Pair, Plan, Rollout
from shared.core.risk import alone
from shared.core.tally import Place, Tally
from shared.ports import HistoryRow, Rejected
from shared.record import row_to_dict

SHOWN_BYTES = 262_144
SHOWN_PLACES = 20

type Json = dict[str, Any]


def summary(plan: Plan, rollout: Rollout) -> Json:
    """A rollout in a line: where it is, since when, and why in its own sentence."""
    return {
        "name": rollout.name,
        "phase": rollout.phase.value,
        "since": timestamp(rollout.phase_since_s),
        "started": timestamp(rollout.started_at_s),
        "by": rollout.by,
        "step": rollout.step + 1,
        "of_steps": len(plan.steps),
        "wanted_percent": rollout.wanted_percent,
        "weights": spoken(rollout.last_pair),
        "request_share_percent": request_share_percent(rollout),
        "sentence": rollout.sentence,
        "hold": None if rollout.hold is None else rollout.hold.reason,
        "reasons": list(rollout.reasons),
    }


def request_share_percent(rollout: Rollout) -> float | None:
    """The canary's share of the requests in this step's complete blocks; None before any.

    Of requests, whatever the judge counts; in a dark launch none is a user's, and it is None.
    """
    if rollout.attendance is None:
        return None
    stable, canary = rollout.attendance.requests
    return round(100 * canary / (stable + canary), 2) if stable + canary else None


def explained(verdict: Verdict | None) -> Json | None:
    """A verdict with every number a person might ask for; evidence is a log e-value."""
    if verdict is None:
        return None
    return {
        "kind": verdict.kind.value,
        "sentence": verdict.sentence,
        "unit": verdict.unit or None,
        "unit_before": verdict.unit_before or None,
        "evidence_of_harm": evidence(verdict.worse, verdict.needed),
        "lag_s": None if verdict.lag_s is None else round(verdict.lag_s, 1),
        "rules": [rule(weighing, verdict) for weighing in verdict.weighings],
    }


def rule(weighing: Weighing, verdict: Verdict) -> Json:
    """One rule: the rollout's numbers, on which harm rests, and this step's, on which no harm does.

    There is no evidence of no harm while no pass can be drawn, and at 100 %, where instead the
    canary is held against a frozen objective. Of harm, what one rule needs if no other shows any.
    """
    no_harm, over = None, None
    if weighing.margin is not None:
        shown = evidence(weighing.no_harm, verdict.pass_needed)
        no_harm = {**shown, "route": weighing.route.value}
    if weighing.over:
        over = evidence(weighing.over, verdict.needed)
    return {
        "rule": weighing.rule,
        **both_arms(weighing.counts, weighing.rollout_bins),
        "ratio": None if weighing.ratio is None else round(weighing.ratio, 3),
        "ratio_interval": [weighing.ratio_low, weighing.ratio_high],
        "margin": weighing.margin,
        "evidence_of_harm": evidence(weighing.worse, alone(verdict.needed, len(verdict.weighings))),
        "evidence_of_no_harm": no_harm,
        "evidence_over_objective": over,
        "step": both_arms(weighing.step_counts, weighing.step_bins),
        "passed": weighing.passed,
    }


def both_arms(counts: Counts, blocks: int) -> Json:
    """What both arms served, how much of it was bad, and in how many blocks."""
    return {
        "canary": arm(counts.canary_bad, counts.canary_events),
        "stable": arm(counts.stable_bad, counts.stable_events),
        "blocks": blocks,
    }


def arm(bad: float, events: float) -> Json:
    """One arm's counts and its rate."""
    return {"bad": bad, "events": events, "percent": 100 * bad / events if events else None}


def evidence(seen: float, needed: float | None) -> Json:
    """Evidence beside its bound; none where no rule has bad events enough to be heard.

    Older records do not tell the bound of a pass.
    """
    known = None if seen <= NO_EVIDENCE else round(seen, 3)
    return {"seen": known, "needed": None if needed is None else round(needed, 3)}


def advice(rollout: Rollout) -> list[Json]:
    """What people should know besides, and no decision rests on."""
    return [
        {"name": each.name, "off": each.off, "sentence": each.sentence} for each in rollout.advice
    ]


def standardised(plan: Plan, rollout: Rollout) -> Json:
    """By which columns exposures are standardised, and in how many strata each rule's are.

    None is a rule whose failures strata did not foretell. Nothing is said where the plan names no
    columns, and until they are frozen at the start.
    """
    if rollout.standard is None:
        return {}
    known = rollout.standard
    counted = {
        rule.name: len(known.keys) if rule.name in known.weights else None
        for rule in plan.source.rules
    }
    return {"strata": list(plan.source.strata), "standardised": counted}


def history_row(row: HistoryRow) -> Json:
    """A history row for people: the event's kind and what it led to."""
    whole = row_to_dict(row)
    event = whole.pop("event")
    said = {key: event[key] for key in ("by", "reason", "from_step", "rule") if key in event}
    at = timestamp(row.event.at_s)
    return {**whole, "at": at, "event": event["kind"], **said, "verdict": explained(row.verdict)}


def rates(rollout: Rollout) -> Json:
    """Stable's bad rate before the start, per rule."""
    return {
        name: [counts.stable_bad, counts.stable_events]
        for name, counts in (rollout.baseline or {}).items()
    }


def shadow(rollout: Rollout, seen: Tally) -> Json:
    """What a dark launch has shown: how many samples, what is noise, and where answers differ."""
    return {
        "samples": seen.samples,
        "noise_samples": seen.noise_samples,
        "different": seen.different,
        "unreachable": seen.unreachable,
        "skipped": seen.skipped,
        "noise": list(rollout.noisy),
        "places": [place(seen, *each) for each in tally.top(seen, SHOWN_PLACES)],
        "elsewhere": seen.elsewhere,
    }


def place(seen: Tally, name: str, counted: Place) -> Json:
    """One place, and the shares of canary's and stable's answers that differ there."""
    canary, stable = tally.shares(seen, counted)
    return {
        "path": name,
        "kinds": counted.kinds.split(),
        "canary_percent": round(100 * canary, 3),
        "stable_percent": round(100 * stable, 3),
        "example": counted.example,
    }


def spoken(pair: Pair | None) -> Json | None:
    """A pair of weights as JSON."""
    if pair is None:
        return None
    return {
        "stable": {"weight": pair.stable.weight, "enabled": pair.stable.enabled},
        "canary": {"weight": pair.canary.weight, "enabled": pair.canary.enabled},
        "canary_percent": round(float(100 * weights.share(pair)), 2),
    }


def timestamp(at_s: float) -> str:
    """A moment as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


def spell_row(spell: Spell) -> Json:
    """An alert as it was heard."""
    return {
        "rule": spell.rule,
        "severity": spell.severity,
        "targets": list(spell.targets),
        "since": timestamp(spell.since_s),
        "last": timestamp(spell.last_s),
        "resolved": None if spell.resolved_s is None else timestamp(spell.resolved_s),
        "listeners": list(spell.listeners),
    }


def rejected_row(entry: Rejected) -> Json:
    """A rejected message, its bytes in base64."""
    return {
        "key": entry.key,
        "id": entry.message.id,
        "queue": entry.queue,
        "reason": entry.reason,
        "at": timestamp(entry.at_s),
        "deliveries": entry.message.deliveries,
        "bytes": base64.b64encode(entry.message.body[:SHOWN_BYTES]).decode(),
    }
