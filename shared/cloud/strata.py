"""Strata as KQL, and their rows as what stable's past showed. Pure.

A stratum is what a plan's columns say of a request, as one text. The past is asked for once,
before the start; afterwards every question looks up what a stratum weighs. Texts of strata come
from requests, and so from anybody: they become literals like a plan's own, and one that cannot be
a literal is left to all others.
"""

from collections.abc import Sequence

from shared.cloud import kql
from shared.cloud.answers import Row, amount, whole
from shared.cloud.kqltext import (
    bin_start,
    client_key,
    lines,
    literal,
    moment,
    span,
    stratum_of,
)
from shared.core.questions import Question
from shared.core.strata import MOST_STRATA
from shared.core.telemetry import Sight, Strata, Stratum
from shared.errors import RefusedError

_HALVES = (0, 1)
STRATUM, ALL = "stratum", "all"


def query(question: Question) -> str:
    """Stable's past by stratum, and as a whole. Raises RefusedError as kql does."""
    counted = _counted(question)
    shown = ", ".join(name for name, _ in counted)
    summed = lines([f"{name} = {how}" for name, how in counted])
    of_stratum = f"""({_past(question)}
| summarize
    {summed}
    by stratum
| top {MOST_STRATA} by events_0 + events_1
| project part = '{STRATUM}', stratum, {shown})"""
    of_all = f"""({_past(question)}
| summarize
    {summed}
| project part = '{ALL}', stratum = '', {shown})"""
    return f"union\n{of_stratum},\n{of_all}"


def read(question: Question, rows: Sequence[Row]) -> Strata:
    """The strata; a row that was not asked for makes the whole FAILED."""
    if not rows:
        return Strata(Sight.ABSENT, "the workspace shows no request of stable in this window")
    try:
        return Strata(Sight.SEEN, seen=_strata(question, rows))
    except (ValueError, TypeError, LookupError) as error:
        return Strata(Sight.FAILED, f"the strata could not be understood: {error}")


def _past(question: Question) -> str:
    """Stable's rows with their stratum, `newer` half or not, and what they count for."""
    rows = f"""{kql.rows_of_stable(question)}
| extend stratum = {stratum_of(question.source.strata)}"""
    met = [_met(question, n) for n, _ in enumerate(question.rules)]
    if question.source.client is not None:
        return rows + _lines(question, question.source.client, met)
    hits = lines([f"hit_{n} = {each}" for n, each in enumerate(met)])
    middle = _middle_s(question)
    newer = f"newer = TimeGenerated >= {moment(span(middle, middle)[0])}"
    return f"{rows}, {newer}\n| extend events = ItemCount,\n    {hits}"


def _lines(question: Question, client: str, met: Sequence[str]) -> str:
    """The steps after which a row is a client in a bin in a stratum.

    A client in a bin is one event, shared evenly by the strata it was in: as the questions of a
    rollout weigh a client in a bin by their mean, it weighs one on average here. Each stratum that
    it was bad in has it whole: who is to blame is known.
    """
    numbers = range(len(met))
    hits = lines([f"hit_{n} = countif({each}) > 0" for n, each in enumerate(met)])
    packed = ", ".join(["stratum", *(f"hit_{n}" for n in numbers)])
    taken = ["stratum = tostring(line[0])", *(f"hit_{n} = tobool(line[{n + 1}])" for n in numbers)]
    return f"""
| extend client = {client_key(client)}
| where isnotempty(client)
| summarize
    {hits}
    by stratum, client, bin_start = {bin_start(question.bin_s)}
| summarize visit = make_list(pack_array({packed})) by client, bin_start
| extend events = 1.0 / array_length(visit), newer = bin_start >= {_middle_s(question)}
| mv-expand line = visit
| extend
    {lines(taken)}"""


def _middle_s(question: Question) -> int:
    return (question.from_bin + question.to_bin) * question.bin_s // 2


def _counted(question: Question) -> list[tuple[str, str]]:
    halves = list(zip(_HALVES, ("not(newer)", "newer"), strict=True))
    found = [(f"events_{half}", f"toreal(sumif(events, {of}))") for half, of in halves]
    for n, _ in enumerate(question.rules):
        found += [(f"bad_{n}_{half}", f"countif({of} and hit_{n})") for half, of in halves]
    return found


def _met(question: Question, number: int) -> str:
    """What makes a row bad; a limit that is yet to be frozen is stable's quantile of this past."""
    rule = question.rules[number]
    if rule.slower_than_ms is not None or rule.slower_than_quantile is None:
        return kql.met(rule)
    quantile = f"percentile(DurationMs, {100 * rule.slower_than_quantile:g})"
    return f"DurationMs > toscalar({kql.rows_of_stable(question)} | summarize {quantile})"


def _strata(question: Question, rows: Sequence[Row]) -> tuple[Stratum, ...]:
    found: dict[str, Stratum] = {}
    every: list[Stratum] = []
    for row in rows:
        key, seen = str(row["stratum"]), _stratum(question, row)
        if row["part"] == ALL:
            every.append(seen)
        elif row["part"] != STRATUM or key in found:
            raise ValueError(f"an unexpected row of {key!r}")
        elif _is_literal(key):
            found[key] = seen
    if len(every) != 1:
        raise ValueError(f"{len(every)} sums of all strata")
    return (*found.values(), _rest(every[0], tuple(found.values())))


def _stratum(question: Question, row: Row) -> Stratum:
    bad = []
    for n, _ in enumerate(question.rules):
        older, newer = (float(whole(row[f"bad_{n}_{half}"])) for half in _HALVES)
        bad.append((older, newer))
    events = amount(row["events_0"]), amount(row["events_1"])
    return Stratum(str(row["stratum"]), events, tuple(bad))


def _rest(every: Stratum, found: Sequence[Stratum]) -> Stratum:
    """What is in no stratum of its own; rounding may leave a little less than nothing."""
    events = [max(0.0, every.events[h] - sum(s.events[h] for s in found)) for h in _HALVES]
    bad = []
    for n, both in enumerate(every.bad):
        older, newer = (max(0.0, both[h] - sum(s.bad[n][h] for s in found)) for h in _HALVES)
        bad.append((older, newer))
    return Stratum(None, (events[0], events[1]), tuple(bad))


def _is_literal(text: str) -> bool:
    try:
        literal(text)
    except RefusedError:
        return False
    return True
