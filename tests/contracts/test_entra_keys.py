"""How the app-role check comes by the keys of the local Entra, over real HTTP, and keeps them."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from sandbox import entra as stand_in
from sandbox.azure import LocalAzure
from sandbox.entra import AppToken, Entra
from sandbox.faults import Fault, Kind
from shared.errors import UnreachableError
from tests.contracts.doors import (
    PUBLIC,
    Turned,
    assert_silent,
    made,
    refused,
    running,
    serving,
    timed,
)

KEYS = "GET /.*/discovery/v2.0/keys"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest.fixture
def entra(azure: LocalAzure) -> Entra:
    azure.faults.clear()
    azure.faults.fired.clear()
    azure.entra.asked = 0
    return azure.entra


async def test_an_unknown_key_is_looked_for_once_a_minute(azure: LocalAzure, entra: Entra) -> None:
    """Then it is the token that is wrong; those with a known key are let in throughout."""
    clock = Turned()
    door = timed(azure.base_url, clock)
    await door.admit(f"Bearer {entra.issue()}")
    strange = entra.issue(AppToken(kid="nobody-has-this-key-id"))
    for minute in range(3):
        clock.now_s += MINUTE
        for _ in range(5):
            status, words = await refused(door, strange)
            assert (status, "a key that the tenant does not have" in words) == (401, True)
        await door.admit(f"Bearer {entra.issue()}")
        assert entra.asked == 2 + minute


async def test_a_new_key_is_found_and_a_withdrawn_one_forgotten(
    azure: LocalAzure, entra: Entra
) -> None:
    """Roll-over needs no restart; a key that Entra no longer lists opens nothing any more."""
    clock = Turned()
    door = timed(azure.base_url, clock)
    before = entra.issue()
    await door.admit(f"Bearer {before}")
    entra.roll_over()
    clock.now_s += MINUTE
    await door.admit(f"Bearer {entra.issue()}")
    await door.admit(f"Bearer {before}")
    assert entra.asked == 2
    entra.roll_over(keep_old=False)
    clock.now_s += HOUR
    assert (await refused(door, before))[0] == 401
    await door.admit(f"Bearer {entra.issue()}")
    assert entra.asked == 3


async def test_kept_keys_outlive_their_server_by_a_day(caplog: pytest.LogCaptureFixture) -> None:
    """Entra's bad hours are not ours, but a key is not trusted for ever."""
    clock, local = Turned(), Entra()
    site = web.Application()
    stand_in.add_routes(site, local)
    async with running(site) as address:
        door = timed(address, clock)
        await door.admit(f"Bearer {local.issue()}")
    with caplog.at_level(logging.WARNING):
        for later_s in (HOUR, HOUR + MINUTE - 1, DAY - 1):
            clock.now_s = 1000 + later_s
            await door.admit(f"Bearer {local.issue()}")
    assert [record.name for record in caplog.records] == ["shared.cloud.entra"] * 2
    unknown = local.issue(AppToken(kid="perhaps-a-new-key"))
    with pytest.raises(UnreachableError) as caught:
        await door.admit(f"Bearer {unknown}")
    assert_silent(caught.value, unknown)
    clock.now_s = 1000 + DAY
    with pytest.raises(UnreachableError):
        await door.admit(f"Bearer {local.issue()}")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(KEYS, Kind.STATUS), "the answer was 503"),
        (Fault(KEYS, Kind.STATUS, status=302), "the answer was 302"),
        (Fault(KEYS, Kind.EMPTY, status=200), "not a list of keys"),
        (Fault(KEYS, Kind.RESET, times=2), "ServerDisconnectedError"),  # aiohttp tries a GET twice
        (Fault(KEYS, Kind.APPLY_THEN_HANG, hang_s=5), "there was no answer in time"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_without_keys_nobody_can_be_judged(
    azure: LocalAzure, entra: Entra, fault: Fault, words: str
) -> None:
    """That is no refusal: it says so, waits a few seconds at most, and then works."""
    clock = Turned()
    door = timed(azure.base_url, clock, timeout_s=0.1 if fault.hang_s else 2.0)
    azure.faults.arm(fault)
    token = entra.issue()
    for _ in range(3):
        with pytest.raises(UnreachableError, match="keys that Entra signs") as caught:
            async with asyncio.timeout(2):
                await door.admit(f"Bearer {token}")
        assert words in str(caught.value)
        assert_silent(caught.value, token)
    assert len(azure.faults.fired) == fault.times
    clock.now_s += 5
    await door.admit(f"Bearer {token}")
    assert (await refused(door, entra.issue(AppToken(kid="nobody-has-this-key-id"))))[0] == 401


async def test_keys_are_taken_from_entra_and_nowhere_else(azure: LocalAzure, entra: Entra) -> None:
    """An answer that points elsewhere is not followed, even if good keys were there."""

    async def handle(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"{azure.base_url}{request.path}")

    async with serving(handle) as address:
        with pytest.raises(UnreachableError, match="the answer was 302"):
            await made(address).admit(f"Bearer {entra.issue()}")


async def test_a_key_server_that_is_not_there_is_unreachable(entra: Entra) -> None:
    """A connection that is refused, too."""
    token = entra.issue()
    with pytest.raises(UnreachableError) as caught:
        await made("http://127.0.0.1:9").admit(f"Bearer {token}")
    assert_silent(caught.value, token)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>maintenance</html>", "not a list of keys"),
        (b"[]", "not a list of keys"),
        (b"null", "not a list of keys"),
        (b'{"keys": 7}', "not a list of keys"),
        (b"\xff\xfe", "not a list of keys"),
        (b"[" * 100_000, "not a list of keys"),
        (b'{"keys": []}', "no key that can be used"),
        (b'{"keys": ["a", 7, null, {}, {"kid": "x"}, {"kid": "x", "kty": "RSA", "n": 7}]}', "no k"),
        (b'{"keys": [' + b" " * 5_000_000 + b"]}", "too large"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
async def test_rubbish_instead_of_keys_is_unreachable(
    entra: Entra, body: bytes, words: str
) -> None:
    """Whatever answers under that name, it is not read beyond a megabyte."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with serving(handle) as address:
        with pytest.raises(UnreachableError, match=words):
            await made(address).admit(f"Bearer {entra.issue()}")


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": f"{PUBLIC}/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"},
        {"issuer": ["not", "a", "name"]},
        {"use": "enc"},
        {"alg": "RS512"},
        {"alg": "HS256", "kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "P-256"},
        {"n": base64.urlsafe_b64encode(b"\xc1" + b"\x01" * 127).decode()},
        {"d": "AQAB"},
        {"kid": None},
    ],
    ids=repr,
)
async def test_keys_for_other_uses_are_left_out(entra: Entra, change: dict[str, Any]) -> None:
    """Another issuer's, weak, private or encrypting keys: the good one beside them still counts."""
    token = entra.issue()
    good = entra.document()["keys"][-1]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"keys": listed})

    listed = [good | change]
    async with serving(handle) as address:
        with pytest.raises(UnreachableError, match="no key that can be used"):
            await made(address).admit(f"Bearer {token}")
        listed = [good | change, good]
        await made(address).admit(f"Bearer {token}")


async def test_many_callers_cost_one_request(azure: LocalAzure, entra: Entra) -> None:
    """Those who come meanwhile wait for the first one's answer; when it fails, they hear so."""
    bearer = f"Bearer {entra.issue()}"
    door = made(azure.base_url)
    await asyncio.gather(*(door.admit(bearer) for _ in range(50)))
    assert entra.asked == 1
    azure.faults.arm(Fault(KEYS, Kind.STATUS, times=50))
    door = made(azure.base_url)
    answers = await asyncio.gather(*(door.admit(bearer) for _ in range(50)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {UnreachableError}
    assert len(azure.faults.fired) == 1


async def test_a_caller_that_goes_away_leaves_the_door_working(
    azure: LocalAzure, entra: Entra
) -> None:
    """The next in line asks for the keys itself."""
    door = made(azure.base_url)
    azure.faults.arm(Fault(KEYS, Kind.APPLY_THEN_HANG, hang_s=5))
    first = asyncio.create_task(door.admit(f"Bearer {entra.issue()}"))
    while not azure.faults.fired:
        await asyncio.sleep(0.005)
    second = asyncio.create_task(door.admit(f"Bearer {entra.issue()}"))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (entra.asked, first.cancelled()) == (2, True)


async def test_a_renewal_keeps_nobody_waiting_who_has_a_key(
    azure: LocalAzure, entra: Entra
) -> None:
    """After an hour one caller asks again; the others go on with what is known."""
    clock = Turned()
    door = timed(azure.base_url, clock)
    bearer = f"Bearer {entra.issue()}"
    await door.admit(bearer)
    clock.now_s += HOUR
    azure.faults.arm(Fault(KEYS, Kind.APPLY_THEN_HANG, hang_s=0.1))
    asking = asyncio.create_task(door.admit(bearer))
    while not azure.faults.fired:
        await asyncio.sleep(0.005)
    await door.admit(bearer)
    assert not asking.done()
    await asking
