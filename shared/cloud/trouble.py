"""What went wrong with a call to Azure, in words for the people who read a rollout's history.

No secrets: only statuses, error codes and the first line of the service's own message.
"""

import asyncio
import math

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from shared.errors import LinnetError

MAX_WORDS = 240

_STATUSES = {
    400: "the request was refused as malformed",
    401: "the token was not accepted",
    403: "the identity lacks the role for this (a new role can take minutes to be seen)",
    404: "it does not exist",
    408: "the service gave up waiting",
    409: "another operation is in the way",
    413: "the answer or the request is too large",
    429: "the service throttles",
    504: "the service did not finish in time",
}
_SERVER_ERRORS = range(500, 600)


def words(error: BaseException) -> str:
    """One short phrase for what happened, such as "the service throttles (429)"."""
    match error:
        case LinnetError():
            text = str(error)
        case HttpResponseError(status_code=int(status)):
            text = f"{_meaning(status)} ({status}{_detail(error)})"
        case HttpResponseError():
            text = f"no token could be had: {first_line(error.message)}"
        case TimeoutError() | asyncio.CancelledError():
            text = "there was no answer in time"
        case ServiceRequestError():
            text = f"the connection failed: {first_line(error.message)}"
        case ServiceResponseError():
            text = f"the connection broke before the answer: {first_line(error.message)}"
        case AzureError():
            text = first_line(error.message)
        case _:
            text = f"{type(error).__name__}: {first_line(str(error))}"
    return text[:MAX_WORDS]


def status_of(error: BaseException) -> int | None:
    """The HTTP status an SDK error carries, if the service answered at all."""
    return error.status_code if isinstance(error, HttpResponseError) else None


def retry_after_s(error: BaseException | None) -> float | None:
    """How long the service asked to wait, in seconds; None when it did not say."""
    if not isinstance(error, HttpResponseError) or error.response is None:
        return None
    try:
        asked = float(getattr(error.response, "headers", {}).get("Retry-After", ""))
    except ValueError:
        return None
    return asked if 0 <= asked < math.inf else None


def first_line(text: str | None) -> str:
    """The first line that says something, cut to a readable length."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[0][:MAX_WORDS] if lines else "no words given"


def _meaning(status: int) -> str:
    if status in _STATUSES:
        return _STATUSES[status]
    return "the service failed" if status in _SERVER_ERRORS else "an unexpected answer"


def _detail(error: HttpResponseError) -> str:
    """The service's own code and the innermost message it gives, if any."""
    said = error.error
    if said is None:
        return ""
    inner = said.innererror if isinstance(said.innererror, dict) else {}
    message = inner.get("message") or said.message or ""
    return "".join(f", {part}" for part in (said.code, first_line(message)) if part)
