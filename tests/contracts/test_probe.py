"""Linnet's own probe of an endpoint, against small apps that stand for the canary."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from sandbox.azure import LocalAzure
from shared.cloud.wiring import AzureWorld
from tests.contracts.shop import PROFILE, endpoint, profile, settings, wired


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest_asyncio.fixture(loop_scope="session")
async def world(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AzureWorld]:
    azure.faults.clear()
    azure.faults.fired.clear()
    azure.traffic.delete(PROFILE)
    azure.traffic.put(PROFILE, profile())
    azure.traffic.journal.clear()
    async with wired(settings(azure, monkeypatch)) as made:
        yield made


@asynccontextmanager
async def app(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    """A canary of its own, on any free port."""
    site = web.Application()
    site.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def watch(azure: LocalAzure, port: int, *ends: dict[str, Any], **monitor: Any) -> None:
    """Let the profile probe this port of this machine."""
    ends = ends or (endpoint("blue"), endpoint("green", target="127.0.0.1"))
    azure.traffic.put(PROFILE, profile(*ends, port=port, **monitor))


async def test_a_probe_asks_as_the_monitor_config_says(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """Path, query and headers are the profile's; an endpoint's own header wins."""
    heard: list[dict[str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        heard.append({"path": request.path_qs, **request.headers})
        return web.Response()

    own = endpoint("green", target="127.0.0.1", customHeaders=[{"name": "x-v", "value": "green"}])
    async with app(handle) as port:
        headers = [{"name": "Host", "value": "shop.example"}, {"name": "X-V", "value": "any"}]
        watch(azure, port, endpoint("blue"), own, path="/up?a=1&b=%2F", customHeaders=headers)
        found = await world.traffic.probe(PROFILE, "Green")
    assert found.healthy, found.reason
    assert heard[0]["path"] == "/up?a=1&b=%2F"
    assert (heard[0]["Host"], heard[0]["x-v"]) == ("shop.example", "green")


@pytest.mark.parametrize(
    ("status", "ranges", "healthy"),
    [
        (200, None, True),
        (204, None, False),
        (301, None, False),
        (503, None, False),
        (302, [{"min": 200, "max": 204}, {"min": 301, "max": 302}], True),
        (205, [{"min": 200, "max": 204}], False),
    ],
)
async def test_a_probe_takes_the_expected_statuses_and_follows_no_redirect(
    world: AzureWorld, azure: LocalAzure, status: int, ranges: object, healthy: bool
) -> None:
    """A redirect is an answer like any other; 200 alone is right unless the profile says so."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with app(handle) as port:
        watch(azure, port, expectedStatusCodeRanges=ranges)
        found = await world.traffic.probe(PROFILE, "green")
    assert found.healthy is healthy
    assert str(status) in found.reason


async def test_a_tcp_probe_only_connects(world: AzureWorld, azure: LocalAzure) -> None:
    """An open port is enough for TCP, and a closed one is not."""

    async def handle(_: web.Request) -> web.Response:
        raise AssertionError("nobody asks for a page")

    async with app(handle) as port:
        watch(azure, port, protocol="TCP", path=None)
        assert (await world.traffic.probe(PROFILE, "green")).healthy
    found = await world.traffic.probe(PROFILE, "green")
    assert not found.healthy
    assert found.reason


@pytest.mark.parametrize(
    ("where", "whom", "said"),
    [
        (PROFILE, "purple", "no endpoint purple"),
        (PROFILE + "-2", "green", "does not exist"),
    ],
)
async def test_what_cannot_be_probed_says_why(
    world: AzureWorld, where: str, whom: str, said: str
) -> None:
    """A probe never raises; the reason is for the person who reads the refusal."""
    found = await world.traffic.probe(where, whom)
    assert not found.healthy
    assert said in found.reason
