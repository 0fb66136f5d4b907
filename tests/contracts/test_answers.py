"""Rows that nobody should trust, and the limiter that keeps the service's limits."""

import asyncio

import pytest
from azure.monitor.query import LogsQueryResult, LogsTable

from shared.cloud.pace import Pace
from shared.cloud.telemetry import LogAnalytics
from shared.core.telemetry import Answer, Rule, Sight
from tests.contracts.shop import FIRST_BIN, T0, question


class OddRows:
    """A logs client that answers with rows nobody should trust."""

    def __init__(self, **changed: object) -> None:
        self.changed = changed

    async def query_workspace(self, *_: object, **__: object) -> object:
        good: dict[str, object] = {
            "question": 0,
            "arm": "stable",
            "bin_start": FIRST_BIN * 60,
            "items": 2.0,
            "row_count": 1,
            "newest": T0.isoformat(),
            "bad_0": 0.0,
            "bad_rows_0": 0,
        }
        row = {k: v for k, v in (good | self.changed).items() if v != "gone"}
        types = ["datetime" if name == "newest" else "real" for name in row]
        table = LogsTable(
            name="PrimaryResult",
            columns=list(row),
            columns_types=types,
            rows=[list(row.values())],
        )
        return LogsQueryResult(tables=[table])


async def ask_odd(**changed: object) -> Answer:
    telemetry = LogAnalytics(OddRows(**changed), timeout_s=1, gather_s=0)  # type: ignore[arg-type]  # a fake
    return await telemetry.ask(question(Rule("errors")))


async def test_the_good_row_is_good() -> None:
    """The row that the next test spoils is taken as it is."""
    assert (await ask_odd()).sight is Sight.SEEN


@pytest.mark.parametrize(
    "changed",
    [
        {"items": "NaN"},
        {"items": float("nan")},
        {"items": None},
        {"items": -1.0},
        {"row_count": 1.5},
        {"arm": "Stable"},
        {"bin_start": (FIRST_BIN - 1) * 60},
        {"bad_0": 3.0},
        {"bad_rows_0": 2},
        {"bad_0": "gone"},
        {"newest": None},
        {"newest": "yesterday"},
        {"question": 1},
        {"question": True},
    ],
    ids=str,
)
async def test_a_malformed_row_is_never_guessed_at(changed: dict[str, object]) -> None:
    """One odd number makes the whole answer a failure: it could promote a canary."""
    answer = await ask_odd(**changed)
    assert (answer.sight, answer.bins) == (Sight.FAILED, ())


async def test_the_rate_is_kept_by_our_own_limiter() -> None:
    """The third of two allowed starts waits until the window has moved on."""
    now, slept = [100.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(5, 2, 30.0, now_s=lambda: now[0], sleep=sleep)
    for _ in range(3):
        async with pace.place():
            now[0] += 1
    assert slept == [28.0]


async def test_no_more_than_so_many_run_at_once() -> None:
    """A sixth query waits for one of five to end."""
    pace, running, most = Pace(5, 200, 30.0), 0, 0

    async def query() -> None:
        nonlocal running, most
        async with pace.place():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(query() for _ in range(20)))
    assert most == 5
