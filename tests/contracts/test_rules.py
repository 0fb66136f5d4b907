"""Every kind of rule over the real logs client and running KQL, against counts made by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from sandbox.azure import LocalAzure
from shared.cloud.wiring import AzureWorld
from shared.core.questions import Question
from shared.core.telemetry import Answer, ArmBin, Rule, Sight
from tests.contracts.shop import FIRST_BIN, T0, WORKSPACE, question, request

CANARY = "2.4.0"
SERVER = Rule("server", result_code="5..")
MANY = Rule("many", result_code="5[0-9]+|4(08|29)|Fail.*")
P95 = Rule("p95", slower_than_quantile=0.95)


async def told(
    azure: LocalAzure, world: AzureWorld, rows: Sequence[dict[str, Any]], asked: Question
) -> Answer:
    """The answer when these rows are all there is."""
    await azure.logs.add(WORKSPACE, rows)
    answer = await world.telemetry.ask(asked)
    assert answer.sight is Sight.SEEN, answer.reason
    return answer


def by_bin(answer: Answer) -> dict[tuple[str, int], ArmBin]:
    """The answer's counts by arm and minute."""
    return {
        (arm, each.index - FIRST_BIN): found
        for each in answer.bins
        for arm, found in (("stable", each.stable), ("canary", each.canary))
        if found
    }


async def test_result_codes_match_as_a_whole(azure: LocalAzure, world: AzureWorld) -> None:
    """A sampled 500 counts for its requests; 5000 and 1500 are no 5.., and 1408 is no 408."""
    codes = ("200", "500", "503", "5000", "1500", "408", "429", "Failure", "50", "", "1408")
    rows = [request(n, ResultCode=code, ItemCount=n + 1) for n, code in enumerate(codes)]
    answer = await told(azure, world, rows, question(SERVER, MANY))
    assert by_bin(answer) == {
        ("stable", 0): ArmBin(
            66, 11, bad=(2 + 3, 2 + 3 + 4 + 6 + 7 + 8 + 9), bad_rows=(2, 7), squares=506
        )
    }


async def test_a_limit_is_exceeded_and_not_met(azure: LocalAzure, world: AzureWorld) -> None:
    """A request that took exactly the limit is a good one."""
    rows = [request(1, DurationMs=ms, ItemCount=5) for ms in (799.9, 800.0, 800.1)]
    answer = await told(azure, world, rows, question(Rule("slow", slower_than_ms=800)))
    assert by_bin(answer) == {("stable", 0): ArmBin(15, 3, bad=(5,), bad_rows=(1,), squares=75)}


async def test_a_quantile_is_stables_own_and_nothing_is_bad_yet(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Of 100 durations the 95th is stable's p95, whatever the canary does."""
    rows = [request(n / 2, DurationMs=float(n)) for n in range(1, 101)]
    rows += [request(3, CANARY, DurationMs=9e6)]
    p50 = Rule("p50", slower_than_quantile=0.5)
    answer = await told(azure, world, rows, question(P95, Rule("errors"), p50))
    assert dict(answer.quantiles_ms or {}) == pytest.approx({"p95": 95, "p50": 50}, abs=1)
    assert by_bin(answer)["stable", 0] == ArmBin(100, 100, (0, 0, 0), (0, 0, 0), squares=100)


async def test_a_frozen_quantile_is_a_limit_like_any_other(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Afterwards both arms are held against it, and it is asked for no more."""
    rows = [request(1, version, DurationMs=ms) for version in ("2.3.9", CANARY) for ms in (94, 96)]
    answer = await told(azure, world, rows, question(P95, thresholds_ms={"p95": 95.0}))
    assert answer.quantiles_ms is None
    assert by_bin(answer) == {
        ("stable", 0): ArmBin(2, 2, bad=(1,), bad_rows=(1,), squares=2),
        ("canary", 0): ArmBin(2, 2, bad=(1,), bad_rows=(1,), squares=2),
    }


async def test_without_stable_there_is_no_quantile(azure: LocalAzure, world: AzureWorld) -> None:
    """The canary's own durations are no yardstick."""
    answer = await told(azure, world, [request(1, CANARY)], question(P95))
    assert answer.quantiles_ms is None
    assert by_bin(answer) == {("canary", 0): ArmBin(1, 1, (0,), (0,), squares=1)}


async def test_the_source_tells_how_late_the_slower_arm_is(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """99 of 100 rows of each arm came within so many seconds; one straggler is not waited for."""
    # It is half past ten: what came so many seconds ago came that much earlier.
    await azure.logs.add(WORKSPACE, [request(0)] * 200, delay_s=-100)
    await azure.logs.add(WORKSPACE, [request(0)], delay_s=-1)
    await azure.logs.add(WORKSPACE, [request(5, CANARY)] * 3, delay_s=-20)
    answer = await world.telemetry.ask(question())
    assert answer.lag_s == pytest.approx(1775)
    assert answer.newest_of == (T0.timestamp(), T0.timestamp() + 5)


async def test_the_lag_is_that_of_bad_rows_where_they_come_later(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """Few rows hang, and those that do are bad: among all rows nobody would notice them."""
    await azure.logs.add(WORKSPACE, [request(0)] * 300, delay_s=-100)
    await azure.logs.add(WORKSPACE, [request(0, DurationMs=230_000.0)] * 2, delay_s=-1)
    answer = await world.telemetry.ask(question())
    assert answer.lag_s == pytest.approx(1799)


async def test_rows_without_a_version_are_told_where_a_role_says_whose_they_are(
    azure: LocalAzure, world: AzureWorld
) -> None:
    """A service that forgets its version hides requests; without a role they may be anybody's."""
    rows = [request(1, AppRoleName="shop")] * 2 + [request(2, CANARY, AppRoleName="shop")]
    rows += [request(3, "", AppRoleName="shop")] * 5 + [request(3, "", AppRoleName="cart")] * 7
    rows += [request(3, "", AppRoleName="shop", SyntheticSource="ping")]
    ours = await told(azure, world, rows, question(role="shop"))
    anyones = await world.telemetry.ask(question())
    assert (ours.unlabelled, anyones.unlabelled) == (5 / 8, 0)
    assert by_bin(ours) == by_bin(anyones)
