"""Questions as KQL. Pure: text in, text out.

One question is one pipeline over its table; several of the same workspace are one `union` whose
`question` column tells them apart. Rules:
- Nothing from a plan is pasted in as it is: values are escaped literals, names are checked.
- A sampled row stands for ItemCount requests: requests are sums of it, rows are counted beside.
- Synthetic traffic (availability tests, bots) is left out, and strings are compared exactly.
- Columns have one type each (`toreal`, `count`), or `union` would split them by type.
- Bins are counted from the epoch: Kusto's own `bin` of a datetime starts in the year 1, which
  differs for lengths that do not divide a day.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from shared.core.questions import Question
from shared.core.telemetry import Rule
from shared.errors import RefusedError

STABLE, CANARY = "stable", "canary"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_DOTTED = re.compile(r"Properties\.([A-Za-z_][A-Za-z0-9_]{0,127})")
_INDEXED = re.compile(r"""Properties\[(?P<quote>['"])(?P<key>.{1,150})(?P=quote)\]""")
_ESCAPES = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_MAX_LITERAL = 1024


def merged(questions: Sequence[Question]) -> str:
    """One query for all of them; each row's `question` is the index here.

    Raises RefusedError for a name or a value that cannot be part of a query.
    """
    legs = [pipeline(question, number) for number, question in enumerate(questions)]
    if len(legs) == 1:
        return legs[0]
    return "union\n" + ",\n".join(f"({leg})" for leg in legs)


def pipeline(question: Question, number: int) -> str:
    """One question's rows: its number, arm and bin, then what was counted there."""
    arms = question.source.arms
    column, stable, canary = arm_column(arms.column), literal(arms.stable), literal(arms.canary)
    since, until = window([question])
    role = question.source.role
    only = "" if role is None else f"\n| where AppRoleName == {literal(role)}"
    counted = ",\n    ".join(
        ["items = sum(ItemCount)", "row_count = count()", "newest = max(TimeGenerated)"]
        + [_bad(rule, n) for n, rule in enumerate(question.rules)]
    )
    shown = "".join(
        f", bad_{n} = toreal(bad_{n}), bad_rows_{n}" for n, _ in enumerate(question.rules)
    )
    return f"""{_name(question.source.table, "table")}
| where TimeGenerated >= {moment(since)} and TimeGenerated < {moment(until)}
| where {column} == {stable} or {column} == {canary}{only}
| where isempty(SyntheticSource)
| summarize
    {counted}
    by arm = iff({column} == {canary}, '{CANARY}', '{STABLE}'),
    bin_start = bin(datetime_diff('second', TimeGenerated, datetime(1970-01-01)), {question.bin_s})
| project question = {number}, arm, bin_start, items = toreal(items), row_count, newest{shown}"""


def window(questions: Sequence[Question]) -> tuple[datetime, datetime]:
    """From the first bin's start (inclusive) to the last bin's end (exclusive) of them all."""
    since = min(question.from_bin * question.bin_s for question in questions)
    until = max(question.to_bin * question.bin_s for question in questions)
    return datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC)


def moment(at: datetime) -> str:
    """A time as a KQL literal."""
    return f"datetime({at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})"


def literal(text: str) -> str:
    """Any text as a KQL string literal. Raises RefusedError when it is no text for people."""
    if len(text) > _MAX_LITERAL or any(_is_control(character) for character in text):
        raise RefusedError("a version label is too long or holds control characters")
    return "'" + "".join(_ESCAPES.get(character, character) for character in text) + "'"


def arm_column(column: str) -> str:
    """A column name, `Properties.key` or `Properties['key']` as a KQL string expression.

    Raises RefusedError for anything else.
    """
    found = _DOTTED.fullmatch(column)
    if found:
        return f"tostring(Properties[{literal(found[1])}])"
    found = _INDEXED.fullmatch(column)
    if found:
        return f"tostring(Properties[{literal(found['key'])}])"
    return _name(column, "column")


def _name(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        raise RefusedError(f"{text[:80]!r} cannot be the name of a {what}")
    return text


def _bad(rule: Rule, number: int) -> str:
    met = "Success == false"
    if rule.slower_than_ms is not None:
        met = f"DurationMs > {_real(rule.slower_than_ms)}"
    return f"bad_{number} = sumif(ItemCount, {met}), bad_rows_{number} = countif({met})"


def _real(value: float) -> str:
    if not math.isfinite(value):
        raise RefusedError(f"{value} is no duration")
    return f"{value:.3f}"


def _is_control(character: str) -> bool:
    return not character.isprintable() and character not in _ESCAPES and character != "\u00a0"
