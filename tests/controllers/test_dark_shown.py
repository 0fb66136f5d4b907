"""What is kept of a dark launch and shown of it: history, small rows, and where answers differ."""

import json

import pytest

from controllers import api
from sandbox.memory_store import Stage, no_fault
from shared.core.model import Phase
from shared.errors import UnreachableError
from tests.dark import DarkTown, answer, shadow_step, stamped_user, ticking
from tests.given import PROFILE


@pytest.fixture
def town() -> DarkTown:
    return DarkTown()


# --- the record -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [False, True])
async def test_history_decided_again_gives_the_record(town: DarkTown, *, wrong: bool) -> None:
    town.user, town.stable = stamped_user, ticking
    town.canary = (lambda n: ticking(n, n % 3)) if wrong else ticking
    await town.launch()
    await town.traffic(120)
    await town.reach(Phase.REVERTED if wrong else Phase.PROMOTED)

    told = await api.replay(town.world, "shop-2.4")

    assert told is not None
    assert (told["reproduced"], told["difference"]) == (True, "")


async def test_a_history_row_stays_small_however_many_places_differ(town: DarkTown) -> None:
    """Each answer has fields of its own; the row has the worst twenty and the noise."""
    town.canary = lambda n: answer({"price": 10, **{f"field_{n % 97}_{i}": i for i in range(30)}})
    await town.launch(samples=5000)

    await town.traffic(40)

    rows = town.world.store.rows["shop-2.4"]
    looks = [row for row in rows if row["event"].get("tally")]
    assert len((await town.world.store.tally("shop-2.4")).places) == 500
    assert len(looks) > 20
    assert all(len(row["event"]["tally"]["places"]) <= 20 for row in looks)
    assert max(len(json.dumps(row)) for row in looks) < 15_000


async def test_a_dark_launch_needs_no_telemetry_once_it_runs(town: DarkTown) -> None:
    await town.launch()
    asked = len(town.world.telemetry.asked)

    await town.traffic(5)

    assert len(town.world.telemetry.asked) == asked


async def test_a_tally_that_cannot_be_read_is_blindness_and_no_error_of_ours(
    town: DarkTown,
) -> None:
    await town.launch()
    await town.traffic(5)

    async def away(_port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("tally", "before"):
            raise UnreachableError("does not answer")

    town.world.store.hook = away
    await town.seconds(10)
    rollout = await town.rollout()
    assert (rollout.phase, rollout.errors_in_a_row, rollout.samples) == (Phase.BAKING, 0, 125)
    assert "the samples were not counted" in rollout.sentence

    town.world.store.hook = no_fault
    await town.traffic(60)
    assert (await town.rollout()).step == 1


# --- what HTTP shows ------------------------------------------------------------------------------


async def test_what_was_found_is_shown(town: DarkTown) -> None:
    town.user, town.stable = stamped_user, ticking
    town.canary = lambda n: ticking(n, 11 if n % 10 == 0 else 10)
    await town.launch()
    await town.traffic(20, per_s=20)

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    found = shown["shadow"]
    json.dumps(shown)
    assert (found["samples"], found["unreachable"], found["skipped"]) == (400, 0, 0)
    assert 150 < found["noise_samples"] < 250
    assert found["noise"] == ["$.at"]
    assert found["elsewhere"] == 0
    assert [place["path"] for place in found["places"]] == ["$.price", "$.at"]
    price = found["places"][0]
    assert (price["kinds"], price["canary_percent"], price["stable_percent"]) == (["value"], 10, 0)
    assert "became number sha256:" in price["example"]
    assert shown["request_share_percent"] is None
    assert shown["steps"] == [0, 1, 100]


async def test_only_the_worst_twenty_places_are_shown(town: DarkTown) -> None:
    town.canary = lambda n: answer({f"f{n}": 1})
    await town.launch()
    await town.traffic(2, per_s=30)

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    assert len(shown["shadow"]["places"]) == 20


async def test_a_plan_without_a_dark_launch_shows_none(town: DarkTown) -> None:
    await town.start()

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    assert shown["shadow"] is None


async def test_a_dark_launch_that_takes_no_samples_yet_shows_zeros(town: DarkTown) -> None:
    town.world.traffic.blind = "503"
    await town.start(steps=[shadow_step(), 1, 100])

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    assert shown["shadow"]["samples"] == 0
    assert shown["shadow"]["places"] == []
    assert shown["profile"] == PROFILE
