"""Samples that cannot be used, and answers of any oddity: none stops another, none is kept."""

import base64
import hashlib
import json
from typing import Any

import pytest

from controllers import samples
from controllers.samples import receive_samples
from sandbox.memory_store import Stage
from shared.core.diff import compare
from shared.errors import RefusedError
from tests.dark import DarkTown, answer, not_tried, sample_document

HASH = "ab" * 32


@pytest.fixture
async def town() -> DarkTown:
    """A town whose dark launch bakes."""
    made = DarkTown()
    await made.launch()
    return made


async def test_a_bad_sample_stops_no_other_and_leaves_no_bytes_behind(town: DarkTown) -> None:
    bad = b'{"id": "planted-4711", "request"'
    large = b" " * (town.world.settings.max_message_bytes + 1)
    batch = [
        town.message(bad, "m-bad"),
        *town.samples(2),
        town.message(large),
        town.message({"id": "planted-4711"}),
    ]

    await receive_samples(town.world, batch)

    assert await town.counted() == (2, 0)
    [kept] = await town.world.store.rejected()
    assert (kept.message.id, kept.message.body, kept.queue) == ("m-bad", b"", "samples")
    assert kept.reason == (
        f"not a sample: body: json_invalid ({len(bad)} bytes, "
        f"sha256 {hashlib.sha256(bad).hexdigest()}, 3 in its batch)"
    )


async def test_a_message_that_is_too_large_is_not_read(town: DarkTown) -> None:
    most = town.world.settings.max_message_bytes
    await town.receive(json.dumps(sample_document(1)).encode().ljust(most + 1))

    [reason] = await town.reasons()
    assert reason.startswith(f"at most {most} bytes are allowed (")


async def test_a_body_that_is_not_what_it_said_is_skipped(town: DarkTown) -> None:
    blob = {"blob": "https://blobs/none", "sha256": HASH}
    await town.receive(sample_document(1, response={"body": blob}), sample_document(2))

    assert await town.counted() == (1, 1)


async def test_an_error_of_ours_stops_one_sample_and_says_nothing_of_it(
    town: DarkTown, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(reply: Any, *_: Any) -> Any:
        if b"planted" in reply.body:
            raise ValueError(reply.body)
        return compare(reply, *_)

    monkeypatch.setattr(samples, "compare", broken)
    body = {"text": '{"planted": 4711}'}

    await town.receive(sample_document(1, response={"body": body}), sample_document(2))

    assert await town.counted() == (1, 1)
    assert "a sample of shop-2.4 failed: ValueError" in caplog.text
    assert "in broken" in caplog.text
    assert "4711" not in caplog.text


async def test_skipped_samples_are_told_once_a_batch(
    town: DarkTown, caplog: pytest.LogCaptureFixture
) -> None:
    town.canary = lambda _: not_tried()
    posted = sample_document(9, request={"method": "PUT"})
    batch = [*town.samples(5), town.message(posted)]

    await receive_samples(town.world, batch)

    [record] = [record for record in caplog.records if "skipped" in record.getMessage()]
    assert record.getMessage() == (
        "6 samples of shop-2.4 were skipped: method PUT is not replayed (allowed: GET, HEAD); "
        "not tried: the endpoint has no address"
    )


OPENED, CLOSED = '{"customer_billing_address":' * 12, "}" * 12
ODD: dict[str, tuple[bytes, bytes]] = {
    "keys outside unicode": (b'{"\\ud800": 1}', b'{"\\ud800": 2, "\\udfff": 1}'),
    "values outside unicode": (b'{"a": "\\ud800"}', b'{"a": "\\udfff"}'),
    "a key twice": (b'{"a": 1, "a": 2}', b'{"a": 1, "a": 3}'),
    "deep": (b"[" * 5000, b"[" * 5001),
    "numbers": (b'{"a": 1e400}', b'{"a": -1e999}'),
    "nan": (b'{"a": NaN}', b'{"a": Infinity}'),
    "no utf-8": (b'{"a": "\xff"}', b'{"a": "\xfe"}'),
    "empty": (b"", b"{}"),
    "long keys": (b"{}", json.dumps({"k" * 5000: {"l" * 5000: 1}}).encode()),
    "many": (b"{}", json.dumps({f"key {n}": n for n in range(3000)}).encode()),
    "far down": (f"{OPENED}1{CLOSED}".encode(), f"{OPENED}2{CLOSED}".encode()),
}


@pytest.mark.parametrize("odd", ODD)
async def test_answers_of_any_oddity_are_counted_and_kept_within_bounds(
    town: DarkTown, odd: str
) -> None:
    user, canary = ODD[odd]
    body = {"base64": base64.b64encode(user).decode()}
    reply = answer().reply
    assert reply is not None
    town.canary = lambda _: type(answer())(
        type(reply)(200, {"content-type": "application/json"}, canary, 1.0)
    )

    await town.receive(sample_document(1, response={"body": body}))

    seen = await town.world.store.tally("shop-2.4")
    assert (seen.samples, seen.different, seen.skipped) == (1, 1, 0)
    assert seen.differences == len(seen.places) >= 1
    assert all(len(name) <= 150 for name in seen.places)
    assert all(len(place.example) <= 90 for place in seen.places.values())


async def test_a_tally_that_no_row_can_hold_is_an_error_to_be_seen(town: DarkTown) -> None:
    """Bounds make it impossible; were it possible, it must not look like a good batch."""

    async def full(_port: str, method: str, stage: Stage) -> None:
        if (method, stage) == ("add_tally", "before"):
            raise RefusedError("too much to keep in one row")

    town.world.store.hook = full
    with pytest.raises(RefusedError):
        await receive_samples(town.world, town.samples(1))
