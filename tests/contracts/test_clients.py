"""Affected clients over the real logs client and running KQL, against counts made by hand."""

import asyncio
from random import Random
from typing import Any

from sandbox.azure import LocalAzure
from shared.cloud.wiring import AzureWorld
from shared.core.telemetry import Rule, Sight
from tests.contracts.shop import FIRST_BIN, WORKSPACE, question, request

CANARY = "2.4.0"
MASKED = "0.0.0.0"  # noqa: S104  # nobody listens here
ERRORS, SLOW = Rule("errors"), Rule("slow", slower_than_ms=800)


def by(user: str, minute: float, version: str = "2.3.9", **columns: Any) -> dict[str, Any]:
    """A request of a user in a minute; `bad=True` fails."""
    good = not columns.pop("bad", False)
    return request(60 * minute, version, UserId=user, Success=good, **columns)


async def clients(
    azure: LocalAzure, world: AzureWorld, rows: list[dict[str, Any]], **asked: Any
) -> dict[tuple[str, int], tuple[tuple[int, ...], tuple[int, ...]]]:
    """Clients and bad clients by arm and minute when these rows are all there is."""
    await azure.logs.add(WORKSPACE, rows)
    rules = asked.pop("rules", (ERRORS,))
    answer = await world.telemetry.ask(question(*rules, **({"client": "UserId"} | asked)))
    assert answer.sight is Sight.SEEN, answer.reason
    return {
        (arm, each.index - FIRST_BIN): (found.clients, found.bad_clients)
        for each in answer.bins
        for arm, found in (("stable", each.stable), ("canary", each.canary))
        if found
    }


async def test_a_storm_of_one_client_counts_once(azure: LocalAzure, world: AzureWorld) -> None:
    """After its first bad minute a client is out of the counts, however it goes on."""
    storm = [by("ada", minute, bad=minute > 0.5) for minute in (0, 1, 1.2, 1.4, 2, 3)]
    others = [by("bob", minute, ItemCount=9) for minute in (0, 1, 3)] + [by("eve", 1), by("eve", 1)]
    assert await clients(azure, world, storm + others) == {
        ("stable", 0): ((2,), (0,)),
        ("stable", 1): ((3,), (1,)),
        ("stable", 2): ((0,), (0,)),
        ("stable", 3): ((1,), (0,)),
    }


async def test_requests_are_counted_beside_as_ever(azure: LocalAzure, world: AzureWorld) -> None:
    """The report shows both, and sampled rows stand for their requests among these."""
    await azure.logs.add(
        WORKSPACE, [by("ada", 0, bad=True, ItemCount=4), by("ada", 0), by("", 0, ItemCount=5)]
    )
    answer = await world.telemetry.ask(question(ERRORS, client="UserId"))
    seen = answer.bins[0].stable
    assert seen is not None
    assert (seen.items, seen.rows, seen.bad, seen.bad_rows) == (10, 3, (4,), (1,))
    assert (seen.clients, seen.bad_clients) == ((1,), (1,))


async def test_a_client_bad_in_one_arm_is_out_of_both(azure: LocalAzure, world: AzureWorld) -> None:
    """Who fails wherever DNS sends them is no news to the arm that meets them second."""
    rows = [by("ada", 0, bad=True), by("ada", 1), by("ada", 0, CANARY), by("ada", 1, CANARY)]
    rows += [by("ada", 2, CANARY, bad=True), by("bob", 1, CANARY, bad=True), by("bob", 2)]
    assert await clients(azure, world, rows) == {
        ("stable", 0): ((1,), (1,)),
        ("stable", 1): ((0,), (0,)),
        ("stable", 2): ((0,), (0,)),
        ("canary", 0): ((1,), (0,)),
        ("canary", 1): ((1,), (1,)),
        ("canary", 2): ((0,), (0,)),
    }


async def test_a_client_bad_in_both_arms_at_once_counts_in_both(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Within a bin nobody asks which of them was first."""
    rows = [by("ada", 1, bad=True), by("ada", 1.5, CANARY, bad=True), by("ada", 2, CANARY)]
    assert await clients(azure, world, rows) == {
        ("stable", 1): ((1,), (1,)),
        ("canary", 1): ((1,), (1,)),
        ("canary", 2): ((0,), (0,)),
    }


async def test_clients_who_move_do_not_make_the_smaller_arm_look_guilty(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Of 200 who always fail, redrawn each minute, as large a part turns bad in either arm."""
    dice, rows = Random(7), []
    for minute in range(6):
        for user in range(400):
            version = CANARY if dice.random() < 0.2 else "2.3.9"
            rows.append(by(f"u{user}", minute, version, bad=user < 200))
    found = await clients(azure, world, rows)
    for minute in range(1, 6):
        assert found["stable", minute][1] == (0,)
        assert found["canary", minute][1] == (0,)
    assert found["canary", 0][0][0] + found["stable", 0][0][0] == 400


async def test_who_was_bad_earlier_in_the_step_is_no_news(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """The step is older than the window: its clients are followed, its bins do not come back."""
    rows = [by("ada", -3, bad=True), by("ada", 1, bad=True), by("bob", 1), by("bob", -2)]
    rows += [by("eve", -9, bad=True), by("eve", 1, bad=True)]
    assert await clients(azure, world, rows, step_bin=FIRST_BIN - 5) == {
        ("stable", 1): ((2,), (1,))  # bob, and eve who was bad before the step
    }


async def test_without_a_step_the_window_is_all_there_is(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Before the start clients are followed from the beginning of what is looked at."""
    rows = [by("ada", -3, bad=True), by("ada", 1, bad=True)]
    assert await clients(azure, world, rows) == {("stable", 1): ((1,), (1,))}


async def test_each_rule_has_its_own_clients(azure: LocalAzure, world: AzureWorld) -> None:
    """Who met an error may yet be the first time kept waiting."""
    rows = [by("ada", 0, bad=True), by("ada", 1, DurationMs=900.0), by("bob", 1, DurationMs=900.0)]
    rows += [by("bob", 2, bad=True, DurationMs=900.0)]
    assert await clients(azure, world, rows, rules=(ERRORS, SLOW)) == {
        ("stable", 0): ((1, 1), (1, 0)),
        ("stable", 1): ((1, 2), (0, 2)),
        ("stable", 2): ((1, 0), (1, 0)),
    }


async def test_a_client_bad_from_the_very_first_bin_counts_there(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """The first bin of the window and the last are whole ones, and what lies beyond is not."""
    rows = [by("ada", 0, bad=True), by("bob", 9.99, bad=True), by("eve", 10, bad=True)]
    assert await clients(azure, world, rows) == {
        ("stable", 0): ((1,), (1,)),
        ("stable", 9): ((1,), (1,)),
    }


async def test_rows_without_a_client_are_left_out_and_told(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Three of eight rows are nobody's; they are no client, and no one's bad minute."""
    rows = [by("ada", 0), by("ada", 1), by("bob", 1, CANARY), by("eve", 1, CANARY), by("joe", 0)]
    rows += [by("", 0, bad=True), by("", 0), by("", 2, CANARY, bad=True)]
    assert await clients(azure, world, rows) == {
        ("stable", 0): ((2,), (0,)),
        ("stable", 1): ((1,), (0,)),
        ("canary", 1): ((2,), (0,)),
        ("canary", 2): ((0,), (0,)),
    }
    answer = await world.telemetry.ask(question(client="UserId"))
    assert answer.keyless == 3 / 8


async def test_a_masked_address_is_nobody(azure: LocalAzure, world: AzureWorld) -> None:
    """Application Insights writes 0.0.0.0 for everybody unless it is told not to."""
    rows = [request(1, ClientIP=address) for address in (MASKED, MASKED, "192.0.2.7", "")]
    assert await clients(azure, world, rows, client="ClientIP") == {("stable", 0): ((1,), (0,))}
    answer = await world.telemetry.ask(question(client="ClientIP"))
    assert answer.keyless == 3 / 4


async def test_a_property_tells_users_apart_too(azure: LocalAzure, world: AzureWorld) -> None:
    """Rows without the key carry no client, like rows in which it is empty."""
    rows = [
        request(1, Properties=given)
        for given in ({"user": "ada"}, {"user": "it's"}, {"user": ""}, {"other": "x"}, {})
    ]
    assert await clients(azure, world, rows, client="Properties.user") == {
        ("stable", 0): ((2,), (0,))
    }


async def test_nobody_is_asked_for_where_requests_are_counted(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Without a column for clients the counts of them stay empty."""
    assert await clients(azure, world, [by("ada", 0)], client=None) == {("stable", 0): ((), ())}


async def test_questions_with_and_without_clients_share_a_query(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Each gets the counts it asked for."""
    asked = [question(ERRORS), question(SLOW, client="UserId"), question(client="SessionId")]
    await azure.logs.add(WORKSPACE, [by("ada", 0), by("bob", 0, DurationMs=900.0, SessionId="s")])
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(world.telemetry.ask(each)) for each in asked]
    found = [answer.result().bins[0].stable for answer in answers]
    assert [(arm.clients, arm.bad_clients) for arm in found if arm] == [
        ((), ()),
        ((2,), (1,)),
        ((1, 1), (0, 1)),
    ]
