"""The watermark follows the source's own lag, forward and back, and nothing is unfolded."""

from dataclasses import replace

import pytest

from shared.core import watermark
from shared.core.model import Phase
from shared.core.questions import bin_at, read_up_to
from shared.core.telemetry import Answer, Sight
from tests.given import step
from tests.told import MINUTE_S, minutes, minutes_plan

LONG = minutes_plan(steps=(step(10, min_s=36_000, max_s=72_000), step(100)))


@pytest.mark.parametrize(
    ("lag_s", "delay_s"),
    [
        (None, 300),
        (0, 150),
        (90.2, 181),
        (200, 400),
        (1200, 2400),
        (86_400, 3600),
        (float("inf"), 3600),
    ],
)
def test_the_delay_is_twice_the_lag_within_bounds(lag_s: float | None, delay_s: float) -> None:
    """Not below half of what the plan says, not above an hour, and the plan's without a lag."""
    walk = minutes(plan=LONG, bend=lambda answer: replace(answer, lag_s=lag_s)).bake()
    walk.looks(65)
    assert walk.rollout.delay_s == delay_s
    assert read_up_to(walk.rollout) == bin_at(walk.now_s - delay_s, MINUTE_S)


def test_a_plan_that_waits_for_hours_is_not_cut_short() -> None:
    """Half of what the plan says is the least, whatever the bound."""
    source = replace(minutes_plan().source, ingestion_delay_s=9000)
    walk = minutes(plan=minutes_plan(source=source))
    answer = Answer(Sight.SEEN, lag_s=5000)
    assert watermark.learnt(walk.plan, walk.rollout, answer) == 4500


def test_a_quick_source_decides_sooner_and_a_slow_one_later() -> None:
    """The same traffic, told with different lags: the time to 100 % differs by the delays."""
    took = {}
    for lag_s in (10, None, 1200):
        walk = minutes(bend=lambda answer, lag_s=lag_s: replace(answer, lag_s=lag_s))
        walk.bake(2)
        took[lag_s] = (walk.now_s - walk.rollout.started_at_s) / MINUTE_S
    assert took[10] < took[None] < took[1200]
    assert took[1200] - took[None] >= 30


def test_the_watermark_may_move_back_and_folding_stays() -> None:
    """Ingestion slows down: nothing is unfolded, and nothing is sealed until it has caught up."""
    lags = [10.0]
    walk = minutes(bend=lambda answer: replace(answer, lag_s=lags[-1])).bake()
    walk.look()
    before = read_up_to(walk.rollout)
    folded = walk.rollout.evidence

    lags.append(1200.0)
    walk.looks(10)

    assert walk.rollout.delay_s == 2400
    assert read_up_to(walk.rollout) == before
    assert folded is not None
    assert walk.rollout.evidence is not None
    assert walk.rollout.evidence["errors"].rollout == folded["errors"].rollout
    walk.looks(40)
    assert read_up_to(walk.rollout) == bin_at(walk.now_s - 2400, MINUTE_S)


def test_a_source_known_to_be_slow_is_late_only_after_its_own_delay() -> None:
    """Twenty minutes without a row are usual there; an empty look does not forget the delay."""
    walk = minutes(bend=lambda answer: replace(answer, lag_s=1200)).bake()
    walk.look()
    nothing = Answer(Sight.ABSENT, "nothing", to_bin=2**40)
    last_s = walk.now_s

    said = [walk.look(answer=nothing) for _ in range(60)]

    late = [number for number, each in enumerate(said, 1) if "telemetry is late" in each]
    assert late[0] == (2400 + 300) / MINUTE_S + 1
    assert f"is {walk.now_s - last_s:.0f} s old, 2700 s are allowed" in said[-1]
    assert walk.phase is Phase.BAKING
