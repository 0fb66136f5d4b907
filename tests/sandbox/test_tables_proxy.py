"""The proxy in front of Azurite, seen through the real Tables client."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError
from azure.data.tables import TableEntity, TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from sandbox.azurite import Azurite
from sandbox.faults import Fault, Kind
from sandbox.tables_proxy import TablesProxy

BATCH = r"POST .*batch$"
STATE = {"PartitionKey": "r 7'ü", "RowKey": "state", "phase": "BAKING"}
ROW = {"PartitionKey": "r 7'ü", "RowKey": "h-2", "said": "%2F ü"}


@pytest.fixture(scope="module")
async def azurite() -> AsyncIterator[Azurite]:
    async with Azurite() as running:
        yield running


@pytest.fixture
async def tables(azurite: Azurite) -> AsyncIterator[TablesProxy]:
    async with TablesProxy(azurite) as proxy:
        yield proxy


@pytest.fixture
async def table(tables: TablesProxy) -> AsyncIterator[TableClient]:
    text = tables.connection_string
    async with TableServiceClient.from_connection_string(text, retry_total=0) as service:
        made = await service.create_table_if_not_exists("proxied")
        await made.upsert_entity(STATE)
        yield made
        await made.delete_entity(ROW)


async def save(table: TableClient, read: TableEntity, phase: str) -> None:
    same = {"etag": read.metadata["etag"], "match_condition": MatchConditions.IfNotModified}
    first: Any = ("update", STATE | {"phase": phase}, {"mode": UpdateMode.REPLACE, **same})
    await table.submit_transaction([first, ("create", ROW)])


async def test_without_a_fault_it_is_azurite(table: TableClient, tables: TablesProxy) -> None:
    """Odd keys, queries, transactions and real conflicts pass through unchanged."""
    read = await table.get_entity(STATE["PartitionKey"], "state")
    await save(table, read, "HELD")
    with pytest.raises(TableTransactionError) as stale:
        await save(table, read, "PROMOTED")

    assert stale.value.status_code == 412
    found = [each async for each in table.query_entities("phase eq 'HELD' or RowKey eq 'h-2'")]
    assert [each["RowKey"] for each in found] == ["h-2", "state"]
    assert found[0]["said"] == ROW["said"]
    assert not tables.faults.fired


@pytest.mark.parametrize(
    ("fault", "error", "status", "phase"),
    [
        (Fault(BATCH, Kind.STATUS, status=412), TableTransactionError, 412, "BAKING"),
        (Fault(BATCH, Kind.STATUS, status=503), HttpResponseError, 503, "BAKING"),
        (Fault(BATCH, Kind.APPLY_THEN_FAIL), HttpResponseError, 500, "HELD"),
        (Fault(BATCH, Kind.RESET), ServiceRequestError, None, "BAKING"),
        (Fault(BATCH, Kind.APPLY_THEN_RESET), ServiceRequestError, None, "HELD"),
    ],
)
async def test_a_fault_comes_before_or_after_the_transaction(
    table: TableClient,
    tables: TablesProxy,
    fault: Fault,
    error: type[AzureError],
    status: int | None,
    phase: str,
) -> None:
    """The SDK raises what it would; the rows say whether the transaction was made.

    A connection that is cut is a ServiceRequestError even when the service did what was asked.
    """
    read = await table.get_entity(STATE["PartitionKey"], "state")
    tables.faults.arm(fault)
    with pytest.raises(error) as raised:
        await save(table, read, "HELD")

    assert getattr(raised.value, "status_code", None) == status
    assert (await table.get_entity(STATE["PartitionKey"], "state"))["phase"] == phase


async def test_when_azurite_is_gone_the_connection_is_cut() -> None:
    """And the same client goes on once it is back on its port."""
    async with Azurite() as own, TablesProxy(own) as proxy:
        text = proxy.connection_string
        async with TableServiceClient.from_connection_string(text, retry_total=0) as service:
            await own.kill(hard=True)
            with pytest.raises(ServiceRequestError):
                await service.create_table("gone")
            await own.start()
            await service.create_table("back")
