"""kill -9 of the host in the middle of a shift, a bake or a retreat: it goes on and ends right.

The host is the real function app in a process of its own; ARM, logs, Tables and the users live on.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.endings import Expected, examine
from sandbox.faults import Fault, Kind
from sandbox.local import LocalWorld, WorldOptions
from sandbox.scene import Casting, Scene
from sandbox.users import Habits
from sandbox.watch import Watch

STEPS = [20, 60, 100]
LOOKBACK_S = 5
FAR_S = 120.0


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalWorld]:
    log: Path = tmp_path_factory.mktemp("crash") / "host.log"
    async with LocalWorld(WorldOptions(seed=5, ingestion_delay_s=0.3, log=log)) as made:
        yield made


@asynccontextmanager
async def rollout(world: LocalWorld, name: str, subnet: int) -> AsyncIterator[Scene]:
    """A product with users and a rollout under way; five points of tolerance make it short."""
    habits = Habits(resolvers=40, rate_per_s=100, seed=5)
    async with Scene(world, Casting(name, subnet, seed=5, habits=habits)) as scene:
        await asyncio.sleep(LOOKBACK_S + 1)
        plan = scene.plan(steps=STEPS, name_servers="0s")
        plan["evidence"] |= {
            "risk": {"tolerance": "5pp"},
            "lookback": f"{LOOKBACK_S}s",
            "ingestion_delay": "1s",
        }
        await world.post("commands", {"action": "start", "plan": plan, "by": "test"})
        yield scene


async def until(reached: Callable[[], bool], within_s: float = 40) -> None:
    async with asyncio.timeout(within_s):
        while not reached():
            await asyncio.sleep(0.05)


def at(phase: str, step: int = 0) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: seen["phase"] == phase and step in {0, seen["step"]}


async def faults_of(world: LocalWorld, scene: Scene, expected: Expected) -> tuple[str, ...]:
    """What Linnet's record, ARM, DNS and the users have to say against this ending."""
    watch = Watch(world, [scene])
    await watch.look()
    seat = watch.seats[scene.name]
    ending = await examine(world, seat, expected, started_s=time.time(), trouble_s=None)
    return ending.faults


async def shifts(world: LocalWorld, name: str) -> list[int]:
    """The steps that were shifted to, in order; history must be without a gap."""
    history = (await world.get(f"rollouts/{name}/history"))["history"]
    numbers = [row["number"] for row in history]
    assert numbers == list(range(1, len(numbers) + 1))
    moves = [row for row in history if row["before"] != row["after"] == "SHIFTING"]
    return [row["step"] for row in moves]


async def test_a_good_canary_arrives_although_its_shift_and_its_bake_are_cut(
    world: LocalWorld,
) -> None:
    """Killed between the two writes of a shift, and again in the bake: no step is done twice."""
    async with rollout(world, "cut", 21) as scene:
        await world.until("cut", at("BAKING", 1))
        stuck = Fault("PATCH .*/cut/.*/stable$", Kind.HANG, hang_s=FAR_S)
        world.azure.faults.arm(stuck)
        await until(lambda: any("/cut/" in fired.request for fired in world.azure.faults.fired))
        await world.kill_host()
        assert 0.20 < scene.share < 0.60
        served = scene.tally.requests.total()
        await until(lambda: scene.tally.requests.total() > served + 50)
        await world.start_host()
        await world.until("cut", at("BAKING", 2))
        assert scene.share == 0.60
        await world.restart_host()
        await world.until("cut", at("PROMOTED"))
        assert await shifts(world, "cut") == [0, 1, 2]
        assert await faults_of(world, scene, Expected("PROMOTED")) == ()


async def test_a_bake_goes_on_and_finds_what_happened_while_nobody_watched(
    world: LocalWorld,
) -> None:
    """Killed while it bakes at 20 %; the canary turns bad meanwhile and is taken back."""
    async with rollout(world, "nap", 22) as scene:
        await world.until("nap", at("BAKING", 1))
        await world.kill_host()
        scene.services.canary.behave(error_rate=0.3)
        await until(lambda: scene.tally.bad["canary"] > 10)
        assert scene.share == 0.20
        await world.start_host()
        await world.until("nap", at("REVERTED"))
        assert await shifts(world, "nap") == [0]
        assert await faults_of(world, scene, Expected("REVERTED", "evidence")) == ()
        assert await faults_of(world, scene, Expected("PROMOTED"))


async def test_a_retreat_cut_before_its_first_write_is_performed_after_the_restart(
    world: LocalWorld,
) -> None:
    """Killed after it decided to go back and before ARM heard of it: zero comes all the same."""
    async with rollout(world, "stop", 24) as scene:
        await world.until("stop", at("BAKING", 1))
        world.azure.faults.arm(Fault("PATCH .*/stop/", Kind.HANG, hang_s=FAR_S))
        await world.post("commands", {"action": "abort", "rollout": "stop", "by": "test"})
        await until(lambda: any("/stop/" in fired.request for fired in world.azure.faults.fired))
        await world.kill_host()
        assert scene.share == pytest.approx(0.20)
        await world.start_host()
        await until(lambda: scene.share == 0.0, within_s=5)
        await world.until("stop", at("REVERTED"))
        assert await faults_of(world, scene, Expected("REVERTED", "AbortAsked")) == ()
