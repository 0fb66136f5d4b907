"""Standardised exposure: what the past foretells is used, what it does not is left alone."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core import strata

EVEN = [(1000.0, 10.0)] * 4
ODD = [(1000.0, 40.0), (1000.0, 10.0), (2000.0, 10.0), (500.0, 0.0)]
COUNTS = st.tuples(st.integers(0, 10**6), st.floats(0, 1)).map(lambda n: (n[0], n[0] * n[1]))
HALVES = st.lists(st.tuples(COUNTS, COUNTS), max_size=8)


def test_a_stratum_that_fails_more_weighs_more() -> None:
    """At three times the mean's rate a request counts for nearly three, at none for little."""
    weights = strata.fit(ODD, ODD)
    assert weights is not None
    assert weights == pytest.approx((2.81, 0.77, 0.41, 0.19), abs=0.01)


def test_what_tells_nothing_is_not_used() -> None:
    """Where all strata fail alike, or nothing failed, or strata change places, requests count."""
    silent = [(1000.0, 0.0)] * 4
    assert strata.fit(EVEN, EVEN) is None
    assert strata.fit(silent, silent) is None
    assert strata.fit([], []) is None
    assert strata.fit(ODD, ODD[1:] + ODD[:1]) is None


def test_luck_is_not_taken_for_strata() -> None:
    """Forty strata with the same rate and a few failures each: hardly ever is a difference seen."""
    dice = Random(7)

    def half() -> list[tuple[float, float]]:
        return [(500.0, float(dice.binomialvariate(500, 0.01))) for _ in range(40)]

    assert sum(strata.fit(half(), half()) is not None for _ in range(200)) <= 10


@given(HALVES)
def test_weights_are_bounded_and_mean_one(
    halves: list[tuple[strata.Exposed, strata.Exposed]],
) -> None:
    """Counts go on reading as requests: the past's exposure is what it was."""
    older, newer = [each[0] for each in halves], [each[1] for each in halves]
    weights = strata.fit(older, newer)
    for each in weights or ():
        assert 1 / 20 <= each <= 20
    drawn = strata.shrunk(older, 10.0)
    events = sum(n for n, _ in older)
    assert sum(n * w for (n, _), w in zip(older, drawn, strict=True)) == pytest.approx(events)


def test_a_stratum_beyond_the_bound_leaves_the_mean_at_one() -> None:
    """One operation that always fails has nearly all failures: the others weigh what is left."""
    seen = [(200.0, 190.0), (99_800.0, 20.0)]
    weights = strata.fit(seen, seen)
    assert weights == pytest.approx((20, 0.9619), abs=1e-4)


def test_amounts_of_any_size_are_weighed() -> None:
    """A stratum next to nothing beside one beyond all counting is no error."""
    assert strata.fit([(1e-300, 1e-300), (1e300, 1e10)], [(1e-300, 1e-300), (1e300, 1e10)]) is None
