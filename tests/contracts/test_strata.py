"""Strata over the real logs client and running KQL, against counts made by hand."""

from typing import Any

import pytest_asyncio

from sandbox.azure import LocalAzure
from sandbox.faults import Fault, Kind
from shared.cloud.wiring import AzureWorld
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


async def test_clients_count_as_their_requests_strata_do_on_average(world: AzureWorld) -> None:
    """Each as long as it is not bad, like a client without strata."""
    standard = Standard(("Oslo", SLY), {"errors": (2.0, 0.5, 3.0)})
    asked = question(ERRORS, client="UserId", strata=CITY, standard=standard)
    answer = await world.telemetry.ask(asked)
    assert answer.sight is Sight.SEEN, answer.reason
    exposed = [(each.stable.clients, each.stable.exposed) for each in answer.bins if each.stable]
    assert exposed == [((1,), (2,)), ((0,), (0,)), ((1,), (0.5,)), ((1,), (2,)), ((1,), (3,))]


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
