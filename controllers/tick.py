"""The timer: every rollout that holds a profile gets its turn.

One rollout's failure never reaches the next.
"""

import asyncio
import logging

from controllers.turn import note_failure, take_turn
from shared.errors import UnreachableError
from shared.ports import Claim, World

log = logging.getLogger(__name__)


async def tick(world: World) -> None:
    """One tick: bounded in time and in turns side by side; then the heartbeat.

    Each tick begins with another rollout, so that slow ones never starve the same others.
    """
    slots = asyncio.Semaphore(world.settings.concurrent_turns)

    async def turn(claim: Claim) -> None:
        async with slots:
            await guarded_turn(world, claim.rollout)

    async with asyncio.timeout(world.settings.tick_deadline_s):
        claims = await world.store.claims()
        first = int(world.clock.now_s()) % max(1, len(claims))
        async with asyncio.TaskGroup() as turns:
            for claim in (*claims[first:], *claims[:first]):
                turns.create_task(turn(claim))
        await world.store.beat(world.clock.now_s())


async def guarded_turn(world: World, name: str) -> None:
    """A turn whose failure ends here: expected ones are said, unknown ones counted."""
    try:
        await take_turn(world, name, name)
    except (UnreachableError, TimeoutError) as error:
        log.warning("the turn of %s ended early: %s", name, error or type(error).__name__)
    except Exception as error:
        log.exception("the turn of %s failed", name)
        try:
            await note_failure(world, name, error)
        except Exception:
            log.exception("the failure of %s could not be noted", name)
