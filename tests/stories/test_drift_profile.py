"""Endpoints and profiles that go away, fall ill or get neighbours in the middle of a rollout.

The world is that of `test_drift.py`: the real SDK over sockets, and another person at work.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sandbox.azure import LocalAzure
from sandbox.faults import Fault, Kind
from shared.cloud.traffic import ArmTraffic
from shared.core.model import Arm, EndpointSeen, Phase
from shared.core.weights import Write
from tests.given import PROFILE
from tests.stories.test_drift import BAKE, BEFORE, LONG, Shop, opened, reached


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hands(azure: LocalAzure) -> AsyncIterator[ArmTraffic]:
    async with reached(azure) as made:
        yield made


@pytest.fixture
def town(azure: LocalAzure, hands: ArmTraffic) -> Shop:
    return opened(azure, hands)


# --- endpoints and profiles that go away ----------------------------------------------------


@pytest.mark.parametrize(("gone", "left"), [("blue", "green"), ("green", "blue")])
async def test_an_endpoint_that_is_removed_holds_the_rollout(
    town: Shop, gone: str, left: str
) -> None:
    """What is left is named and not touched, for nobody else would answer."""
    await town.bake()
    await town.person.remove(gone)
    await town.looks(Phase.HELD, f"the profile has no endpoint {gone} (it has: {left})")
    await town.keeps_off()
    assert town.held_by_arm(left).enabled


async def test_without_stable_a_retreat_waits_because_somebody_must_answer(town: Shop) -> None:
    """The canary stays on while it is the only endpoint, and goes once stable is back."""
    await town.bake()
    await town.person.remove("blue")
    await town.command("abort")
    await town.looks(Phase.RETREATING, "Not at zero yet: the profile has no endpoint blue")
    await town.keeps_off()
    assert town.share == 1
    await town.person.put("blue", target="blue.example", weight=7, endpoint_status="Enabled")
    await town.looks(Phase.RETREATING, "Not at zero yet")
    assert town.weights == BEFORE
    await town.reach(Phase.REVERTED)


async def test_a_canary_that_comes_back_is_given_its_step_by_a_resume(town: Shop) -> None:
    """Made anew and disabled, as a deployment leaves it."""
    await town.bake()
    await town.person.remove("green")
    await town.looks(Phase.HELD, "no endpoint green")
    await town.person.put("green", target="127.0.0.1", weight=1, endpoint_status="Disabled")
    await town.looks(Phase.HELD, "no endpoint green")
    await town.command("resume")
    await town.reach(Phase.BAKING)
    assert town.weights == BAKE


async def test_a_canary_removed_during_a_retreat_is_at_zero(town: Shop) -> None:
    await town.bake()
    await town.command("abort")
    await town.person.remove("green")
    await town.reach(Phase.REVERTED)
    assert town.held_by_arm("blue") == BEFORE.stable


async def test_a_profile_that_is_deleted_holds_and_an_abort_ends_it(town: Shop) -> None:
    """There is nothing to bring to zero; made anew within the guard it has no canary either."""
    await town.bake()
    body = town.azure.traffic.get(PROFILE)
    await town.person.remove_profile()
    await town.looks(Phase.HELD, f"the profile {PROFILE} does not exist")
    await town.command("abort")
    await town.reach(Phase.REVERTED)
    town.azure.traffic.put(PROFILE, body)
    await town.looks(Phase.REVERTED, "Reverted")
    assert town.weights == BEFORE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"profileStatus": "Disabled"}, "the profile is disabled: it gives no answers"),
        ({"trafficRoutingMethod": "Priority"}, "routes by Priority, weights act only under"),
    ],
    ids=["disabled", "Priority"],
)
async def test_a_profile_that_weights_do_not_steer_holds_the_rollout(
    town: Shop, change: dict[str, Any], words: str
) -> None:
    """An abort then takes the canary off all the same, so that undoing the change is safe."""
    await town.bake()
    await town.person.profile(**change)
    await town.looks(Phase.HELD, words)
    await town.keeps_off()
    assert town.weights == BAKE
    await town.command("abort")
    await town.reach(Phase.REVERTED)
    assert town.weights == BEFORE


# --- health ---------------------------------------------------------------------------------


@pytest.mark.parametrize("health", ["Degraded", "Stopped"])
async def test_a_sick_stable_holds_and_the_canary_is_not_blamed(town: Shop, health: str) -> None:
    """All of its share falls to the canary; once it is well again a resume goes on."""
    await town.bake()
    town.ail("blue", health)
    words = f"stable endpoint blue is {health}: its share would fall to the canary"
    await town.looks(Phase.HELD, words)
    await town.keeps_off()
    assert (town.weights, town.share) == (BAKE, 1)
    await town.command("resume")
    await town.looks(Phase.HELD, words)
    town.ail("blue", None)
    await town.looks(Phase.HELD, words)
    await town.command("resume")
    await town.reach(Phase.BAKING)
    assert town.weights == BAKE


@pytest.mark.parametrize("health", ["Degraded", "Stopped"])
@pytest.mark.parametrize("held", [False, True], ids=["baking", "held"])
async def test_a_canary_that_probes_call_broken_is_taken_back(
    town: Shop, health: str, held: bool
) -> None:
    """No request reaches it and so no telemetry speaks against it."""
    await town.bake()
    if held:
        await town.command("hold")
    town.ail("green", health)
    words = f"endpoint green {health}: it gets no traffic, so its silence is no sign of health"
    await town.looks(Phase.RETREATING, words)
    assert town.weights == BEFORE


async def test_a_sick_stable_never_stops_a_retreat(town: Shop) -> None:
    """Probes may be wrong, and a canary that must go is no better than a sick stable."""
    await town.bake()
    town.ail("blue", "Degraded")
    await town.command("abort")
    assert town.weights == BEFORE
    await town.reach(Phase.REVERTED)


async def test_a_broken_canary_that_serves_everybody_goes_after_stable_has_come(
    town: Shop,
) -> None:
    """At 100 % stable is switched on first: at no moment does nobody answer."""
    await town.serve_all()
    town.azure.traffic.journal.clear()
    town.ail("green", "Degraded")
    await town.looks(Phase.RETREATING, "calls the canary endpoint green Degraded")
    assert town.weights == BEFORE
    assert [write.shares for write in town.azure.traffic.journal] == [
        {"blue": 1.0, "green": 0.0},
        {"blue": 1.0, "green": 0.0},
    ]


# --- neighbours -----------------------------------------------------------------------------


async def test_a_new_neighbour_neither_stops_the_pair_nor_is_touched(town: Shop) -> None:
    """It takes its share of the profile; the pair's sum, and so everybody's share, stays."""
    await town.start(steps=[20, 60, 100])
    await town.reach(Phase.BAKING, 1)
    await town.person.put("red", target="red.example", weight=300, endpoint_status="Enabled")
    await town.reach(Phase.BAKING, 2)
    assert town.azure.traffic.shares(PROFILE) == {"blue": 0.1, "green": 0.15, "red": 0.75}
    await town.reach(Phase.PROMOTED)
    assert town.azure.traffic.shares(PROFILE) == {"blue": 0.0, "green": 0.25, "red": 0.75}
    assert [w.method for w in town.azure.traffic.journal if "red" in w.resource_id] == ["PUT"]


async def test_an_edit_between_two_writes_is_kept(
    town: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write is one endpoint's weight and status: a neighbour's edit is not written over."""
    await town.person.put("red", target="red.example", weight=300, endpoint_status="Enabled")
    write, edits = town.hands.write, iter([11, 12, 13, 14])

    async def write_and_be_joined(profile: str, endpoint: EndpointSeen, to: Write) -> None:
        await write(profile, endpoint, to)
        await town.person.set("red", weight=next(edits))
        await town.person.set("blue", priority=7)

    monkeypatch.setattr(town.hands, "write", write_and_be_joined)
    await town.bake()
    assert (town.weights, town.held_by_arm("red")) == (BAKE, Arm(12, enabled=True))
    await town.command("abort")
    assert (town.weights, town.held_by_arm("red")) == (BEFORE, Arm(14, enabled=True))
    assert town.endpoint("blue")["priority"] == 7


# --- what was found here ------------------------------------------------------------------

SITE = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Web/sites/other"


@pytest.mark.parametrize("asked", [False, True], ids=["alone", "aborted"])
async def test_stable_serves_again_when_the_canary_is_removed_at_100_percent(
    town: Shop, asked: bool
) -> None:
    """Nobody is left to answer: stable is switched on, whoever asks for it or nobody."""
    await town.serve_all()
    await town.person.remove("green")
    if asked:
        await town.command("abort")
    else:
        await town.looks(Phase.RETREATING, "nobody gets an answer")
    assert town.held_by_arm("blue") == BEFORE.stable
    await town.reach(Phase.REVERTED)


async def test_stable_gets_its_weight_back_although_the_canary_is_gone(town: Shop) -> None:
    """Its neighbours would keep what the pair has given away."""
    await town.bake()
    await town.person.remove("green")
    await town.command("abort")
    await town.reach(Phase.REVERTED)
    assert town.held_by_arm("blue") == BEFORE.stable


async def test_a_retreat_without_stable_ends_when_a_neighbour_answers(town: Shop) -> None:
    """The canary is not the only endpoint: nothing speaks for leaving it on."""
    await town.person.put("red", target="red.example", weight=300, endpoint_status="Enabled")
    await town.bake()
    await town.person.remove("blue")
    await town.command("abort")
    await town.looks(Phase.RETREATING, "zero")
    assert not town.held_by_arm("green").enabled


@pytest.mark.parametrize("name", ["blue", "green"])
async def test_an_endpoint_that_points_elsewhere_holds_the_rollout(town: Shop, name: str) -> None:
    """Preflight looked at another host, and the evidence so far is about that one."""
    await town.bake()
    await town.person.set(name, target="elsewhere.example")
    rollout = await town.looks(Phase.HELD, f"endpoint {name} is ")
    assert "elsewhere.example" in rollout.sentence
    assert town.weights == BAKE


async def test_an_endpoint_replaced_by_one_of_another_kind_holds_the_rollout(town: Shop) -> None:
    """The same name and weight, but another resource behind them."""
    await town.bake()
    await town.person.remove("green")
    await town.person.put("green", "AzureEndpoints", target_resource_id=SITE, weight=20)
    rollout = await town.looks(Phase.HELD, "endpoint green is ")
    assert "AzureEndpoints" in rollout.sentence


async def test_weights_put_back_by_hand_after_a_look_that_failed_stay(town: Shop) -> None:
    """They were verified once: a failed look does not make a person's hand a write of ours."""
    await town.start(steps=LONG, name_servers="60s")
    await town.until(lambda rollout: rollout.verified_at_s is not None)
    town.azure.faults.arm(Fault("GET .*/trafficManagerProfiles/", Kind.STATUS, status=400))
    await town.looks(Phase.SHIFTING, "cannot see the weights")
    await town.person.set("blue", weight=100)
    await town.person.set("green", weight=1, endpoint_status="Disabled")
    await town.seconds(1)
    assert town.weights == BEFORE
    await town.looks(Phase.HELD, "someone changed the weights")


async def test_caches_that_live_longer_than_at_the_start_hold_the_rollout(town: Shop) -> None:
    """Bins that are shorter than the caches are not independent, and nothing drains in time."""
    await town.bake()
    await town.person.profile(dnsConfig={"ttl": 300})

    await town.seconds(1)

    rollout = await town.rollout()
    assert rollout.phase is Phase.HELD
    assert "TTL is 300 s now" in rollout.sentence
