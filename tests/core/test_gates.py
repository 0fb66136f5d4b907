"""What the profile shows of endpoints that moved, caches that live longer, and returns that owe."""

from dataclasses import replace

import pytest

from shared.core import gates
from shared.core.model import Arm, EndpointSeen, Phase, ProfileSeen, TrafficSeen
from shared.core.telemetry import Sight
from shared.core.weights import Write
from tests.given import Walk, pair, profile, saw


@pytest.fixture
def walk() -> Walk:
    """A rollout at 10 %."""
    return Walk().reach(Phase.BAKING, 2)


def moved(seen: ProfileSeen, name: str, **changes: object) -> ProfileSeen:
    ends = tuple(
        replace(end, **changes) if end.name == name else end  # type: ignore[arg-type]  # as in plan()
        for end in seen.endpoints
    )
    return replace(seen, endpoints=ends)


def alone(seen: ProfileSeen, name: str, *others: EndpointSeen) -> ProfileSeen:
    return replace(seen, endpoints=(*(end for end in seen.endpoints if end.name == name), *others))


def test_an_endpoint_that_points_elsewhere_stops_the_rise(walk: Walk) -> None:
    elsewhere = moved(profile(walk.weights), "green", target="192.0.2.99")

    walk.tick(traffic=saw(elsewhere))

    assert walk.phase is Phase.HELD
    assert (
        "endpoint green is 192.0.2.99 (ExternalEndpoints) now and was 192.0.2.1"
        in walk.rollout.sentence
    )


def test_a_longer_ttl_stops_the_rise(walk: Walk) -> None:
    walk.tick(traffic=saw(profile(walk.weights, ttl_s=300)))

    assert walk.phase is Phase.HELD
    assert "the profile's TTL is 300 s now and was 1 s at the start" in walk.rollout.sentence


def test_a_return_owes_stable_its_weight_when_the_canary_is_gone(walk: Walk) -> None:
    back = replace(walk.rollout, wanted_percent=0.0)
    without = alone(profile(pair(90, 10)), "blue")

    assert gates.left_over(walk.plan, back, without) == Write("stable", Arm(100, enabled=True))
    assert gates.left_over(walk.plan, back, alone(profile(pair(100, 0)), "blue")) is None
    assert gates.left_over(walk.plan, walk.rollout, without) is None


def test_the_canary_goes_off_without_stable_only_where_somebody_else_answers(walk: Walk) -> None:
    back = replace(walk.rollout, wanted_percent=0.0)
    other = EndpointSeen("red", "ExternalEndpoints", "192.0.2.3", 5, enabled=True, health="Online")
    seen = profile(pair(90, 10))

    assert gates.left_over(walk.plan, back, alone(seen, "green", other)) == Write(
        "canary", Arm(1, enabled=False)
    )
    assert gates.left_over(walk.plan, back, alone(seen, "green")) is None
    broken = replace(other, health="Degraded")
    assert gates.left_over(walk.plan, back, alone(seen, "green", broken)) is None


def test_a_retreat_that_cannot_look_writes_all_the_same(walk: Walk) -> None:
    blind = TrafficSeen(Sight.FAILED, "429")
    back = replace(walk.rollout, wanted_percent=0.0)

    writes = gates.unseen_writes(walk.plan, back, blind)

    assert [(end.name, write.arm, write.to.enabled) for end, write in writes] == [
        ("blue", "stable", True),
        ("green", "canary", False),
    ]
    assert gates.unseen_writes(walk.plan, walk.rollout, blind) == ()
    assert gates.unseen_writes(walk.plan, back, saw(profile(walk.weights))) == ()
