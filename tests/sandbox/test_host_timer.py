"""The timer trigger with a schedule of milliseconds."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.host.ncrontab import Schedule
from sandbox.host.timer import Timer
from sandbox.host.worker import Function, Outcome


class _Often(Schedule):
    """Due every 10 ms."""

    def __init__(self) -> None:
        super().__init__("* * * * * *")

    def after(self, moment: datetime) -> datetime:
        return moment + timedelta(milliseconds=10)


class _Worker:
    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.inputs: list[Any] = []
        self.running = 0
        self.most_running = 0

    async def invoke(self, function: Function, data: Any, facts: Any) -> Outcome:
        self.inputs.append(json.loads(data.json))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(self.takes_s)
        self.running -= 1
        return Outcome(error="RuntimeError: no")


def _timer(worker: Any, schedule: Schedule, **options: bool) -> Timer:
    return Timer(worker, Function("tick", "id", ({"type": "timerTrigger", **options},)), schedule)


async def test_runs_never_overlap_even_when_one_is_started_by_hand() -> None:
    """Each run outlasts two due times, which are swallowed; failures change nothing."""
    worker = _Worker(takes_s=0.025)
    timer = _timer(worker, _Often())
    running = asyncio.create_task(timer.run())
    while len(worker.inputs) < 2:
        await asyncio.sleep(0.001)
    await timer.fire()
    timer.stop()
    await running
    assert worker.most_running == 1


@pytest.mark.parametrize(
    ("schedule", "options", "monitored"),
    [
        ("0 */5 * * * *", {}, True),
        ("0 */5 * * * *", {"useMonitor": False}, False),
        ("*/30 * * * * *", {"useMonitor": True}, False),
    ],
)
async def test_schedule_status_is_kept_from_a_minute_up(
    schedule: str, options: dict[str, bool], monitored: bool
) -> None:
    worker = _Worker()
    await _timer(worker, Schedule(schedule), **options).fire()
    (told,) = worker.inputs
    assert (told["ScheduleStatus"] is not None) is monitored
    if monitored:
        due = datetime.fromisoformat(told["ScheduleStatus"]["Next"])
        assert timedelta(0) < due - datetime.now(UTC) <= timedelta(minutes=5)


async def test_run_on_startup_runs_at_once() -> None:
    worker = _Worker()
    timer = _timer(worker, Schedule("0 0 0 1 1 *"), runOnStartup=True)
    timer.stop()
    await timer.run()
    assert len(worker.inputs) == 1
