"""The services and the broker of `bench.shadow`, as a child process, and samples of them.

The answers are the same at every run, but for a time of day that never is: the noise.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from sandbox.local import ROOT, profile_id
from sandbox.servicebus import Broker, QueueSpec
from shared.cloud.probe import Check
from shared.core.shadow import drawn
from shared.ports import Message

QUEUE: Final = "samples"
NAME: Final = "bench"
PROFILE: Final = profile_id(NAME)
STABLE, CANARY = "stable", "canary"
LARGE_BYTES: Final = 1_000_000
WRONG_SHARE: Final = 0.02
_FAR_S: Final = 60.0


def page(number: int, *, wrong: bool = False) -> dict[str, Any]:
    """An answer of about 1 kB, with a time that is never the same."""
    dice = random.Random(number)  # noqa: S311  # the same at every run, no secret
    items: list[dict[str, Any]] = [
        {"id": at, "title": f"item {at}", "price": round(dice.uniform(1, 900), 2), "tags": ["new"]}
        for at in range(12)
    ]
    items[3]["price"] += int(wrong)
    return {"page": number, "next": None, "items": items, "at": time.time_ns()}


async def _answer(request: web.Request) -> web.Response:
    number = int(request.query.get("n", "0"))
    if request.path == "/large":
        return web.Response(body=large_body(number), content_type="application/json")
    wrong = request.app["arm"] == CANARY and drawn(WRONG_SHARE, "wrong", str(number))
    return web.json_response(page(number, wrong=wrong))


def large_body(number: int) -> bytes:
    """One of 1 MB, with a time of its own as well: equal bytes would not even be read."""
    body = json.dumps({"n": number, "at": time.time_ns(), "series": list(range(140_000))})
    return body.ljust(LARGE_BYTES).encode()


async def _serve() -> None:
    """The child's life: it tells where it listens, and ends when its input does."""
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Broker([QueueSpec(QUEUE, lock_s=300.0)]))
        ports = {arm: await stack.enter_async_context(_service(arm)) for arm in (STABLE, CANARY)}
        print(json.dumps({"bus": broker.connection_string, "ports": ports}), flush=True)  # noqa: T201  # to the parent
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def _service(arm: str) -> AsyncIterator[int]:
    site = web.Application()
    site["arm"] = arm
    site.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def child() -> AsyncIterator[dict[str, Any]]:
    """The child, and where it listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.shadow_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child has no pipes")
    try:
        async with asyncio.timeout(_FAR_S):
            told: dict[str, Any] = json.loads(await process.stdout.readline())
        yield told
    finally:
        process.stdin.close()
        await process.wait()


def sample(number: int, *, large: bool = False) -> bytes:
    """What a producer would post."""
    blob = {"blob": f"https://a.example/b/{number}", "sha256": "0" * 64}
    document = {
        "schema": "linnet.sample/1",
        "id": f"s-{number}",
        "profile": PROFILE,
        "at": "2026-01-01T00:00:00Z",
        "request": {
            "method": "GET",
            "path": f"/{'large' if large else 'items'}?n={number}",
            "headers": {"accept": "application/json", "user-agent": "bench"},
        },
        "response": {
            "status": 200,
            "headers": {"content-type": "application/json; charset=utf-8"},
            "elapsed_ms": 10.0,
            "body": blob if large else {"text": json.dumps(page(number))},
        },
    }
    return json.dumps(document).encode()


def messages(first: int, count: int, *, large: bool = False) -> list[Message]:
    """Samples as the trigger hands them over."""
    numbers = range(first, first + count)
    return [Message(f"m-{n}", sample(n, large=large), time.time()) for n in numbers]


@dataclass(frozen=True, slots=True)
class Known:
    """Where the endpoints are; ARM is not asked."""

    ports: dict[str, int]

    async def origin(self, profile: str, endpoint: str) -> Check:
        """As a probe would ask it."""
        del profile
        return Check("HTTP", "127.0.0.1", self.ports[endpoint], "/", 5)


class Bodies:
    """Blobs of 1 MB, each read anew."""

    async def read(self, url: str, sha256: str, most_bytes: int) -> bytes:
        """The bytes."""
        del sha256, most_bytes
        return large_body(int(url.rpartition("/")[2]))


if __name__ == "__main__":
    asyncio.run(_serve())
