"""How values travel between JSON, Kusto and DuckDB for `logs.py`: pure functions and tables."""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sandbox.clock import iso, parse_iso

type Row = Mapping[str, Any]
type Delay = Callable[[Row], float]

_SHARED: Final = """
AppRoleInstance AppRoleName AppVersion ClientBrowser ClientCity ClientCountryOrRegion ClientIP
ClientModel ClientOS ClientStateOrProvince ClientType IKey _IsBillable Name OperationId
OperationName ParentId ResourceGUID _ResourceId SDKVersion SessionId SourceSystem _SubscriptionId
SyntheticSource TenantId Type UserAccountId UserAuthenticatedId UserId
""".split()  # noqa: SIM905  # a list would be 30 lines long
_EVERY: Final = {
    **dict.fromkeys(_SHARED, "string"),
    "_BilledSize": "real",
    "Properties": "dynamic",
    "TimeGenerated": "datetime",
}
_OF_REQUESTS: Final = ("Id", "ReferencedItemId", "ReferencedType", "ResultCode", "Source", "Url")
TABLES: Final[dict[str, dict[str, str]]] = {
    "AppRequests": {
        **_EVERY,
        **dict.fromkeys(_OF_REQUESTS, "string"),
        "DurationMs": "real",
        "ItemCount": "int",
        "Measurements": "dynamic",
        "Success": "bool",
    },
    "AppPerformanceCounters": {
        **_EVERY,
        **dict.fromkeys(("Category", "Counter", "Instance"), "string"),
        "Value": "real",
    },
    "AppMetrics": {
        **_EVERY,
        **dict.fromkeys(("Max", "Min", "Sum"), "real"),
        "ItemCount": "int",
    },
}
"""The columns of each table and their Kusto types, as documented in 2024."""

_SQL_OF: Final = {
    "string": "VARCHAR",
    "real": "DOUBLE",
    "int": "INTEGER",
    "dynamic": "JSON",
    "datetime": "TIMESTAMP",
    "bool": "BOOLEAN",
}
STORED: Final = {
    table: {name: _SQL_OF[kind] for name, kind in columns.items()}
    | {"_workspace": "VARCHAR", "_ingested": "TIMESTAMP"}
    for table, columns in TABLES.items()
}
"""The columns of the table behind each, and their DuckDB types."""

_DEFAULT: Final[dict[str, Any]] = {
    "string": "",
    "real": 0.0,
    "int": 1,
    "dynamic": "{}",
    "datetime": None,
    "bool": True,
}
_DEFAULTS: Final[dict[str, Any]] = {
    "_BilledSize": 1000.0,
    "_IsBillable": "true",
    "SourceSystem": "Azure",
}
_KUSTO_OF: Final = {
    "VARCHAR": "string",
    "DOUBLE": "real",
    "FLOAT": "real",
    "INTEGER": "int",
    "SMALLINT": "int",
    "TINYINT": "int",
    "BIGINT": "long",
    "HUGEINT": "long",
    "UBIGINT": "long",
    "UHUGEINT": "long",
    "BOOLEAN": "bool",
    "TIMESTAMP": "datetime",
    "TIMESTAMP WITH TIME ZONE": "datetime",
    "DATE": "datetime",
    "INTERVAL": "timespan",
    "UUID": "guid",
}


def stored(table: str, row: Row, workspace: str, ingested: datetime) -> list[Any]:
    """*row* as a list in the order of `STORED`, with defaults. Raises KeyError, ValueError."""
    columns = TABLES[table]
    for name in row:
        if name not in columns:
            raise KeyError(name)
    usual = {**_DEFAULTS, "TenantId": workspace, "Type": table}
    cells = {name: usual.get(name, _DEFAULT[kind]) for name, kind in columns.items()} | {**row}
    values = [_cell(name, kind, cells[name]) for name, kind in columns.items()]
    return [*values, workspace, naive(ingested)]


def _cell(name: str, kind: str, value: Any) -> Any:
    match kind, value:
        case "datetime", str():
            return naive(parse_iso(value))
        case "datetime", datetime() if value.tzinfo:
            return naive(value)
        case "dynamic", dict() | list():
            return json.dumps(value)
        case "string", str() | None:
            return value or ""
        case "real" | "int" | "bool" | "dynamic", _ if value is None or _fits(kind, value):
            return value
    raise ValueError(f"{value!r} does not fit into {name}, a {kind}")


def _fits(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    wanted = {"real": (int, float), "int": (int,), "dynamic": (str,)}
    return isinstance(value, wanted.get(kind, ()))


def naive(moment: datetime) -> datetime:
    """*moment* as DuckDB's TIMESTAMP holds it: in UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def kusto_type(sql_type: str) -> str:
    """The Kusto type that a result column of *sql_type* is announced as."""
    if sql_type.startswith("DECIMAL"):
        return "decimal"
    return _KUSTO_OF.get(sql_type, "dynamic")


def plain(cell: Any) -> Any:
    """A result cell as the logs API writes it into JSON."""
    match cell:
        case float() if not math.isfinite(cell):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(cell)]
        case None | str() | int() | float():
            return cell
        case datetime():
            return iso(cell if cell.tzinfo else cell.replace(tzinfo=UTC))
        case date() | timedelta():
            return _timespan(cell) if isinstance(cell, timedelta) else f"{cell}T00:00:00Z"
        case Decimal() | UUID():
            return str(cell)
    return json.dumps(cell, default=plain)


def _timespan(span: timedelta) -> str:
    """Kusto's `[-][d.]hh:mm:ss[.fffffff]`."""
    sign, span = ("-", -span) if span < timedelta() else ("", span)
    hours, rest = divmod(span.seconds, 3600)
    clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    days = f"{span.days}." if span.days else ""
    part = f".{span.microseconds:06}0" if span.microseconds else ""
    return f"{sign}{days}{clock}{part}"


_DURATION: Final = re.compile(
    r"P(?:(?P<days>[\d.]+)D)?"
    r"(?:T(?:(?P<hours>[\d.]+)H)?(?:(?P<minutes>[\d.]+)M)?(?:(?P<seconds>[\d.]+)S)?)?"
)


def parse_timespan(text: str | None, now: datetime) -> tuple[datetime, datetime] | None:
    """Read a `timespan`: `start/end`, `start/duration`, or a duration up to *now*.

    Raises ValueError when it is none of these.
    """
    if not text:
        return None
    first, slash, second = text.partition("/")
    if not slash:
        return now - _duration(first), now
    since = parse_iso(first)
    return since, since + _duration(second) if second.startswith("P") else parse_iso(second)


def _duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    return timedelta(**{unit: float(part) for unit, part in found.groupdict().items() if part})
