"""A stand-in for a Log Analytics workspace with some of Application Insights' tables, in DuckDB.

KQL runs unchanged, translated by duckdb-kql. Rules:
- `ingestion_time()`, which duckdb-kql does not know, is read as a hidden column that holds the
  moment at which a row could first be seen; only queries that call it can see that column.
- A row is seen only from its ingestion time on, which is the clock plus a delay.
- String columns hold '' and never NULL, since a Kusto string is never null.
- All DuckDB work is done by one worker thread; the event loop never waits for it.
- Rows older than the retention are dropped, so memory is bounded.

It proves that our queries parse, mean what we think, and that their callers cope with data that
comes late or not at all. It does NOT prove that Kusto gives the same result, plan or speed:
`dcount` is exact here, sampling is what the rows say, and only some operators are translated.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import duckdb_kql

from sandbox.clock import Clock, utc_now
from sandbox.logs_values import (
    STORED,
    Delay,
    Row,
    kusto_type,
    naive,
    parse_timespan,
    plain,
    stored,
)

FLUSH_ROWS: Final = 500
MAX_BATCH_ROWS: Final = 20_000
MAX_RESULT_ROWS: Final = 500_000
MAX_DELAY_S: Final = 7 * 24 * 3600.0
# String literals are passed over: what a label says is no call.
_CALL: Final = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|\bingestion_time\(\)""")
_INGESTED: Final = "_ingested"


@dataclass(frozen=True, slots=True)
class Table:
    """The result of one query: column names, their Kusto types, JSON-ready rows."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: list[list[Any]]
    cut: bool = False


class BadQuery(Exception):  # noqa: N818  # it is the query that is bad
    """KQL that cannot be run: its kind, the words, and where, if known."""

    def __init__(self, code: str, message: str, line: int = 0, pos: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.line = line
        self.pos = pos


def _with_column(kql: str) -> str:
    """The query with its calls of ingestion_time() as the hidden column."""
    return _CALL.sub(lambda found: found[1] or _INGESTED, kql)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class WorkspaceLogs:
    """The workspaces, their rows, and queries over them.

    `ingestion_delay_s` may be set at any time: seconds, or a function of the row.
    """

    def __init__(
        self, workspaces: Iterable[str], *, clock: Clock = utc_now, retention_s: float = 7200.0
    ) -> None:
        self.workspaces = {name.lower() for name in workspaces}
        self.ingestion_delay_s: float | Delay = 0.0
        self._clock = clock
        self._retention = timedelta(seconds=retention_s)
        self._pruned = clock()
        self._pending: dict[str, list[list[Any]]] = defaultdict(list)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="duckdb")
        self._base = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "1GB"})
        self._base.execute("SET enable_external_access = false")
        self._base.execute("CREATE SCHEMA hidden")
        for table, columns in STORED.items():
            # Under a name of its own: duckdb-kql looks columns up by name, whatever the schema.
            fields = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
            self._base.execute(f"CREATE TABLE hidden.all_{table} ({fields})")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._run(self._base.close)
        self._worker.shutdown(wait=False)

    async def add(
        self,
        workspace: str,
        rows: Sequence[Row],
        *,
        table: str = "AppRequests",
        delay_s: float | None = None,
    ) -> None:
        """Take a batch of rows; each is seen `delay_s` from now, or by `ingestion_delay_s`.

        A row gives the columns it cares for; `TimeGenerated` (aware datetime or ISO text) is
        required. Raises KeyError for an unknown workspace, table or column, ValueError for bad
        values.
        """
        if workspace.lower() not in self.workspaces:
            raise KeyError(workspace)
        if len(rows) > MAX_BATCH_ROWS:
            raise ValueError(f"at most {MAX_BATCH_ROWS} rows in one batch")
        now = self._clock()
        made = [
            stored(table, row, workspace.lower(), now + self._delay(row, delay_s)) for row in rows
        ]
        self._pending[table] += made
        if len(self._pending[table]) >= FLUSH_ROWS:
            await self._run(self._prune)

    async def query(
        self, workspaces: Sequence[str], kql: str, timespan: str | None = None
    ) -> Table | None:
        """Run *kql* over what has been ingested; None when there is nothing at all.

        *timespan* is an ISO 8601 interval or a duration up to now. Raises KeyError for an
        unknown workspace, BadQuery for KQL that cannot be run.
        """
        names = [name.lower() for name in workspaces]
        for name in names:
            if name not in self.workspaces:
                raise KeyError(name)
        now = self._clock()
        span = parse_timespan(timespan, now)
        return await self._run(lambda: self._query(names, kql, span, now))

    async def count(self) -> int:
        """How many rows are held, seen or not."""
        return await self._run(self._count)

    # --- inside: `_run` hands work and what is pending to the worker thread, in order

    async def _run[T](self, work: Callable[[], T]) -> T:
        pending, self._pending = self._pending, defaultdict(list)

        def insert_then_work() -> T:
            for table, rows in pending.items():
                self._insert(table, rows)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._worker, insert_then_work)

    def _delay(self, row: Row, delay_s: float | None) -> timedelta:
        rule = self.ingestion_delay_s if delay_s is None else delay_s
        return timedelta(seconds=min(MAX_DELAY_S, rule(row) if callable(rule) else rule))

    def _insert(self, table: str, rows: list[list[Any]]) -> None:
        """Insert *rows*: one list per column, constants once (4 ms for 150 rows)."""
        if not rows:
            return
        picks, values = [], []
        columns = STORED[table].items()
        for (name, kind), column in zip(columns, zip(*rows, strict=True), strict=True):
            same = len(set(column)) == 1 and name != "TimeGenerated"
            picks.append(f"?::{kind}" if same else f"unnest(?::{kind}[])")
            values.append(column[0] if same else list(column))
        self._base.execute(f"INSERT INTO hidden.all_{table} SELECT {', '.join(picks)}", values)

    def _prune(self) -> None:
        now = self._clock()
        if now - self._pruned > self._retention / 20:
            self._pruned = now
            oldest = naive(now - self._retention)
            for table in STORED:
                sql = f"DELETE FROM hidden.all_{table} WHERE TimeGenerated < ?"  # noqa: S608  # a name of ours
                self._base.execute(sql, [oldest])

    def _count(self) -> int:
        counts = [f"(SELECT count(*) FROM hidden.all_{table})" for table in STORED]  # noqa: S608  # names of ours
        found = self._base.execute(f"SELECT {' + '.join(counts)}").fetchone()
        return int(found[0]) if found else 0

    def _query(
        self,
        workspaces: Sequence[str],
        kql: str,
        span: tuple[datetime, datetime] | None,
        now: datetime,
    ) -> Table | None:
        self._prune()
        owned = ", ".join(_quoted(name) for name in workspaces)
        seen = f"_workspace IN ({owned}) AND {_INGESTED} <= TIMESTAMP {_quoted(str(naive(now)))}"
        if not any(self._holds(table, seen) for table in STORED):
            return None
        if span:
            since, until = (_quoted(str(naive(end))) for end in span)
            seen += f" AND TimeGenerated >= TIMESTAMP {since} AND TimeGenerated < TIMESTAMP {until}"
        rewritten = _with_column(kql)
        hidden = "_workspace" if rewritten != kql else f"_workspace, {_INGESTED}"
        for table in STORED:
            self._base.execute(
                f"CREATE OR REPLACE VIEW {table} AS SELECT * EXCLUDE ({hidden})"  # noqa: S608  # values are quoted
                f" FROM hidden.all_{table} WHERE {seen}"
            )
        return self._kql(rewritten, now)

    def _holds(self, table: str, seen: str) -> bool:
        anything = f"SELECT 1 FROM hidden.all_{table} WHERE {seen} LIMIT 1"  # noqa: S608  # values are quoted
        return self._base.execute(anything).fetchone() is not None

    def _kql(self, kql: str, now: datetime) -> Table:
        try:
            cursor = duckdb_kql.execute(self._base, kql, allow_write=False, query_now=now)
            rows = cursor.fetchmany(MAX_RESULT_ROWS + 1)
            columns = cursor.description or []
        except duckdb_kql.KqlSyntaxError as error:
            spans = [each.span for each in error.diagnostics[:1]]
            line, pos = (spans[0].line, spans[0].column) if spans else (0, 0)
            raise BadQuery("SyntaxError", str(error), line, pos) from error
        except (duckdb_kql.KqlError, duckdb.Error) as error:
            raise BadQuery("SemanticError", str(error)) from error
        return Table(
            names=tuple(column[0] for column in columns),
            kinds=tuple(kusto_type(str(column[1])) for column in columns),
            rows=[[plain(cell) for cell in row] for row in rows[:MAX_RESULT_ROWS]],
            cut=len(rows) > MAX_RESULT_ROWS,
        )
