"""Stored history, decided again, gives the stored record; a forged row does not."""

from typing import Any

import pytest

from controllers import api, replay
from shared.core.model import Phase
from tests.town import Town


@pytest.fixture
def town() -> Town:
    return Town()


async def lived(town: Town) -> list[dict[str, Any]]:
    """A rollout with most kinds of events; returns its rows as stored."""
    await town.alert()
    town.world.clock.advance(9)
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.command("hold")
    await town.seconds(2)
    await town.command("promote", from_step=9)
    await town.command("resume")
    await town.alert(fired_s=town.world.clock.at_s)
    town.rates = (0.0, 0.5)
    await town.reach(Phase.REVERTED)
    return town.world.store.rows["shop-2.4"]


async def test_a_life_is_reproduced(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE_ROWS", 7)
    rows = await lived(town)

    told = await api.replay(town.world, "shop-2.4")

    assert told == {
        "name": "shop-2.4",
        "rows": len(rows),
        "reproduced": True,
        "difference": "",
    }


async def test_the_first_row_that_was_forged_is_named(town: Town) -> None:
    rows = await lived(town)
    rows[4]["sentence"] = "All is well."

    told = await api.replay(town.world, "shop-2.4")

    assert told is not None
    assert (told["rows"], told["reproduced"]) == (4, False)
    assert told["difference"].startswith("row 5 says #5")
    assert "'All is well.'" in told["difference"]


async def test_numbers_that_were_changed_lead_elsewhere(town: Town) -> None:
    """The look that turned it back is rewritten into a good one."""
    rows = await lived(town)
    turning = next(row for row in rows if row["after"] == "RETREATING")
    for seen in turning["event"]["answer"]["bins"]:
        seen["canary"]["bad"] = [0.0]
        seen["canary"]["bad_rows"] = [0]

    told = await api.replay(town.world, "shop-2.4")

    assert told is not None
    assert told["difference"].startswith(f"row {turning['number']} says")


async def test_a_row_that_is_gone_and_a_record_that_was_changed_are_told(town: Town) -> None:
    rows = await lived(town)
    plan, text, etag = town.world.store.records["shop-2.4"]
    town.world.store.records["shop-2.4"] = plan, text.replace('"REVERTED"', '"PROMOTED"'), etag
    changed = await api.replay(town.world, "shop-2.4")
    del rows[-1]
    cut = await api.replay(town.world, "shop-2.4")

    assert changed is not None
    assert changed["difference"] == "every row is as recorded, the record is not"
    assert cut is not None
    assert not cut["reproduced"]


async def test_an_event_that_cannot_be_is_told_and_not_raised(town: Town) -> None:
    rows = await lived(town)
    rows[1]["event"]["traffic"]["profile"] = None

    told = await api.replay(town.world, "shop-2.4")

    assert told is not None
    assert not told["reproduced"]


async def test_nobody_replays_what_never_was(town: Town) -> None:
    assert await api.replay(town.world, "shop-9") is None
