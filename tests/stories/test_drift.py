"""Somebody else's hand on the weights in the middle of a rollout.

The traffic port is the product's own, over the real SDK and sockets; the other person works with
the SDK as well. Store, telemetry and clock are in memory: users come evenly, by the shares that
the local Traffic Manager answers with. `test_drift_profile.py` is about all that is no weight.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio
from azure.mgmt.trafficmanager.aio import TrafficManagerManagementClient
from azure.mgmt.trafficmanager.models import Endpoint, EndpointProperties

from sandbox.arm_checks import ArmError
from sandbox.azure import LocalAzure
from shared.cloud.traffic import ArmTraffic, profile_id
from shared.core.model import Arm, Pair, Phase, Rollout
from tests.contracts import shop
from tests.given import PROFILE, pair
from tests.town import Town

BAKE = pair(80, 20)
BEFORE = pair(100, 0)
WHERE = profile_id(PROFILE)
EXTERNAL = "ExternalEndpoints"
STAY = {"min": "10m", "max": "20m"}
LONG = [{"percent": 20, "bake": STAY}, 100]
FULL = [20, {"percent": 100, "bake": STAY}]


@dataclass
class Person:
    """Somebody with a portal open: the SDK's own client, and no word to Linnet."""

    client: TrafficManagerManagementClient

    async def put(self, name: str, kind: str = EXTERNAL, **properties: Any) -> None:
        """Create an endpoint, enabled."""
        body = Endpoint(properties=EndpointProperties(**properties))
        endpoints = self.client.endpoints
        await endpoints.create_or_update(WHERE.group, WHERE.name, kind, name, body)

    async def set(self, name: str, **properties: Any) -> None:
        """PATCH an endpoint."""
        body = Endpoint(properties=EndpointProperties(**properties))
        await self.client.endpoints.update(WHERE.group, WHERE.name, EXTERNAL, name, body)

    async def weigh(self, stable: int, canary: int) -> None:
        """Set both weights; 0 disables and leaves the weight as it is."""
        for name, weight in (("green", canary), ("blue", stable)):
            status = "Enabled" if weight else "Disabled"
            await self.set(name, weight=weight or None, endpoint_status=status)

    async def remove(self, name: str) -> None:
        await self.client.endpoints.delete(WHERE.group, WHERE.name, EXTERNAL, name)

    async def profile(self, **properties: Any) -> None:
        """PATCH the profile, with JSON as ARM documents it."""
        body: Any = {"properties": properties}
        await self.client.profiles.update(WHERE.group, WHERE.name, body)

    async def remove_profile(self) -> None:
        await self.client.profiles.delete(WHERE.group, WHERE.name)


@dataclass(kw_only=True)
class Shop(Town):
    """The town with its profile in the local Azure, where `person` is at work too."""

    azure: LocalAzure
    hands: ArmTraffic
    person: Person

    def __post_init__(self) -> None:
        super().__post_init__()
        self.world = replace(self.world, traffic=self.hands)  # type: ignore[arg-type]  # as in Azure

    def endpoint(self, name: str) -> dict[str, Any]:
        """What ARM holds of an endpoint."""
        ends = self.azure.traffic.get(PROFILE)["properties"]["endpoints"]
        found: dict[str, Any] = next(end["properties"] for end in ends if end["name"] == name)
        return found

    def held_by_arm(self, name: str) -> Arm:
        found = self.endpoint(name)
        return Arm(found["weight"], enabled=found["endpointStatus"] == "Enabled")

    @property
    def weights(self) -> Pair:
        return Pair(self.held_by_arm("blue"), self.held_by_arm("green"))

    @property
    def share(self) -> float:
        """The canary's part of the pair's DNS answers, health and all."""
        try:
            shares = self.azure.traffic.shares(PROFILE)
        except ArmError:
            return 0.0
        blue, green = shares.get("blue", 0.0), shares.get("green", 0.0)
        return green / (blue + green) if blue + green else 0.0

    def ail(self, name: str, status: str | None) -> None:
        """What Traffic Manager's probes find from now on."""
        self.azure.traffic.set_health(f"{PROFILE}/{EXTERNAL}/{name}", status)

    async def bake(self) -> None:
        """A rollout that bakes at 20 %, and will for ten minutes."""
        await self.start(steps=LONG)
        await self.reach(Phase.BAKING)

    async def serve_all(self) -> None:
        """A rollout that bakes at 100 %: stable is disabled."""
        await self.start(steps=FULL)
        await self.reach(Phase.BAKING, 2)

    async def looks(self, phase: Phase, words: str) -> Rollout:
        """One more look leads to this phase, and a person reads these words."""
        await self.seconds(1)
        rollout = await self.rollout()
        assert (rollout.phase, words in rollout.sentence) == (phase, True), rollout.sentence
        return rollout

    async def keeps_off(self) -> None:
        """However often it looks now, Linnet writes nothing."""
        writes = len(self.azure.traffic.journal)
        await self.seconds(4)
        assert len(self.azure.traffic.journal) == writes


@asynccontextmanager
async def reached(azure: LocalAzure) -> AsyncIterator[ArmTraffic]:
    """The product's hands, as it wires them from its environment."""
    with pytest.MonkeyPatch.context() as environment:
        async with shop.wired(shop.settings(azure, environment)) as world:
            assert isinstance(world.traffic, ArmTraffic)
            yield world.traffic


def opened(azure: LocalAzure, hands: ArmTraffic) -> Shop:
    """A fresh profile whose monitor is content with an open port, and nobody ill."""
    port = int(azure.base_url.rpartition(":")[2])
    blue = shop.endpoint("blue", weight=100)
    green = shop.endpoint("green", weight=1, target="127.0.0.1", endpointStatus="Disabled")
    body = shop.profile(blue, green, protocol="TCP", port=port, path=None)
    body["properties"]["dnsConfig"]["ttl"] = 1
    azure.traffic.delete(PROFILE)
    azure.traffic.put(PROFILE, body)
    azure.traffic.journal.clear()
    made = Shop(azure=azure, hands=hands, person=Person(hands._client(WHERE)))
    made.ail("blue", None)
    made.ail("green", None)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hands(azure: LocalAzure) -> AsyncIterator[ArmTraffic]:
    async with reached(azure) as made:
        yield made


@pytest.fixture
def town(azure: LocalAzure, hands: ArmTraffic) -> Shop:
    return opened(azure, hands)


@pytest.mark.parametrize("given", [(50, 50), (95, 5), (80, 0)], ids=["raised", "lowered", "off"])
@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING])
async def test_a_hand_on_the_weights_stops_the_rise_and_stays(
    town: Shop, phase: Phase, given: tuple[int, int]
) -> None:
    """Up or down, while it settles or bakes: held, both pairs named, and never fought."""
    settling = {"name_servers": "60s"} if phase is Phase.SHIFTING else {}
    await town.start(steps=LONG, **settling)
    await town.until(lambda rollout: rollout.phase is phase and rollout.verified_at_s is not None)
    await town.person.weigh(*given)
    theirs = town.weights
    seen = f"green {given[1]}" if given[1] else "green 20 disabled"
    said = f"someone changed the weights: blue {given[0]}, {seen} is in force, blue 80, green 20"
    await town.looks(Phase.HELD, said)
    await town.keeps_off()
    assert town.weights == theirs


async def test_weights_set_during_a_hold_are_learnt_and_a_resume_goes_on_from_them(
    town: Shop,
) -> None:
    """Nothing is written while it is held; the resume brings the step's own weights back."""
    await town.bake()
    await town.command("hold", reason="lunch")
    await town.person.weigh(50, 50)
    learnt = await town.looks(Phase.HELD, "Held by ada (lunch)")
    assert learnt.last_pair == pair(50, 50)
    await town.keeps_off()
    await town.command("promote", from_step=1)
    assert "not verified" in (await town.reasons())[0]
    await town.command("resume")
    assert town.weights == pair(50, 50)
    await town.reach(Phase.BAKING)
    assert town.weights == BAKE


@pytest.mark.parametrize(
    ("given", "words"),
    [((100, 40), "Not at zero yet."), ((0, 40), "Not at zero yet."), ((0, 0), "At zero; 2 s")],
    ids=["raised", "only", "nobody"],
)
async def test_while_it_retreats_zero_is_enforced(
    town: Shop, given: tuple[int, int], words: str
) -> None:
    """Whoever gives the canary traffic then is overruled at the next look, and stable serves."""
    await town.bake()
    await town.command("abort", reason="wrong colour")
    assert town.weights == BEFORE
    await town.seconds(1)
    await town.person.weigh(*given)
    await town.looks(Phase.RETREATING, words)
    assert town.weights == BEFORE
    await town.reach(Phase.REVERTED)


@pytest.mark.parametrize("given", [(100, 40), (0, 40), (0, 0)], ids=["raised", "only", "nobody"])
async def test_after_the_return_zero_is_enforced_while_the_guard_stands(
    town: Shop, given: tuple[int, int]
) -> None:
    """A write may have been under way; after the guard whoever sets weights is a person."""
    await town.bake()
    await town.command("abort")
    await town.reach(Phase.REVERTED)
    await town.person.weigh(*given)
    await town.looks(Phase.REVERTED, "Reverted: the canary is at zero")
    assert town.weights == BEFORE
    await town.seconds(5)
    await town.person.weigh(60, 40)
    await town.keeps_off()
    assert (town.weights, await town.world.store.claims()) == (pair(60, 40), [])


async def test_stables_own_weight_is_its_owners_once_the_canary_is_back_at_zero(
    town: Shop,
) -> None:
    """The guard is against traffic for the canary, and against nothing else."""
    await town.bake()
    await town.command("abort")
    await town.reach(Phase.REVERTED)
    await town.person.set("blue", weight=70)
    await town.keeps_off()
    assert town.weights == pair(70, 0)
