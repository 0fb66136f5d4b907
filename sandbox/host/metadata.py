"""What the .NET host tells the worker beside the message or the due time.

Written from the host's and the Service Bus extension's sources (v5): which keys are sent, of what
kind, and three habits that surprise. (1) EnqueuedTimeUtc and ExpiresAtUtc carry no zone. (2) A body
that arrives as a string and is a JSON object is laid over the metadata, so a sender can fake or
break it; only `dataType: binary` is spared. (3) In a batch, empty strings are left out of string
arrays, so the rest moves up and no longer lines up with the messages.
Never sent, as in Azure: TimeToLive, LockedUntil, State and the dead-letter reason.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from sandbox.host.protos import Bag, TypedData

type Metadata = dict[str, TypedData]

_FOREVER = "9999-12-31T23:59:59.9999999"


def single(message: ServiceBusReceivedMessage, *, binary: bool) -> tuple[TypedData, Metadata]:
    """Input and metadata of one message; ValueError when the body cannot be handed over."""
    facts = _facts(message)
    metadata = {key: _typed(value) for key, value in facts.items() if value is not None}
    if binary:
        return TypedData(bytes=_body(message)), metadata
    text = _body(message).decode("utf-8")
    return TypedData(string=text), overlay(metadata, text)


def batch(
    messages: Sequence[ServiceBusReceivedMessage], *, binary: bool
) -> tuple[TypedData, Metadata]:
    """Input and metadata of a batch (cardinality many); the overlay does not reach arrays."""
    facts = [_facts(message) for message in messages]
    metadata = {f"{key}Array": _column([fact[key] for fact in facts]) for key in facts[0]}
    numbers = [fact["SequenceNumber"] for fact in facts]
    metadata["SequenceNumberArray"] = TypedData(collection_sint64=Bag(sint64=numbers))
    bodies = [_body(message) for message in messages]
    if binary:
        return TypedData(collection_bytes=Bag(bytes=bodies)), metadata
    texts = [body.decode("utf-8") for body in bodies]
    return TypedData(collection_string=Bag(string=[text for text in texts if text])), metadata


def overlay(metadata: Metadata, body: str) -> Metadata:
    """The metadata with the body's top-level properties laid over it, keys without regard to case.

    Scalars arrive as strings, objects as JSON; arrays and nulls are passed over.
    """
    try:
        parsed = json.loads(body)
    except ValueError:
        return metadata
    if not isinstance(parsed, dict):
        return metadata
    names = {key.lower(): key for key in metadata}
    laid = dict(metadata)
    for key, value in parsed.items():
        if value is not None and not isinstance(value, list):
            laid[names.setdefault(key.lower(), key)] = _overlaid(value)
    return laid


def timer(*, past_due: bool, status: Mapping[str, datetime] | None) -> TypedData:
    """The timer's input; `status` has Last, LastUpdated and Next, or is None unmonitored."""
    shown = None if status is None else {key: _iso(moment) for key, moment in status.items()}
    info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": shown, "IsPastDue": past_due}
    return TypedData(json=json.dumps(info))


def _facts(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    properties = _properties(message.application_properties)
    enqueued = message.enqueued_time_utc
    expires = message.expires_at_utc
    return {
        # The client counts failed deliveries; .NET counts this one too.
        "DeliveryCount": (message.delivery_count or 0) + 1,
        "DeadLetterSource": message.dead_letter_source,
        "LockToken": str(message.lock_token),
        "ExpiresAtUtc": _Json(_naive(expires) if expires else _FOREVER),
        "ExpiresAt": _Json(_iso(expires) if expires else f"{_FOREVER}+00:00"),
        "EnqueuedTimeUtc": _Json(_naive(enqueued)) if enqueued else None,
        "EnqueuedTime": _Json(_iso(enqueued)) if enqueued else None,
        "MessageId": message.message_id,
        "ContentType": message.content_type,
        "ReplyTo": message.reply_to,
        "SequenceNumber": message.sequence_number,
        "To": message.to,
        "Subject": message.subject,
        "Label": message.subject,
        "CorrelationId": message.correlation_id,
        "ApplicationProperties": properties,
        "UserProperties": properties,
        "SessionId": message.session_id,
        "ReplyToSessionId": message.reply_to_session_id,
        "PartitionKey": message.partition_key,
    }


class _Json(str):
    """Text that the host sends as JSON, since it is a date there."""

    __slots__ = ()


def _typed(value: Any) -> TypedData:
    if isinstance(value, str) and not isinstance(value, _Json):
        return TypedData(string=value)
    return TypedData(json=json.dumps(value, default=_plain))


def _column(values: list[Any]) -> TypedData:
    if all(isinstance(value, str | None) and not isinstance(value, _Json) for value in values):
        return TypedData(collection_string=Bag(string=[value for value in values if value]))
    return TypedData(json=json.dumps(values, default=_plain))


def _overlaid(value: Any) -> TypedData:
    if isinstance(value, dict):
        return TypedData(json=json.dumps(value))
    # .NET writes True and False with a capital, as str() does.
    return TypedData(string=str(value))


def _body(message: ServiceBusReceivedMessage) -> bytes:
    if message.body_type is not AmqpMessageBodyType.DATA:
        raise ValueError("the host reads bodies of the data kind only")
    return b"".join(message.body)


def _properties(raw: Mapping[Any, Any] | None) -> dict[str, Any]:
    return {_text(key): _text(value) for key, value in (raw or {}).items()}


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _plain(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, date) else str(value)


def _naive(moment: datetime) -> str:
    """As .NET writes a DateTime here: UTC, no zone, no trailing zeros in the fraction."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".")


def _iso(moment: datetime) -> str:
    return f"{_naive(moment)}+00:00"
