"""Messages become events, once each; what cannot be used is kept with its reason and its bytes.

A message is settled by returning: then it was applied, or refused with a recorded reason.
Raising leaves it to the broker, which delivers it again and at last dead-letters it, bytes intact.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal

from controllers.turn import act, converge, row_of, submit, take_turn
from shared.core import alerts
from shared.core.alerts import MAX_LISTENERS, Spell
from shared.core.events import AbortAsked, AlertFired, Event, HoldAsked, StartAsked
from shared.core.machine import decide
from shared.core.model import FINAL, Phase, newborn
from shared.errors import ConflictError, RefusedError, UnreachableError
from shared.ports import Claim, Heard, Message, Rejected, World
from shared.wire import WINDOWS, Alert, Ask, Start, bound, read_alert, read_command

# Abandoned messages come back at once: a pause before giving one up lets an outage pass.
LONGEST_PAUSE_S = 20.0
# What a row can hold of a message; the Standard tier delivers at most half of it.
KEPT_BYTES = 524_288

# An abort finds these without a claim, or about to lose it.
GOING_BACK = frozenset({Phase.PROMOTED, Phase.RETREATING})

type Queue = Literal["commands", "alerts"]

log = logging.getLogger(__name__)


type Handler = Callable[[World, Message], Awaitable[None]]


async def receive_command(world: World, message: Message) -> None:
    """One message of the commands queue."""
    await _settle(world, message, "commands", _command)


async def receive_alert(world: World, message: Message) -> None:
    """One message of the alerts queue: whoever listens to the alert goes back to zero."""
    await _settle(world, message, "alerts", _alert)


async def receive_dead(world: World, message: Message, queue: Queue) -> None:
    """One message the broker gave up on: an abort that outlived an outage is obeyed after it.

    What would let something rise comes too late, and is kept to be sent again by whoever still
    wants it. What no delivery can handle is kept with its error, or it would come for ever.
    """
    handle = _alert if queue == "alerts" else _late_command
    try:
        await _settle(world, message, queue, handle)
    except (UnreachableError, TimeoutError):
        raise
    except Exception as error:
        log.exception("message %s of %s cannot be handled", message.id, queue)
        first_line = str(error).partition("\n")[0][:300]
        reason = f"every delivery failed, at last with {type(error).__name__}: {first_line}"
        await _park(world, message, queue, reason)


async def _settle(world: World, message: Message, queue: Queue, handle: Handler) -> None:
    try:
        refusal = await _refusal(world, message, handle)
        if refusal:
            log.warning("message %s of %s rejected: %s", message.id, queue, refusal)
            await _park(world, message, queue, refusal)
    except Exception:
        await world.clock.sleep(pause_s(message))
        raise


def pause_s(message: Message) -> float:
    """How long to wait before giving a message back: twice as long each time, up to a bound."""
    return min(2.0 ** min(message.deliveries, 10), LONGEST_PAUSE_S)


async def _refusal(world: World, message: Message, handle: Handler) -> str:
    """Handle the message; returns why it cannot be used, empty when it could."""
    try:
        bound(message.body, world.settings.max_message_bytes)
        async with asyncio.timeout(world.settings.turn_deadline_s):
            await handle(world, message)
    except RefusedError as refused:
        return str(refused)
    return ""


async def _park(world: World, message: Message, queue: Queue, reason: str) -> None:
    """Keep the message; of one that no row could hold, as much as fits and what it was."""
    size, digest = len(message.body), hashlib.sha256(message.body).hexdigest()
    if size > KEPT_BYTES:
        reason = f"{reason} (the first {KEPT_BYTES} bytes are kept; sha256 of all: {digest})"
        message = replace(message, body=message.body[:KEPT_BYTES])
    await world.store.reject(Rejected(message, queue, reason, world.clock.now_s()))


def key(message: Message) -> str:
    """What makes a message the same one: its id and its bytes, as some senders reuse ids."""
    return f"{message.id}#{hashlib.sha256(message.body).hexdigest()}"


async def _command(world: World, message: Message) -> None:
    said = read_command(message.body)
    if isinstance(said, Start):
        await _start(world, message, said)
    else:
        await _ask(world, message, said)


async def _late_command(world: World, message: Message) -> None:
    said = read_command(message.body)
    name = said.plan.name if isinstance(said, Start) else said.rollout
    rises = isinstance(said, Start) or not isinstance(said.event(0.0, 0.0), AbortAsked | HoldAsked)
    if rises and await world.store.seen(name, key(message)) is None:
        raise RefusedError("the broker gave it up: it comes too late, send it again if it is meant")
    await _command(world, message)


async def _start(world: World, message: Message, said: Start) -> None:
    plan = said.plan
    if not world.settings.allows_profile(plan.profile):
        raise RefusedError(f"profile: {plan.profile} is not in ALLOWED_PROFILES of this Linnet")
    if not world.settings.allows_workspace(plan.source.workspace):
        workspace = plan.source.workspace
        raise RefusedError(f"workspace: {workspace} is not in ALLOWED_WORKSPACES of this Linnet")
    if await world.store.seen(plan.name, key(message)) is None:
        holder = await _live_holder(world, plan.profile)
        if holder not in {None, plan.name}:
            raise RefusedError(f"profile: {plan.profile} has a live rollout already, {holder}")
        await _create(world, message, said)
    holder = await _claim(world, plan.profile, plan.name)
    await take_turn(world, plan.name, holder)
    stored = await world.store.load(plan.name)
    if stored and stored.rollout.phase is Phase.REFUSED and not said.dry_run:
        raise RefusedError(stored.rollout.sentence)
    waits = stored and stored.rollout.before is None and stored.rollout.phase not in FINAL
    if waits and holder != plan.name:
        # Another turn was first, and without the claim no tick will look at this one.
        raise UnreachableError(f"{plan.name} waits for a profile that {holder} holds")


async def _create(world: World, message: Message, said: Start) -> None:
    at_s = world.clock.now_s()
    event = StartAsked(at_s, said.by, said.reason, said.dry_run, secrets.token_hex(16))
    born = newborn(said.plan, at_s, said.by, dry_run=said.dry_run)
    decision = decide(said.plan, born, event)
    row = row_of(born, event, decision)
    try:
        created = await world.store.create(said.plan, decision.rollout, row, key(message))
    except ConflictError:
        if await world.store.seen(said.plan.name, key(message)) is None:
            taken = f"name: a rollout named {said.plan.name} exists; give this one another name"
            raise RefusedError(taken) from None
        return
    await act(world, created, decision.effects)


async def _live_holder(world: World, profile: str) -> str | None:
    """The rollout that holds the profile and has not ended, its guard time included."""
    wanted = profile.casefold()
    for claim in await world.store.claims():
        if claim.profile.casefold() == wanted:
            return claim.rollout if await _is_live(world, claim.rollout) else None
    return None


async def _is_live(world: World, name: str) -> bool:
    """Whether a rollout still needs its profile: to move it, or to keep the canary at zero."""
    stored = await world.store.load(name)
    if stored is None:
        return False
    ended_s = world.clock.now_s() - stored.rollout.phase_since_s
    guarded = stored.rollout.phase is Phase.REVERTED and ended_s < stored.plan.guard_s
    return guarded or stored.rollout.phase not in FINAL


async def _claim(world: World, profile: str, name: str) -> str:
    """Claim the profile, or take it over from a rollout that has ended; returns the holder.

    One that went on while it was taken over gets it back.
    """
    claim = await world.store.claim(profile, name)
    if claim.rollout == name:
        return name
    if await _live_holder(world, profile) is None:
        before, claim = claim, await world.store.claim(profile, name, instead_of=claim)
        if claim.rollout == name and await _is_live(world, before.rollout):
            claim = await world.store.claim(profile, before.rollout, instead_of=claim)
    return claim.rollout


async def _ask(world: World, message: Message, said: Ask) -> None:
    event = said.event(world.clock.now_s(), message.enqueued_at_s)
    stored = await world.store.load(said.rollout)
    if stored is None:
        raise RefusedError(f"rollout: there is none named {said.rollout}")
    going_back = isinstance(event, AbortAsked) and stored.rollout.phase in GOING_BACK
    if going_back:
        holder = await _claim(world, stored.plan.profile, said.rollout)
        if holder != said.rollout:
            belongs = f"abort: the profile belongs to {holder} by now; abort that one"
            if stored.rollout.phase is Phase.RETREATING:
                raise UnreachableError(belongs)
            raise RefusedError(belongs)
    refusal = await _submit_once(world, said.rollout, event, key(message))
    if going_back:
        await _claim_anew(world, stored.plan.profile, said.rollout)
    if refusal:
        raise RefusedError(refusal)


async def _claim_anew(world: World, profile: str, name: str) -> None:
    """A release decided before the rollout went on must not find the claim it looked at."""
    claim = await world.store.claim(profile, name)
    if claim.rollout != name:
        raise UnreachableError(f"{claim.rollout} took the profile of {name} over meanwhile")
    await world.store.claim(profile, name, instead_of=claim)


async def _submit_once(world: World, name: str, event: Event, message_key: str) -> str:
    """Apply an event whose message may have been here before; returns why it was refused, or "".

    A message that was here before changes nothing, but a retreat it led to is helped along.
    """
    number = await world.store.seen(name, message_key)
    if number is None:
        outcome = await submit(world, name, event, message_key)
        return outcome.decision.sentence if outcome and outcome.decision.refused else ""
    [row] = await world.store.history(name, after=number - 1, limit=1)
    stored = await world.store.load(name)
    if stored and stored.rollout.phase is Phase.RETREATING:
        await converge(world, stored)
    return row.sentence if row.refused else ""


async def _alert(world: World, message: Message) -> None:
    """Who listens is told first, since seconds count; then the alert is remembered for them all."""
    alert, at_s = read_alert(message.body), world.clock.now_s()
    known, claims = await asyncio.gather(world.store.heard(alert.key), world.store.claims())
    before, now = known.spell if known else None, alert.spell(at_s, message.enqueued_at_s)
    if alert.fired:
        lapse_s = min(WINDOWS * alert.window_s, world.settings.alert_lapse_s)
        spell = alerts.fired(before, now, lapse_s)
    else:
        log.info("alert %.200r is resolved: it is noted and changes nothing", alert.rule)
        over_s = alert.resolved_s or message.enqueued_at_s or at_s
        spell = alerts.resolved(before, now, min(over_s, at_s))
    # A resolution may show that what had fired in between was news.
    news = alert.fired or (before is not None and spell.since_s > before.since_s)
    warned: list[bool | BaseException] = []
    if news:
        event = alert.event(at_s, spell.since_s)
        warned = await _warn_all(world, claims, alert, event, f"{key(message)}@{spell.since_s}")
        names = (claim.rollout for claim, told in zip(claims, warned, strict=True) if told is True)
        spell = replace(spell, listeners=tuple(names)[:MAX_LISTENERS])
    await _file(world, spell, known)
    for outcome in warned:
        if isinstance(outcome, BaseException):
            raise outcome


async def _file(world: World, spell: Spell, known: Heard | None) -> None:
    try:
        await world.store.hear(spell, known)
    except ConflictError as error:
        raise UnreachableError(f"alert {spell.rule} came twice at once: {error}") from error


async def _warn_all(
    world: World, claims: list[Claim], alert: Alert, event: AlertFired, message_key: str
) -> list[bool | BaseException]:
    """Tell every rollout that listens; returns whether each does, or why it cannot be told."""
    warned = await asyncio.gather(
        *(_warn(world, claim.rollout, alert, event, message_key) for claim in claims),
        return_exceptions=True,
    )
    if not any(warned):
        log.warning("nobody listens to alert %.200r (%.200r)", alert.rule, alert.alert_id)
    return warned


async def _warn(world: World, name: str, alert: Alert, event: AlertFired, message_key: str) -> bool:
    """Tell one rollout, if it listens; one that is over keeps it as history, no bad message."""
    stored = await world.store.load(name)
    if stored is None or not any(alert.concerns(match) for match in stored.plan.rollback_on):
        return False
    if refusal := await _submit_once(world, name, event, message_key):
        log.info("%s: %s", name, refusal)
    return True
