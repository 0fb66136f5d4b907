"""The demo's services and users: where requests go, what sticks, who is hurt, what is recorded."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from sandbox.azure import DEFAULT_WORKSPACE, LocalAzure, LocalOptions
from sandbox.services import FAR_CITY, ServicePair, Telemetry, Versions, serve_pair
from sandbox.users import CITIES, Crowd, Habits, Resolver, Tally, Where
from shared.cloud import kql
from tests.contracts.shop import question

PROFILE = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/trafficManagerProfiles/mini"
)
CANARY = f"{PROFILE}/externalEndpoints/canary"
STABLE = f"{PROFILE}/externalEndpoints/stable"
NAME = "mini.trafficmanager.test"


class Town:
    """Both services and the profile that leads to them; no Linnet."""

    def __init__(self, azure: LocalAzure, pair: ServicePair) -> None:
        self.azure = azure
        self.pair = pair

    def weights(self, stable: int, canary: int, ttl_s: int = 1) -> None:
        external = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"
        ends = [
            ("stable", self.pair.stable.host, stable),
            ("canary", self.pair.canary.host, canary),
        ]
        properties = {
            "trafficRoutingMethod": "Weighted",
            "recordType": "A",
            "dnsConfig": {"relativeName": "mini", "ttl": ttl_s},
            "monitorConfig": {"protocol": "HTTP", "port": self.pair.port, "path": "/health"},
            "endpoints": [
                {
                    "name": name,
                    "type": external,
                    "properties": {
                        "target": target,
                        "weight": weight or 1,
                        "endpointStatus": "Enabled" if weight else "Disabled",
                    },
                }
                for name, target, weight in ends
            ],
        }
        self.azure.traffic.put(PROFILE, {"location": "global", "properties": properties})

    def where(self) -> Where:
        arms: Any = {self.pair.stable.host: "stable", self.pair.canary.host: "canary"}
        return Where(NAME, self.azure.dns_port, self.pair.port, arms)

    async def rows(self, kql: str) -> list[list[Any]]:
        found = await self.azure.logs.query([DEFAULT_WORKSPACE], kql)
        return found.rows if found else []


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        azure = await stack.enter_async_context(LocalAzure(LocalOptions(seed=3)))
        telemetry = Telemetry(azure.logs, DEFAULT_WORKSPACE)
        await stack.enter_async_context(telemetry)
        versions = Versions("1", "2")
        pair = await serve_pair(stack, "mini", versions, telemetry.record, subnet=77, seed=3)
        yield Town(azure, pair)


async def crowded(town: Town, until: int, habits: Habits) -> Tally:
    """Let users come until so many requests were answered."""
    async with Crowd(town.where(), habits) as crowd, asyncio.timeout(10):
        while crowd.tally.requests.total() < until:
            await asyncio.sleep(0.02)
        return crowd.tally


async def test_requests_follow_the_weights_and_become_rows(town: Town) -> None:
    """With a TTL of 0 every request asks anew: answers and requests come close to 3 to 1."""
    town.weights(75, 25, ttl_s=0)
    tally = await crowded(town, 600, Habits(resolvers=20, rate_per_s=400, seed=1))
    for count in (tally.answers, tally.requests):
        assert 0.18 < count["canary"] / count.total() < 0.32
    assert (tally.lost, tally.skipped) == (0, 0)
    await asyncio.sleep(0.3)
    rows = await town.rows("AppRequests | summarize n=count(), users=dcount(UserId) by AppVersion")
    seen = {version: n for version, n, _ in rows}
    assert seen["1"] >= tally.requests["stable"]
    assert seen["2"] >= tally.requests["canary"]
    assert max(users for _, _, users in rows) <= 80


async def test_each_user_who_was_hurt_is_one_affected_client(town: Town) -> None:
    """The product's own question over the users' rows: whoever met failures counts once."""
    town.weights(100, 0)
    town.pair.stable.behave(error_rate=0.3)
    began = int(time.time())
    tally = await crowded(town, 300, Habits(resolvers=10, rate_per_s=300, seed=2))
    await asyncio.sleep(0.3)
    asked = replace(
        question(stable="1", canary="2", client="UserId", workspace=DEFAULT_WORKSPACE),
        bin_s=1,
        from_bin=began,
        to_bin=began + 60,
    )
    found = await town.azure.logs.query([DEFAULT_WORKSPACE], kql.merged([asked]))
    assert found is not None
    rows = [dict(zip(found.names, row, strict=True)) for row in found.rows]
    hurt = await town.rows("AppRequests | where Success == false | summarize dcount(UserId)")
    assert len(tally.hurt["stable"]) > 20
    assert sum(row["bad_clients_0"] or 0 for row in rows) == hurt[0][0]
    assert hurt[0][0] >= len(tally.hurt["stable"])
    assert [row["keyless"] for row in rows if row["part"] == kql.ARMS] == [0]


async def test_rows_say_from_which_city_and_for_what_a_request_came(town: Town) -> None:
    """Each city has several resolvers, and their users' requests carry it; a bare one carries none.

    These are the columns that a plan's strata may name.
    """
    town.weights(100, 0)
    resolvers = 2 * len(CITIES)
    await crowded(town, 300, Habits(resolvers=resolvers, users_each=3, rate_per_s=400))
    async with aiohttp.ClientSession() as session:
        await session.get(f"http://{town.pair.stable.host}:{town.pair.port}/health")
    await asyncio.sleep(0.3)
    rows = await town.rows(
        "AppRequests | summarize users=dcount(UserId) by ClientCity, OperationName"
        " | order by ClientCity asc"
    )
    assert rows == [["", "GET /health", 1], *([city, "GET /", 6] for city in sorted(CITIES))]


async def test_requests_from_the_far_city_fail_more_often_with_either_version(town: Town) -> None:
    """Where a user sits tells beforehand how often a request fails, whatever the version."""
    town.weights(50, 50, ttl_s=0)
    for service in (town.pair.stable, town.pair.canary):
        service.behave(error_rate=0.0, far_error_rate=1.0, latency_ms=0)
    tally = await crowded(town, 300, Habits(resolvers=2 * len(CITIES), rate_per_s=400))
    await asyncio.sleep(0.3)
    rows = await town.rows(
        "AppRequests | where Success == false"
        " | summarize n=count() by ClientCity, AppVersion | order by AppVersion asc"
    )
    assert [row[:2] for row in rows] == [[FAR_CITY, "1"], [FAR_CITY, "2"]]
    assert sum(row[2] for row in rows) >= tally.bad.total() > 30


async def test_a_resolver_keeps_an_answer_for_its_ttl_and_no_longer(town: Town) -> None:
    """The weights move at once; its users follow when the cached answer has run out."""
    town.weights(100, 0)
    tally = Tally()
    resolver = Resolver(0, town.where(), Habits(), tally)
    assert await resolver.address() == town.pair.stable.host
    town.weights(0, 100)
    assert await resolver.address() == town.pair.stable.host
    await asyncio.sleep(1.05)
    assert await resolver.address() == town.pair.canary.host
    assert dict(tally.answers) == {"stable": 1, "canary": 1}


async def test_users_are_hurt_once_each_by_the_version_that_failed_them(town: Town) -> None:
    """Bad requests are many, hurt users distinct, and the first bad one is timed."""
    town.weights(0, 100)
    town.pair.canary.behave(error_rate=1.0, latency_ms=0)
    tally = await crowded(town, 100, Habits(resolvers=2, users_each=3, rate_per_s=400))
    assert tally.bad["canary"] == tally.requests["canary"] >= 100
    assert len(tally.hurt["canary"]) == 6
    assert not tally.hurt["stable"]
    assert tally.first_bad_s is not None
    assert tally.last_canary_s is not None
    assert tally.first_bad_s < tally.last_canary_s


async def test_requests_to_a_name_that_is_gone_are_lost_and_counted(town: Town) -> None:
    """Both endpoints disabled means no address at all."""
    town.weights(0, 0)
    async with Crowd(town.where(), Habits(resolvers=2, rate_per_s=100)) as crowd:
        async with asyncio.timeout(5):
            while not crowd.tally.lost:
                await asyncio.sleep(0.02)
        assert crowd.tally.requests.total() == 0


async def test_probes_are_recorded_as_synthetic(town: Town) -> None:
    """A health probe is no user: its row says so."""
    async with aiohttp.ClientSession() as session:
        base = f"http://{town.pair.stable.host}:{town.pair.port}"
        for path in ("/health", "/", "/nothing"):
            async with session.get(base + path, headers={"x-user": "u1"}) as response:
                await response.read()
    await asyncio.sleep(0.3)
    kql = "AppRequests | project Name, SyntheticSource, Success, ResultCode | order by Name asc"
    assert await town.rows(kql) == [
        ["GET /", "", True, "200"],
        ["GET /health", "health probe", True, "200"],
        ["GET /nothing", "", False, "404"],
    ]


async def test_behaviour_can_be_changed_over_http_and_nonsense_is_refused(town: Town) -> None:
    """PUT /behaviour changes what it names; a rate above 1 or an unknown name changes nothing."""
    url = f"http://{town.pair.canary.host}:{town.pair.port}/behaviour"
    async with aiohttp.ClientSession() as session:
        async with session.put(url, json={"error_rate": 0.5}) as response:
            changed = {"error_rate": 0.5, "latency_ms": 8.0, "wrong_rate": 0.0}
            assert await response.json() == {**changed, "far_error_rate": 0.0}
        strange = {"error_rate": 2}, {"far_error_rate": -1}, {"colour": 1}, [1], {"latency_ms": "x"}
        for nonsense in strange:
            async with session.put(url, json=nonsense) as response:
                assert response.status == 400
    assert town.pair.canary.behaviour.error_rate == 0.5
