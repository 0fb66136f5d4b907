"""The simulated services do what their description says."""

from dataclasses import replace

import numpy as np
import pytest

from bench.judge import last, rollouts, tried, worlds
from bench.judge.engine import ROLLBACK
from bench.judge.worlds import Cell, Unit

RUNS = np.arange(40)
HALF = np.full(RUNS.size, 0.5)
CELL = Cell("dns", 100, 0.02, ttl_s=30)


def world_of(cell: Cell, unit: Unit = "by_request") -> worlds.World:
    return worlds.build(cell, RUNS.size, np.random.default_rng(7), unit)


def served(world: worlds.World, ticks: int, shares: np.ndarray = HALF) -> np.ndarray:
    """Stable's and the canary's events and bad ones of each tick, shape (ticks, 4, R)."""
    found = [world.tick(at, RUNS, shares).bins for at in range(ticks)]
    return np.array([(b.stable_events, b.stable_bad, b.canary_events, b.canary_bad) for b in found])


def test_at_100_percent_bursts_take_no_good_release_back_and_harm_is_found() -> None:
    """By chance alone (Poisson) a tenth of good releases would be; twenty times worse is harm."""
    good = last.run(last.Last(last.CELLS[1], 1.0, 40))
    assert np.count_nonzero(good) <= 1
    harm = last.run(last.Last(last.CELLS[1], 20.0, 10))
    assert harm.all()
    assert np.median(harm) <= 10


def test_a_tick_is_half_a_short_ttl_and_the_canary_gets_its_share() -> None:
    """An hour of ticks: as many requests as the rate says, and half of them each."""
    assert (CELL.tick_s, CELL.ticks) == (15, 5760)
    seen = served(world_of(CELL), 240).sum(axis=0)
    assert (seen[0] + seen[2]).mean() / 3600 == pytest.approx(100, rel=0.1)
    assert (seen[2] / (seen[0] + seen[2])).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("ttl_s", [60, 15])
def test_bad_requests_come_at_the_cells_rate_beside_bursts(ttl_s: int) -> None:
    """Storms are among them; bursts, eightfold for five minutes every two hours, add a third."""
    cell = replace(CELL, ttl_s=ttl_s)
    seen = served(world_of(cell), round(4 * 3600 / cell.tick_s)).sum(axis=(0, 2))
    rate = (seen[1] + seen[3]) / (seen[0] + seen[2])
    assert rate == pytest.approx(0.02 * (1 + 7 * 5 / 120), rel=0.15)


def test_by_client_a_storm_counts_once() -> None:
    """Three failures in ten come in storms of twelve: counted once, few of them are left."""
    requests, clients = (
        served(world_of(CELL, unit), 240)[:, (1, 3)].sum() for unit in ("by_request", "by_client")
    )
    assert clients / requests == pytest.approx(0.7 + 0.3 / 12, abs=0.05)


def test_strata_tell_beforehand_what_an_arm_will_fail() -> None:
    """Standardised exposures follow an arm's failures more closely than its requests do."""

    def follows(unit: Unit) -> float:
        tenth = np.full(RUNS.size, 0.1)
        rich = replace(CELL, rps=3000)
        seen = served(world_of(rich, unit), 120, tenth).reshape(20, 6, 4, -1).sum(axis=1)
        share = seen[:, 2] / (seen[:, 0] + seen[:, 2])
        bad = seen[:, 3] / np.maximum(1, seen[:, 1] + seen[:, 3])
        return float(np.abs(bad - share).mean())

    assert follows("standardised_by_client") < 0.7 * follows("by_client")


def test_a_heavy_group_fails_more_and_never_moves() -> None:
    """One version has it for hours: the arms' rates are apart, though the release is good."""
    heavy = replace(CELL, twist="heavy group")
    seen = served(world_of(heavy), 480).sum(axis=0)
    apart = np.abs(seen[1] / seen[0] - seen[3] / seen[2])
    usual = served(world_of(CELL), 480).sum(axis=0)
    assert apart.mean() > 3 * np.abs(usual[1] / usual[0] - usual[3] / usual[2]).mean()


def test_what_was_tried_can_be_run_and_read() -> None:
    """Each line ends somehow, and a gross harm of a short TTL ends in a rollback within minutes."""
    lines = [replace(task, runs=3) for task in tried.tasks(3) if task.cell.ratio == 2]
    found = {task: rollouts.run(task) for task in lines[:2]}
    shown = tried.table(found).markdown()
    assert all(task.judge in shown and f"{task.block_s} s" in shown for task in found)
    harm = rollouts.run(rollouts.Task(replace(CELL, ratio=20.0), "client unit, strata", 4))
    assert (harm.verdict == ROLLBACK).all()
    assert (harm.minutes <= 12).all()
