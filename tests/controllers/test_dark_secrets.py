"""What a dark launch leaves behind: each comparison in a log record, and of no user anything."""

import json
import logging
from typing import Any

import pytest

from controllers import api
from controllers.samples import receive_samples
from shared.core.shadow import Replayed
from tests.dark import JSON, DarkTown, answer, sample_document, silent

SECRET = "pl4nted9Zq7Xw2Lk8Vt5Bn3Rm"
MAIL, CARD = "ada.planted@example.org", "4111 1111 1111 1111"
PLANTED = (SECRET, MAIL, "ada.planted", CARD, CARD.replace(" ", ""))
FIELDS = {
    "rollout",
    "sample",
    "outcome",
    "method",
    "path",
    "places",
    "differences",
    "difference_count",
    "user_status",
    "user_ms",
    "canary_status",
    "canary_ms",
    "reason",
}


@pytest.fixture
async def town(caplog: pytest.LogCaptureFixture) -> DarkTown:
    caplog.set_level(logging.DEBUG)
    made = DarkTown()
    await made.launch()
    return made


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of each comparison that was logged."""
    records = [vars(record) for record in caplog.records if hasattr(record, "linnet_outcome")]
    return [
        {
            name.removeprefix("linnet_"): value
            for name, value in record.items()
            if name.startswith("linnet_")
        }
        for record in records
    ]


def secretive(number: int, *, other: str = "") -> dict[str, Any]:
    """A document with something of a user's in every place that a document has."""
    return {
        "price": 10 if not other else 11,
        "token": SECRET + other,
        "mail": MAIL + other,
        "card": CARD + other,
        "note": f"{MAIL} paid with {CARD} {other}",
        MAIL: other,
        SECRET: number if other else 0,
        "by_mail": {MAIL + other: {SECRET + other: other}},
        "list": [SECRET + other, {"deep": MAIL + other}],
    }


def secret_sample(number: int) -> dict[str, Any]:
    headers = {
        "Authorization": f"Bearer {SECRET}",
        "Cookie": f"sid={SECRET}",
        "X-Api-Key": SECRET,
        "X-Mail": MAIL,
    }
    path = f"/api/{SECRET}/users/{MAIL}/items/{number}?token={SECRET}&mail={MAIL}&{SECRET}=1"
    return sample_document(
        number,
        request={"path": path, "headers": headers},
        response={
            "headers": {**JSON, "set-cookie": SECRET, "etag": SECRET, "x-mail": MAIL},
            "body": {"text": json.dumps(secretive(number))},
        },
    )


def indiscreet(number: int) -> Replayed:
    """An answer with secrets in all its parts, or why there is none."""
    if number % 5 == 0:
        return silent(f"could not connect, token={SECRET} {MAIL}")
    if number % 5 == 1:
        return Replayed(None, f"sig={SECRET}", tried=False)
    document = secretive(number, other="x")
    return answer(document, {"set-cookie": f"{SECRET}y", "etag": SECRET * 2, "x-mail": MAIL})


@pytest.mark.parametrize("values", ["hashed", "shortened", "shown"])
async def test_nothing_of_a_user_is_kept_logged_or_shown(
    caplog: pytest.LogCaptureFixture, values: str
) -> None:
    """Planted in bodies, keys, headers, paths and queries, of samples and of answers."""
    caplog.set_level(logging.DEBUG)
    town = DarkTown()
    compared = ["content-type", "etag", "x-mail", "set-cookie"]
    await town.launch(
        compare={"headers": compared}, redact={"values": values, "headers": compared}, log="100%"
    )

    town.canary, town.stable = indiscreet, indiscreet
    documents = [secret_sample(number) for number in range(1, 40)]
    await town.receive(*documents, b"{" + SECRET.encode(), {**documents[0], SECRET: MAIL})
    await town.receive({**documents[0], "request": {"method": SECRET, "path": MAIL}})
    await town.receive(
        {
            **secret_sample(50),
            "response": {"status": 200, "elapsed_ms": 1, "body": {"text": f"{SECRET} {MAIL}"}},
        }
    )
    await town.seconds(2)

    store = town.world.store
    shown = [await api.rollout(town.world, "shop-2.4"), await api.rejected(town.world)]
    kept = {
        "tally": store.tallies,
        "rejected": list(store.parked.values()),
        "history": store.rows,
        "records": store.records,
        "log": [vars(record) for record in caplog.records],
        "text": caplog.text,
        "shown": shown,
        "notices": town.world.notices.told,
    }
    assert len(store.parked) == 2
    assert (await store.tally("shop-2.4")).different > 20
    assert len(told(caplog)) > 25
    for place, content in kept.items():
        found = [each for each in PLANTED if each in repr(content)]
        assert not found, f"{found} in {place}"
    if values == "shown":
        assert any(place["example"] == "10 became 11" for place in shown[0]["shadow"]["places"])  # type: ignore[index]  # it is there


async def test_a_mismatch_is_one_record_in_full(
    town: DarkTown, caplog: pytest.LogCaptureFixture
) -> None:
    town.canary = lambda _: answer({"price": 11, "extra": True}, status=203, ms=20.04)

    await town.receive(sample_document(7, request={"path": "/api/items/7?q=ada"}))

    [record] = told(caplog)
    differences = json.loads(record.pop("differences"))
    assert record == {
        "rollout": "shop-2.4",
        "sample": "s-7",
        "outcome": "mismatch",
        "method": "GET",
        "path": "/api/items/{number}?q=",
        "places": "$.extra $.price status",
        "difference_count": 3,
        "user_status": 200,
        "user_ms": 12.5,
        "canary_status": 203,
        "canary_ms": 20.0,
        "reason": "",
    }
    assert [(each["path"], each["kind"]) for each in differences] == [
        ("status", "status"),
        ("$.price", "value"),
        ("$.extra", "extra"),
    ]
    assert (differences[0]["user"], differences[0]["canary"]) == ("200", "203")


async def test_each_outcome_has_its_name_and_fields_that_a_log_can_hold(
    town: DarkTown, caplog: pytest.LogCaptureFixture
) -> None:
    """Text and numbers only, each short enough to arrive whole: they become customDimensions."""
    large = {f"field_{n}": "x" * 400 for n in range(300)}
    ends = {1: answer({"price": 11}), 2: silent(), 3: answer(ms=500), 4: answer(large)}
    town.canary = lambda number: ends.get(number, answer())
    town.stable = lambda _: answer()
    await town.receive(*map(sample_document, ends))
    # Which samples stable answers too is drawn by their ids: enough of them that one is slow.
    ends.update(dict.fromkeys(range(5, 25), answer(ms=500)))
    await town.receive(*map(sample_document, range(5, 25)))

    records = told(caplog)
    outcomes = {record["outcome"] for record in records}

    assert outcomes == {"mismatch", "unreachable", "slower"}
    for record in records:
        assert set(record) == FIELDS
        assert all(type(value) in {str, int, float} for value in record.values())
        assert all(len(value) <= 8192 for value in record.values() if isinstance(value, str))
        json.loads(record["differences"])
    assert next(r for r in records if r["outcome"] == "unreachable")["canary_status"] == 0


async def test_a_difference_that_stable_has_too_is_called_noise(
    town: DarkTown, caplog: pytest.LogCaptureFixture
) -> None:
    town.stable = town.canary = lambda n: answer({"price": 10, "at": n})
    await town.traffic(5)
    caplog.clear()

    await town.traffic(1)

    assert {record["outcome"] for record in told(caplog)} == {"noise"}


@pytest.mark.parametrize(
    ("share", "least", "most"), [("0%", 0, 0), ("10%", 20, 60), ("100%", 400, 400)]
)
async def test_of_equal_answers_a_share_is_told(
    caplog: pytest.LogCaptureFixture, share: str, least: int, most: int
) -> None:
    caplog.set_level(logging.INFO)
    town = DarkTown()
    await town.launch(log=share)

    await receive_samples(town.world, town.samples(400))

    records = told(caplog)
    assert least <= len(records) <= most
    assert all(record["outcome"] == "match" for record in records)
    assert all(record["differences"] == "[]" for record in records)


async def test_a_sample_that_comes_again_is_told_once(
    town: DarkTown, caplog: pytest.LogCaptureFixture
) -> None:
    town.canary = lambda _: answer({"price": 11})
    batch = town.samples(3)

    await receive_samples(town.world, batch)
    await receive_samples(town.world, batch)

    assert [record["sample"] for record in told(caplog)] == ["s-1", "s-2", "s-3"]
