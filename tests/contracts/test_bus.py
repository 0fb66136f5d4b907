"""The bus over the real Service Bus client, against the local broker."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from azure.servicebus.aio import ServiceBusClient

from sandbox.servicebus import Broker, QueueSpec
from shared.cloud import wiring
from shared.cloud.bus import Bus
from shared.errors import RefusedError, UnreachableError
from shared.settings import Settings


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker() -> AsyncIterator[Broker]:
    async with Broker([QueueSpec("commands"), QueueSpec("alerts")]) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bus(broker: Broker) -> AsyncIterator[Bus]:
    async with wiring.only_bus(settings(broker)) as made:
        yield made


def settings(broker: Broker, **changes: Any) -> Settings:
    fixed: dict[str, Any] = {"service_bus": broker.connection_string, "call_timeout_s": 3.0}
    return Settings(**(fixed | changes))


async def received(broker: Broker, queue: str, count: int = 1) -> list[tuple[str | None, bytes]]:
    """Take that many messages out, as id and body."""
    async with (
        ServiceBusClient.from_connection_string(broker.connection_string) as client,
        client.get_queue_receiver(queue) as receiver,
    ):
        messages = await receiver.receive_messages(count, max_wait_time=2)
        for message in messages:
            await receiver.complete_message(message)
        return [(each.message_id, b"".join(each.body)) for each in messages]


async def test_a_message_arrives_as_it_was_sent(bus: Bus, broker: Broker) -> None:
    """Id and bytes are the sender's, whatever the bytes are."""
    await bus.send("commands", b'{"a": 1}\x00\xff', "m-1")
    assert await received(broker, "commands") == [("m-1", b'{"a": 1}\x00\xff')]


async def test_many_at_once_share_a_sender(bus: Bus, broker: Broker) -> None:
    """The SDK's senders take one task at a time; the bus keeps them apart."""
    await asyncio.gather(*(bus.send("alerts", b"x", f"a-{n}") for n in range(20)))
    queue = broker.find("alerts")
    assert queue is not None
    got = await received(broker, "alerts", 20)
    assert {found for found, _ in got} == {f"a-{n}" for n in range(20)}


async def test_a_message_too_large_is_refused_before_it_is_sent(bus: Bus) -> None:
    """To send it again would never help."""
    with pytest.raises(RefusedError, match="bytes"):
        await bus.send("commands", b"x" * 300_000, "m-2")


async def test_a_queue_that_does_not_exist_says_so(bus: Bus) -> None:
    """The reason names the queue."""
    with pytest.raises(UnreachableError, match="nowhere"):
        await bus.send("nowhere", b"x", "m-3")


@pytest.fixture
def leaking_sdk() -> Iterator[None]:
    """Without TLS the SDK forgets to close the socket of a connection it lost."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("leaking_sdk")
async def test_a_broker_that_comes_back_is_used_again(bus: Bus, broker: Broker) -> None:
    """A lost connection costs one failure at most, and no message that was accepted."""
    await broker.kill()
    with pytest.raises(UnreachableError, match="commands"):
        await bus.send("commands", b"lost", "m-4")
    await broker.restart()
    await bus.send("commands", b"kept", "m-5")
    assert ("m-5", b"kept") in await received(broker, "commands")


async def test_a_wrong_key_is_an_unreachable_bus(broker: Broker) -> None:
    """What the SDK raises for it stays inside; the key is not in the message."""
    wrong = broker.connection_string.replace(broker.gate.key, "d3Jvbmc=")
    async with wiring.only_bus(settings(broker, service_bus=wrong)) as bus:
        with pytest.raises(UnreachableError) as error:
            await bus.send("commands", b"x", "m-6")
    assert "d3Jvbmc" not in str(error.value)


async def test_nothing_configured_is_refused_with_the_settings_to_set() -> None:
    """The person who reads it knows what to do."""
    async with wiring.only_bus(Settings(call_timeout_s=1)) as bus:
        with pytest.raises(RefusedError, match="ServiceBus__fullyQualifiedNamespace"):
            await bus.send("commands", b"x", "m-7")
