"""A walk whose telemetry is bent: late, skewed, sampled, partly silent, as a test asks."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from shared.core import questions
from shared.core.model import Phase, Plan
from shared.core.telemetry import Answer, BinSeen, Level, Levels, Sight
from tests.given import Walk, plan, step

MINUTE_S = 60


def minutes_plan(**changes: object) -> Plan:
    """A plan of minutes, as in production: five to wait for rows, ten to decide at 10 %."""
    source = replace(plan().source, bin_s=MINUTE_S, ingestion_delay_s=300, lookback_s=3600)
    usual = {"steps": (step(10, max_s=36_000), step(100)), "source": source, "patience_s": 1e9}
    return plan(**{**usual, **changes})


@dataclass
class Told(Walk):
    """Telemetry is bent by `bend` once traffic has moved; `tick_s` pass between looks."""

    bend: Callable[[Answer], Answer] = field(default=lambda answer: answer)
    tick_s: float = 1
    levels: Callable[[], Levels | None] = field(default=lambda: None)

    def answer(self) -> Answer | None:
        told = super().answer()
        return told if told is None or self.phase is Phase.PENDING else self.bend(told)

    def look(self, **changes: object) -> str:
        """One look after the usual time; what is said of it."""
        self.now_s += self.tick_s - 1
        return self.tick(**({"levels": self.levels()} | changes)).sentence

    def looks(self, count: int) -> list[str]:
        return [self.look() for _ in range(count)]

    def bake(self, number: int = 1) -> "Told":
        """Looks until a step bakes."""
        for _ in range(2000):
            if self.phase is Phase.BAKING and self.rollout.step + 1 == number:
                return self
            self.look()
        raise AssertionError(f"never: still {self.phase}, {self.rollout.sentence}")

    def advice(self) -> dict[str, tuple[bool, str]]:
        return {each.name: (each.off, each.sentence) for each in self.rollout.advice}


def minutes(**changes: object) -> Told:
    """A walk of minutes, six thousand requests each, looked at once a minute."""
    usual = {"plan": minutes_plan(), "per_s": 6000, "tick_s": MINUTE_S}
    return Told(**{**usual, **changes})  # type: ignore[arg-type]  # a test names the field it means


def without(answer: Answer, arm: str, first_bin: int, end_bin: int = 2**62) -> Answer:
    """The answer without the rows of one arm in these bins."""
    gone = {"canary": None} if arm == "canary" else {"stable": None}
    bins = tuple(
        replace(seen, **gone) if first_bin <= seen.index < end_bin else seen  # type: ignore[arg-type]
        for seen in answer.bins
    )
    return replace(answer, bins=bins)


def skewed(walk: Told, answer: Answer, canary_s: float) -> Answer:
    """The answer as it is while the canary's clock is ahead by so much (behind, if negative)."""
    newest_s = walk.now_s + canary_s
    bins = tuple(
        seen if seen.index * walk.rollout.bin_s <= newest_s else replace(seen, canary=None)
        for seen in answer.bins
    )
    newest = max(walk.now_s, newest_s)
    return replace(answer, bins=bins, newest_s=newest, newest_of=(walk.now_s, newest_s))


def sampled(seen: BinSeen, stable: float, canary: float) -> BinSeen:
    """The bin as it looks when a row stands for so many requests of either arm."""
    arms = {
        name: replace(arm, rows=max(1, round(arm.items / weight)))
        for name, arm, weight in (
            ("stable", seen.stable, stable),
            ("canary", seen.canary, canary),
        )
        if arm
    }
    return replace(seen, **arms)  # type: ignore[arg-type]  # both are ArmBin


def quarters(walk: Told, stable: float, canary: float | None) -> Levels:
    """The same levels in each of the last eight quarters of an hour."""
    last = questions.bin_at(walk.now_s, 900)
    seen = tuple(Level(index, stable, canary) for index in range(last - 8, last + 1))
    return Levels(Sight.SEEN, by_gauge={"cpu": seen})
