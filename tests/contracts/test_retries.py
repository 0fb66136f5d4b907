"""Retries have one owner, who knows what may pass and when to stop."""

import asyncio

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from shared.cloud import retries
from shared.cloud.retries import MOST_TRIES, patiently


@pytest.mark.parametrize(("status", "most"), [(503, MOST_TRIES), (403, 1)])
async def test_only_what_may_pass_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, status: int, most: int
) -> None:
    monkeypatch.setattr(retries, "JITTER", lambda _: 0.0)
    error = HttpResponseError("no")
    error.status_code = status
    tries = []

    async def fails() -> None:
        tries.append(1)
        raise error

    with pytest.raises(HttpResponseError):
        await patiently(fails, deadline_s=30)
    assert len(tries) == most


async def test_a_try_that_hangs_ends_at_the_deadline_with_what_was_said_before() -> None:
    tries = []

    async def hangs() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ServiceRequestError("connection refused")
        await asyncio.Event().wait()

    with pytest.raises(ServiceRequestError, match="refused"):
        await patiently(hangs, deadline_s=0.3)
    with pytest.raises(TimeoutError):
        await patiently(hangs, deadline_s=0.05)
