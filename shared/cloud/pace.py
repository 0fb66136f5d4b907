"""A limiter of our own, so that a service's limits are kept rather than found out by a 429.

The service counts per identity and this counts per process: with several processes the 429 and
its Retry-After remain the last word.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Pace:
    """At most `at_once` calls at a time, and at most `most` starts in any `window_s` seconds."""

    def __init__(
        self,
        at_once: int,
        most: int,
        window_s: float,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._starts: deque[float] = deque(maxlen=most)
        self._most = most
        self._window_s = window_s
        self._now_s = now_s
        self._sleep = sleep

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and for the rate, then hold the place."""
        async with self._places:
            await self._wait()
            yield

    async def _wait(self) -> None:
        while (left_s := self._left_s()) > 0:
            await self._sleep(left_s)
        self._starts.append(self._now_s())

    def _left_s(self) -> float:
        if len(self._starts) < self._most:
            return 0.0
        return self._starts[0] + self._window_s - self._now_s()
