"""AMQP values and messages survive the way to bytes and back, and bad bytes are refused."""

import math
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.servicebus.codec import decode, encode
from sandbox.servicebus.frames import frame, read_performative, section, split_header
from sandbox.servicebus.messages import Message, batch
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

# No deadline: the first example of a run on a busy machine says nothing.
BRIEFLY = settings(max_examples=60, deadline=None)


def _ints(kind: type[int], bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high).map(kind)


NUMBERS = st.one_of(
    _ints(UByte, 8, signed=False),
    _ints(UShort, 16, signed=False),
    _ints(UInt, 32, signed=False),
    _ints(ULong, 64, signed=False),
    _ints(Byte, 8, signed=True),
    _ints(Short, 16, signed=True),
    _ints(Int, 32, signed=True),
    _ints(Long, 64, signed=True),
    _ints(Timestamp, 64, signed=True),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False, width=32).map(Float32),
)
KEYS = st.one_of(
    NUMBERS,
    st.text(max_size=300),
    st.text("abcxyz:-", max_size=300).map(Symbol),
    st.characters(codec="utf-8").map(Char),
    st.binary(max_size=300),
    st.uuids(),
)
LEAVES = st.one_of(
    KEYS,
    st.none(),
    st.booleans(),
    st.binary(min_size=16, max_size=16).map(lambda b: Opaque(148, b)),
)
ARRAYS = st.one_of(
    st.lists(_ints(Long, 64, signed=True)),
    st.lists(st.text(max_size=300)),
    st.lists(st.uuids()),
    st.lists(st.booleans(), max_size=255),
).map(Array)
VALUES = st.recursive(
    LEAVES | ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5),
        st.builds(Described, _ints(ULong, 64, signed=False), inner),
    ),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Compare types too: UInt(1) equals Long(1) for Python, but not on the wire."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    if isinstance(left, Described):
        return same([left.descriptor, left.value], [right.descriptor, right.value])
    return bool(left == right)


@BRIEFLY
@given(VALUES)
def test_a_value_keeps_its_type_and_worth(value: object) -> None:
    """Whatever is encoded is decoded as the same."""
    assert same(decode(encode(value)), value)


@BRIEFLY
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    """Nothing a peer sends raises anything else."""
    try:
        decode(data)
    except MalformedError:
        return


@BRIEFLY
@given(VALUES, st.data())
def test_damaged_bytes_are_a_value_or_malformed(value: object, data: st.DataObject) -> None:
    """The same for bytes that almost make sense: one changed, or the end cut off."""
    good = bytearray(encode(value))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(good[: data.draw(st.integers(at, len(good)))]))
    except MalformedError:
        return


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("40", None),
        ("41", True),
        ("5600", False),
        ("43", UInt(0)),
        ("5207", UInt(7)),
        ("70000000ff", UInt(255)),
        ("44", ULong(0)),
        ("54ff", Int(-1)),
        ("55fe", Long(-2)),
        ("8300000000000003e8", Timestamp(1000)),
        ("a1026869", "hi"),
        ("a3026869", Symbol("hi")),
        ("b10000000a" + "61" * 10, "a" * 10),
        ("a003010203", b"\x01\x02\x03"),
        ("7300000041", Char("A")),
        ("45", []),
        ("c003024041", [None, True]),
        ("c1050254ff5501", {Int(-1): Long(1)}),
        ("e004025401ff", Array([Int(1), Int(-1)])),
        ("00532445", Described(ULong(0x24), [])),
        ("98" + "00" * 15 + "01", uuid.UUID(int=1)),
    ],
)
def test_the_forms_of_the_standard_are_read(data: str, value: object) -> None:
    """Written out by hand from the standard, the short forms included."""
    assert same(decode(bytes.fromhex(data)), value)


def test_a_nan_is_carried() -> None:
    """It is the one value that does not equal itself."""
    read = decode(encode(math.nan))
    assert isinstance(read, float)
    assert math.isnan(read)


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("nothing at all", b""),
        ("cut short", b"\xa1\x05ab"),
        ("left over", b"\x40\x40"),
        ("no such constructor", b"\x3f"),
        ("not UTF-8", b"\xa1\x01\xff"),
        ("too deep", b"\x00" * 1000),
        ("nested lists too deep", b"\xc0\x7f\x01" * 100),
        ("a map without its last value", b"\xc1\x03\x01\x40\x40"),
        ("a huge count", b"\xd0\x00\x00\x00\x04\xff\xff\xff\xff"),
        ("many items of no size", b"\xf0\x00\x00\x00\x05\x00\x00\xff\xff\x40"),
        ("a list as a map key", b"\xc1\x03\x02\x45\x40"),
    ],
)
def test_what_is_no_value_is_refused(why: str, data: bytes) -> None:
    """Each is refused before it costs anything."""
    with pytest.raises(MalformedError):
        decode(data)


@pytest.mark.parametrize("value", [UByte(256), Int(2**31), 2**63, Array([Int(1), Long(1)])])
def test_what_does_not_fit_its_type_is_not_written(value: object) -> None:
    """A number too large for its type is an error, not another number."""
    with pytest.raises(MalformedError):
        encode(value)


def test_what_has_no_wire_type_is_not_written() -> None:
    """A set is a mistake of ours, hence a TypeError."""
    with pytest.raises(TypeError):
        encode({1, 2})


def test_a_frame_is_split_as_it_was_put_together() -> None:
    """The header, the performative and the payload behind it."""
    whole = frame(7, encode(Described(ULong(0x14), [UInt(3)])) + b"payload")
    assert split_header(whole[:8]) == (len(whole), 8, 7)
    assert read_performative(whole[8:]) == (0x14, [3], b"payload")


def test_the_parts_of_a_message_stay_the_bytes_they_were() -> None:
    """Properties, application properties and body are carried, not rewritten."""
    properties = section(0x73, ["m1", None, None, Symbol("odd")])
    application = section(0x74, {"n": Int(3), "f": Float32(0.5)})
    body = section(0x75, b"one") + section(0x75, b"two")
    dropped = section(0x71, {Symbol("delivery"): 1}) + section(0x78, {})
    message = Message.parse(section(0x70, [True]) + properties + application + body + dropped)
    assert message.header == (True,)
    assert (message.properties, message.application, message.body) == (
        properties,
        application,
        body,
    )
    assert message.property_map() == {"message_id": "m1", "subject": "odd"}


def test_a_batch_is_taken_apart() -> None:
    """Each data section of a batch is a message; anything else is refused."""
    parts = [section(0x75, section(0x75, body)) for body in (b"1", b"2")]
    assert [message.body for message in batch(b"".join(parts))] == [
        section(0x75, b"1"),
        section(0x75, b"2"),
    ]
    with pytest.raises(MalformedError):
        batch(section(0x77, "no batch"))
