"""The demo: three unattended rollouts at once, each with an ending that it must come to.

`shop` is good and reaches 100 %; `cart` turns bad at 10 % and is taken back by the evidence;
`pay` is taken back by an alert at 25 %. Rules: nothing here decides about traffic. The script
only starts the rollouts, breaks a service and posts an alert, and at the end it holds Linnet's
record, the state in ARM, DNS and what the users met against what was to happen.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.live import Live

from sandbox.alerts import fired
from sandbox.endings import Ending, Expected, judge, summary
from sandbox.local import LocalWorld, WorldOptions
from sandbox.scene import Casting, Scene
from sandbox.services import Versions
from sandbox.users import Habits
from sandbox.view import View, decision
from sandbox.watch import Told, Watch

DEADLINE_S: Final = 240.0
WARM_UP_S: Final = 21.0
BAD_RATE: Final = 0.2
BAD_FROM: Final = 0.10
ALERT_FROM: Final = 0.25
_LOOK_S: Final = 0.1
_DRAW_S: Final = 0.5
_FINAL: Final = ("PROMOTED", "REVERTED", "REFUSED", "HELD")


@dataclass(slots=True)
class Story:
    """One rollout of the demo: its scene, what befalls it, and how it must end.

    `trouble_s` is when its trouble began (the first bad request may come later), in seconds since
    the epoch; None when there is none.
    """

    scene: Scene
    note: str
    expected: Expected
    trouble: Callable[["Story", LocalWorld], Awaitable[None]] | None = None
    started_s: float = 0.0
    trouble_s: float | None = None


@dataclass(slots=True)
class Show:
    """The demo under way: what is drawn and what is kept for the end."""

    world: LocalWorld
    stories: list[Story]
    watch: Watch
    view: View
    began_s: float = field(default_factory=time.time)

    def say(self, words: str) -> None:
        """Say what the script does now."""
        self.view.now = words


async def demo(console: Console, *, headless: bool) -> int:
    """Run it; the exit code is 0 only if all three rollouts ended as they should."""
    began_s = time.time()
    try:
        async with asyncio.timeout(DEADLINE_S), AsyncExitStack() as stack:
            show = await _open(stack, console, headless=headless)
            async with _drawn(stack, show, console, headless=headless):
                await _play(show)
            endings = [await judge(show.world, story_ending(show, s)) for s in show.stories]
    except TimeoutError:
        console.print(f"[red]Not at an end after {DEADLINE_S:g} s; see .local/host.log.[/]")
        return 1
    if not headless:
        for told in show.watch.told:
            console.print(decision(told))
    console.print(summary(endings, time.time() - began_s))
    for ending in endings:
        for fault in ending.faults:
            console.print(f"[red]{ending.name}: {fault}[/]", soft_wrap=True)
    return 1 if any(ending.faults for ending in endings) else 0
