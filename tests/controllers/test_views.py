"""How a verdict is shown: every number it rests on, the same in the rollout and in its history."""

import json
from dataclasses import replace
from typing import Any

import pytest

from controllers import api, views
from shared import record
from shared.core import judge
from shared.core.judge import Counts, Verdict
from shared.core.model import Phase
from shared.core.questions import Question
from shared.core.telemetry import Advice, Sight, Strata, Stratum
from tests.town import Town, plan_document
from tests.weighed import HARM, QUIET, one, seen, step


def shown_of(verdict: Verdict) -> dict[str, Any]:
    """The only rule of a verdict, as HTTP shows it."""
    shown = views.explained(verdict)
    assert shown is not None
    json.dumps(shown)
    [rule] = shown["rules"]
    assert isinstance(rule, dict)
    return rule


def test_a_rule_is_shown_with_counts_rates_ratio_margin_evidence_and_blocks() -> None:
    """Of the rollout with what still grows, and of the step's complete blocks."""
    verdict = one(seen([QUIET] * 9), step(sealed_before=8))[0]

    rule = shown_of(verdict)

    arm = {"bad": 270, "events": 27_000, "percent": 1.0}
    assert (rule["canary"], rule["stable"], rule["blocks"]) == (arm, arm, 9)
    arm = {"bad": 240, "events": 24_000, "percent": 1.0}
    assert rule["step"] == {"canary": arm, "stable": arm, "blocks": 8}
    assert rule["ratio"] == pytest.approx(1, abs=0.02)
    assert rule["ratio_interval"] == [0.6, 1.5]
    assert (rule["margin"], rule["passed"]) == (1.5, True)
    assert rule["evidence_of_harm"]["seen"] < 0 < rule["evidence_of_harm"]["needed"]
    assert rule["evidence_of_no_harm"] == {"seen": 6.854, "needed": 3.689, "route": "ratio"}
    assert rule["evidence_over_objective"] is None


def test_a_silent_service_is_shown_to_have_passed_by_its_rate() -> None:
    """The route is named, and no ratio is made up."""
    rule = shown_of(one(seen([Counts(3000, 0, 600, 0)] * 3), step(next_share=0.25))[0])

    assert rule["evidence_of_no_harm"]["route"] == "rate"
    assert rule["ratio"] is None


def test_no_evidence_of_no_harm_is_shown_where_no_pass_can_be_drawn() -> None:
    """Nor a rate where nothing was served."""
    rule = shown_of(one(judge.begin(0), step(next_share=None))[0])

    assert rule["evidence_of_no_harm"] is None
    assert rule["canary"] == {"bad": 0, "events": 0, "percent": None}


def test_at_100_percent_the_frozen_objective_is_what_the_canary_is_held_against() -> None:
    """It stands in the place of a comparison."""
    evidence = seen([Counts(0, 0, 6000, 180)] * 4, 0.02)

    rule = shown_of(one(evidence, step(final=True))[0])

    assert rule["evidence_over_objective"]["seen"] > 4.6
    assert rule["evidence_of_no_harm"] is None


def test_a_verdict_of_an_older_version_is_shown_as_far_as_it_goes() -> None:
    """What it did not know is unknown, not nought."""
    verdict = one(seen([QUIET] * 9))[0]
    old = json.loads(record.VERDICTS.dump_json(verdict))
    for name in ("pass_needed", "lag_s", "unit"):
        del old[name]
    for name in ("ratio", "rollout_bins"):
        del old["weighings"][0][name]
    read = record.VERDICTS.validate_python(old)
    assert read is not None

    shown = views.explained(read)

    assert shown is not None
    assert (shown["lag_s"], shown["unit"]) == (None, None)
    assert shown_of(read)["evidence_of_no_harm"]["needed"] is None
    assert shown_of(read)["ratio"] is None


async def test_history_shows_the_verdict_that_the_rollout_shows() -> None:
    """The last look's numbers and sentence are those of the record, and so is the lag."""
    town = Town()
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.seconds(4)

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    status, all_rows = await api.history(town.world, "shop-2.4", "0")
    assert status == 200
    last = all_rows["history"][-1]["verdict"]
    assert last == shown["verdict"]
    assert last["sentence"] == shown["sentence"]
    assert last["unit"] == "requests"
    assert 0 < last["lag_s"] < 60


async def test_advice_and_frozen_thresholds_are_shown_with_the_rollout() -> None:
    """What no decision rests on, and what slow means for the rules that name a quantile."""
    town = Town()
    await town.start()
    bare = await api.rollout(town.world, "shop-2.4")
    plan, text, version = town.world.store.records["shop-2.4"]
    told = replace(
        record.rollout_from_json(text),
        thresholds_ms={"slow": 812.5},
        advice=(Advice("cpu", off=True, sentence="cpu is 40 % over stable's"),),
    )
    town.world.store.records["shop-2.4"] = plan, record.rollout_to_json(told), version

    shown = await api.rollout(town.world, "shop-2.4")

    assert bare is not None
    assert shown is not None
    assert (bare["advice"], bare["thresholds_ms"]) == ([], {})
    assert shown["thresholds_ms"] == {"slow": 812.5}
    [advice] = shown["advice"]
    assert advice == {"name": "cpu", "off": True, "sentence": "cpu is 40 % over stable's"}


def past(oslo_bad: float) -> Strata:
    """A past of two cities, each half of it alike; in Rome one request in a hundred is bad."""
    cities = {"Oslo": oslo_bad, "Rome": 10.0, None: 0.0}
    return Strata(
        Sight.SEEN,
        seen=tuple(
            Stratum(city, (1000.0, 1000.0) if city else (0.0, 0.0), ((bad, bad),))
            for city, bad in cities.items()
        ),
    )


@pytest.mark.parametrize(("oslo_bad", "strata"), [(100.0, 2), (10.0, None)])
async def test_it_is_shown_by_what_exposures_are_standardised(
    oslo_bad: float, strata: int | None
) -> None:
    """The plan's columns, and in how many strata; null where they foretell nothing.

    What requests said stays in the record: the cities themselves are not shown.
    """
    town = Town()
    town.world.telemetry.past = lambda _: past(oslo_bad)
    evidence = {**plan_document()["evidence"], "strata": ["ClientCity", "OperationName"]}
    await town.start(evidence=evidence)
    await town.reach(Phase.BAKING)

    shown = await api.rollout(town.world, "shop-2.4")

    assert shown is not None
    assert shown["strata"] == ["ClientCity", "OperationName"]
    assert shown["standardised"] == {"errors": strata}
    assert "Oslo" not in json.dumps(shown)


async def test_clients_of_the_past_are_asked_for_in_the_bins_of_the_rollout() -> None:
    """However coarse the look at all of stable's past is; its profile is seen before they are."""
    town = Town()
    asked: list[int] = []

    def told(question: Question) -> Strata:
        asked.append(question.bin_s)
        return past(100.0)

    town.world.telemetry.past = told
    changed = {"lookback": "1h", "client": "UserId", "strata": ["ClientCity"]}
    await town.start(evidence={**plan_document()["evidence"], **changed})
    await town.reach(Phase.BAKING)

    assert set(asked) == {(await town.rollout()).bin_s}


async def test_nothing_is_said_of_strata_that_are_not_named_or_not_yet_frozen() -> None:
    """A plan without columns never has any; one with columns has them from the start on."""
    bare, town = Town(), Town()
    await bare.start()
    await bare.reach(Phase.BAKING)
    town.world.telemetry.past = lambda _: Strata(Sight.FAILED, "403")
    await town.start(evidence={**plan_document()["evidence"], "strata": ["ClientCity"]})
    await town.seconds(3)

    for each in (bare, town):
        shown = await api.rollout(each.world, "shop-2.4")

        assert shown is not None
        assert "standardised" not in shown
        assert "strata" not in shown


def test_harm_is_shown_for_each_rule_and_for_all_together() -> None:
    """With a single rule both are the same."""
    verdict = one(seen([HARM] * 6))[0]

    shown = views.explained(verdict)

    assert shown is not None
    assert shown["evidence_of_harm"] == shown_of(verdict)["evidence_of_harm"]
    assert shown["evidence_of_harm"]["seen"] > shown["evidence_of_harm"]["needed"]
