"""The one owner of retries: reads, and writes that may safely be made twice.

azure-core's own retries are off everywhere. What a service asks for with Retry-After is honoured
as long as the deadline allows; after that the last error goes to the caller.
"""

import asyncio
from collections.abc import Awaitable, Callable

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from shared.cloud import trouble

PASSING = frozenset({408, 429, 500, 502, 503, 504})
JITTER = wait_random_exponential(multiplier=0.2, max=5)
MOST_TRIES = 6


async def patiently[T](attempt: Callable[[], Awaitable[T]], *, deadline_s: float) -> T:
    """The result of the first try that works, else the last try's own error.

    Tries again after connection errors and the statuses in PASSING, with exponential backoff and
    jitter. A wait that would end after the deadline is not begun. A try that still runs at the
    deadline is cancelled, with the error of the try before or, if it was the first, TimeoutError:
    whether it took effect is not known then.
    """
    said: list[BaseException] = []

    def note(state: RetryCallState) -> None:
        if state.outcome and (error := state.outcome.exception()):
            said.append(error)

    retrying = AsyncRetrying(
        retry=retry_if_exception(passes),
        wait=pause_s,
        stop=stop_before_delay(deadline_s) | stop_after_attempt(MOST_TRIES),
        before_sleep=note,
        reraise=True,
    )

    async def once() -> T:
        return await attempt()

    limit = asyncio.timeout(deadline_s)
    try:
        async with limit:
            return await retrying(once)
    except TimeoutError as late:
        if limit.expired() and said:
            raise said[-1] from late
        raise


def passes(error: BaseException) -> bool:
    """Whether the same call may work in a moment."""
    status = trouble.status_of(error)
    if status is not None:
        return status in PASSING
    return isinstance(error, ServiceRequestError | ServiceResponseError | TimeoutError)


def pause_s(state: RetryCallState) -> float:
    """How long to wait: what the service asked for, else the jittered backoff."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = trouble.retry_after_s(error)
    return JITTER(state) if asked_s is None else asked_s
