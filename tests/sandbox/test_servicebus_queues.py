"""What the stand-in's queues do, with a clock that is turned by hand and no sockets."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.servicebus import LockLost, Message, MessageNotFound, Queue, QueueFull, QueueSpec
from sandbox.servicebus.messages import Delivery

START_S = 1_800_000_000.0


class Clock:
    now_s = START_S

    def __call__(self) -> float:
        return self.now_s


def make(clock: Clock, **spec: float) -> Queue:
    return Queue(QueueSpec("work", **{"max_delivery_count": 3, **spec}), clock)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return make(clock)


def got(queue: Queue) -> Delivery:
    delivery = queue.take()
    assert delivery is not None
    return delivery


def token_of(delivery: Delivery) -> uuid.UUID:
    assert delivery.lock_token is not None
    return delivery.lock_token


def fail(queue: Queue) -> None:
    queue.abandon(token_of(got(queue)))


def test_a_message_comes_out_as_it_went_in(queue: Queue, clock: Clock) -> None:
    """A delivery shows the sender's properties in builtin types and the broker's own."""
    queue.put(
        Message.of(
            b"body",
            message_id="m1",
            content_type="application/json",
            subject="start",
            correlation_id="c1",
            reply_to="answers",
            to="linnet",
            session_id="s1",
            ttl_s=60,
            application_properties={"who": "me", "n": 3, "ok": True},
        )
    )
    delivery = got(queue)
    assert delivery.body == b"body"
    assert (delivery.message_id, delivery.content_type) == ("m1", "application/json")
    assert (delivery.subject, delivery.correlation_id) == ("start", "c1")
    assert (delivery.reply_to, delivery.to, delivery.session_id) == ("answers", "linnet", "s1")
    assert delivery.partition_key is None
    assert delivery.application_properties == {"who": "me", "n": 3, "ok": True}
    assert [type(value) for value in delivery.application_properties.values()] == [str, int, bool]
    assert (delivery.sequence_number, delivery.delivery_count) == (1, 0)
    start = datetime.fromtimestamp(START_S, UTC)
    assert delivery.enqueued_time == start
    assert delivery.locked_until == start + timedelta(seconds=30)
    assert delivery.expires_at == start + timedelta(seconds=60)


def test_messages_come_in_the_order_they_were_put(queue: Queue) -> None:
    """Even one that was abandoned in between keeps its place."""
    queue.put_all([Message.of(b"1"), Message.of(b"2"), Message.of(b"3")])
    fail(queue)
    assert [got(queue).body for _ in range(3)] == [b"1", b"2", b"3"]
    assert queue.take() is None


def test_a_completed_message_is_gone(queue: Queue) -> None:
    """Completing empties the queue and cannot be done twice."""
    queue.put(Message.of(b"1"))
    token = token_of(got(queue))
    assert queue.depth == 1
    queue.complete(token)
    assert queue.depth == 0
    with pytest.raises(LockLost):
        queue.complete(token)


def test_an_expired_lock_brings_the_message_back(queue: Queue, clock: Clock) -> None:
    """The late receiver cannot settle any more, and the delivery counts as failed."""
    queue.put(Message.of(b"1"))
    late = token_of(got(queue))
    clock.now_s += 29.9
    assert queue.take() is None
    clock.now_s += 0.2
    assert got(queue).delivery_count == 1
    with pytest.raises(LockLost):
        queue.complete(late)


def test_a_renewed_lock_holds(queue: Queue, clock: Clock) -> None:
    """Renewing starts the lock's time anew; a lost lock cannot be renewed."""
    queue.put(Message.of(b"1"))
    token = token_of(got(queue))
    clock.now_s += 20
    assert queue.renew(token) == datetime.fromtimestamp(clock.now_s + 30, UTC)
    clock.now_s += 20
    assert queue.take() is None
    clock.now_s += 20
    with pytest.raises(LockLost):
        queue.renew(token)


def test_the_last_failed_delivery_dead_letters(queue: Queue, clock: Clock) -> None:
    """Abandoned and timed out deliveries count alike; the reason is written on the message."""
    queue.put(Message.of(b"1", application_properties={"mine": "kept"}))
    fail(queue)
    queue.take()
    clock.now_s += 31
    fail(queue)
    assert (queue.depth, queue.dead_letter_depth) == (0, 1)
    assert queue.dead_letters is not None
    dead = got(queue.dead_letters)
    assert dead.application_properties["mine"] == "kept"
    assert dead.application_properties["DeadLetterReason"] == "MaxDeliveryCountExceeded"
    assert dead.delivery_count == 3


def test_a_released_message_does_not_count_as_delivered(queue: Queue) -> None:
    """A receiver that closes gives back what it never looked at."""
    queue.put(Message.of(b"1"))
    for _ in range(5):
        queue.release(token_of(got(queue)))
    assert got(queue).delivery_count == 0


@pytest.mark.parametrize("spec_ttl_s", [None, 3600.0])
def test_an_expired_message_is_dead_lettered(clock: Clock, spec_ttl_s: float | None) -> None:
    """The shorter of the message's and the queue's time to live counts."""
    queue = Queue(QueueSpec("work", ttl_s=spec_ttl_s), clock)
    queue.put(Message.of(b"1", ttl_s=60))
    clock.now_s += 61
    assert queue.take() is None
    assert queue.dead_letters is not None
    reason = got(queue.dead_letters).application_properties["DeadLetterReason"]
    assert reason == "TTLExpiredException"


def test_a_queue_gives_its_own_time_to_live(clock: Clock) -> None:
    """A message without one expires by the queue's."""
    queue = make(clock, ttl_s=10.0)
    queue.put(Message.of(b"1"))
    clock.now_s += 11
    assert (queue.depth, queue.dead_letter_depth) == (0, 1)


def test_a_locked_message_outlives_its_time(queue: Queue, clock: Clock) -> None:
    """Expiry waits for the receiver: it may still complete, but gets no second try."""
    queue.put_all([Message.of(b"done", ttl_s=5), Message.of(b"failed", ttl_s=5)])
    done, failed = token_of(got(queue)), token_of(got(queue))
    clock.now_s += 10
    queue.complete(done)
    queue.abandon(failed)
    assert (queue.depth, queue.dead_letter_depth) == (0, 1)


def test_a_scheduled_message_appears_in_time_under_a_new_number(queue: Queue, clock: Clock) -> None:
    """Its time to live starts when it enters the queue."""
    early = queue.put(Message.of(b"later", scheduled_s=START_S + 100, ttl_s=50))
    queue.put(Message.of(b"now"))
    now = got(queue)
    assert (now.body, queue.take()) == (b"now", None)
    assert [delivery.state for delivery in queue.peek(1, 10)] == [2, 0]
    queue.complete(token_of(now))
    clock.now_s += 101
    later = got(queue)
    assert later.body == b"later"
    assert later.sequence_number > early
    assert later.expires_at == datetime.fromtimestamp(clock.now_s + 50, UTC)


def test_scheduled_messages_are_cancelled_all_or_none(queue: Queue) -> None:
    """An unknown number in the list leaves the others as they were."""
    number = queue.put(Message.of(b"later", scheduled_s=START_S + 100))
    with pytest.raises(MessageNotFound):
        queue.cancel([number, 99])
    queue.cancel([number])
    assert queue.peek(1, 10) == []


def test_a_deferred_message_is_had_by_its_number_only(queue: Queue, clock: Clock) -> None:
    """It does not expire, stays deferred when abandoned, and leaves when completed."""
    number = queue.put(Message.of(b"1", ttl_s=60))
    queue.defer(token_of(got(queue)))
    clock.now_s += 100
    assert (queue.take(), queue.depth, queue.dead_letter_depth) == (None, 0, 0)
    queue.abandon(token_of(queue.take_deferred([number])[0]))
    assert queue.take() is None
    (again,) = queue.take_deferred([number])
    assert again.delivery_count == 1
    with pytest.raises(MessageNotFound):
        queue.take_deferred([number])
    queue.complete(token_of(again))
    assert queue.peek(1, 10) == []


def test_a_message_can_be_taken_without_a_lock(queue: Queue) -> None:
    """Receive-and-delete removes it at once."""
    queue.put(Message.of(b"1"))
    delivery = queue.take(lock=False)
    assert delivery is not None
    assert (delivery.lock_token, queue.depth) == (None, 0)


def test_dead_lettering_names_reason_and_source(queue: Queue) -> None:
    """From the dead-letter queue a message does not fall any deeper, however often it fails."""
    queue.put(Message.of(b"1"))
    queue.dead_letter(token_of(got(queue)), "Unreadable", "not JSON")
    assert queue.dead_letters is not None
    for _ in range(5):
        fail(queue.dead_letters)
    dead = got(queue.dead_letters)
    assert dead.application_properties == {
        "DeadLetterReason": "Unreadable",
        "DeadLetterErrorDescription": "not JSON",
    }
    assert dead.message.annotations == {"x-opt-deadletter-source": "work"}


def test_a_full_queue_takes_all_or_nothing(clock: Clock) -> None:
    """Dead letters use room too, so that they cannot grow without bound."""
    queue = make(clock, capacity=2)
    queue.put(Message.of(b"1"))
    queue.dead_letter(token_of(got(queue)))
    with pytest.raises(QueueFull):
        queue.put_all([Message.of(b"2"), Message.of(b"3")])
    queue.put(Message.of(b"4"))
    assert (queue.depth, queue.dead_letter_depth) == (1, 1)


def test_all_locks_can_be_lost_at_once(queue: Queue) -> None:
    """The knob works like the passing of the locks' time."""
    queue.put_all([Message.of(b"1"), Message.of(b"2")])
    first, second = got(queue), got(queue)
    queue.expire_locks()
    with pytest.raises(LockLost):
        queue.complete(token_of(first))
    assert [got(queue).body, got(queue).delivery_count] == [first.body, 1]
    assert second.delivery_count == 0


def test_a_completed_message_can_be_delivered_twice(queue: Queue) -> None:
    """The knob counts down, and the copy is the same message."""
    queue.put(Message.of(b"1", message_id="m1"))
    queue.duplicate_next = 1
    queue.complete(token_of(got(queue)))
    again = got(queue)
    assert (again.message_id, again.sequence_number) == ("m1", 1)
    queue.complete(token_of(again))
    assert queue.depth == 0


def test_messages_can_be_held_back(queue: Queue, clock: Clock) -> None:
    """The knob delays what is put from now on; it counts as there all the while."""
    queue.delay_s = 5
    queue.put(Message.of(b"1"))
    assert (queue.take(), queue.depth) == (None, 1)
    clock.now_s += 6
    assert got(queue).body == b"1"


def test_stale_reminders_do_not_pile_up(queue: Queue, clock: Clock) -> None:
    """Thousands of messages with long lives come and go; little stays behind."""
    for _ in range(5000):
        queue.put(Message.of(b"1", ttl_s=1e6))
        queue.complete(token_of(got(queue)))
    assert len(queue._shelf._due) < 3000
    clock.now_s += 2e6
    assert (queue.depth, queue.dead_letter_depth) == (0, 0)


async def test_receiving_waits_for_a_message(queue: Queue) -> None:
    """Two waiters get one message each."""
    waiting = [asyncio.create_task(queue.receive()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.put_all([Message.of(b"1"), Message.of(b"2")])
    assert sorted([delivery.body for delivery in await asyncio.gather(*waiting)]) == [b"1", b"2"]
