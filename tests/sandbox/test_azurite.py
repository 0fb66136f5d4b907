"""Azurite's launcher, seen through the real Tables client."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.data.tables.aio import TableServiceClient

from sandbox.azurite import Azurite

_ROW = {"PartitionKey": "rollout-7", "RowKey": "state", "phase": "BAKING"}
_OWNER = """
import asyncio, sys
from sandbox.azurite import Azurite
async def main():
    async with Azurite() as azurite:
        print(azurite._process.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def azurite() -> AsyncIterator[Azurite]:
    async with Azurite() as running:
        yield running


def _client(azurite: Azurite) -> TableServiceClient:
    return TableServiceClient.from_connection_string(azurite.connection_string, retry_total=0)


async def test_the_second_writer_of_the_same_etag_is_refused(azurite: Azurite) -> None:
    """Compare-and-swap works as our store needs it."""
    async with _client(azurite) as service:
        table = await service.create_table("cas")
        await table.create_entity(_ROW)
        with pytest.raises(ResourceExistsError):
            await table.create_entity(_ROW)
        read = await table.get_entity("rollout-7", "state")
        etag, same = read.metadata["etag"], MatchConditions.IfNotModified
        await table.update_entity({**_ROW, "phase": "HELD"}, etag=etag, match_condition=same)
        promoted = {**_ROW, "phase": "PROMOTED"}
        with pytest.raises(HttpResponseError) as refused:
            await table.update_entity(promoted, etag=etag, match_condition=same)
        assert refused.value.status_code == 412
        assert (await table.get_entity("rollout-7", "state"))["phase"] == "HELD"


async def test_data_in_a_folder_outlives_a_kill(tmp_path: Path) -> None:
    """While it is gone the client fails; after the restart the same port has the same rows."""
    async with Azurite(location=tmp_path) as azurite, _client(azurite) as service:
        table = await service.create_table("kept")
        await table.create_entity(_ROW)
        await azurite.kill()
        with pytest.raises(AzureError):
            await table.get_entity("rollout-7", "state")
        await azurite.restart()
        assert (await table.get_entity("rollout-7", "state"))["phase"] == "BAKING"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
async def test_no_child_stays_behind(end: signal.Signals) -> None:
    """Ctrl-C or even a kill of the owner takes the emulator along."""
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout, owner:
        child = int(owner.stdout.readline())
        owner.send_signal(end)
        if end is signal.SIGINT:
            owner.communicate()
    async with asyncio.timeout(10):
        while _alive(child):
            await asyncio.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and ") Z " in stat.read_text())
