"""A shop in the local Azure: the profile, its requests, and the world wired to it as in Azure."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.azure import LocalAzure
from shared.cloud import wiring
from shared.core.judge import Risk
from shared.core.questions import LevelQuestion, Question
from shared.core.telemetry import Arms, Gauge, Rule, Source
from shared.settings import Settings

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
PROFILE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/shop-rg/providers/Microsoft.Network"
    "/trafficManagerProfiles/shop"
)
WORKSPACE = "6f0c0000-0000-0000-0000-000000000001"
EMPTY = "6f0c0000-0000-0000-0000-000000000002"
T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)
FIRST_BIN = int(T0.timestamp()) // 60


def settings(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Settings:
    """Settings as the environment of the local Azure makes them; a call may last seconds."""
    for name, value in azure.environment().items():
        monkeypatch.setenv(name, value)
    fixed: dict[str, Any] = {
        "call_timeout_s": 5.0,
        "tables_connection": "UseDevelopmentStorage=true",
        "arm_endpoint": azure.base_url,
        "logs_endpoint": azure.base_url,
    }
    return Settings(**(fixed | changes))


@asynccontextmanager
async def wired(given: Settings) -> AsyncIterator[wiring.AzureWorld]:
    """The product's own wiring, closed afterwards."""
    world = wiring.world(given)
    try:
        yield world
    finally:
        await world.close()


def endpoint(name: str, kind: str = "externalEndpoints", **properties: Any) -> dict[str, Any]:
    fields = {"target": f"{name}.example", "weight": 500} | properties
    return {
        "name": name,
        "type": f"Microsoft.Network/trafficManagerProfiles/{kind}",
        "properties": fields,
    }


def profile(*endpoints: dict[str, Any], **monitor: Any) -> dict[str, Any]:
    """A weighted profile of blue and green (disabled), or of what is given."""
    green = endpoint("green", weight=1, endpointStatus="Disabled")
    return {
        "location": "global",
        "properties": {
            "trafficRoutingMethod": "Weighted",
            "dnsConfig": {"relativeName": "shop", "ttl": 30},
            "monitorConfig": {"protocol": "HTTP", "port": 80, "path": "/health"} | monitor,
            "endpoints": list(endpoints) or [endpoint("blue"), green],
        },
    }


def question(
    *rules: Rule,
    stable: str = "2.3.9",
    canary: str = "2.4.0",
    column: str = "AppVersion",
    workspace: str = WORKSPACE,
    bins: int = 10,
    **changes: Any,
) -> Question:
    """Bins of a minute from ten o'clock; `changes` are fields of the source or of the question."""
    source = Source(
        workspace=workspace,
        table=changes.get("table", "AppRequests"),
        arms=Arms(column, stable, canary),
        rules=rules or (Rule("errors"), Rule("slow", slower_than_ms=800)),
        bin_s=60,
        ingestion_delay_s=300,
        lookback_s=3600,
        risk=Risk(),
        role=changes.get("role"),
        client=changes.get("client"),
        gauges=changes.get("gauges", ()),
        strata=changes.get("strata", ()),
    )
    first = changes.get("from_bin", FIRST_BIN)
    thresholds_ms, step_bin = changes.get("thresholds_ms"), changes.get("step_bin")
    standard = changes.get("standard")
    return Question(source, 60, first, first + bins, thresholds_ms, step_bin, standard)


def gauges(*asked: Gauge, **changes: Any) -> LevelQuestion:
    """An hour of gauges from ten o'clock."""
    first = int(T0.timestamp()) // 900
    return LevelQuestion(question(gauges=asked, **changes).source, 900, first, first + 4)


def request(at_s: float, version: str = "2.3.9", **columns: Any) -> dict[str, Any]:
    """A row of AppRequests, so many seconds after ten o'clock."""
    return {
        "TimeGenerated": T0 + timedelta(seconds=at_s),
        "AppVersion": version,
        "Properties": {"version": version, "it's a key": version},
        "DurationMs": 100.0,
    } | columns
