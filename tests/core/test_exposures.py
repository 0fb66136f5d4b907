"""Sampled rows as exposures: what a bin stands for by its version's bad rows, however read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import exposures
from shared.core.bad_rows import UNKNOWN, BadWeight
from shared.core.exposures import exposure
from shared.core.judge import Counts
from shared.core.telemetry import ArmBin, BinSeen, Rule

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "judge-vectors.json").read_text(encoding="utf-8")
)["effective"]
ESCAPED = BadWeight(rows=50, items=50, usual=500)
SAMPLED = BadWeight(rows=50, items=500, usual=500)
WHOLE = BadWeight(rows=50, items=50, usual=50)
UNEVEN = BadWeight(rows=50, items=91, usual=91, spread=330)
QUIET = ArmBin(items=1000, rows=100, bad=(0.0,), bad_rows=(0,))
FAILING = ArmBin(items=1000, rows=104, bad=(4.0,), bad_rows=(4,))
NOBODY = ArmBin(items=0, rows=0, bad=(0.0,), bad_rows=(0,))


@pytest.mark.parametrize(
    ("own", "other", "events"),
    [
        (ESCAPED, UNKNOWN, 1000),
        (ESCAPED, SAMPLED, 1000),
        (SAMPLED, ESCAPED, 100),
        (WHOLE, ESCAPED, 1000),
        (UNKNOWN, ESCAPED, 1000),
        (UNKNOWN, SAMPLED, 100),
        (UNKNOWN, WHOLE, 100),
        (UNKNOWN, UNKNOWN, 100),
        (BadWeight(rows=100, items=500, usual=1000), UNKNOWN, 200),
        (BadWeight(rows=100, items=1, usual=1000), UNKNOWN, 1000),
    ],
    ids=[
        "escaped here",
        "escaped here alone",
        "sampled here alone",
        "never sampled before here, escaped in the other arm",
        "escaped in the other arm",
        "sampled in the other arm",
        "the other arm was never sampled",
        "no bad row anywhere",
        "half of the usual weight",
        "no row stands for less than one request",
    ],
)
def test_a_bin_stands_for_what_its_versions_bad_rows_weigh(
    own: BadWeight, other: BadWeight, events: float
) -> None:
    """A thousand requests, one row in ten kept; half a hundred rows tell within a tenth."""
    assert exposure(QUIET, 0, own, other) == pytest.approx((events, 0), rel=0.1)


@pytest.mark.parametrize("case", VECTORS, ids=str)
def test_many_rows_give_the_reference_value(case: dict[str, Any]) -> None:
    """Once enough rows tell, exposure is items by the mean item count of the bad rows."""
    bad_rows, bad, rows, items = case["args"]
    arm = ArmBin(items=items, rows=rows, bad=(bad,), bad_rows=(bad_rows,))
    many = 1e12 * bad_rows
    known = BadWeight(rows=many, items=1e12 * bad, usual=many * items / rows)

    assert list(exposure(arm, 0, known, UNKNOWN)) == pytest.approx(case["n_k"], rel=1e-9)


def test_a_few_rows_in_a_bin_do_not_make_its_exposure() -> None:
    """Four of them more or less light: what the version's many rows say stays."""
    sampled = replace(FAILING, bad=(40.0,))
    for bin_seen in (FAILING, sampled):
        assert exposure(bin_seen, 0, SAMPLED, SAMPLED) == pytest.approx((104, 4))
        assert exposure(bin_seen, 0, ESCAPED, ESCAPED) == pytest.approx((1000, 4), rel=0.1)


def test_one_light_row_is_no_exemption_where_weights_are_uneven() -> None:
    """Half of the requests are kept whole, half one in ten: nine rows in ten are light."""
    mixed = ArmBin(items=1000, rows=550, bad=(1.0,), bad_rows=(1,))
    light = BadWeight(rows=10, items=10, usual=18.2)

    assert exposure(mixed, 0, light, UNEVEN)[0] == pytest.approx(550, rel=0.1)
    heavier = replace(light, rows=11, items=20, usual=20)
    assert exposure(mixed, 0, heavier, UNKNOWN)[0] == pytest.approx(550, rel=0.1)


def test_how_unevenly_rows_weigh_is_learnt_from_all_of_them_but_the_bad() -> None:
    """Light bad rows alone would be taken for exempt: half is kept whole, half one in ten."""
    mixed = ArmBin(items=1000, rows=550, bad=(4.0,), bad_rows=(4,), squares=5500)
    alike = replace(mixed, squares=1000 * 1000 / 550)
    exempt = ArmBin(items=1000, rows=104, bad=(4.0,), bad_rows=(4,), squares=9924.16)

    def after(arm: ArmBin) -> BadWeight:
        return exposures.learnt([BinSeen(0, None, arm)], 0, (UNKNOWN, UNKNOWN))[1]

    assert exposure(mixed, 0, after(mixed), UNKNOWN)[0] == pytest.approx(550, rel=0.1)
    assert exposure(mixed, 0, after(alike), UNKNOWN)[0] > 650
    assert after(exempt).spread == pytest.approx(0, abs=1)
    assert exposure(exempt, 0, after(exempt), UNKNOWN)[0] > 600


def test_rows_far_lighter_than_chance_has_it_are_spared_however_uneven_the_others() -> None:
    """Tail sampling: all bad and two in a hundred others are kept, and one in a hundred more."""
    spared = BadWeight(rows=360, items=360, usual=360 * 33, spread=360 * 800)
    arm = ArmBin(items=1000, rows=30, bad=(1.0,), bad_rows=(1,))

    assert exposure(arm, 0, spared, spared)[0] > 980
    assert exposure(arm, 0, UNKNOWN, spared)[0] > 980
    few = BadWeight(rows=2, items=2, usual=66, spread=1600)
    assert exposure(arm, 0, few, few)[0] < 400


def test_bins_that_are_all_bad_or_of_an_older_version_say_nothing_of_unevenness() -> None:
    """There are no other rows, or nobody squared them."""
    all_bad = ArmBin(items=100, rows=10, bad=(100.0,), bad_rows=(10,), squares=5000)
    for arm in (all_bad, FAILING):
        known = exposures.learnt([BinSeen(0, arm, None)], 0, (UNKNOWN, UNKNOWN))[0]
        assert (known.rows, known.spread) == (arm.bad_rows[0], 0)


def test_a_canary_whose_failures_alone_escape_is_found_out_by_few_rows() -> None:
    """Even weights do not come about by chance: five rows are enough to be near."""
    stable = BadWeight(rows=1000, items=10_000, usual=10_000)
    canary = BadWeight(rows=5, items=5, usual=50)
    assert exposure(QUIET, 0, canary, stable)[0] > 700


def test_no_bin_has_more_bad_events_than_events() -> None:
    """Though its version's failures used to be heavier than the rest, now all rows fail."""
    heavy = BadWeight(rows=50, items=1000, usual=500)
    failing = replace(QUIET, bad=(1000.0,), bad_rows=(100,))
    assert exposure(failing, 0, heavy, heavy) == (100, 100)
    assert exposure(replace(failing, bad=(0.0,), items=0), 0, heavy, heavy) == (0, 100)


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

    known = exposures.of_lookback(rules, bins)
    before = exposures.baseline(rules, bins, known)["errors"]
    assert (before.stable_events, before.stable_bad) == pytest.approx((10_000, 4), rel=0.1)
    assert (before.canary_events, before.canary_bad) == (0, 0)
    assert known["errors"][1] == UNKNOWN
    quiet = (BinSeen(0, QUIET, None),)
    known = exposures.of_lookback(rules, quiet)
    assert exposures.baseline(rules, quiet, known) == {"errors": Counts(100, 0)}


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
    """Read at once, bin by bin, or out of order: each bin learns from none after it."""
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
