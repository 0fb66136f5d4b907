"""A plan's evidence as people write it: where it comes from, what is bad, what it is held against.

What a plan says here becomes part of queries, so every text has a form of its own, and the words
of a refusal name the field.
"""

import re
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from shared.core.judge import Risk
from shared.core.telemetry import Arms, Gauge, Rule, Source
from shared.core.watermark import MOST_OPEN_BINS
from shared.core.words import duration
from shared.written import (
    DAY_S,
    Form,
    Label,
    Name,
    Points,
    Seconds,
    Share,
    Strict,
    at_most,
    by_kind,
    chosen,
)

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# Users are told apart by one of these columns of Application Insights, or by a property.
CLIENT = Form(
    r"^(UserId|SessionId|ClientIP|UserAuthenticatedId|UserAccountId"
    r"|Properties\.[A-Za-z_][A-Za-z0-9_]{0,127})$",
    "UserId, SessionId, ClientIP, UserAuthenticatedId, UserAccountId or Properties.<key>",
)
# What may tell beforehand who fails more; nothing that names one person, since strata are kept.
STRATUM = Form(
    r"^(OperationName|Name|Source|ClientCity|ClientStateOrProvince|ClientCountryOrRegion"
    r"|ClientType|ClientModel|ClientOS|ClientBrowser|Properties\.[A-Za-z_][A-Za-z0-9_]{0,127})$",
    "OperationName, Name, Source, ClientCity, ClientStateOrProvince, ClientCountryOrRegion, "
    "ClientType, ClientModel, ClientOS, ClientBrowser or Properties.<key>",
)
# What engines of regular expressions read differently, or not at all: groups that look around,
# two repetitions in a row, sets within sets, and ^ where it opens no set.
_FOREIGN = re.compile(r"\(\?|[*+?]{2}|\[\^?[\[\]]|--|\|\||(?<!\[)\^")


def _code(pattern: str) -> str:
    if found := _FOREIGN.search(pattern):
        raise ValueError(f"{found[0]!r} is not read alike by every engine and is not allowed")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    if _meets_no_status(pattern):
        raise ValueError('it meets no status of HTTP; a class of them is written "5.." or "50."')
    return pattern


def _meets_no_status(pattern: str) -> bool:
    """Whether it looks like a class of codes in another notation, such as "5xx" or "5*"."""
    letters = {each for each in pattern if each.isalpha()}
    looks_so = letters <= set("xX") and set(pattern) & set("xX*+?")
    return bool(looks_so) and not any(
        re.fullmatch(pattern, str(status.value)) for status in HTTPStatus
    )


def _limit_kind(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return "quantile" if value in QUANTILES else "duration" if value[:1].isdigit() else None


def _bad_kind(value: object) -> str | None:
    if value == "failed":
        return "word"
    kinds = {"slower_than": "slow", "result_code": "code"}
    given = value if isinstance(value, dict) else {}
    return next((kind for field, kind in kinds.items() if field in given), None)


class ArmsIn(Strict):
    """The column that tells versions apart: AppVersion, AppRoleName or Properties.<key>."""

    column: Annotated[
        str,
        Form(
            r"^(Properties\.)?[A-Za-z_][A-Za-z0-9_]{0,127}$",
            "a column such as AppVersion, or Properties.<key>,",
        ),
    ]
    stable: Label
    canary: Label


class SlowIn(Strict):
    """A bad request took longer than this, or than this quantile of stable's before the start."""

    slower_than: Annotated[
        Annotated[Literal["p50", "p95", "p99"], chosen("quantile")]
        | Annotated[Seconds, Field(gt=0, le=3600), chosen("duration")],
        by_kind(
            _limit_kind, 'a duration such as "800ms", or "p50", "p95", "p99" of stable is allowed'
        ),
    ]


class CodeIn(Strict):
    """A bad request is one whose whole ResultCode has this form, such as "5.." or "4(08|29)"."""

    result_code: Annotated[
        str,
        Field(max_length=64),
        Form(
            r"^[0-9A-Za-z_.|()\[\]?*+^-]+$",
            "a regular expression of letters, digits and _ . | ( ) [ ] ? * + ^ -",
        ),
        AfterValidator(_code),
    ]


class RuleIn(Strict):
    """What makes a request a bad one."""

    name: Name
    bad: Annotated[
        Annotated[Literal["failed"], chosen("word")]
        | Annotated[SlowIn, chosen("slow")]
        | Annotated[CodeIn, chosen("code")],
        by_kind(_bad_kind, '"failed", {slower_than: ...} or {result_code: ...} is allowed'),
    ]


class GaugeIn(Strict):
    """A level to compare besides: advice for people, which decides nothing."""

    name: Name
    table: Literal["AppPerformanceCounters", "AppMetrics"]
    metric: Label
    above: Annotated[Share, Field(gt=0, le=9.99)] = 0.1


class RiskIn(Strict):
    """alpha, beta, h and delta of the judge."""

    false_rollback: Annotated[Share, Field(gt=0, le=0.2)] = 0.01
    false_promotion: Annotated[Share, Field(gt=0, le=0.2)] = 0.05
    inflation: Annotated[Share, Field(gt=0, le=5)] = 0.5
    tolerance: Annotated[Points, Field(gt=0, le=0.5)] = 0.001


class EvidenceIn(Strict):
    """Where the evidence comes from, how late it may be, and what it is held against.

    `role` is the service's AppRoleName. With it rows of the service that carry no version are
    looked for; without it they are not, since they may be another service's, and failures of the
    canary may be among them. `client` is the column that tells users apart; with it affected
    clients are counted, without it requests. `strata` are columns that tell beforehand who fails
    more, such as ClientCity.
    """

    workspace: Annotated[
        str, Form(r"^[0-9a-fA-F-]{36}$", "a workspace's id of 36 hexadecimal digits and hyphens")
    ]
    table: Annotated[
        str, Form(r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", "a table's name such as AppRequests")
    ] = "AppRequests"
    role: Label | None = None
    arms: ArmsIn
    client: Annotated[str, CLIENT] | None = None
    rules: Annotated[
        tuple[RuleIn, ...], Field(min_length=1, max_length=10, strict=False), at_most(10)
    ] = (RuleIn(name="errors", bad="failed"),)
    gauges: Annotated[tuple[GaugeIn, ...], Field(max_length=5, strict=False), at_most(5)] = ()
    strata: Annotated[
        tuple[Annotated[str, STRATUM], ...],
        Field(max_length=3, strict=False),
        at_most(3),
    ] = ()
    risk: RiskIn = RiskIn()
    bin: Annotated[Seconds, Field(ge=1, le=3600)] | None = None
    ingestion_delay: Annotated[Seconds, Field(ge=0, le=3600)] = 300.0
    lookback: Annotated[Seconds, Field(ge=1, le=7 * DAY_S)] = 3600.0

    @model_validator(mode="after")
    def _sound(self) -> "EvidenceIn":
        if self.arms.stable == self.arms.canary:
            raise ValueError(f"arms: stable and canary are both {self.arms.stable!r}")
        if self.bin is not None and (self.bin % 1 or DAY_S % self.bin):
            raise ValueError("bin: whole seconds that divide a day are allowed")
        if self.ingestion_delay > MOST_OPEN_BINS * (self.bin or 60):
            delay = duration(self.ingestion_delay)
            raise ValueError(
                f"ingestion_delay: {delay} is more than {MOST_OPEN_BINS} bins, take longer ones"
            )
        _differ("rules", [rule.name for rule in self.rules])
        _differ("gauges", [gauge.name for gauge in self.gauges])
        _differ("strata", list(self.strata))
        return self


def source_of(said: EvidenceIn) -> Source:
    """The source as the core knows it: defaults filled in, units gone."""
    risk = said.risk
    return Source(
        workspace=said.workspace,
        table=said.table,
        arms=Arms(said.arms.column, said.arms.stable, said.arms.canary),
        rules=tuple(_rule_of(rule) for rule in said.rules),
        bin_s=None if said.bin is None else int(said.bin),
        ingestion_delay_s=said.ingestion_delay,
        lookback_s=said.lookback,
        role=said.role,
        client=said.client,
        strata=said.strata,
        gauges=tuple(Gauge(each.name, each.table, each.metric, each.above) for each in said.gauges),
        risk=Risk(
            false_rollback=risk.false_rollback,
            false_promotion=risk.false_promotion,
            inflation=risk.inflation,
            tolerance=risk.tolerance,
        ),
    )


def _rule_of(said: RuleIn) -> Rule:
    bad = said.bad
    if isinstance(bad, CodeIn):
        return Rule(said.name, result_code=bad.result_code)
    if isinstance(bad, SlowIn):
        if isinstance(bad.slower_than, str):
            return Rule(said.name, slower_than_quantile=QUANTILES[bad.slower_than])
        return Rule(said.name, slower_than_ms=bad.slower_than * 1000)
    return Rule(said.name)


def _differ(field: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"{field}: names must differ")
