"""The whole demo, headless, as a reader would run it."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.demo
@pytest.mark.timeout(300)
async def test_all_rollouts_of_the_demo_end_as_they_should() -> None:
    """Exit code 0, a decision for each step and ending, the summary, and what was found."""
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
    outcomes = {line[0]: line[1:] for line in lines if len(line) > 5 and ":" not in line[0]}
    assert outcomes["shop"][0] == "PROMOTED"
    assert outcomes["cart"][:3] == ["REVERTED", "by", "evidence"]
    assert outcomes["pay"][:4] == ["REVERTED", "by", "an", "alert"]
    assert outcomes["feed"][:3] == ["REVERTED", "by", "evidence"]
    assert outcomes["wave"][0] == "PROMOTED"
    assert risen(lines, "shop") == ["1", "5", "10", "25", "50", "100"]
    assert risen(lines, "wave") == ["0", "10", "50", "100"]
    assert_both_units_were_counted(text)
    assert_dark_launch_was_enough(text, lines, outcomes["feed"])


def risen(lines: list[list[str]], name: str) -> list[str]:
    """The percentages that a rollout was given, in order."""
    return [line[3] for line in lines if line[1:3] == [name, "SHIFTING"]]


def assert_both_units_were_counted(text: str) -> None:
    """Hurt users in the shops, where it is said what strata are for; requests in the feed."""
    unwrapped = " ".join(text.split())
    assert re.search(r"canary \d+ of \d+ (weighed )?client visits bad ", unwrapped)
    assert re.search(r"canary \d+ of \d+ requests bad ", unwrapped)
    for name in ("shop", "cart", "pay"):
        assert re.search(rf"^{name}, errors: .* by ClientCity ", text, re.MULTILINE)


def assert_dark_launch_was_enough(text: str, lines: list[list[str]], feed: list[str]) -> None:
    """No user met feed's canary, and the report says where it was wrong and what is only noise."""
    assert risen(lines, "feed") == ["0"]
    assert feed[-4:-1] == ["0", "0", "0"], "users hurt, requests hurt, requests to the canary"
    assert int(feed[3].replace(",", "")) >= 300
    noise = "Noise that it found by itself: $.at, $.online, $.request_id."
    assert text.count(noise) == 2
    wrong = re.search(r"^ \$\.readings\[\*\]\.celsius +value +(\S+) % +0\.0 % ", text, re.MULTILINE)
    assert wrong
    assert 1 < float(wrong[1]) < 5
    assert "sha256:" in text
