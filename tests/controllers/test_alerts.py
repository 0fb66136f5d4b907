"""Alerts during a rollout: what counts, what was there before, and what nobody listened to."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controllers import api, inbox
from sandbox.memory_store import Stage
from shared.core.model import Phase
from shared.errors import UnreachableError
from shared.wire import read_alert
from tests.town import START_S, Town, alert_document

PAYLOADS = Path(__file__).parents[1] / "contracts" / "data" / "alerts"


@pytest.fixture
def town() -> Town:
    return Town()


def dimensioned(fired_s: float, value: str) -> dict[str, Any]:
    """An alert that fires once for each value of a dimension."""
    document = alert_document(fired_s=fired_s)
    one = {"metricName": "5xx", "dimensions": [{"name": "Instance", "value": value}]}
    document["data"]["alertContext"] = {"condition": {"windowSize": "PT5M", "allOf": [one]}}
    return document


def iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


async def test_an_alert_that_fired_before_the_start_reverts_nothing(town: Town) -> None:
    """A hotfix must be possible during an incident; a stateless rule fires on and on."""
    await town.alert()
    town.world.clock.advance(300)
    await town.start()
    await town.reach(Phase.BAKING, 1)
    town.world.clock.advance(1)

    await town.alert(fired_s=town.world.clock.at_s)

    assert (await town.rollout()).phase is Phase.BAKING
    row = (await town.history())[-1]
    assert "it was firing 300 s before any traffic moved" in row.sentence
    assert town.world.notices.told[-1][1] == row.sentence


async def test_one_old_firing_does_not_silence_a_rule(town: Town) -> None:
    """It fired once, ten minutes before the start, and was silent for longer than it looks back."""
    await town.alert()
    town.world.clock.advance(300)
    await town.start()
    await town.reach(Phase.BAKING, 1)
    town.world.clock.advance(301)

    await town.alert()

    assert (await town.rollout()).phase is Phase.RETREATING


async def test_a_rule_that_tells_no_window_is_news_at_each_firing(town: Town) -> None:
    """An activity log alert is an event, and no state that could last."""
    event = alert_document()
    event["data"]["alertContext"] = {"operationName": "restart"}
    await inbox.receive_alert(town.world, town.message(event))
    town.world.clock.advance(9)
    await town.start()
    await town.reach(Phase.BAKING, 1)
    event["data"]["essentials"]["firedDateTime"] = None

    await inbox.receive_alert(town.world, town.message(event))

    assert (await town.rollout()).phase is Phase.RETREATING


@pytest.mark.parametrize("order", ["fired first", "resolved first"])
async def test_what_fires_after_a_resolution_is_news_in_any_order(town: Town, order: str) -> None:
    """Both waited in the queue through an outage; the old firing was resolved in between."""
    await town.alert("m-old")
    town.world.clock.advance(60)
    await town.start()
    await town.reach(Phase.BAKING, 1)
    town.world.clock.advance(30)
    now_s = town.world.clock.at_s
    resolved = alert_document(condition="Resolved", fired_s=START_S)
    resolved["data"]["essentials"]["resolvedDateTime"] = iso(now_s - 20)
    waiting = [alert_document(fired_s=now_s - 10), resolved]
    if order == "resolved first":
        waiting.reverse()

    for document in waiting:
        await inbox.receive_alert(town.world, town.message(document))

    assert (await town.rollout()).phase is Phase.RETREATING


async def test_a_resolution_that_comes_again_ends_no_later_spell(town: Town) -> None:
    await town.alert()
    town.world.clock.advance(20)
    gone = alert_document(condition="Resolved", fired_s=START_S)
    gone["data"]["essentials"]["resolvedDateTime"] = iso(START_S + 10)
    message = town.message(gone)
    await inbox.receive_alert(town.world, message)
    await town.alert()

    await inbox.receive_alert(town.world, message)

    [heard] = (await api.alerts(town.world))["alerts"]
    assert heard["resolved"] is None


async def test_a_record_nobody_can_read_stops_no_alert_from_being_filed(town: Town) -> None:
    await town.start()
    plan, text, etag = town.world.store.records["shop-2.4"]
    town.world.store.records["shop-2.4"] = plan, text[:-9], etag

    with pytest.raises(ValueError, match="Invalid JSON"):
        await town.alert()

    assert len((await api.alerts(town.world))["alerts"]) == 1


async def test_an_alert_delivered_late_counts_from_when_it_fired(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)

    await town.alert(fired_s=START_S - 60)

    assert (await town.rollout()).phase is Phase.BAKING


async def test_an_alert_that_was_resolved_before_it_fired_again_reverts(town: Town) -> None:
    await town.alert()
    await town.start()
    await town.reach(Phase.BAKING, 1)
    await town.alert(condition="Resolved", fired_s=START_S)
    assert (await town.rollout()).phase is Phase.BAKING
    await town.seconds(1)

    await town.alert()

    assert (await town.rollout()).phase is Phase.RETREATING


async def test_another_dimension_of_a_known_alert_is_another_alert(town: Town) -> None:
    """The old instance has been bad for long; the one that turns bad now is news."""
    await inbox.receive_alert(town.world, town.message(dimensioned(START_S, "old")))
    town.world.clock.advance(10)
    await town.start()
    await town.reach(Phase.BAKING, 1)

    now_s = town.world.clock.at_s
    await inbox.receive_alert(town.world, town.message(dimensioned(now_s, "old")))
    assert (await town.rollout()).phase is Phase.BAKING
    await inbox.receive_alert(town.world, town.message(dimensioned(now_s, "new")))

    assert (await town.rollout()).phase is Phase.RETREATING


@pytest.mark.parametrize("told", [None, "", "soon", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_an_alert_with_a_time_nobody_can_believe_fires_now(town: Town, told: object) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    document = alert_document()
    document["data"]["essentials"]["firedDateTime"] = told

    await inbox.receive_alert(town.world, town.message(document))

    assert (await town.rollout()).phase is Phase.RETREATING


async def test_alerts_nobody_listens_to_are_recorded_as_such(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    await town.alert(rule="other-team")
    await town.seconds(1)
    await town.alert()

    heard = {one["rule"]: one for one in (await api.alerts(town.world))["alerts"]}

    assert heard["other-team"]["listeners"] == []
    assert heard["shop-5xx"]["listeners"] == ["shop-2.4"]
    assert heard["shop-5xx"]["severity"] == 1
    assert heard["shop-5xx"]["resolved"] is None


async def test_the_canary_is_off_before_the_alert_is_filed(town: Town) -> None:
    """Seconds count: what is only for the record comes after the write to Traffic Manager."""
    await town.start()
    await town.reach(Phase.BAKING, 1)

    async def table_is_full(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("hear", "before"):
            raise UnreachableError("503")

    town.world.store.hook = table_is_full
    with pytest.raises(UnreachableError):
        await town.alert("m-alert")

    assert town.share == 0


async def test_two_deliveries_of_one_alert_at_once_end_as_one(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    message = town.message(alert_document(fired_s=town.world.clock.at_s))

    ends = await asyncio.gather(
        *(inbox.receive_alert(town.world, message) for _ in range(2)), return_exceptions=True
    )

    assert {type(end) for end in ends} <= {type(None), UnreachableError}
    await inbox.receive_alert(town.world, message)
    fired = [row for row in await town.history() if row.event.__class__.__name__ == "AlertFired"]
    assert len(fired) == 1
    assert len((await api.alerts(town.world))["alerts"]) == 1


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
async def test_every_kind_of_alert_reaches_a_plan_that_names_its_rule(
    town: Town, path: Path
) -> None:
    """Microsoft's own payloads: metric, log, activity log, resource and service health, test."""
    body = path.read_bytes()
    alert = read_alert(body)
    await town.start(rollback_on=[{"alert": alert.rule.upper(), "target": alert.targets[0]}])
    await town.reach(Phase.BAKING, 1)
    document = json.loads(body)
    document["data"]["essentials"]["firedDateTime"] = None

    await inbox.receive_alert(town.world, town.message(document))

    expected = Phase.RETREATING if alert.fired else Phase.BAKING
    assert (await town.rollout()).phase is expected


ODDITIES: dict[str, dict[str, Any]] = {
    "activity log in one word": {"signalType": "ActivityLog"},
    "nulls": {"severity": None, "alertRuleID": None, "configurationItems": None},
    "a rule known by id alone": {"alertRule": None, "alertRuleID": "shop-5xx"},
    "seven digits of a second": {"firedDateTime": "2027-01-15T08:00:09.1234567Z"},
    "a field of tomorrow": {"essentialsVersion": "2.0", "entityScore": {"new": [1]}},
}


@pytest.mark.parametrize("changes", ODDITIES.values(), ids=ODDITIES.keys())
async def test_what_varies_in_the_wild_changes_nothing(town: Town, changes: dict[str, Any]) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    document = alert_document(fired_s=town.world.clock.at_s)
    document["data"]["essentials"] |= changes
    document["data"]["alertContext"] = {"condition": {"allOf": [{"threshold": "5"}, None, 3]}}

    await inbox.receive_alert(town.world, town.message(document))

    assert (await town.rollout()).phase is Phase.RETREATING
