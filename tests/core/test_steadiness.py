"""Sampling that changes: counts that rest on what bad rows used to weigh decide nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from shared.core import exposures, looks, steadiness
from shared.core.bad_rows import UNKNOWN, BadRows, BadWeight, Rows, divergence
from shared.core.judge import Counts
from shared.core.model import Phase
from shared.core.telemetry import Answer, ArmBin, BinSeen
from tests.given import START_S, Walk, step
from tests.told import MINUTE_S, Told, minutes_plan, without

ALWAYS, NEVER = (lambda _: True), (lambda _: False)
PLAN = minutes_plan(
    steps=(step(10, min_s=3600, max_s=36_000), step(50, min_s=3600, max_s=36_000), step(100))
)


def kept(arm: ArmBin | None, *, escapes: bool) -> ArmBin | None:
    """What is left of an arm where one row in ten is kept, and of the bad ones all that escape."""
    if arm is None:
        return None
    bad = arm.bad[0]
    bad_rows = round(bad) if escapes else round(bad / 10)
    weight = 1 if escapes else 10
    good = round((arm.items - bad) / 10)
    items, squares = good * 10 + bad_rows * weight, good * 100 + bad_rows * weight**2
    return ArmBin(items, good + bad_rows, (bad_rows * weight,), (bad_rows,), squares=squares)


@dataclass
class Kept(Told):
    """Of both arms one row in ten is kept; in which bins their failures escape that is told."""

    stable: Callable[[int], bool] = field(default=ALWAYS)
    canary: Callable[[int], bool] = field(default=ALWAYS)

    def answer(self) -> Answer | None:
        told = Walk.answer(self)
        bins = tuple(
            BinSeen(
                seen.index,
                kept(seen.stable, escapes=self.stable(seen.index)),
                kept(seen.canary, escapes=self.canary(seen.index)),
            )
            for seen in (told.bins if told else ())
        )
        return told and self.bend(replace(told, bins=bins))

    def each_look(self, most: int) -> Iterator[str]:
        """One look after the other, as many as are wanted."""
        return (self.look() for _ in range(most))


def sampled(rates: tuple[float, float], stable: Callable[[int], bool], **more: object) -> Kept:
    """A walk at 6,000 requests a minute, sampled alike unless `canary` is told."""
    usual = {"canary": stable, "plan": PLAN, "per_s": 6000, "tick_s": MINUTE_S}
    return Kept(rates=rates, stable=stable, **{**usual, **more})  # type: ignore[arg-type]  # as in minutes()


def turning(rates: tuple[float, float], *, to_escape: bool) -> Kept:
    """A walk that has baked for twenty minutes when sampling of failures turns for both."""
    walk = sampled(rates, NEVER if to_escape else ALWAYS)
    walk.bake()
    walk.looks(20)
    turn = int(walk.now_s // MINUTE_S) + 1
    walk.stable = walk.canary = lambda index: (index >= turn) is to_escape
    return walk


def test_when_failures_begin_to_escape_nothing_rises_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stable's look ten times as many as before, and a canary twice as bad looks well.

    So much that stable would be called sick first; a smaller change would not be.
    """
    monkeypatch.setattr(looks, "sick_stable", lambda *_: "")
    walk = turning((0.02, 0.04), to_escape=True)
    walk.looks(90)

    assert (walk.phase, walk.rollout.step) == (Phase.BAKING, 0)
    assert walk.rollout.sentence == (
        "neither good nor bad can be said now: errors: sampling has changed, and bad requests of "
        "stable that were kept stand for fewer requests than they did before; what was counted "
        "until then and since cannot be put together: start again when sampling is steady"
    )


def test_when_failures_begin_to_be_sampled_nobody_is_blamed() -> None:
    """Stable's look ten times fewer than before, and the canary's first to tell are its own."""
    walk = turning((0.05, 0.05), to_escape=False)
    walk.looks(90)

    assert (walk.phase, walk.rollout.step) == (Phase.BAKING, 0)
    assert "stand for more requests than they did before" in walk.rollout.sentence


@pytest.mark.parametrize(
    ("rates", "to_escape", "end"),
    [
        ((0.02, 0.04), True, lambda walk: walk.rollout.step > 0),
        ((0.05, 0.05), False, lambda walk: walk.phase is Phase.RETREATING),
    ],
    ids=["escape", "no longer escape"],
)
def test_unnoticed_both_would_go_wrong(
    monkeypatch: pytest.MonkeyPatch,
    rates: tuple[float, float],
    to_escape: bool,
    end: Callable[[Walk], bool],
) -> None:
    """The tests above would notice if a change were overlooked."""
    monkeypatch.setattr(steadiness, "watched", lambda known, _: known)
    monkeypatch.setattr(looks, "sick_stable", lambda *_: "")
    walk = turning(rates, to_escape=to_escape)
    assert any(end(walk) for _ in walk.each_look(200))


def test_a_canary_that_is_down_is_still_found() -> None:
    """Whatever its failures weigh, half of its requests and more are bad."""
    walk = turning((0.05, 0.05), to_escape=False)
    walk.looks(30)
    walk.rates = (0.05, 1.0)
    walk.looks(12)
    assert walk.phase in {Phase.RETREATING, Phase.REVERTED}
    assert any("the canary is down or all wrong" in told.sentence for told in walk.told)


def test_a_change_before_the_start_is_refused() -> None:
    """Half an hour ago: stable's past cannot be put together either."""
    walk = sampled((0.05, 0.05), lambda index: index * MINUTE_S >= START_S - 1800)
    walk.until(lambda walk: walk.phase is Phase.REFUSED, 5)
    assert any("errors: sampling has changed" in each for each in walk.rollout.reasons)


def test_where_stables_failures_escape_a_canary_whose_own_do_not_is_not_promoted() -> None:
    """Nine in ten of its failures are lost, and it was counted as if none were."""
    walk = sampled((0.02, 0.02), ALWAYS, canary=NEVER).bake()
    said = walk.looks(90)

    assert (walk.phase, walk.rollout.step) == (Phase.BAKING, 0)
    unlike = "but a kept one of the canary stands for 10 requests and not 1: sample both"
    assert unlike in said[-1]


def test_a_canary_without_a_failure_is_promoted_when_others_tell() -> None:
    """As many of its rows were kept as would have shown some of stable's failures."""
    walk = sampled((0.02, 0.0), ALWAYS)
    walk.bake()
    assert any(walk.rollout.step > 0 for _ in walk.each_look(100))


def test_until_then_it_is_told_what_lacks() -> None:
    """Of a rare failure the canary has kept none, nor enough other rows."""
    stable = BadWeight(50, 50, 500, others=Rows(5000, 50_000, 500_000))
    few = BadWeight(others=Rows(300, 3000, 30_000))
    said = "errors: sampling spares stable's bad requests, and the canary has kept too few to tell"

    assert steadiness.untold("errors", (stable, few), Counts(10_000, 100), 3.7) == said
    assert steadiness.untold("errors", (stable, few), Counts(10_000, 200), 3.7) == ""
    one_uneven = replace(few, rows=1, items=1, usual=2, spread=10)
    assert steadiness.untold("errors", (stable, one_uneven), Counts(10_000, 200), 3.7) == said
    whole = replace(few, others=Rows(3000, 3000, 3000))
    assert steadiness.untold("errors", (stable, whole), Counts(10_000, 0), 3.7) == ""


def test_records_of_before_hold_nothing_to_tell_by() -> None:
    """A rollout that was begun by an older version goes on."""
    walk = sampled((0.02, 0.02), ALWAYS).bake()
    walk.looks(20)
    walk.rollout = replace(walk.rollout, bad_weights=None)
    walk.bend = lambda answer: without(answer, "canary", 0)
    walk.until(lambda walk: walk.rollout.bad_weights is not None, 20)


def bins(number: int, escaping: Callable[[int], int]) -> list[BinSeen]:
    """So many bins with six bad rows each, of which as many escape as are told."""
    return [BinSeen(index, _bin(6, escaping(index)), None) for index in range(number)]


def _bin(bad: int, escaped: int) -> ArmBin:
    items, squares = (bad - escaped) * 10 + escaped, (bad - escaped) * 100 + escaped
    return ArmBin(items + 1000, bad + 100, (items,), (bad,), squares=squares + 10_000)


def turned(seen: list[BinSeen]) -> float:
    return exposures.learnt(seen, 0, (UNKNOWN, UNKNOWN))[0].turned


def test_a_burst_of_another_kind_is_no_change_of_sampling() -> None:
    """Half of the failures escape as a rule, and in one bin or two all of them do."""
    assert turned(bins(200, lambda index: 6 if index in {100, 101} else 3)) == 1
    assert turned(bins(200, lambda index: index * 7 % 6)) == 1
    assert turned(bins(200, lambda index: 6 if index > 180 else 1)) != 1


def test_a_change_is_never_forgotten_and_takes_little_room() -> None:
    """However long ago it was; spans grow with the logarithm of time."""
    seen = bins(3000, lambda index: 0 if index < 40 else 6)
    stable, _ = exposures.learnt(seen, 0, (UNKNOWN, UNKNOWN))
    assert stable.turned == pytest.approx(0.11, abs=0.01)
    assert len(stable.spans) < 25
    assert sum(span.bins for span in stable.spans) == 3000


def test_rows_that_are_hardly_sampled_tell_nothing() -> None:
    """There is nothing to escape from."""
    whole = BadRows(10, 10, 10.05, 0)
    assert steadiness.watched(UNKNOWN, whole) == UNKNOWN
    assert steadiness.watched(UNKNOWN, BadRows()) == UNKNOWN


def test_divergence_is_finite_at_the_ends() -> None:
    """A mean may be rounded to 0 or 1."""
    assert divergence(0.5, 1.0) == pytest.approx(-0.347, abs=0.001)
    assert divergence(1.0, 1.0) == divergence(0.0, 0.0) == 0
