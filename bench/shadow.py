"""Samples per second and core of a dark launch, beside the bare requests that it cannot avoid.

Each contestant takes the same samples and makes the same requests: each to the canary, half of
them to stable too. They take turns within each round of one run, and medians are shown.

    bare             the requests alone: one aiohttp client, answers read whole, nothing compared
    compared         controllers.samples with HttpShadow and the store in memory
    queue            the same, received and completed one by one with azure-servicebus
    queue, Azurite   the same, with the tally in Azure Tables as Azurite keeps them

The services and the broker (the sandbox's) are a child process. What is measured is one process
with one event loop, so a second of its CPU time is a second of one core: waiting for others costs
nothing there, and the rate by the clock stands beside it. In Functions the host receives the
messages, in a process of its own; "compared" is nearer to that. Nothing here says how fast Azure
is.

At last a batch whose bodies have 1 MB on every side shows how far the memory grows.

Run it as `python -m bench.shadow`; the last line is the ratio of "queue" to "bare".
"""

import asyncio
import json
import logging
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from itertools import batched
from typing import Any, Final

import aiohttp
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from rich.console import Console
from rich.table import Table

from bench.shadow_child import CANARY, NAME, PROFILE, QUEUE, STABLE, Bodies, Known, child, messages
from controllers.samples import receive_samples
from sandbox.azure import DEFAULT_WORKSPACE
from sandbox.azurite import Azurite
from sandbox.memory import memory_world
from shared.cloud import wiring
from shared.cloud.shadow import HttpShadow
from shared.core.events import StartAsked
from shared.core.model import Phase, newborn
from shared.core.shadow import drawn
from shared.ports import HistoryRow, Message, World
from shared.settings import Settings
from shared.wire import read_plan

ROUNDS: Final = 7
SAMPLES: Final = 360
BATCH: Final = 60
CONCURRENT: Final = 32
LARGE: Final = 60


async def launched(world: World) -> World:
    """The same world, with a rollout that wants samples."""
    document = {
        "name": NAME,
        "profile": PROFILE,
        "stable": STABLE,
        "canary": CANARY,
        "steps": [{"percent": 0, "shadow": {"compare": {"ignore": ["$.trace"]}}}, 1, 100],
        "evidence": {
            "workspace": DEFAULT_WORKSPACE,
            "arms": {"column": "AppVersion", "stable": "1", "canary": "2"},
        },
    }
    plan, now_s = read_plan(json.dumps(document).encode()), time.time()
    born = replace(
        newborn(plan, now_s, NAME, dry_run=False),
        phase=Phase.BAKING,
        bake_since_s=now_s,
        salt="0123456789abcdef",
        noise_samples=1000,
        noisy=("$.at",),
    )
    row = HistoryRow(
        1, StartAsked(now_s, NAME), Phase.PENDING, Phase.BAKING, 0, 0.0, "", refused=False
    )
    await world.store.create(plan, born, row, "m-0")
    await world.store.claim(PROFILE, NAME)
    return world


def changed(world: World, **ports: Any) -> World:
    """A world with other ports."""
    kept = {each.name: getattr(world, each.name) for each in fields(World)}
    return World(**{**kept, **ports})


async def bare(session: aiohttp.ClientSession, ports: dict[str, int], first: int) -> None:
    """The requests alone, as many at a time as HttpShadow makes."""
    places = {arm: asyncio.Semaphore(CONCURRENT) for arm in ports}

    async def one(arm: str, number: int) -> None:
        url = f"http://127.0.0.1:{ports[arm]}/items?n={number}"
        async with places[arm], session.get(url, headers=_HEADERS) as response:
            await response.read()

    for start in range(first, first + SAMPLES, BATCH):
        numbers = range(start, start + BATCH)
        again = [n for n in numbers if drawn(0.5, "noise", NAME, f"s-{n}")]
        await asyncio.gather(*(one(CANARY, n) for n in numbers), *(one(STABLE, n) for n in again))


_HEADERS: Final = {
    "accept": "application/json",
    "user-agent": "bench",
    "accept-encoding": "identity",
    "x-linnet-shadow": NAME,
}


async def compared(world: World, batch: Sequence[Message]) -> None:
    """Batches of messages without a queue."""
    for start in range(0, len(batch), BATCH):
        await receive_samples(world, batch[start : start + BATCH])


async def queued(world: World, receiver: ServiceBusReceiver) -> None:
    """Batches from the queue, each completed once it is counted."""
    left = SAMPLES
    while left:
        got = await receiver.receive_messages(min(BATCH, left), max_wait_time=5)
        if not got:
            raise RuntimeError(f"{left} samples did not come")
        said = [Message(str(m.message_id), b"".join(m.body), time.time()) for m in got]
        await receive_samples(world, said)
        await asyncio.gather(*(receiver.complete_message(message) for message in got))
        left -= len(got)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds for a turn, by the clock and of this process's CPU."""

    clock_s: float
    cpu_s: float


async def timed(turn: Awaitable[None]) -> Spent:
    """What a turn takes."""
    clock_s, cpu_s = time.perf_counter(), time.process_time()
    await turn
    return Spent(time.perf_counter() - clock_s, time.process_time() - cpu_s)


@dataclass(frozen=True, slots=True)
class Bench:
    """All that the contestants share."""

    ports: dict[str, int]
    bus: ServiceBusClient
    replays: HttpShadow
    session: aiohttp.ClientSession
    memory: World
    tables: World

    async def rounds(self) -> dict[str, list[Spent]]:
        """Every contestant's turns, after one turn each that does not count."""
        spent: dict[str, list[Spent]] = defaultdict(list)
        for number in range(ROUNDS + 1):
            for at, (name, turn) in enumerate(self._contestants().items()):
                spent[name].append(await turn(1_000 * (10 * number + at)))
        await self._check(self.memory, 2)
        await self._check(self.tables, 1)
        return {name: each[1:] for name, each in spent.items()}

    async def _check(self, world: World, contestants: int) -> None:
        """Every sample was compared, and differs where one was made wrong."""
        tally = await world.store.tally(NAME)
        expected = contestants * (ROUNDS + 1) * SAMPLES
        if tally.samples != expected or not 0 < tally.different < expected / 10:
            raise RuntimeError(f"{tally.samples} of {expected} counted, {tally.different} differ")

    def _contestants(self) -> dict[str, Callable[[int], Awaitable[Spent]]]:
        return {
            "bare": lambda first: timed(bare(self.session, self.ports, first)),
            "compared": lambda first: timed(compared(self.memory, messages(first, SAMPLES))),
            "queue": lambda first: self._queued(self.memory, first),
            "queue, Azurite": lambda first: self._queued(self.tables, first),
        }

    async def _queued(self, world: World, first: int) -> Spent:
        """A turn of the queue; what posts the samples is not measured."""
        async with self.bus.get_queue_sender(QUEUE) as sender:
            for some in batched(messages(first, SAMPLES), BATCH, strict=False):
                sent = [ServiceBusMessage(each.body, message_id=each.id) for each in some]
                await sender.send_messages(sent)
        async with self.bus.get_queue_receiver(QUEUE, prefetch_count=BATCH) as receiver:
            return await timed(queued(world, receiver))

    async def grown_bytes(self) -> tuple[int, int]:
        """How much the peak of memory grows by a batch of large samples, and how many those are."""
        world = changed(self.memory, bodies=Bodies())
        batch = messages(900_000, LARGE, large=True)
        before = await world.store.tally(NAME)
        least = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await compared(world, batch)
        after = await world.store.tally(NAME)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - least
        return 1024 * grown, after.samples - before.samples


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Everything started."""
    async with AsyncExitStack() as stack:
        told = await stack.enter_async_context(child())
        azurite = await stack.enter_async_context(Azurite())
        settings = Settings(
            service_bus=told["bus"],
            tables_connection=azurite.connection_string,
            allowed_profiles=(PROFILE,),
        )
        cloud = wiring.world(settings)
        stack.push_async_callback(cloud.close)
        replays = HttpShadow(Known(told["ports"]), concurrent=CONCURRENT, per_s=1e6)
        stack.push_async_callback(replays.close)
        memory = changed(memory_world(settings), replays=replays, clock=cloud.clock)
        yield Bench(
            told["ports"],
            await stack.enter_async_context(ServiceBusClient.from_connection_string(told["bus"])),
            replays,
            await stack.enter_async_context(_session()),
            await launched(memory),
            await launched(changed(cloud, replays=replays)),
        )


def _session() -> aiohttp.ClientSession:
    """A client like HttpShadow's."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONCURRENT),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def show(spent: dict[str, list[Spent]], grown_bytes: int, large: int) -> float:
    """Print the table; returns the ratio of the whole path to the bare requests, by CPU time."""
    table = Table(title=f"Samples per second, medians of {ROUNDS} turns of {SAMPLES}")
    for name in ("", "by the clock", "per core", "to bare, per core", "CPU ms a sample"):
        table.add_column(name, justify="right" if name else "left")
    cpu_s = {name: statistics.median(each.cpu_s for each in turns) for name, turns in spent.items()}
    for name, turns in spent.items():
        clock_s = statistics.median(each.clock_s for each in turns)
        table.add_row(
            name,
            f"{SAMPLES / clock_s:,.0f}",
            f"{SAMPLES / cpu_s[name]:,.0f}",
            f"{cpu_s['bare'] / cpu_s[name]:.2f}",
            f"{1000 * cpu_s[name] / SAMPLES:.2f}",
        )
    console = Console(width=100)
    console.print(table)
    console.print(
        f"Peak memory grew by {grown_bytes / 1e6:,.0f} MB for {large} samples of 1 MB each"
    )
    return cpu_s["bare"] / cpu_s["queue"]


async def main() -> None:
    """Measure, and print."""
    logger = logging.getLogger("controllers")
    logger.setLevel(logging.INFO)  # as in Functions; where the records go is not ours to measure
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    async with bench() as made:
        spent = await made.rounds()
        ratio = show(spent, *await made.grown_bytes())
    print(f"samples to bare requests, per core: {ratio:.2f}")  # noqa: T201  # what it is run for


if __name__ == "__main__":
    asyncio.run(main())
