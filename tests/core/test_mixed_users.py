"""Versions that got different users: with strata a canary is not blamed for its visitors.

Two kinds of requests, one of which fails twenty times as often; the canary happens to get more of
it, for hours. Weights come from a past in which all of them met stable.
"""

from collections.abc import Callable
from random import Random

import pytest

from shared.core import exposures, judge, strata
from shared.core.bad_rows import UNKNOWN
from shared.core.judge import Counts, Kind, Step, Verdict
from shared.core.telemetry import ArmBin

SEED = 20_240_229
RATES = (0.1, 0.005)
# Of each kind: what stable and the canary get in a bin.
STABLE, CANARY = (200, 1800), (300, 200)
ROLLOUTS, BINS = 20, 30

type Weights = tuple[float, ...] | None


def bad_of(events: tuple[int, int], theta: float, dice: Random) -> tuple[int, int]:
    first, second = (
        dice.binomialvariate(n, theta * rate) for n, rate in zip(events, RATES, strict=True)
    )
    return first, second


def learnt(dice: Random) -> Weights:
    """What an hour of stable alone foretells."""
    half = (15_000, 60_000)
    halves = [
        [(float(n), float(k)) for n, k in zip(half, bad_of(half, 1, dice), strict=True)]
        for _ in range(2)
    ]
    return strata.fit(*halves)


def arm(events: tuple[int, int], theta: float, weights: Weights, dice: Random) -> ArmBin:
    bad = sum(bad_of(events, theta, dice))
    exposed = () if weights is None else (sum(n * w for n, w in zip(events, weights, strict=True)),)
    return ArmBin(sum(events), sum(events), (float(bad),), (bad,), exposed=exposed)


def verdict(theta: float, weights: Weights, dice: Random) -> Verdict:
    """The first verdict that is not unsure, or the last one."""
    evidence = judge.begin(0)
    for index in range(BINS):
        counted = [
            exposures.exposure(arm(events, rate, weights, dice), 0, UNKNOWN, UNKNOWN)
            for events, rate in ((STABLE, 1.0), (CANARY, theta))
        ]
        evidence = judge.gather(evidence, [(index, Counts(*counted[0], *counted[1]))])
        evidence = judge.fold(evidence, index + 1)
        found = judge.weigh({"errors": evidence}, Step(1.0, 1, index + 1), judge.Risk())
        if found.kind is not Kind.UNSURE:
            return found
    return found


def ends(theta: float, made: Callable[[Random], Weights]) -> list[Kind]:
    """How so many rollouts end."""
    dices = [Random(f"{SEED} {run}") for run in range(ROLLOUTS)]
    return [verdict(theta, made(dice), dice).kind for dice in dices]


def test_without_strata_the_canary_is_blamed_for_its_visitors() -> None:
    """The trouble that strata are for: a good release, and no way to see it."""
    assert ends(1.0, lambda _: None) == [Kind.FAIL] * ROLLOUTS


def test_with_strata_a_good_release_passes_and_a_bad_one_does_not() -> None:
    """The mix cancels, harm does not."""
    assert ends(1.0, learnt) == [Kind.PASS] * ROLLOUTS
    assert ends(2.5, learnt) == [Kind.FAIL] * ROLLOUTS


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dice: (learnt(dice) or ())[::-1],
        lambda dice: tuple(1 / weight for weight in learnt(dice) or ()),
    ],
    ids=["of the other stratum", "upside down"],
)
def test_weights_that_are_wrong_would_be_noticed(wrong: Callable[[Random], Weights]) -> None:
    """Planted faults: each blames the good release."""
    assert ends(1.0, wrong) == [Kind.FAIL] * ROLLOUTS
