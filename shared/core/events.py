"""What can happen to a rollout. Past tense; each carries the controller's clock as `at_s`.

An event holds everything the decision rests on, so that a stored event replayed through
`decide` gives the same record again.
"""

from dataclasses import dataclass

from shared.core.model import ProbeSeen, TrafficSeen
from shared.core.tally import Tally
from shared.core.telemetry import Answer, Levels, Strata


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed, and this is what the world looked like.

    `holder` is the rollout that holds the profile claim (None: nobody);
    `probe` is taken only before traffic moves, `strata` only then and where the plan names some;
    `tally` only in a dark launch; `levels` only where the plan has gauges. Ticks that stay away
    for longer than `stale_after_s` were stopped.
    """

    at_s: float
    traffic: TrafficSeen
    answer: Answer | None = None
    probe: ProbeSeen | None = None
    holder: str | None = None
    tally: Tally | None = None
    stale_after_s: float = 180.0
    levels: Levels | None = None
    strata: Strata | None = None


@dataclass(frozen=True, slots=True)
class StartAsked:
    """Someone posted a plan; a dry run stops after preflight.

    `salt` is drawn by chance, for the hashes of what a dark launch hides.
    """

    at_s: float
    by: str
    reason: str = ""
    dry_run: bool = False
    salt: str = ""


@dataclass(frozen=True, slots=True)
class PromoteAsked:
    """A person wants the next step without more evidence; `from_step` (from 1) is what they saw."""

    at_s: float
    by: str
    from_step: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HoldAsked:
    """A person wants the rollout to stay where it is."""

    at_s: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """A person lifts a hold. `sent_s` is when the broker had it, 0 when nobody knows."""

    at_s: float
    by: str
    reason: str = ""
    sent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """A person wants the canary at zero."""

    at_s: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AlertFired:
    """An alert this rollout listens to fired. Severity is 0 (worst) to 4, None when not told.

    `since_s` is when it began to fire without a break, which may be long before this message.
    """

    at_s: float
    alert_id: str
    rule: str
    severity: int | None
    targets: tuple[str, ...]
    fired_at: str
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """A turn ended in an error nobody expected; `error` is its type and first line."""

    at_s: float
    error: str


Event = (
    Ticked
    | StartAsked
    | PromoteAsked
    | HoldAsked
    | ResumeAsked
    | AbortAsked
    | AlertFired
    | TurnFailed
)

EVENTS: tuple[type[Event], ...] = (
    Ticked,
    StartAsked,
    PromoteAsked,
    HoldAsked,
    ResumeAsked,
    AbortAsked,
    AlertFired,
    TurnFailed,
)
