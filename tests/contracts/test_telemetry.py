"""The telemetry port over the real logs client, against the local workspace and its faults."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from math import inf

import pytest
import pytest_asyncio

from sandbox.azure import LocalAzure, LocalOptions
from sandbox.faults import Fault, Kind
from shared.cloud.wiring import AzureWorld
from shared.core.questions import Question
from shared.core.telemetry import ArmBin, BinSeen, Rule, Sight
from tests.contracts.shop import (
    EMPTY,
    FIRST_BIN,
    T0,
    WORKSPACE,
    question,
    request,
    settings,
    wired,
)

QUERY = "POST /v1/workspaces/"
ODD = 'it\'s \\ "2.4" {x} | take 1 // é'

ROWS = [
    request(0.5, ItemCount=4),
    request(1, Success=False, ItemCount=2),
    request(59.9, "2.4.0", DurationMs=900.5),
    request(61, "2.4.0", Success=False, DurationMs=801.0, ItemCount=3),
    request(61, "2.4.0", Success=False, SyntheticSource="Availability"),
    request(62, "2.4.0 "),
    request(62, "9.9.9"),
    request(130, ODD, DurationMs=799.0),
    request(5, "7.0.0", AppRoleName="cart", ItemCount=11),
    request(5, "7.0.0", AppRoleName="shop's", ItemCount=13),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    options = LocalOptions(clock=lambda: T0 + timedelta(minutes=30), workspaces=(WORKSPACE, EMPTY))
    async with LocalAzure(options) as local:
        await local.logs.add(WORKSPACE, ROWS)
        yield local


@pytest_asyncio.fixture(loop_scope="session")
async def world(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AzureWorld]:
    azure.faults.clear()
    azure.faults.fired.clear()
    async with wired(settings(azure, monkeypatch)) as made:
        yield made


def count_queries(azure: LocalAzure) -> None:
    """Note every query as a fault that changes nothing."""
    azure.faults.arm(Fault(QUERY, Kind.APPLY_THEN_HANG, times=100))


async def test_requests_are_counted_by_arm_and_bin(world: AzureWorld) -> None:
    """Sampled rows stand for ItemCount requests; synthetic ones and other versions are left out."""
    answer = await world.telemetry.ask(question())
    assert answer.sight is Sight.SEEN
    assert answer.bins == (
        BinSeen(
            FIRST_BIN,
            stable=ArmBin(6, 2, bad=(2, 0), bad_rows=(1, 0), squares=20),
            canary=ArmBin(1, 1, bad=(0, 1), bad_rows=(0, 1), squares=1),
        ),
        BinSeen(FIRST_BIN + 1, None, canary=ArmBin(3, 1, bad=(3, 3), bad_rows=(1, 1), squares=9)),
    )
    assert answer.newest_s == T0.timestamp() + 61
    assert answer.to_bin == FIRST_BIN + 10


@pytest.mark.parametrize("column", ["Properties.version", "Properties['version']"])
async def test_versions_can_be_told_apart_by_a_property(world: AzureWorld, column: str) -> None:
    """A key of Properties counts like a column."""
    answer = await world.telemetry.ask(question(column=column))
    assert [seen.index - FIRST_BIN for seen in answer.bins] == [0, 1]


async def test_another_service_with_the_same_versions_is_left_out(world: AzureWorld) -> None:
    """A workspace is shared, and version numbers are no secret."""
    both = await world.telemetry.ask(question(canary="7.0.0"))
    one = await world.telemetry.ask(question(canary="7.0.0", role="shop's"))
    items = [seen.canary.items for seen in (*both.bins, *one.bins) if seen.canary]
    assert items == [24, 13]


async def test_quotes_and_kql_in_labels_and_keys_are_only_text(world: AzureWorld) -> None:
    """What looks like KQL in a version label or a key is compared as it is."""
    answer = await world.telemetry.ask(question(canary=ODD, column="""Properties["it's a key"]"""))
    seen = [each.canary for each in answer.bins if each.canary]
    assert seen == [ArmBin(1, 1, (0, 0), (0, 0), squares=1)]


async def test_questions_asked_together_cost_one_query(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """Three rollouts of one workspace share a query, each with its own rules and window."""
    count_queries(azure)
    everything, slow, early = await asyncio.gather(
        world.telemetry.ask(question()),
        world.telemetry.ask(question(Rule("slow", slower_than_ms=1000))),
        world.telemetry.ask(question(bins=1)),
    )
    assert len(azure.faults.fired) == 1
    assert len(everything.bins) == 2
    assert slow.bins[1].canary == ArmBin(3, 1, bad=(0,), bad_rows=(0,), squares=9)
    assert [seen.index for seen in early.bins] == [FIRST_BIN]
    assert early.to_bin == FIRST_BIN + 1


async def test_workspaces_are_asked_apart(world: AzureWorld) -> None:
    """A workspace with nothing in it (204) is absent, and says nothing of the other one."""
    seen, absent = await asyncio.gather(
        world.telemetry.ask(question()), world.telemetry.ask(question(workspace=EMPTY))
    )
    assert (seen.sight, absent.sight) == (Sight.SEEN, Sight.ABSENT)
    assert absent.to_bin == FIRST_BIN + 10


@pytest.mark.parametrize(
    "asked",
    [question(stable="0.1", canary="0.2"), question(bins=0), question(from_bin=FIRST_BIN + 20)],
    ids=["no such version", "no bin yet", "nothing in the window"],
)
async def test_no_rows_are_absence(world: AzureWorld, asked: Question) -> None:
    """Nothing there is neither good nor bad nor a failure."""
    answer = await world.telemetry.ask(asked)
    assert (answer.sight, answer.bins, answer.newest_s) == (Sight.ABSENT, (), None)


async def test_one_bad_question_never_blinds_the_others(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """A merged query that is refused is asked again one by one."""
    count_queries(azure)
    good, bad, missing = await asyncio.gather(
        world.telemetry.ask(question()),
        world.telemetry.ask(question(column="NoSuchColumn")),
        world.telemetry.ask(question(table="NoSuchTable")),
    )
    assert good.sight is Sight.SEEN
    assert (bad.sight, missing.sight) == (Sight.FAILED, Sight.FAILED)
    assert "NoSuchColumn" in bad.reason
    assert "NoSuchTable" in missing.reason
    assert len(azure.faults.fired) == 4


@pytest.mark.parametrize(
    "asked",
    [
        question(column="AppVersion == 'x' or 1"),
        question(table="AppRequests | take 1"),
        question(canary="a\x00b"),
        question(Rule("never", slower_than_ms=inf)),
    ],
    ids=["column", "table", "label", "limit"],
)
async def test_what_cannot_be_asked_fails_without_a_query(
    world: AzureWorld, azure: LocalAzure, asked: Question
) -> None:
    """A name or a value that is none never reaches the service."""
    count_queries(azure)
    answer = await world.telemetry.ask(asked)
    assert (answer.sight, len(azure.faults.fired)) == (Sight.FAILED, 0)


@pytest.mark.parametrize(
    ("fault", "said", "patience_s"),
    [
        (Fault(QUERY, Kind.PARTIAL, times=99), "only a part", 5),
        (Fault(QUERY, Kind.STATUS, times=99, status=400), "malformed (400", 5),
        (Fault(QUERY, Kind.STATUS, times=99, status=403), "lacks the role", 5),
        (Fault(QUERY, Kind.STATUS, times=99, status=429, retry_after_s=60), "throttles (429", 0.5),
        (Fault(QUERY, Kind.STATUS, times=99, status=504), "did not finish in time", 0.5),
        (Fault(QUERY, Kind.HANG, times=99, hang_s=30), "no answer in time", 0.5),
        (Fault(QUERY, Kind.RESET, times=99), "", 0.5),
        (Fault(QUERY, Kind.EMPTY, times=99, status=200), "could not be read", 5),
        (Fault("/msi/token", Kind.STATUS, times=99, status=401), "no token", 5),
    ],
    ids=["partial", "400", "403", "429", "504", "hang", "reset", "empty 200", "token"],
)
async def test_each_kind_of_failure_is_told_and_never_raised(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch, fault: Fault, said: str, patience_s: float
) -> None:
    """What could not be seen is FAILED, with a reason for people."""
    azure.faults.clear()
    azure.faults.arm(fault)
    async with wired(settings(azure, monkeypatch, call_timeout_s=patience_s)) as world:
        answer = await world.telemetry.ask(question())
    azure.faults.clear()
    assert answer.sight is Sight.FAILED
    assert said in answer.reason
    assert answer.to_bin == FIRST_BIN + 10


async def test_throttling_is_waited_out_within_the_deadline(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """A 429 that names a short wait costs that wait, not the answer."""
    azure.faults.arm(Fault(QUERY, Kind.STATUS, status=429, retry_after_s=0))
    answer = await world.telemetry.ask(question())
    assert answer.sight is Sight.SEEN


async def test_a_partial_answer_to_many_is_asked_again_alone(
    world: AzureWorld, azure: LocalAzure
) -> None:
    """A part of an answer is never used, and the whole is had from smaller questions."""
    azure.faults.arm(Fault(QUERY, Kind.PARTIAL))
    both = await asyncio.gather(*(world.telemetry.ask(question()) for _ in range(2)))
    assert [answer.sight for answer in both] == [Sight.SEEN, Sight.SEEN]


async def test_an_asker_that_gives_up_takes_nobody_along(world: AzureWorld) -> None:
    """Cancelling one of two merged questions leaves the other its answer."""
    leaving = asyncio.create_task(world.telemetry.ask(question()))
    staying = asyncio.create_task(world.telemetry.ask(question()))
    await asyncio.sleep(0)
    leaving.cancel()
    answer = await staying
    assert answer.sight is Sight.SEEN
    assert leaving.cancelled()


async def test_closing_answers_everyone_who_waits(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hangs on a telemetry that was closed."""
    azure.faults.clear()
    azure.faults.arm(Fault(QUERY, Kind.HANG, hang_s=30))
    async with wired(settings(azure, monkeypatch)) as world:
        asking = asyncio.create_task(world.telemetry.ask(question()))
        await asyncio.sleep(0.1)
    azure.faults.clear()
    assert (await asking).sight is Sight.FAILED
