"""What happens to messages, with the real azure-servicebus SDK as the client.

One client and few links for all, because the first operation on a link takes half a second of the
SDK's own sleeping. Only the broker's clock is turned: the SDK believes in locks long given up.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusMessageState,
    ServiceBusReceivedMessage,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.aio import ServiceBusReceiver as Receiver
from azure.servicebus.aio import ServiceBusSender as Sender
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
)

from sandbox.servicebus import Broker, Queue, QueueSpec


class Clock:
    """The real time, and what it was turned ahead."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
async def broker(clock: Clock) -> AsyncIterator[Broker]:
    async with Broker([QueueSpec("work", max_delivery_count=3)], now_s=clock) as running:
        yield running


@pytest.fixture(scope="module")
async def client(broker: Broker) -> AsyncIterator[ServiceBusClient]:
    # The SDK tries again after errors of which trying again is no cure; quickly, then.
    string, wait_s = broker.connection_string, 0.05
    async with ServiceBusClient.from_connection_string(string, retry_backoff_factor=wait_s) as c:
        yield c


@pytest.fixture(scope="module")
async def sender(client: ServiceBusClient) -> AsyncIterator[Sender]:
    async with client.get_queue_sender("work") as opened:
        yield opened


@pytest.fixture(scope="module")
async def receivers(client: ServiceBusClient) -> AsyncIterator[list[Receiver]]:
    """The queue's receiver and that of its dead letters; each takes a second to close."""
    living = client.get_queue_receiver("work")
    dead = client.get_queue_receiver("work", sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    yield [living, dead]
    await asyncio.gather(living.close(), dead.close())


@pytest.fixture
def receiver(receivers: list[Receiver]) -> Receiver:
    return receivers[0]


@pytest.fixture
def dead(receivers: list[Receiver]) -> Receiver:
    return receivers[1]


@pytest.fixture(autouse=True)
def work(broker: Broker) -> Queue:
    """The queue most tests use, empty."""
    queue = broker.queues["work"]
    for part in (queue, queue.dead_letters):
        while part is not None and part.take(lock=False):
            pass
    assert (queue.depth, queue.dead_letter_depth) == (0, 0), "a test left something locked"
    return queue


async def one(receiver: Receiver) -> ServiceBusReceivedMessage:
    (message,) = await receiver.receive_messages(1, max_wait_time=5)
    return message


async def nothing(receiver: Receiver) -> bool:
    return await receiver.receive_messages(1, max_wait_time=0.1) == []


async def test_a_message_arrives_whole(sender: Sender, receiver: Receiver, work: Queue) -> None:
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
    own = {b"text": "å".encode(), b"n": 7, b"ok": True, b"half": 0.5}
    assert got.application_properties == own
    assert got.time_to_live == timedelta(hours=1)
    assert got.delivery_count == 0
    assert isinstance(got.lock_token, uuid.UUID)
    assert got.enqueued_time_utc
    assert got.locked_until_utc
    assert got.locked_until_utc - got.enqueued_time_utc >= timedelta(seconds=30)
    assert abs(datetime.now(UTC) - got.enqueued_time_utc) < timedelta(seconds=5)
    await receiver.complete_message(got)
    assert work.depth == 0


async def test_batches_arrive_in_order(sender: Sender, receiver: Receiver, work: Queue) -> None:
    """A list and a built batch come out as single messages, each with its own properties."""
    await sender.send_messages([ServiceBusMessage(str(n), message_id=f"l{n}") for n in range(3)])
    batch = await sender.create_message_batch()
    for number in ("b0", "b1", "b2"):
        batch.add_message(ServiceBusMessage(b"", message_id=number))
    await sender.send_messages(batch)
    assert work.depth == 6
    got: list[ServiceBusReceivedMessage] = []
    while len(got) < 6:
        got += await receiver.receive_messages(6 - len(got), max_wait_time=5)
    assert [message.message_id for message in got] == ["l0", "l1", "l2", "b0", "b1", "b2"]
    for message in got:
        await receiver.complete_message(message)


async def test_the_third_failure_dead_letters(
    sender: Sender, receiver: Receiver, dead: Receiver
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


async def test_a_dead_letter_has_its_reason(
    sender: Sender, receiver: Receiver, dead: Receiver
) -> None:
    """The receiver's words are read back from the dead-letter queue."""
    await sender.send_messages(ServiceBusMessage("bad", application_properties={"mine": "kept"}))
    await receiver.dead_letter_message(
        await one(receiver), reason="Unreadable", error_description="not JSON"
    )
    message = await one(dead)
    told = (message.dead_letter_reason, message.dead_letter_error_description)
    assert told == ("Unreadable", "not JSON")
    assert message.application_properties is not None
    assert message.application_properties[b"mine"] == b"kept"
    await dead.complete_message(message)


async def test_a_deferred_message_is_fetched(
    sender: Sender, receiver: Receiver, work: Queue
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


async def test_a_lock_is_renewed(sender: Sender, receiver: Receiver, clock: Clock) -> None:
    """The renewed lock outlives the first one."""
    await sender.send_messages(ServiceBusMessage("slow"))
    message = await one(receiver)
    before = message.locked_until_utc or datetime.max.replace(tzinfo=UTC)
    clock.ahead_s += 20
    until = await receiver.renew_message_lock(message)
    assert until - before >= timedelta(seconds=20)
    clock.ahead_s += 20
    await receiver.complete_message(message)


async def test_peeking_shows_without_taking(
    sender: Sender, receiver: Receiver, work: Queue
) -> None:
    """A peeked message is neither locked nor counted as delivered."""
    await sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
    seen = await receiver.peek_messages(10, sequence_number=1)
    assert [str(message) for message in seen] == ["a", "b"]
    assert all(message.sequence_number for message in seen)
    for _ in seen:
        await receiver.complete_message(await one(receiver))
    assert await receiver.peek_messages(10, sequence_number=1) == []


async def test_an_expired_lock_brings_the_message_back(
    sender: Sender, receiver: Receiver, clock: Clock, work: Queue
) -> None:
    """Settling fails with the SDK's own error, whether time ran out or the knob was turned."""
    await sender.send_messages(ServiceBusMessage("slow"))
    late = await one(receiver)
    clock.ahead_s += 31
    again = await one(receiver)
    assert again.delivery_count == 1
    with pytest.raises(MessageLockLostError):
        await receiver.complete_message(late)
    with pytest.raises(MessageLockLostError):
        await receiver.renew_message_lock(late)
    work.expire_locks()
    with pytest.raises(MessageLockLostError):
        await receiver.abandon_message(again)
    await receiver.complete_message(await one(receiver))


async def test_a_duplicate_is_delivered_on_request(
    sender: Sender, receiver: Receiver, work: Queue
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
    sender: Sender, dead: Receiver, clock: Clock
) -> None:
    """Nobody fetched it in time."""
    await sender.send_messages(ServiceBusMessage("old", time_to_live=timedelta(seconds=60)))
    clock.ahead_s += 61
    message = await one(dead)
    assert message.dead_letter_reason == "TTLExpiredException"
    await dead.complete_message(message)


async def test_scheduled_messages_appear_when_they_are_due(
    sender: Sender, receiver: Receiver, clock: Clock
) -> None:
    """Scheduled through the management node or by a property of the message."""
    due = datetime.fromtimestamp(clock(), UTC) + timedelta(minutes=5)
    await sender.schedule_messages(ServiceBusMessage("node"), due)
    await sender.send_messages(ServiceBusMessage("property", scheduled_enqueue_time_utc=due))
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


async def test_a_large_message_takes_several_frames(sender: Sender, receiver: Receiver) -> None:
    """200 kB arrive byte for byte."""
    body = bytes(range(256)) * 800
    await sender.send_messages(ServiceBusMessage(body))
    message = await one(receiver)
    assert b"".join(message.body) == body
    await receiver.complete_message(message)
