"""The calls that no design avoids, made by the bare SDKs in a process of their own.

A bench asks for them through `BareProcess`; the child is `python -m bench.bare`. Rules: the same
stand-ins, sockets and kind of process as the measured path has; clients are opened once; a call
is nothing but the call, and a line on standard input asks for one of each.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Self

from azure.data.tables.aio import TableClient, TableServiceClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from sandbox.local import ROOT, profile_id
from shared.cloud import wiring
from shared.core.model import Arm, EndpointSeen
from shared.core.weights import Write
from shared.ports import Traffic
from shared.settings import Settings

NAME: Final = "bare"
"""The profile, the queue and the table that the bare calls have for themselves."""

FAR_S: Final = 30.0
CANARY: Final = EndpointSeen(
    "canary", "externalEndpoints", "127.0.0.1", weight=1, enabled=False, health="Disabled"
)
# As large as Linnet's own: record, history row, seen message; and an alert.
ROWS: Final = (("record", 2800), ("h", 700), ("m", 10))
ALERT_BYTES: Final = 1100
# The receiver waits for its message, as a host does; its credit needs a moment to arrive.
_CREDIT_S: Final = 0.1


class BareProcess:
    """The child that makes the bare calls, one of each for every question."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.bare"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **self._environment},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    async def ask(self) -> dict[str, float]:
        """When the write began, seconds since the epoch, and what the other calls took."""
        if self._process is None or not self._process.stdin or not self._process.stdout:
            raise RuntimeError("the bare process is not entered")
        self._process.stdin.write(b"\n")
        async with asyncio.timeout(FAR_S):
            answer: dict[str, float] = json.loads(await self._process.stdout.readline())
        return answer


@dataclass(frozen=True, slots=True)
class BareCalls:
    """The SDKs' clients, open."""

    traffic: Traffic
    sender: ServiceBusSender
    receiver: ServiceBusReceiver
    table: TableClient

    async def make(self) -> dict[str, float]:
        """One of each, in turn."""
        message_s = await self._message_s()
        transaction_s = await self._transaction_s()
        began_s = time.time()
        await self.traffic.write(profile_id(NAME), CANARY, Write("canary", Arm(1, enabled=False)))
        return {"began_s": began_s, "message_s": message_s, "transaction_s": transaction_s}

    async def _message_s(self) -> float:
        """From the send to its arrival at a receiver that waits for it, as a host does."""
        receiving = asyncio.create_task(self.receiver.receive_messages(1, max_wait_time=FAR_S))
        await asyncio.sleep(_CREDIT_S)
        began_s = time.perf_counter()
        await self.sender.send_messages(ServiceBusMessage(b"." * ALERT_BYTES))
        [message] = await receiving
        took_s = time.perf_counter() - began_s
        await self.receiver.complete_message(message)
        return took_s

    async def _transaction_s(self) -> float:
        rows = [
            ("upsert", {"PartitionKey": NAME, "RowKey": key, "Text": "." * length})
            for key, length in ROWS
        ]
        began_s = time.perf_counter()
        await self.table.submit_transaction(rows)
        return time.perf_counter() - began_s


async def answer() -> None:
    """The child: for each line that comes in, one of each call; ends when its input closes."""
    settings = Settings()
    async with AsyncExitStack() as stack:
        world = wiring.world(settings)
        stack.push_async_callback(world.close)
        tables = TableServiceClient.from_connection_string(settings.tables_connection)
        await stack.enter_async_context(tables)
        bus = ServiceBusClient.from_connection_string(settings.service_bus)
        await stack.enter_async_context(bus)
        calls = BareCalls(
            traffic=world.traffic,
            sender=await stack.enter_async_context(bus.get_queue_sender(NAME)),
            receiver=await stack.enter_async_context(bus.get_queue_receiver(NAME)),
            table=await tables.create_table_if_not_exists(NAME),
        )
        asked = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(asked), sys.stdin
        )
        while await asked.readline():
            sys.stdout.write(json.dumps(await calls.make()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(answer())
