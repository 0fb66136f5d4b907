"""One contract, two stores: in memory, and on Azure Tables as Azurite keeps them."""

import asyncio
from dataclasses import replace

import pytest

from sandbox.azurite import Azurite
from shared.cloud.store import TableStore
from shared.core import judge
from shared.core.alerts import Spell
from shared.core.events import HoldAsked, StartAsked, Ticked
from shared.core.judge import Counts
from shared.core.model import Phase, Rollout, TrafficSeen, newborn
from shared.core.telemetry import Sight
from shared.errors import ConflictError, RefusedError, UnreachableError
from shared.ports import HistoryRow, Message, Rejected, Store
from tests.contracts.conftest import table_store
from tests.given import PROFILE, START_S, plan

PLAN = plan()


def born() -> Rollout:
    return newborn(PLAN, START_S, "ci", dry_run=False)


def row(number: int, *, refused: bool = False) -> HistoryRow:
    event = StartAsked(START_S, "ci") if number == 1 else HoldAsked(START_S, "ada", "why not")
    said = f"row {number}"
    return HistoryRow(number, event, Phase.PENDING, Phase.HELD, 0, 1.0, said, refused)


async def test_a_created_rollout_is_loaded_as_it_was(store: Store) -> None:
    created = await store.create(PLAN, born(), row(1), "m-1")

    assert await store.load(PLAN.name) == created
    assert await store.names() == [PLAN.name]
    assert await store.load("another") is None
    await store.create(replace(PLAN, name="2"), replace(born(), name="2"), row(1), "m-1")
    assert len(await store.names(limit=1)) == 1


async def test_a_rollout_is_created_once(store: Store) -> None:
    await store.create(PLAN, born(), row(1), "m-1")

    with pytest.raises(ConflictError):
        await store.create(PLAN, born(), row(1), "m-2")

    assert await store.seen(PLAN.name, "m-2") is None


async def test_a_save_against_a_stale_etag_leaves_nothing_behind(store: Store) -> None:
    first = await store.create(PLAN, born(), row(1), "m-1")
    second = await store.save(first, replace(first.rollout, step=1), row(2), "m-2")

    with pytest.raises(ConflictError):
        await store.save(first, replace(first.rollout, step=9), row(3), "m-3")

    assert await store.load(PLAN.name) == second
    assert await store.seen(PLAN.name, "m-3") is None
    assert [r.number for r in await store.history(PLAN.name)] == [1, 2]


async def test_a_message_is_remembered_with_the_row_it_led_to(store: Store) -> None:
    first = await store.create(PLAN, born(), row(1), "m-1")
    saved = await store.save(first, first.rollout, row(2, refused=True), "m/2?#\\ü")

    assert await store.seen(PLAN.name, "m/2?#\\ü") == 2
    with pytest.raises(ConflictError):
        await store.save(saved, first.rollout, row(3), "m/2?#\\ü")


async def test_history_comes_in_order_and_in_pages(store: Store) -> None:
    stored = await store.create(PLAN, born(), row(1), "m-1")
    for number in range(2, 13):
        stored = await store.save(stored, stored.rollout, row(number), None)

    assert [r.number for r in await store.history(PLAN.name, after=8, limit=3)] == [9, 10, 11]
    assert await store.history(PLAN.name, after=11) == [row(12)]


async def test_where_a_rollout_turned_is_found_among_its_looks(store: Store) -> None:
    """People, alerts and changes of phase, the newest of them, in order."""
    look = replace(
        row(0), event=Ticked(START_S, TrafficSeen(Sight.FAILED, "503")), after=Phase.PENDING
    )
    stored = await store.create(PLAN, born(), row(1), "m-1")
    for number in range(2, 13):
        same = replace(look, number=number)
        told = {6: replace(same, after=Phase.HELD), 9: row(9)}.get(number, same)
        stored = await store.save(stored, stored.rollout, told, None)

    assert [r.number for r in await store.turnings(PLAN.name)] == [1, 6, 9]
    assert [r.number for r in await store.turnings(PLAN.name, limit=2)] == [6, 9]
    assert len(await store.history(PLAN.name)) == 12
    assert await store.turnings("nobody") == []


async def test_the_evidence_of_many_rules_fits(store: Store) -> None:
    one = judge.fold(judge.gather(judge.begin(0), [(0, Counts(900, 11.5, 100, 3))]), 5)
    table = tuple((number + 1) / 7 for number in range(680))
    large = replace(one, rollout_table=table, step_table=table)
    full = replace(born(), evidence={f"rule-{n}": large for n in range(5)})

    made = await store.create(PLAN, full, row(1), "m-1")
    assert await store.load(PLAN.name) == replace(made, rollout=full)


@pytest.mark.parametrize(
    "name", ["a'b", "a/b\\c", "a#b?c", "a%2Fb", "tab\t\x7f", "ü 🙂", "x" * 1500]
)
async def test_a_name_with_any_letters_is_kept_apart(store: Store, name: str) -> None:
    plan = replace(PLAN, name=name)
    made = await store.create(plan, replace(born(), name=name), row(1), "m-1")

    assert await store.load(name) == made
    assert await store.history(name) == [row(1)]
    assert await store.names() == [name]
    assert await store.load(name + "=") is None
    assert await store.history(name + "=") == []


async def test_a_history_row_is_never_written_twice(store: Store) -> None:
    stored = await store.create(PLAN, born(), row(1), "m-1")

    with pytest.raises(ConflictError):
        await store.save(stored, replace(stored.rollout, step=1), row(1, refused=True), "m-2")

    assert await store.load(PLAN.name) == stored
    assert await store.history(PLAN.name) == [row(1)]


async def test_one_profile_has_one_claim(store: Store) -> None:
    mine = await store.claim(PROFILE, "mine")
    assert (await store.claim(PROFILE.upper(), "theirs")).rollout == "mine"

    taken = await store.claim(PROFILE, "theirs", instead_of=mine)
    assert taken.rollout == "theirs"
    assert (await store.claim(PROFILE, "late", instead_of=mine)).rollout == "theirs"

    await store.release(mine)
    assert [claim.rollout for claim in await store.claims()] == ["theirs"]
    assert await store.claims() == [taken]
    await store.release(taken)
    assert await store.claims() == []
    await store.release(taken)


async def test_a_profile_released_meanwhile_is_taken_all_the_same(store: Store) -> None:
    gone = await store.claim(PROFILE, "gone")
    await store.release(gone)

    taken = await store.claim(PROFILE, "mine", instead_of=gone)

    assert taken.rollout == "mine"
    assert await store.claims() == [taken]


async def test_a_rejected_message_is_kept_once_with_its_very_bytes(store: Store) -> None:
    body = bytes(range(256)) * 1024
    older = Rejected(Message("m-1", body, START_S, 3), "commands", "not JSON", START_S)
    newer = Rejected(Message("m-2", b"", START_S), "alerts", "empty: ü", START_S + 1)

    for entry in (older, newer, replace(older, reason="again")):
        await store.reject(entry)

    assert await store.rejected() == [newer, older]
    assert await store.rejected(limit=1) == [newer]
    other = Rejected(Message("m-1", b"other bytes", START_S), "commands", "r", START_S + 2)
    await store.reject(other)
    assert await store.rejected() == [other, newer, older]


async def test_only_the_newest_rejected_messages_are_read(store: Store) -> None:
    entries = [Rejected(Message(f"m-{n}", b"", n), "alerts", "r", START_S + n) for n in range(12)]
    for entry in entries:
        await store.reject(entry)

    assert await store.rejected(limit=3) == entries[:-4:-1]


async def test_a_rejected_message_is_found_by_its_key(store: Store) -> None:
    parked = Rejected(Message("commands/1", b"\x00{", START_S, 3), "commands", "no JSON", START_S)
    await store.reject(parked)

    assert await store.rejected_one(parked.key) == parked
    assert await store.rejected_one("0" * 64) is None
    assert await store.rejected_one("what/ever?'#") is None


async def test_an_alert_is_heard_by_one_at_a_time(store: Store) -> None:
    """Two deliveries of one alert must not both believe that theirs is the last word."""
    spell = Spell("k1", "shop-5xx", None, ("/app",), START_S, START_S)
    assert await store.heard("k1") is None
    await store.hear(spell, None)
    known = await store.heard("k1")
    assert known is not None
    assert known.spell == spell
    later = replace(spell, last_s=START_S + 9, resolved_s=START_S + 9, listeners=("shop-2.4",))
    await store.hear(later, known)

    with pytest.raises(ConflictError):
        await store.hear(spell, known)
    with pytest.raises(ConflictError):
        await store.hear(spell, None)
    await store.hear(replace(spell, key="k2"), None)
    assert {each.key: each for each in await store.spells()} == {
        "k1": later,
        "k2": replace(spell, key="k2"),
    }


async def test_the_heartbeat_is_the_last_one(store: Store) -> None:
    assert await store.last_beat_s() is None
    await store.beat(START_S)
    await store.beat(START_S + 60)

    assert await store.last_beat_s() == START_S + 60


async def test_many_writers_lose_no_update(store: Store) -> None:
    await store.create(PLAN, born(), row(1), "m-1")

    async def increments() -> None:
        done = 0
        while done < 25:
            stored = await store.load(PLAN.name)
            assert stored is not None
            number = stored.rollout.sequence + 2
            after = replace(stored.rollout, sequence=stored.rollout.sequence + 1)
            try:
                await store.save(stored, after, row(number), None)
                done += 1
            except ConflictError:
                await asyncio.sleep(0)

    await asyncio.gather(*(increments() for _ in range(8)))

    loaded = await store.load(PLAN.name)
    assert loaded is not None
    assert loaded.rollout.sequence == 200
    assert len(await store.history(PLAN.name)) == 201


async def test_a_store_that_is_away_is_unreachable() -> None:
    async with Azurite() as azurite:
        store = table_store(azurite)
        await store.beat(START_S)
        await azurite.kill()

        with pytest.raises(UnreachableError, match="could not read"):
            await store.load(PLAN.name)
        with pytest.raises(UnreachableError, match="could not"):
            await store.create(PLAN, born(), row(1), "m-1")
        await store.close()


async def test_a_table_that_is_gone_is_no_conflict_and_no_empty_answer(tables: TableStore) -> None:
    table = await tables.prepare()
    assert await tables.prepare() is table
    await table.delete_table()

    for call in (
        tables.load(PLAN.name),
        tables.names(),
        tables.create(PLAN, born(), row(1), "m-1"),
        tables.claim(PROFILE, "mine"),
        tables.reject(Rejected(Message("m", b"x", 0), "q", "r", 0)),
        tables.beat(START_S),
    ):
        with pytest.raises(UnreachableError, match="does not exist"):
            await call


async def test_what_cannot_fit_is_refused_before_it_is_sent(tables: TableStore) -> None:
    wide = replace(PLAN, stable="x" * 400_000), replace(born(), sentence="y" * 400_000)

    with pytest.raises(RefusedError, match="too much to keep"):
        await tables.reject(Rejected(Message("m", b"x" * 900_000, 0), "q", "r", 0))
    with pytest.raises(RefusedError, match="mostly MessageId"):
        await tables.reject(Rejected(Message("m" * 40_000, b"", 0), "q", "r", 0))
    with pytest.raises(RefusedError, match="is too much"):
        await tables.create(*wide, row(1), "m-1")
    assert await tables.names() == []
