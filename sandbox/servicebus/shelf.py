"""Where a queue keeps its messages: by number, in order of readiness, and by what falls due when.

Rules: numbers rise and are never used again; the two heaps may hold stale numbers, which are
ignored when they surface and thrown away before they outnumber the messages.
"""

import heapq
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from sandbox.servicebus.messages import Delivery, Message, moment

_SLACK = 1024


class State(IntEnum):
    """The state of a message, as peeking shows it."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(slots=True)
class Entry:
    """A message in a queue; times are seconds since 1970, a token means that it is locked."""

    number: int
    message: Message
    enqueued_s: float
    state: State = State.ACTIVE
    failures: int = 0
    visible_s: float = 0.0
    expires_s: float | None = None
    token: uuid.UUID | None = None
    locked_until_s: float = 0.0

    def show(self) -> Delivery:
        """Return what a receiver sees."""
        return Delivery(
            message=self.message,
            sequence_number=self.number,
            enqueued_time=moment(self.enqueued_s),
            delivery_count=self.failures,
            state=self.state,
            expires_at=None if self.expires_s is None else moment(self.expires_s),
            lock_token=self.token,
            locked_until=None if self.token is None else moment(self.locked_until_s),
        )


class Shelf:
    """The entries of one queue."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._last_number = 0
        self._ready: list[int] = []
        self._due: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self.entries)

    def active(self) -> int:
        """Count the entries that are neither deferred nor scheduled."""
        return sum(entry.state is State.ACTIVE for entry in self.entries.values())

    def next_number(self) -> int:
        """Return a number never used before."""
        self._last_number += 1
        return self._last_number

    def keep(self, entry: Entry) -> None:
        """Add an entry under its own number."""
        self.entries[entry.number] = entry

    def drop(self, entry: Entry) -> None:
        """Remove an entry; it need not be there."""
        self.entries.pop(entry.number, None)

    def offer(self, entry: Entry, now_s: float) -> None:
        """Make an entry ready, now or when it becomes visible."""
        if entry.visible_s > now_s:
            self.remind(entry.visible_s, entry)
        else:
            heapq.heappush(self._ready, entry.number)

    def first_ready(self) -> Entry | None:
        """Take the entry with the lowest number off the ready ones."""
        while self._ready:
            entry = self.entries.get(heapq.heappop(self._ready))
            if entry and entry.state is State.ACTIVE and entry.token is None:
                return entry
        return None

    def remind(self, at_s: float, entry: Entry) -> None:
        """Let `due` name this entry once `at_s` has come."""
        heapq.heappush(self._due, (at_s, entry.number))

    def due(self, now_s: float) -> Iterator[Entry]:
        """Yield the entries of which something may have fallen due, each reminder once."""
        while self._due and self._due[0][0] <= now_s:
            entry = self.entries.get(heapq.heappop(self._due)[1])
            if entry is not None:
                yield entry
        self._compact()

    def from_number(self, first: int, count: int) -> list[Entry]:
        """Return up to `count` entries in order of number, from `first` on, in any state."""
        numbers = (number for number in self.entries if number >= first)
        return [self.entries[number] for number in heapq.nsmallest(count, numbers)]

    def _compact(self) -> None:
        if max(len(self._due), len(self._ready)) <= 4 * len(self.entries) + _SLACK:
            return
        self._due = sorted({due for due in self._due if due[1] in self.entries})
        self._ready = sorted({number for number in self._ready if number in self.entries})
