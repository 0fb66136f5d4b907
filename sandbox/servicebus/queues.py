"""What a queue does: locks, redelivery, dead letters, schedules, deferral. No sockets.

Rules: time is what `now_s` says and nothing else; a message is in exactly one place; whatever falls
due (locks, expiry, schedules) is carried out before any question is answered, so that a turned
clock needs no waiting. A queue and its dead letters together hold `capacity` messages.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sandbox.servicebus.messages import Delivery, Message, moment
from sandbox.servicebus.shelf import Entry, Shelf, State

DEAD_LETTER_SUFFIX = "/$DeadLetterQueue"
PEEK_LIMIT = 250
_NO_LIMIT = 2**31


class LockLost(Exception):  # noqa: N818  # a state of affairs, named as Service Bus names it
    """The lock is not held any more: it expired, was settled, or never was."""


class MessageNotFound(Exception):  # noqa: N818  # as above
    """No message with that sequence number is in the state the operation needs."""


class QueueFull(Exception):  # noqa: N818  # as above
    """The queue holds as many messages as it may."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue as declared. Each message is delivered at most `max_delivery_count` times."""

    name: str
    max_delivery_count: int = 10
    lock_s: float = 30.0
    ttl_s: float | None = None
    max_message_bytes: int = 262_144
    capacity: int = 100_000


class Queue:
    """One queue and its dead-letter queue (None on a dead-letter queue itself).

    Fault knobs: `delay_s` holds every message put from now on back for that long; the next
    `duplicate_next` messages completed are delivered once more; `expire_locks()`.
    """

    def __init__(
        self, spec: QueueSpec, now_s: Callable[[], float] = time.time, *, dead: bool = False
    ) -> None:
        self.spec = spec
        self.dead_letters: Queue | None = None if dead else Queue(_dead(spec), now_s, dead=True)
        self.delay_s = 0.0
        self.duplicate_next = 0
        self._now_s = now_s
        self._shelf = Shelf()
        self._locked: dict[uuid.UUID, Entry] = {}
        self._listeners: deque[Callable[[], None]] = deque()
        self._news = asyncio.Event()

    @property
    def depth(self) -> int:
        """Messages to be worked on, those locked at the moment included."""
        self.sweep()
        return self._shelf.active()

    @property
    def dead_letter_depth(self) -> int:
        """Messages in the dead-letter queue."""
        self.sweep()
        return self.dead_letters.depth if self.dead_letters else 0

    def put(self, message: Message) -> int:
        """Add a message, now or when it is scheduled; returns its number; raises `QueueFull`."""
        return self.put_all([message])[0]

    def put_all(self, messages: Sequence[Message]) -> list[int]:
        """Add all messages or none; returns their numbers; raises `QueueFull`."""
        self.sweep()
        held = len(self._shelf) + (len(self.dead_letters._shelf) if self.dead_letters else 0)  # noqa: SLF001  # its own half
        if held + len(messages) > self.spec.capacity:
            raise QueueFull(f"{self.spec.name} holds {held} messages and may not hold more")
        numbers = [self._admit(message) for message in messages]
        self._tell()
        return numbers

    def _admit(self, message: Message) -> int:
        now_s = self._now_s()
        entry = Entry(self._shelf.next_number(), message, now_s, visible_s=now_s + self.delay_s)
        self._shelf.keep(entry)
        if message.scheduled_s is not None and message.scheduled_s > now_s:
            entry.state, entry.visible_s = State.SCHEDULED, message.scheduled_s
            self._shelf.remind(entry.visible_s, entry)
        else:
            self._enter(entry)
        return entry.number

    def _enter(self, entry: Entry) -> None:
        """Let a message start its life in the queue: from here its time to live counts."""
        lives = [ttl for ttl in (entry.message.ttl_s, self.spec.ttl_s) if ttl is not None]
        if lives:
            entry.expires_s = entry.enqueued_s + min(lives)
            self._shelf.remind(entry.expires_s, entry)
        self._shelf.offer(entry, self._now_s())

    def cancel(self, numbers: Iterable[int]) -> None:
        """Take back scheduled messages, all or none; raises `MessageNotFound`."""
        for entry in self._pick(numbers, State.SCHEDULED):
            self._shelf.drop(entry)

    def take(self, *, lock: bool = True) -> Delivery | None:
        """Hand out the first ready message, locked, or removed if not `lock`; None without one."""
        self.sweep()
        entry = self._shelf.first_ready()
        return None if entry is None else self._hand_out(entry, lock=lock)

    async def receive(self) -> Delivery:
        """Wait for a message and hand it out, locked."""
        while (delivery := self.take()) is None:
            self._news.clear()
            await self._news.wait()
        return delivery

    def take_deferred(self, numbers: Iterable[int], *, lock: bool = True) -> list[Delivery]:
        """Hand out deferred messages by number, all or none; raises `MessageNotFound`."""
        found = self._pick(numbers, State.DEFERRED)
        return [self._hand_out(entry, lock=lock) for entry in found]

    def peek(self, first: int, count: int) -> list[Delivery]:
        """Show messages in every state from number `first` on, without locking them."""
        self.sweep()
        return [e.show() for e in self._shelf.from_number(first, min(count, PEEK_LIMIT))]

    def _hand_out(self, entry: Entry, *, lock: bool) -> Delivery:
        if lock:
            entry.token = uuid.uuid4()
            self._locked[entry.token] = entry
            self._extend(entry)
        else:
            self._shelf.drop(entry)
        return entry.show()

    def _extend(self, entry: Entry) -> None:
        entry.locked_until_s = self._now_s() + self.spec.lock_s
        self._shelf.remind(entry.locked_until_s, entry)

    def _pick(self, numbers: Iterable[int], state: State) -> list[Entry]:
        self.sweep()
        found = [self._shelf.entries.get(number) for number in set(numbers)]
        picked = [e for e in found if e is not None and e.state is state and e.token is None]
        if not picked or len(picked) != len(found):
            raise MessageNotFound("no such message, or it is not in the right state")
        return sorted(picked, key=lambda entry: entry.number)

    # The following settle a delivery; each raises `LockLost`.

    def complete(self, token: uuid.UUID) -> None:
        """Remove the message, unless `duplicate_next` wants it delivered once more."""
        entry = self._unlock(token)
        if self.duplicate_next <= 0:
            self._shelf.drop(entry)
            return
        self.duplicate_next -= 1
        entry.state, entry.failures = State.ACTIVE, entry.failures + 1
        self._return(entry)
        self._tell()

    def abandon(self, token: uuid.UUID) -> None:
        """Count the delivery as failed and make the message available again at once."""
        self._fail(self._unlock(token))
        self._tell()

    def release(self, token: uuid.UUID) -> None:
        """Give the message back unread: it does not count as a delivery."""
        self._return(self._unlock(token))
        self._tell()

    def defer(self, token: uuid.UUID) -> None:
        """Set the message aside, to be had by its number only."""
        self._unlock(token).state = State.DEFERRED

    def dead_letter(self, token: uuid.UUID, reason: str = "", description: str = "") -> None:
        """Move the message to the dead-letter queue."""
        self._bury(self._unlock(token), reason, description)

    def renew(self, token: uuid.UUID) -> datetime:
        """Start the lock's time anew; returns when it will end now."""
        entry = self._held(token)
        self._extend(entry)
        return moment(entry.locked_until_s)

    def _held(self, token: uuid.UUID) -> Entry:
        self.sweep()
        entry = self._locked.get(token)
        if entry is None:
            raise LockLost("the lock has expired, or the message was settled already")
        return entry

    def _unlock(self, token: uuid.UUID) -> Entry:
        entry = self._held(token)
        del self._locked[token]
        entry.token = None
        return entry

    def _fail(self, entry: Entry) -> None:
        entry.failures += 1
        if entry.failures >= self.spec.max_delivery_count:
            words = f"It was delivered {entry.failures} times without being completed."
            self._bury(entry, "MaxDeliveryCountExceeded", words)
        else:
            self._return(entry)

    def _return(self, entry: Entry) -> None:
        if entry.state is State.ACTIVE and not self._expire(entry):
            self._shelf.offer(entry, self._now_s())

    def _expire(self, entry: Entry) -> bool:
        if entry.expires_s is None or entry.expires_s > self._now_s():
            return False
        self._bury(entry, "TTLExpiredException", "It expired and was dead-lettered.")
        return True

    def _bury(self, entry: Entry, reason: str, description: str) -> None:
        self._shelf.drop(entry)
        entry.message = entry.message.for_the_dead(self.spec.name, reason, description)
        entry.state, entry.expires_s, entry.visible_s = State.ACTIVE, None, 0.0
        (self.dead_letters or self)._accept(entry)  # noqa: SLF001  # its own half

    def _accept(self, entry: Entry) -> None:
        self._shelf.keep(entry)
        self._shelf.offer(entry, self._now_s())
        self._tell()

    def sweep(self) -> None:
        """Carry out whatever has fallen due by now."""
        now_s = self._now_s()
        changed = [self._look_at(entry, now_s) for entry in self._shelf.due(now_s)]
        if any(changed):
            self._tell()

    def _look_at(self, entry: Entry, now_s: float) -> bool:
        """Do what is due to one entry; a reminder may be stale, then nothing is."""
        if entry.token is not None:
            if entry.locked_until_s > now_s:
                return False
            self._lose(entry.token)
        elif entry.state is State.SCHEDULED:
            self._activate(entry, now_s)
        elif entry.state is State.ACTIVE:
            self._return(entry)
        return True

    def _lose(self, token: uuid.UUID) -> None:
        entry = self._locked.pop(token)
        entry.token = None
        self._fail(entry)

    def _activate(self, entry: Entry, now_s: float) -> None:
        """Enqueue a scheduled message as if it came now, under a new number."""
        self._shelf.drop(entry)
        entry.number, entry.enqueued_s = self._shelf.next_number(), now_s
        entry.state = State.ACTIVE
        self._shelf.keep(entry)
        self._enter(entry)

    def expire_locks(self) -> None:
        """Lose every lock now, as if its time had run out (a fault knob)."""
        self.sweep()
        for token in list(self._locked):
            self._lose(token)
        self._tell()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever a message may be ready; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        """Tell everyone, each time starting with the next, so that receivers share the work."""
        self._news.set()
        self._listeners.rotate(-1)
        for listener in list(self._listeners):
            listener()


def _dead(spec: QueueSpec) -> QueueSpec:
    name = spec.name + DEAD_LETTER_SUFFIX
    return replace(spec, name=name, max_delivery_count=_NO_LIMIT, ttl_s=None)
