"""Port calls and who makes them: what the simulation parks, fails, and lets land late."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from sandbox.memory_store import Stage
from shared.core.model import Pair, ProbeSeen, Rollout, TrafficSeen
from shared.core.telemetry import Answer, Sight
from tests.faults.posts import Post

PLANTED = KeyError("planted fault")
CHANGES = frozenset({"save", "create", "write", "claim", "release", "reject", "hear"})
SIGHTS: dict[str, object] = {
    "see": TrafficSeen(Sight.FAILED, "503 from ARM"),
    "probe": ProbeSeen(healthy=False, reason="connection refused"),
    "ask": Answer(Sight.FAILED, "504 from Log Analytics"),
}


@dataclass(eq=False)
class Activity:
    """One run of a function in a process of its own, and what it has come to know."""

    name: str
    task: asyncio.Task[None] | None = None
    post: Post | None = None
    dead: bool = False
    listeners: frozenset[str] = frozenset()
    views: dict[str, Pair | None] = field(default_factory=dict)
    touches: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    acting: dict[str, str] = field(default_factory=dict)
    fences: dict[str, Rollout] = field(default_factory=dict)


@dataclass(eq=False)
class Call:
    """One port call of an activity; `spoiled` replaces the value of a look that failed."""

    who: Activity
    method: str
    arguments: tuple[Any, ...]
    again: Callable[[], Awaitable[object]]
    spoiled: object = None

    def __str__(self) -> str:
        if self.method == "write":
            write = self.arguments[2]
            state = "" if write.to.enabled else " disabled"
            return f"write {write.arm} {write.to.weight}{state}"
        return self.method


@dataclass(eq=False)
class Parked:
    """A call that waits to be let on."""

    call: Call
    stage: Stage
    future: asyncio.Future[None]


WHO: ContextVar[Activity | None] = ContextVar("who", default=None)
CALL: ContextVar[Call] = ContextVar("call")
PORT_METHODS = (
    *("load", "create", "save", "seen", "history", "names", "claim", "claims", "release"),
    *("reject", "heard", "hear", "beat", "see", "write", "probe", "ask", "tell"),
)


def error_of(activity: Activity) -> BaseException | None:
    """How a task ended; a cancelled one counts as an error."""
    task = activity.task
    if task is None or not task.done():
        return None
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def quietly() -> None:
    """What the controllers log about faults is part of the story, not of the test's output."""
    logging.getLogger("controllers").setLevel(logging.CRITICAL + 1)
