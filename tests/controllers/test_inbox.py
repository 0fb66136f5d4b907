"""Messages: applied once, refused with words, or kept with their bytes; the queue moves on."""

import asyncio
import json
from typing import Any

import pytest

from controllers import inbox
from controllers.turn import release
from sandbox.memory_store import Stage
from shared.core.model import FINAL, Phase, TrafficSeen
from shared.core.telemetry import Sight
from shared.errors import RefusedError, UnreachableError
from tests.given import PROFILE, pair
from tests.town import Town, alert_document, plan_document, settings


@pytest.fixture
def town() -> Town:
    return Town()


async def only_reason(town: Town) -> str:
    [reason] = await town.reasons()
    return reason


async def test_a_start_creates_claims_and_looks_at_once(town: Town) -> None:
    await town.start()

    assert (await town.rollout()).phase is Phase.SHIFTING
    assert town.share == 0.01
    assert [claim.rollout for claim in await town.world.store.claims()] == ["shop-2.4"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xfe not text", "not a command"),
        (b"{", "not a command"),
        (b"[]", "not a command"),
        (b'{"action": "dance", "rollout": "shop-2.4"}', "action"),
        (b'{"action": "hold", "rollout": "shop-2.4", "forse": true}', "forse"),
        (b'{"action": "hold"}', "rollout"),
        (b'{"action": "promote", "rollout": "shop-2.4"}', "from_step"),
        (b'{"action": "abort", "rollout": "nobody"}', "none named nobody"),
        (b'{"action": "abort", "rollout": "../x"}', "rollout"),
        (b"x" * 300_000, "at most 262144 are allowed"),
    ],
)
async def test_what_cannot_be_used_is_kept_with_its_reason_and_bytes(
    town: Town, body: bytes, words: str
) -> None:
    await inbox.receive_command(town.world, town.message(body))

    [entry] = await town.world.store.rejected()
    assert words in entry.reason
    assert entry.message.body == body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": [5, 1, 100]}, "plan.steps: must rise and end at 100 (given [5, 1, 100])"),
        ({"steps": [5, 50]}, "must rise and end at 100"),
        ({"steps": [0.25, 100]}, "at most one decimal"),
        ({"steps": []}, "steps"),
        ({"steps": [100]}, "nothing is left to compare with"),
        ({"steps": [120]}, "steps"),
        ({"canary": "BLUE"}, "must not be the stable endpoint"),
        ({"bake": {"min": "2h", "max": "1h"}}, "2 h is more than max, 1 h"),
        ({"bake": {"min": 600}}, "a duration with its unit"),
        ({"profile": "/subscriptions/x"}, "profile"),
        ({"name": "has space"}, "name"),
        ({"colour": "green"}, "colour"),
        ({"rollback_on": [{"alert": "x", "severity_at_most": 9}]}, "severity_at_most"),
    ],
)
async def test_a_bad_plan_is_refused_naming_the_field(
    town: Town, changes: dict[str, Any], words: str
) -> None:
    await town.start(**changes)

    assert words in await only_reason(town)
    assert await town.world.store.names() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bin": "1s", "ingestion_delay": "5m"}, "ingestion_delay: 5 min is more than 120 bins"),
        ({"arms": {"column": "Foo.bar", "stable": "1", "canary": "2"}}, "column"),
        ({"bin": "7s"}, "plan.evidence.bin: whole seconds that divide a day are allowed"),
        ({"arms": {"column": "AppVersion", "stable": "1", "canary": "1"}}, "are both '1'"),
        ({"arms": {"column": "a b", "stable": "1", "canary": "2"}}, "column"),
        ({"risk": {"false_rollback": "0.01"}}, "a percentage with its sign"),
        ({"risk": {"tolerance": "1%"}}, "percentage points"),
        ({"rules": [{"name": "a", "bad": "failed"}] * 2}, "names must differ"),
        ({"rules": [{"name": "a", "bad": {"slower_than": "0s"}}]}, "slower_than"),
    ],
)
async def test_bad_evidence_is_refused_naming_the_field(
    town: Town, changes: dict[str, Any], words: str
) -> None:
    evidence = {**plan_document()["evidence"], **changes}

    await town.start(evidence=evidence)

    assert words in await only_reason(town)


async def test_a_sender_cannot_aim_linnet_at_what_the_deployment_does_not_allow(
    town: Town,
) -> None:
    await town.start(profile=PROFILE.replace("/g/", "/other/"))
    evidence = {**plan_document()["evidence"], "workspace": "0" * 36}
    await town.start(evidence=evidence)

    newest, oldest = sorted(await town.reasons(), reverse=True)
    assert "not in ALLOWED_WORKSPACES" in newest
    assert "not in ALLOWED_PROFILES" in oldest


def test_a_deployment_that_allows_nothing_allows_nothing() -> None:
    assert not settings(allowed_profiles="").allows_profile(PROFILE)
    assert settings(allowed_profiles=" /subscriptions/S-1 , ").allows_profile(PROFILE)
    assert not settings(allowed_profiles="/subscriptions/s").allows_profile(PROFILE)


async def test_an_endpoint_that_does_not_exist_refuses_the_rollout(town: Town) -> None:
    await town.start(canary="purple")

    rollout = await town.rollout()
    assert rollout.phase is Phase.REFUSED
    assert "no endpoint purple (it has: blue, green)" in rollout.sentence
    [entry] = await town.world.store.rejected()
    assert entry.reason == rollout.sentence
    assert b'"purple"' in entry.message.body


async def test_weights_that_cannot_express_the_plan_refuse_the_rollout(town: Town) -> None:
    town.world.traffic.set(PROFILE, "blue", weight=1)

    await town.start()

    assert "stable's weight 1 cannot express 1 %" in (await town.rollout()).sentence


async def test_a_second_rollout_on_the_same_profile_is_refused(town: Town) -> None:
    await town.start()

    await town.start(name="shop-2.5")

    assert "has a live rollout already, shop-2.4" in await only_reason(town)
    assert await town.world.store.names() == ["shop-2.4"]


async def test_the_next_rollout_waits_for_the_guard_time_of_a_reverted_one(town: Town) -> None:
    """Until then a late write may still have to be undone."""
    await town.start()
    await town.command("abort")
    await town.reach(Phase.REVERTED)

    await town.start(name="shop-2.5")
    assert "has a live rollout already, shop-2.4" in await only_reason(town)
    town.world.clock.advance(6)
    await town.start(name="shop-2.6")

    assert (await town.rollout("shop-2.6")).wanted_percent == 1
    assert [claim.rollout for claim in await town.world.store.claims()] == ["shop-2.6"]


async def test_a_rollout_that_goes_on_while_it_is_taken_over_gets_its_profile_back(
    town: Town,
) -> None:
    """The next start has looked, sees it promoted, and claims; meanwhile somebody aborts it."""
    await town.start()
    await town.reach(Phase.PROMOTED)

    async def abort_meanwhile(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("create", "after"):
            town.world.store.hook = before_the_claim

    async def before_the_claim(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("load", "after"):
            town.world.store.hook = Town().world.store.hook
            await town.command("abort")

    town.world.store.hook = abort_meanwhile
    await town.start(name="shop-2.5")

    assert [claim.rollout for claim in await town.world.store.claims()] == ["shop-2.4"]
    assert (await town.rollout("shop-2.5")).phase is Phase.REFUSED
    await town.reach(Phase.REVERTED)
    assert town.weights == pair(100, 0)


async def test_an_abort_without_its_claim_takes_it_again_when_it_is_repeated(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.command("abort", id_="m-a")
    town.world.store.holders.clear()

    await town.command("abort", id_="m-a")

    await town.reach(Phase.REVERTED)


async def test_an_abort_that_finds_its_profile_taken_is_left_to_the_broker(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.command("abort")
    town.world.store.holders.clear()
    await town.start(name="shop-2.5", canary="purple")
    stolen = await town.world.store.claim(PROFILE, "shop-2.6")
    town.world.store.records["shop-2.6"] = town.world.store.records["shop-2.4"]
    assert stolen.rollout == "shop-2.5"
    town.world.store.records["shop-2.5"] = town.world.store.records["shop-2.4"]

    with pytest.raises(UnreachableError, match=r"belongs to shop-2\.5"):
        await town.command("abort")


async def test_the_claim_is_given_back_after_the_guard_time(town: Town) -> None:
    await town.start()
    await town.command("abort")
    await town.reach(Phase.REVERTED)

    await town.seconds(7)

    assert await town.world.store.claims() == []


async def test_a_race_for_a_profile_has_one_winner(town: Town) -> None:
    """Both were created before either claimed: the second is told who was first."""
    await town.start()
    store = town.world.store
    first = dict(store.holders)

    async def claimed_in_between(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("create", "before"):
            store.holders.update(first)

    store.holders.clear()
    store.hook = claimed_in_between
    await town.start(name="shop-2.5")

    assert "claimed by shop-2.4" in (await town.rollout("shop-2.5")).sentence


async def test_a_name_is_used_once(town: Town) -> None:
    await town.start()
    await town.start()

    assert "a rollout named shop-2.4 exists" in await only_reason(town)


async def test_a_redelivered_start_completes_what_a_crash_left(town: Town) -> None:
    """Record written, claim not: the same message comes again."""
    await town.start(id_="m-start")
    town.world.store.holders.clear()

    await town.start(id_="m-start")

    assert await town.reasons() == []
    assert [claim.rollout for claim in await town.world.store.claims()] == ["shop-2.4"]


async def test_a_twin_of_a_start_that_was_a_moment_earlier_is_no_mistake(town: Town) -> None:
    calls = 0

    async def unseen_once(port: str, method: str, stage: Stage) -> None:
        nonlocal calls
        if (method, stage) == ("create", "before") and not calls:
            calls += 1
            await town.start(id_="m-start")

    town.world.store.hook = unseen_once
    await town.start(id_="m-start")

    assert await town.reasons() == []
    assert (await town.rollout()).phase is Phase.SHIFTING


async def test_a_stale_promote_is_refused_with_words_and_history(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)

    await town.command("promote", from_step=1)

    assert "the rollout is at step 2 of 4" in await only_reason(town)
    assert (await town.history())[-1].refused
    assert (await town.rollout()).step == 1


async def test_a_redelivered_promote_does_nothing_more(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    await town.command("promote", id_="m-p", from_step=1)
    row = len(await town.history())

    await town.command("promote", id_="m-p", from_step=1)

    assert len(await town.history()) == row
    assert (await town.rollout()).step == 1
    assert await town.reasons() == []


async def test_a_redelivered_refusal_is_kept_although_the_first_crashed(town: Town) -> None:
    """Refusal saved, bytes not yet kept: the same message comes again."""
    await town.start()
    await town.command("promote", id_="m-p", from_step=3)
    town.world.store.parked.clear()

    await town.command("promote", id_="m-p", from_step=3)

    assert "weights are not verified yet" in await only_reason(town)


async def test_a_redelivered_abort_mends_what_the_first_could_not_do(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)

    async def away(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("write", "before"):
            raise UnreachableError("ARM is away")

    town.world.traffic.hook = away
    with pytest.raises(UnreachableError):
        await town.command("abort", id_="m-a")
    assert town.share == 0.1
    town.world.traffic.hook = Town().world.traffic.hook

    await town.command("abort", id_="m-a")

    assert town.weights == pair(100, 0)


async def test_a_redelivered_hold_before_the_start_has_nothing_to_mend(town: Town) -> None:
    town.world.traffic.blind = "503"
    await town.start()
    await town.command("hold", id_="m-h")

    await town.command("hold", id_="m-h")

    assert (await town.rollout()).phase is Phase.HELD


async def test_going_back_after_a_promotion_claims_the_profile_again(town: Town) -> None:
    await town.start()
    await town.reach(Phase.PROMOTED)
    await town.seconds(7)
    assert await town.world.store.claims() == []

    await town.command("abort")

    assert town.weights == pair(100, 0)
    await town.reach(Phase.REVERTED)


async def test_going_back_is_refused_when_the_profile_belongs_to_the_next(town: Town) -> None:
    await town.start()
    await town.reach(Phase.PROMOTED)
    await town.seconds(7)
    town.world.traffic.profiles[PROFILE.casefold()] = Town().world.traffic.profiles[
        PROFILE.casefold()
    ]
    await town.start(name="shop-2.5")

    await town.command("abort")

    assert "belongs to shop-2.5 by now" in await only_reason(town)


async def test_an_alert_takes_back_whoever_listens_and_nobody_else(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.alert(rule="disk-full")
    await town.alert(condition="Resolved")
    assert (await town.rollout()).phase is Phase.BAKING

    await town.alert(rule="SHOP-5xx", id_="a-1")
    await town.alert(rule="SHOP-5xx", id_="a-1")
    await town.alert(rule="SHOP-5xx", id_="a-2")

    assert town.share == 0
    assert (await town.rollout()).phase is Phase.RETREATING
    assert await town.reasons() == []


async def test_an_alert_reaches_everybody_although_one_of_them_is_in_trouble(town: Town) -> None:
    """The broken one is left to a redelivery; the other is back at zero by then."""
    await town.start()
    await town.reach(Phase.BAKING, 2)
    other = await town.world.store.claim(PROFILE.replace("/shop", "/cart"), "cart")

    async def broken(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("load", "before") and not town.world.store.beat_s:
            town.world.store.beat_s = 1.0
            raise UnreachableError(f"{other.rollout} cannot be read")

    town.world.store.beat_s = None
    town.world.store.holders = dict(reversed(town.world.store.holders.items()))
    town.world.store.hook = broken
    with pytest.raises(UnreachableError):
        await town.alert()

    assert town.share == 0


async def test_a_message_that_takes_too_long_is_given_back() -> None:
    slow = Town()
    object.__setattr__(slow.world, "settings", settings(turn_deadline_s=0.01))

    async def hang(port: str, method: str, stage: Stage) -> None:
        await asyncio.Event().wait()

    slow.world.store.hook = hang
    with pytest.raises(TimeoutError):
        await slow.command("hold")


@pytest.mark.parametrize(
    ("match", "listens"),
    [
        ({"alert": "shop-5xx", "severity_at_most": 1}, True),
        ({"alert": "shop-5xx", "severity_at_most": 0}, False),
        ({"alert": "shop-5xx", "target": "/SUBSCRIPTIONS/s-1/app"}, True),
        ({"alert": "shop-5xx", "target": "/subscriptions/s-1/other"}, False),
    ],
)
async def test_a_plan_may_narrow_what_it_listens_to(
    town: Town, match: dict[str, Any], listens: bool
) -> None:
    await town.start(rollback_on=[match])

    await town.alert()

    assert ((await town.rollout()).phase is Phase.RETREATING) is listens


async def test_a_body_that_is_no_alert_is_kept(town: Town) -> None:
    await inbox.receive_alert(town.world, town.message(b'{"schemaId": "else"}'))

    assert "not an alert" in await only_reason(town)
    assert "schemaId" in await only_reason(town)


async def test_a_message_waits_before_it_is_given_back_to_the_broker(town: Town) -> None:
    """Abandoned messages come back at once: without a pause an outage burns every delivery."""

    async def away(port: str, method: str, stage: Stage) -> None:
        raise UnreachableError("the store is away")

    town.world.store.hook = away
    with pytest.raises(UnreachableError):
        await town.command("hold")

    assert town.world.clock.slept_s == [2.0]


async def test_rules_of_slowness_and_manual_gates_are_understood(town: Town) -> None:
    evidence = {
        **plan_document()["evidence"],
        "rules": [{"name": "slow", "bad": {"slower_than": "800ms"}}],
    }

    await town.start(evidence=evidence, steps=[{"percent": 10, "gate": "manual"}, 100])

    stored = await town.world.store.load("shop-2.4")
    assert stored is not None
    assert stored.plan.source.rules[0].slower_than_ms == 800
    await town.reach(Phase.HELD)


async def test_byte_order_marks_of_some_clients_do_not_matter(town: Town) -> None:
    document = {"action": "start", "plan": plan_document()}

    await inbox.receive_command(
        town.world, town.message(b"\xef\xbb\xbf" + json.dumps(document).encode())
    )

    assert await town.reasons() == []


async def test_preflight_that_cannot_see_waits_for_the_next_tick(town: Town) -> None:
    town.world.traffic.blind = "503"
    await town.start()
    assert (await town.rollout()).phase is Phase.PENDING
    assert await town.world.traffic.see(PROFILE) == TrafficSeen(Sight.FAILED, "503")
    town.world.traffic.blind = ""

    await town.seconds(1)

    assert (await town.rollout()).phase is Phase.SHIFTING


async def test_a_redelivered_old_abort_leaves_a_newer_release_alone(town: Town) -> None:
    """Somebody resubmits a dead letter of last week."""
    await town.start()
    await town.command("abort", id_="m-a")
    await town.reach(Phase.REVERTED)
    await town.seconds(6)
    await town.start(name="shop-2.5")
    while (await town.rollout("shop-2.5")).phase is not Phase.PROMOTED:
        await town.seconds(1)

    await town.command("abort", id_="m-a")

    assert town.share == 1


async def test_an_alert_that_azure_refuses_to_perform_is_not_settled(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)

    async def too_large(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("save", "before"):
            raise RefusedError("the row is too large")

    town.world.store.hook = too_large
    await town.alert()

    assert town.share == 0
    assert "too large" in await only_reason(town)


async def test_messages_that_share_an_id_and_differ_are_two_messages(town: Town) -> None:
    """Some senders number from one."""
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.command("hold", id_="1")

    await town.command("abort", id_="1")

    assert town.share == 0


async def test_two_equal_alerts_before_the_start_are_two_rows(town: Town) -> None:
    town.world.traffic.blind = "503"
    await town.start()

    await town.alert()
    await town.alert()

    assert [row.number for row in await town.history()] == list(range(1, 5))


async def test_an_alert_with_a_long_id_and_no_time_is_an_alert(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    document = alert_document()
    document["data"]["essentials"] |= {"alertId": "/x" * 400, "firedDateTime": None}

    await inbox.receive_alert(town.world, town.message(document))

    assert town.share == 0


async def test_a_claim_released_by_a_slow_tick_is_claimed_again_by_an_abort(town: Town) -> None:
    """The tick looked before the abort was saved, and releases after."""
    await town.start()
    await town.reach(Phase.PROMOTED)
    town.world.clock.advance(10)
    stale = await town.world.store.claims()
    await town.command("abort")

    for claim in stale:
        await town.world.store.release(claim)

    await town.reach(Phase.REVERTED)
    assert town.weights == pair(100, 0)


async def test_a_tick_does_not_release_what_goes_on_after_all(town: Town) -> None:
    await town.start()
    await town.reach(Phase.PROMOTED)
    town.world.clock.advance(10)

    async def abort_first(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("claims", "after") and (await town.rollout()).phase in FINAL:
            town.world.store.hook = Town().world.store.hook
            await town.command("abort")

    stored = await town.world.store.load("shop-2.4")
    assert stored is not None
    town.world.store.hook = abort_first
    await release(town.world, "shop-2.4")

    assert [claim.rollout for claim in await town.world.store.claims()] == ["shop-2.4"]
