"""Messages become events, once each; what cannot be used is kept with its reason and its bytes.

A message is settled by returning: then it was applied, or refused with a recorded reason.
Raising leaves it to the broker, which delivers it again and at last dead-letters it, bytes intact.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable

from controllers.turn import act, converge, row_of, submit, take_turn
from shared.core.events import AbortAsked, Event, StartAsked
from shared.core.machine import decide
from shared.core.model import FINAL, Phase, newborn
from shared.errors import ConflictError, RefusedError, UnreachableError
from shared.ports import Message, Rejected, World
from shared.wire import Alert, Ask, Start, read_alert, read_command

# Abandoned messages come back at once: a pause before giving one up lets an outage pass.
LONGEST_PAUSE_S = 20.0

# An abort finds these without a claim, or about to lose it.
GOING_BACK = frozenset({Phase.PROMOTED, Phase.RETREATING})

log = logging.getLogger(__name__)


async def receive_command(world: World, message: Message) -> None:
    """One message of the commands queue."""
    await _settle(world, message, "commands", _command)


async def receive_alert(world: World, message: Message) -> None:
    """One message of the alerts queue: whoever listens to the alert goes back to zero."""
    await _settle(world, message, "alerts", _alert)


async def _settle(
    world: World,
    message: Message,
    queue: str,
    handle: Callable[[World, Message], Awaitable[None]],
) -> None:
    try:
        _bound(message, world.settings.max_message_bytes)
        async with asyncio.timeout(world.settings.turn_deadline_s):
            await handle(world, message)
    except RefusedError as refused:
        log.warning("message %s of %s rejected: %s", message.id, queue, refused)
        await world.store.reject(Rejected(message, queue, str(refused), world.clock.now_s()))
    except (UnreachableError, TimeoutError):
        await world.clock.sleep(min(2.0**message.deliveries, LONGEST_PAUSE_S))
        raise


def key(message: Message) -> str:
    """What makes a message the same one: its id and its bytes, as some senders reuse ids."""
    return f"{message.id}#{hashlib.sha256(message.body).hexdigest()}"


def _bound(message: Message, limit: int) -> None:
    if len(message.body) > limit:
        raise RefusedError(f"{len(message.body)} bytes, at most {limit} are allowed")


async def _command(world: World, message: Message) -> None:
    said = read_command(message.body)
    if isinstance(said, Start):
        await _start(world, message, said)
    else:
        await _ask(world, message, said)


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


async def _create(world: World, message: Message, said: Start) -> None:
    at_s = world.clock.now_s()
    event = StartAsked(at_s, said.by, said.reason, said.dry_run)
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
    event = said.event(world.clock.now_s())
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
    alert = read_alert(message.body)
    if not alert.fired:
        log.info("alert %s is resolved: nothing to do", alert.rule)
        return
    warned = await asyncio.gather(
        *(_warn(world, claim.rollout, alert, message) for claim in await world.store.claims()),
        return_exceptions=True,
    )
    for outcome in warned:
        if isinstance(outcome, BaseException):
            raise outcome
    if not any(warned):
        log.warning("nobody listens to alert %s (%s)", alert.rule, alert.alert_id)


async def _warn(world: World, name: str, alert: Alert, message: Message) -> bool:
    """Tell one rollout, if it listens; one that is over keeps it as history, no bad message."""
    stored = await world.store.load(name)
    if stored is None or not any(alert.concerns(match) for match in stored.plan.rollback_on):
        return False
    event = alert.event(world.clock.now_s())
    if refusal := await _submit_once(world, name, event, key(message)):
        log.info("%s: %s", name, refusal)
    return True
