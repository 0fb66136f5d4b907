"""The words of KQL: how names, values and times become part of a query, or are refused.

Nothing that comes from a plan is pasted in as it is. Pure: text in, text out.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from shared.errors import RefusedError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_DOTTED = re.compile(r"Properties\.([A-Za-z_][A-Za-z0-9_]{0,127})")
_INDEXED = re.compile(r"""Properties\[(?P<quote>['"])(?P<key>.{1,150})(?P=quote)\]""")
_ESCAPES = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_MAX_LITERAL = 1024
_STRATUM_CHARS = 200
# Application Insights masks the addresses of users unless it is told not to.
_MASKED_IP = "0.0.0.0"  # noqa: S104  # nobody listens here


def union(pipelines: Sequence[str]) -> str:
    """Several pipelines as one query."""
    return "union\n" + ",\n".join(f"({pipeline})" for pipeline in pipelines)


def lines(parts: Sequence[str]) -> str:
    """Parts of a list, one below the other."""
    return ",\n    ".join(parts)


def span(since_s: int, until_s: int) -> tuple[datetime, datetime]:
    """A span of time as moments. Raises ValueError or OverflowError beyond all calendars."""
    return datetime.fromtimestamp(since_s, UTC), datetime.fromtimestamp(until_s, UTC)


def between(since_s: int, until_s: int) -> str:
    """A span of time as a condition: from a moment (inclusive) to another (exclusive)."""
    since, until = span(since_s, until_s)
    return f"TimeGenerated >= {moment(since)} and TimeGenerated < {moment(until)}"


def bin_start(bin_s: int) -> str:
    """When a row's bin begins, in seconds since the epoch."""
    return f"bin(datetime_diff('second', TimeGenerated, datetime(1970-01-01)), {bin_s})"


def moment(at: datetime) -> str:
    """A time as a KQL literal."""
    return f"datetime({at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})"


def literal(text: str) -> str:
    """Any text as a KQL string literal. Raises RefusedError when it is no text for people."""
    if len(text) > _MAX_LITERAL or any(_is_control(character) for character in text):
        raise RefusedError("a text of the plan is too long or holds control characters")
    return "'" + "".join(_ESCAPES.get(character, character) for character in text) + "'"


def text_column(column: str) -> str:
    """A column name, `Properties.key` or `Properties['key']` as a KQL string expression.

    Raises RefusedError for anything else.
    """
    found = _DOTTED.fullmatch(column)
    if found:
        return f"tostring(Properties[{literal(found[1])}])"
    found = _INDEXED.fullmatch(column)
    if found:
        return f"tostring(Properties[{literal(found['key'])}])"
    return name_of(column, "column")


def client_key(column: str) -> str:
    """Who a row's user is, as a KQL string expression; empty where nobody can tell."""
    key = text_column(column)
    return f"iff({key} == '{_MASKED_IP}', '', {key})" if column == "ClientIP" else key


def stratum_of(columns: Sequence[str]) -> str:
    """What columns say of a row, as one text in KQL. Raises RefusedError for what is no column."""
    parts = ", ' | ', ".join(text_column(column) for column in columns)
    return f"substring(strcat({parts}), 0, {_STRATUM_CHARS})"


def name_of(text: str, what: str) -> str:
    """A bare name. Raises RefusedError when it is none."""
    if not _NAME.fullmatch(text):
        raise RefusedError(f"{text[:80]!r} cannot be the name of a {what}")
    return text


def real(value: float, decimals: int = 3) -> str:
    """A number with decimals. Raises RefusedError when it is none."""
    if not math.isfinite(value):
        raise RefusedError(f"{value} is no number")
    return f"{value:.{decimals}f}"


def _is_control(character: str) -> bool:
    return not character.isprintable() and character not in _ESCAPES and character != "\u00a0"
