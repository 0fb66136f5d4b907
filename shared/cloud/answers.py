"""Rows of a query as answers: pure, and strict about what it takes.

A row that is not exactly what `kql.py` asks for makes its question's answer FAILED: a number
that was guessed could promote a canary.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from shared.cloud import kql
from shared.core.questions import Question
from shared.core.telemetry import Answer, ArmBin, BinSeen, Sight

type Bins = dict[int, dict[str, ArmBin]]


class Row(Protocol):
    """A row of a result, read by the name of the column."""

    def __getitem__(self, column: str) -> Any: ...


def sort(questions: Sequence[Question], rows: Sequence[Row]) -> list[Answer]:
    """Each question's answer, from the rows of all of them."""
    try:
        mine = _by_question(len(questions), rows)
    except (ValueError, TypeError, KeyError) as error:
        return [_unread(question, error) for question in questions]
    return [_answer(question, mine[n]) for n, question in enumerate(questions)]


def _by_question(count: int, rows: Sequence[Row]) -> dict[int, list[Row]]:
    mine: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        number = _whole(row["question"])
        if number >= count:
            raise ValueError(f"question {number} was not asked")
        mine[number].append(row)
    return mine


def _answer(question: Question, rows: Sequence[Row]) -> Answer:
    if not rows:
        reason = "the workspace shows no request of either version in this window"
        return Answer(Sight.ABSENT, reason, to_bin=question.to_bin)
    try:
        return Answer(
            Sight.SEEN,
            bins=_bins(question, rows),
            newest_s=max(_time_s(row["newest"]) for row in rows),
            to_bin=question.to_bin,
        )
    except (ValueError, TypeError, KeyError) as error:
        return _unread(question, error)


def _bins(question: Question, rows: Sequence[Row]) -> tuple[BinSeen, ...]:
    bins: Bins = defaultdict(dict)
    for row in rows:
        index, arm = _whole(row["bin_start"]) // question.bin_s, row["arm"]
        if arm not in {kql.STABLE, kql.CANARY} or arm in bins[index]:
            raise ValueError(f"an unexpected row of arm {arm!r}")
        if not question.from_bin <= index < question.to_bin:
            raise ValueError(f"bin {index} was not asked for")
        bins[index][arm] = _arm_bin(question, row)
    return tuple(
        BinSeen(index, arms.get(kql.STABLE), arms.get(kql.CANARY))
        for index, arms in sorted(bins.items())
    )


def _arm_bin(question: Question, row: Row) -> ArmBin:
    numbers = range(len(question.rules))
    found = ArmBin(
        items=_amount(row["items"]),
        rows=_whole(row["row_count"]),
        bad=tuple(_amount(row[f"bad_{n}"]) for n in numbers),
        bad_rows=tuple(_whole(row[f"bad_rows_{n}"]) for n in numbers),
    )
    if any(bad > found.items for bad in found.bad) or any(n > found.rows for n in found.bad_rows):
        raise ValueError("more bad requests than requests")
    return found


def _amount(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is not an amount")
    return float(value)


def _whole(value: object) -> int:
    amount = _amount(value)
    if not amount.is_integer():
        raise ValueError(f"{value!r} is not a whole number")
    return int(amount)


def _time_s(value: object) -> float:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{value!r} is not a time")
    return value.timestamp()


def _unread(question: Question, error: Exception) -> Answer:
    reason = f"the answer of Log Analytics could not be understood: {error}"
    return Answer(Sight.FAILED, reason, to_bin=question.to_bin)
