"""How much a target gets: its bounds, its rate, and its peace while it is dead."""

import asyncio

import pytest
from aiohttp import web

from shared.cloud import lane
from shared.cloud.shadow import NOT_TRIED
from shared.core.shadow import Request
from tests.contracts.canaries import Turned, answer, app, ask, at, fine, raw, shadowing, silent


async def test_never_more_at_a_time_than_allowed() -> None:
    """Whoever comes later waits for a place, and everybody is served."""
    inside, most = 0, 0

    async def handle(_: web.Request) -> web.Response:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)
        inside -= 1
        return web.Response()

    async with app(handle) as port, shadowing(at(port), concurrent=3) as shadow:
        got = await asyncio.gather(*(ask(shadow) for _ in range(20)))
    assert all(each.reply for each in got)
    assert most == 3


@pytest.mark.parametrize(
    ("per_s", "number", "least_s"), [(5.0, 16, 3.0), (2.5, 11, 4.0), (0.1, 3, 20)]
)
async def test_never_more_per_second_than_allowed(
    per_s: float, number: int, least_s: float
) -> None:
    """The rate holds over any time, also below one per second."""
    clock = Turned()
    starts: list[float] = []

    async def handle(_: web.Request) -> web.Response:
        starts.append(clock.at_s)
        return web.Response()

    async with app(handle) as port, shadowing(at(port), clock, per_s=per_s) as shadow:
        for _ in range(number):
            answer(await ask(shadow))
    assert starts[-1] - starts[0] == pytest.approx(least_s)


async def test_who_waits_too_long_for_a_place_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own bound is not held against the target."""
    monkeypatch.setattr(lane, "WAIT_S", 0.05)
    async with raw(silent) as port, shadowing(at(port), concurrent=1) as shadow:
        first = asyncio.create_task(ask(shadow, timeout_s=2))
        await asyncio.sleep(0.01)
        assert (await ask(shadow)).reason.startswith(f"{NOT_TRIED}no place was free")
        assert not (await first).reason.startswith(NOT_TRIED)


async def test_a_dead_target_is_left_alone_and_comes_back() -> None:
    """After failures in a row nothing is sent for seconds; then one goes, and its success opens."""
    clock, calls, alive = Turned(), 0, False
    slow = asyncio.Event()

    async def moody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await reader.readuntil(b"\r\n\r\n")
        if alive:
            await slow.wait()
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()

    # A POST, as what is safe to repeat is repeated once when a kept connection breaks.
    post = Request("POST", "/", {})
    async with raw(moody) as port, app(fine) as other, shadowing(at(port), clock) as shadow:
        for _ in range(lane.FAILURES):
            assert not (await ask(shadow, post)).reason.startswith(NOT_TRIED)
        for _ in range(3):
            assert "5 times in a row" in (await ask(shadow, post)).reason
        assert calls == lane.FAILURES
        async with shadowing(at(other), clock) as another:
            answer(await ask(another))

        clock.at_s += lane.PAUSE_S
        together = await asyncio.gather(*(ask(shadow, post) for _ in range(4)))
        assert sorted(each.reason.startswith(NOT_TRIED) for each in together) == [
            False,
            *[True] * 3,
        ]
        assert calls == lane.FAILURES + 1

        clock.at_s += lane.PAUSE_S
        alive = True
        first = asyncio.create_task(ask(shadow, post))
        while calls < lane.FAILURES + 2:
            await asyncio.sleep(0.001)
        assert (await ask(shadow, post)).reason.startswith(NOT_TRIED)
        slow.set()
        assert answer(await first).status == 500
        answer(await ask(shadow, post))


async def test_one_answer_between_failures_keeps_the_way_open() -> None:
    """Failures count only in a row, and any answer is one, of whatever status."""
    calls = 0

    async def flaky(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls % lane.FAILURES == 0:
            return web.Response(status=503)
        assert request.transport
        request.transport.abort()
        return web.Response()

    async with app(flaky) as port, shadowing(at(port), Turned()) as shadow:
        for _ in range(4 * lane.FAILURES):
            got = await ask(shadow, Request("POST", "/", {}))
            assert not got.reason.startswith(NOT_TRIED)
    assert calls == 4 * lane.FAILURES


async def test_a_dead_target_costs_the_others_nothing_and_lanes_are_bounded() -> None:
    """Each target has its own places, rate and pause; those that nobody uses are forgotten."""
    lanes = lane.Lanes(1, 1.0)
    async with lanes.turn("a", 1) as (one, why), lanes.turn("b", 1) as (other, why_not):
        assert (why, why_not) == ("", "")
        assert one is not other
        for number in range(lane.MOST_LANES + 5):
            async with lanes.turn(f"{number}", 1):
                pass
        assert len(lanes._lanes) == lane.MOST_LANES
        assert lanes._lane("a") is one
