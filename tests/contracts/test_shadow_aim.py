"""Where a replay goes and what is sent, over real sockets and against the local ARM."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from sandbox.azure import LocalAzure
from sandbox.faults import Fault, Kind
from shared.cloud import aim
from shared.cloud import shadow as replaying
from shared.cloud.probe import Check
from shared.cloud.shadow import NOT_TRIED
from shared.cloud.traffic import ArmTraffic
from shared.core.shadow import Request
from shared.errors import RefusedError
from tests.contracts.canaries import (
    GET,
    Known,
    Listening,
    Turned,
    answer,
    app,
    ask,
    at,
    fine,
    raw,
    shadowing,
)
from tests.contracts.shop import PROFILE, endpoint, profile, settings, wired


@pytest.fixture(scope="module")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest.fixture
async def arm(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArmTraffic]:
    azure.faults.clear()
    async with wired(settings(azure, monkeypatch, call_timeout_s=0.5)) as world:
        assert isinstance(world.traffic, ArmTraffic)
        yield world.traffic


def place(azure: LocalAzure, *ends: dict[str, Any], **monitor: Any) -> None:
    azure.traffic.delete(PROFILE)
    azure.traffic.put(PROFILE, profile(*ends, **monitor))


async def test_a_replay_goes_to_the_endpoint_as_arm_shows_it(
    arm: ArmTraffic, azure: LocalAzure
) -> None:
    """Target, port and Host header are the profile's, whatever the request says of a host."""
    ears = Listening()
    async with raw(ears) as port, shadowing(arm) as shadow:
        headers = [{"name": "Host", "value": "shop.example"}, {"name": "x-probe", "value": "1"}]
        place(
            azure,
            endpoint("blue"),
            endpoint("green", target="127.0.0.1"),
            port=port,
            customHeaders=headers,
        )
        asked = Request("GET", "/cart?id=7", {"host": "evil.example", "accept": "text/html"})
        assert answer(await ask(shadow, asked, "GREEN")).status == 204
    line, *fields = ears.heads[0].decode().lower().split("\r\n")
    assert line == "get /cart?id=7 http/1.1"
    assert sorted(filter(None, fields)) == [
        "accept-encoding: identity",
        "accept: text/html",
        "host: shop.example",
    ]


@pytest.mark.parametrize(
    ("where", "whom", "said"),
    [
        (PROFILE, "purple", "no endpoint purple"),
        (PROFILE + "-2", "green", "does not exist"),
        ("shop", "green", "resource id"),
    ],
)
async def test_an_endpoint_that_is_nowhere_gets_nothing(
    arm: ArmTraffic, azure: LocalAzure, where: str, whom: str, said: str
) -> None:
    """The reason says that nothing was sent, and why."""
    place(azure)
    async with shadowing(arm) as shadow:
        got = await shadow.replay(where, whom, GET, timeout_s=1, most_bytes=1)
    assert got.reply is None
    assert got.reason.startswith(NOT_TRIED)
    assert said in got.reason


async def test_arm_that_fails_is_not_the_targets_fault_and_is_left_alone(
    arm: ArmTraffic, azure: LocalAzure
) -> None:
    """Nothing is sent while nobody knows where to, and ARM is asked again only after a while."""
    clock = Turned()
    async with app(fine) as port, shadowing(arm, clock) as shadow:
        place(azure, endpoint("blue"), endpoint("green", target="127.0.0.1"), port=port)
        azure.faults.arm(Fault("GET /subscriptions/", Kind.STATUS, times=99, status=403))
        failed = await ask(shadow)
        assert (failed.reply, failed.reason.startswith(NOT_TRIED)) == (None, True)
        assert "lacks the role" in failed.reason
        azure.faults.clear()
        assert (await ask(shadow)).reason == failed.reason
        clock.at_s += replaying.UNKNOWN_S
        assert answer(await ask(shadow)).body == b"fine"


async def test_many_replays_make_one_read_and_half_a_minute_later_another() -> None:
    """A retargeted endpoint is noticed soon, and ARM's limits are spared."""
    clock = Turned()
    async with app(fine) as port, shadowing(at(port), clock) as shadow:
        known = shadow._origins
        assert isinstance(known, Known)
        await asyncio.gather(*(ask(shadow) for _ in range(20)))
        assert known.reads == 1
        clock.at_s += replaying.KNOWN_S
        await asyncio.gather(*(ask(shadow) for _ in range(20)))
        assert known.reads == 2
        for number in range(replaying.MOST_KNOWN + 5):
            await shadow._find(PROFILE, f"{number}")
        assert len(shadow._known) == replaying.MOST_KNOWN


async def test_who_gives_up_does_not_take_the_answer_from_others() -> None:
    """A replay that is cancelled while ARM is read leaves the read to those who wait too."""
    held = at(1)
    held.gate.set()
    async with shadowing(held) as shadow:
        first = asyncio.create_task(ask(shadow))
        await asyncio.sleep(0)
        second = asyncio.create_task(ask(shadow))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert first.cancelled()
        assert not second.done()
        second.cancel()
    assert held.reads == 1


@pytest.mark.parametrize(
    ("check", "url", "host", "name"),
    [
        (Check("HTTP", "a.example", 80, "/", 5), "http://a.example", "", None),
        (Check("HTTPS", "10.0.0.1", 8443, "/", 5), "https://10.0.0.1:8443", "", None),
        (Check("TCP", "a.example", 22, "/", 5), "https://a.example", "", None),
        (Check("HTTP", "::1", 80, "/", 5), "http://[::1]", "", None),
        (
            Check("HTTPS", "a.example", 443, "/", 5, (("HOST", "shop.example:444"),)),
            "https://a.example",
            "shop.example:444",
            "shop.example",
        ),
        (
            Check("HTTPS", "a.example", 443, "/", 5, (("host", "[::1]:9"),)),
            "https://a.example",
            "[::1]:9",
            None,
        ),
    ],
)
def test_the_origin_is_the_probes_own(check: Check, url: str, host: str, name: str | None) -> None:
    """A monitor that only connects says nothing of HTTP, so https is taken for it."""
    found = aim.origin_of(check)
    assert (str(found.url), found.host, found.name) == (url, host, name)


@pytest.mark.parametrize("target", ["", "a.example/x", "u@a.example", "a:80", "a b", "1.2.3.4.5"])
@pytest.mark.parametrize("where", ["target", "host"])
def test_an_odd_target_or_host_header_is_refused(target: str, where: str) -> None:
    """Neither may hold anything but a host."""
    odd = Check("HTTP", target, 80, "/", 5)
    if where == "host":
        odd = Check("HTTP", "a.example", 80, "/", 5, (("host", target.replace("a:80", "a:b")),))
        if not target:
            return
    with pytest.raises(RefusedError):
        aim.origin_of(odd)


@pytest.mark.parametrize(
    "where", ["169.254.169.254", "168.63.129.16", "::ffff:169.254.169.254", "fe80::1%1"]
)
def test_azures_own_services_of_the_machine_are_no_target(where: str) -> None:
    """They would hand the tokens of Linnet's identity to whoever asks from this machine."""
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    with pytest.raises(PermissionError):
        aim.open_socket((family, socket.SOCK_STREAM, 0, "", (where, 80)))
    aim.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 80))).close()


async def test_a_name_that_leads_to_a_forbidden_address_gets_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What counts is where a name leads when the connection is made; here it is this machine."""
    monkeypatch.setattr(aim, "_is_forbidden", lambda where: where == "127.0.0.1")
    ears = Listening()
    async with raw(ears) as port, shadowing(at(port)) as shadow:
        for target in ("127.0.0.1", "localhost"):
            known = shadow._origins
            assert isinstance(known, Known)
            known.check = replace(known.check, target=target)
            assert "are no target" in (await ask(shadow, whom=target.partition(".")[0])).reason
    assert not ears.heads
