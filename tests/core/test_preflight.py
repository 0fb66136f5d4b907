"""What preflight makes of the rules: limits are frozen or refused, clients are enough or not."""

from dataclasses import replace

import pytest

from shared.core import preflight
from shared.core.events import Ticked
from shared.core.judge import Counts
from shared.core.model import Plan, ProbeSeen, Rollout, newborn
from shared.core.telemetry import Answer, ArmBin, BinSeen, Rule, Sight
from tests.given import START_S, pair, plan, profile, saw

P95, P50 = Rule("p95", slower_than_quantile=0.95), Rule("p50", slower_than_quantile=0.5)


def planned(**changes: object) -> Plan:
    usual = plan()
    return replace(usual, source=replace(usual.source, **changes))  # type: ignore[arg-type]  # as in plan()


def answered(arm: ArmBin, bins: int = 20, **changes: object) -> Answer:
    """Stable alone, in so many bins."""
    seen = tuple(BinSeen(index, arm, None) for index in range(bins))
    usual = Answer(Sight.SEEN, bins=seen, newest_s=START_S, to_bin=bins)
    return replace(usual, **changes)  # type: ignore[arg-type]  # as in plan()


def ticked(answer: Answer, ttl_s: int = 1) -> Ticked:
    traffic = saw(profile(pair(100, 0), ttl_s=ttl_s))
    return Ticked(START_S, traffic, answer, ProbeSeen(healthy=True, reason="200"))


def problems(of: Plan, answer: Answer, ttl_s: int = 1) -> tuple[str, ...]:
    return preflight.check(of, born(of), ticked(answer, ttl_s)).problems


def born(of: Plan) -> Rollout:
    return newborn(of, START_S, "ci", dry_run=False)


MANY = ArmBin(100, 100, (1, 0), (1, 0))
BY_CLIENT = ArmBin(100, 100, (1,), (1,), clients=(50,), bad_clients=(1,))


def test_limits_are_frozen_with_what_they_mean() -> None:
    """Of stable's requests 5 % lie over its p95: that is its baseline, and nobody counted it."""
    of = planned(rules=(Rule("errors"), P95))
    answer = answered(MANY, quantiles_ms={"p95": 250.0})
    prepared = preflight.prepare(of, born(of), ticked(answer))

    assert problems(of, answer) == ()
    assert prepared.thresholds_ms == {"p95": 250}
    assert (prepared.baseline or {})["errors"] == Counts(2000, 20)
    assert (prepared.baseline or {})["p95"] == Counts(2000, pytest.approx(100))  # type: ignore[arg-type]  # nearly


def test_without_quantiles_no_limits_are_frozen() -> None:
    """There is something to remember all the same: that there are none."""
    of = plan()

    assert preflight.prepare(of, born(of), ticked(answered(MANY))).thresholds_ms == {}


@pytest.mark.parametrize(("known", "missing"), [(None, 2), ({}, 2), ({"p50": 9.0}, 1)])
def test_a_limit_that_cannot_be_had_is_refused(
    known: dict[str, float] | None, missing: int
) -> None:
    """Each is named, and what to do about it."""
    found = problems(planned(rules=(P50, P95)), answered(MANY, quantiles_ms=known))

    assert len(found) == missing
    assert "rule p95: stable's p95 could not be had" in found[-1]
    assert "slower_than" in found[-1]


def test_too_many_rows_without_a_client_are_refused() -> None:
    """What is counted would be the few who say who they are."""
    of = planned(client="UserId")
    (found,) = problems(of, answered(BY_CLIENT, keyless=0.73))

    assert "73 % of the rows carry no UserId" in found
    assert "leave client out" in found
    assert problems(of, answered(BY_CLIENT, keyless=0.5)) == ()


def test_where_requests_are_counted_nobody_needs_a_client() -> None:
    """Most services set none."""
    assert problems(plan(), answered(MANY, keyless=1.0)) == ()


def test_a_service_that_names_no_version_is_told_so() -> None:
    """No row of stable, and the share of rows that carry no version at all: a hint at the cause."""
    (found,) = problems(plan(), Answer(Sight.ABSENT, "nothing", unlabelled=0.9))

    assert "no request with AppVersion = '2.3.9'" in found
    assert "90 % of the rows carry no AppVersion" in found
    assert "carry no" not in problems(plan(), Answer(Sight.ABSENT, "nothing"))[0]


def test_clients_meet_a_slow_request_oftener_than_requests_are_slow() -> None:
    """With two requests each in a bin, nearly 10 % meet one that is slower than the p95."""
    of = planned(rules=(P95,), client="UserId")
    answer = answered(replace(BY_CLIENT, bad_clients=(0,)), quantiles_ms={"p95": 250.0})
    before = (preflight.prepare(of, born(of), ticked(answer)).baseline or {})["p95"]

    assert before.stable_bad / before.stable_events == pytest.approx(1 - 0.95**2)


def test_a_longer_bin_has_hardly_more_clients() -> None:
    """Requests add up over a bin of many minutes, but its clients are the same ones again."""
    per_minute = replace(BY_CLIENT, items=50, rows=50)
    slow_dns = {"bin_s": None, "lookback_s": 3600}
    answer = answered(per_minute, bins=60)

    by_request = problems(with_time(planned(**slow_dns)), answer, ttl_s=600)
    by_client = problems(with_time(planned(**slow_dns, client="UserId")), answer, ttl_s=600)

    assert by_request == ()
    assert "cannot be decided with this traffic" in by_client[0]


@pytest.mark.parametrize(
    ("arm", "refused"),
    [
        (ArmBin(5960, 119, (60.0,), (60,), squares=590_060), True),
        (ArmBin(5906, 65, (6.0,), (6,), squares=590_006), False),
        (ArmBin(6000, 605, (6.0,), (6,), squares=59_406), False),
        (ArmBin(6000, 60, (600.0,), (6,), squares=600_000), False),
        (ArmBin(6000, 3030, (6.0,), (6,), squares=303_000), False),
        (ArmBin(6000, 6000, (6.0,), (6,), squares=6000), False),
    ],
    ids=[
        "1 in 100 but failures",
        "few of them",
        "1 in 10 but failures",
        "1 in 100",
        "half whole",
        "whole",
    ],
)
def test_where_failures_alone_are_kept_a_block_needs_other_rows(
    arm: ArmBin, *, refused: bool
) -> None:
    """At 1 % the canary would have six in ten of one; by clients exposures are no question."""
    of = with_time(planned(bin_s=60, lookback_s=3600))
    of = replace(of, steps=(replace(of.steps[0], percent=1), *of.steps[1:]))
    found = problems(of, answered(arm, bins=60))

    told = "of the canary's other requests it would keep 0.59 a block at 1 %, at least 3"
    assert [told in each for each in found] == [True] * refused


def with_time(of: Plan) -> Plan:
    """Every step may bake for a day."""
    return replace(of, steps=tuple(replace(step, bake_max_s=86_400) for step in of.steps))


def test_without_a_single_client_nothing_can_be_decided() -> None:
    """All that name one may be the canary's; then stable is no yardstick."""
    nobody = ArmBin(0, 0, (0,), (0,), clients=(0,), bad_clients=(0,))
    found = problems(planned(client="UserId"), answered(nobody))

    assert "no bake is long enough" in found[0]
