"""Questions as KQL. Pure: text in, text out.

One question has legs over its table: `bins` counts requests by arm and bin, `arms` looks at each
arm as a whole, and `clients` counts affected clients where a plan tells them apart. All legs of
all questions of a workspace are one `union`, told apart by `question` and `part`. Rules:
- Nothing from a plan is pasted in as it is: values are escaped literals, names are checked.
- A sampled row stands for ItemCount requests: requests are sums of it, rows are counted beside.
- Users are counted where they are: no client's key is part of an answer.
- Synthetic traffic (availability tests, bots) is left out, and strings are compared exactly.
- Columns have one type each (`toreal`, `count`), or `union` would split them by type.
- Bins are counted from the epoch: Kusto's own `bin` of a datetime starts in the year 1, which
  differs for lengths that do not divide a day.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.cloud.kqltext import (
    between,
    bin_start,
    client_key,
    lines,
    literal,
    name_of,
    real,
    span,
    stratum_of,
    text_column,
    union,
)
from shared.core.questions import Question
from shared.core.telemetry import Rule
from shared.errors import RefusedError

STABLE, CANARY, UNLABELLED = "stable", "canary", "unlabelled"
BINS, ARMS, CLIENTS = "bins", "arms", "clients"


def merged(questions: Sequence[Question]) -> str:
    """One query for all of them; each row's `question` is the index here.

    Raises RefusedError for a name or a value that cannot be part of a query.
    """
    return union([leg for number, each in enumerate(questions) for leg in legs(each, number)])


def legs(question: Question, number: int) -> list[str]:
    """The pipelines of one question. Raises RefusedError as `merged` does."""
    asks = quantiles(question)
    if question.thresholds_ms is not None and asks:
        raise RefusedError(f"rule {asks[0][1].name} has lost the limit it was given at the start")
    found = [_bins(question, number), _arms(question, number)]
    return [*found, _clients(question, number)] if question.source.client else found


def quantiles(question: Question) -> list[tuple[int, Rule]]:
    """The rules, with their numbers, whose limit is yet to be asked for."""
    return [
        (number, rule)
        for number, rule in enumerate(question.rules)
        if rule.slower_than_ms is None and rule.slower_than_quantile is not None
    ]


def _bins(question: Question, number: int) -> str:
    squares = "squares = sum(toreal(ItemCount) * ItemCount)"
    counted = ["items = sum(ItemCount)", "row_count = count()", squares]
    shown = ["items = toreal(items)", "row_count", "squares"]
    by_stratum = "" if question.source.client else _weighed(question)
    numbers = range(len(question.rules))
    if by_stratum:
        counted += [f"exposed_{n} = sum(ItemCount * worth_{n})" for n in numbers]
        shown += [f"exposed_{n}" for n in numbers]
    for n, rule in enumerate(question.rules):
        bad = met(rule)
        counted += [f"bad_{n} = sumif(ItemCount, {bad}), bad_rows_{n} = countif({bad})"]
        shown += [f"bad_{n} = toreal(bad_{n})", f"bad_rows_{n}"]
    return f"""{_rows(question, question.from_bin)}{by_stratum}
| summarize
    {lines(counted)}
    by arm = {_arm(question)},
    bin_start = {bin_start(question.bin_s)}
| project question = {number}, part = '{BINS}', arm, bin_start,
    {", ".join(shown)}"""


def _arms(question: Question, number: int) -> str:
    """How each arm is seen at all: how late its rows are, which are unlabelled or keyless.

    Few rows are bad, and those of requests that hang come last: their lag stands by itself.
    """
    found = {
        "row_count": "count()",
        "newest": "max(TimeGenerated)",
        "lag_s": "percentile(lag_s, 99)",
        "bad_lag_s": "percentile(iff(bad, lag_s, real(null)), 99)",
    }
    if question.source.client:
        found["keyless"] = f"countif(isempty({client_key(question.source.client)}))"
    for n, rule in quantiles(question):
        found[f"quantile_{n}"] = (
            f"percentile(DurationMs, {100 * (rule.slower_than_quantile or 0):g})"
        )
    unlabelled = question.source.role is not None
    return f"""{_rows(question, question.from_bin, unlabelled=unlabelled)}
| extend
    lag_s = (ingestion_time() - TimeGenerated) / 1s,
    bad = {" or ".join([met(rule) for rule in question.rules])}
| summarize
    {lines([f"{name} = {how}" for name, how in found.items()])}
    by arm = {_arm(question, unlabelled=unlabelled)}
| project question = {number}, part = '{ARMS}', arm, {", ".join(found)}"""


def _clients(question: Question, number: int) -> str:
    """Clients who were not bad before in this step, in either arm, and those who turn bad.

    DNS moves clients from arm to arm. Who always fails is used up where most clients are; were the
    arms counted apart, the smaller one would meet such clients later and look guilty.
    """
    weighed = standardised(question)
    firsts, counted, shown = [], [], []
    for n, rule in enumerate(question.rules):
        bad = f"bad_{n}" if weighed else met(rule)
        firsts += [f"first_{n} = min(iff({bad}, bin_start, long(null)))"]
        for arm, here in ((STABLE, "place > 0"), (CANARY, "place < 0")):
            firsts += [f"{arm}_{n} = min(iff({bad} and {here}, bin_start, long(null)))"]
        unhurt = f"isnull(first_{n}) or first_{n} >= bin_start"
        own = f"iff(place < 0, {CANARY}_{n}, {STABLE}_{n})"
        counted += [f"clients_{n} = countif({unhurt})"]
        counted += [f"bad_clients_{n} = countif(first_{n} == bin_start and {own} == bin_start)"]
        shown += [f"clients_{n}, bad_clients_{n}"]
        if weighed:
            counted += [f"exposed_{n} = sumif(worth_{n}, {unhurt})"]
            shown += [f"exposed_{n}"]
    places, expanded = _places(question)
    return f"""{_rows(question, _first(question))}{_weighed(question)}
| extend
    client = {client_key(question.source.client or "")},
    bin_start = {bin_start(question.bin_s)}
| extend place = iff({_is_canary(question)}, -bin_start, bin_start)
| where isnotempty(client){_visits(question)}
| summarize
    {lines([places, *firsts])}
    by client
{expanded}
| extend bin_start = iff(place < 0, -place, place)
| where bin_start >= {question.from_bin * question.bin_s}
| summarize
    {lines(counted)}
    by arm = iff(place < 0, '{CANARY}', '{STABLE}'), bin_start
| project question = {number}, part = '{CLIENTS}', arm, bin_start, {", ".join(shown)}"""


def _visits(question: Question) -> str:
    """The steps after which a row is a visit, a client in a bin of one arm; empty without strata.

    A visit weighs what its strata do on average, each counted once. Were rows counted, who fails
    and tries again would weigh more for it, and weights would depend on what a canary did.
    """
    if not standardised(question):
        return ""
    rules = list(enumerate(question.rules))
    of_stratum = [f"bad_{n} = countif({met(rule)}) > 0" for n, rule in rules]
    of_stratum += [f"worth_{n} = take_any(worth_{n})" for n, _ in rules]
    of_visit = [f"bad_{n} = countif(bad_{n}) > 0, worth_{n} = avg(worth_{n})" for n, _ in rules]
    return f"""
| summarize
    {lines(of_stratum)}
    by client, place, bin_start, stratum
| summarize
    {lines(of_visit)}
    by client, place, bin_start"""


def _places(question: Question) -> tuple[str, str]:
    """Where a client was, as a list to be summarized, and the steps that make rows of it again."""
    if not standardised(question):
        return "places = make_set(place)", "| mv-expand place = places to typeof(long)"
    numbers = range(len(question.rules))
    packed = ", ".join(["place", *(f"worth_{n}" for n in numbers)])
    taken = ["place = tolong(visit[0])", *(f"worth_{n} = toreal(visit[{n + 1}])" for n in numbers)]
    return (
        f"visits = make_list(pack_array({packed}))",
        f"| mv-expand visit = visits\n| extend\n    {lines(taken)}",
    )


def standardised(question: Question) -> bool:
    """Whether requests count by their strata here."""
    return question.standard is not None and bool(question.standard.weights)


def _weighed(question: Question) -> str:
    """The steps after which `worth_<rule number>` is what one request counts; empty without."""
    standard = question.standard
    if standard is None or not standard.weights:
        return ""
    weights = [standard.weights.get(rule.name) for rule in question.rules]
    numbers = range(len(weights))
    rows = [
        ", ".join([literal(key), *(_weight(each, at) for each in weights)])
        for at, key in enumerate(standard.keys)
    ]
    others = [f"worth_{n} = coalesce(weight_{n}, {_weight(weights[n], -1)})" for n in numbers]
    return f"""
| extend stratum = {stratum_of(question.source.strata)}
| lookup kind=leftouter (
    datatable(stratum: string, {", ".join(f"weight_{n}: real" for n in numbers)}) [
    {lines(rows)}
    ]) on stratum
| extend
    {lines(others)}"""


def _weight(weights: Sequence[float] | None, at: int) -> str:
    return real(1.0 if weights is None else weights[at], decimals=6)


def rows_of_stable(question: Question) -> str:
    """Stable's requests of the whole question, whatever they came to."""
    return _rows(question, question.from_bin, only_stable=True)


def _rows(
    question: Question, first_bin: int, *, unlabelled: bool = False, only_stable: bool = False
) -> str:
    """The rows a leg is about: of both versions or one, perhaps with those that name none."""
    source = question.source
    column = text_column(source.arms.column)
    versions = [source.arms.stable] if only_stable else [source.arms.stable, source.arms.canary]
    labels = [f"{column} == {literal(version)}" for version in versions]
    labels += [f"isempty({column})"] if unlabelled else []
    role = "" if source.role is None else f"\n| where AppRoleName == {literal(source.role)}"
    within = between(first_bin * question.bin_s, question.to_bin * question.bin_s)
    return f"""{name_of(source.table, "table")}
| where {within}
| where {" or ".join(labels)}{role}
| where isempty(SyntheticSource)"""


def _arm(question: Question, *, unlabelled: bool = False) -> str:
    column = text_column(question.source.arms.column)
    other = f"iff(isempty({column}), '{UNLABELLED}', '{STABLE}')" if unlabelled else f"'{STABLE}'"
    return f"iff({_is_canary(question)}, '{CANARY}', {other})"


def _is_canary(question: Question) -> str:
    arms = question.source.arms
    return f"{text_column(arms.column)} == {literal(arms.canary)}"


def _first(question: Question) -> int:
    """Where the question's rows begin: with the step, where clients are followed through it."""
    step_bin = question.step_bin if question.source.client else None
    return question.from_bin if step_bin is None else min(step_bin, question.from_bin)


def window(questions: Sequence[Question]) -> tuple[datetime, datetime]:
    """From the start of the first bin that is read to the end of the last, of them all."""
    since = min(_first(question) * question.bin_s for question in questions)
    until = max(question.to_bin * question.bin_s for question in questions)
    return span(since, until)


def met(rule: Rule) -> str:
    """What makes a row bad; nothing yet where the question asks for the limit itself."""
    if rule.result_code is not None:
        return f"ResultCode matches regex {literal(f'^(?:{rule.result_code})$')}"
    if rule.slower_than_ms is not None:
        return f"DurationMs > {real(rule.slower_than_ms)}"
    return "Success == false" if rule.slower_than_quantile is None else "false"
