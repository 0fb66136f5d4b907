"""The small checks that every rule about an ARM request is made of.

They shape what ARM would shape: a refusal is an `ArmError` with a status, a code, words and the
field at fault. Codes and wording are ours where the public documents name none.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,258}[A-Za-z0-9])?")

type Json = dict[str, Any]


class ArmError(Exception):
    """A request that is refused: status, code, words, and the field at fault."""

    def __init__(self, status: int, code: str, message: str, target: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.target = target

    def body(self) -> Json:
        """The error as ARM writes it."""
        return {
            "error": {
                "code": self.code,
                "message": str(self),
                "target": self.target,
                "details": [],
            }
        }


def bad(message: str, target: str) -> ArmError:
    """A 400 that names the field at fault."""
    return ArmError(400, "BadRequest", message, target)


def as_object(value: object, target: str) -> Json:
    """*value* if it is a JSON object, nothing if it is null. Raises ArmError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ArmError(400, "InvalidRequestContent", f"{target} must be an object.", target)
    return value


def known(given: Json, writable: Iterable[str], readonly: Iterable[str], target: str) -> Json:
    """The writable, non-null fields of *given*; read-only ones are dropped, others refused."""
    allowed = set(writable)
    unknown = sorted(set(given) - allowed - set(readonly))
    if unknown:
        message = f"Could not find member '{unknown[0]}' on {target}."
        raise ArmError(400, "InvalidRequestContent", message, f"{target}.{unknown[0]}")
    return {key: value for key, value in given.items() if key in allowed and value is not None}


def integer(value: object, low: int, high: int, target: str) -> None:
    """Refuse all but a whole number within *low*..*high*."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise bad(f"The value {value!r} of {target} must be from {low} to {high}.", target)


def one_of(value: object, choices: Iterable[str], target: str) -> str:
    """The choice that *value* names, in its own casing, whatever the casing it came in."""
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise bad(f"The value {value!r} of {target} is not one of {', '.join(choices)}.", target)


def resource_name(value: object, target: str) -> str:
    """*value* if it can name a profile or an endpoint."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise bad(f"{value!r} is not a valid name.", target)
    return value
