"""The formulas agree with the reference values, stay finite and are valid e-values."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import stats
from shared.core.stats import EMPTY_TABLE, RHOS, THETAS, Table

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "judge-vectors.json").read_text(encoding="utf-8")
)
CASES: list[dict[str, Any]] = VECTORS["cases"]
WIDTH = len(RHOS)


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-9, rel=1e-12)


def total_table(bins: list[list[float]]) -> Table:
    table = EMPTY_TABLE
    for seen in bins:
        table = stats.add(table, stats.log_likelihoods(*seen))
    return table


def test_the_grids_are_those_of_the_reference_values() -> None:
    """Theta and rho grids, and a table of one cell for each pair."""
    assert list(THETAS) == VECTORS["theta"]
    assert list(RHOS) == VECTORS["rho"]
    assert len(EMPTY_TABLE) == len(THETAS) * WIDTH == 340


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_reference_case_gives_its_values(case: dict[str, Any]) -> None:
    """Profile, e-values, intervals and the absolute route to 1e-9."""
    bins = case["bins_ns_ks_nc_kc"]
    table = total_table(bins)
    rows = [table[i * WIDTH : (i + 1) * WIDTH] for i in range(len(THETAS))]
    assert [max(row) for row in rows] == [near(value) for value in case["profile"]]
    assert table[THETAS.index(1.0) * WIDTH] == near(case["loglik_theta1_rho0"])
    assert stats.log_e_worse(stats.profile(table), 1.0) == near(case["log_e_worse_1"])
    assert stats.log_e_worse(stats.profile(table), 1.1) == near(case["log_e_worse_1_1"])
    for margin, value in case["log_e_ok"].items():
        assert stats.log_e_ok(stats.profile(table), float(margin)) == near(value)
    assert stats.ratio_interval(stats.profile(table), 0.05) == tuple(case["cs95"])
    assert stats.ratio_interval(stats.profile(table), 0.01) == tuple(case["cs99"])
    events, bad = sum(seen[2] for seen in bins), sum(seen[3] for seen in bins)
    assert stats.log_e_absolute(events, bad, 0.01) == near(case["log_e_abs_1pct"])


@pytest.mark.parametrize(
    "seen", [(0, 3, 10, 3), (10, 3, 0, 3), (10, 0, 10, 0), (-1, 1, 5, 1), (0, 0, 0, 0)]
)
def test_a_bin_without_bad_events_or_without_an_arm_says_nothing(
    seen: tuple[float, float, float, float],
) -> None:
    """Zeros, and the very same object, so that adding it costs nothing."""
    assert stats.log_likelihoods(*seen) is EMPTY_TABLE


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12, 31, 32, 33, 2.5, 60])
def test_rising_factorials_agree_with_the_gamma_function(count: float) -> None:
    """The product of a few factors, the single one and lgamma are one function."""
    shares = (1e-6, 0.02, 0.3, 0.999)
    starts = [share * (1 - rho) / rho for share in shares for rho in RHOS[1:]]
    expected = [math.lgamma(start + count) - math.lgamma(start) for start in starts]
    assert stats._log_rises(shares, count) == pytest.approx(expected, abs=1e-9)
    assert stats._log_rises(shares, 0) == [0] * len(starts)


@given(
    st.tuples(*[st.integers(1, 5_000_000)] * 2),
    st.tuples(*[st.integers(0, 40) | st.floats(0, 5e4)] * 2),
)
@settings(max_examples=40, deadline=None)
def test_a_bin_is_the_formula_cell_by_cell(
    events: tuple[float, float], bad: tuple[float, float]
) -> None:
    """The beta-binomial of the document, with a gamma function for each of its factors."""
    table = stats.log_likelihoods(events[0], bad[0], events[1], bad[1])
    for at, cell in enumerate(table):
        theta, rho = THETAS[at // WIDTH], RHOS[at % WIDTH]
        pi = theta * events[1] / (theta * events[1] + events[0])
        others = events[0] / (theta * events[1] + events[0])
        expected = bad[1] * math.log(pi) + bad[0] * math.log(others)
        if rho:
            s = (1 - rho) / rho
            factors = (pi * s, bad[1]), (others * s, bad[0])
            expected = sum(math.lgamma(x + k) - math.lgamma(x) for x, k in factors)
            expected -= math.lgamma(s + sum(bad)) - math.lgamma(s)
        assert cell == pytest.approx(expected, abs=1e-9, rel=1e-12)


@pytest.mark.parametrize("size", range(9))
def test_bins_added_together_or_one_by_one_are_the_same_to_the_bit(size: int) -> None:
    """The order is kept, so a sum is what it was however many bins came at once."""
    tables = [stats.log_likelihoods(5400, 50 + i, 600, i % 3) for i in range(size)]
    tables.insert(size // 2, EMPTY_TABLE)
    one_by_one = tables[0]
    for table in tables[1:]:
        one_by_one = tuple([a + b for a, b in zip(one_by_one, table, strict=True)])
    assert stats.add(*tables) == one_by_one


@pytest.mark.parametrize("margin", [1.25, 2.0, 6.0])
@pytest.mark.parametrize("scale", [1, 10, 1000])
def test_ratios_too_unlikely_to_add_a_digit_are_left_out_unseen(scale: int, margin: float) -> None:
    """However sharp the evidence, the mixtures are those over all cells."""
    table = stats.log_likelihoods(5400 * scale, 54 * scale, 600 * scale, 11 * scale)
    sharp = tuple([scale * cell for cell in table])
    below = sum(theta < margin for theta in THETAS)
    weights = [0.6 if theta == 1 else 0.4 / (below - 1) for theta in THETAS[:below]]
    terms = [
        sharp[row * WIDTH + rho] + math.log(weight / (32 if rho else 2))
        for row, weight in enumerate(weights)
        for rho in range(WIDTH)
    ]
    expected = stats.log_sum_exp(terms) - max(sharp[below * WIDTH :])
    assert stats.log_e_ok(stats.profile(sharp), margin) == near(expected)


@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.0, 1.37, 2.2, 5.0, 12.0])
def test_the_ratio_shown_is_that_of_the_rates_and_lies_in_its_interval(ratio: float) -> None:
    """Whoever divides the rates beside it gets the same."""
    seen = stats.profile(stats.log_likelihoods(10_000, 100, 10_000, 100 * ratio))
    shown, low, high = stats.ratio(seen, (10_000, 100), (10_000, 100 * ratio), 0.05)
    assert shown == pytest.approx(ratio)
    assert low < ratio < (high or math.inf)
    assert (low, high) == stats.ratio_interval(seen, 0.05)


@pytest.mark.parametrize("turned", [False, True], ids=["share grows", "share shrinks"])
def test_a_ratio_that_steps_have_distorted_is_the_likeliest_instead(turned: bool) -> None:
    """Both arms are alike at 1 % and at 50 %, but failures were common at one of them only."""
    rates = (0.1, 0.001) if turned else (0.001, 0.1)
    bins = [(9900, 9900 * rates[0], 100, 100 * rates[0]), (5000, 5000 * rates[1]) * 2] * 20
    table, sums = (
        total_table([list(each) for each in bins]),
        [sum(each) for each in zip(*bins, strict=True)],
    )
    plain = sums[3] * sums[0] / (sums[1] * sums[2])
    shown, low, high = stats.ratio(
        stats.profile(table), (sums[0], sums[1]), (sums[2], sums[3]), 0.05
    )
    assert plain < 0.5 or plain > 1.8
    assert shown == 1
    assert low <= 1 <= (high or math.inf)


@pytest.mark.parametrize("bad", [(0, 0), (9, 0), (0, 9)])
def test_no_ratio_is_shown_where_an_arm_has_no_bad_event(bad: tuple[float, float]) -> None:
    """Nothing bad, or all of it in one arm: a bound is all that is known."""
    seen = stats.profile(stats.log_likelihoods(900, bad[0], 100, bad[1]))
    shown, low, high = stats.ratio(seen, (900, bad[0]), (100, bad[1]), 0.05)
    assert shown is None
    assert (low > 1 or high is None) if bad[1] else low == 0


def test_fractional_counts_lie_between_their_whole_neighbours() -> None:
    """The likelihood of expected counts is smooth in them."""
    low, mid, high = (stats.log_likelihoods(900, 9, 100, k) for k in (1, 1.5, 2))
    assert all(
        min(a, c) - 0.5 < b < max(a, c) + 0.5 for a, b, c in zip(low, mid, high, strict=True)
    )


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5_000_000),
            st.floats(0, 1),
            st.integers(0, 5_000_000),
            st.floats(0, 1),
        ),
        max_size=3,
    )
)
def test_no_counts_up_to_five_million_overflow(
    bins: list[tuple[int, float, int, float]],
) -> None:
    """Every number stays finite, whatever the counts."""
    counted = [[n, math.floor(n * p), m, math.floor(m * q)] for n, p, m, q in bins]
    table = total_table([[float(value) for value in seen] for seen in counted])
    values = [
        *table,
        stats.log_e_worse(stats.profile(table), 1.1),
        stats.log_e_ok(stats.profile(table), 1.5),
    ]
    values += [stats.log_e_over(seen[2], seen[3], 0.01) for seen in counted]
    values += [stats.log_e_absolute(seen[2], seen[3], 0.01) for seen in counted]
    assert all(math.isfinite(value) for value in values)
    low, high = stats.ratio_interval(stats.profile(table), 0.05)
    assert low < (high or math.inf)


@pytest.mark.parametrize("rho", [0.0, 0.1])
@pytest.mark.parametrize("theta", [0.8, 1.0])
def test_the_evidence_of_harm_is_at_most_one_on_average_under_its_null(
    theta: float, rho: float
) -> None:
    """Exact expectation over all splits of 20 bad events, for two truths of the null."""
    bad, cell = 20, THETAS.index(theta) * WIDTH + RHOS.index(rho)
    tables = [stats.log_likelihoods(900, bad - k, 100, k) for k in range(bad + 1)]
    chances = [math.comb(bad, k) * math.exp(t[cell]) for k, t in enumerate(tables)]
    mean = sum(
        p * math.exp(stats.log_e_worse(stats.profile(t), 1.0))
        for p, t in zip(chances, tables, strict=True)
    )
    assert sum(chances) == pytest.approx(1)
    assert mean <= 1


@pytest.mark.parametrize("theta", [2.0, 3.0])
def test_the_evidence_of_no_harm_is_at_most_one_on_average_under_its_null(theta: float) -> None:
    """Exact expectation at and beyond the margin."""
    bad, cell = 20, THETAS.index(theta) * WIDTH
    tables = [stats.log_likelihoods(500, bad - k, 500, k) for k in range(bad + 1)]
    chances = [math.comb(bad, k) * math.exp(t[cell]) for k, t in enumerate(tables)]
    mean = sum(
        p * math.exp(stats.log_e_ok(stats.profile(t), 2.0))
        for p, t in zip(chances, tables, strict=True)
    )
    assert mean <= 1


@pytest.mark.parametrize("formula", [stats.log_e_over, stats.log_e_absolute])
def test_rate_evidence_is_one_on_average_at_its_bound(formula: Any) -> None:
    """Poisson counts with exactly the stated rate: the expectation of the e-value is 1."""
    chances = [math.exp(-5 + k * math.log(5) - math.lgamma(k + 1)) for k in range(150)]
    mean = sum(p * math.exp(formula(500, k, 0.01)) for k, p in enumerate(chances))
    assert mean == pytest.approx(1)


def test_rate_evidence_points_the_right_way() -> None:
    """Far more than the rate speaks for `over`, none at all for `absolute`; silence for neither."""
    assert stats.log_e_over(1000, 50, 0.01) > 10
    assert stats.log_e_over(1000, 0, 0.01) < 0
    assert stats.log_e_over(0, 0, 0.01) == 0
    assert stats.log_e_absolute(1000, 0, 0.01) > 5
    assert stats.log_e_absolute(1000, 50, 0.01) < 0
    assert stats.log_e_absolute(0, 0, 0.01) == near(0)


@pytest.mark.parametrize("margin", [0.01, 0.02])
def test_a_margin_below_the_grid_gives_no_evidence(margin: float) -> None:
    """With no ratio left to bet on the e-value is one."""
    assert stats.log_e_ok(stats.profile(total_table(CASES[2]["bins_ns_ks_nc_kc"])), margin) == 0


def test_a_bound_of_worse_beyond_the_grid_gives_no_evidence() -> None:
    """With no ratio left to bet on the e-value is one."""
    assert stats.log_e_worse(stats.profile(total_table(CASES[3]["bins_ns_ks_nc_kc"])), 50) == 0


def test_a_margin_of_one_asks_for_a_better_canary() -> None:
    """Equal arms never pass it; a margin is snapped down to the grid."""
    table = total_table(CASES[4]["bins_ns_ks_nc_kc"])
    assert stats.log_e_ok(stats.profile(table), 1.0) < 0
    assert stats.log_e_ok(stats.profile(table), 1.7) == stats.log_e_ok(stats.profile(table), 1.5)


def test_a_rates_upper_bound_is_two_sigma_and_never_above_one() -> None:
    """(K + 2 + 2 sqrt(K + 1)) / N, and 1 where nothing is known."""
    assert stats.rate_upper(8, 1600) == near(16 / 1600)
    assert stats.rate_upper(0, 2) == 1
    assert stats.rate_upper(0, 0) == 1
