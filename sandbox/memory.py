"""The world in memory: every port as a value, with a turned clock and a hook at every call.

A stand-in for tests of the controllers. It keeps the ports' contracts and proves nothing about
Azure.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.memory_store import Faulty, Hook, MemoryStore, no_fault
from shared.core.model import EndpointSeen, ProbeSeen, ProfileSeen, TrafficSeen
from shared.core.questions import LevelQuestion, Question
from shared.core.shadow import Replayed, Request
from shared.core.telemetry import Answer, Levels, Sight, Strata
from shared.core.weights import Write
from shared.errors import LinnetError, RefusedError
from shared.ports import World
from shared.settings import Settings


@dataclass
class MemoryTraffic(Faulty):
    """Profiles by lower-case id; `journal` has every write that took effect."""

    profiles: dict[str, ProfileSeen] = field(default_factory=dict)
    journal: list[tuple[str, str, Write]] = field(default_factory=list)
    probed: ProbeSeen = field(default_factory=lambda: ProbeSeen(healthy=True, reason="200"))
    blind: str = ""

    async def see(self, profile: str) -> TrafficSeen:
        """The profile as it is."""
        async with self.call("see"):
            seen = self.profiles.get(profile.casefold())
            if self.blind:
                return TrafficSeen(Sight.FAILED, self.blind)
            if seen is None:
                return TrafficSeen(Sight.ABSENT, "404")
            return TrafficSeen(Sight.SEEN, profile=seen)

    async def write(self, profile: str, endpoint: EndpointSeen, write: Write) -> None:
        """One endpoint PATCH."""
        async with self.call("write"):
            self.journal.append((profile, endpoint.name, write))
            health = "Online" if write.to.enabled else "Disabled"
            self.set(
                profile,
                endpoint.name,
                weight=write.to.weight,
                enabled=write.to.enabled,
                health=health,
            )

    async def probe(self, profile: str, endpoint: str) -> ProbeSeen:
        """The answer somebody set."""
        del profile, endpoint
        async with self.call("probe"):
            return self.probed

    def set(self, profile: str, endpoint: str, **changes: Any) -> None:
        """Somebody's hand on an endpoint, or its health."""
        seen = self.profiles[profile.casefold()]
        ends = tuple(
            replace(end, **changes) if end.name == endpoint else end for end in seen.endpoints
        )
        self.profiles[profile.casefold()] = replace(seen, endpoints=ends)


@dataclass
class MemoryTelemetry(Faulty):
    """Answers whatever `answers`, `past` and `gauges` say; `asked` has every question."""

    answers: Callable[[Question], Answer] = field(
        default=lambda _: Answer(Sight.ABSENT, "nothing was set up")
    )
    asked: list[Question] = field(default_factory=list)
    past: Callable[[Question], Strata] = field(
        default=lambda _: Strata(Sight.ABSENT, "nothing was set up")
    )
    gauges: Callable[[LevelQuestion], Levels] = field(
        default=lambda _: Levels(Sight.ABSENT, "nothing was set up")
    )

    async def ask(self, question: Question) -> Answer:
        """The answer."""
        async with self.call("ask"):
            self.asked.append(question)
            return self.answers(question)

    async def strata(self, question: Question) -> Strata:
        """What `past` says."""
        async with self.call("strata"):
            return self.past(question)

    async def levels(self, question: LevelQuestion) -> Levels:
        """What `gauges` says."""
        async with self.call("levels"):
            return self.gauges(question)


@dataclass
class ListNotices(Faulty):
    """Keeps what was told."""

    told: list[tuple[str, str]] = field(default_factory=list)

    async def tell(self, rollout: str, sentence: str) -> None:
        """Keep it."""
        async with self.call("tell"):
            self.told.append((rollout, sentence))


@dataclass
class MemoryReplays(Faulty):
    """Answers whatever `answers` says; `asked` has every request and to whom it went."""

    answers: Callable[[str, Request], Replayed] = field(
        default=lambda _endpoint, _request: Replayed(None, "nothing was set up")
    )
    asked: list[tuple[str, Request]] = field(default_factory=list)

    async def replay(
        self, profile: str, endpoint: str, request: Request, *, timeout_s: float, most_bytes: int
    ) -> Replayed:
        """The answer."""
        del profile, timeout_s, most_bytes
        async with self.call("replay"):
            self.asked.append((endpoint, request))
            return self.answers(endpoint, request)


@dataclass
class MemoryBodies(Faulty):
    """Bodies by their address."""

    blobs: dict[str, bytes] = field(default_factory=dict)

    async def read(self, url: str, sha256: str, most_bytes: int) -> bytes:
        """The bytes."""
        del sha256, most_bytes
        async with self.call("read"):
            if url not in self.blobs:
                raise RefusedError(f"there is no blob {url}")
            return self.blobs[url]


@dataclass
class ListQueues(Faulty):
    """Keeps what was posted: queue, bytes, message id."""

    posted: list[tuple[str, bytes, str]] = field(default_factory=list)

    async def send(self, queue: str, body: bytes, message_id: str) -> None:
        """Keep it."""
        async with self.call("send"):
            self.posted.append((queue, body, message_id))


@dataclass
class MemoryDoor(Faulty):
    """Lets everybody in, unless `refusal` says otherwise."""

    refusal: LinnetError | None = None

    async def admit(self, authorization: str | None) -> None:
        """Let the caller in."""
        del authorization
        async with self.call("admit"):
            if self.refusal:
                raise self.refusal


@dataclass
class TurnedClock:
    """Time that stands until it is turned; a sleep yields and is noted."""

    at_s: float = 1_800_000_000.0
    slept_s: list[float] = field(default_factory=list)

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        """Yield once."""
        self.slept_s.append(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Turn it."""
        self.at_s += seconds


@dataclass(frozen=True, slots=True)
class MemoryWorld(World):
    """A world whose ports are known to be the ones in memory."""

    store: MemoryStore
    traffic: MemoryTraffic
    telemetry: MemoryTelemetry
    notices: ListNotices
    clock: TurnedClock
    replays: MemoryReplays
    bodies: MemoryBodies
    queues: ListQueues
    doors: Mapping[str, MemoryDoor]


def memory_world(settings: Settings, hook: Hook = no_fault) -> MemoryWorld:
    """A fresh world; `hook` is awaited before and after every port call."""
    return MemoryWorld(
        settings=settings,
        store=MemoryStore(hook),
        traffic=MemoryTraffic(hook),
        telemetry=MemoryTelemetry(hook),
        notices=ListNotices(hook),
        clock=TurnedClock(),
        replays=MemoryReplays(hook),
        bodies=MemoryBodies(hook),
        queues=ListQueues(hook),
        doors={name: MemoryDoor(hook) for name in ("commands", "alerts", "samples")},
    )
