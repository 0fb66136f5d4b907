"""The timer trigger: one run when due, never two of one timer at a time.

As in Azure, the next due time is reckoned from the end of a run, so a run longer than the interval
swallows the times it covered, and a failed run is not tried again before the next. Schedule status
is kept in memory: a run missed while the host was down is not made up for and never past due,
which Azure's monitor, with its storage account, does.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from sandbox.host import metadata
from sandbox.host.ncrontab import Schedule
from sandbox.host.worker import Function, Worker


class Timer:
    """Runs one function on its schedule until it is stopped."""

    def __init__(self, worker: Worker, function: Function, schedule: Schedule) -> None:
        self._worker = worker
        self._function = function
        self._schedule = schedule
        self._monitored = function.trigger.get("useMonitor") is not False and _is_slow(schedule)
        self._on_startup = function.trigger.get("runOnStartup") is True
        self._one_at_a_time = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._due = self._last = datetime.now(UTC)

    def stop(self) -> None:
        """Start no more runs; `run` ends when the one that is going does."""
        self._stopping.set()

    async def run(self) -> None:
        """Wait and fire until stopped."""
        if self._on_startup:
            await self.fire()
        while not self._stopping.is_set():
            # Sleeping goes by another clock and may end early: never fire for the same time twice.
            due = self._schedule.after(max(datetime.now(UTC), self._due))
            if await self._sleep_until(due):
                self._due = due
                await self.fire()

    async def _sleep_until(self, due: datetime) -> bool:
        """Whether the time came before the stop."""
        try:
            async with asyncio.timeout((due - datetime.now(UTC)).total_seconds()):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def fire(self) -> None:
        """Run the function now, after a run that is still going; a failure is only logged."""
        async with self._one_at_a_time:
            data = metadata.timer(past_due=False, status=self._status())
            started = datetime.now(UTC)
            await self._worker.invoke(self._function, data, {})
            self._last = started

    def _status(self) -> dict[str, datetime] | None:
        if not self._monitored:
            return None
        now = datetime.now(UTC)
        return {"Last": self._last, "LastUpdated": self._last, "Next": self._schedule.after(now)}


def _is_slow(schedule: Schedule) -> bool:
    """Azure keeps no schedule status for intervals below a minute."""
    first = schedule.after(datetime.now(UTC))
    return schedule.after(first) - first >= timedelta(minutes=1)
