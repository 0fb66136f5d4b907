"""The Log Analytics stand-in, as the real logs client and its own methods show it."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity.aio import ManagedIdentityCredential
from azure.monitor.query import LogsQueryPartialResult, LogsQueryResult
from azure.monitor.query.aio import LogsQueryClient

from sandbox.azure import LocalAzure, LocalOptions
from sandbox.faults import Fault, Kind
from sandbox.logs_values import TABLES

T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)
WORKSPACE = "6f0c0000-0000-0000-0000-000000000001"
EMPTY = "6f0c0000-0000-0000-0000-000000000002"
DOCUMENTED = Path(__file__).parents[1] / "contracts" / "data" / "tables"
HOUR = (T0, T0 + timedelta(hours=1))

QUESTION = """AppRequests
| where TimeGenerated >= datetime(2026-11-22T10:00:00Z)
    and TimeGenerated < datetime(2026-11-22T10:05:00Z)
| where isempty(SyntheticSource)
| extend arm = case(ARM == '2.3.9', 'stable', ARM == '2.4.0', 'canary', '')
| where arm != ''
| summarize items = sum(ItemCount), rows = count(), bad_0 = sumif(ItemCount, BAD),
    bad_rows_0 = countif(BAD), newest = max(TimeGenerated)
    by arm, bin_start = bin(TimeGenerated, 1s)"""


def question(arm: str = "AppVersion", bad: str = "Success == false") -> str:
    return QUESTION.replace("ARM", arm).replace("BAD", bad)


class PlainHttp(SansIOHTTPPolicy[Any, Any]):
    """Allows a token over http, which azure-core refuses otherwise."""

    def on_request(self, request: Any) -> None:
        request.context.options.setdefault("enforce_https", False)


def request_row(second: int, version: str = "2.3.9", **columns: Any) -> dict[str, Any]:
    return {
        "TimeGenerated": T0 + timedelta(seconds=second, milliseconds=250),
        "AppVersion": version,
        "Properties": {"version": version},
        "DurationMs": 100.0,
    } | columns


ROWS = [
    request_row(0, ItemCount=4),
    request_row(0, Success=False, ItemCount=2),
    request_row(0, "2.4.0", DurationMs=900.5),
    request_row(1, "2.4.0", Success=False),
    request_row(1, "2.4.0", SyntheticSource="Availability"),
    request_row(1, "9.9.9"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    options = LocalOptions(clock=lambda: T0 + timedelta(minutes=30), workspaces=(WORKSPACE, EMPTY))
    async with LocalAzure(options) as local:
        await local.logs.add(WORKSPACE, ROWS)
        yield local


@pytest_asyncio.fixture(loop_scope="session")
async def client(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LogsQueryClient]:
    for name, value in azure.environment().items():
        monkeypatch.setenv(name, value)
    azure.faults.clear()
    async with (
        ManagedIdentityCredential() as credential,
        LogsQueryClient(
            credential,
            endpoint=azure.base_url,
            audience="https://api.loganalytics.io",
            per_call_policies=[PlainHttp()],
            retry_total=0,
        ) as made,
    ):
        yield made


async def ask(client: LogsQueryClient, kql: str, **more: Any) -> list[dict[str, Any]]:
    span = more.pop("timespan", HOUR)
    result = await client.query_workspace(WORKSPACE, kql, timespan=span, **more)
    assert isinstance(result, LogsQueryResult)
    table = result.tables[0]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def first_bins(rows: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    return {
        (row["arm"], row["bin_start"].second): (
            row["items"],
            row["rows"],
            row["bad_0"],
            row["bad_rows_0"],
        )
        for row in rows
    }


@pytest.mark.parametrize(
    "arm",
    [
        "AppVersion",
        "tostring(Properties.version)",
        "tostring(Properties['version'])",
        "Properties['version']",
    ],
)
async def test_a_question_is_answered_in_counts_per_arm_and_bin(
    client: LogsQueryClient, arm: str
) -> None:
    """The product's kind of query gives the counts a reader would make by hand."""
    rows = await ask(client, question(arm))
    assert first_bins(rows) == {
        ("stable", 0): (6, 2, 2, 1),
        ("canary", 0): (1, 1, 0, 0),
        ("canary", 1): (1, 1, 1, 1),
    }
    assert rows[0]["newest"].tzinfo is not None


@pytest.mark.parametrize(
    "joined",
    [
        "union ({0} | extend question = 0), ({1} | extend question = 1)",
        "{0} | extend question = 0 | union ({1} | extend question = 1)",
        "let q0 = {0} | extend question = 0;\nlet q1 = {1} | extend question = 1;\nunion q0, q1",
    ],
)
async def test_two_questions_are_asked_at_once(client: LogsQueryClient, joined: str) -> None:
    """Legs combined by union keep their own rule, told apart by a number."""
    rows = await ask(client, joined.format(question(), question(bad="DurationMs > 800")))
    errors, slow = ([row for row in rows if row["question"] == number] for number in (0, 1))
    assert sum(row["bad_0"] for row in errors) == 3
    assert first_bins(slow)["canary", 0] == (1, 1, 1, 1)


async def test_text_in_a_query_is_escaped_as_in_kusto(
    azure: LocalAzure, client: LogsQueryClient
) -> None:
    """Quotes and backslashes in a literal match the same characters in the data."""
    odd = 'it\'s "a\\b" | take 0'
    await azure.logs.add(WORKSPACE, [request_row(3000, odd)])
    for quoted in ('"it\'s \\"a\\\\b\\" | take 0"', "'it\\'s \"a\\\\b\" | take 0'"):
        assert await ask(client, f"AppRequests | where AppVersion == {quoted} | count") == [
            {"Count": 1}
        ]


async def test_every_column_is_there_with_its_type(
    azure: LocalAzure, client: LogsQueryClient
) -> None:
    """All documented columns come back, in Kusto's types, and no string is null."""
    result = await client.query_workspace(WORKSPACE, "AppRequests | take 1", timespan=HOUR)
    assert isinstance(result, LogsQueryResult)
    table = result.tables[0]
    assert dict(zip(table.columns, table.columns_types, strict=True)) == TABLES["AppRequests"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["TimeGenerated"] == T0 + timedelta(milliseconds=250)
    assert json.loads(row["Properties"]) == {"version": "2.3.9"}
    assert (row["UserId"], row["Type"], row["TenantId"]) == ("", "AppRequests", WORKSPACE)


@pytest.mark.parametrize("name", TABLES)
async def test_every_table_has_the_columns_that_azure_documents(name: str) -> None:
    """The tables here are those that the contracts hold our queries against."""
    documented = json.loads((DOCUMENTED / f"{name}.json").read_text(encoding="utf-8"))
    assert TABLES[name] == {each["name"]: each["type"] for each in documented["columns"]}


async def test_gauges_have_tables_of_their_own(azure: LocalAzure, client: LogsQueryClient) -> None:
    """Rows go where they are sent, over HTTP too, and every table is part of the workspace."""
    row = {"TimeGenerated": T0.isoformat(), "AppVersion": "gauge", "Name": "queue"}
    await azure.logs.add(WORKSPACE, [row | {"Value": 2.5}], table="AppPerformanceCounters")
    body = {"workspace": WORKSPACE, "rows": [row | {"Sum": 4.0}], "table": "AppMetrics"}
    async with aiohttp.ClientSession(azure.base_url) as session:
        assert (await session.post("/sandbox/rows", json=body)).status == 200
        body["table"] = "AppTraces"
        assert (await session.post("/sandbox/rows", json=body)).status == 400
    counters = "AppPerformanceCounters | where AppVersion == 'gauge' | project Value, Type"
    metrics = "AppMetrics | where AppVersion == 'gauge' | project Sum, ItemCount"
    assert await ask(client, counters) == [{"Value": 2.5, "Type": "AppPerformanceCounters"}]
    assert await ask(client, metrics) == [{"Sum": 4.0, "ItemCount": 1}]
    assert await ask(client, "AppRequests | where AppVersion == 'gauge' | count") == [{"Count": 0}]


async def test_rows_tell_when_they_came_to_whoever_asks(
    azure: LocalAzure, client: LogsQueryClient
) -> None:
    """`ingestion_time()` is each row's own moment; the same words in a text are only words."""
    label = "x ingestion_time() \\' y"
    rows = [request_row(n, label) for n in (100, 110)]
    await azure.logs.add(WORKSPACE, rows[:1], delay_s=-60)
    await azure.logs.add(WORKSPACE, rows[1:], delay_s=-50)
    lag = "extend lag = (ingestion_time() - TimeGenerated) / 1s | order by lag asc | project lag"
    literal = label.replace("\\", "\\\\").replace("'", "\\'")
    found = await ask(client, f"AppRequests | where AppVersion == '{literal}' | {lag}")
    assert [row["lag"] for row in found] == [1639.75, 1639.75]
    whole = await ask(client, f"AppRequests | where AppVersion == '{literal}' | take 1")
    assert whole[0].keys() == TABLES["AppRequests"].keys()


async def test_the_timespan_and_now_are_those_of_the_clock(client: LogsQueryClient) -> None:
    """A pair, a duration and `ago()` all cut by TimeGenerated as seen from the clock."""
    count = "AppRequests | where AppVersion == '2.4.0' | count"
    second = (T0 + timedelta(seconds=1), T0 + timedelta(seconds=2))
    assert await ask(client, count, timespan=second) == [{"Count": 2}]
    assert await ask(client, count, timespan=timedelta(minutes=29)) == [{"Count": 0}]
    assert await ask(client, count, timespan=timedelta(minutes=31)) == [{"Count": 3}]
    assert await ask(client, count.replace("'2", "'2"), timespan=None) == [{"Count": 3}]
    late = "AppRequests | where AppVersion == '2.4.0' and TimeGenerated > ago(29m) | count"
    assert await ask(client, late, timespan=None) == [{"Count": 0}]


@pytest.mark.parametrize(
    ("kql", "code", "line"),
    [
        ("AppRequests\n| wher x", "SyntaxError", 2),
        ("AppRequests | where Nope == 1", "SemanticError", 0),
        ("AppRequest | count", "SemanticError", 0),
        ("AppRequests | extend t = _ingested", "SemanticError", 0),
        (".drop table AppRequests", "SemanticError", 0),
        ("requests | count", "SemanticError", 0),
    ],
)
async def test_a_bad_query_is_a_bad_argument(
    client: LogsQueryClient, kql: str, code: str, line: int
) -> None:
    """KQL that does not run is a 400 with the documented nesting of errors."""
    with pytest.raises(HttpResponseError) as refused:
        await ask(client, kql)
    assert refused.value.status_code == 400
    error: Any = refused.value.error
    assert error.code == "BadArgumentError"
    assert error.innererror["code"] == code
    assert error.innererror["line"] == line


async def test_a_partial_result_raises_nothing(azure: LocalAzure, client: LogsQueryClient) -> None:
    """The partial fault gives the rows and an error beside them."""
    azure.faults.arm(Fault("POST /v1/workspaces", Kind.PARTIAL))
    result = await client.query_workspace(WORKSPACE, "AppRequests | count", timespan=HOUR)
    assert isinstance(result, LogsQueryPartialResult)
    assert result.partial_error is not None
    assert result.partial_data[0].rows[0][0] > 0


async def test_a_workspace_without_data_answers_nothing_at_all(
    azure: LocalAzure, client: LogsQueryClient
) -> None:
    """204 and the empty 200 both reach the SDK, which fails to parse them."""
    with pytest.raises(json.JSONDecodeError):
        await client.query_workspace(EMPTY, "AppRequests | count", timespan=HOUR)
    azure.faults.arm(Fault("POST /v1/workspaces", Kind.EMPTY, status=200))
    with pytest.raises(json.JSONDecodeError):
        await ask(client, "AppRequests | count")


async def test_unknown_workspaces_and_other_tokens_are_refused(
    azure: LocalAzure, client: LogsQueryClient
) -> None:
    """404 for a workspace nobody made; 401 for a token made for Azure Resource Manager."""
    with pytest.raises(HttpResponseError) as missing:
        await client.query_workspace("nope", "AppRequests | count", timespan=HOUR)
    assert missing.value.status_code == 404
    token, _ = azure.identity.issue("https://management.azure.com")
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.post(f"{azure.base_url}/v1/workspaces/{WORKSPACE}/query", json={}) as response,
    ):
        assert response.status == 401


async def test_rows_come_in_over_http_too(azure: LocalAzure, client: LogsQueryClient) -> None:
    """Another process can add rows; wrong ones are refused in words."""
    row = {"TimeGenerated": "2026-11-22T10:20:00Z", "Name": "from afar"}
    async with aiohttp.ClientSession(azure.base_url) as session:
        body = {"workspace": WORKSPACE, "rows": [row], "delay_s": 0}
        assert (await session.post("/sandbox/rows", json=body)).status == 200
        body["rows"] = [row | {"Nmae": "typo"}]
        assert (await session.post("/sandbox/rows", json=body)).status == 400
    assert await ask(client, "AppRequests | where Name == 'from afar' | count") == [{"Count": 1}]
