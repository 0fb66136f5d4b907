"""What a target of many requests is spared: a bound at a time, a rate, and a pause when it fails.

After several failures in a row a target is left alone for some seconds; then one request is let
through, whose success ends the pause and whose failure renews it. Targets do not share any of
this: a dead one costs the others nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from shared.cloud.pace import Pace

FAILURES, PAUSE_S = 5, 5.0
WAIT_S = 30.0
MOST_LANES = 256


class Lane:
    """The way to one target."""

    def __init__(self, pace: Pace, now_s: Callable[[], float]) -> None:
        self.users = 0
        self._pace = pace
        self._now_s = now_s
        self._failures = 0
        self._closed_until_s = 0.0

    async def enter(self, held: AsyncExitStack, lasting_s: float) -> str:
        """Wait for a place, which `held` then keeps; a request may take `lasting_s`.

        Returns why there is none, empty when there is one. Then `learn` what came of it.
        """
        if self._paused():
            return self._words()
        try:
            async with asyncio.timeout(WAIT_S):
                await held.enter_async_context(self._pace.place())
        except TimeoutError:
            return f"no place was free within {WAIT_S:g} s"
        # Looked at again, as it may have failed meanwhile: who waits must not pile up on it.
        return "" if self._admits(lasting_s) else self._words()

    def learn(self, *, failed: bool) -> None:
        """Count a failure, or forget the ones before."""
        self._failures = self._failures + 1 if failed else 0
        self._closed_until_s = self._now_s() + PAUSE_S

    def _words(self) -> str:
        return f"the target failed {self._failures} times in a row and is left alone for a moment"

    def _paused(self) -> bool:
        return self._failures >= FAILURES and self._now_s() < self._closed_until_s

    def _admits(self, lasting_s: float) -> bool:
        if self._paused():
            return False
        if self._failures >= FAILURES:
            # This is the one that is let through. Should it never report, the next one may follow.
            self._closed_until_s = self._now_s() + max(PAUSE_S, lasting_s)
        return True


class Lanes:
    """A lane for each target: `concurrent` requests at a time and `per_s` starts per second."""

    def __init__(
        self,
        concurrent: int,
        per_s: float,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._concurrent = concurrent
        # A whole number of starts in a window: the rate may be below one per second.
        self._most = max(1, int(per_s))
        self._window_s = self._most / per_s
        self._now_s = now_s
        self._sleep = sleep
        self._lanes: dict[str, Lane] = {}

    @asynccontextmanager
    async def turn(self, target: str, lasting_s: float) -> AsyncIterator[tuple[Lane, str]]:
        """The target's lane with a place in it for the block, or with why there is none."""
        lane = self._lane(target)
        lane.users += 1
        try:
            async with AsyncExitStack() as held:
                yield lane, await lane.enter(held, lasting_s)
        finally:
            lane.users -= 1

    def _lane(self, target: str) -> Lane:
        if target not in self._lanes:
            self._make_room()
            pace = Pace(
                self._concurrent,
                self._most,
                self._window_s,
                now_s=self._now_s,
                sleep=self._sleep,
            )
            self._lanes[target] = Lane(pace, self._now_s)
        return self._lanes[target]

    def _make_room(self) -> None:
        """Forget the oldest lane that nobody is in."""
        if len(self._lanes) >= MOST_LANES:
            idle = next((target for target, lane in self._lanes.items() if not lane.users), None)
            if idle is not None:
                del self._lanes[idle]
