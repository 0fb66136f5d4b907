"""How the demo tells decisions: with the numbers they rest on, readable at 100 columns."""

from typing import Any

import pytest
from rich.console import Console

from controllers import views
from sandbox.view import COLUMNS, decision, told_in_full
from sandbox.watch import Told, numbers
from shared.core.judge import Counts, Verdict
from tests.weighed import HARM, QUIET, one, seen, step

PASS = one(seen([QUIET] * 8))[0]
FAIL = one(seen([HARM] * 6))[0]
FINAL = one(seen([Counts(0, 0, 6000, 60)] * 4, 0.02), step(final=True))[0]
WATCHING = one(seen([QUIET] * 4), step(next_share=None))[0]


def row(verdict: Verdict | None, sentence: str | None = None) -> dict[str, Any]:
    """A history row that this verdict led to, unless another sentence is given."""
    said = f"{verdict.sentence}: going to step 3 of 6 (10 %)." if verdict else ""
    return {"verdict": views.explained(verdict), "sentence": said if sentence is None else sentence}


def told(of: dict[str, Any]) -> Told:
    return Told("shop", "12:00:01", "Ticked", "SHIFTING", 10, of["sentence"], "", numbers(of))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (PASS, "errors 1.0 (0.6 to 1.5), no harm 6.9 of 3.7 needed"),
        (FAIL, "errors 5.0 (3 to 10), harm 12.7 of 4.6 needed"),
        (FINAL, "errors no ratio, above objective -68.2 of 4.6 needed"),
        (WATCHING, "errors 1.0 (0.6 to 1.75), harm -4.2 of 4.6 needed"),
    ],
    ids=["pass", "fail", "at 100 %", "watching"],
)
def test_a_decision_names_its_rule_with_ratio_and_evidence(verdict: Verdict, said: str) -> None:
    """The evidence that the verdict asks for: of harm, of no harm, or against the objective."""
    assert numbers(row(verdict)) == said


def test_what_no_rule_decided_has_no_numbers() -> None:
    """An alert, a person, or a look whose sentence speaks of something else."""
    assert numbers(row(None, "Held by ada.")) == ""
    assert numbers(row(PASS, "canary endpoint is Degraded: taking all traffic off.")) == ""
    assert numbers(row(one(seen([QUIET] * 4), blind="late")[0])) == ""


@pytest.mark.parametrize("verdict", [PASS, FAIL, FINAL])
def test_a_decision_in_full_is_readable_at_100_columns(verdict: Verdict) -> None:
    """No line is longer, and no word is lost."""
    each = told(row(verdict))
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(told_in_full(each))
    lines = [line.rstrip() for line in capture.get().splitlines()]

    assert max(map(len, lines)) <= COLUMNS
    assert lines[0].split()[:5] == ["12:00:01", "shop", "SHIFTING", "10", "%"]
    assert lines[0].endswith(each.numbers)
    assert " ".join(" ".join(lines[1:]).split()) == each.sentence


def test_a_decision_in_one_line_begins_with_what_it_rests_on() -> None:
    """Where there is nothing, the sentence follows at once."""
    assert f"10 % {told(row(FAIL)).numbers}  errors: bad are " in decision(told(row(FAIL))).plain
    held = told(row(None, "Held by ada."))
    assert decision(held).plain.endswith("10 % Held by ada.")
