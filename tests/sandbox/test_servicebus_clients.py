"""How clients connect, compete and come back, with the real azure-servicebus SDK.

In real time; the first operation on a link takes half a second of the SDK's own sleeping, closing a
receiver up to a second.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import pytest
from azure.core.credentials import AccessToken
from azure.servicebus import ServiceBusClient as SyncClient
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage, ServiceBusReceiveMode
from azure.servicebus.aio import (
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusReceiver,
    ServiceBusSender,
)
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusQuotaExceededError,
)

from sandbox.servicebus import Broker, Message, QueueSpec

JWT = "a.good.token"


class Credential:
    """A token credential that always has the same token."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **kwargs: object) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        pass


@pytest.fixture(scope="module")
async def broker() -> AsyncIterator[Broker]:
    specs = [
        QueueSpec("work"),
        QueueSpec("side"),
        QueueSpec("shared"),
        QueueSpec("brief", lock_s=0.4),
        QueueSpec("tight", max_message_bytes=2_000, capacity=3),
    ]
    async with Broker(specs, accepts_token=JWT.__eq__) as running:
        yield running


@pytest.fixture(scope="module")
async def client(broker: Broker) -> AsyncIterator[ServiceBusClient]:
    async with ServiceBusClient.from_connection_string(broker.connection_string) as opened:
        yield opened


async def one(receiver: ServiceBusReceiver) -> ServiceBusReceivedMessage:
    (message,) = await receiver.receive_messages(1, max_wait_time=5)
    return message


async def test_received_and_deleted_is_gone(client: ServiceBusClient, broker: Broker) -> None:
    """Nothing is locked and nothing is left to settle."""
    broker.queues["work"].put(Message.of(b"1"))
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    async with client.get_queue_receiver("work", receive_mode=mode) as greedy:
        assert str(await one(greedy)) == "1"
        assert broker.queues["work"].depth == 0


async def test_what_is_prefetched_is_given_back(client: ServiceBusClient, broker: Broker) -> None:
    """A receiver that closes returns what it never showed, and it does not count."""
    work = broker.queues["work"]
    work.put_all([Message.of(b"1")] * 5)
    async with client.get_queue_receiver("work", prefetch_count=10) as eager:
        await eager.complete_message(await one(eager))
    assert work.depth == 4
    left = [work.take(lock=False) for _ in range(4)]
    assert [delivery.delivery_count for delivery in left if delivery] == [0] * 4


async def test_sizes_and_counts_are_limited(client: ServiceBusClient, broker: Broker) -> None:
    """Too large and too many are told apart by the SDK's own errors."""
    async with client.get_queue_sender("tight") as tight:
        with pytest.raises(MessageSizeExceededError):
            await tight.send_messages(ServiceBusMessage(b"x" * 2_000))
        await tight.send_messages([ServiceBusMessage(b"x") for _ in range(3)])
        with pytest.raises(ServiceBusQuotaExceededError):
            await tight.send_messages(ServiceBusMessage(b"x"))
    assert broker.queues["tight"].depth == 3


async def refused(link: ServiceBusSender | ServiceBusReceiver, by: type[Exception]) -> None:
    with pytest.raises(by):
        async with link:
            pass


async def test_an_unknown_queue_is_not_found(client: ServiceBusClient) -> None:
    """Both directions say so at once."""
    await asyncio.gather(
        refused(client.get_queue_receiver("nowhere"), MessagingEntityNotFoundError),
        refused(client.get_queue_sender("nowhere"), MessagingEntityNotFoundError),
    )


async def test_a_wrong_key_and_a_wrong_token_are_refused(broker: Broker) -> None:
    """The signature is checked, not only read, and the namespace's owner judges the token."""
    wrong = broker.connection_string.replace("c2VjcmV0", "d3Jvbmc=")
    bad = Credential("a.bad.token")
    async with (
        ServiceBusClient.from_connection_string(wrong, retry_total=0) as forger,
        ServiceBusClient(broker.address, bad, use_tls=False, retry_total=0) as stranger,
    ):
        await asyncio.gather(
            refused(forger.get_queue_sender("work"), ServiceBusAuthenticationError),
            refused(stranger.get_queue_sender("work"), ServiceBusAuthenticationError),
        )


async def test_an_accepted_bearer_token_opens_the_door(broker: Broker) -> None:
    """Host and port, a credential and no TLS are all a client needs."""
    async with (
        ServiceBusClient(broker.address, Credential(JWT), use_tls=False) as friend,
        friend.get_queue_sender("side") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("yes"))
    assert broker.queues["side"].depth == 1


async def test_competing_receivers_share_without_duplicates(
    client: ServiceBusClient, broker: Broker
) -> None:
    """Four receivers and four hundred messages: each message once, and nobody starves."""
    shared = broker.queues["shared"]
    shared.put_all([Message.of(str(n).encode()) for n in range(400)])

    async def work_off() -> list[str]:
        done: list[str] = []
        async with client.get_queue_receiver("shared") as competing:
            while messages := await competing.receive_messages(10, max_wait_time=0.3):
                for message in messages:
                    await competing.complete_message(message)
                    done.append(str(message))
        return done

    shares = await asyncio.gather(*(work_off() for _ in range(4)))
    assert sorted(int(body) for share in shares for body in share) == list(range(400))
    assert all(shares)
    assert (shared.depth, shared.dead_letter_depth) == (0, 0)


async def test_the_renewer_keeps_a_lock_alive(client: ServiceBusClient, broker: Broker) -> None:
    """A handler that takes two lock periods still completes its first delivery."""
    brief = broker.queues["brief"]
    brief.put(Message.of(b"slow"))
    async with client.get_queue_receiver("brief") as receiver, AutoLockRenewer() as renewer:
        message = await one(receiver)
        renewer._sleep_time = 0.1  # type: ignore[assignment]  # it looks once a second otherwise
        renewer.register(receiver, message, max_lock_renewal_duration=10)
        await asyncio.sleep(0.9)
        await receiver.complete_message(message)
    assert brief.depth == 0


# The SDK forgets to close its own socket when the broker went away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_client_survives_a_broker_that_was_killed() -> None:
    """The queue's contents survive, on the same port; sender and receiver connect again."""
    async with Broker([QueueSpec("work")]) as broker:
        string, port = broker.connection_string, broker.port
        async with ServiceBusClient.from_connection_string(
            string, retry_backoff_factor=0.05
        ) as client:
            sender, receiver = client.get_queue_sender("work"), client.get_queue_receiver("work")
            sent = [ServiceBusMessage(str(n)) for n in range(4)]
            _, first = await asyncio.gather(sender.send_messages(sent[:3]), one(receiver))
            await receiver.complete_message(first)
            await broker.kill()
            assert broker.queues["work"].depth == 2
            await broker.restart()
            assert broker.port == port
            _, second = await asyncio.gather(sender.send_messages(sent[3]), one(receiver))
            await receiver.complete_message(second)
            assert [str(message) for message in (first, second)] == ["0", "1"]
            assert broker.queues["work"].depth == 2
            await asyncio.gather(sender.close(), receiver.close())
    gc.collect()


async def test_the_sync_client_works_too(broker: Broker) -> None:
    """One smoke test, in a thread because the broker lives on this loop."""

    def round_trip() -> str:
        with (
            SyncClient.from_connection_string(broker.connection_string) as sync,
            sync.get_queue_sender("work") as sender,
            sync.get_queue_receiver("work") as receiver,
        ):
            sender.send_messages(ServiceBusMessage("sync"))
            (message,) = receiver.receive_messages(1, max_wait_time=5)
            receiver.complete_message(message)
            return str(message)

    assert await asyncio.to_thread(round_trip) == "sync"
    assert broker.queues["work"].depth == 0


async def test_a_stranger_who_speaks_no_amqp_is_dropped(broker: Broker) -> None:
    """Whatever it sends, the broker closes and goes on."""
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x00\x01\x00\x00" + b"\xff" * 64):
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(noise)
        await asyncio.wait_for(reader.read(), 5)
        assert reader.at_eof()
        writer.close()
        await writer.wait_closed()
