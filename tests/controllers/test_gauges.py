"""Gauges in a turn: asked while the canary bakes, kept with the look, and never in its way."""

from typing import Any

import pytest

from shared.core.events import Ticked
from shared.core.judge import Kind
from shared.core.model import Phase
from shared.core.questions import LevelQuestion
from shared.core.telemetry import Level, Levels, Sight
from tests.town import Town, plan_document

CPU = {"name": "cpu", "table": "AppPerformanceCounters", "metric": "% Processor Time"}


@pytest.fixture
def town() -> Town:
    return Town()


async def bake_for_half_an_hour(town: Town, **evidence: Any) -> None:
    """A first step that bakes on, waiting for a person after half an hour."""
    document = plan_document()["evidence"] | evidence
    bake = {"min": "1h", "max": "2h"}
    await town.start(evidence=document, bake=bake, name_servers="1s")
    await town.reach(Phase.BAKING, 1)
    town.world.clock.advance(1800)
    await town.seconds(10)  # enough looks to have read all of it


def seen(question: LevelQuestion) -> Levels:
    bins = range(question.from_bin, question.to_bin)
    levels = tuple(Level(index, 40.0, 50.0) for index in bins)
    return Levels(Sight.SEEN, by_gauge={"cpu": levels})


async def looks(town: Town) -> list[Ticked]:
    return [row.event for row in await town.history() if isinstance(row.event, Ticked)]


async def test_a_look_has_the_levels_of_its_bake(town: Town) -> None:
    """They are part of the event, so that a replay sees what the decision saw."""
    asked: list[LevelQuestion] = []

    def answer(question: LevelQuestion) -> Levels:
        asked.append(question)
        return seen(question)

    town.world.telemetry.gauges = answer
    await bake_for_half_an_hour(town, gauges=[CPU])
    assert [look.levels for look in await looks(town) if look.levels] == [seen(asked[0])]
    assert len(asked) == 1
    assert (asked[-1].bin_s, asked[-1].source.gauges[0].metric) == (900, "% Processor Time")


async def test_a_plan_without_gauges_asks_for_none(town: Town) -> None:
    """And its looks have none."""
    town.world.telemetry.gauges = seen
    await bake_for_half_an_hour(town)
    assert all(look.levels is None for look in await looks(town))


@pytest.mark.parametrize("sight", [Sight.FAILED, Sight.ABSENT])
async def test_gauges_that_cannot_be_seen_change_no_verdict(town: Town, sight: Sight) -> None:
    """They are advice: a rollout without them goes the same way."""
    town.world.telemetry.gauges = lambda _: Levels(sight, "no such table")
    await bake_for_half_an_hour(town, gauges=[CPU])
    other = Town()
    await bake_for_half_an_hour(other)
    mine, theirs = await town.rollout(), await other.rollout()
    assert (mine.phase, mine.verdict) == (theirs.phase, theirs.verdict)
    assert mine.verdict is not None
    assert mine.verdict.kind is Kind.PASS
