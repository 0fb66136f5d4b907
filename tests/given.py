"""Given: a plan, a world of one profile, and a walk through the machine that needs no I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from shared.core import questions, weights
from shared.core.events import Event, StartAsked, Ticked
from shared.core.judge import Risk
from shared.core.machine import Decision, decide
from shared.core.model import (
    AlertMatch,
    Arm,
    EndpointSeen,
    Gate,
    Outcome,
    Pair,
    Phase,
    Plan,
    ProbeSeen,
    ProfileSeen,
    Rollout,
    Step,
    TrafficSeen,
    newborn,
)
from shared.core.telemetry import Answer, ArmBin, Arms, BinSeen, Rule, Sight, Source

PROFILE = (
    "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Network/trafficManagerProfiles/shop"
)
WORKSPACE = "6f0c1a52-0000-4000-8000-000000000001"
START_S = 1_800_000_000.0


def step(percent: float, *, max_s: float = 600, min_s: float = 0, manual: bool = False) -> Step:
    return Step(percent, min_s, max_s, Gate.MANUAL if manual else Gate.AUTO)


def plan(**changes: object) -> Plan:
    """A plan that this traffic can decide: bins of a second, two points of tolerance."""
    source = Source(
        workspace=WORKSPACE,
        table="AppRequests",
        arms=Arms("AppVersion", "2.3.9", "2.4.0"),
        rules=(Rule("errors"),),
        bin_s=1,
        ingestion_delay_s=2,
        lookback_s=20,
        risk=Risk(tolerance=0.02),
    )
    usual = Plan(
        name="shop-2.4",
        profile=PROFILE,
        stable="blue",
        canary="green",
        steps=(step(1), step(10), step(50), step(100)),
        source=source,
        rollback_on=(AlertMatch("shop-5xx"),),
        rescale=False,
        name_servers_s=1,
        patience_s=30,
        guard_s=5,
        when_unsure=Outcome.HOLD,
        when_blind=Outcome.HOLD,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # a test names the field it means


def pair(stable: int, canary: int) -> Pair:
    """Weights in force; 0 means disabled."""
    return Pair(Arm(stable or 100, enabled=stable > 0), Arm(canary or 1, enabled=canary > 0))


def profile(
    now: Pair, *, stable_health: str = "Online", canary_health: str = "Online", ttl_s: int = 1
) -> ProfileSeen:
    def seen(name: str, arm: Arm, health: str) -> EndpointSeen:
        shown = health if arm.enabled else "Disabled"
        return EndpointSeen(name, "ExternalEndpoints", "192.0.2.1", arm.weight, arm.enabled, shown)

    ends = (seen("blue", now.stable, stable_health), seen("green", now.canary, canary_health))
    return ProfileSeen("Weighted", enabled=True, ttl_s=ttl_s, endpoints=ends)


def saw(profile_seen: ProfileSeen) -> TrafficSeen:
    return TrafficSeen(Sight.SEEN, profile=profile_seen)


@dataclass
class Walk:
    """One rollout walked through `decide`, with a profile that obeys and users who come evenly.

    `rates` are the arms' bad shares, `per_s` all requests a second.
    """

    plan: Plan = field(default_factory=plan)
    now_s: float = START_S
    weights: Pair = field(default_factory=lambda: pair(100, 0))
    per_s: float = 100
    rates: tuple[float, float] = (0.0, 0.0)
    obeys: bool = True
    rollout: Rollout = field(init=False)
    told: list[Decision] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rollout = newborn(self.plan, self.now_s, "ci", dry_run=False)
        self.tell(StartAsked(self.now_s, "ci"))

    @property
    def phase(self) -> Phase:
        return self.rollout.phase

    @property
    def share(self) -> float:
        return float(weights.share(self.weights))

    def tell(self, event: Event) -> Decision:
        """One event; what it wants of the weights happens at once if the profile obeys."""
        decision = decide(self.plan, self.rollout, event)
        self.rollout = decision.rollout
        self.told.append(decision)
        self.events.append(event)
        wants = any(type(effect).__name__ == "SetPercent" for effect in decision.effects)
        if wants and self.obeys and self.rollout.before is not None:
            scale, percent = self.rollout.scale, self.rollout.wanted_percent
            self.weights = weights.target(self.rollout.before, scale, percent)
        return decision

    def tick(self, **changes: object) -> Decision:
        """A second passes and somebody looks; `changes` replace fields of the event."""
        self.now_s += 1
        usual = Ticked(
            at_s=self.now_s,
            traffic=saw(profile(self.weights)),
            answer=self.answer(),
            probe=ProbeSeen(healthy=True, reason="200"),
            holder=self.plan.name,
        )
        return self.tell(replace(usual, **changes))  # type: ignore[arg-type]  # as in plan()

    def until(self, done: Callable[["Walk"], bool], most: int = 400, **changes: object) -> "Walk":
        """Ticks until something is true; fails when it never is."""
        for _ in range(most):
            if done(self):
                return self
            self.tick(**changes)
        raise AssertionError(f"never: still {self.phase}, {self.rollout.sentence}")

    def reach(self, phase: Phase, number: int | None = None) -> "Walk":
        """Ticks until the phase, and the step (from 1) if one is named."""
        return self.until(
            lambda walk: walk.phase is phase and number in {None, walk.rollout.step + 1}
        )

    def answer(self) -> Answer | None:
        """What telemetry says: the present shares and rates, in every bin of the question."""
        question = questions.needed(self.plan, self.rollout, self.now_s)
        if question is None:
            return None
        bins = tuple(self.bin(index) for index in range(question.from_bin, question.to_bin))
        return Answer(Sight.SEEN, bins=bins, newest_s=self.now_s, to_bin=question.to_bin)

    def bin(self, index: int) -> BinSeen:
        canary = round(self.per_s * self.share)
        return BinSeen(
            index,
            self.arm(round(self.per_s) - canary, self.rates[0]),
            self.arm(canary, self.rates[1]),
        )

    def arm(self, requests: int, rate: float) -> ArmBin | None:
        if not requests:
            return None
        bad = round(requests * rate)
        each = len(self.plan.source.rules)
        return ArmBin(requests, requests, (bad,) * each, (bad,) * each)
