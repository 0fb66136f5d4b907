"""The whole demo, headless, as a reader would run it."""

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.demo
@pytest.mark.timeout(300)
async def test_all_three_rollouts_of_the_demo_end_as_they_should() -> None:
    """Exit code 0, a decision for each step and ending, and the summary of all three."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "demo", "--headless"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    text = out.decode()
    assert process.returncode == 0, f"{text}\n{errors.decode()}"
    assert errors == b""
    lines = [line.split() for line in text.splitlines()]
    outcomes = {line[0]: line[1:5] for line in lines if len(line) > 5 and ":" not in line[0]}
    assert outcomes["shop"][0] == "PROMOTED"
    assert outcomes["cart"][:3] == ["REVERTED", "by", "evidence"]
    assert outcomes["pay"][:4] == ["REVERTED", "by", "an", "alert"]
    risen = [line[3] for line in lines if line[1:3] == ["shop", "SHIFTING"]]
    assert risen == ["1", "5", "10", "25", "50", "100"]
