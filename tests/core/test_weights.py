"""Percentages as weights: what can be expressed, and what may be seen between two writes."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from shared.core import weights
from shared.core.gates import unseen_writes
from shared.core.model import Arm, Pair, TrafficSeen, newborn
from shared.core.telemetry import Sight
from shared.core.weights import Write
from tests.given import START_S, plan

WEIGHTS = st.integers(1, 1000)
ARMS = st.builds(Arm, WEIGHTS, st.booleans())
PAIRS = st.builds(Pair, ARMS, ARMS)
TENTHS = st.integers(0, 1000)


def begun(stable: int, canary: int) -> Pair:
    return Pair(Arm(stable, enabled=True), Arm(canary, enabled=False))


def served(pair: Pair) -> bool:
    return pair.stable.enabled or pair.canary.enabled


def test_a_step_is_written_as_two_weights_with_the_old_sum() -> None:
    assert weights.target(begun(100, 1), 100, 5) == Pair(
        Arm(95, enabled=True), Arm(5, enabled=True)
    )


def test_all_traffic_is_stable_disabled_because_there_is_no_weight_of_zero() -> None:
    assert weights.target(begun(100, 1), 100, 100) == Pair(
        Arm(100, enabled=False), Arm(100, enabled=True)
    )


def test_zero_is_exactly_what_was_there_before() -> None:
    assert weights.target(begun(40, 7), 1000, 0) == begun(40, 7)


def test_a_weight_of_one_cannot_express_one_percent_and_a_hundred_can() -> None:
    assert [weights.expresses(scale, 1) for scale in (1, 50, 99, 100)] == [
        False,
        False,
        False,
        True,
    ]


def test_a_share_that_rounds_too_far_down_is_not_expressed() -> None:
    assert not weights.expresses(30, 5)  # 1 of 30 is 3.3 %
    assert weights.expresses(40, 5)


def test_a_retreat_takes_the_canary_off_first() -> None:
    now = Pair(Arm(50, enabled=True), Arm(50, enabled=True))

    assert weights.writes(now, begun(100, 1)) == (
        Write("canary", Arm(1, enabled=False)),
        Write("stable", Arm(100, enabled=True)),
    )


def test_a_retreat_from_everything_puts_stable_back_first() -> None:
    now = Pair(Arm(100, enabled=False), Arm(100, enabled=True))

    order = weights.writes(now, begun(100, 1))

    assert order is not None
    assert [write.arm for write in order] == ["stable", "canary"]


def test_no_order_is_offered_when_each_would_leave_the_range() -> None:
    far = Pair(Arm(1000, enabled=True), Arm(1000, enabled=True))

    assert weights.writes(far, Pair(Arm(95, enabled=True), Arm(5, enabled=True))) is None
    assert weights.path(far, begun(95, 5))[0] == far


@given(WEIGHTS, WEIGHTS, TENTHS, TENTHS)
def test_between_two_steps_every_share_lies_between_the_old_and_the_new(
    scale: int, canary: int, one: int, other: int
) -> None:
    """Also: somebody always serves, and the last write leaves exactly what was wanted."""
    steps = [one / 10, other / 10]
    if not all(weights.expresses(scale, percent) for percent in steps):
        return
    old, new = (weights.target(begun(scale, canary), scale, percent) for percent in steps)

    pairs = weights.path(old, new)

    low, high = sorted((weights.share(old), weights.share(new)))
    assert weights.writes(old, new) is not None
    assert all(low <= weights.share(pair) <= high and served(pair) for pair in pairs)
    assert pairs[-1] == new


@given(WEIGHTS, TENTHS)
def test_no_share_exceeds_the_percentage_asked_for(scale: int, tenths: int) -> None:
    percent = tenths / 10
    if weights.expresses(scale, percent):
        share = weights.share(weights.target(begun(scale, 1), scale, percent))

        assert share <= Fraction(tenths, 1000)


@given(PAIRS, WEIGHTS, WEIGHTS)
def test_a_retreat_works_from_any_state_and_never_raises_the_share(
    now: Pair, stable: int, canary: int
) -> None:
    """Whatever somebody set by hand, even both disabled."""
    zero = begun(stable, canary)

    order = weights.writes(now, zero)

    assert order is not None
    pair, seen = now, [weights.share(now)]
    for write in order:
        pair = weights.apply(pair, write)
        seen.append(weights.share(pair))
        assert served(pair)
    assert pair == zero
    assert seen == sorted(seen, reverse=True)


@given(PAIRS, WEIGHTS, WEIGHTS)
def test_writes_made_blind_only_lower_the_canary_and_leave_somebody_serving(
    now: Pair, own: int, scale: int
) -> None:
    """Nobody could look: whatever is in force, a person's doing or ours, each write is safe."""
    rollout = replace(
        newborn(plan(), START_S, "ci", dry_run=False),
        before=begun(own, 1),
        scale=scale,
        kinds=("ExternalEndpoints", "ExternalEndpoints"),
    )

    for _, write in unseen_writes(plan(), rollout, TrafficSeen(Sight.FAILED, "429")):
        before, now = now, weights.apply(now, write)
        assert weights.share(now) <= weights.share(before)
        assert now.stable.enabled

    assert not now.canary.enabled
