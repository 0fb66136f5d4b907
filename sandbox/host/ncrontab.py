"""When a timer is due: NCRONTAB's six fields, seconds first, in UTC.

The arithmetic is cronsim's. Two rules differ from cron and are set here as NCRONTAB has them:
day of month and day of week must BOTH match, and Sunday is 0 only. Accepted are `*`, `*/n`,
numbers, ranges and lists; five fields mean second 0. Month and day names, and cron's own `L`,
`W`, `#` and `?`, are refused. A time span ("00:05:00") is refused too: Azure takes it on
dedicated plans only.
"""

import re
from datetime import datetime

from cronsim import CronSim, CronSimError

_PART = r"(?:\*|\d+(?:-\d+)?)(?:/\d+)?"
_FIELD = re.compile(rf"{_PART}(?:,{_PART})*")
_SUNDAY_AS_SEVEN = re.compile(r"(?<![/\d])7(?!\d)")
_FIELDS = 6


class Schedule:
    """A parsed NCRONTAB expression."""

    def __init__(self, expression: str) -> None:
        """Raise ValueError when the expression is not one we understand."""
        fields = expression.split()
        if len(fields) == _FIELDS - 1:
            fields.insert(0, "0")
        if len(fields) != _FIELDS or not all(_FIELD.fullmatch(field) for field in fields):
            raise ValueError(f"not an NCRONTAB expression: {expression!r}")
        if _SUNDAY_AS_SEVEN.search(fields[-1]):
            raise ValueError(f"NCRONTAB's week days are 0 to 6: {expression!r}")
        self.expression = " ".join(fields)
        self._iterator(datetime(2000, 1, 1))  # noqa: DTZ001  # only parses

    def after(self, moment: datetime) -> datetime:
        """The first due time later than `moment`, in its time zone; ValueError if there is none."""
        try:
            return next(self._iterator(moment))
        except StopIteration:
            raise ValueError(f"never due: {self.expression!r}") from None

    def _iterator(self, moment: datetime) -> CronSim:
        try:
            times = CronSim(self.expression, moment)
        except CronSimError as error:
            raise ValueError(f"not an NCRONTAB expression: {self.expression!r}: {error}") from error
        times.day_and = True
        return times
