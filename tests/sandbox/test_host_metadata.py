"""What the host hands the worker, decoded by azure-functions itself."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import azure.functions as func
import pytest
from azure.functions import get_binding_registry
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType
from azure_functions_runtime.bindings.datumdef import Datum

from sandbox.host import metadata
from sandbox.host.protos import TypedData

_NOON = datetime(2026, 11, 22, 10, 0, 0, 123_000, tzinfo=UTC)
_LOCK = UUID("5b6f0f4e-3f0a-4d0e-9f0b-0d8f3c1f2a11")
_ABSENT = (
    "dead_letter_source reply_to to reply_to_session_id content_type subject correlation_id "
    "session_id partition_key expires_at_utc"
)


class _Message:
    """The attributes the host reads of a received message."""

    def __init__(self, body: bytes, **given: Any) -> None:
        self.__dict__.update(dict.fromkeys(_ABSENT.split()))
        self.body_type = AmqpMessageBodyType.DATA
        self.body = [body[:2], body[2:]]
        self.delivery_count = 0
        self.lock_token = _LOCK
        self.enqueued_time_utc = _NOON
        self.message_id = "m1"
        self.sequence_number = 42
        self.application_properties = None
        self.__dict__.update(given)


def _single(body: bytes, *, binary: bool, **given: Any) -> tuple[TypedData, dict[str, TypedData]]:
    return metadata.single(_message(body, **given), binary=binary)


def _message(body: bytes, **given: Any) -> ServiceBusReceivedMessage:
    message: Any = _Message(body, **given)
    return message  # type: ignore[no-any-return]


def _converter(binding: str) -> Any:
    return get_binding_registry().get(binding)  # type: ignore[no-untyped-call]  # azure's own


def _decode(data: TypedData, facts: dict[str, TypedData]) -> Any:
    """As the worker does it."""
    decoder = _converter("serviceBusTrigger")
    datums = {key: Datum.from_typed_data(value) for key, value in facts.items()}
    return decoder.decode(Datum.from_typed_data(data), trigger_metadata=datums)


def test_every_key_and_kind_is_what_the_host_sends() -> None:
    """A full message gives exactly the documented map."""
    _, facts = _single(
        b'{"v":1}',
        binary=True,
        message_id="rollout-7/step-3",
        content_type="application/json",
        subject="rollout.evaluate",
        correlation_id="c-1",
        session_id="rollout-7",
        partition_key="rollout-7",
        application_properties={b"tenant": b"t1"},
        expires_at_utc=_NOON + timedelta(days=14),
    )
    assert {key: value.__dict__ for key, value in facts.items()} == {
        "DeliveryCount": {"json": "1"},
        "LockToken": {"string": str(_LOCK)},
        "ExpiresAtUtc": {"json": '"2026-12-06T10:00:00.123"'},
        "ExpiresAt": {"json": '"2026-12-06T10:00:00.123+00:00"'},
        "EnqueuedTimeUtc": {"json": '"2026-11-22T10:00:00.123"'},
        "EnqueuedTime": {"json": '"2026-11-22T10:00:00.123+00:00"'},
        "MessageId": {"string": "rollout-7/step-3"},
        "ContentType": {"string": "application/json"},
        "SequenceNumber": {"json": "42"},
        "Subject": {"string": "rollout.evaluate"},
        "Label": {"string": "rollout.evaluate"},
        "CorrelationId": {"string": "c-1"},
        "ApplicationProperties": {"json": '{"tenant": "t1"}'},
        "UserProperties": {"json": '{"tenant": "t1"}'},
        "SessionId": {"string": "rollout-7"},
        "PartitionKey": {"string": "rollout-7"},
    }


def test_the_worker_reads_a_naive_enqueued_time_and_a_first_delivery() -> None:
    data, facts = _single(b'{"v":1}', binary=True)
    message: func.ServiceBusMessage = _decode(data, facts)
    assert message.get_body() == b'{"v":1}'
    assert message.delivery_count == 1
    assert message.enqueued_time_utc == _NOON.replace(tzinfo=None)
    assert message.expires_at_utc == datetime.max  # noqa: DTZ901  # no TTL, no zone
    assert message.application_properties == {}


def test_a_string_body_can_fake_the_message_id() -> None:
    """The overlay ignores case, turns scalars to strings and passes over arrays and nulls."""
    body = b'{"messageID":"faked","deliveryCount":0,"CorrelationId":null,"to":["x"],"new":{"a":1}}'
    data, facts = _single(body, binary=False, correlation_id="c-1")
    message = _decode(data, facts)
    assert (message.message_id, message.delivery_count) == ("faked", 0)
    assert (message.correlation_id, message.to) == ("c-1", None)
    assert json.loads(facts["new"].json) == {"a": 1}


@pytest.mark.parametrize("body", ['{"deliveryCount":"first"}', '{"UserProperties":"x"}'])
def test_a_string_body_can_keep_the_function_from_being_called(body: str) -> None:
    data, facts = _single(body.encode(), binary=False)
    with pytest.raises(ValueError, match="cannot convert"):
        _decode(data, facts)


def test_a_binary_body_leaves_the_metadata_alone() -> None:
    body = b'{"messageId":"faked","deliveryCount":"first"}'
    message = _decode(*_single(body, binary=True))
    assert (message.message_id, message.delivery_count, message.get_body()) == ("m1", 1, body)


def test_bytes_that_are_no_text_reach_only_a_binary_trigger() -> None:
    assert _decode(*_single(b"\xff\xfe", binary=True)).get_body() == b"\xff\xfe"
    with pytest.raises(ValueError, match="utf-8"):
        _single(b"\xff\xfe", binary=False)


def test_a_body_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="data kind"):
        _single(b"x", binary=True, body_type=AmqpMessageBodyType.VALUE)


def test_odd_property_values_become_json() -> None:
    _, facts = _single(
        b"x", binary=True, application_properties={"at": _NOON, "lock": _LOCK, "n": 3, "on": True}
    )
    assert json.loads(facts["UserProperties"].json) == {
        "at": _NOON.isoformat(),
        "lock": str(_LOCK),
        "n": 3,
        "on": True,
    }


def test_a_batch_arrives_as_one_list() -> None:
    batch = [_message(b"a", message_id="m1"), _message(b"\xff", message_id="m2", delivery_count=2)]
    decoded = _decode(*metadata.batch(batch, binary=True))
    assert [message.get_body() for message in decoded] == [b"a", b"\xff"]
    assert [message.message_id for message in decoded] == ["m1", "m2"]
    assert [message.delivery_count for message in decoded] == [1, 3]


def test_in_a_batch_absent_strings_make_the_others_move_up() -> None:
    """A habit of the real host: never pair a batch's correlation ids with its messages."""
    batch = [_message(b"a"), _message(b"b", correlation_id="of-b")]
    decoded = _decode(*metadata.batch(batch, binary=True))
    assert [message.correlation_id for message in decoded] == ["of-b", None]


@pytest.mark.parametrize("monitored", [True, False])
def test_the_timer_input_has_its_documented_shape(monitored: bool) -> None:
    status = {"Last": _NOON, "LastUpdated": _NOON, "Next": _NOON} if monitored else None
    data = metadata.timer(past_due=False, status=status)
    decoder = _converter("timerTrigger")
    request = decoder.decode(Datum.from_typed_data(data), trigger_metadata={})
    moment = "2026-11-22T10:00:00.123+00:00"
    shown = {"Last": moment, "LastUpdated": moment, "Next": moment} if monitored else {}
    assert (request.past_due, request.schedule_status) == (False, shown)
    assert request.schedule == {"AdjustForDST": True}


def test_bytes_among_the_properties_are_text() -> None:
    _, facts = _single(b"x", binary=True, application_properties={"raw": bytearray(b"\x01")})
    assert json.loads(facts["UserProperties"].json) == {"raw": base64.b64encode(b"\x01").decode()}
