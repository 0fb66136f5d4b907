"""Rows of a query as answers: pure, and strict about what it takes.

A row that is not exactly what `kql.py` asks for makes its question's answer FAILED: a number
that was guessed could promote a canary.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from shared.cloud import kql
from shared.core.questions import Question
from shared.core.telemetry import Answer, ArmBin, BinSeen, Sight

_VERSIONS = (kql.STABLE, kql.CANARY)

# Beyond this a double counts in twos.
_MOST = 2**53
# Sums of doubles depend on their order by less than this share.
_ROUNDED = 1e-6

type Bins = dict[int, dict[str, ArmBin]]


class Row(Protocol):
    """A row of a result, read by the name of the column."""

    def __getitem__(self, column: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Arm:
    """How one arm is seen at all; `quantiles_ms` are by rule name."""

    rows: int
    newest_s: float
    lag_s: float | None
    keyless: int
    quantiles_ms: Mapping[str, float]


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
        number = whole(row["question"])
        if number >= count:
            raise ValueError(f"question {number} was not asked")
        mine[number].append(row)
    return mine


def _answer(question: Question, rows: Sequence[Row]) -> Answer:
    try:
        parts = _by_part(rows)
        arms = {row["arm"]: _arm(question, row) for row in parts[kql.ARMS]}
        bins = _bins(question, parts[kql.BINS])
        _add_clients(question, bins, parts[kql.CLIENTS])
        _hang_together(question, parts, arms, bins)
    except (ValueError, TypeError, KeyError) as error:
        return _unread(question, error)
    return _seen(question, arms, bins)


def _by_part(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    parts: dict[str, list[Row]] = {kql.BINS: [], kql.ARMS: [], kql.CLIENTS: []}
    for row in rows:
        parts[row["part"]].append(row)
    return parts


def _hang_together(
    question: Question, parts: Mapping[str, list[Row]], arms: Mapping[str, Arm], bins: Bins
) -> None:
    """Legs see the same rows: what one of them shows the others show too."""
    allowed = {*_VERSIONS, *({kql.UNLABELLED} if question.source.role else ())}
    if not arms.keys() <= allowed or len(arms) < len(parts[kql.ARMS]):
        raise ValueError(f"unexpected arms {', '.join(map(repr, arms))}")
    counted = {arm for by_arm in bins.values() for arm in by_arm}
    if counted != arms.keys() & set(_VERSIONS):
        raise ValueError("the parts of the answer speak of different arms")


def _seen(question: Question, arms: Mapping[str, Arm], bins: Bins) -> Answer:
    """The answer that was read; without a row of either version it is ABSENT."""
    versions = [arms[arm] for arm in _VERSIONS if arm in arms]
    rows = sum(arm.rows for arm in versions)
    nameless = arms[kql.UNLABELLED].rows if kql.UNLABELLED in arms else 0
    unlabelled = nameless / (rows + nameless) if nameless else 0.0
    if not versions:
        reason = "the workspace shows no request of either version in this window"
        return Answer(Sight.ABSENT, reason, to_bin=question.to_bin, unlabelled=unlabelled)
    lags = [arm.lag_s for arm in versions if arm.lag_s is not None]
    stable, canary = arms.get(kql.STABLE), arms.get(kql.CANARY)
    return Answer(
        Sight.SEEN,
        bins=tuple(
            BinSeen(index, by_arm.get(kql.STABLE), by_arm.get(kql.CANARY))
            for index, by_arm in sorted(bins.items())
        ),
        newest_s=max(arm.newest_s for arm in versions),
        to_bin=question.to_bin,
        newest_of=(stable.newest_s if stable else None, canary.newest_s if canary else None),
        lag_s=max(lags) if len(lags) == len(versions) else None,
        unlabelled=unlabelled,
        keyless=sum(arm.keyless for arm in versions) / rows,
        quantiles_ms=stable.quantiles_ms if stable and kql.quantiles(question) else None,
    )


def _arm(question: Question, row: Row) -> Arm:
    limits = {rule.name: _told(row[f"quantile_{n}"]) for n, rule in kql.quantiles(question)}
    lag_s, bad_lag_s = _told(row["lag_s"]), _told(row["bad_lag_s"])
    found = Arm(
        rows=whole(row["row_count"]),
        newest_s=_time_s(row["newest"]),
        lag_s=None if lag_s is None else max(lag_s, bad_lag_s or 0.0),
        keyless=whole(row["keyless"]) if question.source.client else 0,
        quantiles_ms={name: limit for name, limit in limits.items() if limit is not None},
    )
    if not found.keyless <= found.rows > 0:
        raise ValueError("more requests without a client than requests, or none at all")
    return found


def _bins(question: Question, rows: Sequence[Row]) -> Bins:
    bins: Bins = defaultdict(dict)
    for row in rows:
        index, arm = _place(question, row)
        if arm in bins[index]:
            raise ValueError(f"two rows of arm {arm!r} in bin {index}")
        bins[index][arm] = _arm_bin(question, row)
    return bins


def _place(question: Question, row: Row) -> tuple[int, str]:
    """The bin and the arm that a row is about."""
    index, arm = whole(row["bin_start"]) // question.bin_s, row["arm"]
    if arm not in _VERSIONS:
        raise ValueError(f"an unexpected row of arm {arm!r}")
    if not question.from_bin <= index < question.to_bin:
        raise ValueError(f"bin {index} was not asked for")
    return index, arm


def _arm_bin(question: Question, row: Row) -> ArmBin:
    numbers = range(len(question.rules))
    none = tuple(0 for _ in numbers) if question.source.client else ()
    found = ArmBin(
        items=amount(row["items"]),
        rows=whole(row["row_count"]),
        bad=tuple(amount(row[f"bad_{n}"]) for n in numbers),
        bad_rows=tuple(whole(row[f"bad_rows_{n}"]) for n in numbers),
        clients=none,
        bad_clients=none,
        exposed=tuple(float(n) for n in none) or _exposed(question, row),
        squares=amount(row["squares"], most=_MOST**2),
    )
    if found.squares * found.rows < found.items**2 * (1 - _ROUNDED):
        raise ValueError("rows cannot stand for so many requests and for so few squared")
    if any(bad > found.items for bad in found.bad) or any(n > found.rows for n in found.bad_rows):
        raise ValueError("more bad requests than requests")
    return found


def _add_clients(question: Question, bins: Bins, rows: Sequence[Row]) -> None:
    """Put the clients' counts beside the requests of the same arm and bin."""
    met = set()
    for row in rows:
        index, arm = place = _place(question, row)
        if place in met or not question.source.client:
            raise ValueError(f"unexpected clients of arm {arm!r} in bin {index}")
        met.add(place)
        bins[index][arm] = _with_clients(question, bins[index][arm], row)


def _exposed(question: Question, row: Row) -> tuple[float, ...]:
    """What the requests or clients of a bin count for by their strata."""
    if not kql.standardised(question):
        return ()
    return tuple(amount(row[f"exposed_{n}"]) for n, _ in enumerate(question.rules))


def _with_clients(question: Question, found: ArmBin, row: Row) -> ArmBin:
    numbers = range(len(found.bad))
    clients = tuple(whole(row[f"clients_{n}"]) for n in numbers)
    bad_clients = tuple(whole(row[f"bad_clients_{n}"]) for n in numbers)
    if any(clients[n] > found.rows for n in numbers):
        raise ValueError("more clients than requests")
    if any(bad_clients[n] > min(clients[n], found.bad_rows[n]) for n in numbers):
        raise ValueError("more bad clients than clients or bad requests")
    exposed = _exposed(question, row)
    return replace(found, clients=clients, bad_clients=bad_clients, exposed=exposed)


def _told(value: object) -> float | None:
    """An amount, or None: of nothing Kusto says null or NaN. Clocks that differ make no time."""
    if value is None or value == "NaN" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int | float) and value < 0:
        return 0.0
    return amount(value)


def amount(value: object, most: float = _MOST) -> float:
    """A number of things, not negative. Raises TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    if not 0 <= value <= most:
        raise ValueError(f"{value!r} is not an amount")
    return float(value)


def whole(value: object) -> int:
    """A count. Raises TypeError or ValueError for anything else."""
    found = amount(value)
    if not found.is_integer():
        raise ValueError(f"{value!r} is not a whole number")
    return int(found)


def _time_s(value: object) -> float:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{value!r} is not a time")
    return value.timestamp()


def _unread(question: Question, error: Exception) -> Answer:
    reason = f"the answer of Log Analytics could not be understood: {error}"
    return Answer(Sight.FAILED, reason, to_bin=question.to_bin)
