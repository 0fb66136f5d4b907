"""The weighted DNS answerer, as a real resolver over UDP sees it."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.resolver
import pytest
import pytest_asyncio

from sandbox.arm import TrafficManager
from sandbox.azure import LocalAzure, LocalOptions
from sandbox.dns import DnsAnswerer

ROOT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/trafficManagerProfiles"
NAME = "shop.trafficmanager.test"


def profile(
    label: str, *endpoints: tuple[str, str, int], ttl: int = 5, routing: str = "Weighted"
) -> dict[str, Any]:
    kind = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"
    return {
        "location": "global",
        "properties": {
            "trafficRoutingMethod": routing,
            "dnsConfig": {"relativeName": label, "ttl": ttl},
            "monitorConfig": {"protocol": "TCP", "port": 80},
            "endpoints": [
                {"name": name, "type": kind, "properties": {"target": target, "weight": weight}}
                for name, target, weight in endpoints
            ],
        },
    }


@pytest_asyncio.fixture(loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    options = LocalOptions(seed=7, hosts={"green.example": "127.0.0.3"})
    async with LocalAzure(options) as local:
        pair = (("blue", "127.0.0.2", 95), ("green", "127.0.0.3", 5))
        local.traffic.put(f"{ROOT}/shop", profile("shop", *pair))
        yield local


def resolver(azure: LocalAzure) -> dns.asyncresolver.Resolver:
    made = dns.asyncresolver.Resolver(configure=False)
    made.nameservers = ["127.0.0.1"]
    made.port = azure.dns_port
    return made


async def test_answers_are_shared_by_weight_and_counted(azure: LocalAzure) -> None:
    """2000 questions at 95/5 land within four standard deviations, and are all counted."""
    asking = resolver(azure)
    seen = Counter([(await asking.resolve(NAME, "A"))[0].to_text() for _ in range(2000)])
    assert 61 <= seen["127.0.0.3"] <= 139
    assert seen.total() == 2000
    counted = {key.rpartition("/")[2]: count for key, count in azure.traffic.answers.items()}
    assert counted == {"blue": seen["127.0.0.2"], "green": seen["127.0.0.3"]}


async def test_a_patch_moves_the_answers_and_a_cache_keeps_the_old_one(azure: LocalAzure) -> None:
    """Disabled gets nothing at once, but a client that keeps to the TTL stays where it was."""
    caching = resolver(azure)
    caching.cache = dns.resolver.Cache()
    azure.traffic.patch(
        f"{ROOT}/shop/externalEndpoints/green", {"properties": {"endpointStatus": "Disabled"}}
    )
    first = await caching.resolve(NAME, "A")
    assert (first[0].to_text(), first.rrset is not None and first.rrset.ttl) == ("127.0.0.2", 5)
    for name, status in (("green", "Enabled"), ("blue", "Disabled")):
        azure.traffic.patch(
            f"{ROOT}/shop/externalEndpoints/{name}", {"properties": {"endpointStatus": status}}
        )
    assert (await caching.resolve(NAME, "A"))[0].to_text() == "127.0.0.2"
    assert (await resolver(azure).resolve(NAME, "A"))[0].to_text() == "127.0.0.3"


async def test_host_names_are_answered_with_a_chain(azure: LocalAzure) -> None:
    """A host target is a CNAME, followed to its address where that is known."""
    azure.traffic.put(f"{ROOT}/host", profile("host", ("green", "green.example", 1), ttl=9))
    answer = await resolver(azure).resolve("host.trafficmanager.test", "A")
    assert answer.canonical_name.to_text() == "green.example."
    assert answer[0].to_text() == "127.0.0.3"
    assert answer.rrset is not None
    assert answer.rrset.ttl == 9
    azure.traffic.put(f"{ROOT}/host", profile("host", ("local", "app.localhost", 1)))
    local = await resolver(azure).resolve("host.trafficmanager.test", "A")
    assert local[0].to_text() == "127.0.0.1"


async def test_nobody_to_name_is_nxdomain(azure: LocalAzure) -> None:
    """All endpoints disabled, the profile disabled, and no profile look the same."""
    asking = resolver(azure)
    shop = f"{ROOT}/shop"
    azure.traffic.patch(shop, {"properties": {"profileStatus": "Disabled"}})
    with pytest.raises(dns.resolver.NXDOMAIN):
        await asking.resolve(NAME, "A")
    azure.traffic.patch(shop, {"properties": {"profileStatus": "Enabled"}})
    assert await asking.resolve(NAME, "A")
    for name in ("blue", "green"):
        azure.traffic.patch(
            f"{shop}/externalEndpoints/{name}", {"properties": {"endpointStatus": "Disabled"}}
        )
    with pytest.raises(dns.resolver.NXDOMAIN):
        await asking.resolve(NAME, "A")
    azure.traffic.delete(shop)
    with pytest.raises(dns.resolver.NXDOMAIN):
        await asking.resolve(NAME, "A")


async def test_priority_profiles_fail_over(azure: LocalAzure) -> None:
    """Priority answers with the first that is available."""
    pair = (("one", "127.0.0.5", 1), ("two", "127.0.0.6", 1))
    azure.traffic.put(f"{ROOT}/prio", profile("prio", *pair, routing="Priority"))
    asking = resolver(azure)
    assert (await asking.resolve("prio.trafficmanager.test", "A"))[0].to_text() == "127.0.0.5"
    azure.traffic.set_health(f"{ROOT}/prio/externalEndpoints/one", "Degraded")
    assert (await asking.resolve("prio.trafficmanager.test", "A"))[0].to_text() == "127.0.0.6"


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        (NAME, "AAAA", dns.rcode.NOERROR),
        (NAME, "TXT", dns.rcode.NOERROR),
        ("example.com", "A", dns.rcode.REFUSED),
        ("geo.trafficmanager.test", "A", dns.rcode.SERVFAIL),
        ("localhost", "A", dns.rcode.NOERROR),
    ],
)
def test_other_questions(name: str, kind: str, rcode: int) -> None:
    """What cannot be answered is said so in the way of DNS."""
    traffic = TrafficManager()
    traffic.put(f"{ROOT}/shop", profile("shop", ("a", "127.0.0.2", 1)))
    traffic.put(f"{ROOT}/geo", profile("geo", ("a", "127.0.0.2", 1), routing="Geographic"))
    answerer = DnsAnswerer(traffic, hosts={})
    assert answerer.answer(dns.message.make_query(name, kind)).rcode() == rcode


async def test_noise_on_the_port_is_dropped(azure: LocalAzure) -> None:
    """Packets that are no DNS messages change nothing for who asks behind them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noisy:
        for noise in (b"noise", b"", bytes(12), bytes(4000)):
            noisy.sendto(noise, ("127.0.0.1", azure.dns_port))

    assert (await resolver(azure).resolve(NAME, "A"))[0].to_text().startswith("127.0.0.")


async def test_questions_are_answered_as_they_come_however_busy_the_loop_is(
    azure: LocalAzure,
) -> None:
    """50 at once need few rounds of the loop, which others share."""
    questions = [dns.message.make_query(NAME, "A").to_wire() for _ in range(50)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0)
        asker.connect(("127.0.0.1", azure.dns_port))
        for question in questions:
            asker.send(question)
        for _ in range(3):
            await asyncio.sleep(0)

        answers = [asker.recv(4096) for _ in questions]

    assert len(answers) == 50
