"""A session: the links of one channel, its windows, and the deliveries not settled yet.

Rules: we answer with the handle numbers the client chose; whoever has not been admitted reaches
`$cbs` only; a link that cannot be had is attached and then detached with the reason, which is how
the SDK learns it. Format: OASIS AMQP 1.0, part 2.
"""

import uuid
from collections.abc import Callable
from typing import Protocol

from sandbox.servicebus.frames import composite
from sandbox.servicebus.links import (
    Inlet,
    Outlet,
    QueueInlet,
    QueueOutlet,
    ReplyOutlet,
    RequestInlet,
)
from sandbox.servicebus.queues import Queue
from sandbox.servicebus.settlement import error, lock_lost, settle
from sandbox.servicebus.wiretypes import Described, MalformedError, UByte, UInt, ULong, UShort

BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END = 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17
WINDOW = 65_535
LINKS = 255
UNSETTLED = 100_000
_FRAME_SLACK = 256
_SETTLED_BY_SENDER = 1

type Held = tuple[Queue, uuid.UUID]
type Answer = Callable[[bytes], bytes]


class Wire(Protocol):
    """What a session needs of its connection."""

    frame_bytes: int
    admitted: bool

    def send(self, channel: int, code: int, fields: list[object], payload: bytes = b"") -> None:
        """Send one performative."""

    def is_full(self) -> bool:
        """Say whether the socket should be left alone for now."""

    def queue(self, address: str) -> Queue | None:
        """Find a queue, or the dead-letter queue of one."""

    def request_node(self, address: str) -> Answer | None:
        """Find the node that answers requests to an address."""


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """A link that the client may not have: condition and words."""


class Session:
    """One session; `handle` is the door for every frame on its channel."""

    def __init__(self, wire: Wire, channel: int, begin: list[object]) -> None:
        self._wire = wire
        self._channel = channel
        self._next_incoming = number(begin, 1)
        self._next_outgoing = 0
        self._next_delivery = 0
        self._remote_window = number(begin, 2)
        self._links: dict[int, Inlet | Outlet] = {}
        self._unsettled: dict[int, Held] = {}
        fields = [UShort(channel), UInt(0), UInt(WINDOW), UInt(WINDOW), UInt(LINKS)]
        wire.send(channel, BEGIN, list(fields))

    def handle(self, code: int, fields: list[object], payload: bytes) -> None:
        """Deal with one performative; raises `MalformedError`."""
        if code == TRANSFER:
            self._transfer(fields, payload)
            return
        steps = {
            ATTACH: self._attach,
            FLOW: self._flow,
            DISPOSITION: self._disposition,
            DETACH: self._detach,
        }
        if code not in steps:
            raise MalformedError(f"performative 0x{code:02x} does not belong here")
        steps[code](fields)

    def close(self) -> None:
        """Let go of all links."""
        for link in self._links.values():
            if isinstance(link, Outlet):
                link.close()
        self._links.clear()

    def pump(self) -> None:
        """Send what had to wait for the socket."""
        for link in list(self._links.values()):
            if isinstance(link, Outlet):
                link.pump()

    # What links ask for

    def has_room(self) -> bool:
        """Say whether a message may be begun now; its last frames may overdraw the window."""
        return self._remote_window > 0 and not self._wire.is_full()

    def flow(self, handle: int, delivery_count: int, credit: int, *, drain: bool = False) -> None:
        """Tell the client where a link stands, and the session with it."""
        at: list[object] = [UInt(delivery_count), UInt(credit), None, drain]
        self._wire.send(self._channel, FLOW, [*self._windows(), UInt(handle), *at])

    def dispose(self, delivery_id: object, outcome: Described, *, as_receiver: bool) -> None:
        """Settle a delivery with an outcome."""
        fields = [as_receiver, delivery_id, delivery_id, True, outcome]
        self._wire.send(self._channel, DISPOSITION, fields)

    def deliver(self, handle: int, payload: bytes, held: Held | None) -> None:
        """Send a message in as many frames as it takes; settled already if nothing is held."""
        delivery_id, self._next_delivery = self._next_delivery, self._next_delivery + 1
        # The SDK reads the lock token from the tag, in the byte order of .NET.
        tag = held[1].bytes_le if held else delivery_id.to_bytes(4)
        if held:
            self._remember(delivery_id, held)
        fields = [UInt(handle), UInt(delivery_id), tag, UInt(0), held is None]
        size = self._wire.frame_bytes - _FRAME_SLACK
        for start in range(0, len(payload), size):
            more = start + size < len(payload)
            self._next_outgoing += 1
            self._remote_window -= 1
            part = payload[start : start + size]
            self._wire.send(self._channel, TRANSFER, [*fields, more], part)

    def reply(self, address: str, payload: bytes) -> None:
        """Send an answer on the newest reply link of an address; without one it is lost."""
        for link in reversed(self._links.values()):
            if isinstance(link, ReplyOutlet) and link.address == address:
                link.answer(payload)
                return

    def _remember(self, delivery_id: int, held: Held) -> None:
        if len(self._unsettled) >= UNSETTLED:
            self._unsettled.pop(next(iter(self._unsettled)))
        self._unsettled[delivery_id] = held

    def _windows(self) -> list[object]:
        return [
            UInt(self._next_incoming),
            UInt(WINDOW),
            UInt(self._next_outgoing),
            UInt(WINDOW),
        ]

    # What the client sends

    def _attach(self, fields: list[object]) -> None:
        fields = filled(fields, 14)
        handle, client_receives = number(fields, 1), fields[2] is True
        terminus = fields[5] if client_receives else fields[6]
        answer = self._attached(fields, _address(terminus))
        try:
            link = self._link(fields, _address(terminus))
        except Refused as refused:
            # A terminus of ours that is null says that there is no link, so nothing is sent on it.
            answer[5 if client_receives else 6] = None
            self._wire.send(self._channel, ATTACH, answer)
            self._wire.send(self._channel, DETACH, [UInt(handle), True, error(*refused.args)])
            return
        self._wire.send(self._channel, ATTACH, answer)
        self._links[handle] = link
        if isinstance(link, Inlet):
            link.grant()

    def _attached(self, fields: list[object], address: str) -> list[object]:
        """Answer an attach with its own termini and modes."""
        client_receives = fields[2] is True
        queue = self._wire.queue(address)
        room = ULong(queue.spec.max_message_bytes if queue else 0)
        modes = [UByte(number(fields, 3)), UByte(number(fields, 4))]
        count = UInt(0) if client_receives else None
        head = [fields[0], UInt(number(fields, 1)), not client_receives, *modes]
        return [*head, fields[5], fields[6], None, False, count, room]

    def _link(self, fields: list[object], address: str) -> Inlet | Outlet:
        handle = number(fields, 1)
        if handle in self._links or len(self._links) >= LINKS:
            raise MalformedError("the handle is in use, or there are too many links")
        answer = self._wire.request_node(address)
        if not (self._wire.admitted or address == "$cbs"):
            raise Refused("amqp:unauthorized-access", f"No token was put for {address}.")
        queue = self._wire.queue(address)
        if answer is None and queue is None:
            raise Refused("amqp:not-found", f"The entity '{address}' could not be found.")
        if fields[2] is True:
            return self._outlet(handle, address, queue, lock=fields[3] != _SETTLED_BY_SENDER)
        return self._inlet(handle, number(fields, 9), queue, (address, answer))

    def _outlet(self, handle: int, address: str, queue: Queue | None, *, lock: bool) -> Outlet:
        if queue is None:
            return ReplyOutlet(self, handle, address)
        return QueueOutlet(self, handle, queue, lock=lock)

    def _inlet(
        self, handle: int, count: int, queue: Queue | None, node: tuple[str, Answer | None]
    ) -> Inlet:
        address, answer = node
        if answer is not None:
            return RequestInlet(self, handle, count, (address, answer))
        if queue is None or queue.dead_letters is None:
            raise Refused("amqp:not-allowed", f"Nothing can be sent to {address}.")
        return QueueInlet(self, handle, count, queue)

    def _flow(self, fields: list[object]) -> None:
        fields = filled(fields, 11)
        seen = number(fields, 0)
        self._remote_window = seen + number(fields, 1) - self._next_outgoing
        link = None if fields[4] is None else self._links.get(number(fields, 4))
        if isinstance(link, Outlet):
            drain = fields[8] is True
            link.on_flow(number(fields, 5), number(fields, 6), drain=drain)
        elif fields[9] is True:
            self._wire.send(self._channel, FLOW, self._windows())
        self.pump()

    def _transfer(self, fields: list[object], payload: bytes) -> None:
        fields = filled(fields, 11)
        self._next_incoming += 1
        link = self._links.get(number(fields, 0))
        if isinstance(link, Inlet):
            link.transfer(fields, payload)

    def _disposition(self, fields: list[object]) -> None:
        fields = filled(fields, 6)
        first = number(fields, 1)
        last = first if fields[2] is None else number(fields, 2)
        if fields[0] is not True or fields[4] is None:
            return
        settled = fields[3] is True
        held = self._held_between(first, last)
        if not (held or settled):
            self.dispose(UInt(first), lock_lost(), as_receiver=False)
        for delivery_id in held:
            queue, token = self._unsettled.pop(delivery_id)
            outcome = settle(queue, token, fields[4])
            if not settled:
                self.dispose(UInt(delivery_id), outcome, as_receiver=False)

    def _held_between(self, first: int, last: int) -> list[int]:
        """Name the unsettled deliveries of a range; a peer's range may be huge."""
        if last - first < len(self._unsettled):
            return [i for i in range(first, last + 1) if i in self._unsettled]
        return [i for i in self._unsettled if first <= i <= last]

    def _detach(self, fields: list[object]) -> None:
        handle = number(fields, 0)
        link = self._links.pop(handle, None)
        if isinstance(link, Outlet):
            link.close()
        if link is not None:
            self._wire.send(self._channel, DETACH, [UInt(handle), True])


def filled(fields: list[object], count: int) -> list[object]:
    """Add the trailing fields a sender may leave out, as nulls."""
    return fields + [None] * (count - len(fields))


def number(fields: list[object], at: int) -> int:
    """Read an unsigned field, 0 if it is null or left out; raises `MalformedError`."""
    value = fields[at] if at < len(fields) else None
    if value is None:
        return 0
    if not isinstance(value, int) or value < 0:
        raise MalformedError("a field that counts is not a number")
    return int(value)


def _address(terminus: object) -> str:
    """Read the address of a source or target: the path, without scheme and host."""
    fields = composite(terminus)[1] if terminus is not None else []
    address = fields[0] if fields else None
    text = address.decode(errors="replace") if isinstance(address, bytes) else str(address or "")
    if "://" in text:
        text = text.partition("://")[2].partition("/")[2]
    return text.strip("/").lower()
