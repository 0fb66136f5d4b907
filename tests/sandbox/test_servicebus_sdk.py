"""The stand-in, with the real azure-servicebus SDK as its client.

One client and few links for the whole module: the first operation on a link takes half a second of
the SDK's own sleeping. The broker's clock is turned; the SDK's cannot be, so it believes in locks
that the broker has long given up.
"""

import asyncio
import gc
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import pytest
from azure.core.credentials import AccessToken
from azure.servicebus import ServiceBusClient as SyncClient
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusMessageState,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import (
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusReceiver,
    ServiceBusSender,
)
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusQuotaExceededError,
)

from sandbox.servicebus import Broker, Message, Queue, QueueSpec

JWT = "a.good.token"


class Clock:
    """The real time, and what it was turned ahead."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


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
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
async def broker(clock: Clock) -> AsyncIterator[Broker]:
    specs = [
        QueueSpec("work", max_delivery_count=3),
        QueueSpec("side"),
        QueueSpec("tight", max_message_bytes=2_000, capacity=3),
    ]
    async with Broker(specs, now_s=clock, accepts_token=JWT.__eq__) as running:
        yield running


@pytest.fixture(scope="module")
async def client(broker: Broker) -> AsyncIterator[ServiceBusClient]:
    # The SDK tries again after errors of which trying again is no cure; quickly, then.
    string, wait_s = broker.connection_string, 0.05
    async with ServiceBusClient.from_connection_string(string, retry_backoff_factor=wait_s) as c:
        yield c


@pytest.fixture(scope="module")
async def sender(client: ServiceBusClient) -> AsyncIterator[ServiceBusSender]:
    async with client.get_queue_sender("work") as opened:
        yield opened


@pytest.fixture(scope="module")
async def receiver(client: ServiceBusClient) -> AsyncIterator[ServiceBusReceiver]:
    async with client.get_queue_receiver("work") as opened:
        yield opened


@pytest.fixture(scope="module")
async def dead(client: ServiceBusClient) -> AsyncIterator[ServiceBusReceiver]:
    dead_letters = ServiceBusSubQueue.DEAD_LETTER
    async with client.get_queue_receiver("work", sub_queue=dead_letters) as opened:
        yield opened


@pytest.fixture(autouse=True)
def work(broker: Broker) -> Queue:
    """The queue most tests use, empty."""
    for queue in broker.queues.values():
        for part in (queue, queue.dead_letters):
            while part is not None and part.take(lock=False):
                pass
        assert (queue.depth, queue.dead_letter_depth) == (0, 0), "a test left something locked"
    return broker.queues["work"]


async def one(receiver: ServiceBusReceiver) -> ServiceBusReceivedMessage:
    (message,) = await receiver.receive_messages(1, max_wait_time=5)
    return message


async def nothing(receiver: ServiceBusReceiver) -> bool:
    return await receiver.receive_messages(1, max_wait_time=0.2) == []


async def test_a_message_arrives_whole(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, work: Queue
) -> None:
    """Sent, received and completed, with everything the sender wrote on it."""
    sent = ServiceBusMessage(
        b"\x00body\xff",
        message_id="m1",
        content_type="application/json",
        subject="start",
        correlation_id="c1",
        reply_to="answers",
        to="linnet",
        partition_key="p1",
        time_to_live=timedelta(hours=1),
        application_properties={"text": "å", "n": 7, "ok": True, "half": 0.5},
    )
    await sender.send_messages(sent)
    got = await one(receiver)
    assert b"".join(got.body) == b"\x00body\xff"
    assert (got.message_id, got.content_type, got.subject) == ("m1", "application/json", "start")
    assert (got.correlation_id, got.reply_to, got.to) == ("c1", "answers", "linnet")
    assert got.partition_key == "p1"
    assert got.application_properties == {
        b"text": "å".encode(),
        b"n": 7,
        b"ok": True,
        b"half": 0.5,
    }
    assert got.time_to_live == timedelta(hours=1)
    assert got.delivery_count == 0
    assert isinstance(got.lock_token, uuid.UUID)
    assert got.enqueued_time_utc is not None
    assert got.locked_until_utc is not None
    assert got.locked_until_utc - got.enqueued_time_utc >= timedelta(seconds=30)
    assert abs(datetime.now(UTC) - got.enqueued_time_utc) < timedelta(seconds=5)
    await receiver.complete_message(got)
    assert work.depth == 0


async def test_batches_arrive_in_order(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, work: Queue
) -> None:
    """A list and a built batch come out as single messages, each with its own properties."""
    await sender.send_messages([ServiceBusMessage(str(n), message_id=f"l{n}") for n in range(3)])
    batch = await sender.create_message_batch()
    for n in range(3):
        batch.add_message(ServiceBusMessage(str(n), message_id=f"b{n}"))
    await sender.send_messages(batch)
    assert work.depth == 6
    got = []
    while len(got) < 6:
        got += await receiver.receive_messages(6 - len(got), max_wait_time=5)
    assert [message.message_id for message in got] == ["l0", "l1", "l2", "b0", "b1", "b2"]
    for message in got:
        await receiver.complete_message(message)


async def test_the_third_abandoned_delivery_is_dead_lettered(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, dead: ServiceBusReceiver
) -> None:
    """The delivery count rises with each failure, up to the queue's limit."""
    await sender.send_messages(ServiceBusMessage("poison"))
    for count in range(3):
        message = await one(receiver)
        assert message.delivery_count == count
        await receiver.abandon_message(message)
    assert await nothing(receiver)
    message = await one(dead)
    assert message.dead_letter_reason == "MaxDeliveryCountExceeded"
    assert message.dead_letter_source == "work"
    await dead.complete_message(message)


async def test_dead_lettering_carries_the_reason(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, dead: ServiceBusReceiver
) -> None:
    """The receiver's words are read back from the dead-letter queue."""
    await sender.send_messages(ServiceBusMessage("bad", application_properties={"mine": "kept"}))
    await receiver.dead_letter_message(
        await one(receiver), reason="Unreadable", error_description="not JSON"
    )
    message = await one(dead)
    assert (message.dead_letter_reason, message.dead_letter_error_description) == (
        "Unreadable",
        "not JSON",
    )
    assert message.application_properties is not None
    assert message.application_properties[b"mine"] == b"kept"
    await dead.complete_message(message)


async def test_a_deferred_message_is_fetched_by_number(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, work: Queue
) -> None:
    """It is fetched and completed through the management node."""
    await sender.send_messages(ServiceBusMessage("later"))
    message = await one(receiver)
    number = message.sequence_number
    assert number is not None
    await receiver.defer_message(message)
    assert await nothing(receiver)
    (deferred,) = await receiver.receive_deferred_messages(number)
    assert deferred.state is ServiceBusMessageState.DEFERRED
    await receiver.complete_message(deferred)
    with pytest.raises(MessageNotFoundError):
        await receiver.receive_deferred_messages(number)
    assert work.peek(1, 10) == []


async def test_a_lock_is_renewed(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, clock: Clock
) -> None:
    """The renewed lock outlives the first one."""
    await sender.send_messages(ServiceBusMessage("slow"))
    message = await one(receiver)
    before = message.locked_until_utc
    assert before is not None
    clock.ahead_s += 20
    until = await receiver.renew_message_lock(message)
    assert until - before >= timedelta(seconds=20)
    clock.ahead_s += 20
    await receiver.complete_message(message)


async def test_peeking_shows_without_taking(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, work: Queue
) -> None:
    """A peeked message is neither locked nor counted as delivered."""
    await sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
    seen = await receiver.peek_messages(10, sequence_number=1)
    assert [str(message) for message in seen] == ["a", "b"]
    numbers = [message.sequence_number for message in seen]
    assert numbers == sorted(n for n in numbers if n)
    for _ in seen:
        await receiver.complete_message(await one(receiver))
    assert await receiver.peek_messages(10, sequence_number=1) == []


async def test_an_expired_lock_brings_the_message_back(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, clock: Clock
) -> None:
    """Settling after that fails with the SDK's own error, and the message comes again."""
    await sender.send_messages(ServiceBusMessage("slow"))
    late = await one(receiver)
    clock.ahead_s += 31
    again = await one(receiver)
    assert again.delivery_count == 1
    with pytest.raises(MessageLockLostError):
        await receiver.complete_message(late)
    with pytest.raises(MessageLockLostError):
        await receiver.renew_message_lock(late)
    await receiver.complete_message(again)


async def test_all_locks_are_lost_on_request(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, work: Queue
) -> None:
    """The knob for lost locks is seen by every way of settling."""
    await sender.send_messages(ServiceBusMessage("1"))
    message = await one(receiver)
    work.expire_locks()
    with pytest.raises(MessageLockLostError):
        await receiver.abandon_message(message)
    await receiver.complete_message(await one(receiver))


async def test_a_duplicate_is_delivered_on_request(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, work: Queue
) -> None:
    """The same message comes once more although it was completed."""
    await sender.send_messages(ServiceBusMessage("1", message_id="twice"))
    work.duplicate_next = 1
    for _ in range(2):
        message = await one(receiver)
        assert message.message_id == "twice"
        await receiver.complete_message(message)
    assert work.depth == 0


async def test_an_expired_message_is_dead_lettered(
    sender: ServiceBusSender, dead: ServiceBusReceiver, clock: Clock
) -> None:
    """Nobody fetched it in time."""
    await sender.send_messages(ServiceBusMessage("old", time_to_live=timedelta(seconds=60)))
    clock.ahead_s += 61
    message = await one(dead)
    assert message.dead_letter_reason == "TTLExpiredException"
    await dead.complete_message(message)


async def test_scheduled_messages_appear_when_they_are_due(
    sender: ServiceBusSender, receiver: ServiceBusReceiver, clock: Clock
) -> None:
    """Scheduled through the management node or by a property of the message."""
    due = datetime.fromtimestamp(clock(), UTC) + timedelta(minutes=5)
    await sender.schedule_messages(ServiceBusMessage("node"), due)
    later = ServiceBusMessage("property", scheduled_enqueue_time_utc=due)
    await sender.send_messages(later)
    (cancelled,) = await sender.schedule_messages(ServiceBusMessage("never"), due)
    await sender.cancel_scheduled_messages(cancelled)
    with pytest.raises(MessageNotFoundError):
        await sender.cancel_scheduled_messages(cancelled)
    seen = await receiver.peek_messages(10, sequence_number=1)
    assert [message.state for message in seen] == [ServiceBusMessageState.SCHEDULED] * 2
    assert await nothing(receiver)
    clock.ahead_s += 301
    bodies = set()
    for _ in range(2):
        message = await one(receiver)
        bodies.add(str(message))
        await receiver.complete_message(message)
    assert bodies == {"node", "property"}


async def test_a_large_message_takes_several_frames(
    sender: ServiceBusSender, receiver: ServiceBusReceiver
) -> None:
    """200 kB arrive byte for byte."""
    body = bytes(range(256)) * 800
    await sender.send_messages(ServiceBusMessage(body))
    message = await one(receiver)
    assert b"".join(message.body) == body
    await receiver.complete_message(message)


async def test_received_and_deleted_is_gone(
    client: ServiceBusClient, sender: ServiceBusSender, work: Queue
) -> None:
    """Nothing is locked and nothing is left to settle."""
    await sender.send_messages(ServiceBusMessage("1"))
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    async with client.get_queue_receiver("work", receive_mode=mode) as greedy:
        assert str(await one(greedy)) == "1"
        assert work.depth == 0


async def test_what_is_prefetched_is_given_back(
    client: ServiceBusClient, sender: ServiceBusSender, work: Queue
) -> None:
    """A receiver that closes returns what it never showed, and it does not count."""
    await sender.send_messages([ServiceBusMessage(str(n)) for n in range(5)])
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


async def test_an_unknown_queue_is_not_found(client: ServiceBusClient) -> None:
    """Both directions say so at once."""
    with pytest.raises(MessagingEntityNotFoundError):
        async with client.get_queue_receiver("nowhere"):
            pass
    with pytest.raises(MessagingEntityNotFoundError):
        async with client.get_queue_sender("nowhere"):
            pass


async def test_a_wrong_key_is_refused(broker: Broker) -> None:
    """The signature is checked, not only read."""
    wrong = broker.connection_string.replace("c2VjcmV0", "d3Jvbmc=")
    async with ServiceBusClient.from_connection_string(wrong, retry_total=0) as stranger:
        with pytest.raises(ServiceBusAuthenticationError):
            async with stranger.get_queue_sender("work"):
                pass


async def test_a_bearer_token_opens_the_door_if_it_is_accepted(broker: Broker) -> None:
    """The namespace's owner decides which tokens are good."""
    good, bad = Credential(JWT), Credential("a.bad.token")
    async with (
        ServiceBusClient(broker.address, good, use_tls=False) as friend,
        friend.get_queue_sender("side") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("yes"))
    assert broker.queues["side"].depth == 1
    async with ServiceBusClient(broker.address, bad, use_tls=False, retry_total=0) as stranger:
        with pytest.raises(ServiceBusAuthenticationError):
            async with stranger.get_queue_sender("side"):
                pass


async def test_competing_receivers_share_without_duplicates(
    client: ServiceBusClient, broker: Broker
) -> None:
    """Four receivers and four hundred messages: each message once, and nobody starves."""
    side = broker.queues["side"]
    side.put_all([Message.of(str(n).encode()) for n in range(400)])

    async def work_off() -> list[str]:
        done: list[str] = []
        async with client.get_queue_receiver("side") as competing:
            while messages := await competing.receive_messages(10, max_wait_time=0.5):
                for message in messages:
                    await competing.complete_message(message)
                    done.append(str(message))
        return done

    shares = await asyncio.gather(*(work_off() for _ in range(4)))
    assert sorted(int(body) for share in shares for body in share) == list(range(400))
    assert all(shares)
    assert (side.depth, side.dead_letter_depth) == (0, 0)


async def test_the_renewer_keeps_a_lock_alive() -> None:
    """A handler that takes two lock periods still completes its first delivery.

    In real time, because the SDK renews by its own clock.
    """
    async with (
        Broker([QueueSpec("brief", lock_s=0.8)]) as broker,
        ServiceBusClient.from_connection_string(broker.connection_string) as client,
        client.get_queue_receiver("brief") as receiver,
        AutoLockRenewer() as renewer,
    ):
        broker.queues["brief"].put(Message.of(b"slow"))
        message = await one(receiver)
        renewer._sleep_time = 0.2  # it looks once a second otherwise
        renewer.register(receiver, message, max_lock_renewal_duration=10)
        await asyncio.sleep(1.7)
        await receiver.complete_message(message)
        assert broker.queues["brief"].depth == 0


# The SDK forgets to close its own socket when the broker went away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_client_survives_a_broker_that_was_killed() -> None:
    """The queue's contents survive, on the same port; sender and receiver connect again."""
    async with (
        Broker([QueueSpec("work")]) as broker,
        ServiceBusClient.from_connection_string(
            broker.connection_string, retry_backoff_factor=0.05
        ) as client,
        client.get_queue_sender("work") as sender,
        client.get_queue_receiver("work") as receiver,
    ):
        await sender.send_messages(ServiceBusMessage("before"))
        port = broker.port
        await broker.kill()
        assert broker.queues["work"].depth == 1
        await broker.restart()
        assert broker.port == port
        await sender.send_messages(ServiceBusMessage("after"))
        for body in ("before", "after"):
            message = await one(receiver)
            assert str(message) == body
            await receiver.complete_message(message)
    gc.collect()


async def test_the_sync_client_works_too(broker: Broker, work: Queue) -> None:
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
    assert work.depth == 0


async def test_a_stranger_who_speaks_no_amqp_is_dropped(broker: Broker) -> None:
    """Whatever it sends, the broker closes and goes on."""
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x00\x01\x00\x00" + b"\xff" * 64):
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(noise)
        await asyncio.wait_for(reader.read(), 5)
        assert reader.at_eof()
        writer.close()
        await writer.wait_closed()
