"""The traffic port over the real management client, against the local Traffic Manager."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox.azure import LocalAzure
from sandbox.faults import Fault, Kind
from shared.cloud import traffic
from shared.cloud.wiring import AzureWorld
from shared.core.model import Arm, EndpointSeen, ProfileSeen
from shared.core.telemetry import Sight
from shared.core.weights import Write
from shared.errors import RefusedError, UnreachableError
from tests.contracts.shop import PROFILE, SUBSCRIPTION, profile, settings, wired

GREEN = EndpointSeen("green", "ExternalEndpoints", "green.example", 1, enabled=False, health="")
RISE = Write("canary", Arm(25, enabled=True))
FALL = Write("canary", Arm(1, enabled=False))
READ, PATCH = "GET /subscriptions/", "PATCH /subscriptions/"


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


async def seen(world: AzureWorld) -> ProfileSeen:
    look = await world.traffic.see(PROFILE)
    assert look.profile is not None, look.reason
    return look.profile


async def green(world: AzureWorld) -> EndpointSeen:
    found = (await seen(world)).endpoint("GREEN")
    assert found is not None
    return found


async def test_a_profile_is_seen_whole(world: AzureWorld) -> None:
    """Routing, TTL and each endpoint's kind, weight, status and health arrive in our words."""
    assert await seen(world) == ProfileSeen(
        routing="Weighted",
        enabled=True,
        ttl_s=30,
        endpoints=(
            EndpointSeen("blue", "ExternalEndpoints", "blue.example", 500, True, "Online"),
            EndpointSeen("green", "ExternalEndpoints", "green.example", 1, False, "Disabled"),
        ),
    )


async def test_an_id_means_the_same_in_any_casing(world: AzureWorld) -> None:
    """ARM does not tell casings apart, and neither does Linnet."""
    assert (await world.traffic.see(PROFILE.upper())).sight is Sight.SEEN
    assert (await world.traffic.see(PROFILE + "/")).sight is Sight.SEEN


async def test_a_profile_that_does_not_exist_is_absent(world: AzureWorld) -> None:
    """Absence is a sight of its own: nothing failed."""
    assert (await world.traffic.see(PROFILE + "-2")).sight is Sight.ABSENT


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "shop",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.Network/dnsZones/z",
        PROFILE + "/externalEndpoints/green",
        PROFILE.replace("shop-rg", ".."),
        PROFILE.replace("shop-rg", "g?x=1"),
        PROFILE + "\n",
    ],
)
async def test_what_is_no_profile_id_is_refused(world: AzureWorld, odd: str) -> None:
    """A malformed id never reaches the service."""
    with pytest.raises(RefusedError, match="resource id"):
        traffic.profile_id(odd)
    look = await world.traffic.see(odd)
    assert look.sight is Sight.FAILED
    assert "resource id" in look.reason
    assert not (await world.traffic.probe(odd, "green")).healthy
    with pytest.raises(RefusedError):
        await world.traffic.write(odd, GREEN, RISE)


@pytest.mark.parametrize(
    ("fault", "said", "patience_s"),
    [
        (Fault(READ, Kind.STATUS, times=99, status=500), "the service failed (500", 0.3),
        (Fault(READ, Kind.STATUS, times=99, status=403), "lacks the role", 5),
        (Fault(READ, Kind.STATUS, times=99, status=429, retry_after_s=60), "throttles", 0.3),
        (Fault(READ, Kind.HANG, times=99, hang_s=30), "no answer in time", 0.3),
        (Fault(READ, Kind.RESET, times=99), "Traffic Manager", 0.3),
        (Fault("/msi/token", Kind.STATUS, times=99, status=401), "no token", 5),
    ],
    ids=["500", "403", "429", "hang", "reset", "token"],
)
async def test_a_look_that_failed_says_why(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch, fault: Fault, said: str, patience_s: float
) -> None:
    """Blindness is a value with a reason for people, and comes within the deadline."""
    azure.faults.clear()
    azure.faults.arm(fault)
    async with wired(settings(azure, monkeypatch, call_timeout_s=patience_s)) as world:
        look = await world.traffic.see(PROFILE)
        probed = await world.traffic.probe(PROFILE, "green")
    azure.faults.clear()
    assert look.sight is Sight.FAILED
    assert said in look.reason
    assert not probed.healthy


async def test_a_read_survives_a_short_throttling(world: AzureWorld, azure: LocalAzure) -> None:
    """A 429 that names a short wait costs that wait, not the look."""
    azure.faults.arm(Fault(READ, Kind.STATUS, status=429, retry_after_s=0))
    await seen(world)
    assert len(azure.faults.fired) == 1


async def test_a_write_is_exactly_weight_and_status(world: AzureWorld, azure: LocalAzure) -> None:
    """A neighbour's change of another field is never overwritten."""
    await world.traffic.write(PROFILE, await green(world), RISE)
    (made,) = azure.traffic.journal
    assert (made.method, made.body) == (
        "PATCH",
        {"properties": {"weight": 25, "endpointStatus": "Enabled"}},
    )
    assert (await green(world)).weight == 25
    await world.traffic.write(PROFILE, await green(world), FALL)
    assert not (await green(world)).enabled


async def test_a_write_is_repeated_once_when_asked_to_wait(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """429 and 503 with Retry-After get a second try, and no third."""
    azure.faults.arm(Fault(PATCH, Kind.STATUS, status=429, retry_after_s=0))
    await world.traffic.write(PROFILE, GREEN, RISE)
    assert (await green(world)).weight == 25
    azure.faults.arm(Fault(PATCH, Kind.STATUS, times=3, status=503, retry_after_s=0))
    with pytest.raises(UnreachableError, match="may have been applied"):
        await world.traffic.write(PROFILE, GREEN, FALL)
    assert sum(fired.request.startswith("PATCH") for fired in azure.faults.fired) == 3


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        (Fault(PATCH, Kind.STATUS, times=3, status=429), 1),
        (Fault(PATCH, Kind.STATUS, times=3, status=429, retry_after_s=30), 1),
        (Fault(PATCH, Kind.STATUS, times=3, status=403), 1),
        (Fault(PATCH, Kind.STATUS, times=3, status=409), 1),
    ],
    ids=["429", "429 for long", "403", "409"],
)
async def test_a_write_that_was_turned_away_was_not_applied(
    world: AzureWorld, azure: LocalAzure, fault: Fault, tries: int
) -> None:
    """These answers are certain, and the next turn tries again."""
    azure.faults.arm(fault)
    with pytest.raises(UnreachableError, match="it was not applied") as error:
        await world.traffic.write(PROFILE, GREEN, RISE)
    assert "green" in str(error.value)
    assert len(azure.faults.fired) == tries
    assert not azure.traffic.journal


async def test_an_error_after_the_effect_is_not_taken_for_a_failure(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """A 500 says nothing about the effect, and a PATCH is not blindly repeated."""
    azure.faults.arm(Fault(PATCH, Kind.APPLY_THEN_FAIL, times=3))
    with pytest.raises(UnreachableError, match="it may have been applied"):
        await world.traffic.write(PROFILE, GREEN, RISE)
    assert len(azure.traffic.journal) == 1
    assert (await green(world)).weight == 25


@pytest.mark.parametrize("kind", [Kind.HANG, Kind.APPLY_THEN_HANG])
async def test_a_write_never_waits_longer_than_a_call_may(
    azure: LocalAzure, world: AzureWorld, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """A service that hangs costs one call's time, and the doubt is told."""
    azure.faults.arm(Fault(PATCH, kind, hang_s=30))
    async with wired(settings(azure, monkeypatch, call_timeout_s=0.3)) as hasty:
        await hasty.traffic.see(PROFILE)
        async with asyncio.timeout(2):
            with pytest.raises(UnreachableError, match="no answer in time; it may have been"):
                await hasty.traffic.write(PROFILE, GREEN, RISE)


@pytest.mark.parametrize(
    ("where", "whom", "what"),
    [
        (PROFILE, "purple", RISE),
        (PROFILE + "-2", "green", RISE),
        (PROFILE, "green", Write("canary", Arm(0, enabled=True))),
    ],
    ids=["no endpoint", "no profile", "no weight"],
)
async def test_a_write_that_azure_refuses_was_not_applied(
    world: AzureWorld, where: str, whom: str, what: Write
) -> None:
    """404 and 400 stay what they are however often one asks."""
    wrong = EndpointSeen(whom, "ExternalEndpoints", "", 1, enabled=False, health="")
    with pytest.raises(UnreachableError, match=f"{whom}.*it was not applied"):
        await world.traffic.write(where, wrong, what)


async def test_each_subscription_has_its_own_client(world: AzureWorld, azure: LocalAzure) -> None:
    """Profiles of several subscriptions share connections and nothing else."""
    other = PROFILE.replace("0001", "0002")
    azure.traffic.put(
        other,
        profile()
        | {
            "properties": profile()["properties"]
            | {"dnsConfig": {"relativeName": "other", "ttl": 5}}
        },
    )
    looks = await asyncio.gather(world.traffic.see(PROFILE), world.traffic.see(other))
    assert [look.profile.ttl_s for look in looks if look.profile] == [30, 5]
    azure.traffic.delete(other)


class Canned:
    """A management client whose profile is whatever JSON a test says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.profiles = self

    async def get(self, *_: str) -> object:
        from azure.mgmt.trafficmanager.models import Profile  # noqa: PLC0415  # only here

        return Profile(json.loads(self.text))


@pytest.mark.parametrize(
    "changes",
    [
        '"dnsConfig": null',
        '"dnsConfig": {"ttl": "soon"}',
        '"trafficRoutingMethod": null',
        '"endpoints": [{"name": "a", "type": "Microsoft.Network/x/oddEndpoints"}]',
        '"endpoints": [{"name": "a", "type": "x/nestedEndpoints", "properties": {"weight": "x"}}]',
        '"endpoints": [{"type": "x/externalEndpoints"}]',
    ],
)
async def test_an_odd_profile_is_never_guessed_at(changes: str) -> None:
    """A profile that cannot be understood was not seen."""
    usual = '"trafficRoutingMethod": "Weighted", "dnsConfig": {"ttl": 30}'
    canned = Canned('{"properties": {' + usual + ", " + changes + "}}")
    hands = traffic.ArmTraffic(lambda _: canned, timeout_s=1)  # type: ignore[arg-type,return-value]  # a fake
    assert (await hands.see(PROFILE)).sight is Sight.FAILED
