"""A dark launch from its start to its end: samples come, answers are compared, and it is judged."""

from typing import Any

import pytest

from shared.core.model import Phase
from tests.dark import DarkTown, answer, not_tried, silent, stamped_user, ticking


@pytest.fixture
def town() -> DarkTown:
    return DarkTown()


# --- good -----------------------------------------------------------------------------------------


async def test_a_good_canary_with_noisy_timestamps_passes_and_meets_its_first_users(
    town: DarkTown,
) -> None:
    town.user, town.stable, town.canary = stamped_user, ticking, ticking
    await town.launch()
    assert not town.canary_was_let_in

    await town.traffic(60)

    rollout = await town.rollout()
    assert (rollout.phase, rollout.step, rollout.wanted_percent) == (Phase.SHIFTING, 1, 1)
    assert rollout.noisy == ("$.at",)
    assert "going to step 2 of 3 (1 %)" in rollout.sentence
    await town.reach(Phase.BAKING, 2)
    assert town.share == pytest.approx(0.01)
    await town.reach(Phase.PROMOTED)


async def test_stale_data_that_both_answer_differently_by_now_is_no_harm(town: DarkTown) -> None:
    """In a tenth of the samples the user got yesterday's price; canary and stable agree."""

    def user(number: int) -> dict[str, Any]:
        old = '{"price": 9}'
        return {"body": {"text": old}} if number % 10 == 0 else {}

    town.user = user
    await town.launch()
    await town.traffic(60)

    rollout = await town.rollout()
    assert rollout.step == 1
    assert rollout.noisy == ("$.price",)


async def test_a_rare_bug_on_both_sides_is_no_harm_either(town: DarkTown) -> None:
    """Errors that stable has too: a status that differs now and then in both."""
    town.stable = lambda n: answer(status=500 if n % 40 == 0 else 200)
    town.canary = lambda n: answer(status=500 if (n + 20) % 40 == 0 else 200)
    await town.launch()
    await town.traffic(120)

    assert (await town.rollout()).step == 1


# --- bad ------------------------------------------------------------------------------------------


async def test_one_field_wrong_in_two_of_a_hundred_answers_never_meets_a_user(
    town: DarkTown,
) -> None:
    town.user, town.stable = stamped_user, ticking
    town.canary = lambda n: ticking(n, 11 if n % 50 == 0 else 10)
    await town.launch(mismatch="0.5pp")

    await town.traffic(150)

    rollout = await town.rollout()
    assert rollout.phase is Phase.RETREATING
    assert rollout.samples <= 1500
    assert rollout.sentence.startswith("mismatch: bad are 2.0 % of the canary's samples ")
    assert " and 0.0 % of stable's (0 of " in rollout.sentence
    assert "most at $.price (value: canary in 2.0 %, stable in 0.0 %" in rollout.sentence
    await town.reach(Phase.REVERTED)
    assert town.world.traffic.journal == []
    assert town.world.notices.told[-2][1] == rollout.sentence


async def test_a_canary_that_does_not_answer_is_unreachable_and_not_wrong(town: DarkTown) -> None:
    town.canary = lambda _: silent()
    await town.launch()

    await town.traffic(100)

    rollout = await town.rollout()
    assert rollout.phase is Phase.RETREATING
    assert rollout.sentence.startswith("unreachable: bad are ")
    seen = await town.world.store.tally("shop-2.4")
    assert (seen.unreachable, seen.different) == (seen.samples, 0)
    assert town.world.traffic.journal == []


async def test_a_canary_that_takes_twice_as_long_is_slower(town: DarkTown) -> None:
    town.canary = lambda _: answer(ms=100)
    town.stable = lambda _: answer(ms=40)
    await town.launch()

    await town.traffic(100)

    rollout = await town.rollout()
    assert rollout.phase is Phase.RETREATING
    assert rollout.sentence.startswith("slower: bad are 100.0 % of the canary's samples ")
    assert "most at" not in rollout.sentence


async def test_a_canary_wrong_throughout_is_said_so(town: DarkTown) -> None:
    """Two bins in a row in which half and more of at least 30 answers differ."""
    town.canary = lambda _: answer({"price": 11})
    await town.launch()

    await town.traffic(20, per_s=40)

    rollout = await town.rollout()
    assert rollout.phase is Phase.RETREATING
    assert "mismatch: the canary is down or all wrong" in rollout.sentence
    assert rollout.samples < 300


# --- nothing to judge by --------------------------------------------------------------------------


async def test_without_samples_it_is_blind_and_waits_for_a_person(town: DarkTown) -> None:
    await town.launch()

    await town.traffic(60, per_s=0)

    rollout = await town.rollout()
    assert rollout.phase is Phase.HELD
    assert "no sample has come for" in rollout.sentence
    await town.command("resume")
    await town.traffic(60)
    assert (await town.rollout()).step == 1


async def test_too_few_samples_wait_and_say_how_many(town: DarkTown) -> None:
    await town.launch()

    await town.traffic(60, per_s=2)

    rollout = await town.rollout()
    assert rollout.phase is Phase.BAKING
    assert rollout.sentence.endswith("; only 120 of 200 samples were compared")


async def test_undecided_at_its_deadline_it_waits_for_a_person(town: DarkTown) -> None:
    await town.launch({"min": "0s", "max": "20s"}, samples=5000)

    await town.traffic(60)

    rollout = await town.rollout()
    assert rollout.phase is Phase.HELD
    assert rollout.sentence.startswith("Undecided after 20 s of baking: ")


async def test_replays_that_were_not_tried_are_skipped_and_blame_nobody(town: DarkTown) -> None:
    town.canary = lambda _: not_tried()
    await town.launch()

    await town.traffic(60, per_s=5)

    rollout = await town.rollout()
    assert rollout.phase is Phase.HELD
    assert "samples came and were skipped: none was replayed" in rollout.sentence
    seen = await town.world.store.tally("shop-2.4")
    assert (seen.samples, seen.unreachable) == (0, 0)
    assert seen.skipped > 100


async def test_while_stable_was_not_tried_the_canary_is_looked_at_alone(town: DarkTown) -> None:
    town.stable = lambda _: not_tried()
    await town.launch()

    await town.traffic(20)

    rollout = await town.rollout()
    seen = await town.world.store.tally("shop-2.4")
    assert (rollout.phase, seen.noise_samples, seen.samples) == (Phase.BAKING, 0, 500)
    assert "stable answered 0 of 20 samples again" in rollout.sentence


async def test_samples_beyond_the_most_that_are_allowed_are_dropped(town: DarkTown) -> None:
    await town.launch(samples=100, most_samples=110, learn=2)
    town.canary = lambda n: answer({"price": 11}) if n % 9 == 0 else answer()

    await town.traffic(90, per_s=20)

    assert (await town.rollout()).samples == 110
    assert town.asked_of("green") == 110


# --- people and alerts ----------------------------------------------------------------------------


async def test_a_person_may_promote_from_the_dark(town: DarkTown) -> None:
    await town.launch()
    await town.traffic(2)

    await town.command("promote", from_step=1)

    rollout = await town.rollout()
    assert (rollout.phase, rollout.step) == (Phase.SHIFTING, 1)
    assert rollout.sentence == "Promoted by ada: going to step 2 of 3 (1 %)."


async def test_a_person_may_abort_in_the_dark(town: DarkTown) -> None:
    await town.launch()
    await town.traffic(2)

    await town.command("abort")

    await town.reach(Phase.REVERTED)
    assert town.world.traffic.journal == []


async def test_held_in_the_dark_it_goes_on_watching(town: DarkTown) -> None:
    """Samples are compared, nothing rises, and harm still leads back."""
    await town.launch()
    await town.command("hold")
    for _ in range(30):
        await town.traffic(1)
    assert (await town.rollout()).phase is Phase.HELD
    assert (await town.rollout()).samples == 750

    town.canary = lambda _: answer({"price": 11})
    for _ in range(90):
        await town.traffic(1)

    assert (await town.rollout()).phase in {Phase.RETREATING, Phase.REVERTED}
    assert town.world.traffic.journal == []


async def test_held_and_resumed_it_passes(town: DarkTown) -> None:
    await town.launch()
    await town.command("hold")
    await town.traffic(1)
    await town.command("resume")
    await town.traffic(60)

    assert (await town.rollout()).step == 1


async def test_an_alert_in_the_dark_leads_back(town: DarkTown) -> None:
    await town.launch()
    await town.traffic(2)

    await town.alert()

    assert (await town.rollout()).phase is Phase.RETREATING
    assert town.world.traffic.journal == []
