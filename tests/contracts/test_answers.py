"""Rows that nobody should trust, and the limiter that keeps the service's limits."""

import asyncio
from typing import Any

import pytest
from azure.monitor.query import LogsQueryResult, LogsTable

from shared.cloud.pace import Pace
from shared.cloud.telemetry import LogAnalytics
from shared.core.telemetry import Answer, ArmBin, Rule, Sight
from tests.contracts.shop import FIRST_BIN, T0, question

ASKED = question(Rule("errors"), Rule("p95", slower_than_quantile=0.95), client="UserId", role="r")
ROWS: dict[str, dict[str, object]] = {
    "bins": {
        "question": 0,
        "part": "bins",
        "arm": "stable",
        "bin_start": FIRST_BIN * 60,
        "items": 20.0,
        "row_count": 4,
        "squares": 400.0,
        "bad_0": 10.0,
        "bad_rows_0": 2,
        "bad_1": 0.0,
        "bad_rows_1": 0,
    },
    "arms": {
        "question": 0,
        "part": "arms",
        "arm": "stable",
        "row_count": 4,
        "newest": T0.isoformat(),
        "lag_s": 3.5,
        "bad_lag_s": None,
        "keyless": 1,
        "quantile_1": 250.0,
    },
    "clients": {
        "question": 0,
        "part": "clients",
        "arm": "stable",
        "bin_start": FIRST_BIN * 60,
        "clients_0": 3,
        "bad_clients_0": 1,
        "clients_1": 3,
        "bad_clients_1": 0,
    },
}
COLUMNS = list(dict.fromkeys(name for row in ROWS.values() for name in row))


class OddRows:
    """A logs client that answers with rows nobody should trust."""

    def __init__(self, rows: list[dict[str, object]], columns: list[str]) -> None:
        self.rows = rows
        self.columns = columns

    async def query_workspace(self, *_: object, **__: object) -> object:
        types = ["datetime" if name == "newest" else "real" for name in self.columns]
        table = LogsTable(
            name="PrimaryResult",
            columns=self.columns,
            columns_types=types,
            rows=[[row.get(name) for name in self.columns] for row in self.rows],
        )
        return LogsQueryResult(tables=[table])


async def ask_odd(leg: str = "bins", **changed: object) -> Answer:
    """The good rows, with one of them changed; what is "gone" no row has."""
    rows = [row | (changed if name == leg else {}) for name, row in ROWS.items()]
    gone = {name for name, value in changed.items() if value == "gone"}
    return await ask(rows, [name for name in COLUMNS if name not in gone])


async def ask(rows: list[dict[str, object]], columns: list[str] = COLUMNS) -> Answer:
    client: Any = OddRows(rows, columns)
    return await LogAnalytics(client, timeout_s=1, gather_s=0).ask(ASKED)


async def test_the_good_rows_are_good() -> None:
    """The rows that the next tests spoil are taken as they are."""
    answer = await ask_odd()
    assert answer.sight is Sight.SEEN
    assert answer.bins[0].stable == ArmBin(20, 4, (10, 0), (2, 0), (3, 3), (1, 0), squares=400)
    assert answer.newest_of == (T0.timestamp(), None)
    assert (answer.lag_s, answer.keyless) == (3.5, 0.25)
    assert answer.quantiles_ms == {"p95": 250}


@pytest.mark.parametrize(
    ("leg", "changed"),
    [
        ("bins", {"items": "NaN"}),
        ("bins", {"items": float("nan")}),
        ("bins", {"items": None}),
        ("bins", {"items": -1.0}),
        ("bins", {"row_count": 1.5}),
        ("bins", {"squares": None}),
        ("bins", {"squares": 99.9}),
        ("bins", {"squares": 1e33}),
        ("bins", {"arm": "Stable"}),
        ("bins", {"arm": "unlabelled"}),
        ("bins", {"arm": "canary"}),
        ("bins", {"bin_start": (FIRST_BIN - 1) * 60}),
        ("bins", {"bin_start": None}),
        ("bins", {"bad_0": 30.0}),
        ("bins", {"bad_rows_0": 5}),
        ("bins", {"bad_0": "gone"}),
        ("bins", {"question": 1}),
        ("bins", {"question": True}),
        ("bins", {"part": "other"}),
        ("bins", {"part": None}),
        ("bins", {"part": "gone"}),
        ("arms", {"newest": None}),
        ("arms", {"newest": "yesterday"}),
        ("arms", {"row_count": 0}),
        ("arms", {"row_count": None}),
        ("arms", {"lag_s": "soon"}),
        ("arms", {"lag_s": float("inf")}),
        ("arms", {"lag_s": "gone"}),
        ("arms", {"keyless": 5}),
        ("arms", {"keyless": None}),
        ("arms", {"quantile_1": "gone"}),
        ("arms", {"quantile_1": True}),
        ("arms", {"arm": "canary"}),
        ("arms", {"arm": "sapling"}),
        ("clients", {"clients_0": 5}),
        ("clients", {"clients_0": 2.5}),
        ("clients", {"clients_0": None}),
        ("clients", {"bad_clients_0": 3}),
        ("clients", {"bad_clients_1": 1}),
        ("clients", {"bad_clients_0": -1}),
        ("clients", {"bad_clients_1": "gone"}),
        ("clients", {"arm": "canary"}),
        ("clients", {"bin_start": (FIRST_BIN + 1) * 60}),
    ],
    ids=str,
)
async def test_a_malformed_row_is_never_guessed_at(leg: str, changed: dict[str, object]) -> None:
    """One odd number makes the whole answer a failure: it could promote a canary."""
    answer = await ask_odd(leg, **changed)
    assert (answer.sight, answer.bins) == (Sight.FAILED, ())


@pytest.mark.parametrize("leg", ROWS)
async def test_a_row_that_comes_twice_is_never_added_up(leg: str) -> None:
    """Neither of two rows about the same thing can be believed."""
    answer = await ask([*ROWS.values(), ROWS[leg]])
    assert (answer.sight, answer.bins) == (Sight.FAILED, ())


@pytest.mark.parametrize("nothing", [None, "NaN", float("nan")], ids=str)
async def test_a_source_that_tells_no_lag_and_no_quantile_is_understood(nothing: object) -> None:
    """Kusto's ways to say nothing are nothing, and never zero."""
    answer = await ask_odd("arms", lag_s=nothing, quantile_1=nothing)
    assert (answer.sight, answer.lag_s, answer.quantiles_ms) == (Sight.SEEN, None, {})


async def test_rows_from_the_future_have_no_negative_lag() -> None:
    """Clocks differ; what is there at once came at once."""
    assert (await ask_odd("arms", lag_s=-2.0)).lag_s == 0


async def test_users_nobody_knows_make_no_clients() -> None:
    """Where no row of an arm carries a client, none was there, and the counts say so."""
    answer = await ask([ROWS["bins"], ROWS["arms"] | {"keyless": 4}])
    seen = answer.bins[0].stable
    assert seen is not None
    assert (seen.clients, seen.bad_clients, answer.keyless) == ((0, 0), (0, 0), 1)


async def test_rows_without_a_version_alone_are_absence() -> None:
    """They are told as a share, and no version was seen."""
    answer = await ask([ROWS["arms"] | {"arm": "unlabelled"}])
    assert (answer.sight, answer.unlabelled, answer.newest_s) == (Sight.ABSENT, 1, None)


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
