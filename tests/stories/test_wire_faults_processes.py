"""Processes that die with an abort or an alert in their hands: the broker, and the host by SIGKILL.

The host is the real function app, fed by the broker; it never ticks by itself. The timer runs in
this process, as another instance of the app might: so every kill falls where a story wants it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sandbox.faults import Fault, Faults, Kind
from sandbox.local import LocalWorld, WorldOptions
from sandbox.tables_proxy import TablesProxy
from shared.cloud import wiring
from shared.cloud.bus import Bus
from shared.core.events import AbortAsked, AlertFired, PromoteAsked
from shared.core.model import Phase
from shared.errors import UnreachableError
from shared.ports import Message
from tests.stories.surroundings import Surroundings, identified
from tests.stories.wired import Case, case

NEVER = "0 0 0 1 1 *"
FAR_S = 100.0
SHORT_S = 1.0
LOAD = r"GET .*RowKey='record'"
SAVE = r"POST .*batch$"
FIRST_WRITE, LAST_WRITE = r"PATCH .*/canary$", r"PATCH .*/stable$"

FALLS = {
    "while it loads": Fault(LOAD, Kind.HANG, times=2, hang_s=FAR_S),
    "before its save": Fault(SAVE, Kind.HANG, times=2, hang_s=FAR_S),
    "after its save": Fault(SAVE, Kind.APPLY_THEN_HANG, times=2, hang_s=FAR_S),
    "between two writes": Fault(FIRST_WRITE, Kind.APPLY_THEN_HANG, times=2, hang_s=FAR_S),
    "before completion": Fault(LAST_WRITE, Kind.APPLY_THEN_HANG, times=2, hang_s=FAR_S),
}


class ProxiedWorld(LocalWorld):
    """The local world with a proxy between the host and its Tables."""

    def __init__(self, options: WorldOptions) -> None:
        super().__init__(options)
        self.tables = TablesProxy(self.azurite)

    def environment(self) -> dict[str, str]:
        """As usual but for the proxy."""
        return super().environment() | {"TABLES_CONNECTION": self.tables.connection_string}

    @property
    def where(self) -> Surroundings:
        """The same deployment as the host's, for the timer in this process."""
        tables, bus = self.tables.connection_string, self.broker.connection_string
        return Surroundings(self.azure, tables, service_bus=bus, tables_prefix="linnet")

    def faults(self, fault: Fault) -> Faults:
        """Whose it is: ARM's or the store's."""
        return self.azure.faults if fault.match.startswith("PATCH") else self.tables.faults


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProxiedWorld]:
    log = tmp_path_factory.mktemp("wire") / "host.log"
    made = ProxiedWorld(WorldOptions(tick=NEVER, ingestion_delay_s=0, log=log))
    async with made.tables, made, identified(made.azure):
        yield made


@pytest.fixture(scope="module")
async def bus(world: ProxiedWorld) -> AsyncIterator[Bus]:
    async with wiring.only_bus(world.where.settings) as opened:
        yield opened


@asynccontextmanager
async def baking(world: ProxiedWorld, name: str) -> AsyncIterator[Case]:
    """A rollout that bakes at 20 %, and no fault left when it is over."""
    async with case(name, world.where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        assert it.share == 0.2
        yield it
        world.tables.faults.clear()


async def send(bus: Bus, message: Message) -> None:
    """Put it on its queue; to send it again with the same id is safe."""
    queue, _, id_ = message.id.partition("/")
    async with asyncio.timeout(20):
        while True:
            try:
                return await bus.send(queue, message.body, id_)
            except UnreachableError:
                continue


async def until(reached: Callable[[], bool], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not reached():
            await asyncio.sleep(0.02)


async def settled(world: ProxiedWorld) -> None:
    await until(lambda: not any(queue.depth for queue in world.broker.queues.values()))


async def events(it: Case) -> list[type[object]]:
    """What came after the start, each as often as history has it."""
    return [type(row.event) for row in (await it.asked())[1:]]


# --- the host


@pytest.mark.parametrize("fall", FALLS)
async def test_an_abort_and_a_promote_outlive_the_host_that_dies_with_them(
    world: ProxiedWorld, bus: Bus, fall: str
) -> None:
    """Wherever it falls, the next host gets both: zero at once, and a step that is taken once."""
    name = fall.replace(" ", "-")
    async with baking(world, f"{name}-abort") as one, baking(world, f"{name}-promote") as other:
        fault = FALLS[fall]
        faults = world.faults(fault)
        faults.arm(fault)
        await send(bus, one.abort())
        await send(bus, other.promote(from_step=1))
        await until(lambda: not faults.armed)
        await world.kill_host()
        world.broker.queues["commands"].expire_locks()
        await world.start_host()
        await settled(world)

        assert one.share == 0.0
        await other.reach(Phase.BAKING, 2)
        assert other.share == max(other.shares) == 0.6
        assert (await events(one), await events(other)) == ([AbortAsked], [PromoteAsked])
        await one.ends_at_zero()
        await other.ends_at_zero()


# --- the broker


@asynccontextmanager
async def two_baking(world: ProxiedWorld, name: str) -> AsyncIterator[tuple[Case, Case]]:
    """One rollout for an abort and one for an alert, since both may meet the same outage."""
    async with baking(world, f"{name}-abort") as one, baking(world, f"{name}-alert") as other:
        yield one, other


async def both_applied_once(one: Case, other: Case) -> None:
    """What was posted took both canaries to zero before anybody ticked, once in history."""
    assert (one.share, other.share) == (0.0, 0.0)
    assert (await events(one), await events(other)) == ([AbortAsked], [AlertFired])
    await one.ends_at_zero()
    await other.ends_at_zero()


async def test_what_waits_in_a_broker_that_dies_is_applied_once(
    world: ProxiedWorld, bus: Bus
) -> None:
    """No host runs when it is posted; the broker goes and comes back before there is one."""
    async with two_baking(world, "waiting") as (one, other):
        await world.kill_host()
        await send(bus, one.abort())
        await send(bus, other.alert())
        await world.broker.kill()
        await world.broker.restart()
        assert (one.share, other.share) == (0.2, 0.2)
        await world.start_host()
        await settled(world)
        await both_applied_once(one, other)


async def test_what_is_being_delivered_when_the_broker_dies_is_applied_once(
    world: ProxiedWorld, bus: Bus
) -> None:
    """The host cannot complete it any more, so it comes again, and changes nothing."""
    async with two_baking(world, "delivered") as (one, other):
        faults = world.tables.faults
        for it in (one, other):
            load = f"GET .*'r-{it.name}'.*'record'"
            faults.arm(Fault(load, Kind.APPLY_THEN_HANG, hang_s=SHORT_S))
        await send(bus, one.abort())
        await send(bus, other.alert())
        await until(lambda: not faults.armed)
        await world.broker.kill()
        await world.broker.restart()
        await until(lambda: one.share == other.share == 0.0)
        for queue in world.broker.queues.values():
            queue.expire_locks()
        await settled(world)
        await both_applied_once(one, other)
