"""The evidence of a plan as people write it: what is understood, and what is refused with words."""

import json
import warnings
from typing import Any

import pytest

from shared.core.telemetry import Gauge, Rule, Source
from shared.errors import RefusedError
from shared.wire import read_plan
from tests.town import plan_document

CPU = {"name": "cpu", "table": "AppPerformanceCounters", "metric": "% Processor Time"}


def read(**evidence: Any) -> Source:
    document = plan_document()
    document["evidence"] |= evidence
    return read_plan(json.dumps(document).encode()).source


def rule(bad: object) -> Rule:
    return read(rules=[{"name": "r", "bad": bad}]).rules[0]


@pytest.mark.parametrize(
    ("bad", "meant"),
    [
        ("failed", Rule("r")),
        ({"slower_than": "800ms"}, Rule("r", slower_than_ms=800)),
        ({"slower_than": "1h"}, Rule("r", slower_than_ms=3_600_000)),
        ({"slower_than": "p50"}, Rule("r", slower_than_quantile=0.5)),
        ({"slower_than": "p95"}, Rule("r", slower_than_quantile=0.95)),
        ({"slower_than": "p99"}, Rule("r", slower_than_quantile=0.99)),
        ({"result_code": "5.."}, Rule("r", result_code="5..")),
        ({"result_code": "4(08|29)|[^2-4]+"}, Rule("r", result_code="4(08|29)|[^2-4]+")),
        ({"result_code": "a" * 64}, Rule("r", result_code="a" * 64)),
        ({"result_code": "499"}, Rule("r", result_code="499")),
        ({"result_code": "a1xxb+"}, Rule("r", result_code="a1xxb+")),
    ],
    ids=str,
)
def test_every_kind_of_rule_is_understood(bad: object, meant: Rule) -> None:
    """A failure, a limit, a quantile of stable's own, a form of the result code."""
    assert rule(bad) == meant


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            "slow",
            "bad: \"failed\", {slower_than: ...} or {result_code: ...} is allowed (given 'slow')",
        ),
        ({}, '"failed", {slower_than: ...} or {result_code: ...} is allowed (given {})'),
        (None, '"failed", {slower_than: ...}'),
        (["failed"], '"failed", {slower_than: ...}'),
        ({"slower_than": "p90"}, 'or "p50", "p95", "p99" of stable is allowed (given \'p90\')'),
        ({"slower_than": 0.95}, 'or "p50", "p95", "p99" of stable is allowed (given 0.95)'),
        ({"slower_than": "800"}, "a duration with its unit is allowed"),
        ({"slower_than": "0s"}, "bad.slower_than: more than 0s is allowed (given '0s')"),
        ({"slower_than": "2h"}, "bad.slower_than: at most 1h is allowed (given '2h')"),
        (
            {"slower_than": "1s", "result_code": "5.."},
            "result_code: there is no field of this name",
        ),
        ({"result_code": ""}, "result_code: a regular expression of letters, digits and"),
        ({"result_code": "a" * 65}, "at most 64 characters are allowed"),
        ({"result_code": 500}, "text is allowed, in YAML in quotes (given 500)"),
        ({"result_code": "5xx"}, 'it meets no status of HTTP; a class of them is written "5.."'),
        ({"result_code": "50X"}, "it meets no status of HTTP"),
        ({"result_code": "5*"}, "it meets no status of HTTP"),
    ],
    ids=str,
)
def test_a_rule_that_is_none_is_refused_with_what_is_allowed(bad: object, words: str) -> None:
    """Field, given, allowed; and nothing about kinds that were not meant."""
    with pytest.raises(RefusedError) as refused:
        rule(bad)
    assert words in str(refused.value)
    assert str(refused.value).count("rules.0.bad") == 1


@pytest.mark.parametrize("sly", ["5'", "5\\d", "5\n", "$", "5{2}", "a b", "é", '"', "a/b"])
def test_a_pattern_of_other_characters_is_refused(sly: str) -> None:
    """A small set is enough for codes, and means the same in every engine."""
    with pytest.raises(RefusedError, match="result_code: a regular expression of letters"):
        rule({"result_code": sly})


@pytest.mark.parametrize(
    "pattern", ["(", "5)", "[5", "[9-0]", "*5", "(|+)", "5(?", "a++", "5**", "a??", "[[5]", "[]5]"]
)
def test_a_pattern_that_engines_read_differently_is_refused(pattern: str) -> None:
    """Possessive repetitions, sets in sets and the like: what Python takes Kusto may not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RefusedError, match=r"rules\.0\.bad\.result_code: ") as refused:
            rule({"result_code": pattern})
    assert f"given {pattern!r}" in str(refused.value)


@pytest.mark.parametrize("pattern", ["^5", "5^", "a||b", "[a--c]", "[^^]", "[^[5]", "(?i)a"])
def test_what_opens_other_syntax_elsewhere_is_refused(pattern: str) -> None:
    """Set arithmetic and anchors in the middle are nothing that a code needs."""
    with pytest.raises(RefusedError, match="is not read alike by every engine"):
        rule({"result_code": pattern})


@pytest.mark.parametrize(
    "column",
    ["UserId", "SessionId", "ClientIP", "UserAuthenticatedId", "UserAccountId", "Properties.user"],
)
def test_clients_are_told_apart_by_a_column(column: str) -> None:
    """One that holds users, or a property of the application's own."""
    assert read(client=column).client == column


def test_without_a_client_requests_are_counted() -> None:
    """As ever."""
    assert (read().client, read().gauges) == (None, ())


@pytest.mark.parametrize(
    "column", ["", "userid", "Name", "Properties.", "Properties['x']", "UserId\n", "UserId | x", 1]
)
def test_another_column_is_no_client(column: object) -> None:
    """A name that every request shares would make one client of all."""
    with pytest.raises(RefusedError, match=r"evidence\.client: "):
        read(client=column)


def test_strata_are_columns_that_tell_beforehand_who_fails_more() -> None:
    """At most three of those that many users share, or properties; none unless they are named."""
    columns = ["ClientCity", "OperationName", "Properties.tier"]
    assert read(strata=columns).strata == tuple(columns)
    assert read().strata == ()


@pytest.mark.parametrize(
    "column", ["UserId", "SessionId", "ClientIP", "UserAccountId", "UserAuthenticatedId", "Url", ""]
)
def test_a_column_that_names_a_person_is_no_stratum(column: str) -> None:
    """Texts of strata are kept in the record, so who someone is may not be one."""
    with pytest.raises(RefusedError, match=r"evidence\.strata\.0: "):
        read(strata=[column])


@pytest.mark.parametrize(
    ("strata", "words"),
    [
        (["ClientCity | take 1"], "evidence.strata.0: OperationName, "),
        (["ClientCity", "ClientCity"], "strata: names must differ"),
        (["ClientCity", "ClientOS", "ClientType", "Source"], "at most 3 are allowed, not 4"),
    ],
    ids=str,
)
def test_strata_that_are_none_are_refused_naming_the_field(strata: object, words: str) -> None:
    """Neither KQL, nor the same twice, nor more than three."""
    with pytest.raises(RefusedError) as refused:
        read(strata=strata)
    assert words in str(refused.value)


def test_gauges_are_understood() -> None:
    """With a share that they may lie above stable's, ten per cent unless it is said."""
    metric = {"name": "queue", "table": "AppMetrics", "metric": "q | take 1", "above": "50%"}
    assert read(gauges=[CPU, metric]).gauges == (
        Gauge("cpu", "AppPerformanceCounters", "% Processor Time", 0.1),
        Gauge("queue", "AppMetrics", "q | take 1", 0.5),
    )


@pytest.mark.parametrize(
    ("gauges", "words"),
    [
        ([CPU | {"table": "AppRequests"}], "gauges.0.table: 'AppPerf"),
        ([CPU | {"above": "0%"}], "gauges.0.above: more than 0% is allowed"),
        ([CPU | {"above": 0.1}], "gauges.0.above: a percentage with its sign"),
        ([CPU | {"above": "999.1%"}], "gauges.0.above"),
        ([CPU | {"metric": ""}], "gauges.0.metric"),
        ([CPU | {"metric": "m" * 261}], "gauges.0.metric"),
        ([CPU | {"unit": "%"}], "gauges.0.unit: there is no field"),
        ([{"name": "cpu"}], "gauges.0.table: must be given"),
        ([CPU, CPU], "gauges: names must differ"),
        ([CPU | {"name": f"g{n}"} for n in range(6)], "at most 5 are allowed, not 6"),
    ],
    ids=str,
)
def test_gauges_that_are_none_are_refused_naming_the_field(gauges: object, words: str) -> None:
    """At most five, of two tables, with names that differ."""
    with pytest.raises(RefusedError) as refused:
        read(gauges=gauges)
    assert words in str(refused.value)
