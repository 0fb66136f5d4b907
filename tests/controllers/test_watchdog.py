"""After the controller was away, its first look only looks; a person's revert is final."""

import pytest

from controllers import api, inbox
from controllers.tick import tick
from sandbox.memory_store import no_fault
from shared.core.judge import Kind
from shared.core.model import Phase
from shared.errors import UnreachableError
from tests.town import Town

HOUR_S = 3600


@pytest.fixture
def town() -> Town:
    return Town()


async def test_the_first_turn_after_an_outage_never_advances(town: Town) -> None:
    """Everything speaks for a pass; the world is read again all the same before anything rises."""
    await town.start(bake={"min": "5s", "max": "3h"})
    await town.reach(Phase.BAKING, 2)
    await town.seconds(4)
    writes = len(town.world.traffic.journal)
    stale, told = await api.health(town.world)
    assert stale, told
    town.world.clock.advance(200)
    assert not (await api.health(town.world))[0]

    await tick(town.world)

    rollout = await town.rollout()
    assert rollout.verdict is not None
    assert rollout.verdict.kind is Kind.PASS
    assert (rollout.phase, rollout.step) == (Phase.BAKING, 1)
    assert "first look in 20" in rollout.sentence
    assert len(town.world.traffic.journal) == writes
    assert (await api.health(town.world))[0]
    for _ in range(60):
        await town.seconds(1)
    assert (await town.rollout()).step > 1


async def test_a_promote_cut_before_its_write_is_not_performed_by_the_first_look(
    town: Town,
) -> None:
    """It was saved, the host died, an hour passed: the weights are looked at before they rise."""
    await town.start(patience="3h", bake={"min": "1h", "max": "3h"})
    await town.reach(Phase.BAKING, 1)

    async def dies(port: str, method: str, stage: str) -> None:
        if method == "write":
            raise UnreachableError("the host is gone")

    town.world.traffic.hook = dies
    with pytest.raises(UnreachableError):
        await town.command("promote", from_step=1)
    town.world.traffic.hook = no_fault
    share = town.share
    town.world.clock.advance(HOUR_S)

    await tick(town.world)
    assert town.share == share
    await town.seconds(1)

    assert town.share == 0.1


async def test_short_bins_and_slow_ticks_go_on_all_the_same(town: Town) -> None:
    """A tick a minute is no outage, however short the bins are."""
    await town.start(bake={"min": "0s", "max": "2h"})
    for _ in range(30):
        town.world.clock.advance(60)
        await tick(town.world)

    assert (await town.rollout()).step > 0


async def test_a_resume_from_before_a_hold_does_not_lift_it(town: Town) -> None:
    """It waited in the queue through an outage; somebody has stopped the rollout since."""
    await town.start()
    await town.reach(Phase.BAKING, 1)
    late = town.message({"action": "resume", "rollout": "shop-2.4", "by": "ada"})
    town.world.clock.advance(60)
    await town.command("hold", reason="incident")

    await inbox.receive_command(town.world, late)

    assert (await town.rollout()).phase is Phase.HELD
    assert "sent before this hold (Held by ada (incident))" in (await town.history())[-1].sentence


async def test_harm_is_acted_upon_in_the_first_look(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    town.world.clock.advance(HOUR_S)
    town.world.traffic.set(next(iter(town.world.traffic.profiles)), "green", health="Degraded")

    await tick(town.world)

    assert (await town.rollout()).phase is Phase.RETREATING
    assert town.share == 0


async def test_a_rollout_does_not_begin_on_the_first_look_after_an_outage(town: Town) -> None:
    """Preflight passes, but what was seen around it is an hour old."""
    town.world.traffic.blind = "503"
    await town.start(patience="3h")
    assert (await town.rollout()).phase is Phase.PENDING
    town.world.traffic.blind = ""
    town.world.clock.advance(HOUR_S)

    await tick(town.world)
    assert "Preflight waits: this is the first look in 3600 s" in (await town.rollout()).sentence
    await town.seconds(1)

    assert (await town.rollout()).phase is Phase.SHIFTING


async def test_what_a_person_reverted_never_rises_again(town: Town) -> None:
    """Neither time, nor the start delivered again, nor a promote brings it back."""
    await town.start(id_="m-start")
    await town.reach(Phase.BAKING, 2)
    await town.command("abort", reason="customers call")
    await town.reach(Phase.REVERTED)
    await town.start(id_="m-start")
    await town.start()
    await town.command("promote", from_step=2)
    await town.command("resume")

    await town.seconds(30)

    assert (await town.rollout()).phase is Phase.REVERTED
    assert town.share == 0
    assert "customers call" in " ".join(row.sentence for row in await town.history())


async def test_a_tick_that_cannot_reach_the_store_is_no_heartbeat(town: Town) -> None:
    await town.seconds(1)
    beat_s = await town.world.store.last_beat_s()

    async def away(port: str, method: str, stage: str) -> None:
        if method == "claims":
            raise UnreachableError("503")

    town.world.store.hook = away
    with pytest.raises(UnreachableError):
        await town.seconds(1)

    assert town.world.store.beat_s == beat_s
