"""Traffic Manager's stand-in without sockets: rules, monitor status, and who is answered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.arm import TrafficManager
from sandbox.arm_checks import ArmError

ROOT = "/subscriptions/s/resourceGroups/shop-rg/providers/Microsoft.Network"
PROFILE = f"{ROOT}/trafficManagerProfiles/shop"
STABLE = f"{PROFILE}/externalEndpoints/blue"
CANARY = f"{PROFILE}/externalEndpoints/green"
T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)


def external(name: str, **properties: Any) -> dict[str, Any]:
    kind = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"
    fields = {"target": f"{name}.example", "weight": 500} | properties
    return {"name": name, "type": kind, "properties": fields}


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


class Turned:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def traffic(clock: Turned) -> TrafficManager:
    made = TrafficManager(clock=clock, probe_after_s=30, propagation_s=10)
    made.put(PROFILE, shop())
    clock.wait(60)
    return made


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"weight": 1001}, "weight"),
        ({"weight": 1.5}, "weight"),
        ({"weight": True}, "weight"),
        ({"priority": 1}, "priority"),
        ({"endpointStatus": "Off"}, "endpointStatus"),
        ({"alwaysServe": "Maybe"}, "alwaysServe"),
        ({"alwaysServe": "Enabled", "endpointStatus": "Disabled"}, "alwaysServe"),
        ({"target": "not a host"}, "target"),
        ({"minChildEndpoints": 1}, "minChildEndpoints"),
        ({"wieght": 3}, "endpoint.properties.wieght"),
    ],
)
def test_a_wrong_endpoint_is_refused_by_field(
    traffic: TrafficManager, body: dict[str, Any], target: str
) -> None:
    """Each rule about endpoint fields refuses with the field's name and changes nothing."""
    before = traffic.get(PROFILE)
    with pytest.raises(ArmError) as refused:
        traffic.patch(CANARY, {"properties": body})
    assert (refused.value.status, refused.value.target) == (400, target)
    assert traffic.get(PROFILE) == before


@pytest.mark.parametrize(
    ("properties", "target"),
    [
        ({"trafficRoutingMethod": "Random"}, "trafficRoutingMethod"),
        ({"dnsConfig": {"relativeName": "x", "ttl": -1}}, "dnsConfig.ttl"),
        ({"dnsConfig": {"relativeName": "x", "ttl": 2**31}}, "dnsConfig.ttl"),
        ({"dnsConfig": {"relativeName": "a.b", "ttl": 1}}, "dnsConfig.relativeName"),
        ({"monitorConfig": {"intervalInSeconds": 20}}, "monitorConfig.intervalInSeconds"),
        (
            {"monitorConfig": {"intervalInSeconds": 10, "timeoutInSeconds": 10}},
            "monitorConfig.timeoutInSeconds",
        ),
        (
            {"monitorConfig": {"toleratedNumberOfFailures": 10}},
            "monitorConfig.toleratedNumberOfFailures",
        ),
        ({"monitorConfig": {"port": 0}}, "monitorConfig.port"),
        ({"monitorConfig": {"path": "health"}}, "monitorConfig.path"),
        ({"monitorConfig": {"protocol": "TCP"}}, "monitorConfig.path"),
        ({"monitorConfig": {"customHeaders": [{}] * 9}}, "monitorConfig.customHeaders"),
        ({"recordType": "A"}, "target"),
        ({"recordType": "MX"}, "recordType"),
        ({"endpoints": [external("a"), external("A")]}, "endpoints"),
        ({"endpoints": [external("a", priority=1), external("b")]}, "priority"),
        ({"endpoints": [external("a") | {"type": "odd"}]}, "endpoint.type"),
    ],
)
def test_a_wrong_profile_is_refused_by_field(
    traffic: TrafficManager, properties: dict[str, Any], target: str
) -> None:
    """Each rule about profile fields refuses with the field's name and changes nothing."""
    before = traffic.get(PROFILE)
    with pytest.raises(ArmError) as refused:
        traffic.patch(PROFILE, {"properties": properties})
    assert (refused.value.status, refused.value.target) == (400, target)
    assert traffic.get(PROFILE) == before


def test_a_dns_label_belongs_to_one_profile(traffic: TrafficManager) -> None:
    """A second profile with the same relative name is a conflict."""
    with pytest.raises(ArmError) as refused:
        traffic.put(f"{PROFILE}-2", shop(label="SHOP"))
    assert refused.value.status == 409


def test_address_profiles_take_addresses_only(traffic: TrafficManager) -> None:
    """A profile of record type A takes IPv4 targets, and refuses the others."""
    a = f"{PROFILE}-a"
    traffic.put(a, shop(external("x", target="127.0.0.1"), label="a", recordType="A"))
    for wrong in ("x.example", "::1"):
        with pytest.raises(ArmError):
            traffic.put(f"{a}/externalEndpoints/y", external("y", target=wrong))


def test_monitor_status_follows_switches_probes_and_health(
    traffic: TrafficManager, clock: Turned
) -> None:
    """The computed statuses of endpoint and profile are the documented ones."""

    def seen() -> tuple[str, str, str]:
        profile = traffic.get(PROFILE)["properties"]
        blue, green = (each["properties"] for each in profile["endpoints"])
        return (
            profile["monitorConfig"]["profileMonitorStatus"],
            blue["endpointMonitorStatus"],
            green["endpointMonitorStatus"],
        )

    assert seen() == ("Online", "Online", "Online")
    traffic.patch(CANARY, {"properties": {"endpointStatus": "Disabled"}})
    assert seen() == ("Online", "Online", "Disabled")
    traffic.patch(CANARY, {"properties": {"endpointStatus": "Enabled"}})
    assert seen() == ("Online", "Online", "CheckingEndpoint")
    clock.wait(30)
    traffic.set_health(STABLE, "Degraded")
    assert seen() == ("Degraded", "Degraded", "Online")
    traffic.patch(STABLE, {"properties": {"alwaysServe": "Enabled"}})
    assert seen() == ("Online", "Unmonitored", "Online")
    traffic.patch(PROFILE, {"properties": {"profileStatus": "Disabled"}})
    assert seen() == ("Disabled", "Inactive", "Inactive")
    traffic.patch(PROFILE, {"properties": {"profileStatus": "Enabled"}})
    assert seen() == ("Online", "Unmonitored", "CheckingEndpoint")
    for endpoint in (STABLE, CANARY):
        traffic.patch(endpoint, {"properties": {"endpointStatus": "Disabled"}})
    assert seen() == ("Inactive", "Disabled", "Disabled")


def test_degraded_endpoints_are_answered_only_when_all_are(
    traffic: TrafficManager, clock: Turned
) -> None:
    """Degraded is left out, all Degraded are all served, Stopped and Disabled never."""
    traffic.set_health(CANARY, "Degraded")
    assert traffic.shares(PROFILE) == {"blue": 1.0, "green": 0.0}
    traffic.set_health(STABLE, "Degraded")
    assert traffic.shares(PROFILE)["green"] == pytest.approx(1 / 501)
    traffic.set_health(STABLE, "Stopped")
    assert traffic.shares(PROFILE) == {"blue": 0.0, "green": 1.0}
    traffic.patch(CANARY, {"properties": {"endpointStatus": "Disabled"}})
    assert traffic.shares(PROFILE) == {}
    clock.wait(10)
    assert traffic.answer_dns("shop.trafficmanager.test") is None


def test_a_write_reaches_dns_after_the_propagation_time(
    traffic: TrafficManager, clock: Turned
) -> None:
    """ARM shows a write at once; DNS answers by the old state until the delay has passed."""
    traffic.patch(STABLE, {"properties": {"endpointStatus": "Disabled"}})
    traffic.patch(CANARY, {"properties": {"endpointStatus": "Disabled"}})
    clock.wait(9)
    answer = traffic.answer_dns("Shop.TrafficManager.test.")
    assert answer is not None
    assert (answer.target, answer.ttl_s) == ("blue.example", 30)
    clock.wait(1)
    assert traffic.answer_dns("shop.trafficmanager.test") is None
    assert traffic.answers.total() == 1


def test_what_always_serves_may_still_be_disabled(traffic: TrafficManager) -> None:
    """A PATCH of endpointStatus alone is not held against an older alwaysServe."""
    traffic.patch(STABLE, {"properties": {"alwaysServe": "Enabled"}})
    patched = traffic.patch(STABLE, {"properties": {"endpointStatus": "Disabled"}})
    assert patched["properties"]["endpointMonitorStatus"] == "Disabled"
