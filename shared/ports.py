"""What the controllers need of the world, and nothing of how it is done.

One contract for each port, kept by the adapters in `shared/cloud` and by the world in memory:
expected failures are `UnreachableError`, `ConflictError` or a value that says so. Times are
seconds since the epoch.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.core.alerts import Spell
from shared.core.events import Event, Ticked, TurnFailed
from shared.core.judge import Verdict
from shared.core.model import EndpointSeen, Phase, Plan, ProbeSeen, Rollout, TrafficSeen
from shared.core.questions import LevelQuestion, Question
from shared.core.shadow import Replayed, Request
from shared.core.tally import Tally
from shared.core.telemetry import Answer, Levels, Strata
from shared.core.weights import Write
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Stored:
    """A rollout as loaded: `etag` is the version a save must name."""

    plan: Plan
    rollout: Rollout
    etag: str


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One event and what it led to. Rows are numbered from 1 without gaps and never change.

    `verdict` is there when the event was a look: the numbers the decision rested on.
    """

    number: int
    event: Event
    before: Phase
    after: Phase
    step: int
    percent: float
    sentence: str
    refused: bool = False
    verdict: Verdict | None = None

    @property
    def turning(self) -> bool:
        """Whether the phase changed, or a person or an alert spoke: what is left of a long night.

        Looks and failed turns come by the hundred.
        """
        return self.before is not self.after or not isinstance(self.event, Ticked | TurnFailed)


@dataclass(frozen=True, slots=True)
class Claim:
    """Which rollout holds a Traffic Manager profile. There is one row per claimed profile."""

    profile: str
    rollout: str
    etag: str


@dataclass(frozen=True, slots=True)
class Message:
    """A queue message: its id and bytes as the broker gave them, and how often it was tried."""

    id: str
    body: bytes
    enqueued_at_s: float
    deliveries: int = 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that could not be used, with its reason and its bytes."""

    message: Message
    queue: str
    reason: str
    at_s: float

    @property
    def key(self) -> str:
        """What people call it by: the same for the same id and bytes."""
        return hashlib.sha256(self.message.id.encode() + self.message.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Heard:
    """A spell of an alert as stored: `etag` is the version that a change must name."""

    spell: Spell
    etag: str


class Store(Protocol):
    """Records, history, claims and rejected messages. Raises UnreachableError from any call."""

    async def load(self, name: str) -> Stored | None:
        """The rollout of that name, or None."""

    async def create(
        self, plan: Plan, rollout: Rollout, row: HistoryRow, message_id: str
    ) -> Stored:
        """First record, first row and seen message in one transaction.

        Raises ConflictError when the rollout exists.
        """

    async def save(
        self, stored: Stored, rollout: Rollout, row: HistoryRow, message_id: str | None
    ) -> Stored:
        """Next record, its row and the seen message in one transaction, against the etag.

        Raises ConflictError when another turn saved first.
        """

    async def seen(self, name: str, message_id: str) -> int | None:
        """The number of the history row that this message led to; None when it is new."""

    async def history(self, name: str, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """Rows numbered above `after`, in order."""

    async def turnings(self, name: str, limit: int = 200) -> list[HistoryRow]:
        """The newest rows at which something turned, in order."""

    async def names(self, limit: int = 500) -> list[str]:
        """The rollouts there are, in no order."""

    async def claim(self, profile: str, rollout: str, instead_of: Claim | None = None) -> Claim:
        """Take a free profile, or take it over from a claim that is named.

        Returns the claim in force afterwards, whoever holds it.
        """

    async def claims(self) -> list[Claim]:
        """Every claim: with it, every rollout that needs turns."""

    async def release(self, claim: Claim) -> None:
        """Give a profile back; somebody else's later claim on it stays."""

    async def reject(self, rejected: Rejected) -> None:
        """Keep a message that cannot be used; the same id with the same bytes is kept once."""

    async def rejected(self, limit: int = 100) -> list[Rejected]:
        """Rejected messages, newest first."""

    async def rejected_one(self, key: str) -> Rejected | None:
        """The rejected message of that key, or None."""

    async def heard(self, key: str) -> Heard | None:
        """What is known of an alert, or None."""

    async def hear(self, spell: Spell, instead_of: Heard | None) -> None:
        """Remember it. Raises ConflictError when somebody else heard it meanwhile."""

    async def spells(self, limit: int = 1000) -> list[Spell]:
        """The alerts that were ever heard, in no order."""

    async def add_tally(self, name: str, tally: Tally, keys: Sequence[str]) -> None:
        """Write down what some samples (at most 90) count for, as a row that nobody overwrites.

        Raises ConflictError, and writes nothing, when one of them was counted before.
        """

    async def counted(self, name: str, keys: Sequence[str]) -> frozenset[str]:
        """Which of these samples were counted before."""

    async def tally(self, name: str) -> Tally:
        """All that was ever written down for a rollout, added up."""

    async def beat(self, at_s: float) -> None:
        """Note that a tick ran."""

    async def last_beat_s(self) -> float | None:
        """When a tick last ran."""


class Traffic(Protocol):
    """Traffic Manager, and a request to an endpoint as its own probes make it."""

    async def see(self, profile: str) -> TrafficSeen:
        """The profile as it is now. Never raises: what went wrong is part of the value."""

    async def write(self, profile: str, endpoint: EndpointSeen, write: Write) -> None:
        """One endpoint PATCH of weight and status. Raises UnreachableError; it may have applied."""

    async def probe(self, profile: str, endpoint: str) -> ProbeSeen:
        """Ask the endpoint's monitor path as the profile's monitor config says. Never raises."""


class Telemetry(Protocol):
    """Azure Monitor."""

    async def ask(self, question: Question) -> Answer:
        """The answer; blindness of each kind is a value, never an exception."""

    async def strata(self, question: Question) -> Strata:
        """What stable's past was in each stratum. Never raises, like the others."""

    async def levels(self, question: LevelQuestion) -> Levels:
        """What the gauges showed. Never raises: what went wrong is part of the value."""


class Notices(Protocol):
    """Whoever wants to hear sentences."""

    async def tell(self, rollout: str, sentence: str) -> None:
        """Say it. Never raises."""


class Replays(Protocol):
    """Requests to the endpoints of a profile, in the shadow of the users'."""

    async def replay(
        self, profile: str, endpoint: str, request: Request, *, timeout_s: float, most_bytes: int
    ) -> Replayed:
        """Make the request to that endpoint and to nothing else. Never raises."""


class Bodies(Protocol):
    """Bodies that were too large for the broker."""

    async def read(self, url: str, sha256: str, most_bytes: int) -> bytes:
        """The bytes. Raises RefusedError for what is not allowed or not so, UnreachableError."""


class Queues(Protocol):
    """The queues of this deployment, to post to."""

    async def send(self, queue: str, body: bytes, message_id: str) -> None:
        """Return only when the queue has the message.

        Raises RefusedError when it takes none of this size, UnreachableError when nobody knows.
        """


class Door(Protocol):
    """Who may post over HTTP."""

    async def admit(self, authorization: str | None) -> None:
        """Let the caller in, by the value of the Authorization header.

        Raises ForbiddenError, or UnreachableError when nobody can tell.
        """


class Clock(Protocol):
    """The controllers' only time."""

    def now_s(self) -> float:
        """Seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class World:
    """All of the world that a controller may touch. There is a door for each queue."""

    settings: Settings
    store: Store
    traffic: Traffic
    telemetry: Telemetry
    notices: Notices
    clock: Clock
    replays: Replays
    bodies: Bodies
    queues: Queues
    doors: Mapping[str, Door]
