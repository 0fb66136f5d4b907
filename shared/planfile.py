"""A plan as people write it, and its way into the core's values.

Read strictly: unknown fields are refused, so that a misspelt safeguard is never silently absent.
Durations, shares and differences of shares carry their units ("10m", "5%", "0.1pp"). The JSON
Schema in docs/plan.schema.json is printed from these models.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from shared.core.judge import Risk
from shared.core.model import AlertMatch, Arms, Gate, Outcome, Plan, Rule, Source, Step

DAY_S = 86_400
# Bins that may still grow are asked for at every look and kept in the record.
MOST_OPEN_BINS = 120
UNITS_S: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": DAY_S}
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)
SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)
POINTS = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)pp", re.ASCII)
PROFILE_ID = (
    r"(?i)^/subscriptions/[^\x00-\x20\x7f/?#]{1,64}/resourceGroups/[^\x00-\x20\x7f/?#]{1,90}"
    r"/providers/Microsoft\.Network/trafficManagerProfiles/[^\x00-\x20\x7f/?#]{1,63}$"
)


def _seconds(value: object) -> object:
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a duration with its unit is allowed, such as "800ms", "30s", "10m", "4h"')
    return float(match[1]) * UNITS_S[match[2]]


def _share(value: object) -> object:
    match = SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a percentage with its sign is allowed, such as "1%" or "0.5%"')
    return float(match[1]) / 100


def _points(value: object) -> object:
    match = POINTS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('percentage points are allowed, such as "0.1pp"')
    return float(match[1]) / 100


def at_most(count: int) -> BeforeValidator:
    """Look at the length before the elements: each bad one of a hundred thousand costs a reason."""

    def check(value: object) -> object:
        if isinstance(value, list) and len(value) > count:
            raise ValueError(f"at most {count} are allowed, not {len(value)}")
        return value

    return BeforeValidator(check)


def _written(pattern: re.Pattern[str], example: str) -> WithJsonSchema:
    form = {"type": "string", "pattern": f"^{pattern.pattern}$", "examples": [example]}
    return WithJsonSchema(form)


type Seconds = Annotated[float, BeforeValidator(_seconds), _written(DURATION, "10m")]
type Share = Annotated[float, BeforeValidator(_share), _written(SHARE, "5%")]
type Points = Annotated[float, BeforeValidator(_points), _written(POINTS, "0.1pp")]
type Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
type Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
type Label = Annotated[str, Field(min_length=1, max_length=260)]
type LongLabel = Annotated[str, Field(min_length=1, max_length=2000)]
type Words = Annotated[str, Field(max_length=500)]


class Strict(BaseModel):
    """Frozen, no unknown fields, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BakeIn(Strict):
    """How long a step bakes: at least `min`; after `max` without a decision `unsure` applies."""

    min: Annotated[Seconds, Field(ge=0, le=14 * DAY_S)] = 600.0
    max: Annotated[Seconds, Field(gt=0, le=14 * DAY_S)] = 4 * 3600.0

    @model_validator(mode="after")
    def _ordered(self) -> "BakeIn":
        if self.min > self.max:
            raise ValueError(f"min ({self.min:g} s) must not exceed max ({self.max:g} s)")
        return self


class StepIn(Strict):
    """One stop: a percentage above 0, its bake, and whether a person must let it rise."""

    percent: Percent
    bake: BakeIn | None = None
    gate: Literal["auto", "manual"] = "auto"


class ArmsIn(Strict):
    """The column that tells versions apart: AppVersion, AppRoleName or Properties.<key>."""

    column: Annotated[str, Field(pattern=r"^(Properties\.)?[A-Za-z_][A-Za-z0-9_]{0,127}$")]
    stable: Label
    canary: Label


class SlowIn(Strict):
    """A bad request is one that took longer than this."""

    slower_than: Annotated[Seconds, Field(gt=0, le=3600)]


class RuleIn(Strict):
    """What makes a request a bad one."""

    name: Name
    bad: Literal["failed"] | SlowIn


class RiskIn(Strict):
    """alpha, beta, h and delta of the judge."""

    false_rollback: Annotated[Share, Field(gt=0, le=0.2)] = 0.01
    false_promotion: Annotated[Share, Field(gt=0, le=0.2)] = 0.05
    inflation: Annotated[Share, Field(gt=0, le=5)] = 0.5
    tolerance: Annotated[Points, Field(gt=0, le=0.5)] = 0.001


class EvidenceIn(Strict):
    """Where the evidence comes from, how late it may be, and what it is held against."""

    workspace: Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{36}$")]
    table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] = "AppRequests"
    role: Label | None = None
    arms: ArmsIn
    rules: Annotated[
        tuple[RuleIn, ...], Field(min_length=1, max_length=10, strict=False), at_most(10)
    ] = (RuleIn(name="errors", bad="failed"),)
    risk: RiskIn = RiskIn()
    bin: Annotated[Seconds, Field(ge=1, le=3600)] | None = None
    ingestion_delay: Annotated[Seconds, Field(ge=0, le=3600)] = 300.0
    lookback: Annotated[Seconds, Field(ge=1, le=7 * DAY_S)] = 3600.0

    @model_validator(mode="after")
    def _sound(self) -> "EvidenceIn":
        if self.arms.stable == self.arms.canary:
            raise ValueError(f"arms: stable and canary are both {self.arms.stable!r}")
        if self.bin is not None and (self.bin % 1 or DAY_S % self.bin):
            raise ValueError(f"bin: {self.bin:g} s is no whole number of seconds dividing a day")
        if self.ingestion_delay > MOST_OPEN_BINS * (self.bin or 60):
            raise ValueError(f"ingestion_delay: at most {MOST_OPEN_BINS} bins, take longer bins")
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError(f"rules: names must differ, given {', '.join(names)}")
        return self


class AlertIn(Strict):
    """An alert that takes the canary off: rule name or id; target and severity narrow it."""

    alert: LongLabel
    target: LongLabel | None = None
    severity_at_most: Annotated[int, Field(ge=0, le=4)] | None = None


class PlanIn(Strict):
    """A plan as written. Only profile, endpoints, name, workspace and arms have no default."""

    name: Name
    profile: Annotated[str, Field(pattern=PROFILE_ID)]
    stable: Label
    canary: Label
    steps: Annotated[
        tuple[Percent | StepIn, ...], Field(min_length=1, max_length=20, strict=False), at_most(20)
    ] = (1, 5, 10, 25, 50, 100)
    bake: BakeIn = BakeIn()
    evidence: EvidenceIn
    rollback_on: Annotated[
        tuple[AlertIn, ...], Field(max_length=20, strict=False), at_most(20)
    ] = ()
    rescale: bool = False
    name_servers: Annotated[Seconds, Field(ge=0, le=3600)] = 60.0
    patience: Annotated[Seconds, Field(gt=0, le=DAY_S)] = 900.0
    guard: Annotated[Seconds, Field(ge=0, le=DAY_S)] = 120.0
    unsure: Literal["hold", "retreat"] = "hold"
    blind: Literal["hold", "retreat"] = "hold"

    @model_validator(mode="after")
    def _sound(self) -> "PlanIn":
        percents = [_percent_of(step) for step in self.steps]
        if len(percents) == 1:
            raise ValueError("steps: at 100 % nothing is left to compare with; put one before it")
        if percents != sorted(set(percents)) or percents[-1] != 100:  # noqa: PLR2004  # per cent
            shown = ", ".join(f"{p:g}" for p in percents)
            raise ValueError(f"steps: must rise and end at 100, given {shown}")
        if any(round(p * 10) != p * 10 for p in percents):
            raise ValueError("steps: percentages have at most one decimal")
        if self.stable.casefold() == self.canary.casefold():
            raise ValueError(f"canary: must not be the stable endpoint {self.stable!r}")
        return self


def plan_of(said: PlanIn) -> Plan:
    """The plan as the core knows it: defaults filled in, units gone."""
    return Plan(
        name=said.name,
        profile=said.profile,
        stable=said.stable,
        canary=said.canary,
        steps=tuple(_step_of(step, said.bake) for step in said.steps),
        source=_source_of(said.evidence),
        rollback_on=tuple(
            AlertMatch(match.alert, match.target, match.severity_at_most)
            for match in said.rollback_on
        ),
        rescale=said.rescale,
        name_servers_s=said.name_servers,
        patience_s=said.patience,
        guard_s=said.guard,
        when_unsure=Outcome(said.unsure),
        when_blind=Outcome(said.blind),
    )


def _percent_of(step: float | StepIn) -> float:
    return step.percent if isinstance(step, StepIn) else step


def _step_of(step: float | StepIn, default: BakeIn) -> Step:
    if not isinstance(step, StepIn):
        return Step(step, default.min, default.max)
    bake = step.bake or default
    return Step(step.percent, bake.min, bake.max, Gate(step.gate))


def _source_of(said: EvidenceIn) -> Source:
    rules = tuple(
        Rule(rule.name, None if isinstance(rule.bad, str) else rule.bad.slower_than * 1000)
        for rule in said.rules
    )
    risk = said.risk
    return Source(
        workspace=said.workspace,
        table=said.table,
        arms=Arms(said.arms.column, said.arms.stable, said.arms.canary),
        rules=rules,
        bin_s=None if said.bin is None else int(said.bin),
        ingestion_delay_s=said.ingestion_delay,
        lookback_s=said.lookback,
        role=said.role,
        risk=Risk(
            false_rollback=risk.false_rollback,
            false_promotion=risk.false_promotion,
            inflation=risk.inflation,
            tolerance=risk.tolerance,
        ),
    )
