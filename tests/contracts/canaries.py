"""Canaries in every mood: servers on this machine, an ARM that knows them, and a clock to turn."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from shared.cloud.probe import Check
from shared.cloud.shadow import HttpShadow, Origins
from shared.core.bodies import Reply
from shared.core.shadow import Replayed, Request
from tests.contracts.shop import PROFILE

GET = Request("GET", "/", {})
type Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
type Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Turned:
    """A clock that only moves when it is told to, or slept on."""

    at_s: float = 1000.0

    def now_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds
        await asyncio.sleep(0)


@dataclass
class Known:
    """An origin that needs no ARM; `reads` counts the questions."""

    check: Check
    reads: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def origin(self, profile: str, endpoint: str) -> Check:
        self.reads += 1
        if self.gate.is_set():
            await asyncio.Event().wait()
        return replace(self.check, target=endpoint if "." in endpoint else self.check.target)


def at(port: int, protocol: str = "HTTP", host: str = "") -> Known:
    headers = (("Host", host),) if host else ()
    return Known(Check(protocol, "127.0.0.1", port, "/health", 5, headers))


@asynccontextmanager
async def shadowing(
    origins: Origins, clock: Turned | None = None, **changes: Any
) -> AsyncIterator[HttpShadow]:
    clocks = {"now_s": clock.now_s, "sleep": clock.sleep} if clock else {}
    made = HttpShadow(origins, **({"concurrent": 8, "per_s": 1000.0} | clocks | changes))
    try:
        yield made
    finally:
        await made.close()


async def ask(
    shadow: HttpShadow,
    request: Request = GET,
    whom: str = "green",
    timeout_s: float = 5.0,
    most_bytes: int = 1_000_000,
) -> Replayed:
    return await shadow.replay(PROFILE, whom, request, timeout_s=timeout_s, most_bytes=most_bytes)


def answer(replayed: Replayed) -> Reply:
    assert replayed.reply is not None, replayed.reason
    return replayed.reply


@asynccontextmanager
async def app(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    site = web.Application(client_max_size=10_000_000)
    site.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(speak: Speak) -> AsyncIterator[int]:
    """A server that says exactly what a test wants, once per connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def fine(_: web.Request) -> web.Response:
    return web.Response(text="fine")


class Listening:
    """A raw server's ears: the head of every request, byte for byte."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()


async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.4)
