"""Outcomes: what a client says became of a delivery, and what it is told in return.

Rules: a settlement that was applied is answered with the very outcome that was asked for; one that
could not be applied with `rejected` and an error of all three fields, because the SDK reads all
three and hangs on fewer.
"""

import uuid

from sandbox.servicebus.frames import composite, described
from sandbox.servicebus.queues import LockLost, Queue
from sandbox.servicebus.wiretypes import Described, Symbol

ACCEPTED, REJECTED, RELEASED, MODIFIED = 0x24, 0x25, 0x26, 0x27
_ERROR = 0x1D


def error(condition: str, words: str) -> Described:
    """Make an error of condition, description and an empty info map."""
    return described(_ERROR, [Symbol(condition), words, {}])


def accepted() -> Described:
    """Make the outcome of a message that was taken in."""
    return described(ACCEPTED, [])


def rejected(condition: str, words: str) -> Described:
    """Make the outcome of something that could not be done."""
    return described(REJECTED, [error(condition, words)])


def lock_lost() -> Described:
    """Make the outcome of settling what is not locked any more."""
    return rejected("com.microsoft:message-lock-lost", "The lock on the message is not held.")


def settle(queue: Queue, token: uuid.UUID, outcome: object) -> Described:
    """Apply a client's outcome and return what to answer; raises `MalformedError`."""
    code, fields = composite(outcome)
    try:
        _apply(queue, token, code, fields)
    except LockLost:
        return lock_lost()
    # A dead-letter is echoed without its error: with one, the SDK takes it for a failure.
    return described(code, [] if code == REJECTED else fields)


def _apply(queue: Queue, token: uuid.UUID, code: int, fields: list[object]) -> None:
    if code == ACCEPTED:
        queue.complete(token)
    elif code == REJECTED:
        queue.dead_letter(token, *_reason(fields))
    elif code == MODIFIED and fields[1:2] == [True]:
        queue.defer(token)
    elif code == MODIFIED and fields[:1] == [True]:
        queue.abandon(token)
    else:
        queue.release(token)


def _reason(fields: list[object]) -> tuple[str, str]:
    """Read the reason and the description a dead-letter carries."""
    told = composite(fields[0])[1] if fields and fields[0] is not None else []
    info = told[2] if len(told) > 2 else None  # noqa: PLR2004  # the third field is the info map
    if not isinstance(info, dict):
        return "", ""
    reason, words = info.get("DeadLetterReason"), info.get("DeadLetterErrorDescription")
    return str(reason or ""), str(words or "")
