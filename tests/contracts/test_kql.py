"""The text of the queries: a reviewed file, and what never becomes part of one."""

from pathlib import Path

import pytest

from shared.cloud import kql
from shared.core.telemetry import Rule
from shared.errors import RefusedError
from tests.contracts.shop import question

GOLDEN = Path(__file__).with_name("questions.kql")


def test_the_kql_is_the_one_that_was_reviewed() -> None:
    """Every change of the text sent to Azure shows up in a reviewed file."""
    asked = [
        question(),
        question(Rule("slow", slower_than_ms=250.5), column='Properties["it\'s"]', canary="o'k"),
        question(role="shop"),
    ]
    assert kql.merged(asked) + "\n" == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "column", ["", "Properties[x]", "Properties['a'] == 'b'", "a.b", "1a", "a b", "a\nb"]
)
def test_a_column_is_a_name_or_a_property(column: str) -> None:
    """Anything else is refused rather than pasted into a query."""
    with pytest.raises(RefusedError):
        kql.arm_column(column)


def test_a_key_that_ends_its_bracket_early_is_still_only_a_key() -> None:
    """Quotes inside a key are escaped, so the key never ends before its end."""
    sly = "Properties['a'] == Properties['b']"
    assert kql.arm_column(sly) == r"tostring(Properties['a\'] == Properties[\'b'])"
