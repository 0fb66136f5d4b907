"""What the accepted risk implies: objectives, rehearsals, and simulated rollouts."""

import math
from dataclasses import replace
from random import Random

import pytest

from shared.core import judge
from shared.core.evidence import total
from shared.core.judge import Counts, Kind
from tests.weighed import QUIET, RISK, one, seen, step

# --- stable's own health and rehearsal ------------------------------------------------------------


def test_the_objective_is_stables_bound_with_what_may_be_added() -> None:
    """The bound times 1 + max(h, delta / bound), also where stable never failed or never served."""
    upper = (30 + 2 + 2 * math.sqrt(31)) / 3000
    assert judge.objective(total(seen([QUIET])), RISK) == pytest.approx(1.5 * upper)
    quiet = seen([Counts(100_000, 0, 10, 0)])
    assert judge.objective(total(quiet), RISK) == pytest.approx(4e-5 + 0.001)
    assert math.isfinite(judge.objective(total(judge.begin(0)), RISK))


def test_stable_gone_bad_is_noticed_in_this_step_only() -> None:
    """More than twice its own past rate; before the step's first bin nothing counts."""
    baseline = Counts(stable_events=100_000, stable_bad=1000)
    sick = seen([Counts(5400, 270, 600, 30)] * 2)
    assert judge.stable_is_bad(sick, baseline, RISK)
    assert judge.stable_is_bad(judge.fold(sick, 1), baseline, RISK)
    assert not judge.stable_is_bad(seen([QUIET] * 5), baseline, RISK)
    assert not judge.stable_is_bad(judge.start_step(sick, 2), baseline, RISK)
    assert not judge.stable_is_bad(sick, Counts(), RISK)


def test_the_expected_number_of_bins_agrees_with_the_judge() -> None:
    """The rehearsal's number of expected bins passes, one bin less does not."""
    bins = judge.bins_to_pass(6000, 0.01, 0.5, 1.0, RISK)
    assert bins is not None
    assert 4 <= bins <= 8
    expected = [Counts(3000, 30, 3000, 30)] * int(bins)
    assert one(seen(expected))[0].kind is Kind.PASS
    assert one(seen(expected[1:]))[0].kind is Kind.UNSURE


def test_rehearsal_knows_its_limits() -> None:
    """Never under three bins, longer with less traffic, never with hardly any or a lone arm."""
    assert judge.bins_to_pass(1e6, 0.0, 0.1, 0.25, RISK) == 3
    some = judge.bins_to_pass(600, 0.01, 0.05, 0.1, RISK)
    fewer = judge.bins_to_pass(60, 0.01, 0.05, 0.1, RISK)
    assert some is not None
    assert fewer is not None
    assert 3 < some < fewer
    assert judge.bins_to_pass(1e-4, 0.01, 0.01, 0.05, RISK) is None
    assert judge.bins_to_pass(6000, 0.01, 1.0, 1.0, RISK) is None
    assert judge.bins_to_pass(6000, 0.01, 0.0, 0.05, RISK) is None


def test_a_rehearsed_pass_by_either_route_comes_no_later_with_a_laxer_tolerance() -> None:
    """Quiet services are decided by the absolute rate."""
    lax = judge.bins_to_pass(600, 0.0, 0.5, 1.0, replace(RISK, tolerance=0.005))
    strict = judge.bins_to_pass(600, 0.0, 0.5, 1.0, RISK)
    assert lax is not None
    assert strict is not None
    assert lax < strict


# --- simulated rollouts ---------------------------------------------------------------------------


def ended(random: Random, ratio: float, jitter: float, bins: int) -> tuple[Kind, int]:
    """The first fail or pass within `bins` at 10 % of 6000 requests, 1 % bad; jitter clusters."""
    evidence, at = judge.begin(0), step(next_share=0.25)
    kind = Kind.UNSURE
    for index in range(bins):
        stable, canary = (0.01 * random.lognormvariate(0, jitter) for _ in range(2))
        bad = random.binomialvariate(5400, stable), random.binomialvariate(600, ratio * canary)
        evidence = judge.gather(evidence, [(index, Counts(5400, bad[0], 600, bad[1]))])
        kind = one(evidence, at)[0].kind
        if kind in (Kind.FAIL, Kind.PASS):
            return kind, index + 1
        evidence = judge.fold(evidence, index + 1)
    return kind, bins


@pytest.mark.parametrize("jitter", [0.0, 0.5], ids=["independent", "clustered"])
def test_good_releases_are_rarely_blamed(jitter: float) -> None:
    """At most 1 % nominal: of 60 seeded A/A rollouts at most two may fail, most pass."""
    random = Random(20)
    kinds = [ended(random, 1.0, jitter, 40)[0] for _ in range(60)]
    assert kinds.count(Kind.FAIL) <= 2
    assert kinds.count(Kind.PASS) >= 45


@pytest.mark.parametrize("jitter", [0.0, 0.5], ids=["independent", "clustered"])
def test_a_fivefold_regression_is_caught_and_never_passed(jitter: float) -> None:
    """All of 30 seeded rollouts fail, half of them within 25 bins."""
    random = Random(21)
    ends = [ended(random, 5.0, jitter, 60) for _ in range(30)]
    assert {kind for kind, _ in ends} == {Kind.FAIL}
    assert sorted(bins for _, bins in ends)[15] <= 25
