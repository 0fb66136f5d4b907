"""The nouns of telemetry: where evidence comes from, what makes a request bad, what an answer says.

Four ends of a look are kept apart (`Sight`). Times are seconds since the epoch (`_s`); a bin's
index is floor(time / bin length).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.core.judge import Risk


class Sight(StrEnum):
    """How a look at the world went; four different things that peers confuse."""

    SEEN = "seen"
    ABSENT = "absent"
    LATE = "late"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a request a bad one; without any of the three, that it failed (Success).

    `result_code`: its ResultCode matches this RE2 pattern as a whole. `slower_than_ms`: it took
    longer. `slower_than_quantile` (0.5, 0.95, 0.99): longer than that quantile of stable's own
    durations before the start, frozen then; in a question it has become `slower_than_ms`.
    """

    name: str
    slower_than_ms: float | None = None
    slower_than_quantile: float | None = None
    result_code: str | None = None


@dataclass(frozen=True, slots=True)
class Arms:
    """The telemetry column that tells the versions apart, and its two values."""

    column: str
    stable: str
    canary: str


@dataclass(frozen=True, slots=True)
class Gauge:
    """A level that is advice only: `metric` is the Name in AppPerformanceCounters or AppMetrics.

    The canary speaks against itself while its mean is more than `above` (0.1: 10 %) over stable's.
    """

    name: str
    table: str
    metric: str
    above: float = 0.1


@dataclass(frozen=True, slots=True)
class Source:
    """Where evidence comes from: workspace (GUID), table, arms, rules; how late it may be.

    `bin_s` is None when the block length is to follow from the profile's TTL; `role` leaves out
    other services of a shared workspace (AppRoleName), whose version labels may be the same, and
    only with it are rows without a label looked for, which may be anybody's;
    `client` is the column that tells users apart: then affected clients are counted, not requests.
    `strata` are columns whose values tell beforehand who fails more: exposures are standardised.
    """

    workspace: str
    table: str
    arms: Arms
    rules: tuple[Rule, ...]
    bin_s: int | None
    ingestion_delay_s: float
    lookback_s: float
    risk: Risk
    role: str | None = None
    client: str | None = None
    gauges: tuple[Gauge, ...] = ()
    strata: tuple[str, ...] = ()

    def where(self, versions: str) -> str:
        """What rows are looked for, for people: a column's value, and the service if it is told."""
        of_role = f" and AppRoleName = {self.role!r}" if self.role else ""
        return f"{self.arms.column} = {versions}{of_role}"


@dataclass(frozen=True, slots=True)
class ArmBin:
    """One arm in one bin; tuples have one number per rule of the question.

    `items` are requests, `rows` what sampling kept of them, `squares` the sum of what a row stands
    for, squared (0 where nobody knows). Where clients are counted, `clients`
    were active in the bin and not bad before it in this step, `bad_clients` of them are bad here.
    `exposed` are the requests or clients, each counted as its stratum weighs, or its strata do on
    average; empty without strata.
    """

    items: float
    rows: int
    bad: tuple[float, ...]
    bad_rows: tuple[int, ...]
    clients: tuple[int, ...] = ()
    bad_clients: tuple[int, ...] = ()
    exposed: tuple[float, ...] = ()
    squares: float = 0.0


@dataclass(frozen=True, slots=True)
class BinSeen:
    """Both arms in one bin; an arm without rows is None."""

    index: int
    stable: ArmBin | None
    canary: ArmBin | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What telemetry said to one question.

    `newest_s` is the newest row's time, `newest_of` the same by arm (stable, canary); `lag_s` how
    long after a request began its row could be read, for 99 of 100 rows, or bad rows, of the slower
    arm (None: the source does not tell); `unlabelled` and `keyless` are shares of rows (0..1) that
    carry no version, or no client; `quantiles_ms` are stable's durations by the name of the rule
    that asks.
    """

    sight: Sight
    reason: str = ""
    bins: tuple[BinSeen, ...] = ()
    newest_s: float | None = None
    to_bin: int = 0
    newest_of: tuple[float | None, float | None] = (None, None)
    lag_s: float | None = None
    unlabelled: float = 0.0
    keyless: float = 0.0
    quantiles_ms: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Stratum:
    """Stable's past in one stratum, its older and its newer half apart.

    `key` None is all that is in no other. `events` are requests, or clients in bins, each shared
    evenly by the strata it was in; `bad` has one pair a rule: rows, or clients in bins, whole in
    each stratum they were bad in. Rows of a sample will do: only ratios count.
    """

    key: str | None
    events: tuple[float, float]
    bad: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Strata:
    """What stable's past was in every stratum, the last being all others."""

    sight: Sight
    reason: str = ""
    seen: tuple[Stratum, ...] = ()


@dataclass(frozen=True, slots=True)
class Standard:
    """How much a request of each stratum counts, frozen at the start.

    `weights` by rule in the order of `keys`, then that of all other strata; a rule whose failures
    strata did not foretell is not in it, and its requests count as they are.
    """

    keys: tuple[str, ...]
    weights: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Level:
    """The mean level of one gauge in one bin, by arm; None where nothing was reported."""

    index: int
    stable: float | None
    canary: float | None


@dataclass(frozen=True, slots=True)
class Levels:
    """What the gauges showed, by gauge name. Advice: a look that failed blinds nobody."""

    sight: Sight
    reason: str = ""
    by_gauge: Mapping[str, tuple[Level, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that people should know and no decision rests on; `off` when it looks wrong."""

    name: str
    off: bool
    sentence: str
