"""The nouns: what a plan says, what a rollout remembers, what the world was seen to be.

Everything here is a frozen value. A plan never changes once accepted; a rollout changes only
in `machine.py`. Times are seconds since the epoch (`_s`), percentages run from 0 to 100.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.core.attendance import Attendance
from shared.core.bad_rows import BadWeights
from shared.core.judge import Counts, Evidence, Verdict
from shared.core.levels import Tilt
from shared.core.shadow import Shadow
from shared.core.telemetry import Advice, Sight, Source, Standard


class Phase(StrEnum):
    """A state of being of one rollout."""

    PENDING = "PENDING"
    SHIFTING = "SHIFTING"
    BAKING = "BAKING"
    HELD = "HELD"
    RETREATING = "RETREATING"
    PROMOTED = "PROMOTED"
    REVERTED = "REVERTED"
    REFUSED = "REFUSED"


FINAL = frozenset({Phase.PROMOTED, Phase.REVERTED, Phase.REFUSED})


class Gate(StrEnum):
    """Who may let a passing step rise: the evidence alone, or a person."""

    AUTO = "auto"
    MANUAL = "manual"


class Outcome(StrEnum):
    """What a deadline without a decision leads to. Promotion is not among them."""

    HOLD = "hold"
    RETREAT = "retreat"


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the plan: the canary's share of DNS answers, and what must be shown there.

    A step with a `shadow` is at 0 %: its evidence are production requests that are replayed.
    """

    percent: float
    bake_min_s: float
    bake_max_s: float
    gate: Gate = Gate.AUTO
    shadow: Shadow | None = None


@dataclass(frozen=True, slots=True)
class AlertMatch:
    """An alert this rollout listens to: rule name or id, and perhaps target and severity."""

    alert: str
    target: str | None = None
    severity_at_most: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The document that describes one rollout. Immutable once accepted."""

    name: str
    profile: str
    stable: str
    canary: str
    steps: tuple[Step, ...]
    source: Source
    rollback_on: tuple[AlertMatch, ...]
    rescale: bool
    name_servers_s: float
    patience_s: float
    guard_s: float
    when_unsure: Outcome
    when_blind: Outcome


@dataclass(frozen=True, slots=True)
class Arm:
    """One endpoint as far as Linnet writes it: weight 1..1000, enabled or not."""

    weight: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """The two endpoints of a rollout."""

    stable: Arm
    canary: Arm


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """An endpoint as Traffic Manager shows it. `kind` is the path's endpoint type."""

    name: str
    kind: str
    target: str
    weight: int
    enabled: bool
    health: str


@dataclass(frozen=True, slots=True)
class ProfileSeen:
    """A profile as Traffic Manager shows it."""

    routing: str
    enabled: bool
    ttl_s: int
    endpoints: tuple[EndpointSeen, ...]

    def endpoint(self, name: str) -> EndpointSeen | None:
        """The endpoint of that name, compared as ARM compares names: without case."""
        wanted = name.casefold()
        return next((e for e in self.endpoints if e.name.casefold() == wanted), None)


@dataclass(frozen=True, slots=True)
class TrafficSeen:
    """One look at Traffic Manager: SEEN has a profile, ABSENT means it does not exist."""

    sight: Sight
    reason: str = ""
    profile: ProfileSeen | None = None


@dataclass(frozen=True, slots=True)
class ProbeSeen:
    """Linnet's own request to the canary's monitor path."""

    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a rollout waits, who stopped it, and the phase a resume leads back to."""

    reason: str
    by: str
    back_to: Phase
    at_gate: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """One run of one plan: all that a later turn must know, in any process.

    `sequence` counts history rows, `generation` counts changes of `wanted_percent`;
    `scale` is the sum the pair's weights keep; `last_pair` is what was last verified;
    `last_error` is the history row of the last failed turn; `moved_at_s` is when traffic was
    first to move; `looked_at_s` is the last look that a rise could have come from, to the bin;
    `places` is where stable and canary pointed at the start, `kinds` their endpoint types. Of a
    dark launch: how many samples were compared, how many of them with stable too, where stable
    differs from itself, and the salt of what is hidden. `thresholds_ms` are the limits of rules
    that name a quantile, frozen at the start, as is `standard`, how requests count by their strata;
    `advice` is what people should know besides. Of the source: `delay_s`, how long bins may still
    grow (None: as planned); `newest_of`, the newest row by arm; `bad_weights`, what sampling does
    to bad rows, by rule; `attendance`, who was there in this step; `tilts`, by gauge. `requests`
    are complete ones by rule, besides the clients of a plan: at 100 % requests are counted.
    """

    name: str
    phase: Phase
    phase_since_s: float
    started_at_s: float
    by: str
    sentence: str
    sequence: int = 0
    dry_run: bool = False
    step: int = 0
    wanted_percent: float = 0.0
    generation: int = 0
    before: Pair | None = None
    last_pair: Pair | None = None
    places: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    scale: int = 0
    ttl_s: int = 0
    bin_s: int = 60
    verified_at_s: float | None = None
    bake_since_s: float | None = None
    blind_since_s: float | None = None
    last_row_s: float | None = None
    hold: Hold | None = None
    evidence: Mapping[str, Evidence] | None = None
    baseline: Mapping[str, Counts] | None = None
    objectives: Mapping[str, float] | None = None
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    errors_in_a_row: int = 0
    last_error: int = 0
    moved_at_s: float | None = None
    looked_at_s: float | None = None
    samples: int = 0
    noise_samples: int = 0
    noisy: tuple[str, ...] = ()
    salt: str = ""
    thresholds_ms: Mapping[str, float] | None = None
    standard: Standard | None = None
    advice: tuple[Advice, ...] = ()
    delay_s: float | None = None
    newest_of: tuple[float | None, float | None] = (None, None)
    bad_weights: Mapping[str, BadWeights] | None = None
    attendance: Attendance | None = None
    tilts: Mapping[str, Tilt] | None = None
    requests: Mapping[str, Counts] | None = None


def newborn(plan: Plan, at_s: float, by: str, *, dry_run: bool) -> Rollout:
    """A rollout nobody has decided on yet: sequence 0, nothing wanted."""
    return Rollout(
        name=plan.name,
        phase=Phase.PENDING,
        phase_since_s=at_s,
        started_at_s=at_s,
        by=by,
        sentence="",
        dry_run=dry_run,
    )


def step_name(plan: Plan, index: int) -> str:
    """How people call a step: its number from 1, how many there are, its percentage."""
    return f"step {index + 1} of {len(plan.steps)} ({plan.steps[index].percent:g} %)"
