"""What senders may say on the queues: commands and alerts, read strictly and refused with words.

Every refusal names the field, what was given and what is allowed. Bodies are JSON in UTF-8.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.core.events import AbortAsked, AlertFired, Event, HoldAsked, PromoteAsked, ResumeAsked
from shared.core.model import AlertMatch, Plan
from shared.errors import RefusedError
from shared.planfile import Label, LongLabel, Name, PlanIn, Strict, Words, plan_of

MAX_REASONS = 20
SHOWN_INPUT = 80


class StartIn(Strict):
    """Start the rollout of a plan."""

    action: Literal["start"]
    plan: PlanIn
    by: Label = "unknown"
    reason: Words = ""
    dry_run: bool = False


class AskIn(Strict):
    """Hold, resume or abort a rollout."""

    action: Literal["hold", "resume", "abort"]
    rollout: Name
    by: Label = "unknown"
    reason: Words = ""


class PromoteIn(Strict):
    """Promote a rollout from the step its sender saw (counted from 1)."""

    action: Literal["promote"]
    rollout: Name
    from_step: Annotated[int, Field(ge=1, le=20)]
    by: Label = "unknown"
    reason: Words = ""


COMMANDS: TypeAdapter[StartIn | AskIn | PromoteIn] = TypeAdapter(
    Annotated[StartIn | AskIn | PromoteIn, Field(discriminator="action")]
)


ASKED: Mapping[str, type[HoldAsked | ResumeAsked | AbortAsked]] = {
    "hold": HoldAsked,
    "resume": ResumeAsked,
    "abort": AbortAsked,
}


@dataclass(frozen=True, slots=True)
class Start:
    """A start as understood."""

    plan: Plan
    by: str
    reason: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """A person's wish for one rollout; `event` takes the time in seconds since the epoch."""

    rollout: str
    event: Callable[[float], Event]


def read_command(body: bytes) -> Start | Ask:
    """A message of the commands queue. Raises RefusedError with every reason."""
    said = _read(COMMANDS, body, "command")
    if isinstance(said, StartIn):
        return Start(plan_of(said.plan), said.by, said.reason, said.dry_run)
    if isinstance(said, PromoteIn):
        return Ask(
            said.rollout, lambda at_s: PromoteAsked(at_s, said.by, said.from_step, said.reason)
        )
    kind = ASKED[said.action]
    return Ask(said.rollout, lambda at_s: kind(at_s, said.by, said.reason))


def read_plan(body: bytes) -> Plan:
    """A plan alone, as JSON. Raises RefusedError with every reason."""
    return plan_of(_read(TypeAdapter(PlanIn), body, "plan"))


class Essentials(BaseModel):
    """The part of an alert that Linnet acts on; what else it says is nobody's fault."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    alertId: LongLabel  # noqa: N815  # the schema's own spelling, here and below
    alertRule: str | None = None  # noqa: N815
    alertRuleID: str | None = None  # noqa: N815
    severity: Annotated[str, Field(pattern=r"^Sev[0-4]$")] | None = None
    monitorCondition: Literal["Fired", "Resolved"]  # noqa: N815
    alertTargetIDs: Annotated[tuple[str, ...], Field(max_length=1000)] | None = None  # noqa: N815
    firedDateTime: str | None = None  # noqa: N815


class AlertData(BaseModel):
    """The envelope's content."""

    essentials: Essentials


class AlertIn(BaseModel):
    """Azure Monitor's common alert schema."""

    schemaId: Literal["azureMonitorCommonAlertSchema"]  # noqa: N815
    data: AlertData


ALERTS: TypeAdapter[AlertIn] = TypeAdapter(AlertIn)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as understood. `names` are the rule's name and id, in any case."""

    fired: bool
    alert_id: str
    rule: str
    names: tuple[str, ...]
    severity: int | None
    targets: tuple[str, ...]
    fired_at: str

    def event(self, at_s: float) -> AlertFired:
        """The event of it, at the controller's time."""
        return AlertFired(
            at_s, self.alert_id, self.rule, self.severity, self.targets, self.fired_at
        )

    def concerns(self, match: AlertMatch) -> bool:
        """Whether a plan's `rollback_on` entry means this alert; names compare without case."""
        named = match.alert.casefold() in self.names
        targets = {target.casefold() for target in self.targets}
        aimed = match.target is None or match.target.casefold() in targets
        worst = match.severity_at_most
        grave = worst is None or (self.severity is not None and self.severity <= worst)
        return named and aimed and grave


def read_alert(body: bytes) -> Alert:
    """A message of the alerts queue. Raises RefusedError with every reason."""
    essentials = _read(ALERTS, body, "alert of the common alert schema").data.essentials
    names = tuple(n.casefold() for n in (essentials.alertRule, essentials.alertRuleID) if n)
    return Alert(
        fired=essentials.monitorCondition == "Fired",
        alert_id=essentials.alertId,
        rule=essentials.alertRule or essentials.alertRuleID or "without a name",
        names=names,
        severity=int(essentials.severity[-1]) if essentials.severity else None,
        targets=essentials.alertTargetIDs or (),
        fired_at=essentials.firedDateTime or "an unknown time",
    )


def _read[T](adapter: TypeAdapter[T], body: bytes, what: str) -> T:
    try:
        return adapter.validate_json(body.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        reasons = [_reason(detail) for detail in error.errors()[:MAX_REASONS]]
        raise RefusedError(f"not a {what}: {'; '.join(reasons)}") from None


def _reason(detail: Mapping[str, Any]) -> str:
    field = ".".join(str(part) for part in detail["loc"]) or "body"
    given = repr(detail["input"])
    shown = given if len(given) <= SHOWN_INPUT else f"{given[:SHOWN_INPUT]}…"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{field}: {message} (given {shown})"
