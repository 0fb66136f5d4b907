"""The record as written: few letters, every bit, older forms, and room for the largest."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import record
from shared.cloud import rows
from shared.cloud.pieces import joined, split
from shared.core import judge
from shared.core.attendance import Attendance
from shared.core.judge import Counts, Evidence
from shared.core.model import Phase, Rollout
from shared.core.stats import EMPTY_TABLE
from shared.core.telemetry import Standard
from shared.tables import packed, unpacked
from tests.given import plan
from tests.weighed import one

BINS = [Counts(5400 + n, 54 + n % 7, 600 - n, 6 + n % 3) for n in range(150)]
CELLS = st.floats(allow_nan=False, allow_infinity=False)


def weighed(folded: int, bins: Sequence[Counts] = BINS) -> Evidence:
    return judge.fold(judge.gather(judge.begin(0), enumerate(bins)), folded)


def baking(evidence: Evidence, rules: int = 1) -> Rollout:
    named = {f"rule-{number}": evidence for number in range(rules)}
    return Rollout("shop", Phase.BAKING, 1.0, 1.0, "ada", "Baking.", evidence=named)


@given(st.lists(CELLS, max_size=40).filter(any))
@settings(max_examples=20, deadline=None)
def test_a_table_comes_back_to_the_bit(cells: list[float]) -> None:
    """Not only to many digits: what is decided again from it must be the same."""
    again = unpacked(packed(cells))

    assert isinstance(again, tuple)
    assert [cell.hex() for cell in again] == [cell.hex() for cell in cells]


def test_a_record_comes_back_as_it_was_and_takes_less_room_than_lists_of_numbers() -> None:
    """One text for a table, none for a table of zeros; a rule takes less than two thirds."""
    there = Attendance(30, share_table=weighed(30).rollout_table)
    rollout = replace(baking(judge.start_step(weighed(30, BINS[:36]), 30)), attendance=there)

    text = record.rollout_to_json(rollout)

    assert record.rollout_from_json(text) == rollout
    [written] = json.loads(text)["evidence"].values()
    assert len(written["rollout_table"]) == 4 * math.ceil(340 * 8 / 3)
    assert len(json.loads(text)["attendance"]["share_table"]) == len(written["rollout_table"])
    assert written["step_table"] == ""
    assert len(text) < 2 / 3 * len(record.ROLLOUTS.dump_json(rollout))


def test_a_record_of_an_older_version_is_read() -> None:
    """Lists of numbers, and nothing of what was added since."""
    new = weighed(30, BINS[:36])
    verdict = one(new)[0]
    old = json.loads(record.ROLLOUTS.dump_json(replace(baking(new), verdict=verdict)))
    for where, names in (
        (old, ("thresholds_ms", "advice")),
        (old["evidence"]["rule-0"], ("rollout_bins", "served_bins")),
        (old["verdict"], ("pass_needed", "lag_s", "unit")),
        (old["verdict"]["weighings"][0], ("ratio", "rollout_bins")),
    ):
        for name in names:
            del where[name]

    read = record.rollout_from_json(json.dumps(old))

    assert read.evidence == {"rule-0": replace(new, rollout_bins=0, served_bins=0)}
    assert read.verdict is not None
    assert read.verdict.weighings == (replace(verdict.weighings[0], ratio=None, rollout_bins=0),)


@pytest.mark.parametrize(
    "text",
    ["[]", '"x"', '{"evidence": 3}', '{"evidence": {"errors": 3}}', '{"evidence": {"errors": {}}}'],
)
def test_what_is_no_record_is_refused_as_such(text: str) -> None:
    """With the error that callers of a broken record expect."""
    with pytest.raises(ValueError, match="validation error"):
        record.rollout_from_json(text)


@pytest.mark.parametrize(("text", "why"), [("AAAA", "cut off"), ("*" * 8, "base64")])
def test_a_broken_table_is_refused(text: str, why: str) -> None:
    """Cut off, or no base64 at all."""
    with pytest.raises(ValueError, match=why):
        unpacked(text)


def test_a_table_of_zeros_is_nothing_and_comes_back_as_the_one_that_costs_no_sum() -> None:
    """It is what every step begins with."""
    assert packed(EMPTY_TABLE) == ""
    assert unpacked("") is EMPTY_TABLE


def test_ten_rules_with_two_hours_of_open_bins_fit_into_one_row() -> None:
    """The service takes 64 KiB a property and 1 MiB an entity; half of it stays free."""
    full = baking(weighed(30), rules=10)
    assert len(full.evidence["rule-9"].open_bins) == 120  # type: ignore[index]  # it is set

    entity = rows.of_record(plan(), full)

    sizes = [len(str(value).encode("utf-16-le")) for value in entity.values()]
    assert max(sizes) <= rows.PROPERTY_BYTES
    assert sum(sizes) < rows.ENTITY_BYTES / 2
    assert record.rollout_from_json(joined(entity, "rollout")) == full


@pytest.mark.parametrize("letter", ["a", "ü", "中", "😀"])
def test_strata_in_any_script_leave_room_for_the_evidence(letter: str) -> None:
    """Their texts come from requests, and one letter must not halve what a row holds."""
    keys = tuple(letter * 196 + f"{number:04}" for number in range(64))
    weights = {f"rule-{number}": (1.234567890123,) * 65 for number in range(10)}
    fractions = [Counts(5400.123456789, 54.5, 600.123456789, n + 0.1) for n in range(121)]
    large = replace(baking(weighed(1, fractions), rules=10), standard=Standard(keys, weights))

    stored = rows.of_record(plan(), large)

    assert record.rollout_from_json(joined(stored, "rollout")) == large


def test_no_character_is_parted() -> None:
    """A piece ends before a letter of two units, wherever that falls."""
    for before in range(4):
        text = "a" * before + "😀" * 40_000
        assert joined(split("x", text), "x") == text
        assert {piece.encode() for piece in split("x", text).values()}
