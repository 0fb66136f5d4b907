"""A town with a dark launch: samples come, and the endpoints answer as the test says."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from controllers.samples import receive_samples
from shared.core.bodies import Reply
from shared.core.shadow import Replayed, Request
from shared.ports import Message
from tests.given import PROFILE
from tests.town import Town

type Answering = Callable[[int], Replayed]

JSON = {"content-type": "application/json"}


def answer(
    document: object = None,
    headers: Mapping[str, str] | None = None,
    *,
    status: int = 200,
    ms: float = 10.0,
) -> Replayed:
    """What an endpoint answers; without a document the one everybody agrees on."""
    body = json.dumps({"price": 10} if document is None else document).encode()
    return Replayed(Reply(status, {**JSON, **(headers or {})}, body, ms))


MOMENTS = count()


def ticking(number: int, price: float = 10) -> Replayed:
    """An answer with a moment in it that nobody gives twice."""
    return answer({"price": price, "at": f"{number}, {next(MOMENTS)}"})


def stamped_user(number: int) -> dict[str, Any]:
    """The answer a user got, with the moment of then."""
    return {"body": {"text": json.dumps({"price": 10, "at": f"then-{number}"})}}


def silent(reason: str = "no whole answer within 1 s") -> Replayed:
    """No answer although it was asked."""
    return Replayed(None, reason)


def not_tried(reason: str = "not tried: the endpoint has no address") -> Replayed:
    """Never asked."""
    return Replayed(None, reason, tried=False)


def sample_document(number: int, **changes: Any) -> dict[str, Any]:
    """A sample as a producer posts it; `request` and `response` add to the usual ones."""
    usual: dict[str, Any] = {
        "schema": "linnet.sample/1",
        "id": f"s-{number}",
        "profile": PROFILE,
        "at": datetime.fromtimestamp(1_800_000_000, UTC).isoformat(),
    }
    request = {"method": "GET", "path": f"/api/items/{number}", **changes.pop("request", {})}
    said = {"text": '{"price": 10}'}
    response = {"status": 200, "headers": JSON, "elapsed_ms": 12.5, "body": said}
    response |= changes.pop("response", {})
    return {**usual, "request": request, "response": response, **changes}


def shadow_step(bake: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """A first step that little traffic can decide; times are short as the bins are."""
    usual = {
        "mismatch": "2pp",
        "slower": "5pp",
        "unreachable": "2pp",
        "samples": 200,
        "learn": 20,
        "timeout": "1s",
        "log": "0%",
    }
    return {
        "percent": 0,
        "shadow": {**usual, **changes},
        "bake": bake or {"min": "0s", "max": "5m"},
    }


@dataclass
class DarkTown(Town):
    """`user`, `stable` and `canary` answer by the sample's number; `asked_of` counts replays."""

    user: Callable[[int], dict[str, Any]] = field(default=lambda _: {})
    stable: Answering = field(default=lambda _: answer())
    canary: Answering = field(default=lambda _: answer())
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.world.replays.answers = self.replayed

    def replayed(self, endpoint: str, request: Request) -> Replayed:
        number = int(request.path.partition("?")[0].rpartition("/")[2])
        return (self.canary if endpoint == "green" else self.stable)(number)

    def asked_of(self, endpoint: str) -> int:
        return sum(asked == endpoint for asked, _ in self.world.replays.asked)

    @property
    def canary_was_let_in(self) -> bool:
        """Whether any write ever gave the canary a share."""
        return any(
            name == "green" and write.to.enabled for _, name, write in self.world.traffic.journal
        )

    async def counted(self) -> tuple[int, int]:
        """How many samples were compared, and how many skipped."""
        seen = await self.world.store.tally("shop-2.4")
        return seen.samples, seen.skipped

    async def launch(self, bake: dict[str, str] | None = None, **shadow: Any) -> None:
        """Start with a dark launch and wait until it takes samples."""
        await self.start(steps=[shadow_step(bake, **shadow), 1, 100])
        await self.until(lambda rollout: rollout.bake_since_s is not None)

    def samples(self, number: int) -> list[Message]:
        """So many new samples."""
        numbers = [next(self.numbers) for _ in range(number)]
        return [self.message(sample_document(n, response=self.user(n))) for n in numbers]

    async def receive(self, *documents: object) -> None:
        """These samples in one batch."""
        await receive_samples(self.world, [self.message(document) for document in documents])

    async def traffic(self, seconds: int, per_s: int = 25) -> None:
        """Seconds with samples in each; ends early when the dark launch is over."""
        for _ in range(seconds):
            if per_s:
                await receive_samples(self.world, self.samples(per_s))
            await self.seconds(1)
            rollout = await self.rollout()
            if rollout.step or rollout.phase.value != "BAKING":
                return
