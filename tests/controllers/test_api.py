"""What HTTP shows: where a rollout is, why, and what could not be used."""

import base64
import json

import pytest

from controllers import api, inbox
from sandbox.memory_store import Stage
from shared.core.model import Phase
from shared.errors import UnreachableError
from tests.town import Town


@pytest.fixture
def town() -> Town:
    return Town()


async def test_a_rollout_is_explained_with_its_numbers(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    town.rates = (0.0, 0.5)
    await town.reach(Phase.REVERTED)

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    json.dumps(shown)
    assert shown["phase"] == "REVERTED"
    assert shown["steps"] == [1, 10, 50, 100]
    turning = next(row for row in shown["history"] if row["after"] == "RETREATING")
    assert turning["verdict"]["kind"] == "fail"
    harm = turning["verdict"]["evidence_of_harm"]
    assert harm["seen"] >= harm["needed"]
    assert turning["verdict"]["rules"][0]["canary"]["bad"] > 0
    assert "worse" in turning["sentence"]


async def test_after_a_nights_hold_it_still_shows_how_it_came_there(town: Town) -> None:
    """The start, every step and who held, however many looks came after."""
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.command("hold", reason="customers call")
    await town.seconds(400)

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    assert shown["rows"] > 400
    events = [row["event"] for row in shown["history"]]
    assert (events[0], events[-1], len(events)) == ("StartAsked", "HoldAsked", 6)
    assert "customers call" in shown["history"][-1]["sentence"]


async def test_the_start_is_shown_however_often_it_turned(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SHOWN_ROWS", 4)
    await town.start()
    for _ in range(3):
        await town.command("hold")
        await town.command("resume")

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    assert [row["number"] for row in shown["history"]] == [1, 6, 7, 8]


async def test_every_look_can_be_had_a_page_at_a_time(town: Town) -> None:
    await town.start()
    await town.seconds(api.SHOWN_ROWS + 10)
    shown = await api.rollout(town.world, "shop-2.4")
    assert shown is not None

    numbers: list[int] = []
    after = 0
    while True:
        status, page = await api.history(town.world, "shop-2.4", str(after))
        assert status == 200
        if not page["history"]:
            break
        numbers += [row["number"] for row in page["history"]]
        after = numbers[-1]

    assert numbers == list(range(1, shown["rows"] + 1))
    assert page["rows"] == shown["rows"]
    assert (await api.history(town.world, "nobody", "0"))[0] == 404


@pytest.mark.parametrize("after", ["", "-1", "1.5", "x", "1" * 11, "\u0661"])
async def test_a_page_is_asked_for_by_a_rows_number(town: Town, after: str) -> None:
    status, told = await api.history(town.world, "shop-2.4", after)

    assert status == 400
    assert "a row's number is allowed" in told["error"]


async def test_three_shares_are_told_apart(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.seconds(4)

    [shown] = (await api.rollouts(town.world))["rollouts"]

    assert shown["wanted_percent"] == 10
    assert shown["weights"]["canary_percent"] == 10
    assert shown["request_share_percent"] == 10


async def test_a_rollout_that_never_began_has_nothing_to_show_yet(town: Town) -> None:
    town.world.traffic.blind = "503"
    await town.start()

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    assert (shown["verdict"], shown["weights"], shown["baseline"]) == (None, None, None)
    assert "503" in shown["sentence"]


async def test_live_rollouts_come_before_those_that_ended(town: Town) -> None:
    await town.start(name="old", canary="purple")
    await town.start(name="new")

    shown = (await api.rollouts(town.world))["rollouts"]

    assert [row["name"] for row in shown] == ["new", "old"]
    assert "no endpoint purple" in shown[1]["reasons"][0]


async def test_what_was_rejected_is_listed_with_its_bytes(town: Town) -> None:
    await inbox.receive_command(town.world, town.message(b"\x00\xffnot json"))

    [entry] = (await api.rejected(town.world))["rejected"]

    assert base64.b64decode(entry["bytes"]) == b"\x00\xffnot json"
    assert "not a command" in entry["reason"]


async def test_nobody_of_that_name_is_none(town: Town) -> None:
    assert await api.rollout(town.world, "nobody") is None


async def test_health_is_a_store_that_answers_and_ticks_that_come(town: Town) -> None:
    assert (await api.health(town.world))[0] is False
    await town.seconds(1)
    assert (await api.health(town.world))[0] is True
    town.world.clock.advance(3600)

    healthy, told = await api.health(town.world)

    assert not healthy
    assert told["tick"] == "last ran 3600 s ago"


async def test_health_says_when_the_store_is_away(town: Town) -> None:
    async def away(port: str, method: str, stage: Stage) -> None:
        raise UnreachableError("does not answer")

    town.world.store.hook = away

    assert await api.health(town.world) == (False, {"healthy": False, "store": "does not answer"})


async def test_what_disappears_between_two_reads_is_left_out(town: Town) -> None:
    await town.start()
    names = town.world.store.records

    async def vanish(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("names", "after"):
            names.clear()

    town.world.store.hook = vanish

    assert await api.rollouts(town.world) == {"rollouts": []}
