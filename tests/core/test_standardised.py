"""Strata in a rollout: asked for before the start, frozen, and every request counts by them."""

from dataclasses import replace
from typing import Any

import pytest

from shared.core import exposures, questions
from shared.core.bad_rows import UNKNOWN, BadWeight
from shared.core.model import Phase, Plan
from shared.core.telemetry import ArmBin, Rule, Sight, Standard, Strata, Stratum
from tests.given import Walk, pair, plan, profile, saw, step

ODD = (
    Stratum("Oslo", (1000.0, 1000.0), ((80.0, 80.0),)),
    Stratum("Rome", (3000.0, 3000.0), ((20.0, 20.0),)),
    Stratum(None, (0.0, 0.0), ((0.0, 0.0),)),
)
SHOP = profile(pair(100, 0))
EVEN = tuple(replace(each, bad=((each.events[0] / 100,) * 2,)) for each in ODD)


def by_city(**changes: Any) -> Plan:
    """A plan whose evidence is standardised by city."""
    usual = plan(steps=(step(1, max_s=86_400), step(50, max_s=86_400), step(100)))
    return replace(usual, source=replace(usual.source, strata=("ClientCity",), **changes))


def test_weights_are_frozen_before_the_first_user_and_asked_with() -> None:
    """What the past foretold goes into the record and into every later question."""
    walk = Walk(plan=by_city())
    walk.tick(strata=Strata(Sight.SEEN, seen=ODD))
    assert walk.phase is Phase.SHIFTING
    standard = walk.rollout.standard
    assert standard is not None
    assert standard.keys == ("Oslo", "Rome")
    assert standard.weights["errors"][:2] == pytest.approx((3.1, 0.3), abs=0.1)
    question = questions.needed(walk.plan, walk.rollout, walk.now_s)
    assert question is not None
    assert question.standard == standard
    assert questions.strata_needed(walk.plan, walk.rollout, walk.now_s, SHOP) is None


def test_strata_that_foretell_nothing_are_on_record_as_such() -> None:
    """A plan may name strata that are of no use: requests then count as they are."""
    walk = Walk(plan=by_city())
    walk.tick(strata=Strata(Sight.SEEN, seen=EVEN))
    assert walk.rollout.standard == Standard(("Oslo", "Rome"), {})


@pytest.mark.parametrize("seen", [None, Strata(Sight.FAILED, "403")], ids=["unasked", "failed"])
def test_without_the_strata_of_the_plan_nothing_starts(seen: Strata | None) -> None:
    """They wait like all that cannot be seen, and in the end they refuse."""
    walk = Walk(plan=by_city())
    told = walk.tick(strata=seen)
    assert "the strata could not be asked" in told.sentence
    assert told.rollout.phase is Phase.PENDING
    walk.until(lambda walk: walk.phase is Phase.REFUSED, strata=seen)


def test_only_a_plan_with_strata_asks_for_them() -> None:
    """And only before the start."""
    walk = Walk(plan=by_city())
    asked = questions.strata_needed(walk.plan, walk.rollout, walk.now_s, None)
    assert asked == questions.needed(walk.plan, walk.rollout, walk.now_s)
    assert questions.strata_needed(plan(), walk.rollout, walk.now_s, SHOP) is None


@pytest.mark.parametrize(
    ("bin_s", "ttl_s", "expected"), [(10, 1, 10), (None, 15, 30), (None, 30, 60), (None, 60, 120)]
)
def test_clients_of_the_past_are_looked_at_in_the_rollouts_bins(
    bin_s: int | None, ttl_s: int, expected: int
) -> None:
    """A client is in more strata of a longer bin: visits of another length weigh something else.

    The other look, of which only sums count, is as coarse as ever; the past is as long for both.
    """
    walk = Walk(plan=by_city(client="UserId", bin_s=bin_s, lookback_s=86_400))
    seen = profile(pair(100, 0), ttl_s=ttl_s)
    asked = questions.strata_needed(walk.plan, walk.rollout, walk.now_s, seen)
    assert asked is not None
    walk.tick(traffic=saw(seen), strata=Strata(Sight.SEEN, seen=ODD))
    assert asked.bin_s == walk.rollout.bin_s == expected
    assert (asked.to_bin - asked.from_bin) * asked.bin_s == 86_400


def test_clients_of_the_past_wait_for_the_profile() -> None:
    """How long a bin will be is not known before; nothing starts without the profile anyway."""
    walk = Walk(plan=by_city(client="UserId"))
    assert questions.strata_needed(walk.plan, walk.rollout, walk.now_s, None) is None


STANDARD = Standard(("Oslo",), {"errors": (2.0, 1.0)})


@pytest.mark.parametrize(
    ("ttl_s", "standard", "block_s", "least"),
    [
        (15, STANDARD, 30, 6),
        (15, None, 60, 3),
        (15, Standard(("Oslo",), {}), 60, 3),
        (30, STANDARD, 60, 3),
        (60, STANDARD, 120, 3),
        (5, STANDARD, 30, 6),
    ],
)
def test_blocks_are_two_ttls_and_half_a_minute_where_exposures_are_standardised(
    ttl_s: int, standard: Standard | None, block_s: int, least: int
) -> None:
    """Never less, and a step always has three minutes at least."""
    walk = Walk(plan=by_city(bin_s=None))
    seen = saw(profile(pair(100, 0), ttl_s=ttl_s))
    past = () if standard is None else ODD if standard.weights else EVEN
    walk.tick(traffic=seen, strata=Strata(Sight.SEEN, seen=past))
    assert walk.rollout.bin_s == block_s
    assert questions.least_bins(walk.plan, walk.rollout) == least
    assert questions.step_bin_s(walk.plan, walk.rollout, 1) == block_s


def test_one_rule_without_weights_keeps_the_longer_blocks() -> None:
    """Blocks are the same for all rules."""
    rules = Rule("errors"), Rule("slow", slower_than_ms=100)
    both = replace(by_city().source, rules=rules, bin_s=None)
    assert questions.block_s(both, 15, STANDARD) == 60
    weights = {"errors": (2.0, 1.0), "slow": (1.0, 2.0)}
    assert questions.block_s(both, 15, replace(STANDARD, weights=weights)) == 30


def test_exposure_is_what_strata_make_of_requests() -> None:
    """Whether they were sampled or not, and whether any of them was bad or not."""
    fine = ArmBin(items=100.0, rows=100, bad=(0.0,), bad_rows=(0,), exposed=(130.0,))
    assert exposures.exposure(fine, 0, UNKNOWN, UNKNOWN) == (130, 0)
    sampled = replace(fine, rows=10, bad=(20.0,), bad_rows=(2,))
    assert exposures.exposure(sampled, 0, UNKNOWN, UNKNOWN) == (13, 2)
    quiet = replace(fine, rows=10)
    exempt = BadWeight(rows=5e12, items=5e12, usual=5e13)
    assert exposures.exposure(quiet, 0, exempt, UNKNOWN) == pytest.approx((130, 0))


def test_exposure_is_what_strata_make_of_clients() -> None:
    """A client counts as its stratum weighs, and is bad at most once."""
    seen = ArmBin(50.0, 50, (9.0,), (9,), clients=(20,), bad_clients=(3,))
    assert exposures.exposure(seen, 0, UNKNOWN, UNKNOWN) == (20, 3)
    weighed = replace(seen, exposed=(31.5,))
    assert exposures.exposure(weighed, 0, UNKNOWN, UNKNOWN) == (31.5, 3)
