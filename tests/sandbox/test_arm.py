"""Traffic Manager's stand-in, as the real management client and raw HTTP see it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.core.exceptions import (
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.trafficmanager.aio import TrafficManagerManagementClient
from azure.mgmt.trafficmanager.models import (
    DnsConfig,
    Endpoint,
    EndpointProperties,
    MonitorConfig,
    Profile,
    ProfileProperties,
)

from sandbox.azure import LocalAzure
from sandbox.faults import Fault, Kind

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "shop-rg"
ROOT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network"
PROFILE = f"{ROOT}/trafficManagerProfiles/shop"
CANARY = f"{PROFILE}/externalEndpoints/green"


class PlainHttp(SansIOHTTPPolicy[Any, Any]):
    """Allows a token over http, which azure-core refuses otherwise."""

    def on_request(self, request: Any) -> None:
        request.context.options.setdefault("enforce_https", False)


def external(name: str, **properties: Any) -> dict[str, Any]:
    kind = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"
    fields = {"target": f"{name}.example", "weight": 500} | properties
    return {"name": name, "type": kind, "properties": fields}


def endpoint(**fields: Any) -> Endpoint:
    return Endpoint(properties=EndpointProperties(**fields))


def shop(*endpoints: dict[str, Any], label: str = "shop", **properties: Any) -> dict[str, Any]:
    return {
        "location": "global",
        "properties": {
            "trafficRoutingMethod": "Weighted",
            "dnsConfig": {"relativeName": label, "ttl": 30},
            "monitorConfig": {"protocol": "HTTPS", "port": 443, "path": "/health"},
            "endpoints": list(endpoints) or [external("blue"), external("green", weight=1)],
        }
        | properties,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest_asyncio.fixture(loop_scope="session")
async def client(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TrafficManagerManagementClient]:
    for name, value in azure.environment().items():
        monkeypatch.setenv(name, value)
    azure.faults.clear()
    azure.traffic.delete(PROFILE)
    azure.traffic.put(PROFILE, shop())
    async with (
        ManagedIdentityCredential() as credential,
        TrafficManagerManagementClient(
            credential,
            SUBSCRIPTION,
            base_url=azure.base_url,
            credential_scopes=["https://management.azure.com/.default"],
            per_call_policies=[PlainHttp()],
            retry_total=0,
        ) as made,
    ):
        yield made


async def test_a_profile_made_by_the_client_is_read_back_whole(
    client: TrafficManagerManagementClient,
) -> None:
    """PUT, GET, list and DELETE of a profile carry everything through."""
    wanted = Profile(
        location="global",
        properties=ProfileProperties(
            traffic_routing_method="Weighted",
            dns_config=DnsConfig(relative_name="other", ttl=5),
            monitor_config=MonitorConfig(protocol="TCP", port=8080, interval_in_seconds=10),
            endpoints=[Endpoint(external("a", alwaysServe="Enabled"))],
        ),
    )
    await client.profiles.create_or_update(GROUP, "other", wanted)
    profile = await client.profiles.get(GROUP, "OTHER")
    assert profile.dns_config is not None
    assert profile.dns_config.fqdn == "other.trafficmanager.test"
    assert profile.monitor_config is not None
    assert profile.monitor_config.timeout_in_seconds == 9
    assert profile.monitor_config.profile_monitor_status == "Online"
    assert profile.endpoints is not None
    assert profile.endpoints[0].endpoint_monitor_status == "Unmonitored"
    by_group = [each.name async for each in client.profiles.list_by_resource_group(GROUP)]
    by_subscription = [each.name async for each in client.profiles.list_by_subscription()]
    assert by_group == by_subscription == ["other", "shop"]
    await client.profiles.delete(GROUP, "other")
    with pytest.raises(ResourceNotFoundError) as missing:
        await client.profiles.get(GROUP, "other")
    assert missing.value.error is not None
    assert missing.value.error.code == "ResourceNotFound"


async def test_a_patch_changes_exactly_what_it_gives(
    client: TrafficManagerManagementClient,
) -> None:
    """A PATCH of the weight leaves target, status and priority; a PUT replaces."""
    before = await client.endpoints.get(GROUP, "shop", "ExternalEndpoints", "green")
    after = await client.endpoints.update(
        GROUP, "shop", "ExternalEndpoints", "green", endpoint(weight=25)
    )
    assert after.weight == 25
    assert (after.target, after.endpoint_status, after.priority) == (
        before.target,
        before.endpoint_status,
        before.priority,
    )
    replaced = await client.endpoints.create_or_update(
        GROUP, "shop", "ExternalEndpoints", "green", endpoint(target="new.example")
    )
    assert (replaced.weight, replaced.target) == (1, "new.example")


async def test_a_profile_read_by_the_client_can_be_written_back(
    client: TrafficManagerManagementClient,
) -> None:
    """Read-only fields in a body are dropped, so a whole object may be sent as it came."""
    profile = await client.profiles.get(GROUP, "shop")
    assert profile.endpoints is not None
    profile.endpoints[1].weight = 77
    written = await client.profiles.update(GROUP, "shop", profile)
    assert written.endpoints is not None
    assert [each.weight for each in written.endpoints] == [500, 77]


async def test_weight_zero_is_refused_in_the_shape_of_arm(
    client: TrafficManagerManagementClient,
) -> None:
    """The SDK sends weight 0; the service says no and names the field."""
    with pytest.raises(HttpResponseError) as refused:
        await client.endpoints.update(
            GROUP, "shop", "ExternalEndpoints", "green", endpoint(weight=0)
        )
    assert refused.value.status_code == 400
    assert refused.value.error is not None
    assert (refused.value.error.code, refused.value.error.target) == ("BadRequest", "weight")
    kept = await client.endpoints.get(GROUP, "shop", "ExternalEndpoints", "green")
    assert kept.weight == 1


async def test_an_applied_write_with_a_failing_answer_is_seen_in_the_next_read(
    azure: LocalAzure, client: TrafficManagerManagementClient
) -> None:
    """apply_then_fail: the client gets an error although the weight has changed."""
    azure.faults.arm(Fault(r"PATCH .*/green$", Kind.APPLY_THEN_FAIL))
    with pytest.raises(HttpResponseError) as failed:
        await client.endpoints.update(
            GROUP, "shop", "ExternalEndpoints", "green", endpoint(weight=9)
        )
    assert failed.value.status_code == 500
    kept = await client.endpoints.get(GROUP, "shop", "ExternalEndpoints", "green")
    assert kept.weight == 9
    assert azure.faults.fired[-1].kind == "apply_then_fail"


async def test_throttling_and_cut_connections_reach_the_client(
    azure: LocalAzure, client: TrafficManagerManagementClient
) -> None:
    """A 429 carries its Retry-After; a reset is a connection error; neither has an effect."""
    azure.faults.arm(
        Fault("PATCH", Kind.STATUS, status=429, retry_after_s=7), Fault("PATCH", Kind.RESET)
    )
    call = (GROUP, "shop", "ExternalEndpoints", "green", endpoint(weight=9))
    with pytest.raises(HttpResponseError) as throttled:
        await client.endpoints.update(*call)
    response: Any = throttled.value.response
    assert response.headers["Retry-After"] == "7"
    with pytest.raises(ServiceRequestError):
        await client.endpoints.update(*call)
    kept = await client.endpoints.get(GROUP, "shop", "ExternalEndpoints", "green")
    assert kept.weight == 1


async def test_a_connection_cut_after_the_effect_looks_as_if_nothing_was_sent(
    azure: LocalAzure, client: TrafficManagerManagementClient
) -> None:
    """apply_then_reset: the client's error says "request", yet the weight has changed."""
    azure.faults.arm(Fault("PATCH", Kind.APPLY_THEN_RESET))
    with pytest.raises(ServiceRequestError):
        await client.endpoints.update(
            GROUP, "shop", "ExternalEndpoints", "green", endpoint(weight=9)
        )
    assert azure.traffic.get(CANARY)["properties"]["weight"] == 9


async def test_a_hung_write_is_performed_after_the_client_gave_up(
    azure: LocalAzure, client: TrafficManagerManagementClient
) -> None:
    """hang: the client times out, and the write arrives late all the same."""
    azure.faults.arm(Fault("PATCH", Kind.HANG, hang_s=0.3))
    with pytest.raises(ServiceResponseError):
        await client.endpoints.update(
            GROUP, "shop", "ExternalEndpoints", "green", endpoint(weight=9), read_timeout=0.1
        )
    assert azure.traffic.get(CANARY)["properties"]["weight"] == 1
    async with aiohttp.ClientSession() as session:  # a second hang, awaited, outlasts the first
        azure.faults.arm(Fault("GET /nowhere", Kind.HANG, hang_s=0.4))
        await session.get(f"{azure.base_url}/nowhere")
    assert azure.traffic.get(CANARY)["properties"]["weight"] == 9


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        (f"{PROFILE}?api-version=2026-09-01", "arm", 200, None),
        (f"{PROFILE.upper()}?api-version=2022-04-01", "arm", 200, None),
        (PROFILE, "arm", 400, "MissingApiVersionParameter"),
        (f"{PROFILE}?api-version=1999-01-01", "arm", 400, "NoRegisteredProviderFound"),
        (f"{PROFILE}?api-version=2026-09-01", "logs", 401, "InvalidAuthenticationToken"),
        (f"{PROFILE}?api-version=2026-09-01", "none", 401, "InvalidAuthenticationToken"),
        (f"{PROFILE}/odd/x?api-version=2026-09-01", "arm", 404, "InvalidResourceType"),
        (
            f"{PROFILE}/azureEndpoints/blue?api-version=2026-09-01",
            "arm",
            404,
            "ResourceNotFound",
        ),
    ],
)
async def test_the_door_of_arm(
    azure: LocalAzure,
    client: TrafficManagerManagementClient,
    path: str,
    token: str,
    status: int,
    code: str | None,
) -> None:
    """Any casing is served; a wrong token, version, type or name is refused in words."""
    audiences = {"arm": "https://management.azure.com/", "logs": "https://api.loganalytics.io"}
    bearer = azure.identity.issue(audiences[token])[0] if token in audiences else "made-up"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {bearer}"}) as session,
        session.get(azure.base_url + path) as response,
    ):
        body = await response.json()
        assert response.status == status
        assert "x-ms-ratelimit-remaining-subscription-reads" in response.headers
        if code:
            assert set(body["error"]) == {"code", "message", "target", "details"}
            assert body["error"]["code"] == code


async def test_another_process_can_drive_it(
    azure: LocalAzure, client: TrafficManagerManagementClient
) -> None:
    """The control routes arm faults, set health, and show the writes with their shares."""
    await client.endpoints.update(GROUP, "shop", "ExternalEndpoints", "green", endpoint(weight=500))
    async with aiohttp.ClientSession(azure.base_url) as session:
        await session.post("/sandbox/faults", json=[{"match": "GET", "kind": "status"}])
        assert [fault.status for fault in azure.faults.armed] == [None]
        await session.delete("/sandbox/faults")
        assert azure.faults.armed == []
        odd = await session.post("/sandbox/faults", json=[{"match": "GET", "kind": "odd"}])
        assert odd.status == 400
        await session.post("/sandbox/health", json={"endpoint": CANARY, "status": "Degraded"})
        assert azure.traffic.shares(PROFILE) == {"blue": 1.0, "green": 0.0}
        await session.post("/sandbox/health", json={"endpoint": CANARY, "status": None})
        journal = await (await session.get("/sandbox/journal")).json()
    last = journal["writes"][-1]
    assert last["resource_id"].lower() == CANARY.lower()
    assert last["body"] == {"properties": {"weight": 500}}
    assert last["shares"] == {"blue": 0.5, "green": 0.5}
