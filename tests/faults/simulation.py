"""One schedule: a seed chooses who goes on at every port call, what fails, and what the world does.

Every port call parks before its effect and after it. The seed resumes one call at a time, or
lets it fail (before the effect; after it, so that the reply is lost; or with the effect still
to come), kills a process, turns the clock, posts and delivers messages, lays a hand on the
weights. When the moves are used up all faults stop, what is under way ends, messages are
delivered to the last, and two ticks run. `promises.py` watches every step.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any

from controllers import inbox
from controllers.tick import tick
from sandbox.memory_store import Stage
from shared.core.model import TrafficSeen
from shared.core.telemetry import Sight
from shared.errors import ConflictError, UnreachableError
from shared.ports import Message
from tests.faults import place as places
from tests.faults.calls import (
    CALL,
    CHANGES,
    PLANTED,
    PORT_METHODS,
    SIGHTS,
    WHO,
    Activity,
    Call,
    Parked,
    error_of,
)
from tests.faults.place import LOOP, Place, place_at
from tests.faults.posts import Post

STRIDE_S = 5


class Simulation:
    """The world of one seed, stepped from outside. Subclasses watch and choose."""

    def __init__(self, seed: int, *, aloud: bool = False) -> None:
        self.seed, self.random, self.aloud = seed, Random(seed), aloud
        self.story: list[str] = []
        self.parked: list[Parked] = []
        self.activities: list[Activity] = []
        self.ghosts: list[tuple[float, Call]] = []
        self.posts: list[Post] = []
        self.settled: list[Post] = []
        self.posted_ever: list[Post] = []
        self.steps = self.started = 0
        self.faults: Counter[str] = Counter()
        self.disturbed = False
        self.fault_rate = self.random.choice((0.0, 0.0, 0.02, 0.06))
        self.lag_rate = self.random.choice((0.0, 0.0, 0.0, 0.0, 0.3))
        self.variant, self.stage = self.random.choice(places.BEGINNINGS)
        self.place: Place = place_at(self.variant, self.stage, self.hook)
        self.world, self.store, self.traffic = (
            self.place.world,
            self.place.store,
            self.place.traffic,
        )
        self.store.quick = seed % 4 != 0
        for port in (self.store, self.traffic, self.world.telemetry, self.world.notices):
            self._note_calls(port)
        LOOP.begin(self.world.clock)
        self.tell("seed", f"{seed}: plan {self.variant}, begins at {self.stage}")

    def tell(self, who: str, what: str) -> None:
        """One line of the story."""
        if self.aloud:
            at = self.place.now_s - 1_800_000_000 if hasattr(self, "place") else 0
            self.story.append(f"{len(self.story) + 1:4} {at:5.0f} s  {who}: {what}")

    # --- calls ------------------------------------------------------------------------------

    def _note_calls(self, port: object) -> None:
        """Let each call say who makes it and with what, and let a look come back spoiled."""
        for method in PORT_METHODS:
            if call := getattr(port, method, None):
                setattr(port, method, self._noted(method, call))

    def _noted(
        self, method: str, call: Callable[..., Awaitable[object]]
    ) -> Callable[..., Coroutine[Any, Any, object]]:
        async def noted(*args: Any, **more: Any) -> object:
            who = WHO.get()
            if who is None:
                return await call(*args, **more)
            note = Call(who, method, args, lambda: call(*args, **more))
            CALL.set(note)
            result = await call(*args, **more)
            return result if note.spoiled is None else note.spoiled

        return noted

    async def hook(self, _port: str, _method: str, stage: Stage) -> None:
        """Park here until the schedule lets this call on, fails it, or kills its process."""
        who = WHO.get()
        if who is None:
            return
        call = CALL.get()
        if who.dead:
            raise asyncio.CancelledError
        if stage == "before":
            self.issued(call)
        else:
            self.done(call)
        parked = Parked(call, stage, LOOP.create_future())
        self.parked.append(parked)
        try:
            await parked.future
        except asyncio.CancelledError:
            if parked in self.parked:
                self.parked.remove(parked)
                self._cut_off(parked)
            raise

    def _cut_off(self, parked: Parked) -> None:
        """Nobody waits for this call any more; what was sent may still arrive."""
        self.disturbed = True
        if parked.stage == "before" and parked.call.method in CHANGES and self.chance(0.5):
            self.haunt(parked.call)

    def haunt(self, call: Call) -> None:
        """The request is on its way and will land later, with nobody there to hear the reply."""
        due_s = self.place.now_s + places.GUARD_S / 3
        self.ghosts.append((due_s, call))
        self.faults["a write that lands late"] += 1
        self.tell(call.who.name, f"{call} is still on its way")

    def issued(self, call: Call) -> None:
        """A call is about to be made."""

    def done(self, call: Call) -> None:
        """A call has had its effect."""

    # --- steps ------------------------------------------------------------------------------

    def chance(self, odds: float) -> bool:
        return self.random.random() < odds

    def settle(self) -> None:
        """Run until everybody is parked, then look at what ended and at the promises."""
        LOOP.settle()
        for activity in [a for a in self.activities if a.task and a.task.done()]:
            self.activities.remove(activity)
            self._ended(activity)
        self.look()

    def look(self) -> None:
        """The promises, after a step."""

    def resume(self, parked: Parked) -> None:
        """Let one call on, or let it fail in one of the ways that calls do."""
        self.steps += 1
        self.parked.remove(parked)
        looks = parked.call.method == "see" and parked.stage == "before"
        if looks and self.chance(self.lag_rate):
            self._lag(parked.call)
        fault = self._fault(parked) if self.chance(self.fault_rate) else None
        if self.aloud:
            how = f"fails with {fault!r}" if fault else "goes on"
            spoiled = ", sees something else" if parked.call.spoiled else ""
            self.tell(parked.call.who.name, f"{parked.stage} {parked.call} {how}{spoiled}")
        if fault:
            parked.future.set_exception(fault)
        else:
            parked.future.set_result(None)
        self.settle()

    def _lag(self, look: Call) -> None:
        """A replica answers that has not heard of the last changes."""
        past = self.traffic.lagging(look.arguments[0])
        if past:
            self.disturbed = True
            self.faults["a look at ARM that lags behind"] += 1
            look.spoiled = TrafficSeen(Sight.SEEN, profile=self.random.choice(past))

    def _fault(self, parked: Parked) -> BaseException | None:
        self.disturbed = True
        method = parked.call.method
        if method in SIGHTS:
            if self.chance(0.1):
                self.faults["an error nobody expected"] += 1
                return PLANTED
            self.faults[f"a look that fails ({method})"] += 1
            parked.call.spoiled = SIGHTS[method]
            return None
        if method == "tell":
            return None
        if parked.stage == "before" and method in CHANGES and self.chance(0.4):
            self.haunt(parked.call)
        elif parked.stage == "after" and method in {"save", "create"} and self.chance(0.3):
            self.faults["412 for our own write"] += 1
            return ConflictError("412: our own write, tried again, had been applied")
        self.faults["503 before the effect" if parked.stage == "before" else "a lost reply"] += 1
        return UnreachableError("503")

    def land(self, number: int) -> None:
        """A request that was on its way has its effect."""
        _, call = self.ghosts.pop(number)
        self.tell("late", f"{call} of {call.who.name} lands")
        self.disturbed = True

        async def again() -> None:
            try:
                await call.again()
            except (ConflictError, UnreachableError) as error:
                self.tell("late", f"it is refused: {error}")

        LOOP.finish(again())
        self.look()

    def advance(self, seconds: int) -> None:
        """Time passes; no request stays on its way for longer than a third of the guard time."""
        self.tell("clock", f"{seconds} s pass")
        until_s = self.place.now_s + seconds
        while self.place.now_s < until_s:
            self.place.advance(min(STRIDE_S, int(until_s - self.place.now_s)))
            self.settle()
            while self.ghosts and self.ghosts[0][0] <= self.place.now_s:
                self.land(0)

    def crash(self, activity: Activity) -> None:
        """The process is gone: its task hears of nothing any more."""
        self.tell(activity.name, "crashes")
        self.faults["a crash between two port calls"] += 1
        self.disturbed = activity.dead = True
        if activity.task:
            activity.task.cancel()
        self.settle()

    # --- activities -------------------------------------------------------------------------

    def start(self, name: str, work: Coroutine[Any, Any, None], post: Post | None = None) -> None:
        """Begin one run of a function."""
        self.started += 1
        activity = Activity(f"{name} #{self.started}", post=post, listeners=self.listeners())
        token = WHO.set(activity)
        activity.task = LOOP.create_task(work)
        WHO.reset(token)
        self.activities.append(activity)
        self.tell(activity.name, "begins")
        self.settle()

    def listeners(self) -> frozenset[str]:
        """The rollouts that hold a claim now: whom an alert must reach."""
        return frozenset(claim.rollout for claim in self.store.holders.values())

    def tick(self) -> None:
        """The timer fires."""
        self.start("tick", tick(self.world))

    def deliver(self, post: Post) -> None:
        """The broker hands a message to a function."""
        self.posts.remove(post)
        if post.deliveries > 1:
            self.faults["a dead letter" if post.dead else "a message delivered again"] += 1
        message = replace(post.message, deliveries=post.deliveries)
        self.start(str(post), self._received(post, message), post)

    def _received(self, post: Post, message: Message) -> Coroutine[Any, Any, None]:
        if post.dead:
            return inbox.receive_dead(self.world, message, post.queue)
        receive = inbox.receive_alert if post.queue == "alerts" else inbox.receive_command
        return receive(self.world, message)

    def post(self, post: Post) -> None:
        """A message reaches its queue."""
        self.posts.append(post)
        self.posted_ever.append(post)
        self.tell("sender", f"posts {post}")

    def _ended(self, activity: Activity) -> None:
        error = error_of(activity)
        self.tell(activity.name, f"ends with {error!r}" if error else "ends")
        post = activity.post
        if error is not None and not activity.dead:
            self.failed(activity, error)
        if post is None:
            return
        if error is None:
            self.settled.append(post)
            self.settle_post(activity, post)
            if self.fault_rate and self.chance(0.1):
                self.faults["a twin of a settled message"] += 1
                self.posts.append(post)
        else:
            self.posts.append(replace(post, deliveries=post.deliveries + 1))

    def failed(self, activity: Activity, error: BaseException) -> None:
        """An activity ended with an error of its own."""

    def settle_post(self, activity: Activity, post: Post) -> None:
        """A message was settled."""

    def close(self) -> None:
        """Nothing may outlive the schedule."""
        for activity in self.activities:
            activity.dead = True
            if activity.task:
                activity.task.cancel()
        LOOP.settle()
        for activity in self.activities:
            error_of(activity)
        self.parked.clear()
