"""The text of the queries: a reviewed file, and what never becomes part of one."""

from pathlib import Path

import pytest

from shared.cloud import gauges, kql, kqltext
from shared.core.telemetry import Gauge, Rule, Standard
from shared.errors import RefusedError
from tests.contracts.shop import FIRST_BIN, question
from tests.contracts.shop import gauges as asked_gauges

CITY = ("ClientCity", "OperationName")
STANDARD = Standard(("Oslo | GET /", "it's | \\"), {"errors": (2.5, 0.05, 0.9)})
EVERY_KIND = (
    Rule("failed"),
    Rule("slow", slower_than_ms=250.5),
    Rule("p95", slower_than_quantile=0.95),
    Rule("code", result_code="5[0-9]+|4(08|29)"),
)
GOLDEN = Path(__file__).with_name("questions.kql")


def test_the_kql_is_the_one_that_was_reviewed() -> None:
    """Every change of the text sent to Azure shows up in a reviewed file."""
    asked = [
        question(),
        question(Rule("slow", slower_than_ms=250.5), column='Properties["it\'s"]', canary="o'k"),
        question(role="shop"),
        question(*EVERY_KIND, client="ClientIP", role="shop", step_bin=FIRST_BIN - 5),
        question(*EVERY_KIND, thresholds_ms={"p95": 812.3456}, client="Properties.user"),
        question(strata=CITY, standard=STANDARD),
        question(client="UserId", strata=CITY, standard=STANDARD),
    ]
    assert kql.merged(asked) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_the_kql_of_gauges_is_the_one_that_was_reviewed() -> None:
    """So does every change of the other query."""
    asked = asked_gauges(
        Gauge("cpu", "AppPerformanceCounters", "% Processor Time"),
        Gauge("queue", "AppMetrics", "it's long"),
        column="Properties.version",
        role="shop",
    )
    found = gauges.query(asked) + "\n"
    assert found == GOLDEN.with_name("gauges.kql").read_text(encoding="utf-8")


def test_a_limit_that_was_lost_is_not_asked_for_again() -> None:
    """Another quantile in the middle of a rollout would be another yardstick."""
    with pytest.raises(RefusedError, match="p95"):
        kql.merged([question(*EVERY_KIND, thresholds_ms={"p50": 1.0})])


def test_a_gauge_of_another_table_is_refused() -> None:
    """Nobody knows what a mean is there."""
    with pytest.raises(RefusedError, match="SigninLogs"):
        gauges.query(asked_gauges(Gauge("g", "SigninLogs | take 1", "m")))


@pytest.mark.parametrize(
    "column", ["", "Properties[x]", "Properties['a'] == 'b'", "a.b", "1a", "a b", "a\nb"]
)
def test_a_column_is_a_name_or_a_property(column: str) -> None:
    """Anything else is refused rather than pasted into a query."""
    with pytest.raises(RefusedError):
        kqltext.text_column(column)


def test_a_key_that_ends_its_bracket_early_is_still_only_a_key() -> None:
    """Quotes inside a key are escaped, so the key never ends before its end."""
    sly = "Properties['a'] == Properties['b']"
    assert kqltext.text_column(sly) == r"tostring(Properties['a\'] == Properties[\'b'])"
