"""A whole schedule of one seed: its moves, and the calm end at which all must be well."""

from collections import Counter

from sandbox.memory_store import no_fault
from shared.core.model import ProfileSeen
from tests.faults import place as places
from tests.faults.calls import Activity, Parked
from tests.faults.posts import HASTY, KINDS, drawn
from tests.faults.promises import BrokenError, Watched
from tests.given import PROFILE

MOODS = ("fine", "fine", "fine", "failed", "absent", "late")
# Weights that no shift of any plan here passes through: only a person can have set them.
HANDS: tuple[dict[str, dict[str, object]], ...] = (
    {"green": {"weight": 7, "enabled": True}, "blue": {"weight": 61}},
    {"green": {"weight": 3}},
    {"green": {"enabled": False, "health": "Disabled"}},
    {"blue": {"weight": 300}, "green": {"weight": 13}},
)
HEALTH = ("Online", "Online", "Degraded", "CheckingEndpoint")
MOST_STEPS = 3_000


class Schedule(Watched):
    """The moves of one seed. `replays`: every fourth one's history goes through `decide` again."""

    replays = True

    def run(self) -> None:
        """From the beginning to the end. Raises BrokenError."""
        try:
            self._moves()
            self._end()
            if self.replays and self.seed % 4 == 0:
                self.replay()
            if self.seed % 6 == 0:
                self._grow_worse()
        finally:
            self.close()

    def _moves(self) -> None:
        self.meddled = self.chance(0.4)
        self.stalled: Activity | None = None
        self.hasty = self.chance(0.3)
        moves = self.random.randint(5, 15)
        for _ in range(self.random.choice((1, 1, 2, 3, 4))):
            self.post_one()
        for _ in range(moves):
            self._move()
            self.pump(int(self.random.expovariate(0.3 if self.hasty else 0.1)))

    def _move(self) -> None:
        draw = self.random.random()
        if self.hasty and self.posts and draw < 0.3:
            draw = 0.4  # a message rather than a tick
        if draw < 0.28:
            self.tick()
        elif draw < 0.48 and self.posts:
            self.deliver(self.random.choice(self.posts))
        elif draw < 0.73:
            self.advance(self.random.choice((1, 2, 2, 3, 4, 4, 6, 8, 8, 12, 45)))
        elif draw < 0.77:
            self.post_one()
        elif draw < 0.80 and self.posts:
            self.post(self.random.choice(self.posts))
        elif draw < 0.86 and self.ghosts:
            self.land(self.random.randrange(len(self.ghosts)))
        elif self.meddled:
            self._meddle(draw)

    def _meddle(self, draw: float) -> None:
        """What only some schedules have: crashes, moods, hands, health, a deleted profile."""
        if draw < 0.90 and self.activities:
            self.crash(self.random.choice(self.activities))
        elif draw < 0.93:
            self.place.mood = self.random.choice(MOODS)
            self.faults[f"telemetry that is {self.place.mood}"] += self.place.mood != "fine"
            self.place.stuck_s = self.place.now_s
            self.place.rates = self.random.choice(((0.0, 0.0), (0.0, 0.0), (0.0, 0.7), (0.5, 0.5)))
            self.tell("users", f"telemetry is {self.place.mood}, bad shares {self.place.rates}")
        elif draw < 0.965:
            self._lay_hand()
        elif draw < 0.995:
            end, health = self.random.choice(("blue", "green")), self.random.choice(HEALTH)
            self.faults["an endpoint's health"] += 1
            self._touch({end: {"health": health}})
        else:
            self._delete()

    # --- what people do ---------------------------------------------------------------------

    def post_one(self) -> None:
        self.posted = getattr(self, "posted", 0) + 1
        kinds = HASTY if self.hasty else KINDS
        self.post(drawn(self.random, kinds, self.posted, self.place.now_s, self.stage))

    def _lay_hand(self) -> None:
        hand = self.random.choice(HANDS)
        self.faults["a person's hand on the weights"] += 1
        self._touch(hand)
        if "blue" in hand:
            self.hands[PROFILE] = self.traffic.pair(PROFILE)

    def _touch(self, hand: dict[str, dict[str, object]]) -> None:
        if self.traffic.pair(PROFILE) is None:
            return
        self.disturbed = True
        for end, changes in hand.items():
            self.traffic.set(PROFILE, end, **changes)
        self.touches += 1
        self.hands.pop(PROFILE, None)
        self.darkened.discard(PROFILE)
        self.pairs[PROFILE] = self.traffic.pair(PROFILE)
        self.tell("a person", f"sets {hand}")

    def _delete(self) -> None:
        self.disturbed = True
        key = PROFILE.casefold()
        self.faults["a profile deleted or restored"] += 1
        gone: ProfileSeen | None = self.traffic.profiles.pop(key, None)
        self.tell("a person", "deletes the profile" if gone else "restores the profile")
        if gone:
            self.gone = gone
        else:
            self.traffic.profiles[key] = self.gone
        self.pairs[PROFILE] = self.traffic.pair(PROFILE)

    # --- letting on -------------------------------------------------------------------------

    def pump(self, most: int) -> None:
        """Let calls on: mostly of one activity, so that others stall where they are."""
        if self.chance(0.15):
            self.stalled = self.random.choice(self.activities) if self.activities else None
        chosen: Parked | None = None
        for _ in range(most):
            free = [p for p in self.parked if p.call.who is not self.stalled]
            if not free:
                return
            mine = [p for p in free if chosen and p.call.who is chosen.call.who]
            stays = mine and self.chance(0.75)
            chosen = self.random.choice(mine if stays else free)
            self.resume(chosen)

    def drain(self) -> None:
        """Let everything on to its end."""
        for _ in range(MOST_STEPS):
            if not self.parked:
                break
            self.resume(self.random.choice(self.parked))
        if self.activities:
            raise BrokenError(f"{self.activities[0].name} never ends")

    def _end(self) -> None:
        self.tell("world", "all is reachable again")
        self.fault_rate = self.lag_rate = 0.0
        self.place.mood, self.place.rates = "fine", (0.0, 0.0)
        if self.chance(0.3):
            for activity in tuple(self.activities):
                self.crash(activity)
        self.drain()
        while self.ghosts:
            self.land(0)
        if self.traffic.pair(PROFILE) is None and self.chance(0.5):
            self._delete()
        while self.posts:
            self.deliver(self.posts[0])
            self.drain()
        self._ticks(2, 1)
        self.at_the_end()

    def _ticks(self, count: int, seconds: int) -> None:
        for _ in range(count):
            self.advance(seconds)
            self.tick()
            self.drain()

    def _grow_worse(self) -> None:
        """What stands must still fall when the canary breaks."""
        self.place.rates = (0.0, 0.9)
        self.tell("users", "nine of ten requests to the canary fail")
        self._ticks(8, places.BIN_S)
        self.worse_is_seen()


def run(seed: int, faults: Counter[str] | None = None) -> str:
    """One schedule; what broke, or nothing. Adds to `faults` what was done to it."""
    schedule = Schedule(seed)
    try:
        schedule.run()
    except BrokenError as broken:
        return str(broken)
    finally:
        if faults is not None:
            faults.update(+schedule.faults)
    return ""


def story(seed: int) -> str:
    """The same schedule again, told line by line."""
    schedule = Schedule(seed, aloud=True)
    try:
        schedule.run()
    except BrokenError as broken:
        schedule.tell("broken", str(broken))
    return "\n".join(schedule.story)


__all__ = ["Schedule", "run", "story", "warm"]


def warm() -> None:
    """Walk to every beginning once, while the product is whole."""
    for variant, stage in places.BEGINNINGS:
        places.place_at(variant, stage, no_fault)
