"""Links: a client's sender ends in an `Inlet`, its receiver in an `Outlet` or a `ReplyOutlet`.

Rules: a link sends no more than the credit it was given, and stops while the socket is full; a
message that grows past its bound is read to the end, thrown away and rejected; a lock outlives the
link it was handed out on, as in Azure.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.servicebus.messages import Message, batch
from sandbox.servicebus.queues import Queue, QueueFull
from sandbox.servicebus.settlement import accepted, rejected
from sandbox.servicebus.wiretypes import Described, MalformedError

if TYPE_CHECKING:
    from sandbox.servicebus.sessions import Session

CREDIT = 500
REPLIES = 1000
REQUEST_BYTES = 4 * 1024 * 1024
BATCH_FORMAT = 0x80013700


class Inlet:
    """What a client sends into: gathers the frames of each message and hands it to `take_in`."""

    def __init__(self, session: "Session", handle: int, delivery_count: int, room: int) -> None:
        self.session = session
        self.handle = handle
        self._delivery_count = delivery_count
        self._granted = 0
        self._room = room
        self._parts = bytearray()
        self._overflowed = False
        self._first: list[object] = []

    def take_in(self, payload: bytes, message_format: int) -> Described:
        """Deal with one message and return its outcome; raises `MalformedError`."""
        raise NotImplementedError

    def grant(self) -> None:
        """Give the client credit again once half of it is used up."""
        if self._granted <= CREDIT // 2:
            self._granted = CREDIT
            self.session.flow(self.handle, self._delivery_count, CREDIT)

    def transfer(self, fields: list[object], payload: bytes) -> None:
        """Take one frame of a message; `fields` are those of the performative, filled up."""
        self._first = self._first or fields
        self._overflowed = self._overflowed or len(self._parts) + len(payload) > self._room
        if not self._overflowed:
            self._parts += payload
        if not fields[5]:
            self._finish(settled=bool(fields[4]), aborted=bool(fields[9]))

    def _finish(self, *, settled: bool, aborted: bool) -> None:
        first, payload, overflowed = self._first, bytes(self._parts), self._overflowed
        self._first, self._parts, self._overflowed = [], bytearray(), False
        self._delivery_count += 1
        self._granted -= 1
        if not aborted:
            outcome = _too_large(self._room) if overflowed else self._judge(payload, first[3])
            if not settled:
                self.session.dispose(first[1], outcome, as_receiver=True)
        self.grant()

    def _judge(self, payload: bytes, message_format: object) -> Described:
        try:
            return self.take_in(payload, message_format if isinstance(message_format, int) else 0)
        except MalformedError as wrong:
            return rejected("amqp:decode-error", str(wrong))


class QueueInlet(Inlet):
    """Puts what it gets into a queue: single messages or batches."""

    def __init__(self, session: "Session", handle: int, delivery_count: int, queue: Queue) -> None:
        super().__init__(session, handle, delivery_count, queue.spec.max_message_bytes)
        self._queue = queue

    def take_in(self, payload: bytes, message_format: int) -> Described:
        """Put the message, or all messages of the batch or none."""
        is_batch = message_format == BATCH_FORMAT
        messages = batch(payload) if is_batch else [Message.parse(payload)]
        try:
            self._queue.put_all(messages)
        except QueueFull as full:
            return rejected("amqp:resource-limit-exceeded", str(full))
        return accepted()


class RequestInlet(Inlet):
    """Answers what it gets, on the session's reply link of the same address."""

    def __init__(
        self,
        session: "Session",
        handle: int,
        delivery_count: int,
        node: tuple[str, Callable[[bytes], bytes]],
    ) -> None:
        super().__init__(session, handle, delivery_count, REQUEST_BYTES)
        self._address, self._answer = node

    def take_in(self, payload: bytes, message_format: int) -> Described:  # noqa: ARG002  # requests have one format
        """Answer one request."""
        self.session.reply(self._address, self._answer(payload))
        return accepted()


class Outlet:
    """What a client receives from; `send_next` says what."""

    def __init__(self, session: "Session", handle: int) -> None:
        self.session = session
        self.handle = handle
        self._delivery_count = 0
        self._credit = 0
        self._pumping = False

    def send_next(self) -> bool:
        """Send one message; false if there is none. Asked only with credit and room."""
        raise NotImplementedError

    def on_flow(self, delivery_count: int, credit: int, *, drain: bool) -> None:
        """Take the client's credit, send what it allows, and use up the rest if asked to."""
        self._credit = max(0, delivery_count + credit - self._delivery_count)
        self.pump()
        if drain:
            self._delivery_count += self._credit
            self._credit = 0
            self.session.flow(self.handle, self._delivery_count, 0, drain=True)

    def pump(self) -> None:
        """Send as much as credit, session window and socket allow.

        Taking a message may make the queue tell its listeners, this one among them.
        """
        if self._pumping:
            return
        self._pumping = True
        while self._credit > 0 and self.session.has_room() and self.send_next():
            self._credit -= 1
            self._delivery_count += 1
        self._pumping = False

    def close(self) -> None:
        """Let go of what is held outside the link."""


class QueueOutlet(Outlet):
    """Hands out a queue's messages, locked, or removed when the client asked for that."""

    def __init__(self, session: "Session", handle: int, queue: Queue, *, lock: bool) -> None:
        super().__init__(session, handle)
        self._queue = queue
        self._lock = lock
        self._unlisten = queue.listen(self.pump)

    def send_next(self) -> bool:
        """Take the first message off the queue and send it."""
        delivery = self._queue.take(lock=self._lock)
        if delivery is None:
            return False
        held = None if delivery.lock_token is None else (self._queue, delivery.lock_token)
        self.session.deliver(self.handle, delivery.wire(), held)
        return True

    def close(self) -> None:
        """Stop listening; what is locked stays locked until its time is up."""
        self._unlisten()


class ReplyOutlet(Outlet):
    """Carries the answers of a request node; the oldest are dropped beyond a bound."""

    def __init__(self, session: "Session", handle: int, address: str) -> None:
        super().__init__(session, handle)
        self.address = address
        self._waiting: deque[bytes] = deque(maxlen=REPLIES)

    def send_next(self) -> bool:
        """Send the answers in order."""
        if not self._waiting:
            return False
        self.session.deliver(self.handle, self._waiting.popleft(), None)
        return True

    def answer(self, payload: bytes) -> None:
        """Send an answer as soon as there is credit."""
        self._waiting.append(payload)
        self.pump()


def _too_large(room: int) -> Described:
    return rejected("amqp:link:message-size-exceeded", f"A message may have {room} bytes here.")
