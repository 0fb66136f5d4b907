"""Whatever bytes come to the door: accepted and sound, or refused in one bounded line, and soon.

`python -m tests.fuzz.run` throws the same by the million.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controllers import inbox
from sandbox.memory import MemoryWorld
from shared.cloud import rows
from shared.core.model import Phase
from shared.ports import Message, Rejected
from tests.fuzz import hostile, mutate, run
from tests.fuzz.readers import MOST_BYTES, MOST_WORDS, READERS, attempt
from tests.town import Town, alert_document, plan_document

NAMES = st.sampled_from(sorted(READERS))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([value for value in hostile.NEARLY if isinstance(value, str)])
)
KEYS = st.sampled_from(hostile.KEYS) | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(KEYS, inside, max_size=4),
    max_leaves=8,
)


def seeded(examples: int) -> settings:
    """The same examples in every run; what they cost is asserted input by input."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def hold(name: str, body: bytes) -> None:
    """A reader keeps its promises for this body."""
    broken = attempt(READERS[name], body).broken
    assert not broken, f"{name}: {broken}"


@seeded(200)
@given(NAMES, st.binary(max_size=300))
def test_any_bytes_are_met_as_promised(name: str, body: bytes) -> None:
    hold(name, body)


@seeded(200)
@given(NAMES, ANYTHING)
def test_any_json_is_met_as_promised(name: str, document: Any) -> None:
    hold(name, json.dumps(document).encode())


@seeded(400)
@given(st.randoms(), st.sampled_from(mutate.documents()))
def test_a_good_document_that_was_tampered_with_is_met_as_promised(
    dice: Random, origin: mutate.Document
) -> None:
    hold(origin.reader, mutate.tampered(dice, origin))


def test_thousands_of_seeded_inputs_are_met_as_promised() -> None:
    found = run.chunk("suite", 15_000)

    assert not found.crashes
    assert all(tally.accepted > 300 < tally.refused for tally in found.tallies.values())


@pytest.mark.parametrize("origin", mutate.documents(), ids=lambda origin: origin.reader)
def test_a_document_that_nobody_touched_is_accepted(origin: mutate.Document) -> None:
    assert attempt(READERS[origin.reader], origin.text.encode()).accepted


def start(**changes: Any) -> bytes:
    return json.dumps({"action": "start", "plan": plan_document(**changes)}).encode()


def spliced(field: str, token: str) -> bytes:
    return start(**{field: "@"}).replace(b'"@"', token.encode())


def alert(**changes: Any) -> bytes:
    document = alert_document()
    document["data"]["essentials"].update(changes)
    return json.dumps(document, ensure_ascii=False).encode()


def ask(**more: Any) -> bytes:
    return json.dumps({"action": "hold", "rollout": "x", **more}).encode()


# As long as the inbox allows, or nearly, and as dear as each kind comes.
DEAR: dict[str, tuple[str, bytes]] = {
    "bad steps": ("command", spliced("steps", "[" + "0," * 130_000 + "0]")),
    "steps without a percentage": ("command", spliced("steps", "[" + "{}," * 86_000 + "{}]")),
    "bad matches": ("command", spliced("rollback_on", "[" + "0," * 130_000 + "0]")),
    "bad rules": ("command", start(evidence={"rules": [0] * 85_000})),
    "bad targets": ("alert", alert(alertTargetIDs=[0] * 85_000)),
    "many fields": ("command", ask(**{f"{number:x}": 0 for number in range(24_000)})),
    "one long field": ("command", ask(**{"k" * 250_000: 0})),
    "long fields": ("command", ask(**{f"{number}" + "k" * 10_000: 0 for number in range(25)})),
    "unprintable fields": ("command", ask(**{f"{n}" + "\0" * 1_000: "\0" * 90 for n in range(25)})),
    "a long action": ("command", ask(action="k" * 250_000)),
    "a deep plan": ("command", spliced("evidence", "[" * 120_000 + "]" * 120_000)),
    "a long number": ("command", spliced("patience", "9" * 250_000)),
    "a number as long as Python reads": ("command", spliced("steps", "9" * 4300)),
    "a long fraction": ("command", spliced("steps", "[0." + "1" * 250_000 + ",100]")),
    "long names of an alert": ("alert", alert(alertRule="İ" * 40_000, severity=None)),
    "spaces": ("plan", b" " * MOST_BYTES),
    "escapes": ("command", b'{"action":"' + b"\\u0000" * 43_000 + b'"}'),
}


@pytest.mark.parametrize(("name", "body"), DEAR.values(), ids=DEAR)
def test_the_dearest_bodies_are_met_as_promised(name: str, body: bytes) -> None:
    assert len(body) <= MOST_BYTES
    hold(name, body)


@pytest.mark.parametrize("field", ["x\n2026-11-22 message 7 applied", "\x1b[2J", " ", ""])
def test_a_field_of_any_name_is_named_within_one_line(field: str) -> None:
    hold("command", ask(**{field: 1}))
    hold("command", ask(action=field))


def kept(world: MemoryWorld) -> object:
    """All that a command may change."""
    store = world.store
    return dict(store.records), {name: len(rows) for name, rows in store.rows.items()}


def received(queue: str) -> Callable[[MemoryWorld, Message], Any]:
    return {"commands": inbox.receive_command, "alerts": inbox.receive_alert}[queue]


def thrown(dice: Random, queue: str) -> bytes:
    """A body for a queue, of any generator, mostly for the queue's reader."""
    reader = {"commands": "command", "alerts": "alert"}[queue]
    good = [document for document in mutate.documents() if document.reader == reader]
    kind = dice.random()
    return mutate.tampered(dice, dice.choice(good)) if kind < 0.8 else mutate.body(dice)[1]


@pytest.mark.parametrize("queue", ["commands", "alerts"])
async def test_the_inbox_applies_or_parks_whatever_comes(queue: str) -> None:
    """It never raises: the broker would bring the same bytes again and again."""
    dice, town = Random(queue), Town()
    await town.start()
    parked: list[Rejected] = []
    for _ in range(150):
        before = kept(town.world), parked
        message = town.message(thrown(dice, queue))

        await received(queue)(town.world, message)

        parked = await town.world.store.rejected(limit=1000)
        if len(parked) > len(before[1]):
            [entry] = [entry for entry in parked if entry.message.id == message.id]
            assert entry.message.body == message.body
            assert 0 < len(entry.reason) <= MOST_WORDS
        elif queue == "commands":
            assert kept(town.world) != before[0]
    assert 0 < len(parked) < 150


@pytest.mark.parametrize(
    "told",
    [
        {"alertRule": "é" * 100_000, "alertRuleID": "shop-5xx"},
        {"firedDateTime": "é" * 100_000},
        {"alertTargetIDs": ["é" * 100] * 1000},
    ],
    ids=min,
)
async def test_an_alert_that_is_obeyed_fits_a_row_of_history(told: dict[str, Any]) -> None:
    """Or it would be parked for its size, and the canary would stay."""
    town = Town()
    await town.start()

    await inbox.receive_alert(town.world, town.message(alert(**told)))

    assert (await town.rollout()).phase is Phase.RETREATING
    assert rows.of_event("shop-2.4", (await town.history())[-1], "m-2")


@pytest.mark.parametrize("body", [ask(**{"k" * 250_000: 0}), ask(action="k" * 250_000)])
async def test_a_refusal_fits_a_row_beside_its_message(body: bytes) -> None:
    """Or the message could not be parked, and would come again."""
    town = Town()

    await inbox.receive_command(town.world, town.message(body))

    [entry] = await town.world.store.rejected()
    assert rows.of_rejected(entry)
