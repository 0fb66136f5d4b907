"""Gauges over the real logs client and running KQL, against means made by hand."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from azure.monitor.query import LogsQueryResult, LogsTable

from sandbox.azure import LocalAzure, LocalOptions
from sandbox.faults import Fault, Kind
from shared.cloud.telemetry import LogAnalytics
from shared.cloud.wiring import AzureWorld
from shared.core.telemetry import Gauge, Level, Levels, Sight
from tests.contracts.shop import EMPTY, T0, WORKSPACE, gauges, question, request, settings, wired

QUERY = "POST /v1/workspaces/"
CANARY = "2.4.0"
CPU = Gauge("cpu", "AppPerformanceCounters", "% Processor Time")
QUEUE = Gauge("queue", "AppMetrics", "queue length")
FIRST = int(T0.timestamp()) // 900


def reading(at_s: float, name: str, version: str = "2.3.9", **columns: Any) -> dict[str, Any]:
    return {"TimeGenerated": T0 + timedelta(seconds=at_s), "AppVersion": version, "Name": name} | (
        columns
    )


COUNTERS = [
    reading(0, CPU.metric, Value=10.0),
    reading(899, CPU.metric, Value=20.0),
    reading(900, CPU.metric, CANARY, Value=90.0, AppRoleName="shop"),
    reading(950, CPU.metric, "9.9.9", Value=1000.0),
    reading(950, "Private Bytes", Value=1e9),
    reading(3600, CPU.metric, Value=7.0),
]
METRICS = [
    reading(10, QUEUE.metric, Sum=30.0, ItemCount=10, Min=0.0, Max=9.0),
    reading(20, QUEUE.metric, Sum=10.0, ItemCount=6, Min=10.0, Max=10.0),
    reading(30, QUEUE.metric, CANARY, Sum=-4.0, ItemCount=2),
    reading(1000, QUEUE.metric, CANARY, Sum=0.0, ItemCount=0),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    options = LocalOptions(clock=lambda: T0 + timedelta(hours=1), workspaces=(WORKSPACE, EMPTY))
    async with LocalAzure(options) as local:
        await local.logs.add(WORKSPACE, COUNTERS, table=CPU.table)
        await local.logs.add(WORKSPACE, METRICS, table=QUEUE.table)
        await local.logs.add(WORKSPACE, [request(1)])
        yield local


@pytest_asyncio.fixture(loop_scope="session")
async def world(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AzureWorld]:
    azure.faults.clear()
    async with wired(settings(azure, monkeypatch)) as made:
        yield made


async def test_levels_are_means_by_arm_and_quarter_of_an_hour(world: AzureWorld) -> None:
    """A counter's rows weigh alike, a metric's by their readings; of none there is no mean."""
    levels = await world.telemetry.levels(gauges(CPU, QUEUE))
    assert levels.sight is Sight.SEEN, levels.reason
    assert levels.by_gauge == {
        "cpu": (Level(FIRST, 15, None), Level(FIRST + 1, None, 90)),
        "queue": (Level(FIRST, 2.5, -2), Level(FIRST + 1, None, None)),
    }


async def test_another_service_is_left_out(world: AzureWorld) -> None:
    """A role says whose gauges count; one that shows nothing is there without levels."""
    levels = await world.telemetry.levels(gauges(CPU, QUEUE, role="shop"))
    assert levels.by_gauge == {"cpu": (Level(FIRST + 1, None, 90),), "queue": ()}


@pytest.mark.parametrize(
    "asked", [gauges(CPU, workspace=EMPTY), gauges(CPU, stable="1", canary="2")]
)
async def test_no_readings_are_absence(world: AzureWorld, asked: Any) -> None:
    """A workspace with nothing in it and versions nobody reports are alike."""
    assert (await world.telemetry.levels(asked)).sight is Sight.ABSENT


@pytest.mark.parametrize(
    "asked",
    [
        gauges(Gauge("g", "SigninLogs | take 1", "m")),
        gauges(Gauge("g", "AppMetrics", "a\x00b")),
        gauges(CPU, column="a == 1 or b"),
        gauges(CPU, column="NoSuchColumn"),
    ],
    ids=["table", "metric", "column", "no such column"],
)
async def test_what_cannot_be_asked_fails_with_words(world: AzureWorld, asked: Any) -> None:
    """Nothing is raised: advice that is not to be had stops nobody."""
    levels = await world.telemetry.levels(asked)
    assert (levels.sight, levels.by_gauge) == (Sight.FAILED, None)
    assert levels.reason


async def test_gauges_that_fail_blind_no_evidence(world: AzureWorld, azure: LocalAzure) -> None:
    """They are asked by a query of their own: the next one is answered."""
    azure.faults.arm(Fault(QUERY, Kind.STATUS, status=400))
    levels = await world.telemetry.levels(gauges(CPU))
    answer = await world.telemetry.ask(question())
    assert (levels.sight, answer.sight) == (Sight.FAILED, Sight.SEEN)
    assert "malformed" in levels.reason


async def test_throttling_is_waited_out_for_gauges_too(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """They keep the same pace and have the same retries."""
    azure.faults.arm(Fault(QUERY, Kind.STATUS, status=429, retry_after_s=0))
    assert (await world.telemetry.levels(gauges(CPU))).sight is Sight.SEEN


class Rows:
    """A logs client that answers with one row."""

    def __init__(self, row: dict[str, object]) -> None:
        self.row = row

    async def query_workspace(self, *_: object, **__: object) -> object:
        types = ["real" for _ in self.row]
        table = LogsTable(
            name="PrimaryResult",
            columns=list(self.row),
            columns_types=types,
            rows=[list(self.row.values())],
        )
        return LogsQueryResult(tables=[table])


async def odd(**changed: object) -> Levels:
    good: dict[str, object] = {"gauge": 0, "arm": "stable", "bin_start": FIRST * 900, "level": 1.5}
    client: Any = Rows({name: each for name, each in (good | changed).items() if each != "gone"})
    return await LogAnalytics(client, timeout_s=1, gather_s=0).levels(gauges(CPU))


@pytest.mark.parametrize(
    "changed",
    [
        {"gauge": 1},
        {"gauge": -1},
        {"gauge": None},
        {"arm": "unlabelled"},
        {"arm": None},
        {"bin_start": (FIRST - 1) * 900},
        {"bin_start": (FIRST + 4) * 900},
        {"level": "high"},
        {"level": True},
        {"level": float("inf")},
        {"level": "gone"},
    ],
    ids=str,
)
async def test_a_malformed_level_is_never_guessed_at(changed: dict[str, object]) -> None:
    """One odd row makes all levels a failure."""
    levels = await odd(**changed)
    assert (levels.sight, levels.by_gauge) == (Sight.FAILED, None)


@pytest.mark.parametrize(
    ("said", "level"), [(1.5, 1.5), (-1, -1), (None, None), ("NaN", None), (float("nan"), None)]
)
async def test_a_mean_of_nothing_is_nothing(said: object, level: float | None) -> None:
    """Kusto's ways to say nothing are nothing; a level may well be below zero."""
    assert (await odd(level=said)).by_gauge == {"cpu": (Level(FIRST, level, None),)}
