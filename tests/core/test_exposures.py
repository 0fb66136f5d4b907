"""Sampled rows as exposures: what a bin without bad rows stands for, however it is read."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import exposures
from shared.core.exposures import UNKNOWN, BadWeight, exposure
from shared.core.judge import Counts
from shared.core.telemetry import ArmBin, BinSeen, Rule

ESCAPED = BadWeight(rows=5, items=5, usual=40)
SAMPLED = BadWeight(rows=5, items=50, usual=50)
WHOLE = BadWeight(rows=5, items=5, usual=5)
QUIET = ArmBin(items=1000, rows=100, bad=(0.0,), bad_rows=(0,))
FAILING = ArmBin(items=1000, rows=104, bad=(4.0,), bad_rows=(4,))
NOBODY = ArmBin(items=0, rows=0, bad=(0.0,), bad_rows=(0,))


@pytest.mark.parametrize(
    ("own", "other", "events"),
    [
        (ESCAPED, SAMPLED, 1000),
        (SAMPLED, ESCAPED, 100),
        (WHOLE, ESCAPED, 100),
        (UNKNOWN, ESCAPED, 1000),
        (UNKNOWN, SAMPLED, 100),
        (UNKNOWN, WHOLE, 100),
        (UNKNOWN, UNKNOWN, 100),
        (BadWeight(rows=10, items=50, usual=100), UNKNOWN, 200),
        (BadWeight(rows=10, items=1, usual=1000), UNKNOWN, 1000),
    ],
    ids=[
        "escaped here",
        "sampled here",
        "never sampled before",
        "escaped in the other arm",
        "sampled in the other arm",
        "the other arm was never sampled",
        "no bad row anywhere",
        "half of the usual weight",
        "no row stands for less than one request",
    ],
)
def test_a_quiet_bin_stands_for_what_its_bad_rows_would_have_weighed(
    own: BadWeight, other: BadWeight, events: float
) -> None:
    """A thousand requests, one row in ten kept, none of them bad."""
    assert exposure(QUIET, 0, own, other) == (events, 0)


def test_a_bin_with_bad_rows_speaks_for_itself() -> None:
    """Whatever was known before, its own bad rows say how they are sampled."""
    assert exposure(FAILING, 0, SAMPLED, SAMPLED) == (1000, 4)
    sampled = replace(FAILING, bad=(40.0,))
    assert exposure(sampled, 0, ESCAPED, ESCAPED) == (100, 4)


def test_an_arm_without_requests_is_no_exposure() -> None:
    """Neither one that is not there nor one whose bin holds no row."""
    assert exposure(None, 0, UNKNOWN, UNKNOWN) == (0, 0)
    assert exposure(NOBODY, 0, UNKNOWN, UNKNOWN) == (0, 0)


def test_affected_clients_are_counted_instead_where_the_source_counts_them() -> None:
    """Rows and items say nothing then."""
    arm = replace(FAILING, clients=(90,), bad_clients=(3,))
    assert exposure(arm, 0, ESCAPED, ESCAPED) == (90, 3)


def test_stables_past_tells_how_failures_are_sampled() -> None:
    """One bin of the look with failures is enough for all its bins, and the canary is left out."""
    bins = tuple(BinSeen(n, FAILING if n == 7 else QUIET, QUIET) for n in range(10))
    rules = (Rule("errors"),)

    assert exposures.baseline(rules, bins) == {"errors": Counts(10_000, 4)}
    assert exposures.of_lookback(rules, bins)["errors"][1] == UNKNOWN
    assert exposures.baseline(rules, (BinSeen(0, QUIET, None),)) == {"errors": Counts(100, 0)}


ARMS = st.one_of(
    st.none(),
    st.builds(
        lambda rows, weight, bad, escapes: ArmBin(
            items=bad * (1 if escapes else weight) + rows * weight,
            rows=rows + bad,
            bad=(float(bad * (1 if escapes else weight)),),
            bad_rows=(bad,),
        ),
        st.integers(0, 50),
        st.integers(1, 20),
        st.integers(0, 3),
        st.booleans(),
    ),
)


@given(st.lists(st.tuples(ARMS, ARMS), max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_however_looks_cut_the_time_up_the_counts_are_the_same(
    arms: list[tuple[ArmBin | None, ArmBin | None]], random: object
) -> None:
    """Read at once, bin by bin, or out of order: each bin learns from those before it."""
    bins = [BinSeen(number, *each) for number, each in enumerate(arms)]
    unknown = (UNKNOWN, UNKNOWN)
    at_once = list(exposures.counted(bins, 0, unknown))

    known, one_by_one = unknown, list[tuple[int, Counts]]()
    for seen in bins:
        one_by_one += exposures.counted([seen], 0, known)
        known = exposures.learnt([seen], 0, known)
    shuffled = bins.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random of Hypothesis

    assert one_by_one == at_once == list(exposures.counted(shuffled, 0, unknown))
    assert exposures.learnt(shuffled, 0, unknown) == known
