"""The Service Bus trigger end to end: a host process on the stand-in broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

from sandbox.host.process import HostProcess
from sandbox.identity import PATH, Identity, add_routes
from sandbox.servicebus import Broker, QueueSpec

_HEAD = """
import asyncio, json, logging, os, typing
import azure.functions as func

app = func.FunctionApp()
log = logging.getLogger("app")
"""
_MANY = """
def seen(trigger, message):
    entry = {"trigger": trigger, "id": message.message_id, "count": message.delivery_count,
             "body": message.get_body().decode(), "properties": message.application_properties,
             "naive": message.enqueued_time_utc.tzinfo is None}
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps(entry) + "\\n")

@app.service_bus_queue_trigger(arg_name="message", connection="BUS", queue_name="%COMMANDS%",
                               data_type=func.DataType.BINARY)
async def commands(message: func.ServiceBusMessage) -> None:
    seen("commands", message)
    if message.get_body() == b"boom":
        raise ValueError("boom")
    if message.get_body().startswith(b"slow"):
        await asyncio.sleep(float(message.get_body()[5:]))
        log.info("slow one is done")

@app.service_bus_queue_trigger(arg_name="message", connection="BUS", queue_name="texts")
def texts(message: func.ServiceBusMessage) -> None:
    seen("texts", message)

@app.service_bus_queue_trigger(arg_name="messages", connection="BUS", queue_name="samples",
                               data_type=func.DataType.BINARY, cardinality="many")
async def samples(messages: typing.List[func.ServiceBusMessage]) -> None:
    for message in messages:
        entry = {"trigger": "samples", "id": message.message_id, "of": len(messages)}
        with open(os.environ["SEEN"], "a") as file:
            file.write(json.dumps(entry) + "\\n")
"""


_ONE = """
@app.service_bus_queue_trigger(arg_name="message", connection="BUS", queue_name="orders",
                               data_type=func.DataType.BINARY)
async def commands(message: func.ServiceBusMessage) -> None:
    log.info("got %s", message.get_body())
"""


async def _says(host: HostProcess, text: str) -> None:
    """Returns once a log line holds the text."""
    async with asyncio.timeout(15):
        while not any(text in line for line in list(host.lines)):
            await asyncio.sleep(0.02)


class _Bus:
    """A broker, a host that listens to it, and one client that sends."""

    def __init__(self, folder: Path) -> None:
        self.seen_file = folder / "seen"
        self.seen_file.touch()
        (folder / "function_app.py").write_text(_HEAD + _MANY)
        (folder / "host.json").write_text('{"version": "2.0"}')
        self._folder = folder
        self._senders: dict[str, ServiceBusSender] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        specs = [QueueSpec("orders", max_delivery_count=3, lock_s=3.0)]
        specs += [QueueSpec("texts", max_delivery_count=2), QueueSpec("samples")]
        async with Broker(specs) as broker:
            self.broker = broker
            environment = {
                "BUS": broker.connection_string,
                "COMMANDS": "orders",
                "SEEN": str(self.seen_file),
            }
            text = broker.connection_string
            async with (
                ServiceBusClient.from_connection_string(text) as self.client,
                HostProcess(self._folder, environment) as self.host,
            ):
                # Sent now and looked at last, since it takes longer than all the rest.
                await self.send("orders", ServiceBusMessage(b"slow 3.5", message_id="slow"))
                yield self
                await self.close_senders()
                assert await self.host.stop() == 0

    async def send(self, queue: str, *messages: ServiceBusMessage) -> None:
        if queue not in self._senders:
            self._senders[queue] = self.client.get_queue_sender(queue)
        await self._senders[queue].send_messages(list(messages))

    async def close_senders(self) -> None:
        """The SDK leaves the socket of a sender open that lost its connection: close it before."""
        for sender in self._senders.values():
            await sender.close()
        self._senders.clear()

    async def seen(self, message_id: str, times: int = 1) -> list[dict[str, Any]]:
        """The calls made with this message, once there are that many."""
        async with asyncio.timeout(15):
            while True:
                lines = self.seen_file.read_text().splitlines()
                calls = [call for call in map(json.loads, lines) if call["id"] == message_id]
                if len(calls) >= times:
                    return calls
                await asyncio.sleep(0.02)

    async def dead(self, queue: str) -> list[str | None]:
        """Ids in the dead-letter queue, once there is one."""
        receiver = self.client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER)
        async with receiver:
            messages = await receiver.receive_messages(max_wait_time=5)
            for message in messages:
                await receiver.complete_message(message)
            return [message.message_id for message in messages]


@pytest.fixture(scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[_Bus]:
    async with _Bus(tmp_path_factory.mktemp("bus")).opened() as opened:
        yield opened


async def test_a_message_is_delivered_with_its_facts(bus: _Bus) -> None:
    fake = b'{"messageId":"faked","deliveryCount":"first"}'
    message = ServiceBusMessage(fake, message_id="m1", application_properties={"tenant": "t1"})
    await bus.send("orders", message)
    assert await bus.seen("m1") == [
        {
            "trigger": "commands",
            "id": "m1",
            "count": 1,
            "body": fake.decode(),
            "properties": {"tenant": "t1"},
            "naive": True,
        }
    ]


async def test_a_failing_message_comes_again_and_ends_dead(bus: _Bus) -> None:
    await bus.send("orders", ServiceBusMessage(b"boom", message_id="bad"))
    calls = await bus.seen("bad", times=3)
    assert [call["count"] for call in calls] == [1, 2, 3]
    assert await bus.dead("orders") == ["bad"]


async def test_without_binary_a_sender_can_lie_or_shut_the_function_out(bus: _Bus) -> None:
    """The overlay of the body: what `data_type=BINARY` saves us from."""
    await bus.send("texts", ServiceBusMessage(b'{"messageId":"faked"}', message_id="real"))
    assert (await bus.seen("faked"))[0]["trigger"] == "texts"
    poison = ServiceBusMessage(b'{"deliveryCount":"first"}', message_id="poison")
    await bus.send("texts", poison)
    assert await bus.dead("texts") == ["poison"]
    assert "poison" not in bus.seen_file.read_text()


async def test_a_batch_comes_in_one_call(bus: _Bus) -> None:
    await bus.send("samples", *(ServiceBusMessage(b"s", message_id=f"s{n}") for n in range(5)))
    assert [(await bus.seen(f"s{n}"))[0]["of"] for n in range(5)] == [5] * 5


async def test_a_slow_call_keeps_its_lock(bus: _Bus) -> None:
    """It outlasts the lock (3 s), which is renewed, and is delivered once."""
    await _says(bus.host, "slow one is done")
    await bus.send("orders", ServiceBusMessage(b"next", message_id="after"))
    await bus.seen("after")
    assert len(await bus.seen("slow")) == 1
    assert not [line for line in bus.host.lines if "not settled" in line]


async def test_a_managed_identity_opens_the_queue(tmp_path: Path) -> None:
    """Without a connection string: a token from the identity endpoint, which the broker checks."""
    identity, shown = Identity(), list[str]()

    def accepts(token: str) -> bool:
        shown.append(token)
        return identity.accepts(token, "https://servicebus.azure.net")

    front = web.Application()
    add_routes(front, identity)
    runner = web.AppRunner(front)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "function_app.py").write_text(_HEAD + _ONE)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    async with Broker([QueueSpec("orders")], accepts_token=accepts) as broker:
        environment = {
            "BUS__fullyQualifiedNamespace": broker.address,
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}",
            "IDENTITY_HEADER": identity.header_secret,
        }
        async with (
            HostProcess(tmp_path, environment) as host,
            ServiceBusClient.from_connection_string(broker.connection_string) as client,
            client.get_queue_sender("orders") as sender,
        ):
            await sender.send_messages(ServiceBusMessage(b"x"))
            await _says(host, "got b'x'")
    await runner.cleanup()
    assert shown


async def test_a_dropped_link_is_mended(bus: _Bus) -> None:
    """The broker goes away and comes back; the host says so once and goes on."""
    await bus.close_senders()
    await bus.broker.kill()
    await _says(bus.host, "orders: no link to Service Bus")
    await bus.broker.restart()
    await bus.send("orders", ServiceBusMessage(b"again", message_id="again"))
    await bus.seen("again")
    await _says(bus.host, "orders: linked again")
    assert len([line for line in bus.host.lines if "orders: no link" in line]) == 1
