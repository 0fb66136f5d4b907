"""The Log Analytics stand-in without sockets: ingestion, retention, values, and its thread."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from sandbox.logs import WorkspaceLogs
from sandbox.logs_values import kusto_type, parse_timespan, plain

T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)
WORKSPACE = "6f0c0000-0000-0000-0000-000000000001"
PER_SECOND = "AppRequests | summarize sum(ItemCount) by AppVersion, bin(TimeGenerated, 1s)"


class Turned:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = T0 + timedelta(minutes=30)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def request_row(second: int, version: str = "2.3.9", **columns: Any) -> dict[str, Any]:
    return {
        "TimeGenerated": T0 + timedelta(seconds=second, milliseconds=250),
        "AppVersion": version,
        "Properties": {"version": version},
        "DurationMs": 100.0,
    } | columns


async def counted(logs: WorkspaceLogs) -> int:
    table = await logs.query([WORKSPACE], "AppRequests | count")
    return 0 if table is None else int(table.rows[0][0])


async def test_a_row_is_seen_from_its_ingestion_on() -> None:
    """The batch's own delay wins over the settable one, which may look at the row."""
    clock = Turned()
    async with WorkspaceLogs([WORKSPACE], clock=clock) as logs:
        logs.ingestion_delay_s = lambda row: 60.0 if row["AppVersion"] == "2.4.0" else 5.0
        await logs.add(WORKSPACE, [request_row(0), request_row(0, "2.4.0")])
        await logs.add(WORKSPACE, [request_row(0)], delay_s=90)
        seen = []
        for wait in (0, 5, 55, 30):
            clock.wait(wait)
            seen.append(await counted(logs))
    assert seen == [0, 1, 2, 3]


async def test_old_rows_are_dropped() -> None:
    """What is older than the retention leaves, so a long demo does not grow."""
    clock = Turned()
    async with WorkspaceLogs([WORKSPACE], clock=clock, retention_s=3600) as logs:
        await logs.add(WORKSPACE, [request_row(0), request_row(1200)])
        assert await logs.count() == 2
        clock.wait(2000)
        assert await counted(logs) == 1
        assert await logs.count() == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"Success": 1},
        {"ItemCount": "many"},
        {"TimeGenerated": None},
        {"TimeGenerated": datetime(2026, 11, 22)},  # noqa: DTZ001  # a naive time is the point
        {"Name": 5},
    ],
)
async def test_values_that_do_not_fit_are_refused(columns: dict[str, Any]) -> None:
    """A row with a wrong value is an error where it is added, not where it is read."""
    async with WorkspaceLogs([WORKSPACE]) as logs:
        with pytest.raises(ValueError, match=next(iter(columns))):
            await logs.add(WORKSPACE, [request_row(0, **columns)])


async def test_queries_and_load_leave_the_event_loop_free() -> None:
    """With 9000 rows loading and queries running, the loop is seldom held, and briefly."""
    clock = Turned()
    async with WorkspaceLogs([WORKSPACE], clock=clock) as logs:

        async def load() -> None:
            for second in range(60):
                await logs.add(WORKSPACE, [request_row(second) for _ in range(150)])

        async def beat() -> list[float]:
            beats = []
            while not done.is_set():
                beats.append(time.perf_counter())
                await asyncio.sleep(0.005)
            return beats

        done = asyncio.Event()
        beating = asyncio.create_task(beat())
        await load()
        tables = [await logs.query([WORKSPACE], PER_SECOND) for _ in range(3)]
        done.set()
        gaps = [after - before for before, after in pairwise(await beating)]
    assert all(table is not None and len(table.rows) == 60 for table in tables)
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.1


def test_values_are_written_as_the_api_writes_them() -> None:
    """Times end in Z, a real that is no number is text, bags are JSON in a string."""
    assert plain(datetime(2026, 11, 22, 10)) == "2026-11-22T10:00:00.000000Z"  # noqa: DTZ001  # as DuckDB gives it
    assert plain(float("nan")) == "NaN"
    assert plain(timedelta(days=1, seconds=3661)) == "1.01:01:01"
    assert plain([1, "a"]) == '[1, "a"]'
    assert (kusto_type("HUGEINT"), kusto_type("VARCHAR[]")) == ("long", "dynamic")


def test_a_timespan_is_an_interval_or_a_duration() -> None:
    """The three forms of ISO 8601 are read, and others refused."""
    minute = timedelta(minutes=1)
    assert parse_timespan(None, T0) is None
    assert parse_timespan("PT60.0S", T0) == (T0 - minute, T0)
    assert parse_timespan("2026-11-22T10:00:00Z/PT1M", T0) == (T0, T0 + minute)
    with pytest.raises(ValueError, match="duration"):
        parse_timespan("an hour", T0)
