"""One turn: what is saved before what is done, who wins a race, and what a crash leaves behind."""

import asyncio

import pytest

from controllers.tick import guarded_turn, tick
from controllers.turn import submit, take_turn
from sandbox.memory_store import Stage
from shared.core.events import AbortAsked, StartAsked, TurnFailed
from shared.core.machine import decide
from shared.core.model import Phase, Rollout, newborn
from shared.errors import UnreachableError
from tests.given import PROFILE, pair
from tests.town import Town


class Fault:
    """A hook that acts at one call: `do` is awaited there, once or always."""

    def __init__(self) -> None:
        self.at: tuple[str, str, Stage] | None = None
        self.error: BaseException | None = None
        self.times = 1
        self.calls: list[tuple[str, str, Stage]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, port: str, method: str, stage: Stage) -> None:
        self.calls.append((port, method, stage))
        if self.at != (port, method, stage) or not self.times:
            return
        self.times -= 1
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error

    def arm(self, port: str, method: str, stage: Stage, error: BaseException | None = None) -> None:
        self.at, self.error, self.times = (port, method, stage), error, 1


@pytest.fixture
def fault() -> Fault:
    return Fault()


@pytest.fixture
def town(fault: Fault) -> Town:
    return Town(hook=fault)


AWAY = UnreachableError("away")


async def test_a_good_canary_reaches_everybody(town: Town) -> None:
    await town.start()

    await town.reach(Phase.PROMOTED)

    assert town.share == 1


async def test_a_rise_is_saved_before_it_is_performed(town: Town, fault: Fault) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    fault.calls.clear()

    await town.reach(Phase.SHIFTING, 2)

    calls = [(port, method) for port, method, stage in fault.calls if stage == "after"]
    first_write = calls.index(("MemoryTraffic", "write"))
    assert ("MemoryStore", "save") in calls[:first_write]
    assert calls[first_write - 1] == ("MemoryStore", "load")


async def test_a_rise_that_could_not_be_saved_does_not_happen(town: Town, fault: Fault) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    before = town.weights
    for _ in range(60):
        fault.arm("MemoryStore", "save", "before", AWAY)
        await town.seconds(1)

    assert town.weights == before


async def test_a_retreat_that_could_not_be_saved_happens_all_the_same(
    town: Town, fault: Fault
) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    fault.arm("MemoryStore", "save", "before", AWAY)

    with pytest.raises(UnreachableError):
        await town.command("abort")

    assert town.share == 0


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize(
    ("port", "method"),
    [("MemoryStore", "save"), ("MemoryTraffic", "write"), ("MemoryStore", "load")],
)
async def test_a_crash_at_any_call_is_mended_by_the_next_turns(
    town: Town, fault: Fault, port: str, method: str, stage: Stage
) -> None:
    """A crash is an error nobody catches, in the middle of a shift."""
    await town.start()
    await town.reach(Phase.BAKING, 1)
    for _ in range(8):
        fault.arm(port, method, stage, RuntimeError("killed"))
        await town.seconds(9)

    assert (await town.reach(Phase.PROMOTED)).wanted_percent == 100
    assert town.share == 1


async def test_a_stalled_rise_that_wakes_after_an_abort_does_nothing(
    town: Town, fault: Fault
) -> None:
    """The turn reads the record again before its PATCH: the fence that ARM does not have."""
    await town.start()
    await town.reach(Phase.BAKING, 2)
    fault.at, fault.gate = ("MemoryStore", "save", "after"), asyncio.Event()
    stalled: asyncio.Task[None] | None = None
    while not stalled or stalled.done():
        town.world.clock.advance(1)
        before = (await town.rollout()).phase
        fault.times = 1
        stalled = asyncio.ensure_future(take_turn(town.world, "shop-2.4", "shop-2.4"))
        for _ in range(50):
            await asyncio.sleep(0)
        if (await town.rollout()).phase is before:
            fault.gate.set()
            await stalled
            fault.gate.clear()
    assert (await town.rollout()).phase is Phase.SHIFTING

    await town.command("abort")
    fault.gate.set()
    await stalled

    assert town.share == 0
    await town.reach(Phase.REVERTED)


async def test_a_write_that_lands_after_the_abort_is_taken_back_at_once(
    town: Town, fault: Fault
) -> None:
    """After its PATCH a turn reads the record again and applies the newer wish."""
    await town.start()
    await town.reach(Phase.BAKING, 2)
    fault.at, fault.gate = ("MemoryTraffic", "write", "before"), asyncio.Event()
    stalled: asyncio.Task[None] | None = None
    while not stalled or stalled.done():
        town.world.clock.advance(1)
        stalled = asyncio.ensure_future(take_turn(town.world, "shop-2.4", "shop-2.4"))
        for _ in range(50):
            await asyncio.sleep(0)

    await town.command("abort")
    assert town.share == 0
    fault.gate.set()
    await stalled

    assert town.share == 0


async def test_two_ticks_at_once_end_like_one(town: Town) -> None:
    await town.start()
    for _ in range(200):
        town.world.clock.advance(1)
        await asyncio.gather(tick(town.world), tick(town.world))

    assert (await town.rollout()).phase is Phase.PROMOTED
    assert town.share == 1
    numbers = [row.number for row in await town.history()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_history_replayed_gives_the_record(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    await town.command("hold")
    await town.command("promote", from_step=1)
    await town.command("resume")
    town.rates = (0.0, 0.6)
    await town.reach(Phase.REVERTED)
    stored = await town.world.store.load("shop-2.4")
    assert stored is not None

    rows = await town.history()
    first = rows[0].event
    assert isinstance(first, StartAsked)
    replayed = newborn(stored.plan, first.at_s, first.by, dry_run=first.dry_run)
    for row in rows:
        replayed = decide(stored.plan, replayed, row.event).rollout

    assert replayed == stored.rollout


async def test_one_rollouts_failure_never_reaches_the_next(town: Town, fault: Fault) -> None:
    await town.start()
    other = PROFILE.replace("/shop", "/cart")
    town.world.store.holders["cart"] = await town.world.store.claim(other, "cart")
    fault.arm("MemoryTelemetry", "ask", "before", KeyError("planted"))

    await town.seconds(1)

    rows = await town.history()
    assert any(isinstance(row.event, TurnFailed) for row in rows)
    assert town.world.store.beat_s == town.world.clock.at_s


async def test_unknown_errors_in_a_row_call_a_person(town: Town, fault: Fault) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 1)
    for _ in range(5):
        fault.arm("MemoryTelemetry", "ask", "before", KeyError("planted"))
        await town.seconds(1)

    rollout = await town.rollout()
    assert rollout.phase is Phase.HELD
    assert "KeyError" in rollout.sentence


async def test_a_failure_that_cannot_be_noted_is_only_logged(
    town: Town, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    await town.start()
    fault.arm("MemoryTelemetry", "ask", "before", KeyError("planted"))
    fault.times = 1
    town.world.store.records["shop-2.4"] = ("no plan", "no record", 1)

    await guarded_turn(town.world, "shop-2.4")

    assert "could not be noted" in caplog.text


async def test_a_store_that_is_away_ends_the_turn_and_nothing_else(
    town: Town, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    await town.start()
    fault.arm("MemoryStore", "load", "before", AWAY)

    await guarded_turn(town.world, "shop-2.4")

    assert "ended early: away" in caplog.text


async def test_nothing_happens_to_a_rollout_that_is_not_there(town: Town) -> None:
    await take_turn(town.world, "nobody", "nobody")

    assert await submit(town.world, "nobody", AbortAsked(0, "ada")) is None


async def test_a_retreat_goes_on_while_the_store_is_away(town: Town, fault: Fault) -> None:
    """After the PATCH the record cannot be read again; the canary is off nevertheless."""
    await town.start()
    await town.reach(Phase.BAKING, 2)
    fault.calls.clear()

    async def away_after_save(port: str, method: str, stage: Stage) -> None:
        if port == "MemoryStore" and method == "load" and fault.calls:
            raise AWAY
        if (port, method, stage) == ("MemoryStore", "save", "after"):
            fault.calls.append((port, method, stage))

    town.world.store.hook = away_after_save
    await town.command("abort")

    assert town.weights == pair(100, 0)


async def test_a_profile_that_is_gone_is_not_written_to(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)
    seen = town.world.traffic.profiles.pop(PROFILE.casefold())

    await town.command("abort")
    await town.reach(Phase.REVERTED)

    town.world.traffic.profiles[PROFILE.casefold()] = seen


async def test_a_rise_stops_when_a_hand_is_on_the_weights(town: Town, fault: Fault) -> None:
    """Between look and PATCH somebody set the weights: they stay."""
    await town.start()
    await town.reach(Phase.BAKING, 1)

    async def meddle(port: str, method: str, stage: Stage) -> None:
        if (port, method, stage) == ("MemoryStore", "save", "after"):
            phase = hookless(town).phase
            if phase is Phase.SHIFTING:
                town.world.traffic.set(PROFILE, "green", weight=77)

    town.world.store.hook = meddle
    rollout = await town.reach(Phase.HELD)

    assert town.weights.canary.weight == 77
    assert "someone changed the weights" in rollout.sentence


def hookless(town: Town) -> Rollout:
    stored = town.world.store._stored("shop-2.4")
    assert stored is not None
    return stored.rollout


async def test_a_command_that_loses_every_race_is_left_to_the_broker(town: Town) -> None:
    await town.start()
    store = town.world.store

    async def always_first(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("save", "before"):
            plan, rollout, _ = store.records["shop-2.4"]
            store.version += 1
            store.records["shop-2.4"] = plan, rollout, store.version

    store.hook = always_first

    with pytest.raises(UnreachableError, match="is busy"):
        await town.command("hold")
    assert town.world.clock.slept_s == [2.0]


async def test_a_late_write_that_also_times_out_is_followed_by_the_newer_wish(
    town: Town,
) -> None:
    """Stable is being disabled for 100 % while an abort disables the canary: never both."""
    await town.start()
    await town.reach(Phase.BAKING, 3)

    async def abort_meanwhile(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("write", "before") and len(town.world.traffic.journal) == count + 1:
            town.world.traffic.hook = late
            await town.command("abort")

    async def late(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("write", "after") and not town.weights.stable.enabled:
            town.world.traffic.hook = Town().world.traffic.hook
            raise UnreachableError("no answer in time; it may have been applied")

    count = len(town.world.traffic.journal)
    town.world.traffic.hook = abort_meanwhile
    await town.until(lambda rollout: rollout.phase is Phase.RETREATING)

    assert town.weights == pair(100, 0)


async def test_each_tick_begins_with_another_rollout(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So slow ones never starve the same others."""
    for name in ("a", "b", "c"):
        await town.world.store.claim(PROFILE.replace("/shop", f"/{name}"), name)
    loaded: list[str] = []

    async def load(name: str) -> None:
        loaded.append(name)

    monkeypatch.setattr(town.world.store, "load", load)
    await town.seconds(3)

    assert sorted(loaded[::3]) == ["a", "b", "c"]


async def test_a_hand_between_two_writes_stops_the_second(town: Town) -> None:
    """Somebody disables the canary just when stable was about to be disabled for 100 %."""
    await town.start()
    await town.reach(Phase.BAKING, 3)
    count = len(town.world.traffic.journal)

    async def meddle(port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("write", "after") and len(town.world.traffic.journal) == count + 1:
            town.world.traffic.set(PROFILE, "green", enabled=False)

    town.world.traffic.hook = meddle
    await town.reach(Phase.HELD)

    assert town.weights.stable.enabled
    assert len(town.world.traffic.journal) == count + 1


async def test_a_retreat_does_not_wait_for_a_look_at_the_weights(town: Town) -> None:
    """Azure throttles reads and writes apart: who cannot read may still write."""
    await town.start()
    await town.reach(Phase.BAKING, 2)
    town.world.traffic.blind = "429, reads are throttled"

    await town.command("abort")

    assert town.share == 0
    await town.seconds(3)
    assert (await town.rollout()).phase is Phase.RETREATING
    town.world.traffic.blind = ""
    await town.reach(Phase.REVERTED)


async def test_blind_writes_leave_somebody_serving_at_100_percent(town: Town) -> None:
    """Stable is off: it is enabled before the canary is disabled, and nothing is left dark."""
    await town.start()
    await town.reach(Phase.PROMOTED)
    town.world.traffic.blind = "429, reads are throttled"
    before = len(town.world.traffic.journal)

    await town.command("abort")

    written = [write.arm for _, _, write in town.world.traffic.journal[before:]]
    assert written[:2] == ["stable", "canary"]
    assert (town.weights.stable.enabled, town.weights.canary.enabled) == (True, False)
