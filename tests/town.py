"""The controllers in a world in memory where users come evenly and time is turned by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from controllers import inbox
from controllers.tick import tick
from sandbox.memory import MemoryWorld, memory_world
from sandbox.memory_store import Hook, no_fault
from shared.core import weights
from shared.core.model import Arm, Pair, Phase, Rollout
from shared.core.questions import Question
from shared.core.telemetry import Answer, ArmBin, BinSeen, Sight
from shared.ports import HistoryRow, Message
from shared.settings import Settings
from tests.given import PROFILE, WORKSPACE, pair, profile

START_S = 1_800_000_000.0


def settings(**changes: Any) -> Settings:
    usual: dict[str, Any] = {"allowed_profiles": (PROFILE,), "allowed_workspaces": (WORKSPACE,)}
    return Settings(**{**usual, **changes})


def plan_document(**changes: Any) -> dict[str, Any]:
    """A plan as a team would write it, for bins of a second."""
    usual = {
        "name": "shop-2.4",
        "profile": PROFILE,
        "stable": "blue",
        "canary": "green",
        "steps": [1, 10, 50, 100],
        "bake": {"min": "0s", "max": "10m"},
        "evidence": {
            "workspace": WORKSPACE,
            "arms": {"column": "AppVersion", "stable": "2.3.9", "canary": "2.4.0"},
            "risk": {"tolerance": "2pp"},
            "bin": "1s",
            "ingestion_delay": "2s",
            "lookback": "20s",
        },
        "rollback_on": [{"alert": "shop-5xx"}],
        "name_servers": "1s",
        "patience": "30s",
        "guard": "5s",
    }
    return {**usual, **changes}


def alert_document(
    rule: str = "shop-5xx", condition: str = "Fired", fired_s: float = START_S
) -> dict[str, Any]:
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": "/subscriptions/s-1/alerts/1",
                "alertRule": rule,
                "severity": "Sev1",
                "monitorCondition": condition,
                "alertTargetIDs": ["/subscriptions/s-1/app"],
                "firedDateTime": datetime.fromtimestamp(fired_s, UTC).isoformat(),
            },
            "alertContext": {"condition": {"windowSize": "PT5M"}},
        },
    }


@dataclass
class Town:
    """One profile, one deployment, and the messages that were posted to it."""

    hook: Hook = no_fault
    world: MemoryWorld = field(init=False)
    rates: tuple[float, float] = (0.0, 0.0)
    per_s: int = 100
    posted: int = 0

    def __post_init__(self) -> None:
        self.world = memory_world(settings(), self.hook)
        self.world.traffic.profiles[PROFILE.casefold()] = profile(pair(100, 0))
        self.world.telemetry.answers = self.answer

    @property
    def weights(self) -> Pair:
        blue, green = self.world.traffic.profiles[PROFILE.casefold()].endpoints
        return Pair(Arm(blue.weight, blue.enabled), Arm(green.weight, green.enabled))

    @property
    def share(self) -> float:
        return float(weights.share(self.weights))

    def answer(self, question: Question) -> Answer:
        canary = round(self.per_s * self.share)
        arms = self.arm(self.per_s - canary, self.rates[0]), self.arm(canary, self.rates[1])
        bins = tuple(BinSeen(n, *arms) for n in range(question.from_bin, question.to_bin))
        return Answer(Sight.SEEN, "", bins, self.world.clock.at_s, question.to_bin)

    def arm(self, requests: int, rate: float) -> ArmBin | None:
        bad = round(requests * rate)
        return ArmBin(requests, requests, (bad,), (bad,)) if requests else None

    def message(self, document: object, id_: str | None = None) -> Message:
        self.posted += 1
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return Message(id_ or f"m-{self.posted}", body, self.world.clock.at_s)

    async def command(self, action: str, id_: str | None = None, **more: Any) -> None:
        """Post a command and have it delivered."""
        document = {"action": action, "rollout": "shop-2.4", "by": "ada", **more}
        await inbox.receive_command(self.world, self.message(document, id_))

    async def start(self, id_: str | None = None, **changes: Any) -> None:
        document = {"action": "start", "by": "ci", "plan": plan_document(**changes)}
        await inbox.receive_command(self.world, self.message(document, id_))

    async def alert(self, id_: str | None = None, **changes: Any) -> None:
        usual = {"fired_s": self.world.clock.at_s}
        document = alert_document(**{**usual, **changes})
        await inbox.receive_alert(self.world, self.message(document, id_))

    async def rollout(self, name: str = "shop-2.4") -> Rollout:
        stored = await self.world.store.load(name)
        assert stored is not None
        return stored.rollout

    async def history(self) -> list[HistoryRow]:
        return await self.world.store.history("shop-2.4")

    async def seconds(self, count: int) -> None:
        for _ in range(count):
            self.world.clock.advance(1)
            await tick(self.world)

    async def until(self, done: Callable[[Rollout], bool], most: int = 300) -> Rollout:
        for _ in range(most):
            rollout = await self.rollout()
            if done(rollout):
                return rollout
            await self.seconds(1)
        raise AssertionError(f"never: {rollout.phase}, {rollout.sentence}")

    async def reach(self, phase: Phase, number: int | None = None) -> Rollout:
        return await self.until(
            lambda rollout: rollout.phase is phase and number in {None, rollout.step + 1}
        )

    async def reasons(self) -> list[str]:
        return [entry.reason for entry in await self.world.store.rejected()]
