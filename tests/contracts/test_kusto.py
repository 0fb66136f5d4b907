"""Microsoft's own parser reads every query of the project, with the tables as Azure documents them.

The tables in data/tables are those of Azure Monitor's reference, at the day they say.
"""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.kusto import Diagnostic, KustoError, KustoParser, Reading, Schema
from shared.cloud import gauges, kql, kqltext, strata
from shared.core.questions import LevelQuestion, Question
from shared.core.telemetry import Gauge, Rule, Standard
from shared.errors import RefusedError
from tests.contracts.shop import FIRST_BIN, question
from tests.contracts.shop import gauges as asked_gauges

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
GOLDEN: Final = HERE / "questions.kql"
FILES: Final = [
    GOLDEN,
    GOLDEN.with_name("gauges.kql"),
    *sorted(ROOT.glob("docs/**/*.kql")),
    *sorted(ROOT.glob("examples/**/*.kql")),
]

SLOW, SLOWER = Rule("slow", slower_than_ms=0.5), Rule("slower", slower_than_ms=1e6)
KINDS = (Rule("errors"), Rule("p99", slower_than_quantile=0.99), Rule("code", result_code="5.."))
CITY = ("ClientCity",)
STANDARD = Standard(("Oslo", "'); drop //"), {"errors": (2.5, 0.25, 1.0)})
CPU = Gauge("cpu", "AppPerformanceCounters", "% Processor Time")
QUEUE = Gauge("queue", "AppMetrics", "queue length")
SHAPES: Final[dict[str, list[Question]]] = {
    "errors": [question(Rule("errors"))],
    "many rules": [question(Rule("errors"), SLOW, SLOWER, *(SLOW,) * 7)],
    "a role": [question(role="shop")],
    "a property": [question(column="Properties.version")],
    "an indexed property": [question(column="Properties['a key']")],
    "other bins": [question(bins=1), question(bins=240)],
    "merged": [question(), question(SLOW, column="Properties.v", role="o'k"), question(SLOWER)],
    "clients": [question(client="UserId", step_bin=FIRST_BIN - 9)],
    "clients by a property": [question(*KINDS, client="Properties.user", role="shop")],
    "quantiles asked for": [question(*KINDS)],
    "quantiles frozen": [question(*KINDS, thresholds_ms={"p99": 812.5}, client="ClientIP")],
    "all kinds merged": [question(*KINDS), question(client="SessionId"), question(role="shop")],
    "strata": [question(strata=("ClientCity", "Properties.plan"), standard=STANDARD)],
    "strata of clients": [question(*KINDS, client="UserId", strata=CITY, standard=STANDARD)],
    "strata unknown": [question(strata=CITY, standard=Standard((), {"errors": (1.0,)}))],
    "twenty at once": [question(SLOW, role=f"role {n}") for n in range(20)],
}
CODE: Final = "^(?:harmless)$"
HOSTILE: Final = [
    "' or 1 == 1 //",
    "'\n| take 1 //",
    "\\",
    "\\'",
    "\\\\' | union *",
    '"',
    '" or "a" == "a',
    "'''",
    "```",
    "//",
    "/* */",
    "; drop table AppRequests",
    "@'c:\\d'",
    "h'hidden'",
    "{canary}",
    "\r\n\t\u00a0",
    "é 😀 中 \u0301",
    "",
    " ",
]
MISTAKES: Final = {
    "AppRequests | where AppVersio == '1'": ("KS142", "AppVersio", 1, 21),
    "AppRequest | take 1": ("KS204", "AppRequest", 1, 1),
    "AppRequests\n| where isempty(SyntheticSource": ("KS005", "", 2, 32),
    "AppRequests\n| where Name == 'shop": ("KS001", "", 2, 22),
    "AppRequests | summarize sum(Name)": ("KS138", "Name", 1, 29),
    "AppRequests | extend sum(DurationMs)": ("KS144", "sum", 1, 22),
    "AppRequests | where TimeGenerated > since": ("KS142", "since", 1, 37),
    "AppRequests | where Name == '😀' and nope(1)": ("KS211", "nope", 1, 37),
}


@pytest.fixture(scope="module")
async def kusto() -> AsyncIterator[KustoParser]:
    async with KustoParser(tables()) as parser:
        yield parser


@pytest.fixture(scope="module")
async def harmless(kusto: KustoParser) -> Reading:
    return await kusto.read(kql.merged([asking("harmless", "key")]))


def tables() -> Schema:
    read = [json.loads(path.read_bytes()) for path in (HERE / "data" / "tables").glob("*.json")]
    return {
        each["table"]: {column["name"]: column["type"] for column in each["columns"]}
        for each in read
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
async def test_a_query_we_show_is_kql(kusto: KustoParser, path: Path) -> None:
    """Each file is one query, over tables and columns that Azure has."""
    assert said((await kusto.read(path.read_text(encoding="utf-8"))).diagnostics) == ""


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_query_we_send_is_kql(kusto: KustoParser, shape: str) -> None:
    """Every shape of question is a query, and answers in the columns and types we read."""
    asked = SHAPES[shape]
    found = await kusto.read(kql.merged(asked))
    assert said(found.diagnostics) == ""
    assert found.columns == columns(asked)


@pytest.mark.parametrize(
    "asked",
    [
        asked_gauges(CPU),
        asked_gauges(QUEUE, role="o'k"),
        asked_gauges(CPU, QUEUE, CPU, QUEUE, CPU, column="Properties['a key']"),
    ],
    ids=["a counter", "a metric", "five"],
)
async def test_a_query_of_gauges_is_kql(kusto: KustoParser, asked: LevelQuestion) -> None:
    """Both tables of gauges have the columns that their means are made of."""
    found = await kusto.read(gauges.query(asked))
    assert said(found.diagnostics) == ""
    assert found.columns == {
        "gauge": "long",
        "arm": "string",
        "bin_start": "long",
        "level": "real",
    }


@pytest.mark.parametrize("client", [None, "UserId"])
async def test_a_query_of_strata_is_kql(kusto: KustoParser, client: str | None) -> None:
    """Stable's past by stratum, by requests and by clients, with every kind of rule."""
    asked = question(*KINDS, client=client, role="o'k", strata=("ClientCity", "Properties.plan"))
    found = await kusto.read(strata.query(asked))
    assert said(found.diagnostics) == ""
    halves = [f"{name}_{half}" for name in ("bad_0", "bad_1", "bad_2") for half in (0, 1)]
    events = {"events_0": "real", "events_1": "real"}
    assert found.columns == {"part": "string", "stratum": "string"} | events | dict.fromkeys(
        halves, "long"
    )


async def test_every_text_column_of_requests_may_tell_versions_and_users_apart(
    kusto: KustoParser,
) -> None:
    """No column's name means something else in KQL."""
    texts = [name for name, kind in tables()["AppRequests"].items() if kind == "string"]
    asked = {name: kql.merged([question(column=name, client=name)]) for name in texts}
    found = await kusto.diagnose(asked)
    assert {name: said(wrong) for name, wrong in found.items()} == dict.fromkeys(texts, "")


@pytest.mark.parametrize("text", MISTAKES)
async def test_a_mistake_is_found_where_it_is(kusto: KustoParser, text: str) -> None:
    """A parser that praises everything would prove nothing."""
    wrong = (await kusto.diagnose({"it": text}))["it"]
    assert [(one.code, one.at, one.line, one.column) for one in wrong] == [MISTAKES[text]]
    assert wrong[0].severity == "Error"
    assert wrong[0].words


async def test_a_declared_parameter_is_known(kusto: KustoParser) -> None:
    """What is a mistake undeclared is none once the query declares it."""
    declared = "declare query_parameters(since: datetime);\n"
    query = "AppRequests | where TimeGenerated > since"
    assert said((await kusto.read(declared + query)).diagnostics) == ""


async def test_a_plan_over_the_wrong_table_is_found(kusto: KustoParser) -> None:
    """Traces have no Success, and the parser says so at each place."""
    wrong = (await kusto.read(kql.merged([question(table="AppTraces")]))).diagnostics
    assert {one.at for one in wrong} == {"Success", "DurationMs"}


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
async def test_a_hostile_value_stays_a_value(
    kusto: KustoParser, harmless: Reading, value: str
) -> None:
    """As a label, a role or a key it is one literal that means itself, and nothing else moves."""
    key = value if value and "\n" not in value else "key"
    sly = await kusto.read(kql.merged([asking(value, key)]))
    assert_only_differs(sly, harmless, {"harmless": value, "key": key, CODE: f"^(?:{value})$"})


@settings(max_examples=50, deadline=None)
@given(value=st.text(st.characters(codec="utf-8") | st.sampled_from("'\"\\`\n;|/@"), max_size=30))
async def test_any_value_stays_a_value(kusto: KustoParser, harmless: Reading, value: str) -> None:
    """Whatever text is accepted at all, Microsoft's parser reads back as that text."""
    try:
        kqltext.literal(value)
    except RefusedError:
        return
    sly = await kusto.read(kql.merged([asking(value, "key")]))
    assert_only_differs(sly, harmless, {"harmless": value, CODE: f"^(?:{value})$"})


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
async def test_a_hostile_gauge_stays_a_value(kusto: KustoParser, value: str) -> None:
    """The name of a metric, a label and a role are what they say in the other query too."""
    usual, sly = [
        await kusto.read(
            gauges.query(
                asked_gauges(Gauge("g", "AppMetrics", each), canary=each, stable=each, role=each)
            )
        )
        for each in ("harmless", value)
    ]
    assert_only_differs(sly, usual, {"harmless": value})


async def test_our_own_trouble_is_no_mistake_of_the_query() -> None:
    """An impossible schema is an error of ours, with the parser's words."""
    with pytest.raises(KustoError, match="nonsense"):
        async with KustoParser({"T": {"c": "nonsense"}}):
            pass


def assert_only_differs(sly: Reading, harmless: Reading, meant: dict[str, str]) -> None:
    """The same words in the same order, but for string literals with another meaning."""
    assert said(sly.diagnostics) == ""
    assert [token.kind for token in sly.tokens] == [token.kind for token in harmless.tokens]
    assert words(sly) == words(harmless)
    assert values(sly) == [meant.get(text, text) for text in values(harmless)]


def asking(value: str, key: str) -> Question:
    """The value in every place that a plan fills, or that a request fills with its stratum."""
    return question(
        Rule("errors"),
        Rule("code", result_code=value),
        canary=value,
        stable=value,
        role=value,
        strata=(f"Properties['{key}']",),
        standard=Standard((value,), {"errors": (2.0, 1.0)}),
        column=f"Properties['{key}']",
        client=f"Properties['{key}']",
    )


def words(reading: Reading) -> list[str]:
    return [token.text for token in reading.tokens if token.value is None]


def values(reading: Reading) -> list[str]:
    return [token.value for token in reading.tokens if token.value is not None]


def said(wrong: Sequence[Diagnostic]) -> str:
    return "\n".join(str(one) for one in wrong)


def columns(asked: Sequence[Question]) -> dict[str, str]:
    """What the rows of an answer consist of: the columns of all legs."""
    found: dict[str, str] = {"question": "long", "part": "string", "arm": "string"}
    for one in asked:
        numbers = range(len(one.rules))
        found |= {"bin_start": "long", "items": "real", "row_count": "long", "squares": "real"}
        for n in numbers:
            found |= {f"bad_{n}": "real", f"bad_rows_{n}": "long"}
        found |= {"newest": "datetime", "lag_s": "real", "bad_lag_s": "real"}
        found |= {"keyless": "long"} if one.source.client else {}
        found |= {f"quantile_{n}": "real" for n, _ in kql.quantiles(one)}
        for n in numbers if one.source.client else ():
            found |= {f"clients_{n}": "long", f"bad_clients_{n}": "long"}
        if kql.standardised(one):
            found |= {f"exposed_{n}": "real" for n in numbers}
    return found
