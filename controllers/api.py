"""What HTTP shows and accepts: rollouts with their reasons, alerts, rejected messages, health.

What is posted is only looked at and put into its queue: the queue keeps it, whatever comes.
"""

import hashlib
import logging
import re
from typing import Literal
from uuid import uuid4

from controllers import views
from controllers.replay import replay as replayed
from controllers.views import Json
from shared.core.model import FINAL
from shared.errors import ForbiddenError, RefusedError, UnreachableError
from shared.ports import HistoryRow, Stored, World
from shared.samples import read_sample
from shared.wire import bound, read_alert, read_command

SHOWN_ROWS = 200
NUMBER = re.compile(r"\d{1,10}", re.ASCII)

type Answer = tuple[int, Json]
type Queue = Literal["commands", "alerts", "samples"]

log = logging.getLogger(__name__)

READERS = {"commands": read_command, "alerts": read_alert, "samples": read_sample}


async def rollouts(world: World) -> Json:
    """Every rollout in a line each, live ones first, then the latest."""
    found = [await world.store.load(name) for name in await world.store.names()]
    there = [stored for stored in found if stored]
    there.sort(key=lambda s: (s.rollout.phase in FINAL, -s.rollout.started_at_s))
    return {"rollouts": [views.summary(stored.plan, stored.rollout) for stored in there]}


async def rollout(world: World, name: str) -> Json | None:
    """One rollout with the numbers it rests on, and where it turned; None when there is none."""
    stored = await world.store.load(name)
    if stored is None:
        return None
    return {
        **views.summary(stored.plan, stored.rollout),
        "profile": stored.plan.profile,
        "steps": [step.percent for step in stored.plan.steps],
        "verdict": views.explained(stored.rollout.verdict),
        "advice": views.advice(stored.rollout),
        "thresholds_ms": dict(stored.rollout.thresholds_ms or {}),
        **views.standardised(stored.plan, stored.rollout),
        "baseline": None if stored.rollout.baseline is None else views.rates(stored.rollout),
        "before": views.spoken(stored.rollout.before),
        "history": [views.history_row(row) for row in await _turnings(world, name)],
        "rows": stored.rollout.sequence,
        "shadow": await _shadow(world, stored),
    }


async def history(world: World, name: str, after: str) -> Answer:
    """The rows numbered above `after`, looks included, as many as a page holds."""
    if not NUMBER.fullmatch(after):
        return 400, {"error": f"after: a row's number is allowed, such as 0 or 200, not {after!r}"}
    stored = await world.store.load(name)
    if stored is None:
        return 404, {"error": f"there is no rollout {name}"}
    rows = await world.store.history(name, after=int(after), limit=SHOWN_ROWS)
    told = [views.history_row(row) for row in rows]
    return 200, {"name": name, "rows": stored.rollout.sequence, "history": told}


async def rejected(world: World) -> Json:
    """Messages that could not be used: why, when, and their bytes in base64."""
    return {"rejected": [views.rejected_row(entry) for entry in await world.store.rejected()]}


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
    return {"alerts": [views.spell_row(spell) for spell in spells[:SHOWN_ROWS]]}


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
    except (ForbiddenError, RefusedError, UnreachableError) as error:
        return _failed(error)
    return await _queued(world, queue, body, message_id)


async def resend(world: World, authorization: str | None, key: str) -> Answer:
    """Post a rejected message again, after what was wrong has been mended."""
    try:
        await world.doors["commands"].admit(authorization)
        entry = await world.store.rejected_one(key)
        if entry is None:
            return 404, {"error": f"there is no rejected message {key}"}
        if not entry.message.body:
            return 409, {"error": "its bytes were not kept: only its sender can send it again"}
    except (ForbiddenError, RefusedError, UnreachableError) as error:
        return _failed(error)
    message_id = f"again-{key[:32]}-{world.clock.now_s():.0f}"
    return await _queued(world, entry.queue, entry.message.body, message_id)


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


async def _turnings(world: World, name: str) -> list[HistoryRow]:
    """The start, and the newest rows at which something turned."""
    newest = await world.store.turnings(name, SHOWN_ROWS)
    first = await world.store.history(name, limit=1)
    return newest if newest[:1] == first else [*first, *newest[1 - SHOWN_ROWS :]]


async def _shadow(world: World, stored: Stored) -> Json | None:
    """What a dark launch has shown so far; None when the plan has none."""
    if not any(step.shadow for step in stored.plan.steps):
        return None
    return views.shadow(stored.rollout, await world.store.tally(stored.rollout.name))


def _look_at(world: World, queue: Queue, body: bytes) -> None:
    """Raises RefusedError for what the inbox could not use."""
    bound(body, world.settings.max_message_bytes)
    READERS[queue](body)


async def _queued(world: World, queue: str, body: bytes, message_id: str) -> Answer:
    """What was good enough to be posted and could not be is our trouble: try again."""
    try:
        await world.queues.send(_name(world, queue), body, message_id)
    except (RefusedError, UnreachableError) as error:
        return 503, {"error": str(error)}
    return 202, {"queued": message_id, "queue": queue}


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
