"""What the judge says: a verdict, and the numbers of every rule that it rests on.

Values only, as they are stored, shown and spoken of. What was added later has a default, so that
older records can be read.
"""

from dataclasses import dataclass
from enum import StrEnum

from shared.core.evidence import Counts
from shared.core.risk import MIN_BINS


class Kind(StrEnum):
    """The four verdicts."""

    PASS = "pass"  # noqa: S105  # a verdict, no secret
    FAIL = "fail"
    UNSURE = "unsure"
    BLIND = "blind"


class Route(StrEnum):
    """The two claims of which one is enough for a pass."""

    RATIO = "ratio"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Weighing:
    """What one rule showed. `worse`, `ok`, `absolute` and `over` are log e-values.

    `counts`, `rollout_bins`: the rollout's and the blocks in which both arms served, open bins
    included; `step_counts`, `step_bins`: sealed bins of this step; `margin`: the ratio a pass must
    refute (None while none can be drawn); `over`: against the frozen objective, at 100 % only, as
    if no failures clustered; `ratio_low`, `ratio_high`: 95 % interval of canary over stable in the
    rollout, None when open; `ratio`: that of the rates, within it; None where an arm had nothing
    bad.
    """

    rule: str
    counts: Counts
    step_counts: Counts
    step_bins: int
    worse: float
    ok: float
    absolute: float
    over: float
    margin: float | None
    ratio_low: float
    ratio_high: float | None
    passed: bool
    ratio: float | None = None
    rollout_bins: int = 0

    @property
    def no_harm(self) -> float:
        """The evidence of no harm: the stronger of both routes."""
        return max(self.ok, self.absolute)

    @property
    def route(self) -> Route:
        """Which of both it is."""
        return Route.RATE if self.absolute > self.ok else Route.RATIO


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision; `worse` is all rules' log e-value together, `needed` the bound of a fail.

    `pass_needed`: the bound of each rule's evidence of no harm; `lag_s`: how old the newest
    complete bin was at the look; `unit`: what is counted in the step; `unit_before`: what was in
    the rollout, where that differs. None and empty in older records.
    """

    kind: Kind
    sentence: str
    weighings: tuple[Weighing, ...]
    worse: float
    needed: float
    pass_needed: float | None = None
    lag_s: float | None = None
    unit: str = ""
    unit_before: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Where the rollout stands.

    `next_share`: the canary's share (0..1] after a pass, None while no pass can be drawn;
    `steps`: judged steps of the plan; bins below `sealed_before` are complete; `final`: at 100 %;
    `unit`: what is counted; `unit_before`: what was below 100 %, where that differs;
    `plain_unit`: what tells that the canary is down; `bake_max_s`: the longest bake, 0 where it is
    not to be spoken of.
    """

    next_share: float | None
    steps: int
    sealed_before: int
    final: bool = False
    min_bins: int = MIN_BINS
    unit: str = "requests"
    bin_s: float = 60.0
    bake_max_s: float = 0.0
    unit_before: str = ""
    plain_unit: str = "requests"
