"""The faults of Azure met by the real SDKs over real sockets: identity, ARM, and the store.

The controllers run in this process and time is turned by hand; ARM, logs, the token endpoint and
Tables are servers. Every story ends at zero with every message accounted for.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controllers.tick import tick
from sandbox.azure import LocalAzure, LocalOptions
from sandbox.azurite import Azurite
from sandbox.faults import Fault, Kind
from sandbox.tables_proxy import TablesProxy
from shared.core import judge
from shared.core.events import AbortAsked, AlertFired
from shared.core.model import Phase
from shared.errors import UnreachableError
from tests.stories.surroundings import CALL_TIMEOUT_S, Hand, Surroundings, identified
from tests.stories.wired import Case, case

SAVE = r"POST .*batch$"
NO_TOKEN = Fault("GET /msi/token$", Kind.STATUS, times=1000, status=401)


@pytest.fixture(scope="module")
async def azure() -> AsyncIterator[tuple[LocalAzure, Hand]]:
    clock = Hand(time.time())
    async with LocalAzure(LocalOptions(clock=clock)) as running, identified(running):
        yield running, clock


@pytest.fixture(scope="module")
async def tables() -> AsyncIterator[TablesProxy]:
    async with Azurite() as azurite, TablesProxy(azurite) as running:
        yield running


@pytest.fixture
async def where(azure: tuple[LocalAzure, Hand], tables: TablesProxy) -> AsyncIterator[Surroundings]:
    running, clock = azure
    yield Surroundings(running, tables.connection_string, clock=clock)
    running.faults.clear()
    tables.faults.clear()


# --- no token


@pytest.mark.parametrize(
    ("bad_rate", "phase"), [(0.0, Phase.SHIFTING), (0.5, Phase.RETREATING)], ids=["good", "bad"]
)
async def test_without_a_token_nothing_moves_and_with_one_the_evidence_decides(
    where: Surroundings, bad_rate: float, phase: Phase
) -> None:
    """A cold start finds the identity out of order: blind, neither good nor bad, until it is back.

    The seconds without a token would have been enough to decide.
    """
    async with case(f"mute-{phase.lower()}", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        where.azure.faults.arm(NO_TOKEN)
        await it.cold_start()
        it.bad_rate = bad_rate
        for _ in range(10):
            await it.second()

        blind = await it.rollout()
        assert (blind.phase, it.share) == (Phase.BAKING, 0.2)
        assert blind.verdict is not None
        assert blind.verdict.kind is judge.Kind.BLIND
        assert "neither good nor bad" in blind.sentence
        assert "no token could be had" in blind.sentence

        where.azure.faults.clear()
        decided = await it.until(lambda rollout: rollout.phase is not Phase.BAKING)
        assert decided.phase is phase
        await it.ends_at_zero()


async def test_an_abort_without_a_token_is_remembered_and_performed_when_there_is_one(
    where: Surroundings,
) -> None:
    """ARM cannot be asked for anything; two ticks after it can, the canary is at zero."""
    async with case("mute-abort", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        where.azure.faults.arm(NO_TOKEN)
        await it.cold_start()
        await it.deliver(it.abort())
        await it.second()
        assert (await it.rollout()).phase is Phase.RETREATING
        assert it.share == 0.2

        where.azure.faults.clear()
        await it.second()
        await it.second()
        assert it.share == 0.0
        await it.ends_at_zero()


# --- ARM


@pytest.mark.parametrize(("asked_s", "deliveries"), [(1.0, 1), (60.0, 2)])
async def test_a_throttled_retreat_waits_as_long_as_asked_and_within_its_deadline(
    where: Surroundings, asked_s: float, deliveries: int
) -> None:
    """Asked to wait a second it waits; a minute is too long, so the message comes once more."""
    async with case(f"slow-{asked_s:.0f}", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        throttled = Fault("PATCH .*/canary$", Kind.STATUS, status=429, retry_after_s=asked_s)
        where.azure.faults.arm(throttled)
        began_s = time.monotonic()
        assert await it.deliver(it.abort()) == deliveries
        took_s = time.monotonic() - began_s

        assert it.share == 0.0
        assert took_s >= asked_s or asked_s > CALL_TIMEOUT_S
        assert took_s < 30
        await it.ends_at_zero()


@pytest.mark.parametrize("end", ["canary", "stable"])
async def test_a_rise_that_was_applied_and_answered_500_ends_at_its_weight(
    where: Surroundings, end: str
) -> None:
    """The share climbs to the step's, is never above it, and the step is taken once."""
    async with case(f"rise-{end}", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        where.azure.faults.arm(Fault(f"PATCH .*/{end}$", Kind.APPLY_THEN_FAIL))
        rollout = await it.reach(Phase.BAKING, 2)

        assert not where.azure.faults.armed
        assert rollout.wanted_percent == 60
        assert it.share == max(it.shares) == 0.6
        assert it.shares == sorted(it.shares)
        moves = [row.step for row in await it.history() if row.before != row.after]
        assert moves == [0, 0, 1, 1]
        await it.ends_at_zero()


@pytest.mark.parametrize("end", ["canary", "stable"])
async def test_a_retreat_that_was_applied_and_answered_500_is_finished(
    where: Surroundings, end: str
) -> None:
    """Users are off the canary with the first write; what was there before is put back in time."""
    async with case(f"back-{end}", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        where.azure.faults.arm(Fault(f"PATCH .*/{end}$", Kind.APPLY_THEN_FAIL))
        message = it.abort()
        settled = await it.settles(message)
        assert not where.azure.faults.armed
        assert it.share == 0.0

        assert settled or await it.deliver(message)
        assert [type(row.event) for row in await it.asked()][1:] == [AbortAsked]
        await it.ends_at_zero()


# --- the store


@pytest.mark.parametrize(("races", "deliveries"), [(3, 1), (9, 2)])
async def test_an_abort_that_loses_races_is_decided_anew_until_it_wins(
    where: Surroundings, tables: TablesProxy, races: int, deliveries: int
) -> None:
    """Others always save first: a few times it is decided again, and then it comes once more."""
    async with case(f"race-{races}", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        tables.faults.arm(Fault(SAVE, Kind.STATUS, times=races, status=412))
        assert await it.deliver(it.abort()) == deliveries

        assert not tables.faults.armed
        assert it.share == 0.0
        assert [type(row.event) for row in await it.asked()][1:] == [AbortAsked]
        await it.ends_at_zero()


async def test_two_instances_that_do_everything_at_once_agree_on_zero(where: Surroundings) -> None:
    """Ticks, a promote, an abort and an alert meet: one of them leads back, all are recorded."""
    async with case("crowd", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        async with it.another_instance() as other:
            await asyncio.gather(
                tick(it.world),
                tick(other),
                it.deliver(it.promote(from_step=1)),
                it.deliver(it.abort()),
                it.deliver(it.alert(), other),
            )
        accepted = [row.event for row in await it.asked() if not row.refused]
        assert sum(isinstance(event, AbortAsked | AlertFired) for event in accepted) == 1
        await it.ends_at_zero()


@pytest.mark.parametrize(
    ("said", "kind", "times"),
    [
        ("abort", Kind.APPLY_THEN_RESET, 1),
        ("abort", Kind.APPLY_THEN_FAIL, 1),
        ("abort", Kind.RESET, 1),
        ("alert", Kind.APPLY_THEN_RESET, 2),
    ],
)
async def test_a_retreat_whose_save_was_not_answered_is_performed_at_once(
    where: Surroundings, tables: TablesProxy, said: str, kind: Kind, times: int
) -> None:
    """Nobody knows whether it was saved: the canary goes to zero, and history has it once."""
    async with case(f"deaf-{said}-{kind.replace('_', '-')}", where) as it:
        await it.start()
        await it.reach(Phase.BAKING, 1)
        tables.faults.arm(Fault(SAVE, kind, times=times))
        message = it.abort() if said == "abort" else it.alert()
        settled = await it.settles(message)
        assert it.share == 0.0

        assert settled or await it.deliver(message)
        [row] = (await it.asked())[1:]
        assert (row.after, row.refused) == (Phase.RETREATING, False)
        await it.ends_at_zero()


async def test_a_start_and_a_promote_whose_saves_were_not_answered_happen_once(
    where: Surroundings, tables: TablesProxy
) -> None:
    """Every save of both is applied and its connection cut: they come again and change nothing."""
    async with case("deaf-rise", where) as it:
        tables.faults.arm(Fault(SAVE, Kind.APPLY_THEN_RESET, times=2))
        await it.start()
        await it.reach(Phase.BAKING, 1)
        tables.faults.arm(Fault(SAVE, Kind.APPLY_THEN_RESET))
        await it.deliver(it.promote(from_step=1))
        await it.reach(Phase.BAKING, 2)

        assert not tables.faults.armed
        assert it.share == max(it.shares) == 0.6
        assert it.parked == []
        await it.ends_at_zero()


async def test_a_store_that_is_killed_and_comes_back_has_record_and_history(
    azure: tuple[LocalAzure, Hand], tmp_path: Path
) -> None:
    """Nothing rises without it; afterwards the abort that was waiting is applied."""
    running, clock = azure
    async with Azurite(location=tmp_path) as azurite:
        connection = azurite.connection_string
        where = Surroundings(running, connection, clock=clock, call_timeout_s=1)
        async with case("gone", where) as it:
            await it.start()
            before = await it.reach(Phase.BAKING, 1), await it.history()
            await written(tmp_path, it)
            await azurite.kill(hard=True)
            message = it.abort()
            assert not await it.settles(message)
            with pytest.raises(UnreachableError):
                await it.second()
            assert it.share == 0.2

            await azurite.start()
            assert (await it.rollout(), await it.history()) == before
            assert await it.settles(message)
            assert it.share == 0.0
            await it.ends_at_zero()


async def written(folder: Path, it: Case) -> None:
    """Azurite writes its data every few seconds; the service would have had it at once."""
    number = len(await it.history())
    async with asyncio.timeout(15):
        while not any(
            f"h-{number:010d}" in path.read_text(encoding="utf-8") for path in folder.glob("*.json")
        ):
            await asyncio.sleep(0.1)
