"""The two stores that keep one contract, and a local Azure of its own for a test that wants one."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from azure.data.tables.aio import TableServiceClient

from sandbox.azure import LocalAzure, LocalOptions
from sandbox.azurite import Azurite
from sandbox.memory_store import MemoryStore
from shared.cloud.store import TableStore
from shared.cloud.wiring import AzureWorld
from shared.ports import Store
from tests.contracts.shop import EMPTY, T0, WORKSPACE, settings, wired


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


@pytest_asyncio.fixture(loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    """A workspace without rows, half an hour after ten o'clock."""
    options = LocalOptions(clock=lambda: T0 + timedelta(minutes=30), workspaces=(WORKSPACE, EMPTY))
    async with LocalAzure(options) as local:
        yield local


@pytest_asyncio.fixture(loop_scope="session")
async def world(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AzureWorld]:
    async with wired(settings(azure, monkeypatch)) as made:
        yield made


def table_store(azurite: Azurite) -> TableStore:
    client = TableServiceClient.from_connection_string(
        azurite.connection_string, retry_total=0, connection_timeout=2, read_timeout=5
    )
    return TableStore(client, f"t{uuid4().hex[:12]}", timeout_s=2)
