"""One rollout on the product's own wiring: real SDKs, real sockets, the local Azure behind them.

A `Case` has a profile and a store of its own. It delivers messages as the broker would (again
until they are settled, and parked at last), lets users come, turns the clock by hand where it is
given one, and asks at the end what a user would notice: is the canary at zero, is no message lost.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from controllers import inbox
from controllers.tick import tick
from sandbox.alerts import fired
from sandbox.azure import DEFAULT_WORKSPACE
from sandbox.local import profile_id
from shared.cloud import wiring
from shared.core.events import Ticked, TurnFailed
from shared.core.model import Phase, Rollout
from shared.ports import Clock, HistoryRow, Message, World
from shared.wire import read_alert
from tests.stories.surroundings import Surroundings
from tests.town import plan_document

DELIVERIES = 10
PER_S = 100
LOOKBACK_S = 20
STABLE_WEIGHT = 1000


class Case:
    """One rollout, its profile, its users, and everything that was posted about it."""

    def __init__(self, name: str, where: Surroundings) -> None:
        self.name = name
        self.where = where
        self.settings = where.settings
        self.world = self._wire()
        self.bad_rate = 0.0
        self.posted: list[Message] = []
        self.parked: list[Message] = []

    def _wire(self) -> wiring.AzureWorld:
        clock: Clock = self.where.clock or wiring.SystemClock()
        return replace(wiring.world(self.settings), clock=clock)

    async def cold_start(self) -> None:
        """The process is recycled: no connection, no token, nothing in memory is left."""
        await self.world.close()
        self.world = self._wire()

    @asynccontextmanager
    async def another_instance(self) -> AsyncIterator[wiring.AzureWorld]:
        """A second process of the same deployment."""
        other = self._wire()
        try:
            yield other
        finally:
            await other.close()

    # --- the profile and its users

    @property
    def profile(self) -> str:
        return profile_id(self.name)

    @property
    def share(self) -> float:
        """The canary's share of DNS answers by the weights in ARM."""
        return self.where.azure.traffic.shares(self.profile).get("canary", 0.0)

    @property
    def shares(self) -> list[float]:
        """The canary's share after each write to the profile, in order."""
        ours = f"{self.profile}/".casefold()
        return [
            write.shares.get("canary", 0.0)
            for write in self.where.azure.traffic.journal
            if write.resource_id.casefold().startswith(ours)
        ]

    def create_profile(self) -> None:
        """Stable serves, the canary is off; both answer TCP, since their port is ARM's own."""
        ends = (
            ("stable", {"target": "127.0.0.1", "weight": STABLE_WEIGHT}),
            ("canary", {"target": "127.0.0.1", "weight": 1, "endpointStatus": "Disabled"}),
        )
        kind = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"
        port = int(self.where.azure.base_url.rpartition(":")[2])
        properties = {
            "trafficRoutingMethod": "Weighted",
            "dnsConfig": {"relativeName": self.name, "ttl": 0},
            "monitorConfig": {"protocol": "TCP", "port": port},
            "endpoints": [{"name": n, "type": kind, "properties": fields} for n, fields in ends],
        }
        self.where.azure.traffic.put(self.profile, {"location": "global", "properties": properties})

    async def users(self, *, since_s: float = 1, per_s: int = PER_S) -> None:
        """Requests of the last seconds, shared out by the weights in force now."""
        now_s = self.world.clock.now_s()
        canary = round(per_s * self.share)
        bad = round(canary * self.bad_rate)
        rows = [
            {
                "TimeGenerated": datetime.fromtimestamp(now_s - second - 0.5, UTC),
                "AppVersion": f"{self.name}-{'canary' if number < canary else 'stable'}",
                "Success": number >= bad,
            }
            for second in range(int(since_s))
            for number in range(per_s)
        ]
        await self.where.azure.logs.add(DEFAULT_WORKSPACE, rows)

    # --- the rollout

    def plan(self) -> dict[str, Any]:
        """Three steps that this traffic can decide in seconds; nothing is waited out."""
        document = plan_document(
            name=self.name,
            profile=self.profile,
            stable="stable",
            canary="canary",
            steps=[20, 60, 100],
            rollback_on=[{"alert": f"{self.name}-5xx"}],
            name_servers="0s",
            patience="5m",
            guard="0s",
        )
        arms = {arm: f"{self.name}-{arm}" for arm in ("stable", "canary")}
        document["evidence"] |= {
            "workspace": DEFAULT_WORKSPACE,
            "arms": {"column": "AppVersion", **arms},
            "risk": {"tolerance": "5pp"},
            "ingestion_delay": "1s",
        }
        return document

    async def rollout(self) -> Rollout:
        stored = await self.world.store.load(self.name)
        assert stored is not None
        return stored.rollout

    async def history(self) -> list[HistoryRow]:
        return await self.world.store.history(self.name)

    async def asked(self) -> list[HistoryRow]:
        """The rows of history that came from messages."""
        ours = (Ticked, TurnFailed)
        return [row for row in await self.history() if not isinstance(row.event, ours)]

    async def until(self, done: Callable[[Rollout], bool], most: int = 60) -> Rollout:
        """A second passes with its requests and its tick, again until something is true."""
        for _ in range(most):
            rollout = await self.rollout()
            if done(rollout):
                return rollout
            await self.second()
        raise AssertionError(f"never: {rollout.phase}, {rollout.sentence}")

    async def reach(self, phase: Phase, step: int | None = None) -> Rollout:
        return await self.until(
            lambda rollout: rollout.phase is phase and step in {None, rollout.step + 1}
        )

    async def second(self) -> None:
        if self.where.clock is not None:
            self.where.clock.at_s += 1
            await self.users()
        await tick(self.world)

    # --- messages

    def message(self, document: dict[str, Any], queue: str = "commands") -> Message:
        """A message that is posted now, whoever delivers it."""
        body = json.dumps(document).encode()
        message = Message(f"{queue}/{uuid4()}", body, self.world.clock.now_s())
        self.posted.append(message)
        return message

    def abort(self) -> Message:
        return self.message({"action": "abort", "rollout": self.name, "by": "ada"})

    def promote(self, from_step: int) -> Message:
        return self.message(
            {"action": "promote", "rollout": self.name, "by": "ada", "from_step": from_step}
        )

    def alert(self) -> Message:
        document = fired(f"{self.name}-5xx", self.profile)
        at = datetime.fromtimestamp(self.world.clock.now_s(), UTC)
        document["data"]["essentials"]["firedDateTime"] = at.isoformat()
        return self.message(document, "alerts")

    async def start(self) -> None:
        """Users have been there for a while, and a pipeline starts the rollout."""
        self.create_profile()
        await self.users(since_s=LOOKBACK_S)
        await self.deliver(self.message({"action": "start", "plan": self.plan()}))

    async def deliver(self, message: Message, world: World | None = None) -> int:
        """Deliver until it is settled or has had its tries; how often that was."""
        for tries in range(1, DELIVERIES + 1):
            if await self.settles(replace(message, deliveries=tries), world):
                return tries
        self.parked.append(message)
        return DELIVERIES

    async def settles(self, message: Message, world: World | None = None) -> bool:
        """One delivery, to the instance given or the first; whether the message is done with."""
        alert = message.id.startswith("alerts/")
        receive = inbox.receive_alert if alert else inbox.receive_command
        try:
            await receive(world or self.world, message)
        except Exception:  # noqa: BLE001  # whatever it is, a host abandons the message then
            return False
        return True

    # --- what a user would notice

    async def ends_at_zero(self) -> None:
        """Aborted if nobody has taken it back yet; then nothing is above zero and nothing lost."""
        if (await self.rollout()).phase not in {Phase.RETREATING, Phase.REVERTED}:
            await self.deliver(self.abort())
        await self.reach(Phase.REVERTED)
        self.shows_zero()
        await self.lost_nothing()

    def shows_zero(self) -> None:
        """ARM has what was there before: the canary disabled, stable enabled with its weight."""
        found = self.where.azure.traffic.get(self.profile)["properties"]["endpoints"]
        ends = {end["name"]: end["properties"] for end in found}
        told = {n: (p["endpointStatus"], p["weight"]) for n, p in ends.items()}
        assert told == {"stable": ("Enabled", STABLE_WEIGHT), "canary": ("Disabled", 1)}
        assert self.share == 0.0

    async def lost_nothing(self) -> None:
        """Every message was applied or refused once, in a row of its own, or is parked."""
        numbers = [row.number for row in await self.history()]
        assert numbers == list(range(1, len(numbers) + 1))
        kept = {rejected.message.id for rejected in await self.world.store.rejected()}
        kept |= {message.id for message in self.parked}
        led_to = [
            (message, await self.world.store.seen(self.name, await self._seen_as(message)))
            for message in self.posted
        ]
        assert [m.id for m, number in led_to if number is None and m.id not in kept] == []
        rows = sorted(number for _, number in led_to if number is not None)
        assert rows == [row.number for row in await self.asked()]

    async def _seen_as(self, message: Message) -> str:
        """An alert is known together with when it began to fire."""
        key = inbox.key(message)
        if b"azureMonitorCommonAlertSchema" not in message.body:
            return key
        heard = await self.world.store.heard(read_alert(message.body).key)
        return f"{key}@{heard.spell.since_s}" if heard else key


@asynccontextmanager
async def case(name: str, where: Surroundings) -> AsyncIterator[Case]:
    """A case whose faults and connections are gone afterwards."""
    made = Case(name, where)
    try:
        yield made
    finally:
        where.azure.faults.clear()
        await made.world.close()
