"""Faults on order for the HTTP stand-ins, as one middleware.

A fault is armed with a pattern over `METHOD /path`, a kind and a number of times. The first
armed fault that matches a request is spent on it; the control routes are never touched.

The faults show what our code does when a reply is wrong, late or missing. They do NOT claim
that Azure fails in these ways, nor how often.
"""

import asyncio
import json
import re
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.clock import Clock, iso, utc_now

CONTROL_PREFIX: Final = "/sandbox/"
MAX_ARMED: Final = 200
MAX_FIRED: Final = 1000
MAX_HANG_S: Final = 600.0
STATUSES: Final = range(200, 600)


class Kind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """Nothing happens and `status` is answered, with `retry_after_s` if given."""
    APPLY_THEN_FAIL = "apply_then_fail"
    """The effect happens; the answer is `status` (500 unless said otherwise)."""
    HANG = "hang"
    """`hang_s` pass, then the request is served: to a client that gave up, a late write."""
    APPLY_THEN_HANG = "apply_then_hang"
    """The effect happens at once, the answer comes after `hang_s`."""
    RESET = "reset"
    """Nothing happens and the connection is cut."""
    APPLY_THEN_RESET = "apply_then_reset"
    """The effect happens and the connection is cut before the answer."""
    PARTIAL = "partial"
    """Logs: a whole 200 answer with an `error` beside its tables."""
    EMPTY = "empty"
    """Logs: `status` 204 or 200 and no body at all."""


_STATUS_OF: Final = {
    Kind.STATUS: 503,
    Kind.APPLY_THEN_FAIL: 500,
    Kind.EMPTY: 204,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to go wrong, `times` times, for requests whose `METHOD /path` matches."""

    match: str
    kind: Kind
    times: int = 1
    status: int | None = None
    retry_after_s: float | None = None
    hang_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what could not be performed. Raises ValueError."""
        Kind(self.kind)
        re.compile(self.match)
        if self.times < 1 or not 0 <= self.hang_s <= MAX_HANG_S:
            raise ValueError(f"times must be >= 1 and hang_s within 0..{MAX_HANG_S:g}: {self}")
        if self.status is not None and self.status not in STATUSES:
            raise ValueError(f"status must be within 200..599: {self}")

    def matches(self, request: web.Request) -> bool:
        """Whether this fault is meant for *request*; case does not matter."""
        return re.search(self.match, f"{request.method} {request.path}", re.IGNORECASE) is not None

    def answer(self) -> web.Response:
        """The response this fault gives in place of the real one."""
        status = self.status or _STATUS_OF.get(self.kind, 500)
        if self.kind is Kind.EMPTY:
            return web.Response(status=status)
        error = {"code": "ArmedFault", "message": f"a fault was armed here: {self.kind}"}
        headers = {} if self.retry_after_s is None else {"Retry-After": f"{self.retry_after_s:g}"}
        return web.json_response({"error": error}, status=status, headers=headers)


@dataclass(frozen=True, slots=True)
class Fired:
    """A fault that was spent: when, on which request, and which kind."""

    at: str
    request: str
    kind: str


class Faults:
    """The armed faults, and a bounded record of those spent."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._armed: list[tuple[Fault, int]] = []
        self.fired: deque[Fired] = deque(maxlen=MAX_FIRED)
        self._closing = asyncio.Event()

    def arm(self, *faults: Fault) -> None:
        """Add *faults* behind those already armed. Raises ValueError when there are too many."""
        if len(self._armed) + len(faults) > MAX_ARMED:
            raise ValueError(f"at most {MAX_ARMED} faults can be armed")
        self._armed.extend((fault, fault.times) for fault in faults)

    def clear(self) -> None:
        """Disarm everything."""
        self._armed.clear()

    @property
    def armed(self) -> list[Fault]:
        """The faults that still wait for their request."""
        return [fault for fault, _ in self._armed]

    def release(self) -> None:
        """End every hang now; the stand-in is going away."""
        self._closing.set()

    def _spend(self, request: web.Request) -> Fault | None:
        for at, (fault, left) in enumerate(self._armed):
            if fault.matches(request):
                self._armed[at : at + 1] = [(fault, left - 1)] if left > 1 else []
                what = f"{request.method} {request.path}"
                self.fired.append(Fired(iso(self._clock()), what, fault.kind))
                return fault
        return None

    async def _hang(self, fault: Fault) -> None:
        try:
            async with asyncio.timeout(fault.hang_s):
                await self._closing.wait()
        except TimeoutError:
            return

    async def perform(
        self, fault: Fault, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Serve *request* the way *fault* wants it served."""
        await request.read()  # kept by the request, so a late write outlives its connection
        match fault.kind:
            case Kind.STATUS | Kind.EMPTY:
                return fault.answer()
            case Kind.APPLY_THEN_FAIL:
                await handler(request)
                return fault.answer()
            case Kind.HANG:
                await self._hang(fault)
                return await handler(request)
            case Kind.APPLY_THEN_HANG:
                response = await handler(request)
                await self._hang(fault)
                return response
            case Kind.RESET | Kind.APPLY_THEN_RESET:
                if fault.kind is Kind.APPLY_THEN_RESET:
                    await handler(request)
                if request.transport is not None:
                    request.transport.abort()
                return fault.answer()
            case Kind.PARTIAL:
                return _partial(await handler(request))

    def middleware(self) -> Middleware:
        """The aiohttp middleware that spends armed faults on matching requests."""

        @web.middleware
        async def faulty(request: web.Request, handler: Handler) -> web.StreamResponse:
            control = request.path.startswith(CONTROL_PREFIX)
            fault = None if control else self._spend(request)
            return await (self.perform(fault, request, handler) if fault else handler(request))

        return faulty


def _partial(response: web.StreamResponse) -> web.StreamResponse:
    """Add the error that marks a partial result to a whole one, status 200 as before."""
    whole = isinstance(response, web.Response) and response.status == web.HTTPOk.status_code
    if not whole or not isinstance(response, web.Response) or not isinstance(response.text, str):
        return response
    body: dict[str, Any] = json.loads(response.text)
    body["error"] = partial_error("There were some errors when processing your query.")
    return web.json_response(body)


def partial_error(message: str) -> dict[str, Any]:
    """The `error` object that the logs API puts beside the tables of a partial result."""
    return {
        "code": "PartialError",
        "message": message,
        "details": [{"code": "EngineError", "message": "Something went wrong on the engine."}],
    }
