"""One turn of one rollout: load, look, decide, save, act.

Rises are saved before they are performed; a retreat is performed although it could not be saved.
Acting is level, not edge: the weights are brought to what the newest record wants, so a crash
at any point is mended by the next turn.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from shared.core import gates, questions, tallies, weights
from shared.core.effects import Effect, ReleaseClaim, SetPercent, Tell
from shared.core.events import Event, Ticked, TurnFailed
from shared.core.machine import Decision, decide
from shared.core.model import FINAL, Pair, Phase, ProfileSeen, Rollout, TrafficSeen
from shared.core.tally import Tally, brief
from shared.core.telemetry import Strata
from shared.errors import ConflictError, LinnetError, UnreachableError
from shared.ports import HistoryRow, Stored, World

MAX_PASSES = 3
MAX_RACES = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an event ended: the record in force, and what was decided."""

    stored: Stored
    decision: Decision


async def take_turn(world: World, name: str, holder: str | None) -> None:
    """Look at one rollout and do what follows. Losing a race to another turn is no error."""
    async with asyncio.timeout(world.settings.turn_deadline_s):
        stored = await world.store.load(name)
        if stored is None:
            return
        event = await look(world, stored, holder)
        try:
            await apply(world, stored, event)
        except ConflictError:
            log.info("another turn of %s was first", name)


async def submit(
    world: World, name: str, event: Event, message_id: str | None = None
) -> Outcome | None:
    """Apply a command or an alert, deciding again whenever another turn saved first.

    Returns None when there is no such rollout, or when a twin of the message was first.
    Raises UnreachableError after too many races.
    """
    for _ in range(MAX_RACES):
        stored = await world.store.load(name)
        if stored is None:
            return None
        try:
            return await apply(world, stored, event, message_id)
        except ConflictError:
            if message_id and await world.store.seen(name, message_id) is not None:
                return None
    raise UnreachableError(f"{name} is busy: {MAX_RACES} turns were first")


async def apply(
    world: World, stored: Stored, event: Event, message_id: str | None = None
) -> Outcome:
    """Decide, save, act. Raises ConflictError when another turn saved first."""
    decision = decide(stored.plan, stored.rollout, event)
    saved = await save(world, stored, event, decision, message_id)
    await act(world, saved, decision.effects)
    return Outcome(saved, decision)


async def save(
    world: World, stored: Stored, event: Event, decision: Decision, message_id: str | None
) -> Stored:
    """The record, its row and the seen message, if anything is to be remembered."""
    if decision.rollout == stored.rollout and message_id is None:
        return stored
    row = row_of(stored.rollout, event, decision)
    try:
        return await world.store.save(stored, decision.rollout, row, message_id)
    except ConflictError:
        raise
    except LinnetError:
        if decision.rollout.wanted_percent == 0 and decision.effects:
            unsaved = Stored(stored.plan, decision.rollout, stored.etag)
            await act(world, unsaved, decision.effects)
        raise


def row_of(before: Rollout, event: Event, decision: Decision) -> HistoryRow:
    """What history keeps of one decision: the event whole, and the numbers it rested on."""
    after = decision.rollout
    return HistoryRow(
        number=after.sequence,
        event=event,
        before=before.phase,
        after=after.phase,
        step=after.step,
        percent=after.wanted_percent,
        sentence=decision.sentence,
        refused=decision.refused,
        verdict=after.verdict if isinstance(event, Ticked) else None,
    )


async def look(world: World, stored: Stored, holder: str | None) -> Ticked:
    """Everything this rollout must know now, asked side by side."""
    plan, rollout = stored.plan, stored.rollout
    at_s = world.clock.now_s()
    telemetry, traffic = world.telemetry, world.traffic
    before, shadow = rollout.phase is Phase.PENDING, tallies.wanted(plan, rollout)
    async with asyncio.TaskGroup() as looks:
        seen = looks.create_task(traffic.see(plan.profile))
        probe = looks.create_task(traffic.probe(plan.profile, plan.canary)) if before else None
        answer = _asked(looks, telemetry.ask, questions.needed(plan, rollout, at_s))
        strata = looks.create_task(strata_of(world, stored, at_s, seen)) if before else None
        levels = _asked(looks, telemetry.levels, questions.levels_needed(plan, rollout, at_s))
        tally = looks.create_task(samples_of(world, rollout)) if shadow else None
    return Ticked(
        at_s=at_s,
        traffic=seen.result(),
        answer=answer.result() if answer else None,
        probe=probe.result() if probe else None,
        holder=holder,
        tally=tally.result() if tally else None,
        stale_after_s=world.settings.stale_after_s,
        levels=levels.result() if levels else None,
        strata=strata.result() if strata else None,
    )


async def strata_of(
    world: World, stored: Stored, at_s: float, seen: Awaitable[TrafficSeen]
) -> Strata | None:
    """The strata, if the plan has any; how long a bin of theirs is hangs on the profile."""
    profile = (await seen).profile
    question = questions.strata_needed(stored.plan, stored.rollout, at_s, profile)
    return None if question is None else await world.telemetry.strata(question)


def _asked[Q, A](
    looks: asyncio.TaskGroup, ask: Callable[[Q], Coroutine[Any, Any, A]], question: Q | None
) -> asyncio.Task[A] | None:
    """The question on its way, if there is one."""
    return None if question is None else looks.create_task(ask(question))


async def samples_of(world: World, rollout: Rollout) -> Tally | None:
    """What the samples came to, as far as a decision needs it; None when it cannot be read now."""
    try:
        seen = await world.store.tally(rollout.name)
    except UnreachableError as error:
        log.warning("the samples of %s cannot be counted: %s", rollout.name, error)
        return None
    return brief(seen, questions.read_up_to(rollout))


async def act(world: World, stored: Stored, effects: tuple[Effect, ...]) -> None:
    """Perform effects; weights first, because seconds count there."""
    name = stored.rollout.name
    if any(isinstance(effect, SetPercent) for effect in effects):
        await converge(world, stored)
    for effect in effects:
        if isinstance(effect, Tell):
            await world.notices.tell(name, effect.sentence)
        if isinstance(effect, ReleaseClaim):
            await release(world, name)


async def release(world: World, name: str) -> None:
    """Give back what this rollout holds, unless it goes on after all.

    The claim is read before the record: whoever makes it go on claims anew after saving.
    """
    claims = [claim for claim in await world.store.claims() if claim.rollout == name]
    stored = await world.store.load(name)
    for claim in claims:
        if stored is None or stored.rollout.phase in FINAL:
            await world.store.release(claim)


async def converge(world: World, stored: Stored) -> None:
    """Bring the weights to what the newest record wants; read it again after writing.

    Traffic Manager has no ETag: the record is the fence. If its generation moved while a write
    was under way, the newer wish is applied on top.
    """
    for _ in range(MAX_PASSES):
        trouble = await attempt(write_weights(world, stored))
        latest = await newest(world, stored)
        if latest.rollout.generation == stored.rollout.generation:
            if trouble:
                raise trouble
            return
        stored = latest


async def attempt(writing: Awaitable[None]) -> UnreachableError | None:
    """What stopped the writing, as a value: a write that failed may have been applied."""
    try:
        await writing
    except UnreachableError as error:
        return error
    return None


async def newest(world: World, stored: Stored) -> Stored:
    """The record as it is now; what we hold, if the store is away or has nothing newer."""
    try:
        latest = await world.store.load(stored.rollout.name)
    except UnreachableError:
        return stored
    behind = latest is None or latest.rollout.generation < stored.rollout.generation
    return stored if behind or latest is None else latest


async def write_weights(world: World, stored: Stored) -> None:
    """One pass of writes towards the record's wish, as far as they are still wished and safe."""
    plan, rollout = stored.plan, stored.rollout
    traffic = await world.traffic.see(plan.profile)
    pair = gates.pair_of(plan, traffic.profile)
    if traffic.profile is None:
        for known, write in gates.unseen_writes(plan, rollout, traffic):
            await world.traffic.write(plan.profile, known, write)
        return
    if pair is None:
        await write_left_over(world, stored, traffic.profile)
        return
    wanted = gates.wanted_pair(rollout)
    rising = weights.share(wanted) > weights.share(pair)
    if rollout.wanted_percent > 0 and gates.drift(plan, rollout, pair):
        return
    before = gates.stable_first(plan, rollout, pair)
    for write in before:
        pair = weights.apply(pair, write)
    for write in (*before, *(weights.writes(pair, wanted) or ())):
        if rising and not await still_wished(world, stored, pair):
            return
        pair = weights.apply(pair, write)
        name = plan.stable if write.arm == "stable" else plan.canary
        endpoint = traffic.profile.endpoint(name)
        if endpoint is not None:
            await world.traffic.write(plan.profile, endpoint, write)


async def write_left_over(world: World, stored: Stored, profile: ProfileSeen) -> None:
    """One endpoint of the pair is gone: what a return still owes the other."""
    plan = stored.plan
    write = gates.left_over(plan, stored.rollout, profile)
    endpoint = profile.endpoint(plan.stable if write and write.arm == "stable" else plan.canary)
    if write and endpoint:
        await world.traffic.write(plan.profile, endpoint, write)


async def still_wished(world: World, stored: Stored, expected: Pair) -> bool:
    """Whether the record, read again, still wants this rise, and nobody else moved a weight."""
    traffic = await world.traffic.see(stored.plan.profile)
    latest = await world.store.load(stored.rollout.name)
    return (
        latest is not None
        and latest.rollout.phase is Phase.SHIFTING
        and latest.rollout.generation == stored.rollout.generation
        and gates.pair_of(stored.plan, traffic.profile) == expected
        and world.settings.allows_profile(stored.plan.profile)
    )


async def note_failure(world: World, name: str, error: BaseException) -> None:
    """Count an error of ours on the rollout it happened to."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    first_line = str(error).partition("\n")[0][:300]
    failed = TurnFailed(world.clock.now_s(), f"{type(error).__name__}: {first_line}")
    await submit(world, name, failed)
