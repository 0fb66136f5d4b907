"""What Application Insights gets of a comparison: our log record, Microsoft's way, to the wire.

The handler and the exporter are those that the Functions worker installs when
PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY is true; the ingestion endpoint is ours, on this
machine. It does not prove what Azure's ingestion does with the envelopes. The queries in docs/kql
then run over rows made of them, in the stand-in's DuckDB.
"""

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import duckdb_kql
import pytest
from aiohttp import web
from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

from controllers.samples import receive_samples
from shared.core.bodies import Reply
from shared.core.model import Phase
from shared.core.shadow import Replayed, Request
from tests.given import PROFILE
from tests.town import Town

KQL: Final = Path(__file__).parents[2] / "docs" / "kql"
AT: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SHADOW: Final = {"percent": 0, "shadow": {"log": "100%"}}
# What the exporter would tell or ask of Microsoft besides, from the machine of who runs the tests.
UNASKED: Final = ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED")
FIELDS: Final = {
    *("rollout", "sample", "outcome", "method", "path", "places", "differences", "reason"),
    *("user_status", "user_ms", "canary_status", "canary_ms"),
}


@dataclass
class Ingestion:
    """What an ingestion endpoint was sent."""

    envelopes: list[dict[str, Any]] = field(default_factory=list)

    async def track(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        text = body.decode()
        sent = json.loads(text) if text[0] == "[" else [json.loads(x) for x in text.splitlines()]
        self.envelopes += sent
        told = {"itemsReceived": len(sent), "itemsAccepted": len(sent), "errors": []}
        return web.json_response(told)


@asynccontextmanager
async def ingestion() -> AsyncIterator[tuple[Ingestion, str]]:
    """An endpoint, and its connection string."""
    made = Ingestion()
    site = web.Application(client_max_size=10_000_000)
    site.router.add_post("/{path:.*}", made.track)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield (
            made,
            f"InstrumentationKey={'0' * 8}-0000-0000-0000-{'0' * 12};IngestionEndpoint={url}",
        )
    finally:
        await runner.cleanup()


class Kept(logging.Handler):
    """The records of the comparisons, as they were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def kept_records() -> Iterator[list[logging.LogRecord]]:
    """What the controllers log, as a host would have it: from INFO on."""
    logger, handler = logging.getLogger("controllers"), Kept()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def sample(id_: str, **answer: Any) -> bytes:
    body = {"text": json.dumps({"id": 7, "total": 10, **answer})}
    headers = {"content-type": "application/json"}
    document = {
        "schema": "linnet.sample/1",
        "id": id_,
        "profile": PROFILE,
        "at": AT.isoformat(),
        "request": {"method": "GET", "path": "/orders/4711?q=ada@example.org"},
        "response": {"status": 200, "headers": headers, "elapsed_ms": 12.5, "body": body},
    }
    return json.dumps(document).encode()


def moody(endpoint: str, request: Request) -> Replayed:
    """Green counts wrong, and sometimes says nothing."""
    del endpoint
    if "silent" in request.headers.get("mood", ""):
        return Replayed(None, "no whole answer within 10 s")
    body = json.dumps({"id": 7, "total": 11}).encode()
    return Replayed(Reply(200, {"content-type": "application/json"}, body, 31.25))


async def compared() -> list[logging.LogRecord]:
    """The records of a match, a mismatch and a replay without an answer."""
    town = Town()
    town.world.replays.answers = moody
    await town.start(steps=[SHADOW, 1, 100])
    await town.until(lambda rollout: rollout.phase is Phase.BAKING)
    silent = json.loads(sample("s-3"))
    silent["request"]["headers"] = {"Mood": "silent"}
    posted = [sample("s-1", total=11), sample("s-2"), json.dumps(silent).encode()]
    with kept_records() as records:
        await receive_samples(town.world, [town.message(body) for body in posted])
    return [each for each in records if hasattr(each, "linnet_sample")]


def export(connection: str, records: list[logging.LogRecord]) -> None:
    """The records through Microsoft's handler and exporter."""
    exporter = AzureMonitorLogExporter(connection_string=connection, disable_offline_storage=True)
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    handler = LoggingHandler(logger_provider=provider)
    for record in records:
        handler.handle(record)
    provider.shutdown()
    exporter.client.close()


@pytest.fixture(scope="module")
async def messages() -> list[dict[str, Any]]:
    """What arrives at the ingestion endpoint, message by message."""
    with pytest.MonkeyPatch.context() as patched:
        for name in UNASKED:
            patched.setenv(f"APPLICATIONINSIGHTS_{name}", "true")
        async with ingestion() as (made, connection):
            await asyncio.to_thread(export, connection, await compared())
    assert {each["data"]["baseType"] for each in made.envelopes} == {"MessageData"}
    return [each["data"]["baseData"] for each in made.envelopes]


def properties(messages: list[dict[str, Any]], id_: str) -> dict[str, str]:
    (found,) = [each["properties"] for each in messages if id_ in each["properties"].values()]
    return dict(found)


async def test_every_field_of_a_comparison_is_a_property(messages: list[dict[str, Any]]) -> None:
    """Numbers are texts there, as all custom dimensions are."""
    found = properties(messages, "s-2")

    assert {f"linnet_{name}" for name in FIELDS} <= found.keys()
    assert found["linnet_outcome"] == "mismatch"
    assert found["linnet_places"] == "$.total"
    assert found["linnet_canary_ms"] == "31.2"
    assert found["linnet_user_status"] == "200"
    assert all(isinstance(value, str) for value in found.values())


async def test_the_document_names_every_field(messages: list[dict[str, Any]]) -> None:
    """And no other one; `logger_name` is OpenTelemetry's."""
    named = set(
        re.findall(r"`(linnet_\w+)`", (KQL.parent / "shadow.md").read_text(encoding="utf-8"))
    )

    assert named | {"logger_name"} == set(properties(messages, "s-2"))


async def test_the_differences_arrive_whole_and_redacted(messages: list[dict[str, Any]]) -> None:
    """They are JSON still, and neither a value nor an address of a user left the process."""
    found = properties(messages, "s-2")
    (difference,) = json.loads(found["linnet_differences"])

    assert (difference["path"], difference["kind"]) == ("$.total", "value")
    assert difference["user"].startswith("number sha256:")
    assert found["linnet_path"] == "/orders/{number}?q="
    assert "ada" not in json.dumps(messages)


async def test_the_message_is_a_sentence_of_its_own(messages: list[dict[str, Any]]) -> None:
    assert "shadow mismatch: GET /orders/{number}?q=" in [each["message"] for each in messages]
    assert {each["severityLevel"] for each in messages} == {1}


async def test_what_is_no_answer_gives_its_reason(messages: list[dict[str, Any]]) -> None:
    found = properties(messages, "s-3")

    assert found["linnet_outcome"] == "unreachable"
    assert found["linnet_reason"] == "no whole answer within 10 s"
    assert found["linnet_canary_status"] == "0"


EXPECTED: Final[dict[str, list[dict[str, object]]]] = {
    "places": [{"place": "$.total", "mismatches": 1, "noise": 0}],
    "endpoints": [{"path": "/orders/{number}?q=", "mismatches": 1, "unreachable": 1}],
    "over_time": [{"outcome": each} for each in ("match", "mismatch", "unreachable")],
    "slowest": [{"samples": 2, "user_median_ms": 12.5, "canary_median_ms": 31.2}],
    "unreachable": [{"reason": "no whole answer within 10 s", "samples": 1}],
    "sample": [{"place": "$.total", "how": "value", "user_status": 200, "outcome": "mismatch"}],
}


def test_every_query_is_tried() -> None:
    assert {path.stem for path in KQL.glob("*.kql")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_query_answers_its_question(messages: list[dict[str, Any]], name: str) -> None:
    """Over a table of just these columns: the parser's schema of all is in test_kusto."""
    query = (KQL / f"{name}.kql").read_text(encoding="utf-8")
    query = query.replace("shop-1.1", "shop-2.4").replace("6a4c2f0e", "s-2")
    with duckdb.connect() as base:
        base.execute("CREATE TABLE AppTraces (TimeGenerated TIMESTAMP, Properties JSON)")
        for each in messages:
            row = [AT.replace(tzinfo=None), json.dumps(each["properties"])]
            base.execute("INSERT INTO AppTraces VALUES (?, ?)", row)
        cursor = duckdb_kql.execute(base, query, allow_write=False, query_now=AT)
        names = [column[0] for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    assert [row | wanted for row, wanted in zip(rows, EXPECTED[name], strict=True)] == rows


def test_the_worker_turns_it_on_by_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it sends no logs to the host any more, which would keep none of the fields."""
    from azure.monitor import opentelemetry  # noqa: PLC0415  # slow, and for this test alone
    from azure_functions_runtime import otel  # noqa: PLC0415  # as above

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(opentelemetry, "configure_azure_monitor", lambda **said: asked.append(said))
    monkeypatch.setattr(otel, "otel_manager", otel.OTelManager())
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=x")
    otel.initialize_azure_monitor()

    assert asked == [{"connection_string": "InstrumentationKey=x", "logger_name": ""}]
    assert otel.otel_manager.get_azure_monitor_available()
