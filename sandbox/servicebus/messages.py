"""One message: the parts it came in, and what a receiver gets to see of it.

Rule: properties, application properties and body stay the raw bytes they came in, so that their
types survive; only the header and the message annotations are written anew for each delivery, and
the application properties once, when the message is dead-lettered.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from sandbox.servicebus import codec
from sandbox.servicebus.frames import section, sections
from sandbox.servicebus.wiretypes import (
    Described,
    Int,
    Long,
    MalformedError,
    Symbol,
    Timestamp,
    UInt,
)

HEADER, ANNOTATIONS, PROPERTIES, APPLICATION = 0x70, 0x72, 0x73, 0x74
DATA, SEQUENCE, VALUE = 0x75, 0x76, 0x77
_MILLISECOND = timedelta(milliseconds=1)
_MAX_UINT = 2**32 - 1
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_000
_SCHEDULED = Symbol("x-opt-scheduled-enqueue-time")
_PROPERTIES = (
    "message_id",
    "user_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "content_type",
    "content_encoding",
    "absolute_expiry_time",
    "creation_time",
    "session_id",
    "group_sequence",
    "reply_to_session_id",
)


def milliseconds(at_s: float) -> Timestamp:
    """Turn seconds since 1970 into what the wire carries."""
    return Timestamp(round(at_s * 1000))


def moment(at_s: float) -> datetime:
    """Turn seconds since 1970 into an aware datetime."""
    return datetime.fromtimestamp(at_s, UTC)


def plain(value: object) -> object:
    """Strip the wire types: a timestamp in the years 1 to 9999 becomes an aware datetime."""
    if isinstance(value, Timestamp) and _FIRST_MS <= value <= _LAST_MS:
        return moment(value / 1000)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Message:
    """A message in its parts; `properties`, `application` and `body` are encoded sections."""

    header: tuple[object, ...] = ()
    annotations: Mapping[object, object] = field(default_factory=dict)
    properties: bytes = b""
    application: bytes = b""
    body: bytes = b""

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Take an encoded message apart, delivery annotations dropped; raises `MalformedError`."""
        header: tuple[object, ...] = ()
        annotations: dict[object, object] = {}
        raw = {PROPERTIES: b"", APPLICATION: b"", DATA: b""}
        for code, value, data in sections(payload):
            if code == HEADER and isinstance(value, list):
                header = tuple(value)
            elif code == ANNOTATIONS and isinstance(value, dict):
                annotations = value
            elif code in (PROPERTIES, APPLICATION):
                raw[code] = data
            elif code in (DATA, SEQUENCE, VALUE):
                raw[DATA] += data
        return cls(header, annotations, raw[PROPERTIES], raw[APPLICATION], raw[DATA])

    @classmethod
    def of(
        cls,
        body: bytes,
        *,
        ttl_s: float | None = None,
        scheduled_s: float | None = None,
        application_properties: Mapping[str, object] | None = None,
        **properties: object,
    ) -> Self:
        """Make a message of bytes; `properties` are named as on `Delivery`: `message_id`, ..."""
        unknown = properties.keys() - set(_PROPERTIES)
        if unknown:
            raise TypeError(f"no such property: {', '.join(sorted(unknown))}")
        header = () if ttl_s is None else (None, None, UInt(round(ttl_s * 1000)))
        due: dict[object, object] = {}
        if scheduled_s is not None:
            due[_SCHEDULED] = milliseconds(scheduled_s)
        fields = [properties.get(name) for name in _PROPERTIES]
        own = dict(application_properties or {})
        return cls(
            header,
            due,
            section(PROPERTIES, fields) if properties else b"",
            section(APPLICATION, own) if own else b"",
            section(DATA, body),
        )

    @property
    def ttl_s(self) -> float | None:
        """How long the sender lets it live once it is in the queue, if it said so."""
        ttl_ms = self.header[2] if len(self.header) > 2 else None  # noqa: PLR2004  # field 2 is ttl
        return min(ttl_ms, _MAX_UINT) / 1000 if isinstance(ttl_ms, int) else None

    @property
    def scheduled_s(self) -> float | None:
        """When it should enter the queue, in seconds since 1970, if not at once."""
        due = self.annotations.get(_SCHEDULED)
        return due / 1000 if isinstance(due, int) else None

    def for_the_dead(self, source: str, reason: str, description: str) -> Self:
        """Return the message with the reason for its dead-lettering written on it."""
        own = self.application_map()
        own |= {"DeadLetterReason": reason, "DeadLetterErrorDescription": description}
        application = section(APPLICATION, own)
        annotations = {**self.annotations, Symbol("x-opt-deadletter-source"): source}
        return replace(self, annotations=annotations, application=application)

    def application_map(self) -> dict[object, object]:
        """Decode the application properties, wire types and all."""
        value = codec.decode(self.application) if self.application else None
        found = value.value if isinstance(value, Described) else {}
        return found if isinstance(found, dict) else {}

    def property_map(self) -> dict[str, object]:
        """Decode the properties that are set, by the names of `Delivery`."""
        value = codec.decode(self.properties) if self.properties else None
        fields = value.value if isinstance(value, Described) else []
        pairs = zip(_PROPERTIES, fields, strict=False) if isinstance(fields, list) else ()
        return {name: plain(item) for name, item in pairs if item is not None}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as handed to one receiver; times are aware and in UTC.

    `delivery_count` is what the SDK shows: the deliveries that failed so far, 0 at first. The
    Functions host and the .NET SDK count this delivery too.
    """

    message: Message
    sequence_number: int
    enqueued_time: datetime
    delivery_count: int
    state: int
    expires_at: datetime | None = None
    lock_token: uuid.UUID | None = None
    locked_until: datetime | None = None

    @property
    def body(self) -> bytes:
        """The bytes of the data sections, or of a text or binary value; raises `TypeError`."""
        parts = bytearray()
        for _, value, _ in sections(self.message.body):
            if not isinstance(value, str | bytes):
                raise TypeError("the body is neither bytes nor text")
            parts += value.encode() if isinstance(value, str) else value
        return bytes(parts)

    @property
    def message_id(self) -> str | None:
        """The sender's id of the message."""
        return self._text("message_id")

    @property
    def content_type(self) -> str | None:
        """The sender's word for the kind of body."""
        return self._text("content_type")

    @property
    def subject(self) -> str | None:
        """What the message is about; Service Bus also calls it the label."""
        return self._text("subject")

    @property
    def correlation_id(self) -> str | None:
        """The id of what this message answers or belongs to."""
        return self._text("correlation_id")

    @property
    def reply_to(self) -> str | None:
        """Where an answer should go."""
        return self._text("reply_to")

    @property
    def to(self) -> str | None:
        """Whom the message is for."""
        return self._text("to")

    @property
    def session_id(self) -> str | None:
        """The session the sender named; it has no effect here."""
        return self._text("session_id")

    @property
    def partition_key(self) -> str | None:
        """The partition the sender named; it has no effect here."""
        key = self.message.annotations.get(Symbol("x-opt-partition-key"))
        return None if key is None else str(key)

    @property
    def application_properties(self) -> dict[str, object]:
        """The sender's own properties, in builtin types."""
        return {str(key): plain(value) for key, value in self.message.application_map().items()}

    def wire(self) -> bytes:
        """Encode the message as this delivery shows it."""
        message = self.message
        header = [*message.header, None, None, None, None][:4]
        if self.expires_at is not None:
            # The queue's own limit counts too: receivers compute the expiry from this field.
            header[2] = UInt(min(_MAX_UINT, (self.expires_at - self.enqueued_time) // _MILLISECOND))
        head = section(HEADER, [*header, UInt(self.delivery_count)])
        notes = section(ANNOTATIONS, {**message.annotations, **self._notes()})
        return head + notes + message.properties + message.application + message.body

    def _notes(self) -> dict[object, object]:
        notes: dict[object, object] = {
            Symbol("x-opt-sequence-number"): Long(self.sequence_number),
            Symbol("x-opt-enqueued-time"): milliseconds(self.enqueued_time.timestamp()),
            Symbol("x-opt-message-state"): Int(self.state),
        }
        if self.locked_until is not None:
            until = milliseconds(self.locked_until.timestamp())
            notes[Symbol("x-opt-locked-until")] = until
        return notes

    def _text(self, name: str) -> str | None:
        value = self.message.property_map().get(name)
        return None if value is None else str(value)


def batch(payload: bytes) -> list[Message]:
    """Take a batch apart: each data section is an encoded message; raises `MalformedError`."""
    packed = [value for code, value, _ in sections(payload) if code == DATA]
    if not packed or not all(isinstance(item, bytes) for item in packed):
        raise MalformedError("a batch holds messages in data sections")
    return [Message.parse(item) for item in packed if isinstance(item, bytes)]
