"""The demo: five unattended rollouts at once, each with an ending that it must come to.

`shop` is good and reaches 100 %; `cart` turns bad at 10 % and is taken back by the evidence;
`pay` is taken back by an alert at 25 %. `feed` and `wave` begin with a dark launch: the one is
sometimes wrong and goes no further, the other is not and reaches 100 %. The first three count hurt
users, standardised by city; the feeds count requests. Rule: nothing here decides about traffic.
The script starts the rollouts, breaks two services and posts one alert; then it looks at how they
end.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from rich.console import Console
from rich.live import Live

from cli.shown import standardised
from sandbox.alerts import fired
from sandbox.endings import Expected, examine, summary
from sandbox.local import LocalWorld, WorldOptions, profile_id
from sandbox.report import shadow_report
from sandbox.scene import Casting, Scene
from sandbox.users import Habits
from sandbox.view import View, told_in_full
from sandbox.watch import Told, Watch

DEADLINE_S: Final = 270.0
WARM_UP_S: Final = 21.0
BAD_RATE: Final = 0.2
BAD_FROM: Final = 0.10
ALERT_FROM: Final = 0.25
WRONG_RATE: Final = 0.02
# Of a feed's requests this share is sampled, and each sample is replayed twice.
USERS_PER_S: Final = 100.0
FEED_PER_S: Final = 60.0
FEED_RESOLVERS: Final = 40
SAMPLED: Final = 0.6
# What rests on a step's first seconds would be luck: trouble comes when its weights are in force.
INTO_STEP_S: Final = 2.0
SEED: Final = 7
_LOOK_S: Final = 0.1
_DRAW_S: Final = 0.5
_ENDED: Final = frozenset({"PROMOTED", "REVERTED", "REFUSED", "HELD"})


@dataclass(slots=True)
class Story:
    """One rollout of the demo: what befalls it and how it must end.

    `started_s` and `trouble_s` are filled in as they come, in seconds since the epoch; the
    trouble of a service that breaks begins with its first bad request, not here.
    """

    name: str
    note: str
    expected: Expected
    trouble: Callable[["Story", Scene, LocalWorld], Coroutine[None, None, None]] | None = None
    sampled: float = 0.0
    started_s: float = 0.0
    trouble_s: float | None = None


async def breaks(story: Story, scene: Scene, world: LocalWorld) -> None:
    """The canary's error rate rises once it has been given some traffic."""
    del story, world
    await _reaches(scene, BAD_FROM)
    scene.tally.forget_first_bad()
    scene.services.canary.behave(error_rate=BAD_RATE)


async def errs(story: Story, scene: Scene, world: LocalWorld) -> None:
    """The canary's answers have something wrong in them, from the start and not often."""
    del story, world
    scene.services.canary.behave(wrong_rate=WRONG_RATE)


async def alarms(story: Story, scene: Scene, world: LocalWorld) -> None:
    """An alert fires while the requests look well; its action group calls the webhook."""
    await _reaches(scene, ALERT_FROM)
    story.trouble_s = time.time()
    alert = json.dumps(fired(scene.alert, profile_id(scene.name))).encode()
    status, told = await world.call("POST", "alerts", alert)
    if status != HTTPStatus.ACCEPTED:
        raise RuntimeError(f"the webhook answered {status}: {told}")


def stories() -> list[Story]:
    """All of them."""
    reverted = "REVERTED"
    return [
        Story("shop", "a good canary: must reach 100 %", Expected("PROMOTED")),
        Story(
            "cart",
            f"fails {100 * BAD_RATE:.0f} % from {100 * BAD_FROM:.0f} % on: evidence must revert it",
            Expected(reverted, "evidence"),
            breaks,
        ),
        Story(
            "pay",
            f"looks well, but an alert at {100 * ALERT_FROM:.0f} % must revert it",
            Expected(reverted, "an alert"),
            alarms,
        ),
        Story(
            "feed",
            f"wrong in {100 * WRONG_RATE:.0f} % of its answers: no user may ever meet it",
            Expected(reverted, "evidence", unmet=True),
            errs,
            SAMPLED,
        ),
        Story(
            "wave",
            "as good as stable in the dark launch: must go on to 100 %",
            Expected("PROMOTED"),
            sampled=SAMPLED,
        ),
    ]


async def demo(console: Console, *, headless: bool) -> int:
    """Run it; the exit code is 0 only if all rollouts ended as they should."""
    began_s = time.time()
    told_line = _printer(console) if headless else None
    async with AsyncExitStack() as stack:
        console.print("Starting the local Azure …")
        world = await stack.enter_async_context(LocalWorld(WorldOptions(seed=SEED)))
        acts = stories()
        scenes = [await stack.enter_async_context(_scene(world, a, n)) for n, a in enumerate(acts)]
        watch = Watch(world, scenes, told_line)
        await _show(console, acts, watch, world, headless=headless)
        endings = [
            await examine(
                world,
                watch.seats[act.name],
                act.expected,
                started_s=act.started_s,
                trouble_s=act.trouble_s or watch.seats[act.name].scene.tally.first_bad_s,
            )
            for act in acts
        ]
        if not headless:
            console.print(*map(told_in_full, watch.told), sep="")
        console.print(summary(endings, time.time() - began_s))
        for act in acts:
            for line in standardised(watch.seats[act.name].strata):
                console.print(f"{act.name}, {line}", markup=False, highlight=False)
        for act in acts:
            for part in shadow_report(watch.seats[act.name]):
                console.print(part)
    faults = [f"{ending.name}: {fault}" for ending in endings for fault in ending.faults]
    for fault in faults:
        console.print(fault, style="red", markup=False, soft_wrap=True)
    console.print("Not as it should be." if faults else "All of them ended as they should.")
    return 1 if faults else 0


def _scene(world: LocalWorld, act: Story, number: int) -> Scene:
    rate_per_s = FEED_PER_S if act.sampled else USERS_PER_S
    resolvers = FEED_RESOLVERS if act.sampled else Habits().resolvers
    habits = Habits(seed=SEED, rate_per_s=rate_per_s, resolvers=resolvers)
    casting = Casting(act.name, number + 1, seed=SEED, habits=habits, sampled=act.sampled)
    return Scene(world, casting)


def _printer(console: Console) -> Callable[[Told], None]:
    def line(told: Told) -> None:
        console.print(told_in_full(told))

    return line


async def _show(
    console: Console, acts: list[Story], watch: Watch, world: LocalWorld, *, headless: bool
) -> None:
    """Play it until every story has ended or the deadline comes; drawn unless headless."""
    view = View(watch, [act.note for act in acts])
    with suppress(TimeoutError):
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(watch.run())]
            if not headless:
                beside.append(tasks.create_task(_draw(console, view)))
            await _play(acts, watch, world, view)
            for task in beside:
                task.cancel()
    await watch.look()


async def _play(acts: list[Story], watch: Watch, world: LocalWorld, view: View) -> None:
    view.now = "users arrive, telemetry gathers"
    await asyncio.sleep(WARM_UP_S)
    view.now = f"{len(acts)} rollouts, nobody at the wheel"
    async with asyncio.TaskGroup() as tasks:
        troubles = []
        for act in acts:
            seat = watch.seats[act.name]
            act.started_s = time.time()
            start = {"action": "start", "plan": seat.scene.plan(), "by": "pipeline"}
            await world.post("commands", start)
            if act.trouble is not None:
                troubles.append(tasks.create_task(act.trouble(act, seat.scene, world)))
        await _until(lambda: all(seat.phase in _ENDED for seat in watch.seats.values()))
        for trouble in troubles:
            trouble.cancel()


async def _draw(console: Console, view: View) -> None:
    began_s = time.monotonic()
    with Live(view, console=console, screen=True, auto_refresh=False) as live:
        while True:
            view.elapsed_s = time.monotonic() - began_s
            live.refresh()
            await asyncio.sleep(_DRAW_S)


async def _reaches(scene: Scene, share: float) -> None:
    await _until(lambda: scene.share >= share)
    await asyncio.sleep(INTO_STEP_S)


async def _until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110  # the world is looked at from outside, it tells nobody
        await asyncio.sleep(_LOOK_S)
