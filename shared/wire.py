"""What senders may say on the queues: commands and alerts, read strictly and refused with words.

Every refusal names the field, what was given and what is allowed. Bodies are JSON in UTF-8.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared import refusal
from shared.core.alerts import Spell
from shared.core.events import AbortAsked, AlertFired, Event, HoldAsked, PromoteAsked, ResumeAsked
from shared.core.model import AlertMatch, Plan
from shared.errors import RefusedError
from shared.planfile import PlanIn, plan_of
from shared.written import Form, LongLabel, Name, Strict, Who, Words, at_most, by_kind, chosen

# Of an alert's own words so much is kept on record; it is matched by all of them.
KEPT_CHARS, KEPT_TARGETS = 500, 20
# What an alert says of a longer ago is not believed: an unset .NET time is the year 1.
OLDEST_S = 90 * 86_400
# Azure Monitor posts an alert within minutes; who says it fired earlier may be forging a baseline.
BELATED_S = 900
MAX_DIMENSIONS = 100
# A duration of ISO 8601, as windows have it.
WINDOW = re.compile(
    r"P(?:(\d{1,3})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?", re.ASCII
)
# A rule that is evaluated more often than it looks back is heard of within two windows.
WINDOWS = 2


class StartIn(Strict):
    """Start the rollout of a plan."""

    action: Literal["start"]
    plan: PlanIn
    by: Who = "unknown"
    reason: Words = ""
    dry_run: bool = False


class AskIn(Strict):
    """Hold, resume or abort a rollout."""

    action: Literal["hold", "resume", "abort"]
    rollout: Name
    by: Who = "unknown"
    reason: Words = ""


class PromoteIn(Strict):
    """Promote a rollout from the step its sender saw (counted from 1)."""

    action: Literal["promote"]
    rollout: Name
    from_step: Annotated[int, Field(ge=1, le=20)]
    by: Who = "unknown"
    reason: Words = ""


def _action_kind(value: object) -> str | None:
    action = value.get("action") if isinstance(value, dict) else None
    kinds = {"start": "start", "promote": "promote", "hold": "ask", "resume": "ask", "abort": "ask"}
    return kinds.get(action) if isinstance(action, str) else None


COMMANDS: TypeAdapter[StartIn | AskIn | PromoteIn] = TypeAdapter(
    Annotated[
        Annotated[StartIn, chosen("start")]
        | Annotated[AskIn, chosen("ask")]
        | Annotated[PromoteIn, chosen("promote")],
        by_kind(_action_kind, 'action: "start", "promote", "hold", "resume" or "abort" is allowed'),
    ]
)


ASKED: Mapping[str, type[HoldAsked | AbortAsked]] = {"hold": HoldAsked, "abort": AbortAsked}


@dataclass(frozen=True, slots=True)
class Start:
    """A start as understood."""

    plan: Plan
    by: str
    reason: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """A person's wish for one rollout; `event` takes when it is decided, and when it was sent."""

    rollout: str
    event: Callable[[float, float], Event]


def bound(body: bytes, limit: int) -> None:
    """Look at the size before anything else. Raises RefusedError over so many bytes."""
    if len(body) > limit:
        raise RefusedError(f"{len(body)} bytes, at most {limit} are allowed")


def read_command(body: bytes) -> Start | Ask:
    """A message of the commands queue. Raises RefusedError with every reason."""
    said = _unambiguous(COMMANDS, body, "a command")
    if isinstance(said, StartIn):
        return Start(plan_of(said.plan), said.by, said.reason, said.dry_run)
    if isinstance(said, PromoteIn):
        return Ask(
            said.rollout, lambda at_s, _: PromoteAsked(at_s, said.by, said.from_step, said.reason)
        )
    if said.action == "resume":
        return Ask(
            said.rollout, lambda at_s, sent_s: ResumeAsked(at_s, said.by, said.reason, sent_s)
        )
    kind = ASKED[said.action]
    return Ask(said.rollout, lambda at_s, _: kind(at_s, said.by, said.reason))


def read_plan(body: bytes) -> Plan:
    """A plan alone, as JSON. Raises RefusedError with every reason."""
    return plan_of(_unambiguous(TypeAdapter(PlanIn), body, "a plan"))


class Essentials(BaseModel):
    """The part of an alert that Linnet acts on; what else it says is nobody's fault."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    alertId: LongLabel  # noqa: N815  # the schema's own spelling, here and below
    alertRule: str | None = None  # noqa: N815
    alertRuleID: str | None = None  # noqa: N815
    severity: Annotated[str, Form(r"^Sev[0-4]$", "Sev0 to Sev4")] | None = None
    monitorCondition: Literal["Fired", "Resolved"]  # noqa: N815
    alertTargetIDs: Annotated[tuple[str, ...], at_most(1000)] | None = None  # noqa: N815
    firedDateTime: str | None = None  # noqa: N815
    resolvedDateTime: str | None = None  # noqa: N815


class AlertData(BaseModel):
    """The envelope's content; the context has another shape for each kind of alert."""

    essentials: Essentials
    alertContext: Any = None  # noqa: N815


class AlertIn(BaseModel):
    """Azure Monitor's common alert schema."""

    schemaId: Literal["azureMonitorCommonAlertSchema"]  # noqa: N815
    data: AlertData


ALERTS: TypeAdapter[AlertIn] = TypeAdapter(AlertIn)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as understood. `names` are the rule's name and id, in any case.

    `key` is the same whenever the rule speaks of the same targets and dimensions. The times are
    seconds since the epoch as the sender told them, None when it did not.
    """

    fired: bool
    key: str
    alert_id: str
    rule: str
    names: tuple[str, ...]
    severity: int | None
    targets: tuple[str, ...]
    fired_at: str
    fired_s: float | None
    resolved_s: float | None
    window_s: float

    def event(self, at_s: float, since_s: float) -> AlertFired:
        """The event of it, at the controller's time."""
        told = self.alert_id, self.rule, self.severity, self.kept_targets, self.fired_at
        return AlertFired(at_s, *told, since_s)

    @property
    def kept_targets(self) -> tuple[str, ...]:
        """The first targets, cut."""
        return tuple(target[:KEPT_CHARS] for target in self.targets[:KEPT_TARGETS])

    def spell(self, at_s: float, enqueued_at_s: float = 0.0) -> Spell:
        """What this message alone says of the rule's firing; an odd time of it counts as now."""
        fired_s = self.fired_s
        oldest_s = max(at_s - OLDEST_S, enqueued_at_s - BELATED_S)
        believed = fired_s is not None and oldest_s < fired_s < at_s
        since_s = fired_s if believed and fired_s is not None else enqueued_at_s or at_s
        told = self.key, self.rule, self.severity, self.kept_targets
        return Spell(*told, since_s, at_s, fired_s=since_s)

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
    data = _read(ALERTS, body, "an alert of the common alert schema").data
    essentials = data.essentials
    names = tuple(n.casefold() for n in (essentials.alertRule, essentials.alertRuleID) if n)
    return Alert(
        fired=essentials.monitorCondition == "Fired",
        key=_key(essentials, data.alertContext),
        alert_id=essentials.alertId,
        rule=(essentials.alertRule or essentials.alertRuleID or "without a name")[:KEPT_CHARS],
        names=names,
        severity=int(essentials.severity[-1]) if essentials.severity else None,
        targets=essentials.alertTargetIDs or (),
        fired_at=(essentials.firedDateTime or "an unknown time")[:KEPT_CHARS],
        fired_s=_moment_s(essentials.firedDateTime),
        resolved_s=_moment_s(essentials.resolvedDateTime),
        window_s=_window_s(_within(data.alertContext, "condition")),
    )


def _key(essentials: Essentials, context: object) -> str:
    """Which alert this is: not its id, since a stateless rule has a new one at every firing."""
    rule = essentials.alertRuleID or essentials.alertRule or essentials.alertId
    targets = sorted(target.casefold() for target in essentials.alertTargetIDs or ())
    parts = [rule.casefold(), *targets, *sorted(_dimensions(context))]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()


def _dimensions(context: object) -> Iterator[str]:
    """The dimensions of a metric or log alert, which fires once for each of their values."""
    conditions = _within(_within(context, "condition"), "allOf")
    for condition in conditions[:MAX_DIMENSIONS] if isinstance(conditions, list) else ():
        found = _within(condition, "dimensions")
        for dimension in found[:MAX_DIMENSIONS] if isinstance(found, list) else ():
            yield f"{_within(dimension, 'name')}={_within(dimension, 'value')}"


def _window_s(condition: object) -> float:
    """The window a rule looks at, as its alert tells it; 0 when it tells none."""
    found = WINDOW.fullmatch(str(_within(condition, "windowSize")))
    if not found:
        return 0.0
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _within(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _moment_s(text: str | None) -> float | None:
    """An ISO 8601 moment in seconds since the epoch, UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text or "")
        at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return at_s if at_s > 0 else None


def _unambiguous[T](adapter: TypeAdapter[T], body: bytes, what: str) -> T:
    """Of a name that is given twice the last would win, whichever was meant."""
    said = _read(adapter, body, what)
    if ambiguous := refusal.repeated(body):
        raise RefusedError(f"not {what}: {'; '.join(ambiguous)}")
    return said


def _read[T](adapter: TypeAdapter[T], body: bytes, what: str) -> T:
    marked = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return adapter.validate_json(marked)
    except ValidationError as error:
        raise RefusedError(f"not {what}: {refusal.reasons(error, marked)}") from None
