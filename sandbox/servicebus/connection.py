"""One connection: the SASL and AMQP handshakes, frames in, frames out.

Rules: nothing larger than the frame size we announced is read; the socket's buffer is bounded by
not handing out messages while it is full; a client that asked for signs of life gets them.
"""

import asyncio
import time
from typing import Protocol

from sandbox.servicebus.codec import encode
from sandbox.servicebus.frames import HEADER_SIZE, described, frame, read_performative, split_header
from sandbox.servicebus.management import Gate, Request, manage, put_token
from sandbox.servicebus.queues import Queue
from sandbox.servicebus.sessions import BEGIN, DETACH, END, Answer, Session, filled, number
from sandbox.servicebus.settlement import error
from sandbox.servicebus.wiretypes import Array, MalformedError, Symbol, UByte, UInt, UShort

OPEN, CLOSE = 0x10, 0x18
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44
FRAME_BYTES = 65_536
BUFFER_BYTES = 4 * 1024 * 1024
CHANNELS = 64
HANDSHAKE_S = 20.0
_AMQP = b"AMQP\x00\x01\x00\x00"
_SASL = b"AMQP\x03\x01\x00\x00"
_MANAGEMENT = "/$management"


class Namespace(Protocol):
    """What a connection needs of the broker."""

    gate: Gate

    def find(self, path: str) -> Queue | None:
        """Find a queue by its path."""


class Connection:
    """One client's connection, from its first byte to its last."""

    def __init__(
        self, namespace: Namespace, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.frame_bytes = FRAME_BYTES
        self.admitted = False
        self._namespace = namespace
        self._reader = reader
        self._writer = writer
        self._sessions: dict[int, Session] = {}
        self._sign_of_life_s: float | None = None
        self._sent_s = time.monotonic()
        self._is_open = True

    async def run(self) -> None:
        """Serve until the client closes or goes; raises `MalformedError`, `OSError`, `EOFError`."""
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._shake_hands()
            while self._is_open:
                await self._serve_frame()
                await self._writer.drain()
        finally:
            for session in self._sessions.values():
                session.close()

    def abort(self) -> None:
        """Close the connection; drop what is unsent if neither side has said goodbye."""
        if self._is_open:
            self._writer.transport.abort()
        self._writer.close()

    def tick(self) -> None:
        """Send what had to wait, and a sign of life if one is due."""
        for session in self._sessions.values():
            session.pump()
        quiet_s = time.monotonic() - self._sent_s
        if self._sign_of_life_s is not None and quiet_s > self._sign_of_life_s:
            self._write(frame(0, b""))

    # What sessions ask for

    def send(self, channel: int, code: int, fields: list[object], payload: bytes = b"") -> None:
        """Send one performative with the payload behind it."""
        self._write(frame(channel, encode(described(code, fields)) + payload))

    def is_full(self) -> bool:
        """Say whether so much is unsent that nothing should be handed out."""
        return self._writer.transport.get_write_buffer_size() > BUFFER_BYTES

    def queue(self, address: str) -> Queue | None:
        """Find a queue by its address."""
        return self._namespace.find(address)

    def request_node(self, address: str) -> Answer | None:
        """Find the node that answers requests to an address."""
        if address == "$cbs":
            return self._put_token
        queue = self._namespace.find(address.removesuffix(_MANAGEMENT))
        if queue is None or not address.endswith(_MANAGEMENT):
            return None
        return lambda payload: manage(queue, Request.parse(payload))

    def _put_token(self, payload: bytes) -> bytes:
        self.admitted, reply = put_token(self._namespace.gate, Request.parse(payload))
        return reply

    # The bytes

    async def _shake_hands(self) -> None:
        header = await self._reader.readexactly(HEADER_SIZE)
        if header == _SASL:
            await self._authenticate()
            header = await self._reader.readexactly(HEADER_SIZE)
        self._write(_AMQP)
        if header != _AMQP:
            raise MalformedError("the client does not speak AMQP 1.0")

    async def _authenticate(self) -> None:
        """Let everybody in anonymously: what counts is the token put to `$cbs` later."""
        mechanisms = described(SASL_MECHANISMS, [Array([Symbol("ANONYMOUS")])])
        self._write(_SASL + frame(0, encode(mechanisms), sasl=True))
        _, body = await self._read_frame()
        if read_performative(body)[0] != SASL_INIT:
            raise MalformedError("a SASL answer was expected")
        self._write(frame(0, encode(described(SASL_OUTCOME, [UByte(0)])), sasl=True))

    async def _read_frame(self) -> tuple[int, bytes]:
        size, offset, channel = split_header(await self._reader.readexactly(HEADER_SIZE))
        if not HEADER_SIZE <= offset <= size <= FRAME_BYTES:
            raise MalformedError(f"a frame of {size} bytes with its body at {offset}")
        rest = await self._reader.readexactly(size - HEADER_SIZE)
        return channel, rest[offset - HEADER_SIZE :]

    async def _serve_frame(self) -> None:
        channel, body = await self._read_frame()
        if not body:
            return
        code, fields, payload = read_performative(body)
        try:
            self._handle(channel, code, fields, payload)
        except MalformedError as wrong:
            self.send(0, CLOSE, [error("amqp:connection:framing-error", str(wrong))])
            self._is_open = False
            raise

    def _handle(self, channel: int, code: int, fields: list[object], payload: bytes) -> None:
        if code == OPEN:
            self._open(fields)
        elif code == BEGIN:
            self._begin(channel, fields)
        elif code == CLOSE:
            self.send(0, CLOSE, [])
            self._is_open = False
        elif channel not in self._sessions:
            if code == DETACH:
                # The SDK ends a session first and detaches its links afterwards.
                return
            raise MalformedError(f"there is no session on channel {channel}")
        elif code == END:
            self._sessions.pop(channel).close()
            self.send(channel, END, [])
        else:
            self._sessions[channel].handle(code, fields, payload)

    def _open(self, fields: list[object]) -> None:
        fields = filled(fields, 5)
        if fields[2] is not None:
            self.frame_bytes = max(512, min(FRAME_BYTES, number(fields, 2)))
        if number(fields, 4):
            self._sign_of_life_s = number(fields, 4) / 2000
        ours = ["sandbox", None, UInt(FRAME_BYTES), UShort(CHANNELS - 1)]
        self.send(0, OPEN, list(ours))

    def _begin(self, channel: int, fields: list[object]) -> None:
        if channel in self._sessions or len(self._sessions) >= CHANNELS:
            raise MalformedError("the channel is in use, or there are too many")
        self._sessions[channel] = Session(self, channel, fields)

    def _write(self, data: bytes) -> None:
        self._sent_s = time.monotonic()
        self._writer.write(data)
