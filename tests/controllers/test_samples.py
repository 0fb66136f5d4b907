"""The samples queue: what is replayed, what counts and how often, and what is given back."""

import asyncio
from typing import Any

import pytest

from controllers import inbox, samples
from controllers.samples import receive_samples
from sandbox.memory_store import Hook, Stage, no_fault
from shared.core.model import Phase
from shared.core.shadow import MARK
from shared.errors import ConflictError, UnreachableError
from shared.ports import Message
from tests.dark import DarkTown, sample_document
from tests.given import PROFILE
from tests.town import settings

HASH = "ab" * 32


@pytest.fixture
async def town() -> DarkTown:
    """A town whose dark launch bakes."""
    made = DarkTown()
    await made.launch(most_samples=1000)
    return made


def fails(method: str, *, stage: Stage = "before", times: int = 1) -> Hook:
    """The store does not answer so many times; after the effect, it is the reply that was lost."""
    left = [times]

    async def hook(_port: str, called: str, at: Stage) -> None:
        if (called, at) == (method, stage) and left[0]:
            left[0] -= 1
            raise UnreachableError("does not answer")

    return hook


def again(message: Message, deliveries: int = 2) -> Message:
    return Message(message.id, message.body, message.enqueued_at_s, deliveries)


# --- what is replayed -----------------------------------------------------------------------------


async def test_a_sample_is_replayed_to_the_canary_and_by_its_share_to_stable(
    town: DarkTown,
) -> None:
    asked = {"method": "GET", "headers": {"Cookie": "c", "Accept": "a/b"}, "path": "/api/items/7?a"}
    await town.receive(sample_document(7, request=asked))
    endpoint, request = town.world.replays.asked[0]

    assert endpoint == "green"
    assert (request.method, request.path) == ("GET", "/api/items/7?a")
    assert request.headers == {"accept": "a/b", "accept-encoding": "identity", MARK: "shop-2.4"}

    await receive_samples(town.world, town.samples(400))
    assert town.asked_of("green") == 401
    assert town.asked_of("blue") == pytest.approx(200, abs=40)


async def test_a_method_that_the_plan_does_not_allow_is_skipped(town: DarkTown) -> None:
    await town.receive(sample_document(1, request={"method": "POST"}), sample_document(2))

    assert await town.counted() == (1, 1)
    assert {request.method for _, request in town.world.replays.asked} == {"GET"}


async def test_a_body_in_a_blob_is_fetched_for_both_sides(town: DarkTown) -> None:
    blob = {"blob": "https://blobs/1", "sha256": HASH}
    town.world.bodies.blobs["https://blobs/1"] = b'{"price": 12}'

    await town.receive(sample_document(1, request={"body": blob}, response={"body": blob}))

    seen = await town.world.store.tally("shop-2.4")
    assert (seen.samples, seen.different) == (1, 1)
    assert town.world.replays.asked[0][1].body == b'{"price": 12}'


@pytest.mark.parametrize(
    ("phase", "action", "more"),
    [
        (Phase.HELD, "hold", {}),
        (Phase.RETREATING, "abort", {}),
        (Phase.SHIFTING, "promote", {"from_step": 1}),
    ],
)
async def test_samples_count_in_the_dark_launch_and_in_no_other_phase(
    town: DarkTown, phase: Phase, action: str, more: dict[str, Any]
) -> None:
    await town.command(action, None, **more)
    assert (await town.rollout()).phase is phase

    await receive_samples(town.world, town.samples(5))

    assert await town.counted() == ((5, 0) if phase is Phase.HELD else (0, 0))
    assert await town.reasons() == []


async def test_samples_of_a_profile_without_a_rollout_are_dropped(town: DarkTown) -> None:
    elsewhere = PROFILE.replace("/shop", "/cart")
    await town.receive(sample_document(1, profile=elsewhere), sample_document(2))

    assert await town.counted() == (1, 0)
    assert await town.reasons() == []


async def test_a_profile_is_the_same_in_any_case(town: DarkTown) -> None:
    await town.receive(sample_document(1, profile=PROFILE.upper().replace("/SUBSCR", "/subscr")))
    assert await town.counted() == (1, 0)


async def test_samples_of_a_rollout_without_a_dark_launch_are_dropped() -> None:
    town = DarkTown()
    await town.start()
    await town.reach(Phase.BAKING, 1)

    await receive_samples(town.world, town.samples(5))

    assert town.world.replays.asked == []


async def test_a_claim_whose_rollout_is_gone_is_passed_over(town: DarkTown) -> None:
    town.world.store.records.clear()
    await receive_samples(town.world, town.samples(5))
    assert town.world.replays.asked == []


# --- a sample counts once -------------------------------------------------------------------------


async def test_a_sample_twice_in_one_batch_is_replayed_and_counted_once(town: DarkTown) -> None:
    await town.receive(*[sample_document(1)] * 3, sample_document(2))

    assert await town.counted() == (2, 0)
    assert town.asked_of("green") == 2


async def test_a_sample_that_comes_again_later_counts_once(town: DarkTown) -> None:
    batch = town.samples(4)
    await receive_samples(town.world, batch[:3])
    await receive_samples(town.world, batch[1:])

    assert await town.counted() == (4, 0)


async def test_a_batch_delivered_again_after_a_crash_is_not_even_replayed_again(
    town: DarkTown,
) -> None:
    """The crash came after the tally was written and before the broker heard of it."""
    batch = town.samples(100)
    town.world.store.hook = fails("add_tally", stage="after")
    with pytest.raises(UnreachableError):
        await receive_samples(town.world, batch)
    assert town.asked_of("green") == samples.BATCH

    await receive_samples(town.world, [again(message) for message in batch])

    assert await town.counted() == (100, 0)
    assert town.asked_of("green") == 100


async def test_two_instances_that_get_the_same_samples_at_once_count_them_once(
    town: DarkTown,
) -> None:
    batch = town.samples(40)

    await asyncio.gather(*(receive_samples(town.world, batch[n * 5 :]) for n in range(4)))

    assert await town.counted() == (40, 0)


async def test_samples_that_are_always_counted_meanwhile_come_again(town: DarkTown) -> None:
    """Somebody else takes one of them at each try: bounded, then given back."""
    batch = town.samples(5)
    taken = iter(["s-1", "s-2", "s-3"])

    async def race(_port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("add_tally", "before"):
            town.world.store.samples.setdefault("shop-2.4", set()).add(next(taken))
            raise ConflictError("counted before")

    town.world.store.hook = race
    with pytest.raises(UnreachableError, match="by somebody else"):
        await receive_samples(town.world, batch)

    town.world.store.hook = no_fault
    await receive_samples(town.world, [again(message) for message in batch])
    assert await town.counted() == (2, 0)


# --- what is given back ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["claims", "load", "add_tally", "counted", "reject"])
async def test_while_the_store_is_away_a_batch_is_given_back_after_a_pause(
    town: DarkTown, method: str
) -> None:
    batch = [again(message, 3) for message in town.samples(4)] + [town.message(b"{")]
    town.world.store.hook = fails(method)

    with pytest.raises(UnreachableError):
        await receive_samples(town.world, batch)
    assert town.world.clock.slept_s == [8.0]

    town.world.store.hook = no_fault
    await receive_samples(town.world, batch)
    assert await town.counted() == (4, 0)
    assert len(await town.reasons()) == 1


async def test_the_pause_is_bounded(town: DarkTown) -> None:
    town.world.store.hook = fails("claims")
    with pytest.raises(UnreachableError):
        await receive_samples(town.world, [again(town.samples(1)[0], 99)])
    assert town.world.clock.slept_s == [inbox.LONGEST_PAUSE_S]


async def test_a_body_that_cannot_be_fetched_now_comes_again_and_the_others_count(
    town: DarkTown,
) -> None:
    blob = {"blob": "https://blobs/1", "sha256": HASH}
    town.world.bodies.blobs["https://blobs/1"] = b'{"price": 10}'
    batch = [town.message(sample_document(1, response={"body": blob})), *town.samples(3)[1:]]
    town.world.bodies.hook = fails("read")

    with pytest.raises(UnreachableError):
        await receive_samples(town.world, batch)
    assert await town.counted() == (2, 0)

    await receive_samples(town.world, [again(message) for message in batch])
    assert await town.counted() == (3, 0)
    assert town.asked_of("green") == 3


async def test_a_batch_that_takes_too_long_is_given_back(town: DarkTown) -> None:
    object.__setattr__(town.world, "settings", settings(turn_deadline_s=0.01))

    async def hang(_port: str, _method: str, stage: Stage) -> None:
        if stage == "before":
            await asyncio.Event().wait()

    town.world.replays.hook = hang
    with pytest.raises(TimeoutError):
        await receive_samples(town.world, town.samples(2))
    assert town.world.clock.slept_s == [2.0]


async def test_one_rollout_that_cannot_be_counted_stops_no_other() -> None:
    town = DarkTown()
    await town.launch()
    other = PROFILE.replace("/shop", "/cart")
    town.world.traffic.profiles[other.casefold()] = town.world.traffic.profiles[PROFILE.casefold()]
    object.__setattr__(town.world, "settings", settings(allowed_profiles=(PROFILE, other)))
    await town.start(
        name="cart-1", profile=other, steps=[{"percent": 0, "shadow": {"learn": 2}}, 1, 100]
    )
    await town.until(lambda _: town.world.store.records["cart-1"][1].find('"BAKING"') > 0)
    town.world.store.hook = fails("add_tally")
    batch = [*town.samples(3), town.message(sample_document(9, profile=other))]

    with pytest.raises(UnreachableError):
        await receive_samples(town.world, batch)
    await receive_samples(town.world, [again(message) for message in batch])

    assert await town.counted() == (3, 0)
    assert (await town.world.store.tally("cart-1")).samples == 1
    assert town.asked_of("green") <= 7
