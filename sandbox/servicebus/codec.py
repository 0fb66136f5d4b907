"""AMQP 1.0 values, both ways.

Rules: a decoded value remembers its wire type (`UInt`, `Symbol`, ...), so that encoding it again
gives the same type; whatever a peer sends is bounded before it is believed; malformed bytes raise
`MalformedError` and nothing else. Format: OASIS AMQP 1.0, part 1.
"""

import struct
import uuid
from collections.abc import Callable
from typing import Any

from sandbox.servicebus.wiretypes import (
    Array,
    Byte,
    Char,
    Described,
    Float32,
    Int,
    Long,
    MalformedError,
    Opaque,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

MAX_DEPTH = 32
MAX_ITEMS = 65_536
MAX_EMPTY_ITEMS = 255


# Constructor, struct format and Python type of the fixed-width types. The first constructor of a
# Python type is the one used to encode it.
_FIXED: tuple[tuple[int, str, type], ...] = (
    (0x50, "B", UByte),
    (0x51, "b", Byte),
    (0x60, "H", UShort),
    (0x61, "h", Short),
    (0x70, "I", UInt),
    (0x71, "i", Int),
    (0x80, "Q", ULong),
    (0x81, "q", Long),
    (0x83, "q", Timestamp),
    (0x72, "f", Float32),
    (0x82, "d", float),
    (0x52, "B", UInt),
    (0x53, "B", ULong),
    (0x54, "b", Int),
    (0x55, "b", Long),
)
_FIXED_BY_CODE = {code: (struct.Struct(">" + fmt), kind) for code, fmt, kind in _FIXED}
_FIXED_BY_KIND = {kind: (code, struct.Struct(">" + fmt)) for code, fmt, kind in reversed(_FIXED)}
_EMPTY: dict[int, Callable[[], object]] = {
    0x40: lambda: None,
    0x41: lambda: True,
    0x42: lambda: False,
    0x43: lambda: UInt(0),
    0x44: lambda: ULong(0),
    0x45: list,
}
_OPAQUE_SIZES = {0x74: 4, 0x84: 8, 0x94: 16}


class Reader:
    """A cursor over bytes that never reads past the end; all its methods raise `MalformedError`."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        end = self.at + size
        if end > len(self.data):
            raise MalformedError("the value is longer than its bytes")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, size: int) -> int:
        """Read an unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size))

    def value(self, depth: int = 0) -> object:
        """Read a value of any type."""
        code = self.number(1)
        if code:
            return self._of(code, depth)
        if depth >= MAX_DEPTH:
            raise MalformedError("nested too deeply")
        return Described(self.value(depth + 1), self.value(depth + 1))

    def _of(self, code: int, depth: int) -> object:
        """Read the value whose constructor was `code`."""
        if code in _EMPTY:
            return _EMPTY[code]()
        if code in _FIXED_BY_CODE:
            form, kind = _FIXED_BY_CODE[code]
            return kind(form.unpack(self.take(form.size))[0])
        if code in _OPAQUE_SIZES:
            return Opaque(code, self.take(_OPAQUE_SIZES[code]))
        width = 4 if code & 0x10 else 1
        if code in _VARIABLE:
            return _VARIABLE[code](self.take(self.number(width)))
        if code in _SINGLE:
            return _SINGLE[code](self.take(_SINGLE_SIZES[code]))
        if code in _COMPOUND:
            return self._compound(_COMPOUND[code], width, depth)
        raise MalformedError(f"unknown constructor 0x{code:02x}")

    def _compound(self, kind: type, width: int, depth: int) -> object:
        size = self.number(width)
        end = self.at + size
        count = self.number(width)
        if depth >= MAX_DEPTH or count > MAX_ITEMS or end > len(self.data):
            raise MalformedError("nested too deeply, too many items, or cut short")
        items = self._array(count, depth) if kind is Array else self._items(count, depth)
        if self.at != end:
            raise MalformedError("a compound value does not have its stated size")
        return _pairs(items) if kind is dict else items

    def _items(self, count: int, depth: int) -> list[object]:
        return [self.value(depth + 1) for _ in range(count)]

    def _array(self, count: int, depth: int) -> Array:
        code = self.number(1)
        if code == 0:
            raise MalformedError("arrays of described values are not supported")
        if code in _EMPTY and count > MAX_EMPTY_ITEMS:
            raise MalformedError("too many items without bytes of their own")
        return Array(self._of(code, depth + 1) for _ in range(count))


def _pairs(items: list[object]) -> dict[object, object]:
    if len(items) % 2:
        raise MalformedError("a map needs as many values as keys")
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as wrong:
        raise MalformedError("a map key is not a simple value") from wrong


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as wrong:
        raise MalformedError("a string is not UTF-8") from wrong


def _char(data: bytes) -> Char:
    try:
        return Char(chr(int.from_bytes(data)))
    except (ValueError, OverflowError) as wrong:
        raise MalformedError("not a character") from wrong


_VARIABLE: dict[int, Callable[[bytes], object]] = {
    0xA0: bytes,
    0xB0: bytes,
    0xA1: _text,
    0xB1: _text,
    0xA3: lambda data: Symbol(_text(data)),
    0xB3: lambda data: Symbol(_text(data)),
}
_SINGLE: dict[int, Callable[[bytes], object]] = {
    0x56: lambda data: data != b"\x00",
    0x73: _char,
    0x98: lambda data: uuid.UUID(bytes=data),
}
_SINGLE_SIZES = {0x56: 1, 0x73: 4, 0x98: 16}
_COMPOUND: dict[int, type] = {
    0xC0: list,
    0xD0: list,
    0xC1: dict,
    0xD1: dict,
    0xE0: Array,
    0xF0: Array,
}


def decode(data: bytes) -> object:
    """Read the one value that `data` holds; raises `MalformedError` for anything else."""
    reader = Reader(data)
    value = reader.value()
    if reader.at != len(data):
        raise MalformedError("bytes are left over")
    return value


def encode(value: object) -> bytes:
    """Write a value with its wire type; raises `TypeError` or `MalformedError` without one."""
    if isinstance(value, Described):
        return b"\x00" + _descriptor(value.descriptor) + encode(value.value)
    code, data = _constructed(value)
    return bytes((code,)) + data


def _descriptor(value: object) -> bytes:
    """Write a descriptor in its short form, the only one the SDK reads."""
    if isinstance(value, ULong) and value < 256:  # noqa: PLR2004  # the short form is one byte
        return bytes((0x53, value))
    return encode(value)


def _constructed(value: object) -> tuple[int, bytes]:
    """Return the constructor and the bytes behind it, which is what an array repeats."""
    if value is None:
        return 0x40, b""
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            return write(value)
    raise TypeError(f"no AMQP type for {type(value).__name__}")


def _number(value: float) -> tuple[int, bytes]:
    kind = Long if type(value) is int else type(value)
    code, form = _FIXED_BY_KIND[kind]
    try:
        return code, form.pack(value)
    except (struct.error, OverflowError) as wrong:
        raise MalformedError(f"{value!r} does not fit {kind.__name__}") from wrong


def _scalar(value: str | bytes | bytearray | uuid.UUID | Opaque) -> tuple[int, bytes]:
    if isinstance(value, uuid.UUID):
        return 0x98, value.bytes
    if isinstance(value, Opaque):
        return value.code, value.data
    if isinstance(value, Char):
        return 0x73, ord(value).to_bytes(4)
    data = value.encode() if isinstance(value, str) else bytes(value)
    code = 0xB3 if isinstance(value, Symbol) else 0xB1 if isinstance(value, str) else 0xB0
    # Some clients' fields are only tried with the short form; it is also what Azure sends.
    if len(data) < 256:  # noqa: PLR2004  # the short form counts in one byte
        return code - 0x10, bytes((len(data),)) + data
    return code, len(data).to_bytes(4) + data


def _sized(items: list[object]) -> bytes:
    body = b"".join(map(encode, items))
    return (len(body) + 4).to_bytes(4) + len(items).to_bytes(4) + body


def _array(values: Array) -> tuple[int, bytes]:
    """Arrays share one constructor: items of variable width all take the long form."""
    if not values:
        return 0xF0, (5).to_bytes(4) + (0).to_bytes(4) + b"\x40"
    parts = [_long(*_constructed(value)) for value in values]
    if len({code for code, _ in parts}) > 1:
        raise MalformedError("the items of an array differ in type")
    body = bytes((parts[0][0],)) + b"".join(data for _, data in parts)
    return 0xF0, (len(body) + 4).to_bytes(4) + len(parts).to_bytes(4) + body


def _list(values: list[object] | tuple[object, ...]) -> tuple[int, bytes]:
    return (0xD0, _sized(list(values))) if values else (0x45, b"")


def _map(values: dict[object, object]) -> tuple[int, bytes]:
    return 0xD1, _sized([part for pair in values.items() for part in pair])


def _long(code: int, data: bytes) -> tuple[int, bytes]:
    if code in (0xA0, 0xA1, 0xA3):
        return code + 0x10, (len(data) - 1).to_bytes(4) + data[1:]
    return (0xD0, _sized([])) if code == 0x45 else (code, data)  # noqa: PLR2004  # the empty list


# In this order: a bool is an int, and an array is a list.
_WRITERS: tuple[tuple[Any, Callable[[Any], tuple[int, bytes]]], ...] = (
    (bool, lambda value: (0x56, bytes((value,)))),
    ((int, float), _number),
    ((str, bytes, bytearray, uuid.UUID, Opaque), _scalar),
    (Array, _array),
    ((list, tuple), _list),
    (dict, _map),
)
