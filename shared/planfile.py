"""A plan as people write it, and its way into the core's values.

Read strictly: unknown fields are refused, so that a misspelt safeguard is never silently absent.
Durations, shares and differences of shares carry their units ("10m", "5%", "0.1pp"). The JSON
Schema in docs/plan.schema.json is printed from these models.
"""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.core.model import AlertMatch, Gate, Outcome, Plan, Step
from shared.core.words import duration
from shared.evidenceplan import EvidenceIn, source_of
from shared.shadowplan import ShadowIn, shadow_of
from shared.written import (
    DAY_S,
    Label,
    LongLabel,
    Name,
    Percent,
    ProfileId,
    Seconds,
    Strict,
    at_most,
    by_kind,
    chosen,
)


class BakeIn(Strict):
    """How long a step bakes: at least `min`; after `max` without a decision `unsure` applies."""

    min: Annotated[Seconds, Field(ge=0, le=14 * DAY_S)] = 600.0
    max: Annotated[Seconds, Field(gt=0, le=14 * DAY_S)] = 4 * 3600.0

    @model_validator(mode="after")
    def _ordered(self) -> "BakeIn":
        if self.min > self.max:
            raise ValueError(f"min: {duration(self.min)} is more than max, {duration(self.max)}")
        return self


class StepIn(Strict):
    """One stop: a percentage, its bake, and whether a person must let it rise.

    The first one may be at 0 %: then `shadow` says how the canary is tried on samples.
    """

    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    bake: BakeIn | None = None
    gate: Literal["auto", "manual"] = "auto"
    shadow: ShadowIn | None = None

    @model_validator(mode="after")
    def _sound(self) -> "StepIn":
        if self.percent == 0 and self.shadow is None:
            raise ValueError("shadow: must be given, to say how the canary is tried at 0 %")
        if self.percent and self.shadow:
            raise ValueError(f"shadow: is for a step at 0 %, not at {self.percent:g} %")
        return self


def _step_kind(value: object) -> str | None:
    if isinstance(value, dict | StepIn):
        return "step"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "percent" if number else None


type StepOrPercent = Annotated[
    Annotated[Percent, chosen("percent")] | Annotated[StepIn, chosen("step")],
    by_kind(_step_kind, "a percentage such as 5, or {percent: ...} is allowed"),
]


class AlertIn(Strict):
    """An alert that takes the canary off: rule name or id; target and severity narrow it."""

    alert: LongLabel
    target: LongLabel | None = None
    severity_at_most: Annotated[int, Field(ge=0, le=4)] | None = None


class PlanIn(Strict):
    """A plan as written. Only profile, endpoints, name, workspace and arms have no default."""

    name: Name
    profile: ProfileId
    stable: Label
    canary: Label
    steps: Annotated[
        tuple[StepOrPercent, ...], Field(min_length=1, max_length=20, strict=False), at_most(20)
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
        if len([percent for percent in percents if percent]) == 1:
            raise ValueError("steps: at 100 % nothing is left to compare with; put one before it")
        if percents != sorted(set(percents)) or percents[-1] != 100:  # noqa: PLR2004  # per cent
            raise ValueError("steps: must rise and end at 100")
        if any(round(p * 10) != p * 10 for p in percents):
            raise ValueError("steps: percentages have at most one decimal")
        if self.stable.casefold() == self.canary.casefold():
            raise ValueError(f"canary: must not be the stable endpoint {self.stable!r}")
        return self


def plan_of(said: PlanIn) -> Plan:
    """The plan as the core knows it: defaults filled in, units gone."""
    steps = tuple(_step_of(step, said.bake) for step in said.steps)
    source = source_of(said.evidence)
    if any(step.shadow for step in steps):
        # Samples and telemetry are judged apart, and share the error of a false rollback.
        half = replace(source.risk, false_rollback=source.risk.false_rollback / 2)
        source = replace(source, risk=half)
    return Plan(
        name=said.name,
        profile=said.profile,
        stable=said.stable,
        canary=said.canary,
        steps=steps,
        source=source,
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
    shadow = None if step.shadow is None else shadow_of(step.shadow)
    return Step(step.percent, bake.min, bake.max, Gate(step.gate), shadow)
