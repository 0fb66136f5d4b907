"""The promises of a rollout, watched from outside after every step of a schedule.

1 phases as decided, 2 rises only for a reason, 3 an abort, alert or fail ends at zero, 4 never
both endpoints disabled and no write above the share asked for, 5 nothing rises unsaved or
overtaken, 6 no message lost, 7 no pass from what is not sealed, not verified or not seen,
9 nothing twice, 10 history replays; also: one live rollout per profile, and a hand on the
weights is not fought upward. (8, the shadow, has no part in this world.)
"""

from controllers import inbox
from shared import record
from shared.core import weights
from shared.core.events import (
    AlertFired,
    Event,
    PromoteAsked,
    ResumeAsked,
    StartAsked,
)
from shared.core.machine import decide
from shared.core.model import Pair, Phase, Rollout, newborn
from shared.errors import UnreachableError
from shared.ports import HistoryRow, Rejected, Stored
from tests.faults import place as places
from tests.faults.calls import Activity, Call
from tests.faults.posts import Post
from tests.faults.rules import WATCHED, is_dark, step_floor, wants, wrongs
from tests.faults.simulation import Simulation

TOUCHING = WATCHED | {Phase.RETREATING}
DOWN = frozenset({Phase.RETREATING, Phase.REVERTED})


class BrokenError(Exception):
    """A promise did not hold."""


class Watched(Simulation):
    """A simulation that stops at the first broken promise."""

    def __init__(self, seed: int, *, aloud: bool = False) -> None:
        super().__init__(seed, aloud=aloud)
        self.broken = ""
        self.known = {name: self.record(name).rollout for name in self.store.records}
        self.pairs = {home: self.traffic.pair(home) for home in places.PROFILES}
        self.profiles = dict(self.traffic.profiles)
        self.hands: dict[str, Pair | None] = {}
        self.darkened: set[str] = set()
        self.fallen = {name for name, rollout in self.known.items() if rollout.phase in DOWN}
        self.applied: set[tuple[str, str, float | None]] = set()
        self.begun = {name: step_floor(rollout) for name, rollout in self.known.items()}
        self.touches, self.writes = 0, dict.fromkeys(places.PROFILES, 0)
        self.crossed = False
        self.second_try: set[tuple[str, str]] = set()
        self.version = self.store.version

    def record(self, name: str) -> Stored:
        stored = self.store.peek(name)
        assert stored is not None
        return stored

    def breach(self, promise: int, words: str) -> None:
        """Note the first breach; it is raised after the step, where nobody can swallow it."""
        self.broken = self.broken or f"promise {promise}: {words}"

    def look(self) -> None:
        if self.store.version != self.version:
            self.version = self.store.version
            for name in self.store.records:
                self._rows_of(name)
        if self.traffic.profiles != self.profiles:
            self.profiles = dict(self.traffic.profiles)
            for home in places.PROFILES:
                if self.traffic.pair(home) != self.pairs[home]:
                    self._wrote(None, home)
        if not self.activities and not self.ghosts:
            self._rest()
        if self.broken:
            raise BrokenError(self.broken)

    def _rest(self) -> None:
        """Nothing is under way: without a fault since the last rest, the world is as wished."""
        if fault := self.above_zero() or self.dark():
            if not self.disturbed:
                self.breach(3, f"nothing failed, nothing is under way, and {fault}")
        else:
            self.disturbed = False

    def above_zero(self) -> str:
        """A fallen rollout whose canary still gets traffic, if there is one."""
        for name in self.fallen:
            rollout, home = self.known[name], places.HOMES[name]
            over = self.place.now_s - rollout.phase_since_s >= places.GUARD_S
            pair = self.traffic.pair(home)
            wished = any(
                other.wanted_percent > 0 and other.phase in TOUCHING | {Phase.PROMOTED}
                for key, other in self.known.items()
                if key != name and places.HOMES[key] == home
            )
            watched = rollout.phase is Phase.RETREATING or not (over or wished)
            if watched and pair and pair.canary.enabled:
                return f"{name} is {rollout.phase} while its canary is enabled"
        return ""

    def dark(self) -> str:
        """A profile that our writes, and no person, left with both endpoints disabled."""
        for home in self.darkened:
            if is_dark(self.traffic.pair(home)):
                return f"both endpoints of {home[-4:]} are disabled"
        return ""

    # --- writes -----------------------------------------------------------------------------

    def issued(self, call: Call) -> None:
        if call.method != "write":
            return
        home, _, write = call.arguments
        now = self.traffic.pair(home)
        if now is None or call.who.views.get(home) != now:
            return  # raced: whoever wrote meanwhile is judged for itself
        after = weights.apply(now, write)
        if weights.share(after) <= weights.share(now):
            return
        name = call.who.acting[home]
        wishes = [self.record(name).rollout, call.who.fences.get(name)]
        if not any(wants(wish, after) for wish in wishes):
            self.breach(5, f"{call} raises the canary, which no saved record of {name} asks for")
        if self.hands.get(home) == now and self.record(name).rollout.before != now:
            self.breach(2, f"{call} raises what a person had set")

    def done(self, call: Call) -> None:
        who, what = call.who, call.arguments
        if call.method == "load" and (stored := self.store.peek(what[0])):
            who.acting[stored.plan.profile] = what[0]
            who.fences[what[0]] = stored.rollout
        elif call.method == "save":
            who.acting[what[0].plan.profile] = what[1].name
        elif call.method == "create":
            who.acting[what[0].profile] = what[1].name
        elif call.method == "see" and call.spoiled is None:
            who.views[what[0]] = self.traffic.pair(what[0])
            who.touches[what[0]] = self.touches
            who.writes[what[0]] = self.writes[what[0]]
            who.fences.pop(who.acting.get(what[0], ""), None)
        elif call.method == "write":
            who.fences.pop(who.acting[what[0]], None)
            self._wrote(who, what[0])

    def _wrote(self, who: Activity | None, home: str) -> None:
        before, after = self.pairs[home], self.traffic.pair(home)
        self.pairs[home] = after
        self.hands.pop(home, None)
        self.darkened.discard(home)
        alone = who is not None and who.writes.get(home) == self.writes[home]
        self.writes[home] += 1
        if who and alone:
            who.writes[home] = self.writes[home]
        if not is_dark(after) or is_dark(before):
            return
        # Known: a hand that disables the canary between the two writes of a shift to 100 %
        # (seed 23870 of the first soak) leaves it dark, as a person's hand is not fought.
        if self.touches == (who.touches.get(home) if who else 0):
            self.darkened.add(home)
            if who and alone:
                self.breach(4, f"{who.name} has disabled both endpoints")
        # Else two writes have crossed, or a late one has landed: mended at the next look.
        self.disturbed = self.crossed = True

    # --- rows -------------------------------------------------------------------------------

    def _rows_of(self, name: str) -> None:
        rows = self.store.rows[name]
        before, after = self.known.get(name), self.record(name).rollout
        if before is not None and before.sequence == after.sequence == len(rows):
            if before != after:
                self.breach(10, f"{name} was saved without a row")
            return
        self.known[name] = after
        row = record.row_from_dict(rows[-1])
        if not row.number == after.sequence == len(rows) == (before.sequence if before else 0) + 1:
            self.breach(9, f"the rows of {name} have a gap or a twin at {row.number}")
        self._once(name, row.event)
        self.tell("history", f"{name} {row.number}: {row.before} -> {row.after}: {row.sentence}")
        if before is not None:
            self._row(name, before, row, after)
        live = [n for n, r in self.known.items() if r.phase in TOUCHING and r.before]
        if len({places.HOMES[n] for n in live}) < len(live):
            self.breach(2, f"two rollouts have their hands on one profile: {', '.join(live)}")

    def _once(self, name: str, event: Event) -> None:
        id_ = event.alert_id if isinstance(event, AlertFired) else getattr(event, "reason", "")
        if not id_.startswith("m-"):
            return
        # What was part of a baseline may turn out to be news: that is another event.
        since_s = event.since_s if isinstance(event, AlertFired) else None
        if (name, id_, since_s) in self.applied:
            self.breach(9, f"{id_} was applied to {name} twice")
        self.applied.add((name, id_, since_s))
        if any(parked.message.id == id_ for parked in self.store.parked.values()):
            self.second_try.add((name, id_))

    def _is_news(self, before: Rollout, after: Rollout) -> bool:
        """Whether an alert must count, by what senders posted and not by what was made of it."""
        stays = before.before is not None and before.phase in WATCHED and after.phase not in DOWN
        moved_s = before.moved_at_s
        fired = [post.fired_s for post in self.posted_ever if post.queue == "alerts"]
        return stays and moved_s is not None and all(each >= moved_s for each in fired)

    def _row(self, name: str, before: Rollout, row: HistoryRow, after: Rollout) -> None:
        for promise, words in wrongs(before, row, after, self.begun.get(name, 0)):
            self.breach(promise, f"{name} {words}")
        if isinstance(row.event, AlertFired) and self._is_news(before, after):
            self.breach(3, f"{name} stays although nothing had fired before its traffic moved")
        event = row.event
        if isinstance(event, PromoteAsked | ResumeAsked) and not row.refused:
            self.hands.pop(places.HOMES[name], None)
        if before.phase is Phase.SHIFTING and after.phase is Phase.BAKING:
            self.begun[name] = int(event.at_s // places.BIN_S) + 1
        if after.phase in DOWN:
            self.fallen.add(name)
        if name in self.fallen and (after.wanted_percent or after.phase not in DOWN):
            self.breach(3, f"{name} had fallen and is {after.phase} at {after.wanted_percent:g} %")

    # --- messages ---------------------------------------------------------------------------

    def failed(self, activity: Activity, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        expected = isinstance(error, UnreachableError | TimeoutError) or "planted" in str(error)
        if not expected:
            self.breach(1, f"{activity.name} ended with {error!r}")

    def settle_post(self, activity: Activity, post: Post) -> None:
        parked = self.store.parked.get(Rejected(post.message, post.queue, "", 0.0).key)
        if post.kind == "alert":
            for name in activity.listeners & self.listeners():
                key = inbox.key(post.message)
                told = (each for each in self.store.messages if each[0] == name)
                if not any(each[1].startswith(key) for each in told):
                    self.breach(6, f"{post} never reached {name}")
        elif post.kind == "rubbish" and not parked:
            self.breach(6, f"{post} is gone without a trace")
        elif post.queue == "commands":
            number = self.store.messages.get((post.rollout, inbox.key(post.message)))
            row = self.store.rows[post.rollout][number - 1] if number else None
            if row is None and not parked:
                self.breach(6, f"{post} was settled, but neither applied nor parked")
            # A message that was refused may be sent again and mean something by then.
            late = parked and (post.rollout, post.message.id) not in self.second_try
            # What the last delivery stumbled over is kept with its error, though it was applied.
            late = late and parked and not parked.reason.startswith("every delivery failed")
            # A start that preflight turned down is kept with its bytes, beside its record.
            if row is not None and late and not row["refused"] and not self.turned_down(post):
                self.breach(6, f"{post} was applied, and then parked as refused")

    def turned_down(self, post: Post) -> bool:
        """Whether this is a start that ended before any traffic moved."""
        known = self.known.get(post.rollout)
        return post.kind == "start" and known is not None and known.phase is Phase.REFUSED

    # --- the end ----------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Two undisturbed ticks have passed: what must be true by now."""
        if fault := self.above_zero():
            self.breach(3, f"two ticks after all is reachable again, {fault}")
        if fault := self.dark():
            self.breach(4, f"two ticks after all is reachable again, {fault}")
        for name, rollout in self.known.items():
            holders = [c for c in self.store.holders.values() if c.rollout == name]
            if rollout.phase in TOUCHING | {Phase.PENDING} and not holders:
                self.breach(3, f"{name} is {rollout.phase} and gets no turns: it holds no claim")
        self.look()

    def replay(self) -> None:
        """The rows, told to `decide` again, give the record."""
        for name in self.store.records:
            stored = self.record(name)
            rows = [record.row_from_dict(row) for row in self.store.rows[name]]
            first = rows[0].event
            assert isinstance(first, StartAsked)
            rollout = newborn(stored.plan, first.at_s, first.by, dry_run=first.dry_run)
            for row in rows:
                rollout = decide(stored.plan, rollout, row.event).rollout
            if rollout != stored.rollout:
                self.breach(10, f"the history of {name} replays to another record")
        self.look()

    def worse_is_seen(self) -> None:
        """The canary has been plainly bad for a while, in sight of all."""
        for name, rollout in self.known.items():
            pair = self.traffic.pair(places.HOMES[name])
            if rollout.phase in WATCHED and pair and pair.canary.enabled and rollout.before:
                self.breach(3, f"{name} is {rollout.phase} although its canary plainly fails")
        self.look()
