"""The place a schedule happens in: two profiles, users, telemetry with moods, and beginnings.

Users are counted bin by bin as the weights stood when they came, so telemetry tells the truth
of the past; a bin whose ingestion delay has not passed shows half of it.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

from controllers import inbox
from controllers.tick import tick
from sandbox.memory import MemoryTraffic, MemoryWorld, memory_world
from sandbox.memory_store import Hook, MemoryStore, no_fault
from shared import record
from shared.core import weights
from shared.core.model import Arm, Pair, Phase, ProfileSeen, Rollout
from shared.core.questions import Question
from shared.core.telemetry import Answer, ArmBin, BinSeen, Sight
from shared.errors import UnreachableError
from shared.ports import HistoryRow, Message, Stored
from tests.faults.loop import SteppedLoop
from tests.given import PROFILE, WORKSPACE, pair, profile
from tests.town import plan_document, settings

CART = PROFILE.replace("/shop", "/cart")
PROFILES = (PROFILE, CART)
KEYS = {home: home.casefold() for home in PROFILES}
WORKSPACES = {PROFILE: WORKSPACE, CART: WORKSPACE[:-1] + "2"}
HOMES = {"shop-a": PROFILE, "shop-b": PROFILE, "cart-a": CART}
STALE_S = 10
DEPLOYMENT = settings(
    allowed_profiles=PROFILES,
    allowed_workspaces=tuple(WORKSPACES.values()),
    turn_deadline_s=20,
    tick_deadline_s=22,
    stale_after_s=STALE_S,
)
# Looks this many changes old may still be served.
REMEMBERED = 3
BIN_S, DELAY_S, PER_S, GUARD_S = 2, 2, 400, 30
LOOP = SteppedLoop()

VARIANTS: tuple[dict[str, Any], ...] = (
    {"steps": [10, 100]},
    {"steps": [50, 100], "blind": "retreat", "unsure": "retreat"},
    {"steps": [{"percent": 20, "gate": "manual"}, 100]},
    {"steps": [20, 60, 100]},
)


def document(name: str, variant: int) -> dict[str, Any]:
    """A plan of one or two steps for this place."""
    usual = plan_document()
    evidence = {
        **usual["evidence"],
        "bin": f"{BIN_S}s",
        "ingestion_delay": f"{DELAY_S}s",
        "lookback": "8s",
        "workspace": WORKSPACES[HOMES[name]],
    }
    changes = {"evidence": evidence, "guard": f"{GUARD_S}s", "patience": "20s"}
    return {**usual, **changes, "name": name, "profile": HOMES[name], **VARIANTS[variant]}


class Records(MemoryStore):
    """The store in memory. Where a test asks for speed, what was written is not parsed again."""

    def __init__(self, hook: Hook) -> None:
        super().__init__(hook)
        self.quick = False
        self.parsed: dict[str, Stored] = {}

    def _stored(self, name: str) -> Stored | None:
        known = self.parsed.get(name)
        if known is not None and known.etag == str(self.records[name][2]):
            return known
        stored = super()._stored(name)
        if stored is not None:
            self.parsed[name] = stored
        return stored

    def _put(self, plan: str, rollout: Rollout, row: HistoryRow, message_id: str | None) -> Stored:
        if not self.quick or rollout.name not in self.parsed:
            return super()._put(plan, rollout, row, message_id)
        self.version += 1
        name = rollout.name
        stored = Stored(self.parsed[name].plan, rollout, str(self.version))
        self.records[name] = plan, "not written", self.version
        self.parsed[name] = stored
        self.rows[name].append(record.row_to_dict(row))
        if message_id is not None:
            self.messages[name, message_id] = row.number
        return stored

    def peek(self, name: str) -> Stored | None:
        """What a load would find now, for those who watch."""
        return self._stored(name)


class Weights(MemoryTraffic):
    """Traffic Manager in memory; a deleted profile answers 404 to a write.

    `past` is what a replica of it that lags behind would still show.
    """

    past: list[tuple[str, ProfileSeen]]

    def __init__(self, hook: Hook) -> None:
        super().__init__(hook)
        self.past = []

    def lagging(self, profile: str) -> list[ProfileSeen]:
        """The profile as it was before each of its last changes."""
        return [seen for key, seen in self.past if key == profile.casefold()]

    def set(self, profile: str, endpoint: str, **changes: Any) -> None:
        if profile.casefold() not in self.profiles:
            raise UnreachableError("404: the profile is gone")
        self.past.append((profile.casefold(), self.profiles[profile.casefold()]))
        del self.past[:-REMEMBERED]
        super().set(profile, endpoint, **changes)

    def pair(self, profile: str) -> Pair | None:
        """The weights in force; None while the profile is deleted."""
        seen = self.profiles.get(KEYS[profile])
        return None if seen is None else pair_of(seen)


@lru_cache(1024)
def pair_of(seen: ProfileSeen) -> Pair:
    """The pair of one look."""
    blue, green = seen.endpoints
    return Pair(Arm(blue.weight, blue.enabled), Arm(green.weight, green.enabled))


@dataclass
class Place:
    """The world in memory, its users, and the mood of its telemetry."""

    hook: Hook = no_fault
    mood: str = "fine"
    stuck_s: float = 0.0
    rates: tuple[float, float] = (0.0, 0.0)
    world: MemoryWorld = field(init=False)
    store: Records = field(init=False)
    traffic: Weights = field(init=False)
    counted: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = memory_world(DEPLOYMENT, self.hook)
        self.store, self.traffic = Records(self.hook), Weights(self.hook)
        for each in PROFILES:
            self.traffic.profiles[each.casefold()] = profile(pair(100, 0))
        self.world = replace(plain, store=self.store, traffic=self.traffic)
        plain.telemetry.answers = self.answer

    @property
    def now_s(self) -> float:
        return self.world.clock.at_s

    def advance(self, seconds: int) -> None:
        """Time passes and users come, where the weights send them."""
        for home in PROFILES:
            self._count(home, seconds)
        self.world.clock.advance(seconds)

    def _count(self, home: str, seconds: int) -> None:
        now = self.traffic.pair(home)
        canary = round(PER_S * float(weights.share(now))) if now else 0
        each = (PER_S - canary, canary)
        for second in range(int(self.now_s), int(self.now_s) + seconds):
            counts = self.counted.setdefault((home, second // BIN_S), [0, 0, 0, 0])
            for arm in (0, 1):
                counts[2 * arm] += each[arm]
                counts[2 * arm + 1] += round(each[arm] * self.rates[arm])

    def answer(self, question: Question) -> Answer:
        """What telemetry says in its present mood."""
        if self.mood == "failed":
            return Answer(Sight.FAILED, "429, partial result")
        if self.mood == "absent":
            return Answer(Sight.ABSENT, "no rows", (), None, question.to_bin)
        until_s = self.stuck_s if self.mood == "late" else self.now_s
        last = min(question.to_bin, int(until_s) // BIN_S + 1)
        home = next(p for p, w in WORKSPACES.items() if w == question.source.workspace)
        bins = tuple(self.bin(home, index, until_s) for index in range(question.from_bin, last))
        return Answer(Sight.SEEN, "", bins, until_s, last)

    def bin(self, home: str, index: int, until_s: float) -> BinSeen:
        counts = self.counted.get((home, index), [0, 0, 0, 0])
        grown = 1 if (index + 1) * BIN_S + DELAY_S <= until_s else 2
        stable, bad, canary, canary_bad = (count // grown for count in counts)
        return BinSeen(index, arm(stable, bad), arm(canary, canary_bad))


def arm(requests: int, bad: int) -> ArmBin | None:
    return ArmBin(requests, requests, (bad,), (bad,)) if requests else None


# --- beginnings -----------------------------------------------------------------------------

BEGINNINGS: tuple[tuple[int, str], ...] = (
    (0, "nothing"),
    (0, "shifting 1"),
    (0, "baking 1"),
    (0, "held 1"),
    (0, "shifting 2"),
    (0, "baking 2"),
    (0, "promoted"),
    (0, "retreating"),
    (0, "reverted"),
    (1, "baking 1"),
    (1, "shifting 2"),
    (2, "baking 1"),
    (2, "held 1"),
    (3, "baking 2"),
)


ASKED = {"held": "hold", "retreating": "abort", "reverted": "abort"}


@cache
def _reached(variant: int, stage: str) -> Place:
    place = Place()
    for _ in range(5):
        place.advance(BIN_S)
    if stage != "nothing":
        LOOP.begin(place.world.clock)
        LOOP.finish(_walk(place, variant, stage))
    return place


async def _walk(place: Place, variant: int, stage: str) -> None:
    """One rollout, undisturbed, until it stands where the schedule begins."""
    phase, _, number = stage.partition(" ")
    start = {"action": "start", "by": "ci", "plan": document("shop-a", variant)}
    await _tell(place, start, inbox.receive_command)
    for _ in range(60):
        stored = place.store.peek("shop-a")
        assert stored is not None
        rollout = stored.rollout
        if phase in ASKED and rollout.phase is Phase.BAKING:
            asked = {"action": ASKED[phase], "rollout": "shop-a", "by": "eve", "reason": "lunch"}
            await _tell(place, asked, inbox.receive_command)
            continue
        if rollout.phase.value.casefold() == phase and number in {"", str(rollout.step + 1)}:
            return
        place.advance(BIN_S if rollout.phase is not Phase.RETREATING else 1)
        await tick(place.world)
    raise AssertionError(f"{stage} of variant {variant} is never reached")


async def _tell(
    place: Place, body: object, receive: Callable[[MemoryWorld, Message], Awaitable[None]]
) -> None:
    await receive(place.world, Message(f"b-{place.store.version}", encoded(body), place.now_s))


def encoded(body: object) -> bytes:
    """A message body as JSON."""
    return json.dumps(body).encode()


def place_at(variant: int, stage: str, hook: Hook) -> Place:
    """A place of its own, standing where an undisturbed rollout has come to."""
    model = _reached(variant, stage)
    place = Place(hook)
    place.counted = {key: list(counts) for key, counts in model.counted.items()}
    place.world.clock.at_s = model.now_s
    place.traffic.profiles = dict(model.traffic.profiles)
    for name in ("records", "messages", "holders", "parsed"):
        setattr(place.store, name, dict(getattr(model.store, name)))
    place.store.rows = {name: list(rows) for name, rows in model.store.rows.items()}
    place.store.version = model.store.version
    return place
