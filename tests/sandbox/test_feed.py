"""The feed: what two of its versions differ in, and who counts as a user of it."""

import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from examples.sampling import MARK, Exchange, Samples
from sandbox.feed import Feed, producer
from sandbox.services import Versions, serve_pair
from shared.core.bodies import Reply
from shared.core.diff import Comparison, compare
from shared.core.rules import Rules, Tolerance

RULES = Rules(tolerances=(Tolerance("$.readings[*].celsius", absolute=0.5),))


def compared(*pages: dict[str, Any]) -> Comparison:
    bodies = [json.dumps(page).encode() for page in pages]
    stable, canary = (Reply(200, {}, body, 1.0) for body in bodies)
    return compare(stable, canary, RULES)


def test_two_right_answers_differ_only_in_what_is_noise() -> None:
    """Time, id and order; readings lie within the plan's tolerance."""
    stable, canary = Feed("stable"), Feed("canary")
    seen = {
        each.pattern
        for _ in range(50)
        for each in compared(stable(False), canary(False)).differences
    }

    assert seen == {"$.at", "$.online", "$.request_id"}


def test_a_wrong_answer_differs_in_one_reading_too() -> None:
    """It is far beyond the tolerance, every time."""
    stable, canary = Feed("stable"), Feed("canary")
    for _ in range(50):
        found = compared(stable(False), canary(True)).differences
        assert [each.pattern for each in found].count("$.readings[*].celsius") == 1


async def test_a_replay_is_no_user_and_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted apart, marked as synthetic in telemetry, and not sampled again."""
    drawn: list[Exchange] = []
    monkeypatch.setattr(Samples, "offer", lambda _, exchange: drawn.append(exchange))
    rows: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        versions = Versions("feed-1", "feed-2")
        pair = await serve_pair(stack, "feed", versions, rows.append, subnet=77, seed=1)
        pair.stable.page = Feed("1")
        pair.stable.behave(error_rate=0.0, latency_ms=0.0)
        pair.stable.samples = producer("http://127.0.0.1:1", "p", share=1.0, seed="1")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"http://{pair.stable.host}:{pair.port}/"
        for headers in ({}, {MARK: "feed"}):
            async with session.get(url, headers=headers) as response:
                assert (await response.json())["station"] == "harbour"

    assert (pair.stable.users, pair.stable.replays) == (1, 1)
    assert [row["SyntheticSource"] for row in rows] == ["", "Linnet replay"]
    assert [json.loads(each.body)["station"] for each in drawn] == ["harbour"]
