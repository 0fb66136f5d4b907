"""Replays of a dark launch, made over HTTP to the endpoint itself.

1. Where to and what is `aim.py`'s to say, how often `lane.py`'s: here requests are made.
2. No redirect is followed, no cookie kept, no proxy asked, nothing unpacked, and an answer is read
   up to the bound and no further.
3. Certificates are verified, other than by a probe, since a replay may hold what a user sent: for
   the name in the Host header, as that is what users' certificates are issued for.
4. A reason that starts with NOT_TRIED means that nothing was sent, so it is no word about this
   version: it was the sample, ARM, or the pause after failures. No reason repeats a sample.
"""

import asyncio
import io
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final, Protocol

import aiohttp

from shared.cloud import aim, trouble
from shared.cloud.lane import Lanes
from shared.cloud.probe import Check
from shared.core.bodies import Reply
from shared.core.shadow import Replayed, Request

log = logging.getLogger(__name__)

NOT_TRIED: Final = "not tried: "
# How long ARM's answer is taken for true, and how long it is not asked again after a failure.
KNOWN_S, UNKNOWN_S = 30.0, 5.0
MOST_KNOWN = 256
# Shorter than servers keep theirs (Node's 5 s is the shortest): a request that meets a connection
# which is just being closed looks like a failure of the target.
KEPT_S = 4.0
MOST_HEADER_BYTES = 65_536


class Origins(Protocol):
    """Who knows where an endpoint is."""

    async def origin(self, profile: str, endpoint: str) -> Check:
        """How a probe would ask it. Raises RefusedError or UnreachableError."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """What ARM said of an endpoint, or why it said nothing, and until when that is taken."""

    origin: aim.Origin | str
    until_s: float


class HttpShadow:
    """The shadow port. `concurrent` and `per_s` bound the requests to each target.

    `tls` brings authorities of its own; there is no way to switch the check off.
    """

    def __init__(
        self,
        origins: Origins,
        *,
        concurrent: int,
        per_s: float,
        tls: ssl.SSLContext | None = None,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._origins = origins
        self._concurrent = concurrent
        self._tls = tls
        self._now_s = now_s
        self._lanes = Lanes(concurrent, per_s, now_s=now_s, sleep=sleep)
        self._known: dict[tuple[str, str], asyncio.Task[_Known]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def replay(
        self, profile: str, endpoint: str, request: Request, *, timeout_s: float, most_bytes: int
    ) -> Replayed:
        """Make the request to that endpoint of the profile, and to nothing else. Never raises.

        `timeout_s` bounds the try itself; its turn is waited for before.
        """
        try:
            origin = aim.refusal(request) or await self._find(profile, endpoint)
            if isinstance(origin, str):
                return Replayed(None, NOT_TRIED + origin, tried=False)
            async with self._lanes.turn(str(origin.url), timeout_s) as (lane, why_not):
                if why_not:
                    return Replayed(None, NOT_TRIED + why_not, tried=False)
                replayed = await self._attempt(origin, request, timeout_s, most_bytes)
                lane.learn(failed=replayed.reply is None)
                return replayed
        except Exception as error:  # noqa: BLE001  # the port's contract: trouble is a value
            # Without its words, which might hold what a user sent.
            log.warning("a replay ended in an unexpected %s", type(error).__name__)
            return Replayed(None, f"an unexpected {type(error).__name__}")

    async def close(self) -> None:
        """Close the connections."""
        known, self._known = self._known, {}
        for reading in known.values():
            reading.cancel()
        await asyncio.gather(*known.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _find(self, profile: str, endpoint: str) -> aim.Origin | str:
        """The endpoint's origin, or why it is not known; one read serves all who ask meanwhile."""
        key = (profile.casefold(), endpoint.casefold())
        reading = self._known.get(key)
        if reading is None or (reading.done() and self._now_s() >= reading.result().until_s):
            self._known.pop(key, None)
            if len(self._known) >= MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
            reading = self._known[key] = asyncio.create_task(self._read(profile, endpoint))
        # Who gives up waiting does not take the answer from the others.
        return (await asyncio.shield(reading)).origin

    async def _read(self, profile: str, endpoint: str) -> _Known:
        until_s = self._now_s() + KNOWN_S
        try:
            return _Known(aim.origin_of(await self._origins.origin(profile, endpoint)), until_s)
        except Exception as error:  # noqa: BLE001  # all who wait for it need an answer
            return _Known(trouble.words(error), self._now_s() + UNKNOWN_S)

    async def _attempt(
        self, origin: aim.Origin, request: Request, timeout_s: float, most_bytes: int
    ) -> Replayed:
        try:
            async with asyncio.timeout(timeout_s):
                return Replayed(await self._exchange(origin, request, most_bytes))
        except TimeoutError:
            return Replayed(None, f"no whole answer within {timeout_s:g} s")
        except aiohttp.ClientResponseError:
            # Its words hold the URL and pieces of the answer.
            return Replayed(None, "what came back was no HTTP")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Replayed(None, trouble.words(error))

    async def _exchange(self, origin: aim.Origin, request: Request, most_bytes: int) -> Reply:
        sent = SimpleNamespace(at_s=time.perf_counter())
        async with self._open().request(
            request.method,
            aim.url(origin, request.path),
            headers=aim.headers(origin, request),
            data=io.BytesIO(request.body) if request.body else None,
            allow_redirects=False,
            server_hostname=origin.name,
            trace_request_ctx=sent,
        ) as response:
            body, truncated = await _body(response, most_bytes)
            elapsed_ms = (time.perf_counter() - sent.at_s) * 1000
            return Reply(response.status, _joined(response), body, elapsed_ms, truncated)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # the lanes hold the whole, each its own
                    limit_per_host=self._concurrent,
                    keepalive_timeout=KEPT_S,
                    ssl=self._tls or True,
                    socket_factory=aim.open_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("accept", "content-type", "user-agent"),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[trace],
                max_line_size=MOST_HEADER_BYTES,
                max_field_size=MOST_HEADER_BYTES,
            )
        return self._session


async def _note_sent(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams
) -> None:
    """Set the time anew: what went before was the connection, which some replays find made."""
    context.trace_request_ctx.at_s = time.perf_counter()


async def _body(response: aiohttp.ClientResponse, most_bytes: int) -> tuple[bytes, bool]:
    """The body, and whether it was cut; the connection of a body that was cut is closed."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most_bytes:
            response.close()
            return bytes(body[:most_bytes]), True
    return bytes(body), False


def _joined(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Headers by lower-case name, as UTF-8; one that came several times is one, in order."""
    headers: dict[str, list[str]] = {}
    for name, value in response.headers.items():
        text = value.encode(errors="surrogateescape").decode(errors="replace")
        headers.setdefault(name.lower(), []).append(text)
    return {name: ", ".join(values) for name, values in headers.items()}
