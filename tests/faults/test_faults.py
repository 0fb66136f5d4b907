"""Thousands of schedules keep every promise; the same seed tells the same story."""

import os
import subprocess
import sys

import pytest

from tests.faults import schedule
from tests.faults.calls import quietly

SCHEDULES = os.environ.get("FAULT_SCHEDULES", "20000")


@pytest.mark.timeout(900)
def test_every_schedule_keeps_every_promise() -> None:
    """On every core, in processes that no coverage slows down; a failing seed tells its story."""
    command = [sys.executable, "-m", "tests.faults.soak", SCHEDULES]
    soaked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert soaked.returncode == 0, soaked.stdout[-30_000:] + soaked.stderr[-2_000:]
    assert f"{SCHEDULES} schedules, 0 promises broken" in soaked.stdout


@pytest.mark.parametrize("seed", [5, 11, 23])
def test_a_seed_tells_the_same_story_again(seed: int) -> None:
    quietly()

    assert schedule.story(seed) == schedule.story(seed)
