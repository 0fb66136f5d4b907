"""Doors as a deployment builds them, for tokens of the local Entra, and how a refusal reads."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import jwt
import pytest
from aiohttp import web

from sandbox.entra import AUDIENCE, ROLE, TENANT
from shared.cloud.entra import EntraDoor, SigningKeys, issuers_of
from shared.errors import ForbiddenError, LinnetError

APP_URI = "api://linnet"
PUBLIC = "https://login.microsoftonline.com"


class Turned:
    """A clock that goes forward when told."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def made(authority: str, timeout_s: float = 2.0, **changes: Any) -> EntraDoor:
    """A door as a deployment builds it."""
    fixed: dict[str, Any] = {"audiences": (AUDIENCE.upper(), APP_URI), "roles": {ROLE, "Operator"}}
    wanted = {"tenant": TENANT} | fixed | changes
    return EntraDoor.of(**wanted, authority=authority, timeout_s=timeout_s)


def timed(authority: str, clock: Turned, timeout_s: float = 2.0) -> EntraDoor:
    """The same with a clock that a test turns."""
    issuers = issuers_of(PUBLIC, TENANT)
    url = f"{authority}/{TENANT}/discovery/v2.0/keys"
    keys = SigningKeys(url, (f"{PUBLIC}/{{tenantid}}/v2.0",), timeout_s, clock)
    return EntraDoor(keys, issuers, (AUDIENCE,), frozenset({ROLE}))


async def refused(door: EntraDoor, token: str, header: str = "Bearer {}") -> tuple[int, str]:
    """The status and words of a refusal, which never hold a piece of the token."""
    with pytest.raises(ForbiddenError) as caught:
        await door.admit(header.replace("{}", token))
    assert_silent(caught.value, token)
    return caught.value.status, str(caught.value)


def assert_silent(error: LinnetError, token: str) -> None:
    """Neither the error nor what it came from repeats the token or anything it says."""
    shown = "".join(map(repr, (error, str(error), error.__cause__, error.__context__)))
    with suppress(jwt.PyJWTError):
        said = jwt.decode(token, options={"verify_signature": False})
        for name in ("oid", "sub", "uti", "iss"):
            assert said.get(name, "-absent-") not in shown
    for part in token.split("."):
        assert not part or part not in shown
        for piece in (part[at : at + 12] for at in range(0, len(part) - 12, 12)):
            assert piece not in shown


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """A key server of its own; its address."""
    site = web.Application()
    site.router.add_get("/{path:.*}", handle)
    async with running(site) as address:
        yield address


@asynccontextmanager
async def running(site: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
