"""How long an alert takes to its first write in Traffic Manager, as a ratio to one bare write.

    python -m bench.alert [ROUNDS]

Measured: from handing the alert to the Service Bus SDK until the retreat's first PATCH takes
effect in ARM. All of it is real but Azure itself: the function app in a host of its own, with
Microsoft's worker library and SDKs, over sockets. Rules:
- Ratios are the result. Each round measures the alert and, in another child process, the bare
  calls to the same stand-ins: one endpoint PATCH by Linnet's own client, up to its effect; one
  message sent and received; one transaction of three rows. Ratios are taken round by round.
- The bare three together are what no design avoids: the message must come, the decision must be
  remembered, the write must be made. What is above them is Linnet's own.
- Ticks are made by hand, so that none falls into a measurement.
- Alone is a world with one live rollout; in company, others bake and listen to another alert.
It does not prove what Azure's own latency, its host's polling or a cold start would add.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from statistics import median, quantiles
from typing import Any, Final

import aiohttp
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.bare import NAME as BARE
from bench.bare import BareProcess
from sandbox.alerts import fired
from sandbox.azure import DEFAULT_WORKSPACE
from sandbox.clock import parse_iso, utc_now
from sandbox.local import LOCAL, LocalWorld, ProfileSpec, WorldOptions, profile_id
from sandbox.scene import Casting, Scene
from sandbox.servicebus import Broker, QueueSpec
from sandbox.services import Versions, serve_pair
from shared.cloud import wiring
from shared.ports import Store
from shared.settings import Settings

ROUNDS: Final = 20
FEWEST_ROUNDS: Final = 2
MOST_ROUNDS: Final = 500
WARM_UP_ROUNDS: Final = 3
COMPANY: Final = 10
FAR_S: Final = 30.0
SUBNET: Final = 41
SUBJECT: Final = "subject"
COMPANIONS: Final = tuple(f"other-{number}" for number in range(COMPANY))
VERSIONS: Final = Versions("1.0.0", "1.1.0")
NEVER: Final = "0 0 0 1 1 *"
# What the host still does after an answer (settling, a heartbeat) must not meet a measurement.
QUIET_S: Final = 0.15
FED_ROWS: Final = 3000
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Round:
    """One round's times: of the alert, and of the bare calls beside it."""

    alert_s: float
    write_s: float
    message_s: float
    transaction_s: float

    @property
    def bare_s(self) -> float:
        """The bare three, one after the other."""
        return self.write_s + self.message_s + self.transaction_s


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a round needs, at work."""

    world: LocalWorld
    store: Store
    http: aiohttp.ClientSession
    bare: BareProcess

    async def round(self, name: str, *, bare_first: bool) -> Round:
        """Bring a rollout to its bake, fire the alert, and make the bare calls before or after."""
        await self.bake([name], [SUBJECT])
        bare = await self._bare() if bare_first else None
        alert_s = await self._alert(name)
        await self._reach(name, "REVERTED")
        await asyncio.sleep(QUIET_S)
        write_s, message_s, transaction_s = bare or await self._bare()
        return Round(alert_s, write_s, message_s, transaction_s)

    async def bake(self, names: Sequence[str], profiles: Sequence[str]) -> None:
        """Start rollouts on these profiles and bring them to their bake at 20 %."""
        for name, profile in zip(names, profiles, strict=True):
            start = {"action": "start", "plan": self._plan(name, profile)}
            await self.world.post("commands", start)
        for name in names:
            await self._reach(name, "BAKING")
        await asyncio.sleep(QUIET_S)

    async def _alert(self, name: str) -> float:
        began_s = time.time()
        await self.world.post("alerts", fired(alert_of(name), profile_id(SUBJECT)))
        return await self._took_effect_s(SUBJECT, began_s) - began_s

    async def _bare(self) -> tuple[float, float, float]:
        said = await self.bare.ask()
        effect_s = await self._took_effect_s(BARE, said["began_s"])
        return effect_s - said["began_s"], said["message_s"], said["transaction_s"]

    async def _took_effect_s(self, profile: str, after_s: float) -> float:
        """When ARM first held 0 % for the canary, seconds since the epoch."""
        async with asyncio.timeout(FAR_S):
            while (at_s := self._zero_s(profile, after_s)) is None:  # noqa: ASYNC110  # ARM tells nobody
                await asyncio.sleep(_LOOK_S)
        return at_s

    def _zero_s(self, profile: str, after_s: float) -> float | None:
        ours, found = f"{profile_id(profile)}/".casefold(), None
        for write in reversed(self.world.azure.traffic.journal):
            at_s = parse_iso(write.at).timestamp()
            if at_s < after_s:
                break
            if write.resource_id.casefold().startswith(ours) and write.shares.get("canary") == 0:
                found = at_s
        return found

    async def _reach(self, name: str, phase: str) -> None:
        """Make ticks until the rollout is in this phase."""
        seen = await self.world.until(name, lambda rollout: rollout["phase"] != "PENDING")
        async with asyncio.timeout(FAR_S):
            while seen["phase"] != phase:
                await self._tick()
                seen = await self.world.get(f"rollouts/{name}")

    async def _tick(self) -> None:
        """One tick, until its heartbeat, which comes last."""
        began_s = time.time()
        async with self.http.post(f"{self.world.url}/admin/functions/tick") as response:
            response.raise_for_status()
        while (await self.store.last_beat_s() or 0.0) < began_s:  # noqa: ASYNC110  # rows tell nobody
            await asyncio.sleep(_LOOK_S)

    def _plan(self, name: str, profile: str) -> dict[str, Any]:
        """It settles at once and bakes at 20 % for long: waits for caches are not the subject."""
        plan = Scene(self.world, Casting(profile)).plan(
            name=name,
            steps=[20, 100],
            bake={"min": "1h", "max": "4h"},
            name_servers="0s",
            guard="0s",
            rollback_on=[{"alert": alert_of(name)}],
        )
        arms = {
            "column": "AppVersion",
            "stable": VERSIONS.stable,
            "canary": VERSIONS.canary,
        }
        risk = {"tolerance": "5pp"}
        plan["evidence"] |= {"arms": arms, "risk": risk, "lookback": "1h"}
        return plan


# --- setting up and telling


def alert_of(name: str) -> str:
    """A rule of each rollout's own: an alert that fires already would be part of the scenery."""
    return f"{name}-5xx"


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """The local Azure with services to probe and a past of good requests."""
    options = WorldOptions(ingestion_delay_s=0.0, tick=NEVER, log=LOCAL / "bench-host.log")
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(LocalWorld(options))
        broker = await stack.enter_async_context(Broker([QueueSpec(BARE)]))
        pair = await serve_pair(
            stack, SUBJECT, VERSIONS, world.telemetry.record, subnet=SUBNET, seed=0
        )
        for name in (SUBJECT, BARE, *COMPANIONS):
            world.create_profile(
                ProfileSpec(name, pair.stable.host, pair.canary.host, pair.port, ttl_s=0)
            )
        await world.azure.logs.add(DEFAULT_WORKSPACE, past_requests())
        bare = BareProcess(world.environment() | {"ServiceBus": broker.connection_string})
        await stack.enter_async_context(bare)
        linnet = wiring.world(Settings(tables_connection=world.azurite.connection_string))
        stack.push_async_callback(linnet.close)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Bench(world, linnet.store, http, bare)


def past_requests() -> list[dict[str, Any]]:
    """Good requests of the last minute to stable, so that preflight has something to go by."""
    now = utc_now()
    return [
        {
            "TimeGenerated": now - timedelta(minutes=number / FED_ROWS),
            "AppVersion": VERSIONS.stable,
            "Success": True,
            "ItemCount": 1,
        }
        for number in range(FED_ROWS)
    ]


async def measure(console: Console, rounds: int) -> None:
    """All rounds, alone and in company; then the table and the line."""
    async with bench() as made:
        names = (f"alert-{number}" for number in count(1))
        for _ in range(WARM_UP_ROUNDS):
            await made.round(next(names), bare_first=True)
        alone = await _rounds(made, names, rounds, "alone")
        await made.bake(COMPANIONS, COMPANIONS)
        crowded = await _rounds(made, names, rounds, "in company")
    console.print(table(alone, crowded))
    ratio = median(each.alert_s / each.write_s for each in alone)
    console.print(
        f"alert to first ARM write: {ratio:.1f} times one bare ARM write (median of {rounds})"
    )


async def _rounds(made: Bench, names: Iterator[str], rounds: int, what: str) -> list[Round]:
    """Every other round makes the bare calls first, so that neither profits from its place."""
    return [
        await made.round(next(names), bare_first=bool(number % 2))
        for number in track(range(rounds), what, transient=True)
    ]


def table(alone: Sequence[Round], crowded: Sequence[Round]) -> Table:
    """Milliseconds for context, ratios as the result."""
    made = Table(
        title=f"From an alert to the first ARM write, {len(alone)} rounds",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    made.add_column("")
    for heading in (
        "median ms",
        "p90 ms",
        "min ms",
        "max ms",
        "times a\nwrite",
        "times the\nthree",
    ):
        made.add_column(heading, justify="right")
    _row(made, "alert, alone", alone, lambda each: each.alert_s)
    _row(made, f"alert, {COMPANY} others live", crowded, lambda each: each.alert_s)
    made.add_section()
    both = [*alone, *crowded]
    _row(made, "bare ARM write", both, lambda each: each.write_s)
    _row(made, "bare message", both, lambda each: each.message_s)
    _row(made, "bare transaction", both, lambda each: each.transaction_s)
    _row(made, "the three together", both, lambda each: each.bare_s)
    return made


def _row(
    table: Table, name: str, rounds: Sequence[Round], time_s: Callable[[Round], float]
) -> None:
    took_ms = [1000 * time_s(each) for each in rounds]
    p90 = quantiles(took_ms, n=10, method="inclusive")[-1]
    to_write = median(time_s(each) / each.write_s for each in rounds)
    to_three = median(time_s(each) / each.bare_s for each in rounds)
    times = (median(took_ms), p90, min(took_ms), max(took_ms))
    table.add_row(name, *(f"{ms:.1f}" for ms in times), f"{to_write:.2f}", f"{to_three:.2f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.alert")
    parser.add_argument(
        "rounds", nargs="?", type=int, default=ROUNDS, help=f"{FEWEST_ROUNDS} to {MOST_ROUNDS}"
    )
    options = parser.parse_args()
    if not FEWEST_ROUNDS <= options.rounds <= MOST_ROUNDS:
        parser.error(f"{FEWEST_ROUNDS} to {MOST_ROUNDS} rounds are possible")
    asyncio.run(measure(Console(), options.rounds))


if __name__ == "__main__":
    main()
