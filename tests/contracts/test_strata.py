"""Strata over the real logs client and running KQL, against counts made by hand."""

from random import Random
from typing import Any

import pytest
import pytest_asyncio

from sandbox.azure import LocalAzure
from sandbox.faults import Fault, Kind
from shared.cloud.wiring import AzureWorld
from shared.core.strata import standard_of
from shared.core.telemetry import Rule, Sight, Standard, Stratum
from tests.contracts.shop import EMPTY, WORKSPACE, question, request

QUERY = "POST /v1/workspaces/"
CANARY = "2.4.0"
CITY = ("ClientCity",)
SLY = "x', 9.0, 'y\\ | take 0 //"
ERRORS, SLOW = Rule("errors"), Rule("slow", slower_than_quantile=0.5)


def of(city: str, minute: float, version: str = "2.3.9", **columns: Any) -> dict[str, Any]:
    """A request from a city in a minute; `bad=True` fails."""
    good = not columns.pop("bad", False)
    return request(60 * minute, version, ClientCity=city, Success=good, **columns)


PAST = [
    of("Oslo", 1, bad=True, ItemCount=4, DurationMs=10.0, UserId="ada"),
    of("Oslo", 2, DurationMs=20.0, UserId="ada"),
    of("Oslo", 6, bad=True, DurationMs=300.0, UserId="bob"),
    of("Oslo", 6, bad=True, DurationMs=400.0, UserId="bob"),
    of(SLY, 3, ItemCount=7, DurationMs=30.0, UserId="eve"),
    of("a\x07bell", 9, bad=True, ItemCount=2, DurationMs=500.0, UserId="kim"),
    of("Oslo", 4, CANARY, bad=True),
]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def past(azure: LocalAzure) -> None:
    await azure.logs.add(WORKSPACE, PAST)


async def test_stables_past_is_told_by_stratum_and_half(world: AzureWorld) -> None:
    """Requests and bad rows of stable alone; what cannot be written into a query is of the rest."""
    found = await world.telemetry.strata(question(ERRORS, SLOW, strata=CITY))
    assert found.sight is Sight.SEEN, found.reason
    assert sorted(found.seen, key=lambda each: each.key or "~") == [
        Stratum("Oslo", (5, 2), ((1, 2), (0, 2))),
        Stratum(SLY, (7, 0), ((0, 0), (0, 0))),
        Stratum(None, (0, 2), ((0, 1), (0, 1))),
    ]


async def test_texts_of_requests_are_kept_cut_and_few(world: AzureWorld, azure: LocalAzure) -> None:
    """The 64 strata with most requests, 200 characters of each; those beyond count as the rest."""
    often = [of(f"{n:03}{'x' * 300}", 1, "9.9", ItemCount=70 - n) for n in range(70)]
    await azure.logs.add(WORKSPACE, often)
    found = await world.telemetry.strata(question(ERRORS, stable="9.9", strata=CITY))
    *known, rest = found.seen
    assert {each.key for each in known} == {f"{n:03}{'x' * 197}" for n in range(64)}
    assert (rest.key, rest.events) == (None, (sum(70 - n for n in range(64, 70)), 0))


async def test_where_clients_count_one_is_counted_once_a_bin(world: AzureWorld) -> None:
    """Two failures of bob's in a minute are one bad client of one."""
    found = await world.telemetry.strata(question(ERRORS, client="UserId", strata=CITY))
    by_key = {each.key: (each.events, each.bad) for each in found.seen}
    assert by_key == {
        "Oslo": ((2, 1), ((1, 1),)),
        SLY: ((1, 0), ((0, 0),)),
        None: ((0, 1), ((0, 1),)),
    }


async def test_a_client_of_several_strata_is_shared_by_them(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """Evenly, however often it asked in each; the strata that it was bad in have that whole."""
    await azure.logs.add(
        WORKSPACE,
        [
            *[of("Oslo", 1, "8.1", UserId="ada") for _ in range(9)],
            of("Rome", 1, "8.1", bad=True, UserId="ada"),
            of("", 1, "8.1", UserId="ada"),
            *[of("Rome", 6, "8.1", bad=True, UserId="ada") for _ in range(4)],
            of("Oslo", 6, "8.1", bad=True, UserId="ada"),
        ],
    )
    asked = question(ERRORS, stable="8.1", client="UserId", strata=CITY)
    found = await world.telemetry.strata(asked)
    assert found.sight is Sight.SEEN, found.reason
    third = pytest.approx(1 / 3)
    assert {each.key: (each.events, each.bad) for each in found.seen} == {
        "Oslo": ((third, 1 / 2), ((0, 1),)),
        "Rome": ((third, 1 / 2), ((1, 1),)),
        "": ((third, 0), ((0, 0),)),
        None: (pytest.approx((0, 0)), ((0, 0),)),
    }


async def test_a_bin_in_the_middle_of_the_past_is_of_one_half(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """Who asks before and after half time of an odd number of bins is one client of one bin."""
    rows = [of(city, minute, "8.1", UserId="ada") for city in "ab" for minute in (2.2, 2.8)]
    await azure.logs.add(WORKSPACE, rows)
    asked = question(ERRORS, stable="8.1", bins=5, client="UserId", strata=CITY)
    found = await world.telemetry.strata(asked)
    assert {each.key: each.events for each in found.seen} == {
        "a": (0.5, 0),
        "b": (0.5, 0),
        None: (0, 0),
    }


async def test_requests_count_as_their_stratum_weighs(world: AzureWorld) -> None:
    """By item count and rule; strata that were not known count as all others."""
    standard = Standard(("Oslo", SLY), {"errors": (2.0, 0.5, 3.0)})
    asked = question(ERRORS, Rule("slow", slower_than_ms=100), strata=CITY, standard=standard)
    answer = await world.telemetry.ask(asked)
    assert answer.sight is Sight.SEEN, answer.reason
    stable = [each.stable.exposed for each in answer.bins if each.stable]
    canary = [each.canary.exposed for each in answer.bins if each.canary]
    assert stable == [(8, 4), (2, 1), (3.5, 7), (4, 2), (6, 2)]
    assert canary == [(2, 1)]


async def test_clients_count_as_their_strata_do_on_average(world: AzureWorld) -> None:
    """Each as long as it is not bad, like a client without strata."""
    standard = Standard(("Oslo", SLY), {"errors": (2.0, 0.5, 3.0)})
    asked = question(ERRORS, client="UserId", strata=CITY, standard=standard)
    answer = await world.telemetry.ask(asked)
    assert answer.sight is Sight.SEEN, answer.reason
    exposed = [(each.stable.clients, each.stable.exposed) for each in answer.bins if each.stable]
    assert exposed == [((1,), (2,)), ((0,), (0,)), ((1,), (0.5,)), ((1,), (2,)), ((1,), (3,))]


async def test_a_client_weighs_as_its_strata_however_often_it_tries(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """In each bin and arm anew: what a failure makes people do again changes no exposure."""
    arms: dict[str, Any] = {"stable": "8.1", "canary": "8.2"}
    rows = [of("home", 1, "8.1", UserId="ada") for _ in range(3)] + [
        of("pay", 1, "8.1", UserId="ada")
    ]
    rows += [of("home", 1, "8.2", UserId="bob")]
    rows += [of("pay", 1.5, "8.2", bad=True, UserId="bob") for _ in range(5)]
    rows += [of("home", 2, "8.1", UserId="ada"), of("pay", 2, "8.2", UserId="bob")]
    rows += [of(page, 3, "8.2", UserId="eve") for page in ("pay", "x", "y", "y")]
    rows += [of("home", 4, "8.1", UserId="joe"), of("pay", 4, "8.2", UserId="joe")]
    await azure.logs.add(WORKSPACE, rows)
    standard = Standard(("home", "pay"), {"errors": (0.5, 2.0, 3.0)})
    asked = question(ERRORS, **arms, client="UserId", strata=CITY, standard=standard)
    answer = await world.telemetry.ask(asked)
    assert answer.sight is Sight.SEEN, answer.reason
    stable = [(each.stable.clients, each.stable.exposed) for each in answer.bins if each.stable]
    canary = [(each.canary.clients, each.canary.exposed) for each in answer.bins if each.canary]
    assert stable == [((1,), (1.25,)), ((1,), (0.5,)), ((1,), (0.5,))]
    assert canary == [((1,), (1.25,)), ((0,), (0,)), ((1,), pytest.approx((8 / 3,))), ((1,), (2,))]


@pytest.mark.parametrize("client", [None, "UserId"])
async def test_the_past_weighs_what_it_counts(
    world: AzureWorld, azure: LocalAzure, client: str | None
) -> None:
    """Its requests, or its clients in bins, weigh one on average, so that rates go on as rates.

    Each client is there for a minute, asks often where it hardly fails, and again where it does.
    """
    dice, rows = Random(7), []
    for user in range(400):
        who = {"UserId": f"u{user}"}
        minute, fails = user % 10, dice.random() < 0.2
        rows += [of("home", minute, "8.1", **who) for _ in range(9)]
        rows += [
            of(page, minute, "8.1", **who) for page in ("a", "b", "c\x07") if dice.random() < 0.5
        ]
        if dice.random() < 0.5:
            again = range(4 if fails else 1)
            rows += [of("pay", minute, "8.1", bad=fails, **who) for _ in again]
    await azure.logs.add(WORKSPACE, rows)
    asked: dict[str, Any] = {"stable": "8.1", "client": client, "strata": CITY}
    past = await world.telemetry.strata(question(ERRORS, **asked))
    standard = standard_of((ERRORS,), past.seen)
    assert max(standard.weights["errors"]) > 2
    answer = await world.telemetry.ask(question(ERRORS, **asked, standard=standard))
    seen = [each.stable for each in answer.bins if each.stable]
    counted = sum(arm.clients[0] if client else arm.items for arm in seen)
    assert counted == (400 if client else len(rows))
    assert sum(arm.exposed[0] for arm in seen) == pytest.approx(counted, rel=1e-5)


async def test_no_past_is_absent_and_a_failure_is_told(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """Neither is raised, and nothing else is taken for strata."""
    nobody = await world.telemetry.strata(question(stable="0.1", strata=CITY))
    empty = await world.telemetry.strata(question(workspace=EMPTY, strata=CITY))
    wrong = await world.telemetry.strata(question(strata=("NoSuchColumn",)))
    never = await world.telemetry.strata(question(strata=("a b",)))
    azure.faults.arm(Fault(QUERY, Kind.PARTIAL, times=9))
    partly = await world.telemetry.strata(question(strata=CITY))
    azure.faults.clear()
    sights = [each.sight for each in (empty, wrong, never, partly)]
    assert sights == [Sight.ABSENT, Sight.FAILED, Sight.FAILED, Sight.FAILED]
    assert nobody.seen in {(), (Stratum(None, (0, 0), ((0, 0), (0, 0))),)}
    assert "NoSuchColumn" in wrong.reason
