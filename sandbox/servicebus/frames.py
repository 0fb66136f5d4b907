"""AMQP 1.0 frames, performatives, and the sections of a message.

Rule: nothing here knows what a frame is for; sizes are checked by whoever reads the socket.
Format: OASIS AMQP 1.0, parts 2 (transport) and 3 (messaging).
"""

import struct
from collections.abc import Iterator

from sandbox.servicebus.codec import Reader, encode
from sandbox.servicebus.wiretypes import Described, MalformedError, ULong

HEADER_SIZE = 8


def frame(channel: int, body: bytes, *, sasl: bool = False) -> bytes:
    """Put the frame header before `body`."""
    size = HEADER_SIZE + len(body)
    return struct.pack(">IBBH", size, 2, int(sasl), channel) + body


def split_header(header: bytes) -> tuple[int, int, int]:
    """Read a frame header: the frame's size and its body's offset in bytes, and the channel."""
    size, words, _, channel = struct.unpack(">IBBH", header)
    return size, words * 4, channel


def described(code: int, fields: list[object]) -> Described:
    """Make a performative, an outcome or another composite: a described list."""
    return Described(ULong(code), fields)


def section(code: int, value: object) -> bytes:
    """Write one section of a message."""
    return encode(Described(ULong(code), value))


def read_performative(body: bytes) -> tuple[int, list[object], bytes]:
    """Split a frame's body into the performative's code, its fields and the payload behind it."""
    reader = Reader(body)
    read = reader.value()
    code, fields = composite(read)
    return code, fields, body[reader.at :]


def composite(value: object) -> tuple[int, list[object]]:
    """Return the code and fields of a described list."""
    if not (isinstance(value, Described) and isinstance(value.descriptor, int)):
        raise MalformedError("a described list was expected")
    if not isinstance(value.value, list):
        raise MalformedError("a described list was expected")
    return int(value.descriptor), value.value


def sections(payload: bytes) -> Iterator[tuple[int, object, bytes]]:
    """Split an encoded message into (section code, decoded value, the raw bytes it came in)."""
    reader = Reader(payload)
    while reader.at < len(payload):
        start = reader.at
        read = reader.value()
        if not (isinstance(read, Described) and isinstance(read.descriptor, int)):
            raise MalformedError("a message section was expected")
        yield int(read.descriptor), read.value, payload[start : reader.at]
