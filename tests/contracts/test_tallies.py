"""One contract, two stores: samples count once, and what they count for adds up."""

import asyncio
from dataclasses import replace

import pytest

from controllers.findings import MOST_EXAMPLE_CHARS, MOST_PATTERN_CHARS
from sandbox.azurite import Azurite
from shared.cloud.store import TableStore
from shared.core.shadow import Judged
from shared.core.tally import MOST_PLACES, Bin, Place, Tally, counted, total
from shared.errors import ConflictError
from shared.ports import Store
from tests.contracts.conftest import table_store

JUDGED = Judged(
    mismatch=True,
    unreachable=False,
    slower=False,
    stable_mismatch=False,
    stable_unreachable=False,
    stable_slower=True,
)
WORST = ('"ü\\' * MOST_EXAMPLE_CHARS)[:MOST_EXAMPLE_CHARS]
ONE = Tally(
    samples=1,
    noise_samples=1,
    different=1,
    differences=1,
    newest_s=1_800_000_000.25,
    bins={1_800_000_000: counted(JUDGED, learning=False)},
    places={"$['ü 🙂']": Place(1, 0, "value", '"ü" became "🙂"')},
)


async def test_nothing_was_counted_for_a_rollout_that_nobody_knows(store: Store) -> None:
    assert await store.tally("shop-2.4") == Tally()
    assert await store.counted("shop-2.4", ["s-1"]) == frozenset()


async def test_tallies_add_up_for_each_rollout_apart(store: Store) -> None:
    await store.add_tally("shop-2.4", ONE, ["s-1"])
    await store.add_tally("shop-2.4", ONE, ["s-2"])
    await store.add_tally("shop-2.40", ONE, ["s-1"])

    assert await store.tally("shop-2.4") == ONE + ONE
    assert await store.tally("shop-2.40") == ONE
    assert await store.counted("shop-2.4", ["s-1", "s-2", "s-3"]) == {"s-1", "s-2"}
    assert await store.counted("shop-2.40", ["s-1", "s-2"]) == {"s-1"}


async def test_a_sample_that_was_counted_lets_nothing_of_its_batch_be_written(store: Store) -> None:
    await store.add_tally("shop-2.4", ONE, ["s-1", "s-2"])

    with pytest.raises(ConflictError):
        await store.add_tally("shop-2.4", ONE, ["s-3", "s-2", "s-4"])

    assert await store.tally("shop-2.4") == ONE
    assert await store.counted("shop-2.4", ["s-3", "s-4"]) == frozenset()
    await store.add_tally("shop-2.4", ONE, ["s-3", "s-4"])


async def test_of_twins_at_once_one_is_written(store: Store) -> None:
    ends = await asyncio.gather(
        *(store.add_tally("shop-2.4", ONE, ["s-1", "s-2"]) for _ in range(4)),
        return_exceptions=True,
    )

    assert sum(end is None for end in ends) == 1
    assert sum(isinstance(end, ConflictError) for end in ends) == 3
    assert await store.tally("shop-2.4") == ONE


@pytest.mark.parametrize("key", ["a/b\\c#d?e", "tab\t\x7f", "ü 🙂", "x" * 200, "'"])
async def test_a_sample_of_any_name_counts_once(store: Store, key: str) -> None:
    await store.add_tally("shop'/2 🙂", ONE, [key])

    with pytest.raises(ConflictError):
        await store.add_tally("shop'/2 🙂", ONE, [key])
    assert await store.counted("shop'/2 🙂", [key, f"{key}."]) == {key}


async def test_ninety_samples_and_as_many_places_as_are_kept_fit_into_one_row(store: Store) -> None:
    """The longest places and examples there are, of characters that JSON has to escape."""
    places = {
        f"$.{'ü' * (MOST_PATTERN_CHARS - 6)}{n:04d}": Place(9, 9, "type value", WORST)
        for n in range(2 * MOST_PLACES)
    }
    bins = {1_800_000_000 + n: Bin((90,) * 12) for n in range(3)}
    large = replace(ONE, samples=90, differences=9 * len(places), bins=bins, places=places)
    keys = [f"s-{n}" for n in range(90)]

    await store.add_tally("shop-2.4", total([large]), keys)

    kept = await store.tally("shop-2.4")
    assert kept == total([large])
    assert (len(kept.places), kept.elsewhere) == (MOST_PLACES, 9 * MOST_PLACES)
    assert await store.counted("shop-2.4", keys) == set(keys)


async def test_rows_of_many_pages_add_up(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.cloud.store.PAGE", 2)
    store: TableStore = table_store(azurite)
    for number in range(5):
        await store.add_tally("shop-2.4", ONE, [f"s-{number}"])

    assert (await store.tally("shop-2.4")).samples == 5
    await store.close()
