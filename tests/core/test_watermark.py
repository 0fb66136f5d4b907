"""The watermark follows the source's own lag, forward and back, and nothing is unfolded."""

from dataclasses import replace

import pytest

from shared.core import questions, watermark
from shared.core.judge import Kind
from shared.core.model import Phase
from shared.core.questions import bin_at, read_up_to
from shared.core.telemetry import Answer, ArmBin, BinSeen, Sight
from tests.given import step
from tests.told import MINUTE_S, Told, minutes, minutes_plan

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
    assert watermark.learnt(walk.plan, walk.rollout, answer, walk.now_s) == 4500


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


class Hung(Told):
    """One of ten requests to the canary hangs: its row comes with the bin's age of 250 s."""

    def answer(self) -> Answer | None:
        told = super().answer()
        if told is None or self.phase is Phase.PENDING:
            return told
        bins = tuple(self.so_far(seen) for seen in told.bins)
        lag_s = 250.0 if any(seen.canary and seen.canary.bad[0] for seen in bins) else 20.0
        return replace(told, bins=bins, lag_s=lag_s)

    def so_far(self, seen: BinSeen) -> BinSeen:
        if seen.canary is None:
            return seen
        ended = self.now_s - (seen.index + 1) * MINUTE_S >= 250
        hung = round(seen.canary.items / 10)
        rows = seen.canary.rows if ended else seen.canary.rows - hung
        bad = hung if ended else 0
        return replace(seen, canary=ArmBin(rows, rows, (bad,), (bad,)))


def test_a_quick_source_does_not_hide_requests_that_hang() -> None:
    """All other rows come in seconds; the plan waits for five minutes, and for good reason."""
    walk = Hung(minutes_plan(), per_s=6000, tick_s=MINUTE_S).bake()
    walk.looks(15)
    assert walk.phase is Phase.REVERTED, walk.rollout.sentence
    assert walk.rollout.step == 0


def judged(walk: Told) -> Kind | None:
    return walk.rollout.verdict.kind if walk.rollout.verdict else None


def test_no_pass_is_drawn_from_bins_that_were_read_too_early() -> None:
    """The source turns out slower than was thought: what is folded must first be old enough."""
    lags = [10.0]
    walk = minutes(plan=LONG, bend=lambda answer: replace(answer, lag_s=lags[-1])).bake()
    walk.looks(20)
    assert judged(walk) is Kind.PASS
    lags.append(500.0)

    said = [walk.look() for _ in range(20)]

    assert walk.rollout.delay_s == 1000
    assert "became slower: what was read as complete has to age 1000 s" in said[0]
    assert sum("became slower" in each for each in said) == (1000 - 150) // MINUTE_S - 2
    assert judged(walk) is Kind.PASS


def test_a_source_slower_than_anybody_waits_for_is_blindness() -> None:
    """An hour is the most; of rows that may come later nobody can say that there are none."""
    walk = minutes(plan=LONG, bend=lambda answer: replace(answer, lag_s=2000.0)).bake()
    said = walk.looks(70)[-1]
    assert "came 2000 s after its request or later, and no more than 3600 s are waited" in said


def test_short_bins_wait_for_as_many_of_them_as_the_record_holds() -> None:
    """Bins of a second in a source of minutes: 120 stay open, the newest is asked for."""
    source = replace(minutes_plan().source, bin_s=1, ingestion_delay_s=2)
    plan = minutes_plan(source=source, steps=(step(10, max_s=72_000), step(100)))
    walk = minutes(plan=plan, per_s=100, tick_s=1, bend=lambda a: replace(a, lag_s=600.0)).bake()
    walk.looks(300)
    question = questions.needed(walk.plan, walk.rollout, walk.now_s)
    assert question is not None
    assert question.to_bin == bin_at(walk.now_s, 1) + 1
    assert len((walk.rollout.evidence or {})["errors"].open_bins) <= 121
    assert "no more than 120 s are waited" in walk.rollout.sentence
