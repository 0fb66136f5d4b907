"""What one history row may say, judged by itself: rises, falls and passes.

These rules know the vocabulary of the product and the numbers of the place, but none of the
product's judgement: they are written against design, not against code.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from shared.core import weights
from shared.core.events import AbortAsked, AlertFired, PromoteAsked, Ticked, TurnFailed
from shared.core.judge import Kind, Verdict
from shared.core.model import EndpointSeen, Pair, Phase, Rollout
from shared.core.telemetry import Sight
from shared.ports import HistoryRow
from tests.faults import place as places

WATCHED = frozenset({Phase.SHIFTING, Phase.BAKING, Phase.HELD})


def wrongs(
    before: Rollout, row: HistoryRow, after: Rollout, begun: int
) -> Iterator[tuple[int, str]]:
    """Each promise that this row breaks, with words; `begun` is the first bin of the step."""
    event = row.event
    if isinstance(event, TurnFailed) and "planted fault" not in event.error:
        yield 1, f"had a turn that failed: {event.error}"
    must = _must_fall(before, row)
    if must and (row.refused or after.phase is not Phase.RETREATING):
        yield 3, f"is {after.phase} after {must}"
    if _falls_wrongly(before, row, after):
        yield 3, "falls for an alert that was firing before anything moved"
    if why := _rises_wrongly(before, row, after):
        yield 2, f"rises {why}"
    if isinstance(event, Ticked) and (why := _goes_on_wrongly(begun, before, row, after)):
        yield 7, f"goes on {why}"


def is_dark(pair: Pair | None) -> bool:
    return pair is not None and not pair.stable.enabled and not pair.canary.enabled


def wants(wish: Rollout | None, after: Pair) -> bool:
    """Whether a saved record asks for at least this share, and for a shift at all."""
    if wish is None or wish.phase is not Phase.SHIFTING:
        return False
    return weights.share(after) <= Fraction(round(wish.wanted_percent * 10), 1000)


def _must_fall(before: Rollout, row: HistoryRow) -> str:
    """Why this row must lead to a retreat, if it must."""
    event = row.event
    moved = before.before is not None and before.phase in WATCHED
    if isinstance(event, AbortAsked) and (moved or before.phase is Phase.PROMOTED):
        return "an abort"
    if isinstance(event, AlertFired) and moved and not _is_baseline(before, event):
        return "an alert"
    if isinstance(event, Ticked) and moved:
        if row.verdict and row.verdict.kind is Kind.FAIL:
            return "a fail"
        green = _canary(event)
        if green and green.enabled and green.health in {"Degraded", "Stopped"}:
            return "its endpoint broke"
    return ""


def _is_baseline(before: Rollout, event: AlertFired) -> bool:
    """Whether the alert was firing before this rollout's traffic first moved."""
    since_s, moved_s = event.since_s, before.moved_at_s
    return since_s is not None and moved_s is not None and since_s < moved_s


def _falls_wrongly(before: Rollout, row: HistoryRow, after: Rollout) -> bool:
    """Whether an alert that is no news took a rollout back."""
    event = row.event
    known = isinstance(event, AlertFired) and _is_baseline(before, event)
    return known and after.phase is not before.phase


def _rises_wrongly(before: Rollout, row: HistoryRow, after: Rollout) -> str:
    """Why this rise has no good reason; empty when it has, or when nothing rises."""
    if after.wanted_percent <= before.wanted_percent:
        return ""
    event = row.event
    if isinstance(event, PromoteAsked):
        stale = event.from_step != before.step + 1 or before.phase not in WATCHED
        return f"on a promote that names step {event.from_step}" if stale else ""
    if not isinstance(event, Ticked):
        return f"on {type(event).__name__}"
    if before.phase is Phase.PENDING:
        return "" if event.holder == before.name else "without the claim on its profile"
    passed = row.verdict is not None and row.verdict.kind is Kind.PASS
    return "" if passed and before.phase is Phase.BAKING else f"from {before.phase} without a pass"


def step_floor(rollout: Rollout) -> int:
    """The first bin of the step at which the schedule begins."""
    return max((each.step_floor for each in (rollout.evidence or {}).values()), default=0)


def _goes_on_wrongly(begun: int, before: Rollout, row: HistoryRow, after: Rollout) -> str:
    """Why a look may not lead on from here; empty when it may, or when it does not."""
    event: Any = row.event
    if after.phase is Phase.BAKING and before.phase is Phase.SHIFTING:
        return _verified_wrongly(before, event)
    gated = after.phase is Phase.HELD and after.hold is not None and after.hold.at_gate
    onward = after.phase in {Phase.SHIFTING, Phase.PROMOTED} or gated
    if before.phase is not Phase.BAKING or not onward:
        return ""
    return (
        _unwatched(before, event)
        or _unseen(event, after)
        or _unproven(event, row.verdict, begun)
        or _unfit(event)
    )


def _unwatched(before: Rollout, event: Ticked) -> str:
    away_s = event.at_s - max(before.looked_at_s or 0.0, before.phase_since_s)
    return f"on the first look in {away_s:.0f} s" if away_s > places.STALE_S else ""


def _unseen(event: Ticked, after: Rollout) -> str:
    if event.traffic.sight is Sight.FAILED or event.answer is None:
        return "blind"
    if event.answer.sight is not Sight.SEEN:
        return f"although telemetry is {event.answer.sight}"
    newest = max(after.last_row_s or 0.0, event.answer.newest_s or 0.0)
    late = event.at_s - newest > places.DELAY_S + 5 * places.BIN_S
    return "on telemetry that is late" if late else ""


def _unproven(event: Ticked, verdict: Verdict | None, begun: int) -> str:
    if verdict is None or verdict.kind is not Kind.PASS:
        return "without a pass"
    sealed = int((event.at_s - places.DELAY_S) // places.BIN_S) - begun
    counted = max(weighing.step_bins for weighing in verdict.weighings)
    if 3 <= counted <= sealed:
        return ""
    return f"on {counted} bins where {max(0, sealed)} are sealed since the weights were set"


def _verified_wrongly(before: Rollout, event: Ticked) -> str:
    share = Fraction(round(before.wanted_percent * 10), 1000)
    blue, green = _stable(event), _canary(event)
    if blue is None or green is None:
        return "unseen"
    shown = (blue.weight if blue.enabled else 0, green.weight if green.enabled else 0)
    given = Fraction(shown[1], sum(shown)) if sum(shown) else Fraction(0)
    if not share * Fraction(9, 10) <= given <= share:  # weights are whole and rounded down
        return f"baking at weights {shown}"
    waited = event.at_s - (before.verified_at_s or event.at_s)
    return "" if waited >= before.ttl_s + 1 else "before the caches have run out"


def _unfit(event: Ticked) -> str:
    profile, blue = event.traffic.profile, _stable(event)
    if profile is None or not profile.enabled or blue is None:
        return "on a profile that is not fit"
    if blue.enabled and blue.health == "Degraded":
        return "while stable is degraded"
    return ""


def _stable(event: Ticked) -> EndpointSeen | None:
    profile = event.traffic.profile
    return None if profile is None else profile.endpoint("blue")


def _canary(event: Ticked) -> EndpointSeen | None:
    profile = event.traffic.profile
    return None if profile is None else profile.endpoint("green")
