"""When timers are due."""

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.host.ncrontab import Schedule

_START = datetime(2026, 11, 22, 10, 0, 30, 250_000, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("0 * * * * *", "2026-11-22T10:01:00"),
        ("*/15 * * * * *", "2026-11-22T10:00:45"),
        ("0 */5 * * * *", "2026-11-22T10:05:00"),
        ("10,40 * * * * *", "2026-11-22T10:00:40"),
        ("5-8 * * * * *", "2026-11-22T10:01:05"),
        ("0 30 9 * * *", "2026-11-23T09:30:00"),
        ("0 0 9 * * 1-5", "2026-11-23T09:00:00"),
        ("0 0 9 1,15 */2 *", "2027-01-01T09:00:00"),
        ("0 0-30/10 10 * * *", "2026-11-22T10:10:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
        ("*/5 * * * *", "2026-11-22T10:05:00"),
    ],
)
def test_the_next_time_is_the_first_that_all_fields_allow(expression: str, due: str) -> None:
    assert Schedule(expression).after(_START) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    """Cron would take either; NCRONTAB's next Friday the 13th is months away."""
    due = Schedule("0 0 0 13 * 5").after(_START)
    assert due == datetime(2027, 8, 13, tzinfo=UTC)


def test_a_due_time_is_followed_by_the_next_one() -> None:
    schedule = Schedule("*/2 * * * * *")
    first = schedule.after(_START)
    assert schedule.after(first) - first == timedelta(seconds=2)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * * *",
        "0 0 0 * 13 *",
        "0 0 0 * * 7",
        "0 0 0 L * *",
        "0 0 0 * * MON",
        "0 0 0 * * 1#2",
        "*/0 * * * * *",
        "8-5 * * * * *",
        "00:05:00",
        "%TICK_SCHEDULE%",
    ],
)
def test_what_is_no_ncrontab_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="NCRONTAB"):
        Schedule(expression)


def test_a_date_that_never_comes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"NCRONTAB|never"):
        Schedule("0 0 0 31 2 *").after(_START)
