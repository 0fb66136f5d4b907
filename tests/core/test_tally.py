"""The tally: adding up in any order, in bounded space, and what is read from it."""

from dataclasses import replace
from functools import reduce
from operator import add
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import record
from shared.core import tally
from shared.core.judge import Counts
from shared.core.shadow import Judged
from shared.core.tally import BRIEF_PLACES, MOST_PLACES, Bin, Place, Tally, total

NUMBERS = st.integers(0, 50)
KINDS = st.sets(st.sampled_from(["value", "missing", "type"])).map(
    lambda kinds: " ".join(sorted(kinds))
)
PLACES = st.builds(
    Place, NUMBERS, NUMBERS, KINDS, st.sampled_from(["", "1 became 2", "a became b"])
)
BINS = st.builds(Bin, st.tuples(*[NUMBERS] * 12))
TALLIES = st.builds(
    Tally,
    *[NUMBERS] * 6,
    newest_s=st.floats(0, 2e9),
    bins=st.dictionaries(NUMBERS, BINS, max_size=4),
    places=st.dictionaries(st.sampled_from([f"$.f{n}" for n in range(9)]), PLACES, max_size=6),
)


def of(places: dict[str, int], **changes: object) -> Tally:
    """A tally of one sample that differs at these places."""
    found = {name: Place(canary=times, kinds="value") for name, times in places.items()}
    made = Tally(samples=1, differences=sum(places.values()), places=found)
    return replace(made, **changes)  # type: ignore[arg-type]  # a test names the field it means


# --- adding up ------------------------------------------------------------------------------------


@given(TALLIES, TALLIES, TALLIES)
def test_adding_is_associative_and_commutative_and_nothing_adds_nothing(
    one: Tally, two: Tally, three: Tally
) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert one + Tally() == Tally() + one == one


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_more_places_than_are_kept_are_added_up_alike_in_any_order(seed: int) -> None:
    """Over 500 places that overlap: the same 500 are kept whoever adds first, with exact counts."""
    chance = Random(seed)
    parts = [
        of({f"$.p{chance.randrange(900)}": chance.randint(1, 3) for _ in range(300)})
        for _ in range(6)
    ]
    truth: dict[str, int] = {}
    for part in parts:
        for name, place in part.places.items():
            truth[name] = truth.get(name, 0) + place.canary

    added = total(parts)
    shuffled = chance.sample(parts, len(parts))
    nested = reduce(add, shuffled[:3]) + reduce(add, shuffled[3:])

    assert nested == added
    assert len(truth) > MOST_PLACES == len(added.places)
    assert all(place.canary == truth[name] for name, place in added.places.items())
    assert added.elsewhere == sum(truth.values()) - sum(truth[name] for name in added.places)


def test_one_sample_with_too_many_places_is_cut_like_any_other() -> None:
    flood = of({f"$.p{n}": 1 for n in range(3 * MOST_PLACES)})

    assert len(total([flood]).places) == MOST_PLACES
    assert total([flood]).elsewhere == 2 * MOST_PLACES


@given(TALLIES)
def test_a_tally_is_stored_and_read_back_as_it_was(one: Tally) -> None:
    assert record.tally_from_json(record.tally_to_json(one)) == one


def test_a_place_outside_unicode_is_ranked_like_any_other() -> None:
    places = {f"$['\ud800{n}']": 1 for n in range(MOST_PLACES + 1)}
    assert len(total([of(places)]).places) == MOST_PLACES


# --- one sample -----------------------------------------------------------------------------------

BAD = Judged(
    mismatch=True,
    unreachable=False,
    slower=True,
    stable_mismatch=False,
    stable_unreachable=True,
    stable_slower=False,
)
ALONE = Judged(
    mismatch=False,
    unreachable=True,
    slower=None,
    stable_mismatch=None,
    stable_unreachable=None,
    stable_slower=None,
)


def test_a_sample_counts_for_each_rule_that_could_look_at_it() -> None:
    """The canary's answers always; stable's, and who was slower, only when both were asked."""
    seen = Tally(
        bins={7: tally.counted(BAD, learning=False), 9: tally.counted(ALONE, learning=False)}
    )

    assert list(tally.counts(seen, 0)) == [(7, Counts(1, 0, 1, 1)), (9, Counts(0, 0, 1, 0))]
    assert list(tally.counts(seen, 1)) == [(7, Counts(1, 0, 1, 1)), (9, Counts(0, 0, 0, 0))]
    assert list(tally.counts(seen, 2)) == [(7, Counts(1, 1, 1, 0)), (9, Counts(0, 0, 1, 1))]


@pytest.mark.parametrize("judged", [BAD, ALONE])
def test_while_noise_is_learnt_a_sample_counts_for_nothing(judged: Judged) -> None:
    assert tally.counted(judged, learning=True) == Bin()


# --- what is read from it -------------------------------------------------------------------------


def test_noise_is_what_stable_does_too_in_a_share_of_its_answers_and_at_least_twice() -> None:
    places = {
        "$.at": Place(canary=90, stable=80),
        "$.rare": Place(stable=2),
        "$.once": Place(stable=1),
        "$.wrong": Place(canary=90),
    }

    assert tally.noisy(Tally(noise_samples=100, places=places), 0.01) == {"$.at", "$.rare"}
    assert tally.noisy(Tally(noise_samples=1000, places=places), 0.01) == {"$.at"}
    assert tally.noisy(Tally(places=places), 0.01) == frozenset()


def test_the_worst_places_come_first_noise_after_them() -> None:
    """A place is as bad as the canary differs there beyond stable; equals go by their names."""
    places = {
        "$.at": Place(canary=100, stable=50),
        "$.b": Place(canary=3),
        "$.a": Place(canary=3),
        "$.wrong": Place(canary=40, kinds="value"),
    }
    seen = Tally(samples=100, noise_samples=50, places=places)

    assert [name for name, _ in tally.top(seen, 9)] == ["$.wrong", "$.a", "$.b", "$.at"]
    assert [name for name, _ in tally.top(seen, 1)] == ["$.wrong"]
    assert tally.spoken(seen, "$.wrong", places["$.wrong"]) == (
        "$.wrong (value: canary in 40.0 %, stable in 0.0 % of its answers)"
    )


def test_places_without_a_sample_to_divide_by_are_no_error() -> None:
    assert tally.top(Tally(places={"$.a": Place(canary=1)}), 3) == [("$.a", Place(canary=1))]


def test_a_decision_gets_the_open_bins_the_worst_places_and_the_noise_without_examples() -> None:
    """What goes into a history row is small, and gives the same noise."""
    wrong = {f"$.p{n}": Place(n, 0, "value", "1 became 2") for n in range(100)}
    noise = {f"$.noise{n}": Place(0, 5, "value") for n in range(30)}
    bins = {n: Bin((1,) * 12) for n in range(50)}
    seen = Tally(samples=200, noise_samples=100, bins=bins, places={**wrong, **noise})

    small = tally.brief(seen, 48)

    assert set(small.bins) == {48, 49}
    assert len(small.places) == BRIEF_PLACES + len(noise)
    assert not any(place.example for place in small.places.values())
    assert tally.noisy(small, 0.01) == tally.noisy(seen, 0.01)
    assert [name for name, _ in tally.top(small, BRIEF_PLACES)] == [
        name for name, _ in tally.top(seen, BRIEF_PLACES)
    ]
    assert len(record.tally_to_json(small)) < 6_000
