"""The wire types of AMQP 1.0 that Python has no type for, as subclasses of those it has.

Rule: a value of one of these keeps its wire type when it is decoded and encoded again, and is
otherwise the plain number, text or list that it looks like.
"""

from dataclasses import dataclass


class MalformedError(ValueError):
    """The bytes are not AMQP 1.0, or exceed a bound."""


class Byte(int):
    """A signed integer of 8 bits."""


class Short(int):
    """A signed integer of 16 bits."""


class Int(int):
    """A signed integer of 32 bits."""


class Long(int):
    """A signed integer of 64 bits; what a plain int is sent as."""


class UByte(int):
    """An unsigned integer of 8 bits."""


class UShort(int):
    """An unsigned integer of 16 bits."""


class UInt(int):
    """An unsigned integer of 32 bits."""


class ULong(int):
    """An unsigned integer of 64 bits."""


class Timestamp(int):
    """Milliseconds since 1970, UTC."""


class Float32(float):
    """A float of 32 bits; a plain float is sent as 64."""


class Symbol(str):
    """A word from a fixed vocabulary, ASCII."""

    __slots__ = ()


class Char(str):
    """One Unicode character."""

    __slots__ = ()


class Array(list[object]):
    """A list whose items all have the wire type of the first."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value carried but not understood (the decimal types): its constructor and its bytes."""

    code: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor in front, as performatives, outcomes and sections are."""

    descriptor: object
    value: object
