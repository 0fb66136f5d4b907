"""The two stores that keep one contract: in memory, and on Azure Tables as Azurite keeps them."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableServiceClient

from sandbox.azurite import Azurite
from sandbox.memory_store import MemoryStore
from shared.cloud.store import TableStore
from shared.ports import Store


@pytest.fixture(scope="package")
async def azurite() -> AsyncIterator[Azurite]:
    async with Azurite() as running:
        yield running


@pytest.fixture
async def tables(azurite: Azurite) -> AsyncIterator[TableStore]:
    made = table_store(azurite)
    yield made
    await made.close()


@pytest.fixture(params=["memory", "tables"])
def store(request: pytest.FixtureRequest, tables: TableStore) -> Store:
    return MemoryStore() if request.param == "memory" else tables


def table_store(azurite: Azurite) -> TableStore:
    client = TableServiceClient.from_connection_string(
        azurite.connection_string, retry_total=0, connection_timeout=2, read_timeout=5
    )
    return TableStore(client, f"t{uuid4().hex[:12]}", timeout_s=2)
