"""A request to an endpoint as Traffic Manager's own probes make it.

As with those: the certificate is not verified (only users' host names need to match it), the
status must be in the expected ranges, and a redirect is an answer like any other.
"""

import asyncio
from dataclasses import dataclass
from ipaddress import IPv6Address

import aiohttp
from yarl import URL

from shared.cloud import trouble
from shared.core.model import ProbeSeen


@dataclass(frozen=True, slots=True)
class Check:
    """What a profile's monitor config asks of one target. `protocol` is HTTP, HTTPS or TCP."""

    protocol: str
    target: str
    port: int
    path: str
    timeout_s: float
    headers: tuple[tuple[str, str], ...] = ()
    expected: tuple[tuple[int, int], ...] = ((200, 200),)


async def perform(check: Check) -> ProbeSeen:
    """One try. Never raises: what went wrong is part of the value."""
    try:
        async with asyncio.timeout(check.timeout_s):
            return await (_connect(check) if check.protocol == "TCP" else _get(check))
    except TimeoutError:
        return ProbeSeen(healthy=False, reason=f"no answer within {check.timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return ProbeSeen(healthy=False, reason=trouble.words(error))


async def _connect(check: Check) -> ProbeSeen:
    _, writer = await asyncio.open_connection(check.target, check.port)
    writer.close()
    await writer.wait_closed()
    return ProbeSeen(healthy=True, reason=f"port {check.port} accepts connections")


async def _get(check: Check) -> ProbeSeen:
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(
            _url(check), headers=dict(check.headers), allow_redirects=False, ssl=False
        ) as response,
    ):
        healthy = any(low <= response.status <= high for low, high in check.expected)
        return ProbeSeen(healthy, f"{check.path} answered {response.status}")


def _url(check: Check) -> URL:
    """The address; its path is sent as the profile has it. Raises ValueError when it cannot be."""
    odd = any(character.isspace() or not character.isprintable() for character in check.path)
    if odd or not check.path.startswith("/"):
        raise ValueError(f"{check.path!r} is no path")
    base = URL.build(scheme=check.protocol.lower(), host=_host(check.target), port=check.port)
    return URL(f"{base.origin()}{check.path}", encoded=True)


def _host(target: str) -> str:
    try:
        return str(IPv6Address(target.strip("[]")))
    except ValueError:
        return target
