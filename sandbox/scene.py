"""One product of the local world: two services, their profile, and the users who come to it.

    async with Scene(world, Casting("shop", subnet=1)) as shop:
        await world.post("commands", {"action": "start", "plan": shop.plan()})

Rules: its plan is one of examples/ with this product's names, so that what the demo shows is what
a reader can start; at the end users leave before the services go.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import yaml

from sandbox.arm_profile import DOMAIN
from sandbox.feed import Feed, producer
from sandbox.local import ROOT, LocalWorld, ProfileSpec, profile_id
from sandbox.services import ServicePair, Versions, serve_pair
from sandbox.users import Crowd, Habits, Tally, Where

EXAMPLE: Final = ROOT / "examples" / "plan.yaml"
# Short, so that one of two replays takes twice as long as the other by less than Linnet looks at.
FEED_MS: Final = 3.0
# So often that twenty seconds of stable's past show it; elsewhere hardly anything fails.
ERROR_RATE: Final = 0.0005
FAR_ERROR_RATE: Final = 0.03
DARK_EXAMPLE: Final = ROOT / "examples" / "plan-dark.yaml"


@dataclass(frozen=True, slots=True)
class Casting:
    """Who plays: the product's name, its loopback subnet (127.0.`subnet`.x), its users.

    With `sampled` it is a feed, whose stable version posts this share of its requests to Linnet,
    and its plan begins with a dark launch.
    """

    name: str
    subnet: int = 1
    ttl_s: int = 1
    stable_weight: int = 1000
    seed: int = 0
    habits: Habits = field(default_factory=Habits)
    sampled: float = 0.0

    @property
    def example(self) -> Path:
        """The plan it plays."""
        return DARK_EXAMPLE if self.sampled else EXAMPLE

    @property
    def versions(self) -> Versions:
        """Named after the product: all products share a workspace, and arms are told by version."""
        return Versions(f"{self.name}-1.0.0", f"{self.name}-1.1.0")


class Scene:
    """Services, profile and users, at work while it is entered."""

    def __init__(self, world: LocalWorld, casting: Casting) -> None:
        self.casting = casting
        self.name = casting.name
        self._world = world
        self._pair: ServicePair | None = None
        self._crowd: Crowd | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        cast = self.casting
        record = self._world.telemetry.record
        async with AsyncExitStack() as stack:
            self._pair = pair = await serve_pair(
                stack, cast.name, cast.versions, record, subnet=cast.subnet, seed=cast.seed
            )
            self._world.create_profile(self._profile(pair))
            if cast.sampled:
                self._feed(pair)
            else:
                for service in (pair.stable, pair.canary):
                    service.behave(error_rate=ERROR_RATE, far_error_rate=FAR_ERROR_RATE)
            self._crowd = Crowd(self._where(pair), cast.habits)
            await stack.enter_async_context(self._crowd)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def services(self) -> ServicePair:
        """Both services; RuntimeError before the scene is entered."""
        if self._pair is None:
            raise RuntimeError(f"the scene {self.name} is not entered")
        return self._pair

    @property
    def tally(self) -> Tally:
        """What users met so far; RuntimeError before the scene is entered."""
        if self._crowd is None:
            raise RuntimeError(f"the scene {self.name} is not entered")
        return self._crowd.tally

    @property
    def share(self) -> float:
        """The canary's share of DNS answers (0..1) by the weights in ARM."""
        return self._world.canary_share(self.name)

    @property
    def weights(self) -> dict[str, int]:
        """The weights in ARM before anybody moved them, by endpoint."""
        return {"stable": self.casting.stable_weight, "canary": 1}

    @property
    def alert(self) -> str:
        """The name of the alert rule that the plan listens to."""
        return f"{self.name}-5xx"

    def plan(self, **changes: Any) -> dict[str, Any]:
        """The plan of this product's rollout, as a document; `changes` replace whole fields."""
        plan: dict[str, Any] = yaml.safe_load(self.casting.example.read_text(encoding="utf-8"))
        versions = self.casting.versions
        arms = {"column": "AppVersion", "stable": versions.stable, "canary": versions.canary}
        return {
            **plan,
            "name": self.name,
            "profile": profile_id(self.name),
            "evidence": {**plan["evidence"], "arms": arms},
            "rollback_on": [{"alert": self.alert}],
            **changes,
        }

    def _feed(self, pair: ServicePair) -> None:
        cast = self.casting
        for service in (pair.stable, pair.canary):
            service.page = Feed(f"{cast.seed} {service.version}")
            service.behave(error_rate=0.0, latency_ms=FEED_MS)
        url, profile = self._world.url, profile_id(self.name)
        pair.stable.samples = producer(url, profile, share=cast.sampled, seed=f"{cast.seed}")

    def _profile(self, pair: ServicePair) -> ProfileSpec:
        return ProfileSpec(
            name=self.name,
            stable=pair.stable.host,
            canary=pair.canary.host,
            port=pair.port,
            ttl_s=self.casting.ttl_s,
            stable_weight=self.casting.stable_weight,
        )

    def _where(self, pair: ServicePair) -> Where:
        return Where(
            name=f"{self.name}.{DOMAIN}",
            dns_port=self._world.azure.dns_port,
            port=pair.port,
            arms={pair.stable.host: "stable", pair.canary.host: "canary"},
        )
