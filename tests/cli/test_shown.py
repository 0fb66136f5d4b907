"""What `linnet show` prints: the last verdict's numbers, its sentence, its age, and advice."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from cli import shown
from controllers import views
from shared.core import judge
from shared.core.judge import Counts, Verdict
from tests.weighed import HARM, QUIET, RISK, one, seen, step


def printed(verdict: Verdict | None = None, **more: Any) -> list[str]:
    """The lines of a rollout with that verdict, at 100 columns."""
    found = {
        "name": "shop-2.4",
        "phase": "BAKING",
        "sentence": "Baking at [step] 2.",
        "verdict": views.explained(verdict),
        "history": [],
        "rows": 0,
        **more,
    }
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        for part in shown.rollout(found):
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


def cells(line: str) -> list[str]:
    """A table's line, taken apart where two spaces stand."""
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_rules_numbers_stand_in_two_lines_of_a_small_table() -> None:
    """The rollout with evidence of harm, this step with evidence of no harm."""
    lines = printed(one(seen([QUIET] * 9), step(sealed_before=8))[0])

    assert lines[0] == "shop-2.4 BAKING: Baking at [step] 2."
    assert cells(lines[1]) == ["rule", "canary", "stable", "ratio", "evidence", "blocks"]
    assert cells(lines[2]) == [
        *("errors", "1.0 % of 27000", "1.0 % of 27000", "1.0 (0.6 to 1.5)"),
        *("harm -6.2 of 4.6 needed", "9"),
    ]
    assert cells(lines[3]) == [
        *("this step", "1.0 % of 24000", "1.0 % of 24000", "no harm 6.9 of 3.7 needed", "8"),
    ]
    assert lines[4].startswith("pass: errors: it is no worse than 1.5 times stable, with evidence")


def test_the_lag_the_unit_and_advice_follow() -> None:
    """And the limits that were frozen; brackets in a text are shown as they are."""
    verdict = judge.weigh({"errors": seen([QUIET] * 4)}, step(unit="clients"), RISK)
    lines = printed(
        replace(verdict, lag_s=312.0),
        advice=[
            {"name": "cpu", "off": True, "sentence": "cpu [total] is 40 % over stable's"},
            {"name": "ram", "off": False, "sentence": "ram is as stable's"},
        ],
        thresholds_ms={"slow": 812.5},
    )

    text = "\n".join(lines)
    assert "The newest complete block ended 5.2 min before; counted are clients." in lines
    assert "advice: cpu [total] is 40 % over stable's" in lines
    assert "advice: ram is as stable's" in lines
    assert "slow means slower than 812 ms, which was frozen at the start" in text


def test_it_is_said_how_exposures_are_standardised() -> None:
    """A line for each rule: by which columns, or that they are of no use; else none."""
    lines = printed(strata=["ClientCity", "Name"], standardised={"errors": 5, "slow": None})

    assert lines[1:3] == [
        "errors: weighed by ClientCity, Name (5 strata), as stable's past foretold",
        "slow: strata by ClientCity, Name foretell nothing, exposures count as they are",
    ]
    assert not [line for line in printed() if "strata" in line]


def test_several_rules_share_their_evidence_of_harm_and_it_is_said() -> None:
    """Each has its two lines, and one line holds what decides."""
    rules = {"errors": seen([HARM] * 6), "slow": seen([QUIET] * 6)}

    lines = printed(judge.weigh(rules, step(), RISK))

    assert [line for line in lines if line.startswith("harm, all rules together: 12.0 of 4.6")]
    assert [cells(line)[0] for line in lines[2:6]] == ["errors", "this step", "slow", "this step"]


def test_a_rule_that_is_not_heard_yet_has_no_evidence_of_all_together() -> None:
    """Two bad events are none, and a number far below any would be read as one."""
    few = seen([Counts(9000, 90, 100, 1)] * 2)
    lines = printed(judge.weigh({"errors": few, "slow": few}, step(), RISK))
    assert [line for line in lines if line.startswith("harm, all rules together: none of 4.6")]
    assert "1000.0" not in "".join(lines)


def test_at_100_percent_the_rollout_says_what_was_counted_below() -> None:
    """Clients there, requests here."""
    at = step(final=True, unit_before="client visits")
    verdict = replace(one(seen([Counts(0, 0, 6000, 60)] * 4, 0.02), at)[0], lag_s=60.0)
    said = " ".join(" ".join(printed(verdict)).split())
    assert "counted are requests, client visits below 100 %." in said


def test_at_100_percent_the_objective_stands_where_no_comparison_can() -> None:
    """Stable serves nothing there, so a dash stands for it and for the ratio."""
    lines = printed(one(seen([Counts(0, 0, 6000, 60)] * 4, 0.02), step(final=True))[0])

    assert cells(lines[3])[1:3] == ["1.0 % of 24000", "-"]
    assert "above objective " in lines[3]


def test_before_anything_was_served_dashes_stand_for_it() -> None:
    """No share of nothing is printed."""
    lines = printed(one(judge.begin(0), step(next_share=None))[0])

    assert cells(lines[3]) == ["this step", "-", "-", "-", "0"]


def test_a_blind_verdict_without_rules_is_a_sentence() -> None:
    """There is no table to print."""
    lines = printed(judge.weigh({}, step(), RISK, blind="telemetry is late"))

    assert lines[1] == "blind: neither good nor bad can be said now: telemetry is late"


def test_a_rollout_without_a_verdict_has_its_sentence_and_history() -> None:
    """A rollout may take days, so that a line has its day."""
    row = {
        "at": "2026-11-22T10:00:01",
        "event": "HoldAsked",
        "before": "BAKING",
        "after": "HELD",
        "percent": 10.0,
        "sentence": "Held by ada: [odd].",
    }

    lines = printed(history=[row], rows=721)

    assert cells(lines[2]) == ["11-22 10:00:01", "HoldAsked", "10", "Held by ada: [odd]."]
    assert lines[3] == "720 more rows are kept, mostly looks: linnet history shop-2.4"
    assert len(lines) == 4


def test_an_older_records_evidence_stands_without_its_bound() -> None:
    """What it did not store is not made up."""
    lines = printed(replace(one(seen([QUIET] * 8))[0], pass_needed=None))

    assert "no harm 6.9 " in lines[3]


@pytest.mark.parametrize("events", [10, 600_000])
def test_a_line_fits_into_100_columns(events: int) -> None:
    """Whatever the counts of a usual service."""
    bins = [Counts(events, events / 100, events, events / 100)] * 5
    lines = printed(one(seen(bins))[0])

    assert lines[3].startswith("  this step ")
    assert all(len(line) <= 100 for line in lines[1:4])
