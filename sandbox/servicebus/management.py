"""The request nodes: `$cbs`, which takes tokens, and `<queue>/$management`.

Rules: a request is one message, the reply another that names it; whatever goes wrong becomes a
status and a condition, never an exception.
"""

import base64
import hmac
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from sandbox.servicebus import codec
from sandbox.servicebus.frames import section, sections
from sandbox.servicebus.messages import (
    APPLICATION,
    PROPERTIES,
    VALUE,
    Delivery,
    Message,
    milliseconds,
)
from sandbox.servicebus.queues import LockLost, MessageNotFound, Queue, QueueFull
from sandbox.servicebus.wiretypes import Array, Described, Int, Long, MalformedError, Symbol

KEY_NAME = "Root"
PEEK_BYTES = 4 * 1024 * 1024
_CORRELATION_ID = 5
_SAS = "SharedAccessSignature "


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks of a request node; `id` keeps its wire type, the reply repeats it."""

    id: object
    operation: str
    body: Any

    @classmethod
    def parse(cls, payload: bytes) -> "Request":
        """Read a request; raises `MalformedError`."""
        message = Message.parse(payload)
        told = message.application_map()
        fields = codec.decode(message.properties) if message.properties else None
        named = fields.value if isinstance(fields, Described) else None
        body = next((value for code, value, _ in sections(message.body) if code == VALUE), None)
        asker = named[0] if isinstance(named, list) and named else None
        return cls(asker, str(told.get("operation")), body)

    def reply(self, about: Mapping[str, object], body: object) -> bytes:
        """Encode the answer: `about` are the status properties."""
        properties: list[object] = [None] * _CORRELATION_ID
        properties.append(self.id)
        head = section(PROPERTIES, properties) + section(APPLICATION, dict(about))
        return head + section(VALUE, body)


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides which tokens open a connection: signatures made with `key`, and accepted JWTs."""

    key: str
    accepts_token: Callable[[str], bool] | None = None

    def admits(self, token: object) -> bool:
        """Say whether a token is good now; its kind is told by its form.

        The type that comes with it is no help: the SDK calls signatures `jwt` as well.
        """
        if not isinstance(token, str) or not token:
            return False
        if token.startswith(_SAS):
            return self._is_signed(token)
        return self.accepts_token is None or self.accepts_token(token)

    def _is_signed(self, token: str) -> bool:
        """Check a shared access signature: HMAC-SHA256 of the quoted resource and the expiry.

        The expiry is held against the real clock, because the client dated it by that.
        """
        told = dict(parse_qsl(token.removeprefix(_SAS)))
        signed = f"{quote_plus(told.get('sr', ''))}\n{told.get('se', '')}"
        expected = base64.b64encode(hmac.digest(self.key.encode(), signed.encode(), "sha256"))
        same = hmac.compare_digest(expected, told.get("sig", "").encode())
        until = told.get("se", "")
        lives = until.isascii() and until.isdigit() and int(until) > time.time()
        return same and lives and told.get("skn") == KEY_NAME


def put_token(gate: Gate, request: Request) -> tuple[bool, bytes]:
    """Answer a request to `$cbs`: whether the connection is open now, and the reply."""
    known = request.operation == "put-token"
    good = known and gate.admits(request.body)
    code, words = (202, "Accepted") if good else (401, "The token is not accepted.")
    return good, request.reply({"status-code": Int(code), "status-description": words}, None)


def manage(queue: Queue, request: Request) -> bytes:
    """Answer a request to a queue's management node."""
    operation = _OPERATIONS.get(request.operation.removeprefix("com.microsoft:"))
    if operation is None or not isinstance(request.body, dict):
        return _refuse(request, 501, "amqp:not-implemented", "no such operation here")
    try:
        body = operation(queue, request.body)
    except LockLost as lost:
        return _refuse(request, 410, "com.microsoft:message-lock-lost", str(lost))
    except MessageNotFound as missing:
        return _refuse(request, 404, "com.microsoft:message-not-found", str(missing))
    except QueueFull as full:
        return _refuse(request, 403, "amqp:resource-limit-exceeded", str(full))
    except (MalformedError, KeyError, TypeError, ValueError, AttributeError) as wrong:
        return _refuse(request, 400, "com.microsoft:argument-error", f"bad request: {wrong!r}")
    code, words = (204, "No content") if body is None else (200, "OK")
    return request.reply({"statusCode": Int(code), "statusDescription": words}, body or {})


def _refuse(request: Request, code: int, condition: str, words: str) -> bytes:
    about = {
        "statusCode": Int(code),
        "statusDescription": words,
        "errorCondition": Symbol(condition),
    }
    return request.reply(about, {})


def _renew(queue: Queue, body: dict[str, Any]) -> dict[str, object]:
    until = [queue.renew(_token(token)) for token in body["lock-tokens"]]
    return {"expirations": Array(milliseconds(at.timestamp()) for at in until)}


def _peek(queue: Queue, body: dict[str, Any]) -> dict[str, object] | None:
    shown: list[object] = []
    room = PEEK_BYTES
    for delivery in queue.peek(int(body["from-sequence-number"]), int(body["message-count"])):
        message = delivery.wire()
        room -= len(message)
        if shown and room < 0:
            break
        shown.append({"message": message})
    return {"messages": shown} if shown else None


def _schedule(queue: Queue, body: dict[str, Any]) -> dict[str, object]:
    payloads = [bytes(item["message"]) for item in body["messages"]]
    if any(len(payload) > queue.spec.max_message_bytes for payload in payloads):
        raise ValueError("a message is too large")
    numbers = queue.put_all([Message.parse(payload) for payload in payloads])
    return {"sequence-numbers": Array(map(Long, numbers))}


def _cancel(queue: Queue, body: dict[str, Any]) -> dict[str, object]:
    queue.cancel(map(int, body["sequence-numbers"]))
    return {}


def _take_deferred(queue: Queue, body: dict[str, Any]) -> dict[str, object]:
    lock = bool(body.get("receiver-settle-mode"))
    taken = queue.take_deferred(map(int, body["sequence-numbers"]), lock=lock)
    return {"messages": [_handed(delivery) for delivery in taken]}


def _handed(delivery: Delivery) -> dict[str, object]:
    shown: dict[str, object] = {"message": delivery.wire()}
    return shown if delivery.lock_token is None else {**shown, "lock-token": delivery.lock_token}


def _settle(queue: Queue, body: dict[str, Any]) -> dict[str, object]:
    # "defered" is how the service spells it.
    ways = {"completed": queue.complete, "abandoned": queue.abandon, "defered": queue.defer}
    status = str(body["disposition-status"])
    for token in map(_token, body["lock-tokens"]):
        if status == "suspended":
            reason, words = body.get("deadletter-reason"), body.get("deadletter-description")
            queue.dead_letter(token, str(reason or ""), str(words or ""))
        else:
            ways[status](token)
    return {}


def _token(value: object) -> uuid.UUID:
    if not isinstance(value, uuid.UUID):
        raise TypeError("a lock token is a uuid")
    return value


_OPERATIONS: dict[str, Callable[[Queue, dict[str, Any]], dict[str, object] | None]] = {
    "renew-lock": _renew,
    "peek-message": _peek,
    "schedule-message": _schedule,
    "cancel-scheduled-message": _cancel,
    "receive-by-sequence-number": _take_deferred,
    "update-disposition": _settle,
}
