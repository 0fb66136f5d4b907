"""What HTTP shows and accepts: rollouts with their reasons, alerts, rejected messages, health.

What is posted is only looked at and put into its queue: the queue keeps it, whatever comes.
"""

import base64
import hashlib
import logging
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from controllers.replay import replay as replayed
from shared.core import weights
from shared.core.alerts import Spell
from shared.core.judge import Verdict
from shared.core.model import FINAL, Pair, Plan, Rollout
from shared.errors import ForbiddenError, RefusedError, UnreachableError
from shared.ports import HistoryRow, Rejected, World
from shared.record import row_to_dict
from shared.samples import read_sample
from shared.wire import read_alert, read_command

SHOWN_ROWS = 200
SHOWN_BYTES = 262_144

type Json = dict[str, Any]
type Answer = tuple[int, Json]
type Queue = Literal["commands", "alerts", "samples"]

log = logging.getLogger(__name__)

READERS = {"commands": read_command, "alerts": read_alert, "samples": read_sample}


async def rollouts(world: World) -> Json:
    """Every rollout in a line each, live ones first, then the latest."""
    found = [await world.store.load(name) for name in await world.store.names()]
    there = [stored for stored in found if stored]
    there.sort(key=lambda s: (s.rollout.phase in FINAL, -s.rollout.started_at_s))
    return {"rollouts": [summary(stored.plan, stored.rollout) for stored in there]}


async def rollout(world: World, name: str) -> Json | None:
    """One rollout with the numbers it rests on and its history; None when there is none."""
    stored = await world.store.load(name)
    if stored is None:
        return None
    first = max(0, stored.rollout.sequence - SHOWN_ROWS)
    rows = await world.store.history(name, after=first, limit=SHOWN_ROWS)
    return {
        **summary(stored.plan, stored.rollout),
        "profile": stored.plan.profile,
        "steps": [step.percent for step in stored.plan.steps],
        "verdict": explained(stored.rollout.verdict),
        "baseline": None if stored.rollout.baseline is None else rates(stored.rollout),
        "before": spoken(stored.rollout.before),
        "history": [history_row(row) for row in rows],
    }


async def rejected(world: World) -> Json:
    """Messages that could not be used: why, when, and their bytes in base64."""
    return {"rejected": [_rejected(entry) for entry in await world.store.rejected()]}


async def replay(world: World, name: str) -> Json | None:
    """Whether the rollout's history, decided again, gives its record; None when there is none."""
    found = await replayed(world, name)
    if found is None:
        return None
    same = not found.difference
    return {"name": name, "rows": found.rows, "reproduced": same, "difference": found.difference}


async def alerts(world: World) -> Json:
    """The alerts that were heard, the latest first, and who listened to them."""
    spells = sorted(await world.store.spells(), key=lambda spell: -spell.last_s)
    return {"alerts": [_spell(spell) for spell in spells[:SHOWN_ROWS]]}


async def post(world: World, queue: Queue, authorization: str | None, body: bytes) -> Answer:
    """Put a command or an alert into its queue: 202 once it is there, otherwise why it is not.

    An alert that is sent again because its answer was lost has the same id, a command has not:
    to hold, resume and hold again is three wishes.
    """
    try:
        await world.doors[queue].admit(authorization)
        _look_at(world, queue, body)
        digest = hashlib.sha256(body).hexdigest()
        message_id = f"http-{uuid4()}" if queue == "commands" else f"http-{digest}"
        await world.queues.send(_name(world, queue), body, message_id)
    except (ForbiddenError, RefusedError, UnreachableError) as error:
        return _failed(error)
    return 202, {"queued": message_id}


async def resend(world: World, authorization: str | None, key: str) -> Answer:
    """Post a rejected message again, after what was wrong has been mended."""
    try:
        await world.doors["commands"].admit(authorization)
        entry = await world.store.rejected_one(key)
        if entry is None:
            return 404, {"error": f"there is no rejected message {key}"}
        message_id = f"again-{key[:32]}-{world.clock.now_s():.0f}"
        queue = _name(world, entry.queue)
        await world.queues.send(queue, entry.message.body, message_id)
    except (ForbiddenError, RefusedError, UnreachableError) as error:
        return _failed(error)
    return 202, {"queued": message_id, "queue": queue}


async def health(world: World) -> tuple[bool, Json]:
    """Whether the store answers and ticks come; what each of them says."""
    try:
        beat_s = await world.store.last_beat_s()
    except UnreachableError as error:
        log.warning("the store does not answer: %s", error)
        return False, {"healthy": False, "store": "does not answer"}
    age_s = None if beat_s is None else world.clock.now_s() - beat_s
    healthy = age_s is not None and age_s <= world.settings.stale_after_s
    ticks = "never ran" if age_s is None else f"last ran {age_s:.0f} s ago"
    return healthy, {"healthy": healthy, "store": "answers", "tick": ticks}


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
    """The canary's share of the requests seen at this step; None before there are any."""
    if rollout.verdict is None or not rollout.verdict.weighings:
        return None
    counts = rollout.verdict.weighings[0].step_counts
    both = counts.canary_events + counts.stable_events
    return round(100 * counts.canary_events / both, 2) if both else None


def explained(verdict: Verdict | None) -> Json | None:
    """A verdict with every number a person might ask for."""
    if verdict is None:
        return None
    return {
        "kind": verdict.kind.value,
        "sentence": verdict.sentence,
        "evidence_of_harm": round(verdict.worse, 3),
        "needed": round(verdict.needed, 3),
        "rules": [
            {
                "rule": w.rule,
                "stable": [w.counts.stable_bad, w.counts.stable_events],
                "canary": [w.counts.canary_bad, w.counts.canary_events],
                "ratio_interval": [w.ratio_low, w.ratio_high],
                "margin": w.margin,
                "evidence_of_no_harm": round(max(w.ok, w.absolute), 3),
                "sealed_bins": w.step_bins,
                "passed": w.passed,
            }
            for w in verdict.weighings
        ],
    }


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


def _look_at(world: World, queue: Queue, body: bytes) -> None:
    """Raises RefusedError for what the inbox could not use."""
    limit = world.settings.max_message_bytes
    if len(body) > limit:
        raise RefusedError(f"{len(body)} bytes, at most {limit} are allowed")
    READERS[queue](body)


def _name(world: World, queue: str) -> str:
    settings = world.settings
    named = {
        "commands": settings.commands_queue,
        "alerts": settings.alerts_queue,
        "samples": settings.samples_queue,
    }
    return named[queue]


def _failed(error: ForbiddenError | RefusedError | UnreachableError) -> Answer:
    """An error as HTTP says it: theirs is 400, 401 or 403; ours is 503, to be tried again."""
    if isinstance(error, ForbiddenError):
        return error.status, {"error": str(error)}
    return 400 if isinstance(error, RefusedError) else 503, {"error": str(error)}


def _spell(spell: Spell) -> Json:
    return {
        "rule": spell.rule,
        "severity": spell.severity,
        "targets": list(spell.targets),
        "since": timestamp(spell.since_s),
        "last": timestamp(spell.last_s),
        "resolved": None if spell.resolved_s is None else timestamp(spell.resolved_s),
        "listeners": list(spell.listeners),
    }


def _rejected(entry: Rejected) -> Json:
    return {
        "key": entry.key,
        "id": entry.message.id,
        "queue": entry.queue,
        "reason": entry.reason,
        "at": timestamp(entry.at_s),
        "deliveries": entry.message.deliveries,
        "bytes": base64.b64encode(entry.message.body[:SHOWN_BYTES]).decode(),
    }
