"""Gauges as KQL, and their rows as levels. Pure.

A gauge is a mean per arm and bin, of its own table; all gauges of a question are one query, apart
from the evidence, so that a table which isn't there takes no evidence away.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from shared.cloud.answers import Row, whole
from shared.cloud.kql import CANARY, STABLE
from shared.cloud.kqltext import between, bin_start, literal, text_column, union
from shared.core.questions import LevelQuestion
from shared.core.telemetry import Gauge, Level, Levels, Sight
from shared.errors import RefusedError

# A counter's row is one reading; a metric's row stands for ItemCount readings with their sum.
_MEANS = {
    "AppPerformanceCounters": "avg(Value)",
    "AppMetrics": "sum(Sum) / toreal(sum(ItemCount))",
}


def query(question: LevelQuestion) -> str:
    """All gauges of a question; a row's `gauge` is the index. Raises RefusedError as kql does."""
    return union([_pipeline(question, gauge, n) for n, gauge in enumerate(question.source.gauges)])


def read(question: LevelQuestion, rows: Sequence[Row]) -> Levels:
    """The levels by gauge; a row that was not asked for makes them all FAILED."""
    if not rows:
        return Levels(Sight.ABSENT, "no gauge of either version was reported in this window")
    try:
        found = _by_gauge(question, rows)
    except (ValueError, TypeError, LookupError) as error:
        return Levels(Sight.FAILED, f"the gauges could not be understood: {error}")
    return Levels(Sight.SEEN, by_gauge=found)


def _by_gauge(question: LevelQuestion, rows: Sequence[Row]) -> dict[str, tuple[Level, ...]]:
    names = [gauge.name for gauge in question.source.gauges]
    found: dict[str, dict[int, dict[str, float | None]]] = {
        each: defaultdict(dict) for each in names
    }
    for row in rows:
        bins = found[names[whole(row["gauge"])]]
        index, arm = _bin(question, row), row["arm"]
        if arm not in {STABLE, CANARY} or arm in bins[index]:
            raise ValueError(f"an unexpected row of arm {arm!r}")
        bins[index][arm] = _level(row["level"])
    return {
        name: tuple(
            Level(index, arms.get(STABLE), arms.get(CANARY)) for index, arms in sorted(bins.items())
        )
        for name, bins in found.items()
    }


def _pipeline(question: LevelQuestion, gauge: Gauge, number: int) -> str:
    arms, role, bin_s = question.source.arms, question.source.role, question.bin_s
    if gauge.table not in _MEANS:
        raise RefusedError(f"{gauge.table[:80]!r} is no table of gauges")
    column, canary = text_column(arms.column), literal(arms.canary)
    only = "" if role is None else f"\n| where AppRoleName == {literal(role)}"
    return f"""{gauge.table}
| where {between(question.from_bin * bin_s, question.to_bin * bin_s)}
| where {column} == {literal(arms.stable)} or {column} == {canary}{only}
| where Name == {literal(gauge.metric)}
| summarize level = {_MEANS[gauge.table]}
    by arm = iff({column} == {canary}, '{CANARY}', '{STABLE}'),
    bin_start = {bin_start(bin_s)}
| project gauge = {number}, arm, bin_start, level"""


def _bin(question: LevelQuestion, row: Row) -> int:
    index = whole(row["bin_start"]) // question.bin_s
    if not question.from_bin <= index < question.to_bin:
        raise ValueError(f"bin {index} was not asked for")
    return index


def _level(value: object) -> float | None:
    """A mean, or None: of nothing Kusto says null or NaN, and JSON has no NaN."""
    if value is None or value == "NaN":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise ValueError(f"{value!r} is not a level")
    return float(value)
