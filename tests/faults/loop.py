"""An event loop that does nothing by itself: no sockets, no waiting, time is the turned clock.

`settle` runs whatever can run and returns when everything waits for something; deadlines of the
controllers fire when the clock passes them. Same calls, same order, every time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from typing import Any, Unpack

from sandbox.memory import TurnedClock


class SteppedLoop(asyncio.BaseEventLoop):
    """What tasks, timeouts and groups need of a loop, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = TurnedClock()
        self.ready: deque[asyncio.Handle] = deque()
        self.timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self.count = 0

    def begin(self, clock: TurnedClock) -> None:
        """Serve another schedule."""
        self.clock = clock
        self.ready.clear()
        self.timers.clear()

    def time(self) -> float:
        return self.clock.at_s

    def call_soon[*Ts](
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def call_at[*Ts](
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.count += 1
        heappush(self.timers, (when, self.count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is skipped when its time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Outcomes are read from the tasks themselves; a dropped task may stay pending."""

    def settle(self) -> None:
        """Run all that can run, deadlines that have passed included."""
        asyncio._set_running_loop(self)
        try:
            while self.timers and self.timers[0][0] <= self.clock.at_s:
                self.ready.append(heappop(self.timers)[2])
            while self.ready:
                handle = self.ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def finish[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run something that waits for nothing outside, to its end."""
        task = self.create_task(work)
        self.settle()
        return task.result()
